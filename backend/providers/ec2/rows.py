"""Converts what EC2 lists into our items, field by field."""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from backend.providers.ec2.cut import value
from backend.providers.ec2.outline import Outline
from backend.providers.failures import Malformed
from backend.providers.protocol import Item

log = logging.getLogger(__name__)

AS_WRITTEN = "as written"
"""The only key of an "extra" that holds the unparsed element; no element has this name."""

# --- one converter for each type: invalid values become None, so that they never cost a row ---------------------------


def text(value: Any) -> str | None:
    """Return a str unchanged."""
    return value if isinstance(value, str) else None


def integer(value: Any) -> int | None:
    """Return a whole number that MongoDB can store (64 bits)."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def moment(value: Any) -> datetime | None:
    """Return a UTC time, cut to the milliseconds that MongoDB keeps; else each refresh would see a change."""
    try:
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is not UTC:
            parsed = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    beyond = parsed.microsecond % 1000
    return parsed.replace(microsecond=parsed.microsecond - beyond) if beyond else parsed


def joined(value: Any) -> str | None:
    """Return the texts of a list as one text."""
    return ", ".join(part for part in entries(value) if isinstance(part, str)) or None


def texts(value: Any) -> list[str] | None:
    """Return the distinct texts of a list and of lists within it; a single text is a list of one."""
    return list(dict.fromkeys(_texts(value))) or None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in value if isinstance(value, list) else ():
        yield from _texts(part)


def entries(value: Any) -> list[Any]:
    """Return a list, or the items of a set that has other elements too; [] for an empty set, which is None."""
    found = value.get("item") if isinstance(value, dict) else value
    return found if isinstance(found, list) else []


# --- facts in our words ----------------------------------------------------------------------------------------------


def is_elastic(owners: Any) -> bool | None:
    """Return False if EC2 says that a VM's public address belongs to Amazon; None if it does not say."""
    return False if "amazon" in entries(owners) else None


def is_special(said: Any) -> bool | None:
    """Return True for a platform or a tenancy that the prices of flavors are not of; None for any other."""
    return None if said in (None, "", "Linux/UNIX", "default") else True


def volumes(mapping: Any) -> list[dict[str, Any]]:
    """Return the volumes of a VM: id, and `dies`, whether it is deleted with the VM (None: not known)."""
    disks = [one.get("ebs") for one in entries(mapping) if isinstance(one, dict)]
    return [{"id": text(one.get("volumeId")), "dies": _dies(one)} for one in disks if isinstance(one, dict)]


def attachments(value: Any) -> list[dict[str, Any]]:
    """Return the attachments of a volume: vm, device, state and `dies`, as in `volumes`."""
    return [
        {"vm": text(one.get("instanceId")), "device": text(one.get("device")), "state": text(one.get("status"))}
        | {"dies": _dies(one)}
        for one in entries(value)
        if isinstance(one, dict)
    ]


def _dies(one: dict[str, Any]) -> bool | None:
    said = one.get("deleteOnTermination")
    return str(said).lower() != "false" if said else None


# --- one table for each kind: by column, the paths to try in turn, and the converter ----------------------------------


class Field:
    """The paths to a column's value.

    Examples: "instanceState/name", "instancesSet/0/currentState/name", and for one value of each item
    "attachmentSet/*/instanceId".
    """

    def __init__(self, *paths: str, to: Callable[[Any], Any] = text) -> None:
        self.paths = tuple(tuple(path.split("/")) for path in paths)
        self._to = to
        self._direct = () if any("/" in path for path in paths) else paths  # the fast way, for most fields

    def of(self, raw: dict[str, Any] | Outline) -> Any:
        """Return the first value that can be converted, or None."""
        found: Any
        for key in self._direct:
            if (found := raw.get(key)) is not None and (made := self._to(found)) is not None:
                return made
        if self._direct:
            return None
        for path in self.paths:
            if (made := self._to(_at(raw, path))) is not None:
                return made
        return None


