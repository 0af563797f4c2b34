"""What the cache holds: documents made from KINDS, their schema, their indexes, and the events that tell of them."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import blake2b
from sys import intern
from typing import Any, NamedTuple

from backend.format import Flight, plain
from backend.kinds import JOURNAL, Kind, Row, Type
from backend.text import safe

Document = dict[str, Any]

CHUNK = 500
"""Documents or ids in one request: encoding and decoding one holds the interpreter for a few milliseconds."""


class Scope(NamedTuple):
    """The cloud and region that rows belong to."""

    cloud: str
    region: str

    def key(self, name: str) -> str:
        """Return the `_id` of the object `name` in this scope: cloud/region/native id."""
        return f"{self.cloud}/{self.region}/{name}"


EVERYWHERE = Scope("", "")
"""The scope of a change that may concern any cloud and region."""


@dataclass(frozen=True)
class RefreshRecord:
    """The refreshes of one kind: when the last one began and why it failed, and the last listing that was complete."""

    cloud: str
    region: str
    kind: str
    started: datetime | None = None
    finished: datetime | None = None
    """When the last complete listing ended; the figures from here to `seconds` are its own."""
    count: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str | None = None
    """Why the last refresh failed; None when it did not, or is under way."""
    batch: int = 0
    """Rows listed so far by the refresh under way; 0 when none is."""
    written: int = 0
    """Rows that all refreshes of this kind have written or removed: dashboards read again when it has grown."""
    writer: str = ""
    """Which open cache wrote this: its own dashboard was told of the rows themselves."""
    lease: str = ""
    """Which refresh is under way, as long as it is heard of; "" when none is."""
    lease_by: str = ""
    """The machine and process that it is of."""

    def age(self, now: datetime | None = None) -> float | None:
        """Return the seconds since the last complete listing, None when there has been none."""
        return None if self.finished is None else ((now or datetime.now(UTC)) - self.finished).total_seconds()


_RECORD_FIELDS = frozenset(field.name for field in fields(RefreshRecord))


def record(document: Mapping[str, Any]) -> RefreshRecord:
    """Return the refresh record of a `refreshes` document; fields of a later version are passed over."""
    return RefreshRecord(**{name: value for name, value in document.items() if name in _RECORD_FIELDS})


@dataclass(frozen=True)
class Change:
    """Something in the cache changed, whoever wrote it.

    `upserts` and `removed` are the rows and ids themselves for kinds that are followed by row; `reread` says that the
    whole snapshot must be read again. `record` is set when a refresh began, went on or ended.
    """

    kind: str
    scope: Scope
    upserts: tuple[Row, ...] = ()
    removed: tuple[str, ...] = ()
    reread: bool = False
    record: RefreshRecord | None = None


# --- rows and documents ----------------------------------------------------------------------------------------------


def to_document(kind: Kind, scope: Scope, item: Mapping[str, Any], now: datetime) -> Document:
    """Return the document of one listed object; values that are not of their column's type become None.

    Its `hash` is the item's own digest, else one of all its values.
    """
    get = item.get
    document = {column.name: _TYPED[column.type](get(column.name), column.type) for column in kind.listed}
    extra = dict(get("extra") or ())
    if isinstance(tags := extra.get("tags"), dict):
        # Tag keys may hold dots and dollars, which MongoDB takes for paths and operators: keep them as values. EC2
        # lists tags in any order: in theirs they are the same each time.
        extra["tags"] = [{"key": key, "value": tags[key]} for key in sorted(tags)]
    digest = get("digest")
    document["hash"] = _digest(document, extra) if digest is None else digest
    document["_id"] = scope.key(document["id"])
    # After the values: the region of a location is the one it was listed in, whatever the listing says.
    document["cloud"] = scope.cloud
    document["region"] = scope.region
    document["extra"] = extra
    document["refreshed"] = now
    return document


def same(document: Document, other: Document) -> bool:
    """Return whether two documents say the same of their object, whenever and from whatever bytes they were made."""
    return all(document[name] == other.get(name) for name in document if name not in _UNSAID)


_UNSAID = frozenset({"hash", "refreshed"})


def to_row(kind: Kind, document: Mapping[str, Any]) -> Row:
    """Return the row of a document or of a projection of it."""
    get = document.get
    row = tuple(map(get, kind.index))
    if kind.vast:
        # Of 100,000 images a few owners and architectures: one string each, not 100,000.
        common = kind.common
        return tuple(intern(value) if at in common and type(value) is str else value for at, value in enumerate(row))
    if "flight" in kind.index and (flight := get("flight")) is not None:
        values = list(row)
        values[kind.index["flight"]] = Flight(**{name: flight[name] for name in Flight._fields if name in flight})
        if flight["action"] == "reboot" and get("state") == "running":
            values[kind.index["state"]] = "rebooting"  # EC2 says `running` all through a reboot
        return tuple(values)
    return row


def to_entry(document: Mapping[str, Any]) -> Row:
    """Return the row of a document of the journal; what an earlier version did not write is None."""
    shown = {**document, "id": str(document["_id"]), "objects": ", ".join(map(str, document.get("objects", ())))}
    return tuple(shown.get(column.name) for column in JOURNAL.columns)


def split_key(key: str) -> tuple[Scope, str]:
    """Return the scope and the native id that an `_id` was made of."""
    cloud, region, native = key.split("/", 2)
    return Scope(cloud, region), native


def _text(value: Any, _type: Type) -> str | None:
    if isinstance(value, str) or value is None:
        return value
    return None if isinstance(value, bool) else str(value)


def _time(value: Any, _type: Type) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is UTC:
        return value
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _number(value: Any, type_: Type) -> int | float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        whole = type_ == "int"
        number = value if isinstance(value, (int, float)) and not whole else (int if whole else float)(value)
    except (TypeError, ValueError, OverflowError):  # overflow: int of infinity
        return None
    return number if isinstance(number, float) or abs(number) <= _LARGEST else None


_TYPED: dict[Type, Callable[[Any, Type], Any]] = {
    "text": _text, "state": _text, "time": _time, "int": _number, "mib": _number, "gib": _number, "usd": _number,
}  # fmt: skip
"""What each type of column stores of a value; a flag and a flight are not listed but set."""


_LARGEST = (1 << 63) - 1
"""The largest integer that a document holds."""


def _digest(values: Mapping[str, Any], extra: Mapping[str, Any]) -> int:
    text = json.dumps([values, extra], sort_keys=True, default=plain_or_text, separators=(",", ":"))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)  # as large as an integer of MongoDB's


def plain_or_text(value: Any) -> Any:
    """Return `value` for JSON: see `backend.format.plain`; what JSON has no word for becomes text."""
    simple = plain(value)
    return simple if simple is not value else str(value)


# --- schema ----------------------------------------------------------------------------------------------------------

_NUMBER = ["int", "long", "double", "null"]

_BSON: dict[Type, dict[str, Any]] = {
    "text": {"bsonType": ["string", "null"]},
    "state": {"bsonType": ["string", "null"]},
    "int": {"bsonType": ["int", "long", "null"]},
    "mib": {"bsonType": _NUMBER},
    "gib": {"bsonType": _NUMBER},
    "usd": {"bsonType": _NUMBER},
    "time": {"bsonType": ["date", "null"]},
    "flag": {"bsonType": ["bool", "null"]},
    "flight": {
        "bsonType": ["object", "null"],
        "required": ["action", "since"],
        "properties": {"action": {"bsonType": "string"}, "since": {"bsonType": "date"}},
    },
}


def validator(kind: Kind) -> Document:
    """Return the `$jsonSchema` of a kind's collection: every column may be null, none may be of another type."""
    return {
        "$jsonSchema": {
            "bsonType": "object",
            "required": ["_id", "cloud", "region", "id", "refreshed"],
            "properties": {
                **{column.name: _BSON[column.type] for column in kind.columns},
                "cloud": {"bsonType": "string"},
                "region": {"bsonType": "string"},
                "id": {"bsonType": "string"},
                "extra": {"bsonType": "object"},
                "refreshed": {"bsonType": "date"},
            },
        }
    }


def flatten(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield every field of a document as (dotted path, safe text), for the details screen and `get`."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flatten(entry, f"{path}.{key}" if path else str(key))
    elif (
        isinstance(value, list)
        and value
        and all(isinstance(entry, Mapping) and set(entry) == {"key", "value"} for entry in value)
    ):
        for entry in value:
            yield safe(f"{path}.{entry['key']}"), safe(str(entry["value"]))
    elif isinstance(value, list):
        for position, entry in enumerate(value, 1):
            yield from flatten(entry, f"{path}.{position}")
    else:
        yield safe(path), "" if value is None else safe(str(plain(value)))
