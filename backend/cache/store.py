"""Reads and writes the cache's collections, on MongoDB or mongomock."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any, Literal, TypeVar
from uuid import uuid4

from bson import decode_all
from bson.errors import BSONError
from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, PyMongoError

from backend.cache.documents import (
    CHUNK,
    Change,
    Document,
    RefreshRecord,
    Scope,
    digest_of,
    entry,
    is_of,
    record,
    same,
    scope_of,
    to_document,
    to_entry,
    to_row,
    understood,
    validator,
)
from backend.cache.faults import sentence
from backend.cache.known import Hashes, Known
from backend.callbacks import ignore
from backend.errors import CacheError, CacheLostError
from backend.format import MOVING, Flight
from backend.kinds import JOURNAL, KINDS, Kind, Row

Mode = Literal["embedded", "memory", "mongodb"]

_T = TypeVar("_T")

LEASE_SECONDS = 30.0

Announce = Callable[[Change], object]


class Cache:
    """One cache database. Safe for use by several threads; every method may block and raise CacheError.

    `mode` says what kind of server it is on; `place` names it without its credentials; `note` is a sentence for the
    user where the cache is not the one that the configuration asked for.
    """

    def __init__(
        self,
        client: Any,
        database: str,
        mode: Mode,
        place: str,
        *,
        note: str = "",
        close: Callable[[], None] = ignore,
        revive: Callable[[], object] = ignore,
        full: Callable[[], str] = str,
    ) -> None:
        self.mode = mode
        self.place = place
        self.note = note
        self.client = client
        self.database = client[database]
        self.revive = revive
        """Starts the server again where it is ours and gone; else does nothing."""
        self.lease_seconds = LEASE_SECONDS
        """For how long nobody else refreshes a kind when the refresh under way is not heard of."""
        self.writer = uuid4().hex
        """What tells this open cache from all others in the records of its refreshes."""
        self._close = close
        self._full = full
        # mongomock is not thread-safe; MongoDB's client is.
        self._lock: AbstractContextManager[Any] = threading.RLock() if mode == "memory" else nullcontext()
        self._listeners: list[Announce] = []

    def close(self) -> None:
        """Give the connection back, and the embedded server where this cache holds one; never takes long."""
        self._listeners.clear()
        # The driver takes leave of the server first, and waits for one that is frozen until its sockets time out.
        closing = threading.Thread(target=self.client.close, name="closing the cache", daemon=True)
        closing.start()
        closing.join(_LEAVE)
        self._close()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Hold the database for one operation; MongoDB's errors come out as CacheError."""
        try:
            with self._lock:
                yield
        except (PyMongoError, BSONError) as error:
            raise self.sentence(error) from None

    def sentence(self, error: PyMongoError | BSONError) -> CacheError:
        """Return what MongoDB's error says to the user; a server of ours may be gone because its disk is full."""
        said = sentence(error, self.place)
        if isinstance(said, CacheLostError) and (folder := self._full()):
            return CacheLostError(f"{said.message} The disk of {folder} is full.", "Free some space.")
        return said

    def prepare(self) -> None:
        """Create what is missing of the collections, their indexes and, where the server has them, validators."""
        with self.use():
            existing = {found["name"]: found["options"] for found in self._collections()}
            for kind in KINDS.values():
                # Moderate: what does not fit already may be written to all the same, else it could not be put right.
                schema = {"validator": validator(kind), "validationLevel": "moderate"}
                if schema.items() <= existing.get(kind.plural, {}).items():  # the last to be set: the rest is there too
                    continue
                # Of equal keys the server keeps the order in which they came, which an index by name would not.
                self.database[kind.plural].create_index([("cloud", 1), ("region", 1)])
                if self.mode != "memory":
                    self.database.command("collMod", kind.plural, **schema)
            if "journal" not in existing:
                self.database["journal"].create_index([("at", -1), ("place", -1)])

    def _collections(self) -> Iterable[Document]:
        if self.mode == "memory":  # mongomock does not know their options
            return ()
        found: Iterable[Document] = self.database.list_collections()
        return found

    def _find(self, collection: str, query: Document, projection: Document | None = None, **how: Any) -> Iterator[Any]:
        """Yield the documents that are found; one that is no BSON, which the server takes, as an empty one."""
        find = self.database[collection]
        how = {"batch_size": CHUNK, **how}
        if self.mode == "memory":
            yield from find.find(query, projection, **how)
            return
        options = self.database.codec_options
        for batch in find.find_raw_batches(query, projection, **how):
            try:
                yield from decode_all(batch, options)
            except BSONError:
                yield from _one_by_one(batch, options)

    def _find_one(self, collection: str, key: str) -> Document | None:
        return next(self._find(collection, {"_id": key}), None)

    # --- listening ---------------------------------------------------------------------------------------------------

    def listen(self, listener: Announce) -> None:
        """Tell `listener` of every change that this process writes, on the thread that writes it."""
        self._listeners.append(listener)

    def unlisten(self, listener: Announce) -> None:
        """Stop telling `listener`."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _announce(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

    # --- rows --------------------------------------------------------------------------------------------------------

    def rows(self, kind: Kind, scope: Scope) -> list[Row]:
        """Return the snapshot of one kind: its rows in the order they were first seen."""
        return list(chain.from_iterable(self.pages(kind, scope)))

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        """Yield the snapshot of one kind in parts of CHUNK rows, the last of fewer."""
        with self.use():
            rows = self._rows(kind, scope, self._find(kind.plural, _of(scope), dict.fromkeys(kind.index, 1)))
            while page := list(islice(rows, CHUNK)):
                yield page

    def _rows(self, kind: Kind, scope: Scope, documents: Iterable[Document]) -> Iterator[Row]:
        return (row for document in documents if (row := to_row(kind, scope, document)) is not None)

    def count(self, kind: Kind, scope: Scope) -> int:
        """Return how many rows a snapshot would have."""
        with self.use():
            return int(self.database[kind.plural].count_documents(_of(scope)))

    def document(self, kind: Kind, scope: Scope, native: str) -> Document | None:
        """Return everything that is known of one object, None when it is not in the cache."""
        with self.use():
            found = self._find_one(kind.plural, scope.key(native))
            return None if found is None else understood(kind, scope, found)

    def named(self, kind: Kind, scope: Scope, word: str) -> list[Row]:
        """Return the rows whose id is `word`, else those whose name is."""
        with self.use():
            for query in ({"_id": scope.key(word)}, {**_of(scope), "name": word}):
                if rows := list(self._rows(kind, scope, self._find(kind.plural, query))):
                    return rows
            return []

    def known(self, kind: Kind, scope: Scope) -> Known:
        """Return what a refresh must know of the rows that there are."""
        unhashed: list[str] = []

        def hashes() -> Iterator[int]:
            for found in self._hashes(kind, scope):
                if (digest := digest_of(found)) is None:
                    unhashed.append(found["id"])
                else:
                    yield digest

        with self.use():
            return Known(Hashes(hashes()), unhashed)

    def left(self, kind: Kind, scope: Scope, known: Known) -> dict[str, int | None]:
        """Return the ids, with their hashes, of the rows that no listing has taken out of `known`.

        What somebody has written since is as it was known no longer, and not among them.
        """
        if not known:
            return {}
        with self.use():
            hashes = ((found["id"], digest_of(found)) for found in self._hashes(kind, scope))
            return {
                native: digest
                for native, digest in hashes
                if (native in known.unhashed if digest is None else digest in known.hashes)
            }

    def _hashes(self, kind: Kind, scope: Scope) -> Iterator[Document]:
        """Yield id and hash of each row; of what is none nothing is known, so that a listing writes it anew."""
        found = self._find(kind.plural, _of(scope), {"id": 1, "hash": 1}, batch_size=1_000)
        return (one for one in found if is_of(scope, one))

    def put(
        self,
        kind: Kind,
        scope: Scope,
        items: Iterable[Mapping[str, Any]],
        known: Known | None = None,
        flight: Flight | None = None,
    ) -> tuple[int, int]:
        """Write the items that are not in the cache as they are and return (added, changed).

        Those that `known` knows are passed over and taken out of it. Of an object that stands twice among the items the
        last wins. A VM's flight is kept; `flight`, where given, takes its place in the same write, so that no table
        shows a VM that was just booted without it.
        """
        refreshing = known is not None
        known = Known() if known is None else known
        now = datetime.now(UTC)
        listed: dict[str, Document] = {}
        passed: set[int] = set()
        for item in items:
            if item.get("id"):
                document = to_document(kind, scope, item, now)
                listed[document["_id"]] = document | {"flight": flight._asdict()} if flight else document
            elif "digest" in item:
                passed.add(item["digest"])
        known.hashes.take(passed)
        fresh = {key: document for key, document in listed.items() if document["hash"] not in known.hashes}
        known.hashes.take(document["hash"] for document in listed.values())
        if not fresh:
            return 0, 0
        with self.use():
            # What is new is inserted: an upsert costs the server five times as much (measured). Where there was nothing
            # it is not even looked for: the server refuses what is there after all.
            present = {} if refreshing and known.nothing else self._present(kind, fresh)
            there = self._insert(kind, [document for key, document in fresh.items() if key not in present])
            present |= dict.fromkeys(there, _UNCLEAR) | self._present(kind, there)
            hashes = {key: digest_of(found) for key, found in present.items()}
            known.hashes.take(hashes.values())
            known.unhashed.difference_update(listed[key]["id"] for key in present)
            # Listed as it is in the cache and otherwise too, on one page: it stays, else it would change to and fro.
            alike = [
                fresh.pop(key) for key, found in present.items() if same(fresh[key], found) or hashes[key] in passed
            ]
            self._update(kind, [document for key, document in fresh.items() if key in present])
            # Of what is as it was, but listed in other bytes now, only the hash.
            self._update(
                kind,
                [
                    {"_id": one["_id"], "hash": one["hash"]}
                    for one in alike
                    if hashes[one["_id"]] not in passed and hashes[one["_id"]] != one["hash"]
                ],
            )
        told = list(fresh.values())
        if refreshing:  # another dashboard's refresh has just written these: ours shows them as soon
            told += [one for one in alike if hashes[one["_id"]] == one["hash"]]
        if told and self._listeners:
            rows = self._rows(kind, scope, (present.get(one["_id"], {}) | one for one in told))
            self._announce(Change(kind.name, scope, upserts=tuple(rows)))
        changed = sum(key in present for key in fresh)
        return len(fresh) - changed, changed

    def _present(self, kind: Kind, keys: Iterable[str]) -> dict[str, Document]:
        """Return the documents of these keys that there are."""
        found = chain.from_iterable(self._find(kind.plural, {"_id": {"$in": chunk}}) for chunk in chunks([*keys]))
        return {one["_id"]: one for one in found if one}

    def _insert(self, kind: Kind, documents: Sequence[Document]) -> list[str]:
        """Insert documents and return the keys of those that were there, which stay as they are."""
        collection = self._written(kind)
        there = []
        for chunk in chunks(documents):
            try:
                collection.insert_many(chunk, ordered=False)
            except BulkWriteError as error:
                failed = error.details["writeErrors"]
                if any(entry["code"] != _DUPLICATE for entry in failed):
                    raise
                there += [chunk[entry["index"]]["_id"] for entry in failed]
        return there

    def _update(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Write what these documents say of their own, and leave what else is there: a flight is ours to end."""
        collection = self._written(kind)
        updates = [({"_id": document["_id"]}, {"$set": document}) for document in documents]
        if self.mode == "memory":  # mongomock has no bulk_write with this pymongo
            for query, update in updates:
                collection.update_one(query, update)
            return
        for chunk in chunks(updates):
            collection.bulk_write([UpdateOne(query, update) for query, update in chunk], ordered=False)

    def _written(self, kind: Kind) -> Any:
        collection = self.database[kind.plural]
        if not kind.vast or self.mode == "memory":
            return collection
        # Not waiting for the disk at each batch halves the time of a vast listing. The record of its end waits: what is
        # on disk then has all that was written before it.
        return collection.with_options(write_concern=_SOON)

    def remove(self, kind: Kind, scope: Scope, ids: Iterable[str]) -> int:
        """Remove rows and return how many of them there were."""
        gone = tuple(ids)
        removed = 0
        with self.use():
            for chunk in chunks(gone):
                query = {"_id": {"$in": [scope.key(native) for native in chunk]}}
                removed += self.database[kind.plural].delete_many(query).deleted_count
        if gone:
            self._announce(Change(kind.name, scope, removed=gone))
        return removed

    def remove_left(self, kind: Kind, scope: Scope, left: Mapping[str, int | None]) -> int:
        """Remove the rows that `left` has told of, but for those that somebody writes at this moment."""
        removed = 0
        with self.use():
            for hashed in (False, True):
                for chunk in chunks([native for native, digest in left.items() if (digest is not None) is hashed]):
                    keys = [scope.key(native) for native in chunk]
                    digests = [left[native] for native in chunk]  # no two rows have the same, but for None
                    query = {"_id": {"$in": keys}} | ({"hash": {"$in": digests}} if hashed else _UNHASHED)
                    removed += self.database[kind.plural].delete_many(query).deleted_count
        if left:
            self._announce(Change(kind.name, scope, removed=tuple(left)))
        return removed

    def set_flight(self, scope: Scope, vm: str, flight: Flight | None, state: str | None = None) -> None:
        """Set or, with None, end the flight of a VM, together with the state that the cloud's answer told."""
        fields: Document = {"flight": flight._asdict() if flight else None}
        if state is not None:
            # The digest is of what a listing said; this was no listing, so the next one must write.
            fields |= {"state": state, "hash": None}
        kind = KINDS["vm"]
        with self.use():
            self.database[kind.plural].update_one({"_id": scope.key(vm)}, {"$set": fields})
        self._announce_row(kind, scope, vm)

    def claim(self, scope: Scope, vm: str, flight: Flight, instead: Flight | None) -> bool:
        """Set the flight of a VM where it still is `instead`; return False where somebody else was quicker."""
        kind = KINDS["vm"]
        query: Document = {"_id": scope.key(vm)}
        query |= {"flight.since": instead.since, "flight.action": instead.action} if instead else _NO_FLIGHT
        with self.use():
            fields = {"flight": flight._asdict()}
            claimed: bool = self.database[kind.plural].update_one(query, {"$set": fields}).matched_count > 0
        if claimed:
            self._announce_row(kind, scope, vm)
        return claimed

    def set_protected(self, scope: Scope, vm: str, on: bool | None) -> None:
        """Note whether a VM is protected, and when that was asked; None: the cloud would not tell."""
        kind = KINDS["vm"]
        with self.use():
            fields = {"protected": on, "protection_asked": datetime.now(UTC)}
            self.database[kind.plural].update_one({"_id": scope.key(vm)}, {"$set": fields})
        self._announce_row(kind, scope, vm)

    def unasked(self, scope: Scope, since: datetime, limit: int) -> list[str]:
        """Return ids of VMs of which it was not asked since then whether they are protected, the longest ago first."""
        kind = KINDS["vm"]
        query = {
            **_of(scope),
            "state": {"$nin": ["shutting-down", "terminated"]},
            "$or": [{"protection_asked": None}, {"protection_asked": {"$lt": since}}],
        }
        with self.use():
            found = self._find(kind.plural, query, {"id": 1}, sort=[("protection_asked", 1)])
            return list(islice((one["id"] for one in found if is_of(scope, one)), limit))

    def _announce_row(self, kind: Kind, scope: Scope, native: str) -> None:
        if not self._listeners:
            return
        with self.use():
            rows = tuple(self._rows(kind, scope, self._find(kind.plural, {"_id": scope.key(native)})))
        if rows:
            self._announce(Change(kind.name, scope, upserts=rows))

    def flights(self, scope: Scope) -> list[Row]:
        """Return the rows of the VMs in flight: those acted on from here, and those that EC2 says are moving."""
        kind = KINDS["vm"]
        moving = [{"flight": {"$ne": None}}, {"state": {"$in": sorted(MOVING)}}]
        with self.use():
            found = self._find(kind.plural, {**_of(scope), "$or": moving}, dict.fromkeys(kind.index, 1))
            rows = list(self._rows(kind, scope, found))
        # What has a flight that cannot be understood is in none.
        return [row for row in rows if kind.value(row, "flight") or kind.value(row, "state") in MOVING]

    # --- refreshes ---------------------------------------------------------------------------------------------------

    def refreshed(self, kind: Kind, scope: Scope) -> RefreshRecord:
        """Return what is known of the last refresh of a kind; an empty record when there has been none."""
        with self.use():
            found = self._find_one("refreshes", scope.key(kind.name))
        return (None if found is None else record(found)) or RefreshRecord(scope.cloud, scope.region, kind.name)

    def records(self) -> list[RefreshRecord]:
        """Return what is known of the refreshes of every kind in every cloud."""
        with self.use():
            return [entry for found in self._find("refreshes", {}) if (entry := record(found)) is not None]

    def begin_refresh(
        self, kind: Kind, scope: Scope, lease: str, by: str, *, seen: RefreshRecord | None = None, dead: bool = False
    ) -> RefreshRecord | None:
        """Give a refresh the lease of its kind and return its record, which has the figures of the last listing.

        Returns None, and writes nothing, while another refresh has the lease and is heard of. Where `seen` is given,
        also when a listing has ended since; `dead` says that the one that had the lease then is heard of no more.
        """
        named = {"_id": scope.key(kind.name)}
        free: list[Document] = [self._expired()]
        query: Document = named | {"$or": free}
        if seen is not None:
            query |= {"finished": seen.finished}
            free += [{"lease": seen.lease}] if dead else []
        begun: Document = {"started": datetime.now(UTC), "error": None, "batch": 0, "writer": self.writer}
        begun |= {"lease": lease, "lease_by": by}
        about = {"cloud": scope.cloud, "region": scope.region, "kind": kind.name, "writer": self.writer}
        with self.use():
            records = self.database["refreshes"]
            there = self._find_one("refreshes", named["_id"])
            if there is not None and record(there) is None:  # it would be waited for what it says for ever
                records.delete_one(named)
            found = records.find_one_and_update(query, self._leased(begun))
            if (
                found is None
                and records.update_one(named, {"$setOnInsert": about}, upsert=True).upserted_id is not None
            ):
                found = records.find_one_and_update(query, self._leased(begun))
        if found is None:
            return None
        entry = record(found | begun) or RefreshRecord(scope.cloud, scope.region, kind.name, **begun)
        self._announce(Change(kind.name, scope, record=entry))
        return entry

    def keep_lease(self, kind: Kind, scope: Scope, lease: str, *, on_disk: bool = False) -> bool:
        """Let a lease last; return False where another refresh has it. `on_disk`: with all that was written before."""
        with self.use():
            records = self.database["refreshes"]
            if self.mode != "memory":
                records = records.with_options(write_concern=_SAFE if on_disk else _SOON)
            query = {"_id": scope.key(kind.name), "lease": lease}
            return bool(records.update_one(query, self._leased({"lease": lease})).matched_count)

    def note_refresh(self, kind: Kind, scope: Scope, entry: RefreshRecord, lease: str = "") -> bool:
        """Write the `refreshes` document of a kind.

        `lease` is that of the refresh that writes it: where another has it now nothing is written, and False returned.
        It lasts on where the entry has it too.
        """
        entry = replace(entry, writer=self.writer)
        query = {"_id": scope.key(kind.name)} | ({"lease": lease} if lease else {})
        with self.use():
            records = self.database["refreshes"]
            if entry.batch and self.mode != "memory":  # the next will follow
                records = records.with_options(write_concern=_SOON)
            written = records.update_one(query, self._leased(asdict(entry)), upsert=not lease)
        if lease and not written.matched_count:
            return False
        self._announce(Change(kind.name, scope, record=entry))
        return True

    def _leased(self, fields: Document) -> Any:
        """Return the update that writes `fields` and how long the lease in them lasts, by the clock of the server."""
        if not fields["lease"]:
            return {"$set": {**fields, "lease_until": None}}
        if self.mode == "memory":
            return {"$set": {**fields, "lease_until": datetime.now(UTC) + timedelta(seconds=self.lease_seconds)}}
        literal = {name: {"$literal": value} for name, value in fields.items()}  # a name may begin with a dollar
        return [{"$set": {**literal, "lease_until": {"$add": ["$$NOW", round(1_000 * self.lease_seconds)]}}}]

    def _expired(self) -> Document:
        """Return what a lease is that has ended, or lasts for longer than any that was ever given."""
        if self.mode == "memory":
            now = datetime.now(UTC)
            ends: list[Any] = [None, {"$lt": now}, {"$gt": now + timedelta(seconds=_LONGEST)}]
            return {"$or": [{"lease_until": end} for end in ends]}
        last = {"$add": ["$$NOW", round(1_000 * _LONGEST)]}
        until = "$lease_until"  # none at all is less than any
        return {"$expr": {"$or": [{"$lt": [until, "$$NOW"]}, {"$gt": [until, last]}]}}

    def server(self) -> Any:
        """Return what is another value when the server was started anew, or another has become the primary."""
        if self.mode == "memory":
            return None
        with self.use():
            hello = self.client.admin.command("hello")
        return hello.get("electionId"), hello.get("topologyVersion", {}).get("processId")

    # --- journal -----------------------------------------------------------------------------------------------------

    def journal_add(self, entries: Sequence[Document]) -> None:
        """Write new journal entries; they are on disk when this returns."""
        with self.use():
            for chunk in chunks(entries):
                self._journal().insert_many(chunk)
        self._announce_entries(entries)

    def journal_set(self, key: str, fields: Document, where: Document | None = None) -> bool:
        """Write what has become of a journal entry; it is on disk when this returns.

        `where` gives fields that it must have as they are; where it has not, nothing is written and False returned.
        """
        with self.use():
            written: bool = (
                self._journal().update_one({"_id": key, **(where or {})}, {"$set": fields}).matched_count > 0
            )
            found = self._find_one("journal", key) if self._listeners else None
        self._announce_entries([found] if found else [])
        return written

    def journal(self, limit: int = 1_000) -> list[Document]:
        """Return the newest journal entries, newest first."""
        return self._entries(entry, {}, limit)

    def unsettled(self, scope: Scope) -> list[Document]:
        """Return all journal entries of a cloud and region of which it is not known how they ended, newest first."""
        outcomes = ["waiting", "unfinished", "unknown"]
        query = {**_of(scope), "outcome": {"$in": outcomes}, "settled": {"$ne": True}}
        # Without an owner nobody can take it over.
        return [one for one in self._entries(entry, query) if one.get("owner") is not None]

    def entries_of(self, scope: Scope, native: str) -> list[Document]:
        """Return all journal entries that acted on an object or made it, newest first."""
        return self._entries(entry, {**_of(scope), "objects": native})

    def _entries(self, read: Callable[[Document], _T | None], query: Document, limit: int | None = None) -> list[_T]:
        with self.use():
            found = self._find("journal", query, sort=[("at", -1), ("place", -1)])
            return list(islice((one for document in found if (one := read(document)) is not None), limit))

    def journal_rows(self, limit: int) -> list[Row]:
        """Return the newest journal entries as rows of JOURNAL, newest first."""
        return self._entries(to_entry, {}, limit)

    def entry(self, key: str) -> Document | None:
        """Return all of one journal entry, None when there is none."""
        with self.use():
            return self._find_one("journal", key)

    def _announce_entries(self, entries: Iterable[Document]) -> None:
        if self._listeners:
            for row in map(to_entry, entries):
                if row is not None:
                    self._announce(Change(JOURNAL.name, scope_of(row), upserts=(row,)))

    def _journal(self) -> Any:
        collection = self.database["journal"]
        if self.mode == "memory":
            return collection
        # kill -9 of the server loses thousands of acknowledged writes without j (measured).
        return collection.with_options(write_concern=WriteConcern(w=1, j=True))


