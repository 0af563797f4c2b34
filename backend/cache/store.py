"""The store connection: access to the cache's database, and the listeners that get every change."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar
from uuid import uuid4

from bson import decode_all
from bson.errors import BSONError
from pymongo import WriteConcern
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError

from backend.cache.documents import CHUNK, Change, to_rows
from backend.cache.faults import sentence
from backend.cache.keys import Document
from backend.callbacks import ignore
from backend.errors import CacheError, CacheLostError
from backend.kinds.model import Kind, Scope

Mode = Literal["embedded", "memory", "mongodb"]

_T = TypeVar("_T")

Announce = Callable[[Change], object]


class Store:
    """A connection to one database, shared by the faces of a cache; see backend.cache.cache.Cache."""

    def __init__(
        self,
        client: Any,
        database: str,
        mode: Mode,
        address: str,
        *,
        note: str = "",
        close: Callable[[], None] = ignore,
        revive: Callable[[], object] = ignore,
        full: Callable[[], str] = str,
    ) -> None:
        self.mode = mode
        self.address = address
        self.note = note
        self.client = client
        self.database = client[database]
        self.revive = revive
        """Restarts the embedded server if it is gone; does nothing for other servers."""
        self.writer = uuid4().hex
        """The unique name of this open cache in the records of its refreshes."""
        self.refusal: CacheError | None = None
        """Why writing is refused, if the user may only read; see backend.cache.preparing."""
        self._close = close
        self._full = full
        # mongomock is not thread-safe; MongoDB's client is.
        self._lock: AbstractContextManager[Any] = threading.RLock() if mode == "memory" else nullcontext()
        self._listeners: list[Announce] = []

    def close(self) -> None:
        """Close the connection and release the embedded server, if this cache uses it; takes at most 0.3 s."""
        self._listeners.clear()
        # The driver ends its sessions on the server first; with a frozen server it waits until the sockets time out.
        closing = threading.Thread(target=self.client.close, name="closing the cache", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        self._close()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Use the database for one operation. Turns MongoDB's errors into CacheError."""
        try:
            with self._lock:
                yield
        except (PyMongoError, BSONError) as error:
            raise self.sentence(error) from None

    def sentence(self, error: PyMongoError | BSONError) -> CacheError:
        """Return the CacheError for an error of MongoDB; a full disk may have stopped the embedded server."""
        said = sentence(error, self.address)
        if isinstance(said, CacheLostError) and (folder := self._full()):
            return CacheLostError(f"{said.message} The disk of {folder} is full.", "Free some space.")
        return said

    def find(self, collection: str, query: Document, projection: Document | None = None, **how: Any) -> Iterator[Any]:
        """Yield the documents found. The server also stores invalid BSON: that is yielded as an empty document."""
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

    def find_one(self, collection: str, key: str) -> Document | None:
        """Return the document whose `_id` is `key`, or None."""
        return next(self.find(collection, {"_id": key}), None)

    def server(self) -> Any:
        """Return a value that changes when the server restarts or another server becomes the primary."""
        if self.mode == "memory":
            return None
        with self.use():
            hello = retry_once(lambda: self.client.admin.command("hello"))
        return hello.get("electionId"), hello.get("topologyVersion", {}).get("processId")

    # --- listening ---------------------------------------------------------------------------------------------------

    def listen(self, listener: Announce) -> None:
        """Call `listener` with every change that this process writes, on the thread that writes it."""
        self._listeners.append(listener)

    def unlisten(self, listener: Announce) -> None:
        """Remove a listener; one that was not added is ignored."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    @property
    def listened(self) -> bool:
        """Whether there is any listener."""
        return bool(self._listeners)

    def announce(self, change: Change) -> None:
        """Call every listener with a change."""
        for listener in tuple(self._listeners):
            listener(change)

    def announce_row(self, kind: Kind, scope: Scope, native: str) -> None:
        """Call every listener with the current row of an object; do nothing if it is gone."""
        if not self._listeners:
            return
        with self.use():
            rows = tuple(to_rows(kind, scope, self.find(kind.plural, {"_id": scope.key(native)})))
        if rows:
            self.announce(Change(kind.name, scope, upserts=rows))


SOON = WriteConcern(w=1)
"""Acknowledged before it is on disk; it gets there within 0.1 s."""

_CLOSE_SECONDS = 0.3
"""How long closing waits for the server."""


def retry_once(operation: Callable[[], _T]) -> _T:
    """Run an idempotent operation; if its connection breaks, run it once more: a new primary may be elected.

    The driver itself repeats finds and writes of single documents, but not commands or deletions of several documents.
    """
    try:
        return operation()
    except ServerSelectionTimeoutError:  # the driver already waited for a primary
        raise
    except AutoReconnect:
        return operation()


UNREADABLE: Document = {}
"""Stands for a document that is not valid BSON."""


def _one_by_one(batch: bytes, options: Any) -> Iterator[Document]:
    """Yield the documents of a batch; those that are not valid BSON as empty documents."""
    while batch:
        size = int.from_bytes(batch[:4], "little")
        try:
            yield from decode_all(batch[:size], options)
        except BSONError:
            yield dict(UNREADABLE)
        batch = batch[size:]


def in_scope(scope: Scope) -> Document:
    """Return the query for all documents of a scope."""
    return {"cloud": scope.cloud, "region": scope.region}


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield `values` in slices of at most CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
