"""What the cache holds: the documents of each kind, their schema, their indexes, and the events that tell of them.

Another version, another client or an enemy may have written anything. What reads a document gives None where it cannot
be understood, and says so in the log, once: it costs nothing but itself.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from sys import intern
from typing import Any

from backend.cache.keys import Document, log_skipped
from backend.cache.records import RefreshRecord
from backend.format import plain
from backend.journal.model import JOURNAL
from backend.kinds.model import Column, Kind, Ref, Row, Scope, Type
from backend.lifecycle import Flight
from backend.text import safe

CHUNK = 500
"""Documents or ids in one request: encoding and decoding one holds the interpreter for a few milliseconds."""


@dataclass(frozen=True)
class Change:
    """Something in the cache changed, by this process or another.

    `upserts` and `removed` are the rows and names themselves for kinds that are followed by row; `reread` says that the
    whole snapshot must be read again. `record` is set when a refresh began, went on or ended.
    """

    kind: str
    scope: Scope
    upserts: tuple[Row, ...] = ()
    removed: tuple[Ref, ...] = ()
    reread: bool = False
    record: RefreshRecord | None = None


# --- rows and documents ----------------------------------------------------------------------------------------------


def to_document(kind: Kind, scope: Scope, item: Mapping[str, Any], now: datetime) -> Document:
    """Return the document of one listed object; values that are not of their column's type become None.

    Its `hash` is the item's own digest, else one of all its values.
    """
    get = item.get
    document = {
        column.field or column.name: _TYPED[column.type](get(column.name), column.type) for column in kind.listed
    }
    for _, column, field in kind.gathered:
        if column.type == "list":
            document[field] = _stored(document[field], column.type)
    extra = dict(get("extra") or ())
    if isinstance(tags := get("tags"), dict):
        # Tag keys may hold dots and dollars, which MongoDB takes for paths and operators: keep them as values. Clouds
        # list tags in any order: in the order of their keys they are the same each time.
        extra["tags"] = [{"key": key, "value": tags[key]} for key in sorted(tags)]
    if "tags" in kind.index:
        document["tags"] = extra.get("tags") or None
    digest = get("digest")
    document["hash"] = _digest(document, extra) if digest is None else digest
    document["_id"] = scope.key(document["id"])
    document["cloud"] = scope.cloud
    document["region"] = scope.region
    document["extra"] = extra
    document["refreshed"] = now
    return document


def same(document: Document, other: Document) -> bool:
    """Return whether two documents say the same of their object, whenever and from whatever bytes they were made."""
    return all(document[name] == other.get(name) for name in document if name not in _UNSAID)


_UNSAID = frozenset({"hash", "refreshed"})


def to_row(kind: Kind, scope: Scope, document: Mapping[str, Any]) -> Row | None:
    """Return the row of a document, or of a projection of it with its `_id`; None where that is not its object's.

    Values that are not of their column's type are read as `to_document` would have written them.
    """
    row = _values(kind, document)
    if not is_of(scope, document):
        log_skipped(kind.plural, document)
        return None
    row = typed(kind, row, document)
    if kind.vast:
        # Of 100,000 images a few owners and architectures: one string each, not 100,000.
        common = kind.common
        row = tuple(intern(value) if at in common and type(value) is str else value for at, value in enumerate(row))
    return (*row, scope)


def to_rows(kind: Kind, scope: Scope, documents: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the row of each document that has one."""
    return (row for document in documents if (row := to_row(kind, scope, document)) is not None)


