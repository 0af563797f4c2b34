"""Says, field by field, how what EC2 lists becomes our items."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from backend.providers import Item

log = logging.getLogger(__name__)

# --- one converter a type: what does not fit is None, so that one odd field never costs a row ------------------------


def text(value: Any) -> str | None:
    """Return a str as it is."""
    return value if isinstance(value, str) else None


def integer(value: Any) -> int | None:
    """Return a whole number that MongoDB can store (64 bits)."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def moment(value: Any) -> datetime | None:
    """Return an aware UTC time, cut to the milliseconds that MongoDB keeps: else each refresh would see a change."""
    try:
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is not UTC:
            parsed = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    beyond = parsed.microsecond % 1000
    return parsed.replace(microsecond=parsed.microsecond - beyond) if beyond else parsed


def joined(value: Any) -> str | None:
    """Return the texts of a list as one."""
    return ", ".join(part for part in entries(value) if isinstance(part, str)) or None


def entries(value: Any) -> list[Any]:
    """Return a list as it is; EC2's empty sets arrive as None."""
    return value if isinstance(value, list) else []


# --- one table a kind: column to the paths tried in turn, and the converter ------------------------------------------


class Field:
    """Where a column's value is: paths like "instanceState/name" or "attachmentSet/0/instanceId"."""

    def __init__(self, *paths: str, to: Callable[[Any], Any] = text) -> None:
        self.paths = tuple(tuple(path.split("/")) for path in paths)
        self._to = to
        self._key = paths[0] if len(paths) == 1 and "/" not in paths[0] else None  # as most are: no search then

    def of(self, raw: dict[str, Any]) -> Any:
        """Return the first value found that converts, else None."""
        if self._key is not None:
            return self._to(raw.get(self._key))
        for path in self.paths:
            found: Any = raw
            for step in path:
                if isinstance(found, dict):
                    found = found.get(step)
                elif step.isdecimal() and int(step) < len(entries(found)):
                    found = found[int(step)]
                else:
                    found = None
                    break
            value = self._to(found)
            if value is not None:
                return value
        return None


class Fields:
    """The columns of a kind; what they do not take goes to "extra" under EC2's own names, tags as a dict."""

    def __init__(self, **columns: Field) -> None:
        self._columns = tuple(columns.items())
        self._taken = {field.paths[0][0] for field in columns.values() if len(field.paths[0]) == 1} | {"tagSet"}

    def item(self, raw: Any) -> Iterator[Item]:
        """Yield the item that `raw`, which is used up, describes; nothing when it has no id to be referred to by."""
        if isinstance(raw, dict):
            raw["tags"] = _tags(raw.get("tagSet"))  # where "tags/Name" finds them, and extra too
            item: Item = {column: field.of(raw) for column, field in self._columns}
            if item["id"] is not None:
                for key in self._taken:
                    raw.pop(key, None)
                item["extra"] = {key: value for key, value in raw.items() if value is not None}
                yield item
                return
        log.warning("EC2 listed something without an id; it is left out")


def _tags(tag_set: Any) -> dict[str, str]:
    if not tag_set:
        return {}
    pairs = ((text(tag.get("key")), text(tag.get("value"))) for tag in entries(tag_set) if isinstance(tag, dict))
    return {key: value or "" for key, value in pairs if key}


IMAGE = Fields(
    id=Field("imageId"),
    name=Field("name"),
    architecture=Field("architecture"),
    owner=Field("imageOwnerAlias", "imageOwnerId"),
    created=Field("creationDate", to=moment),
    state=Field("imageState"),
    platform=Field("platformDetails", "platform"),
)
FLAVOR = Fields(
    id=Field("instanceType"),
    name=Field("instanceType"),
    vcpu=Field("vCpuInfo/defaultVCpus", to=integer),
    memory=Field("memoryInfo/sizeInMiB", to=integer),
    disk=Field("instanceStorageInfo/totalSizeInGB", to=integer),
    architecture=Field("processorInfo/supportedArchitectures", to=joined),
    network=Field("networkInfo/networkPerformance"),
)
OFFERING = Fields(id=Field("instanceType"), zone=Field("location"))
VM = Fields(
    id=Field("instanceId"),
    name=Field("tags/Name"),
    state=Field("instanceState/name"),
    flavor=Field("instanceType"),
    public_ip=Field("ipAddress"),
    private_ip=Field("privateIpAddress"),
    location=Field("placement/availabilityZone"),
    image=Field("imageId"),
    keypair=Field("keyName"),
    launched=Field("launchTime", to=moment),
)
KEYPAIR = Fields(
    id=Field("keyPairId", "keyName"),
    name=Field("keyName"),
    type=Field("keyType"),
    fingerprint=Field("keyFingerprint"),
    created=Field("createTime", to=moment),
)
LOCATION = Fields(
    id=Field("zoneName"),
    name=Field("zoneName"),
    region=Field("regionName"),
    state=Field("zoneState"),
    type=Field("zoneType"),
)
VOLUME = Fields(
    id=Field("volumeId"),
    name=Field("tags/Name"),
    size=Field("size", to=integer),
    state=Field("status"),
    type=Field("volumeType"),
    vm=Field("attachmentSet/0/instanceId"),
    location=Field("availabilityZone"),
    created=Field("createTime", to=moment),
)


def instances(reservation: Any) -> Iterator[Item]:
    """Yield the VMs of a reservation, the wrapper that EC2 puts around those that were booted together."""
    if isinstance(reservation, dict):
        for raw in entries(reservation.get("instancesSet")):
            yield from VM.item(raw)
