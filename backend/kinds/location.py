"""The locations: availability zones, and the regions that have them."""

from collections.abc import Sequence
from typing import Protocol

from backend.commands.lookup import find
from backend.commands.model import Context
from backend.kinds.model import DAY, Column, Kind, id_column, name_column
from backend.providers.protocol import Provider, Region

LOCATION = Kind(
    "location",
    "locations",
    (
        name_column(16),
        Column("region", "Region", width=14, help="As the cloud names it", field="region_name", earlier="region"),
        Column("state", "State", "state", 11),
        Column("type", "Type", width=18, help="Availability zone, local zone or wavelength zone"),
        id_column("ID", 16),
    ),
    max_age=DAY,
    by_row=False,
    empty="No locations here. r refreshes.",
    aliases=("zone", "zones"),
    tab=5,
)


class Locations(Protocol):
    """What is asked of a provider about its locations."""

    def regions(self) -> Sequence[Region]:
        """Return all regions of the cloud, those that the account may not use too."""
        ...


def locations(provider: Provider) -> Locations:
    """Return the locations of a cloud."""
    face: Locations = provider.of(LOCATION.name)
    return face


def zone(context: Context, location: str | None) -> str | None:
    """Return the availability zone that `location` names; None for the region, where the cloud chooses."""
    if not location or location == context.session.cloud.region:
        return None
    return str(LOCATION.value(find(context, LOCATION, location), "name"))