def _values(kind: Kind, document: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a document says in each column: of what is gathered, what can be understood."""
    row = tuple(map(document.get, kind.fields))
    for at, column, field in kind.gathered:
        value = row[at]
        if value is None and column.earlier and field not in document:
            value = _earlier(column, document)
        if value is not None:
            row = (*row[:at], _TYPED[column.type](value, column.type) or value or None, *row[at + 1 :])
    return row


def _earlier(column: Column, document: Mapping[str, Any]) -> Any:
    """Return what an earlier version has written of a column."""
    value: Any = document
    for step in column.earlier.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def is_of(scope: Scope, document: Mapping[str, Any]) -> bool:
    """Return whether a document has the id of an object, and the `_id` that this has in a cloud and region."""
    native = document.get("id")
    return type(native) is str and native != "" and document.get("_id") == scope.key(native)


_GOOD: defaultdict[str, set[tuple[type, ...]]] = defaultdict(set)
"""By kind, the types of values that make a row as they are: looking at each value costs 100,000 rows a second."""


def typed(kind: Kind, row: tuple[Any, ...], document: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a row, each of its column's type, None where it cannot be made so."""
    if tuple(map(type, row)) in _GOOD[kind.name]:
        return row
    mended = tuple(_TYPED[column.type](value, column.type) for column, value in zip(kind.columns, row, strict=True))
    if any(new is None and old is not None for new, old in zip(mended, row, strict=True)):
        log_skipped("journal" if kind is JOURNAL else kind.plural, document)
    elif mended == row and not any(isinstance(value, (float, Flight)) for value in mended):  # of any value of its type
        _GOOD[kind.name].add(tuple(map(type, row)))
    return mended


def understood(kind: Kind, scope: Scope, document: Document) -> Document | None:
    """Return all of a document, each column's value of its type; None as `to_row` does."""
    if to_row(kind, scope, document) is None:
        return None
    typed = {
        name: _stored(_TYPED[column.type](document[name], column.type), column.type)
        for column, name in zip(kind.columns, kind.fields, strict=True)
        if name in document and column.type != "flight"
    }
    extra = document.get("extra")
    return document | typed | {"extra": extra if isinstance(extra, dict) else {}}


def digest_of(document: Mapping[str, Any]) -> int | None:
    """Return the hash of a document, None where it has none."""
    digest = document.get("hash")
    return digest if isinstance(digest, int) and not isinstance(digest, bool) else None


# --- values ----------------------------------------------------------------------------------------------------------


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
    return number if (isfinite(number) if isinstance(number, float) else abs(number) <= _LARGEST) else None


def _flag(value: Any, _type: Type) -> bool | None:
    return value if isinstance(value, bool) else None


def _list(value: Any, _type: Type) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = value.split(_BETWEEN)
    if not isinstance(value, (list, tuple)):
        return None
    return tuple(one for one in value if isinstance(one, str) and one) or None


def _tags(value: Any, _type: Type) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(value, (list, tuple)):
        return None
    pairs = [_pair(one) for one in value]
    return tuple(sorted(filter(None, pairs), key=_tag_order)) or None


def _pair(entry: Any) -> tuple[str, str] | None:
    if isinstance(entry, Mapping):
        entry = (entry.get("key"), entry.get("value"))
    if not (isinstance(entry, tuple) and len(entry) == 2):
        return None
    key, value = entry
    # Of 100,000 images a few tags: one string each.
    return (intern(key), intern(value)) if type(key) is str and type(value) is str else None


def _tag_order(tag: tuple[str, str]) -> tuple[bool, str]:
    """Return what orders tags: last those that stand in a column of their own, or that AWS has set."""
    key = tag[0]
    return key == "Name" or key.startswith("aws:"), key


_BETWEEN = ", "
"""What stands between the entries of a list (ids, addresses) in a document.

They are one text there: the validators that earlier versions have left on a team's server let a volume's VM be a text
alone, as they wrote it, and a user with the role readWrite cannot alter them. One entry is what those versions wrote.
"""


def _stored(value: Any, kind: Type) -> Any:
    """Return a list or tags of a row as a document has them, any other value as it is."""
    if type(value) is not tuple:
        return value
    return _BETWEEN.join(value) if kind == "list" else [{"key": key, "value": said} for key, said in value]


def _flight(value: Any, _type: Type) -> Flight | None:
    if not isinstance(value, Mapping):
        return None
    action, since, before = value.get("action"), value.get("since"), value.get("before")
    if not isinstance(action, str) or not isinstance(since, datetime):
        return None
    return Flight(action, since, value.get("overdue") is True, before if isinstance(before, str) else None)


_TYPED: dict[Type, Callable[[Any, Type], Any]] = {
    "text": _text, "state": _text, "time": _time, "int": _number, "mib": _number, "gib": _number, "usd": _number,
    "seconds": _number, "flag": _flag, "flight": _flight, "list": _list, "tags": _tags,
}  # fmt: skip
"""What each type of column stores, and shows, of a value."""


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
    "list": {"bsonType": ["string", "null"]},
    "tags": {"bsonType": ["array", "null"], "items": {"bsonType": "object"}},
}


def validator(kind: Kind) -> Document:
    """Return the `$jsonSchema` of a kind's collection: every column may be null, none may be of another type."""
    return {
        "$jsonSchema": {
            "bsonType": "object",
            "required": ["_id", "cloud", "region", "id", "refreshed"],
            "properties": {
                **{name: _BSON[column.type] for name, column in zip(kind.fields, kind.columns, strict=True)},
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
