"""The locations: availability zones."""

from backend.commands.lookup import find
from backend.commands.model import Context
from backend.kinds.model import DAY, Column, Kind, id_column, name_column

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


def zone(context: Context, location: str | None) -> str | None:
    """Return the availability zone that `location` names; None for the region, where the cloud chooses."""
    if not location or location == context.session.cloud.region:
        return None
    return str(LOCATION.value(find(context, LOCATION, location), "name"))
