"""Documents that another version, another client or an attacker may have left in the cache, beside valid ones."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from bson import CodecOptions, Decimal128, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from hypothesis import strategies as st
from pymongo.errors import WriteError

from backend.cache import Cache, RefreshRecord
from backend.catalog import KINDS
from backend.kinds.model import Kind, Scope, Type
from tests.backend.cache_support import SAMPLES, FakeCloud, item, items

COLLECTIONS = (*(kind.plural for kind in KINDS.values()), "refreshes", "journal")
GOOD = ("good-1", "good-2", "good-3")
"""Ids of the valid objects of every kind and of the valid journal entries."""


def _nested(depth: int) -> dict[str, Any]:
    return {"a": _nested(depth - 1) if depth else [None]}


ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "a number": 42,
    "a negative number": -7,
    "a large number": 2**63 - 1,
    "half a number": 4.5,
    "no number": float("nan"),
    "an endless number": float("inf"),
    "no text": "",
    "text": "un-heard-of",
    "control characters": "\0\x1b[2J\u202e",
    "markup": "[/][bold]",
    "long": "x" * 50_000,
    "superscript digits": "host:²",
    "many digits": "9" * 5_000,
    "the first time": datetime(1, 1, 1, tzinfo=UTC),
    "the last time": datetime(9999, 12, 31, tzinfo=UTC),
    "a list": [1, "a", None, {"a": 1}],
    "an empty list": [],
    "a list of times": [datetime(2026, 1, 1, tzinfo=UTC)],
    "an object": {"action": 5, "since": "x", "key": 1, "value": 2},
    "an empty object": {},
    "deep": _nested(60),
    "bytes": b"\xff\0",
    "an object id": ObjectId(b"123456789012"),
}
"""Values that few columns can use."""

BEYOND: dict[str, Any] = {
    "a time that Python has not": DatetimeMS(2**62),
    "a timestamp": Timestamp(2**31, 1),
    "an expression": Regex("(", "i"),
    "a decimal": Decimal128("NaN"),
}
"""More such values, which mongomock does not support."""


def _good_rows(kind: Kind) -> list[dict[str, Any]]:
    listed = {"vm": {"state": "running"}, "location": {"region": "us-east-1"}}
    return [item(kind, native, **listed.get(kind.name, {})) for native in GOOD]


LISTED = {kind.plural: _good_rows(kind) for kind in KINDS.values()}
OTHERS = tuple(f"other-{number}" for number in range(20))
"""What the cloud lists as well: what is said of them in the cache is damaged, if it says anything."""


class Listing(FakeCloud):
    """A cloud that can be listed; every action on it fails."""

    def vm_addresses(self, vms: Sequence[str]) -> dict[str, list[str]]:
        return {vm: [] for vm in vms}


def cloud() -> FakeCloud:
    """Return a cloud with the valid objects."""
    pages = {kind.plural: [*LISTED[kind.plural], *items(kind, *OTHERS)] for kind in KINDS.values()}
    return Listing(**{name: (lambda _ids, page=page: [page]) for name, page in pages.items()})


def waiting(native: str, scope: Scope, at: datetime) -> dict[str, Any]:
    """Return an entry that its process, which has ended, had not begun."""
    described = {
        "cloud": scope.cloud,
        "region": scope.region,
        "user": "ann",
        "host": "elsewhere",
        "owner_host": "elsewhere",
    }
    begun: dict[str, Any] = {
        "outcome": "waiting",
        "error": None,
        "seconds": None,
        "sent": None,
        "request": {},
        "settled": False,
    }
    more = {"objects": [], "batch": "b", "place": 0, "owner": ""}
    return {"_id": native, "at": at, "command": f"vm stop {native}", **described, **begun, **more}


def fill(cache: Cache, scope: Scope, *, kinds: bool = True) -> None:
    """Write the good objects, records and entries."""
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    for kind in KINDS.values() if kinds else ():
        cache.rows.put(kind, scope, LISTED[kind.plural])
        cache.refreshes.write(kind, scope, RefreshRecord(scope.cloud, scope.region, kind.name, now, now, len(GOOD)))
    cache.journal.add([waiting(native, scope, now) for native in GOOD])


class Damage:
    """A document that is to stand beside the good ones, or in the place of a record; `what` was done to it."""

    def __init__(self, collection: str, document: dict[str, Any], what: list[str]) -> None:
        self.collection = collection
        self.document = document
        self.what = what

    def __repr__(self) -> str:
        return f"{self.collection}: {', '.join(self.what)}"  # the whole is too long for hypothesis to show

    def write(self, cache: Cache) -> None:
        """Write it unchanged, without the validator."""
        collection = cache.store.database[self.collection]
        if cache.mode == "memory":
            collection.replace_one({"_id": self.document["_id"]}, self.document, upsert=True)
            return
        with suppress(WriteError):  # of two lists where its index has two fields
            collection.replace_one(
                {"_id": self.document["_id"]}, self.document, upsert=True, bypass_document_validation=True
            )


_TYPES: dict[Type, Any] = SAMPLES | {
    "flag": True, "flight": {"action": "stop", "since": SAMPLES["time"]}, "tags": [{"key": "a", "value": "b"}],
}  # fmt: skip


def _whole(collection: str, number: int, scope: Scope) -> dict[str, Any]:
    """Return a good document of a collection."""
    native = f"other-{number}"
    if collection == "journal":
        entry = waiting(native, scope, datetime.now(UTC))
        return entry | {"sent": entry["at"], "request": {"name": "x", "before": []}, "error": "x", "seconds": 1.5}
    if collection == "refreshes":
        kind = list(KINDS)[number % len(KINDS)]
        now = datetime.now(UTC)
        return {
            "_id": scope.key(kind), "cloud": scope.cloud, "region": scope.region, "kind": kind, "started": now,
            "finished": now, "count": 1, "added": 1, "changed": 1, "removed": 1, "seconds": 1.5, "error": "x",
            "batch": 1, "written": 1, "writer": "w", "lease": "l", "lease_by": "x:1", "lease_until": now,
        }  # fmt: skip
    kind_ = next(kind for kind in KINDS.values() if kind.plural == collection)
    columns = {name: _TYPES[column.type] for name, column in zip(kind_.fields, kind_.columns, strict=True)}
    ours = {"cloud": scope.cloud, "region": scope.region, "hash": number, "refreshed": datetime.now(UTC)}
    return {"_id": scope.key(native), **columns, **ours, "extra": {"tags": []}, "id": native}


_NO_KEYS = frozenset({"null", "no number", "a list", "an empty list", "a list of times", "an expression"})
"""What no `_id` can be, or mongomock cannot find again."""


@st.composite
def damages(
    draw: st.DrawFn, scope: Scope, odd: Mapping[str, Any] = ODD, collections: tuple[str, ...] = COLLECTIONS
) -> Damage:
    """Draw a document with one to three fields missing, of another type, or with another value."""
    collection = draw(st.sampled_from(collections))
    document = copy.deepcopy(_whole(collection, draw(st.integers(0, 50)), scope))
    if collection == "journal":
        document["outcome"] = draw(st.sampled_from(["waiting", "unfinished", "unknown"]))
        document["command"] = draw(st.sampled_from(COMMANDS))
    done = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted({*document, "of_another_version"})))
        what = draw(st.sampled_from([*odd, "dropped", "as a good one's"]))
        done.append(f"{name} {what}")
        if what == "dropped" and name != "_id":
            document.pop(name, None)
        elif what == "as a good one's" and name == "id":
            document[name] = GOOD[0]
        elif what in odd and not (name == "_id" and what in _NO_KEYS):
            document[name] = odd[what]
    return Damage(collection, document, done)


COMMANDS = [
    "vm stop i-1", "vm reboot i-1", "vm delete i-1", "vm boot ami-1 --name x", "vm boot ami-1 --dry-run", "vm list",
    "vm export all.csv", "volume create data", "volume attach vol-1 i-1", "keypair create x", "journal resume",
    "refresh all", "vm", "", "vm stop 'i-1", "rm -rf /", "vm stop --force", "vm tag i-1 nothing",
]  # fmt: skip


def no_bson(cache: Cache, collection: str, key: str, good: Mapping[str, Any], field: str) -> Callable[[], None]:
    """Return what writes a document that the server takes and the driver cannot read: one field is no BSON."""
    options: CodecOptions[Any] = CodecOptions(tz_aware=True)
    from bson import encode

    whole = encode({**good, "_id": key, field: None}, codec_options=options)
    name = b"\n" + field.encode() + b"\0"
    broken = b"\5" + field.encode() + b"\0" + (3).to_bytes(4, "little") + b"\2abc"
    body = whole[4:].replace(name, broken, 1)
    raw = RawBSONDocument((len(body) + 4).to_bytes(4, "little") + body, CodecOptions(document_class=RawBSONDocument))

    def write() -> None:
        found = cache.store.database[collection]
        found.delete_one({"_id": key})
        found.insert_one(raw, bypass_document_validation=True)

    return write
