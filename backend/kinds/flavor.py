"""The flavors: the sizes of VMs."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from backend.kinds.model import DAY, Column, Kind, id_column, name_column
from backend.providers.protocol import Page, Provider

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
        Column("price", "USD/hour", "usd", 9, help="On demand, Linux"),
        Column("price_date", "Price of", width=10, help="The day of the price list"),
        id_column("ID", 18),
    ),
    max_age=DAY,
    by_row=False,
    empty="No flavors here. r refreshes.",
    aliases=("size", "sizes", "type", "types"),
    tab=2,
)


class Flavors(Protocol):
    """What commands need of a provider."""

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List flavors, or those of `ids`, then without their prices and locations."""
        ...


def flavors(provider: Provider) -> Flavors:
    """Return the flavors of a cloud."""
    face: Flavors = provider.of(FLAVOR.name)
    return face
