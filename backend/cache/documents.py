"""The documents of each kind: how items become documents, how documents become rows, and the schema.

Another version, another client or an attacker may have written anything. A document that cannot be understood is
skipped (None) and logged once; it never affects the others.
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
"""Documents or ids in one request. Encoding or decoding one request holds the interpreter lock for a few ms."""


@dataclass(frozen=True)
class Change:
    """A change in the cache, made by this process or another.

    For kinds that are followed row by row, `upserts` and `removed` are the rows and refs themselves. `reread` means
    that the whole snapshot must be read again. `record` is set when a refresh starts, progresses or ends.
    """

    kind: str
    scope: Scope
    upserts: tuple[Row, ...] = ()
    removed: tuple[Ref, ...] = ()
    reread: bool = False
    record: RefreshRecord | None = None


# --- rows and documents ----------------------------------------------------------------------------------------------


def to_document(kind: Kind, scope: Scope, item: Mapping[str, Any], now: datetime) -> Document:
    """Return the document of one listed object. A value that does not have its column's type becomes None.

    `hash` is the digest of the item, or else a digest of all its values.
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
        # Tag keys may hold dots and dollars, which MongoDB reads as paths and operators, so store them as values.
        # Clouds list tags in any order, so sort them: else they would look changed.
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
    """Return whether two documents describe the same state of an object, whatever their hash and time."""
    return all(document[name] == other.get(name) for name in document if name not in _UNSAID)


_UNSAID = frozenset({"hash", "refreshed"})


def to_row(kind: Kind, scope: Scope, document: Mapping[str, Any]) -> Row | None:
    """Return the row of a document, or of a projection that includes `_id`; None if `_id` does not match the object.

    A value that does not have its column's type is read as `to_document` would write it.
    """
    row = _values(kind, document)
    if not is_of(scope, document):
        log_skipped(kind.plural, document)
        return None
    row = typed(kind, row, document)
    if kind.vast:
        # 100,000 images have a few owners and architectures: keep one string of each.
        common = kind.common
        row = tuple(intern(value) if at in common and type(value) is str else value for at, value in enumerate(row))
    return (*row, scope.text)


def to_rows(kind: Kind, scope: Scope, documents: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the row of each document that can be understood."""
    return (row for document in documents if (row := to_row(kind, scope, document)) is not None)


def _values(kind: Kind, document: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a document by column; in lists and tags, only the entries that can be understood."""
    row = tuple(map(document.get, kind.fields))
    for at, column, field in kind.gathered:
        value = row[at]
        if value is None and column.earlier and field not in document:
            value = _earlier(column, document)
        if value is not None:
            row = (*row[:at], _TYPED[column.type](value, column.type) or value or None, *row[at + 1 :])
    return row


def _earlier(column: Column, document: Mapping[str, Any]) -> Any:
    """Return the value of a column as an earlier version wrote it."""
    value: Any = document
    for step in column.earlier.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def is_of(scope: Scope, document: Mapping[str, Any]) -> bool:
    """Return whether a document has an object id, and the `_id` that belongs to this id in the scope."""
    native = document.get("id")
    return type(native) is str and native != "" and document.get("_id") == scope.key(native)


_GOOD: defaultdict[str, set[tuple[type, ...]]] = defaultdict(set)
"""By kind, the value types of rows that need no conversion. Checking every value would cost 100,000 rows a second."""


def typed(kind: Kind, row: tuple[Any, ...], document: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a row converted to the types of their columns; None if that is not possible."""
    if tuple(map(type, row)) in _GOOD[kind.name]:
        return row
    mended = tuple(_TYPED[column.type](value, column.type) for column, value in zip(kind.columns, row, strict=True))
    if any(new is None and old is not None for new, old in zip(mended, row, strict=True)):
        log_skipped("journal" if kind is JOURNAL else kind.plural, document)
    elif mended == row and not any(isinstance(value, (float, Flight)) for value in mended):
        # Floats and flights are left out: a value of the right type may still be invalid.
        _GOOD[kind.name].add(tuple(map(type, row)))
    return mended


def understood(kind: Kind, scope: Scope, document: Document) -> Document | None:
    """Return a whole document with its values converted to the types of their columns; None if `to_row` is None."""
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
    """Return the hash of a document, or None."""
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
    # 100,000 images share a few tags: keep one string of each.
    return (intern(key), intern(value)) if type(key) is str and type(value) is str else None


def _tag_order(tag: tuple[str, str]) -> tuple[bool, str]:
    """Return the sort key of a tag. Tags that have their own column, and tags set by AWS, come last."""
    key = tag[0]
    return key == "Name" or key.startswith("aws:"), key


_BETWEEN = ", "
"""The separator of a list (ids, addresses) in a document.

A document stores a list as one text. Earlier versions left validators on shared servers that allow only a text for the
VM of a volume, and a user with the role readWrite cannot alter them. A list of one entry is what those versions wrote.
"""


def _stored(value: Any, kind: Type) -> Any:
    """Return a list or the tags of a row as a document stores them, any other value unchanged."""
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
"""The converter of each column type: it returns what is stored and shown, or None."""


_LARGEST = (1 << 63) - 1
"""The largest integer that a document holds."""


def _digest(values: Mapping[str, Any], extra: Mapping[str, Any]) -> int:
    text = json.dumps([values, extra], sort_keys=True, default=plain_or_text, separators=(",", ":"))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)  # fits MongoDB's 64-bit integer


def plain_or_text(value: Any) -> Any:
    """Return `value` for JSON: see `backend.format.plain`. Types that JSON lacks become text."""
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
    """Return the `$jsonSchema` of a kind's collection: every column may be null, none may have another type."""
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
