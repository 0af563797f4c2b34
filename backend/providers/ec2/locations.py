"""The EC2 face of locations: lists availability zones, local zones and wavelength zones."""

from collections.abc import Iterator, Sequence

from backend.providers.ec2 import rows
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Request
from backend.providers.protocol import Page, Region

LOCATIONS = Listing(
    Request("DescribeAvailabilityZones", "Listing locations"), "availabilityZoneInfo", rows.LOCATION.item, 0
)

REGIONS = Listing(Request("DescribeRegions", "Listing regions"), "regionInfo", rows.REGION.item, 0)

_DISABLED = "not-opted-in"
"""EC2's opt-in status of a region that the account has not enabled."""


class Locations:
    """The operations on locations."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self) -> Iterator[Page]:
        return self._requests.pages(LOCATIONS)

    def regions(self) -> Sequence[Region]:
        pages = self._requests.pages(REGIONS, {"AllRegions": "true"})
        return [Region(item["id"], item["state"] != _DISABLED, item["state"] or "") for page in pages for item in page]