def _at(raw: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path; for a path with `*`, a list with the value of each item."""
    for number, step in enumerate(path, 1):
        if step == "*":
            return [_at(entry, path[number:]) for entry in entries(raw)]
        if step.isdecimal():
            raw = next(islice(entries(raw), int(step), None), None)
        else:
            raw = raw.get(step) if isinstance(raw, dict) else None
    return raw


class Fields:
    """The columns of a kind, and the facts that its commands need, in our words.

    Everything that is not in a column goes to "extra" under EC2's own names. Tags are a fact of every kind.
    """

    def __init__(self, facts: Mapping[str, Field] | None = None, **columns: Field) -> None:
        self._columns = tuple(columns.items())
        self._facts = tuple((facts or {}).items())
        self._taken = {field.paths[0][0] for field in columns.values() if len(field.paths[0]) == 1} | {"tags", "tagSet"}

    def item(self, raw: Any) -> Iterator[Item]:
        """Yield the item of `raw`, which is modified; yield nothing if it has no id."""
        if isinstance(raw, dict):
            raw["tags"] = _tags(raw.get("tagSet"))  # for the path "tags/Name"
        if isinstance(raw, (dict, Outline)):
            item: Item = {column: field.of(raw) for column, field in self._columns}
            if item["id"] is not None:
                if isinstance(raw, dict):
                    item |= {fact: field.of(raw) for fact, field in self._facts}
                    item["tags"] = raw["tags"]
                    item["extra"] = self._rest(raw)
                else:
                    item["extra"] = {AS_WRITTEN: raw.xml}
                yield item
                return
        log.warning("EC2 listed something without an id; it is left out")

    def _rest(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {key: found for key, found in raw.items() if found is not None and key not in self._taken}

    def opened(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an "extra" with its unparsed element parsed; unchanged if that is not possible."""
        try:
            raw = value(str(extra[AS_WRITTEN]).encode()) if AS_WRITTEN in extra else None
        except (Malformed, UnicodeEncodeError):
            raw = None
        return self._rest(raw) if isinstance(raw, dict) else extra


def _tags(tag_set: Any) -> dict[str, str]:
    if not tag_set:
        return {}
    pairs = ((text(tag.get("key")), text(tag.get("value"))) for tag in entries(tag_set) if isinstance(tag, dict))
    return {key: found or "" for key, found in pairs if key}


IMAGE = Fields(
    id=Field("imageId"),
    name=Field("name"),
    architecture=Field("architecture"),
    owner=Field("imageOwnerAlias", "imageOwnerId"),
    created=Field("creationDate", to=moment),
    state=Field("imageState"),
    platform=Field("platformDetails", "platform"),
)
FLAVOR = Fields(  # EC2's paths, then those of Eucalyptus
    id=Field("instanceType", "name"),
    name=Field("instanceType", "name"),
    vcpu=Field("vCpuInfo/defaultVCpus", "cpu", to=integer),
    memory=Field("memoryInfo/sizeInMiB", "memory", to=integer),
    disk=Field("instanceStorageInfo/totalSizeInGB", "disk", to=integer),
    architecture=Field("processorInfo/supportedArchitectures", to=joined),
    network=Field("networkInfo/networkPerformance"),
)
OFFERING = Fields(id=Field("instanceType"), zone=Field("location"))
SPOT = Fields(
    id=Field("instanceType"),
    zone=Field("availabilityZone"),
    price=Field("spotPrice"),
    at=Field("timestamp", to=moment),
    product=Field("productDescription"),
)
VM = Fields(
    {
        "token": Field("clientToken"),
        "group": Field("tags/aws:autoscaling:groupName"),
        "spot": Field("instanceLifecycle", to=lambda lifecycle: lifecycle == "spot"),
        "spot_request": Field("spotInstanceRequestId"),
        "special": Field("platformDetails", "placement/tenancy", to=is_special),
        "ephemeral_root": Field("rootDeviceType", to=lambda type_: type_ == "instance-store"),
        "elastic": Field("networkInterfaceSet/*/association/ipOwnerId", to=is_elastic),
        "volumes": Field("blockDeviceMapping", to=volumes),
    },
    id=Field("instanceId"),
    name=Field("tags/Name"),
    state=Field("instanceState/name"),
    flavor=Field("instanceType"),
    public_ip=Field("ipAddress"),
    private_ip=Field("privateIpAddress"),
    ipv6=Field("networkInterfaceSet/*/ipv6AddressesSet/*/ipv6Address", "ipv6Address", to=texts),
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
REGION = Fields(id=Field("regionName"), state=Field("optInStatus"))
VOLUME = Fields(
    {
        "attachments": Field("attachmentSet", to=attachments),
        "multi_attach": Field("multiAttachEnabled", to=lambda said: said == "true"),
        "snapshot": Field("snapshotId"),
    },
    id=Field("volumeId"),
    name=Field("tags/Name"),
    size=Field("size", to=integer),
    state=Field("status"),
    type=Field("volumeType"),
    vm=Field("attachmentSet/*/instanceId", to=texts),
    location=Field("availabilityZone"),
    created=Field("createTime", to=moment),
)

ADDRESS = Fields(id=Field("publicIp"), vm=Field("instanceId"))


def instances(reservation: Any) -> Iterator[Item]:
    """Yield the VMs of a reservation, which groups the VMs that were booted together."""
    if isinstance(reservation, dict):
        for raw in entries(reservation.get("instancesSet")):
            yield from VM.item(raw)
