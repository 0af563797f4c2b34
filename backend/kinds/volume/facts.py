"""What the cloud says of a volume: its size and the VMs that it is attached to."""

from collections.abc import Iterable
from typing import Any

from backend.providers.protocol import Item


def holders(volume: Item) -> list[str]:
    """Return the ids of all VMs that a volume is attached to."""
    return list(volume.get("vm") or ())


def attachment(volume: Item, vm: str) -> dict[str, Any]:
    """Return what EC2 says of a volume's attachment to one VM (device, status …), nothing where it has none."""
    found = volume["extra"].get("attachmentSet")
    entries = found if isinstance(found, list) else []
    return next((one for one in entries if isinstance(one, dict) and one.get("instanceId") == vm), {})


def total_size(volumes: Iterable[Item]) -> str:
    """Return the size of all these volumes, fit for a sentence."""
    return f"{sum(volume.get('size') or 0 for volume in volumes):,} GiB"
