"""The EC2 face of flavors: lists them with the zones that offer them; their prices."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from backend.errors import CloudError
from backend.providers.ec2 import rows
from backend.providers.ec2.params import numbered
from backend.providers.ec2.pricelist import usd
from backend.providers.ec2.prices import Prices
from backend.providers.ec2.requests import VALUES, Listing, Requests
from backend.providers.failures import Request
from backend.providers.protocol import Page

log = logging.getLogger(__name__)

_NEVER = datetime.min.replace(tzinfo=UTC)

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
SPOT = Listing(
    Request("DescribeSpotPriceHistory", "Reading spot prices"),
    "spotPriceHistorySet",
    rows.SPOT.item,
)


class Flavors:
    """The operations on flavors."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.prices = Prices(requests.cloud)

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List all flavors; or those of `ids`, without their locations."""
        if ids:
            yield from self._requests.of(FLAVORS, "instance-type", ids)
            return
        zones: Mapping[str, Sequence[str]] | None = None
        for number, page in enumerate(self._requests.pages(FLAVORS)):
            if number == 0:  # after the first page: if listing flavors fails, that is the error to raise
                zones = self._zones()
            for item in page:
                item["extra"] |= {"zones": None if zones is None else zones.get(item["id"], [])}
            yield page

    def spot_prices(self, flavors: Sequence[str], now: datetime) -> Mapping[str, Mapping[str, float]]:
        # A history that begins now has the price of now alone: the last one before it in each zone.
        wanted = {"ProductDescription.1": "Linux/UNIX", "StartTime": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        found: dict[str, dict[str, tuple[datetime, float]]] = {}
        for start in range(0, len(flavors), VALUES):
            asked = numbered("InstanceType", flavors[start : start + VALUES])
            for page in self._requests.pages(SPOT, wanted | asked):
                for one in page:
                    zone, price, at = one["zone"], usd(one["price"]), one["at"] or _NEVER
                    zones = found.setdefault(one["id"], {})
                    if zone and price and one["product"] in (None, "Linux/UNIX") and zones.get(zone, (at,))[0] <= at:
                        zones[zone] = at, price
        return {flavor: {zone: price for zone, (_, price) in sorted(zones.items())} for flavor, zones in found.items()}

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
