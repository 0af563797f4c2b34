"""The EC2 face of locations: lists availability zones, local zones and wavelength zones."""

from collections.abc import Iterator

from backend.providers.ec2 import rows
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Request
from backend.providers.protocol import Page

LOCATIONS = Listing(
    Request("DescribeAvailabilityZones", "Listing locations"), "availabilityZoneInfo", rows.LOCATION.item, 0
)


class Locations:
    """The operations on locations."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self) -> Iterator[Page]:
        return self._requests.pages(LOCATIONS)
