"""The flavors: the sizes of VMs. Light to import: the other rooms name the kind."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backend.errors import CloudError
from backend.kinds.flavor.prices import complete
from backend.kinds.model import DAY, Column, Kind, Scope, id_column, name_column
from backend.log import logger

if TYPE_CHECKING:
    from backend.cache import Cache
    from backend.providers.protocol import Provider


def learn_spot_prices(provider: "Provider", cache: "Cache", scope: Scope, document: Mapping[str, Any]) -> None:
    """Ask for the spot prices of a flavor of now, by location, and note them; a failure changes nothing."""
    native, now = str(document["id"]), datetime.now(UTC)
    try:
        found = provider.of("flavor").spot_prices([native], now).get(native, {})
    except CloudError as error:
        logger.info("the spot prices of %s are not known: %s", native, error)
        return
    # As a list: the name of a location is the cloud's, and MongoDB would read a dot in it as a path.
    prices = [{"key": zone, "value": f"{price:.4f}"} for zone, price in found.items()]
    cache.rows.note(FLAVOR, scope, native, {"spot": prices, "spot_asked": now})


FLAVOR = Kind(
    "flavor",
    "flavors",
    (
        name_column(18),
        Column("vcpu", "vCPU", "int", 5),
        Column("memory", "Memory", "mib", 9, help="MiB in the cache and in JSON"),
        Column("disk", "Disk", "gib", 8, help="Local disks, GiB in the cache and in JSON; null: volumes only"),
        Column("architecture", "Arch", width=12),
        Column("network", "Network", width=18),
        Column("price", "USD/hour", "usd", 9, help="On demand, Linux; null: unknown"),
        Column("price_date", "Price of", width=10, help="The day of that price"),
        id_column("ID", 18),
    ),
    max_age=DAY,
    by_row=False,
    empty="No flavors here. r refreshes.",
    aliases=("size", "sizes", "type", "types"),
    tab=2,
    learn=learn_spot_prices,
    learns="spot prices",
    complete=complete,
)
