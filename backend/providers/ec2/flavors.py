"""The EC2 face of flavors: lists them with their prices and the zones that offer them."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from backend.errors import CloudError
from backend.providers.ec2 import rows
from backend.providers.ec2.hosts import signed_as
from backend.providers.ec2.prices import prices
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Request
from backend.providers.protocol import Page

log = logging.getLogger(__name__)

FLAVORS = Listing(
    Request("DescribeInstanceTypes", "Listing flavors"),
    "instanceTypeSet",
    rows.FLAVOR.item,
    100,
    other=("instanceTypeDetails",),  # Eucalyptus
)
OFFERINGS = Listing(
    Request("DescribeInstanceTypeOfferings", "Listing the locations of flavors"),
    "instanceTypeOfferingSet",
    rows.OFFERING.item,
)


class Flavors:
    """The operations on flavors."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List all flavors; or those of `ids`, without their prices and locations."""
        if ids:
            yield from self._requests.of(FLAVORS, "instance-type", ids)
            return
        zones: Mapping[str, Sequence[str]] | None = None
        price, date = prices(signed_as(self._requests.cloud.region))
        for number, page in enumerate(self._requests.pages(FLAVORS)):
            if number == 0:  # after the first page: if listing flavors fails, that is the error to raise
                zones = self._zones()
            for item in page:
                item["price"] = price.get(item["id"])
                item["price_date"] = date if item["price"] is not None else None
                item["extra"] |= {"zones": None if zones is None else zones.get(item["id"], [])}
            yield page

    def _zones(self) -> Mapping[str, Sequence[str]] | None:
        """Return the availability zones that offer each flavor, or None if they are not known.

        Flavors are still listed if the keys lack the permission, the endpoint lacks the request, or it fails.
        """
        zones: dict[str, set[str]] = {}  # sets: a listing that restarts lists things twice
        try:
            for page in self._requests.pages(OFFERINGS, {"LocationType": "availability-zone"}):
                for offer in page:
                    zones.setdefault(offer["id"], set()).add(offer["zone"])
        except CloudError as error:
            log.warning("flavors are listed without their locations: %s", error)
            return None
        return {flavor: sorted(filter(None, names)) for flavor, names in zones.items()} or None
