"""The VMs: virtual machines. Light to import: the other rooms name the kind."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backend.errors import CloudError
from backend.kinds.model import TAGS, Column, Kind, Scope, id_column, name_column
from backend.lifecycle import GONE, state_of
from backend.log import logger

if TYPE_CHECKING:
    from backend.cache import Cache
    from backend.providers.protocol import Provider


def learn_protection(provider: "Provider", cache: "Cache", scope: "Scope", document: Mapping[str, Any]) -> None:
    """Ask whether a VM is protected from being deleted, and note it; a failure changes nothing.

    A listing may leave it out, and asking costs a request for each VM: a listing does not ask.
    """
    if state_of(document) in GONE:
        return
    native = str(document["id"])
    try:
        on = provider.of("vm").protected(native)
    except CloudError as error:
        logger.info("whether %s is protected is not known: %s", native, error)
    else:
        note_protection(cache, scope, native, on)


def note_protection(cache: "Cache", scope: Scope, native: str, on: bool | None) -> None:
    """Write whether a VM is protected (None: the cloud did not say) and when that was asked."""
    cache.rows.note(VM, scope, native, {"protected": on, "protection_asked": datetime.now(UTC)})


VM = Kind(
    "vm",
    "vms",
    (
        name_column(),
        id_column(),
        Column("state", "State", "state", 15, help="The cloud's own word"),
        Column("flight", "In flight", "flight", 28, help="The action under way and for how long", ours=True),
        Column("flavor", "Flavor", width=12),
        Column(
            "protected",
            "Protected",
            "flag",
            9,
            help="Against deletion, as last asked; null: unknown",
            ours=True,
        ),
        Column("public_ip", "Public IP", width=15, help="IPv4", whole=True),
        Column("private_ip", "Private IP", width=15, help="IPv4", whole=True),
        Column("location", "Location", width=12),
        Column("ipv6", "IPv6", "list", 22, help="The addresses of all network interfaces", whole=True),
        Column("image", "Image", width=21, whole=True),
        Column("keypair", "Keypair", width=14),
        Column("launched", "Launched", "time", 16),
        TAGS,
    ),
    max_age=30,
    by_row=True,
    empty="No VMs here. b boots one from an image; r refreshes.",
    aliases=("node", "nodes", "instance", "instances", "server", "servers"),
    word="VM",
    tab=3,
    bare=True,
    free_in=frozenset({"terminated"}),  # a cloud may list it for some time
    in_palette=True,
    poll=True,
    learn=learn_protection,
    learns="termination protection",
)
