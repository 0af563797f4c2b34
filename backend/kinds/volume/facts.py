"""What the cloud says of a volume: its size and the VMs that it is attached to."""

from collections.abc import Iterable, Sequence
from typing import Any

from backend.providers.protocol import Item


def holders(volume: Item) -> list[str]:
    """Return the ids of all VMs that a volume is attached to."""
    return list(volume.get("vm") or ())


def attachment(volume: Item, vm: str) -> dict[str, Any]:
    """Return the attachment of a volume to one VM: device, state, dies; nothing if it has none."""
    attachments: Sequence[dict[str, Any]] = volume.get("attachments") or ()
    return next((one for one in attachments if one["vm"] == vm), {})


def total_size(volumes: Iterable[Item]) -> str:
    """Return the size of all these volumes, fit for a sentence."""
    return f"{sum(volume.get('size') or 0 for volume in volumes):,} GiB"
