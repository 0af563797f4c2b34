"""Reads and writes the cache's collections, on MongoDB or mongomock."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure, PyMongoError

from backend.cache.documents import (
    Change,
    Document,
    RefreshRecord,
    Scope,
    record,
    to_document,
    to_row,
    validator,
)
from backend.cache.faults import sentence
from backend.callbacks import ignore
from backend.format import MOVING, Flight
from backend.kinds import KINDS, Kind, Row

Mode = Literal["embedded", "memory", "mongodb"]

_T = TypeVar("_T")

CHUNK = 1_000
"""Documents or ids in one request."""

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
    ) -> None:
        self.mode = mode
        self.place = place
        self.note = note
        self.client = client
        self.database = client[database]
        self.revive = revive
        """Starts the server again where it is ours and gone; else does nothing."""
        self._close = close
        # mongomock is not thread-safe; MongoDB's client is.
        self._lock: AbstractContextManager[Any] = threading.RLock() if mode == "memory" else nullcontext()
        self._listeners: list[Announce] = []

    def close(self) -> None:
        """Give the connection back, and the embedded server where this cache holds one."""
        self._listeners.clear()
        self.client.close()
        self._close()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Hold the database for one operation; MongoDB's errors come out as CacheError."""
        try:
            with self._lock:
                yield
        except PyMongoError as error:
            raise sentence(error, self.place) from None

    def prepare(self) -> None:
        """Create what is missing of the collections, their indexes and, where the server has them, validators."""
        with self.use():
            existing = set(self.database.list_collection_names())
            for kind in KINDS.values():
                if self.mode != "memory":
                    self._validate(kind, create=kind.plural not in existing)
                collection = self.database[kind.plural]
                collection.create_index([("cloud", 1), ("region", 1), ("name", 1)])
            self.database["journal"].create_index([("at", -1)])

    def _validate(self, kind: Kind, *, create: bool) -> None:
        schema = validator(kind)
        if create:
            try:
                self.database.create_collection(kind.plural, validator=schema)
            except CollectionInvalid:  # another dashboard was faster
                create = False
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:
                    raise
                create = False
        if not create:
            options = self.database[kind.plural].options()
            if options.get("validator") != schema:
                self.database.command("collMod", kind.plural, validator=schema)

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
        projection = {column.name: 1 for column in kind.columns} | {"_id": 0}
        with self.use():
            found = self.database[kind.plural].find(_of(scope), projection, batch_size=5_000)
            return [to_row(kind, document) for document in found]

    def count(self, kind: Kind, scope: Scope) -> int:
        """Return how many rows a snapshot would have."""
        with self.use():
            return int(self.database[kind.plural].count_documents(_of(scope)))

    def document(self, kind: Kind, scope: Scope, native: str) -> Document | None:
        """Return everything that is known of one object, None when it is not in the cache."""
        with self.use():
            found: Document | None = self.database[kind.plural].find_one({"_id": scope.key(native)})
            return found

    def named(self, kind: Kind, scope: Scope, word: str) -> list[Row]:
        """Return the rows whose id is `word`, else those whose name is."""
        with self.use():
            collection = self.database[kind.plural]
            found = collection.find_one({"_id": scope.key(word)})
            documents = [found] if found else list(collection.find({**_of(scope), "name": word}))
            return [to_row(kind, document) for document in documents]

    def known(self, kind: Kind, scope: Scope) -> dict[str, str]:
        """Return a digest by id of every row, for `put` to tell what is new or changed."""
        with self.use():
            found = self.database[kind.plural].find(_of(scope), {"_id": 0, "id": 1, "hash": 1}, batch_size=10_000)
            return {document["id"]: document.get("hash", "") for document in found}

    def put(
        self,
        kind: Kind,
        scope: Scope,
        items: Iterable[Mapping[str, Any]],
        known: dict[str, str],
        flight: Flight | None = None,
    ) -> tuple[int, int]:
        """Write the items that are new or changed against `known` and return (added, changed).

        What was written is added to `known`, so that an object that stands on two pages is not new on both; of one
        that stands twice among the items the last wins. A VM's flight is kept; `flight`, where given, takes its place
        in the same write, so that no table shows a VM that was just booted without it.
        """
        now = datetime.now(UTC)
        documents = {item["id"]: to_document(kind, scope, item, now) for item in items if item.get("id")}
        fresh = [document for native, document in documents.items() if known.get(native) != document["hash"]]
        if flight:
            fresh = [document | {"flight": flight._asdict()} for document in fresh]
        if fresh:
            with self.use():
                self._write(kind, fresh, known)
                flights = self._flights(kind, [document["_id"] for document in fresh])
            rows = tuple(to_row(kind, document | flights.get(document["_id"], {})) for document in fresh)
            self._announce(Change(kind.name, scope, upserts=rows))
        changed = sum(document["id"] in known for document in fresh)
        known.update((document["id"], document["hash"]) for document in fresh)
        return len(fresh) - changed, changed

    def _write(self, kind: Kind, documents: Sequence[Document], known: Mapping[str, str]) -> None:
        collection = self.database[kind.plural]
        if self.mode == "memory":
            # mongomock has no bulk_write with this pymongo, and scans everything for each update.
            new = [document for document in documents if document["id"] not in known]
            present = {found["_id"] for found in collection.find({"_id": {"$in": [d["_id"] for d in new]}}, {"_id": 1})}
            if absent := [document for document in new if document["_id"] not in present]:
                collection.insert_many(absent)
            for document in documents:
                if document["id"] in known or document["_id"] in present:
                    collection.update_one({"_id": document["_id"]}, {"$set": document}, upsert=True)
            return
        for chunk in chunks(documents):
            # $set, not replace: `flight` is ours and not the cloud's to overwrite.
            updates = [UpdateOne({"_id": document["_id"]}, {"$set": document}, upsert=True) for document in chunk]
            try:
                collection.bulk_write(updates, ordered=False)
            except BulkWriteError as error:
                if any(entry["code"] != _DUPLICATE for entry in error.details["writeErrors"]):
                    raise
                collection.bulk_write(updates, ordered=False)  # another dashboard inserted the same row just now

    def _flights(self, kind: Kind, keys: Sequence[str]) -> dict[str, Document]:
        if "flight" not in kind.index:
            return {}
        query = {"_id": {"$in": list(keys)}, "flight": {"$ne": None}}
        return {found["_id"]: found for found in self.database[kind.plural].find(query, {"flight": 1})}

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

    def set_flight(self, scope: Scope, vm: str, flight: Flight | None, state: str | None = None) -> None:
        """Set or, with None, end the flight of a VM, together with the state that the cloud's answer told."""
        fields: Document = {"flight": flight._asdict() if flight else None}
        if state is not None:
            # The digest is of what a listing said; this was no listing, so the next one must write.
            fields |= {"state": state, "hash": ""}
        kind = KINDS["vm"]
        with self.use():
            self.database[kind.plural].update_one({"_id": scope.key(vm)}, {"$set": fields})
        self._announce_row(kind, scope, vm)

    def _announce_row(self, kind: Kind, scope: Scope, native: str) -> None:
        if self._listeners and (document := self.document(kind, scope, native)) is not None:
            self._announce(Change(kind.name, scope, upserts=(to_row(kind, document),)))

    def flights(self, scope: Scope) -> list[Row]:
        """Return the rows of the VMs in flight: those acted on from here, and those that EC2 says are moving."""
        kind = KINDS["vm"]
        moving = [{"flight": {"$ne": None}}, {"state": {"$in": sorted(MOVING)}}]
        with self.use():
            found = self.database[kind.plural].find({**_of(scope), "$or": moving})
            return [to_row(kind, document) for document in found]

    # --- refreshes ---------------------------------------------------------------------------------------------------

    def refreshed(self, kind: Kind, scope: Scope) -> RefreshRecord:
        """Return what is known of the last refresh of a kind; an empty record when there has been none."""
        with self.use():
            found = self.database["refreshes"].find_one({"_id": scope.key(kind.name)})
        return record(found) if found else RefreshRecord(scope.cloud, scope.region, kind.name)

    def note_refresh(self, kind: Kind, scope: Scope, entry: RefreshRecord) -> None:
        """Write the `refreshes` document of a kind."""
        with self.use():
            self.database["refreshes"].update_one({"_id": scope.key(kind.name)}, {"$set": asdict(entry)}, upsert=True)
        self._announce(Change(kind.name, scope, record=entry))

    # --- journal -----------------------------------------------------------------------------------------------------

    def journal_add(self, entry: Document) -> Any:
        """Write a new journal entry and return its id; it is on disk when this returns."""
        with self.use():
            return self._journal().insert_one(entry).inserted_id

    def journal_end(self, key: Any, fields: Document) -> None:
        """Complete a journal entry; what is written stays on disk."""
        with self.use():
            self._journal().update_one({"_id": key}, {"$set": fields})

    def journal(self, limit: int = 1_000) -> list[Document]:
        """Return the newest journal entries, newest first."""
        with self.use():
            return list(self.database["journal"].find({}, sort=[("at", -1)], limit=limit))

    def _journal(self) -> Any:
        collection = self.database["journal"]
        if self.mode == "memory":
            return collection
        # kill -9 of the server loses thousands of acknowledged writes without j (measured).
        return collection.with_options(write_concern=WriteConcern(w=1, j=True))


_DUPLICATE = 11000
_NAMESPACE_EXISTS = 48


def _of(scope: Scope) -> Document:
    return {"cloud": scope.cloud, "region": scope.region}


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield `values` in requests of at most CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