_SOON = WriteConcern(w=1)
"""Answered before it is on disk, where it is within a tenth of a second."""

_LEAVE = 0.3
"""Seconds that closing waits for the server."""

_SAFE = WriteConcern(w="majority", j=True)
"""Answered when it is on disk, with all that was written before it."""

_DUPLICATE = 11000

_LONGEST = 2 * LEASE_SECONDS
"""Seconds from now until which a lease may last; clocks of servers differ when another becomes the primary."""

_UNCLEAR: Document = {}
"""What stands for a document that is no BSON."""

_UNHASHED: Document = {
    "$or": [{"hash": {"$type": "array"}}, {"$nor": [{"hash": {"$type": "int"}}, {"hash": {"$type": "long"}}]}]
}
"""A row without a hash, or with what is none; of an array each entry's type counts too."""

_NO_FLIGHT: Document = {
    "$or": [
        {"flight": {"$not": {"$type": "object"}}},
        {"flight.since": {"$not": {"$type": "date"}}},
        {"flight.action": {"$not": {"$type": "string"}}},
    ]
}
"""A VM that is in no flight, or in one that cannot be understood."""


def _one_by_one(batch: bytes, options: Any) -> Iterator[Document]:
    """Yield the documents of a batch of which some are no BSON, each of those as an empty one."""
    while batch:
        size = int.from_bytes(batch[:4], "little")
        try:
            yield from decode_all(batch[:size], options)
        except BSONError:
            yield dict(_UNCLEAR)
        batch = batch[size:]


def _of(scope: Scope) -> Document:
    return {"cloud": scope.cloud, "region": scope.region}


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield `values` in requests of at most CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
