"""The store: a connection to the cache's database, one operation at a time, and the listeners to what is written."""

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
    """A connection to one database, which the faces of a cache share; see backend.cache.cache.Cache."""

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
        """Starts the server again where it is ours and gone; else does nothing."""
        self.writer = uuid4().hex
        """The name of this open cache in the records of its refreshes: no other has it."""
        self.refusal: CacheError | None = None
        """Why nothing may be written, where the user of the server may only read; see backend.cache.preparing."""
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
        said = sentence(error, self.address)
        if isinstance(said, CacheLostError) and (folder := self._full()):
            return CacheLostError(f"{said.message} The disk of {folder} is full.", "Free some space.")
        return said

    def find(self, collection: str, query: Document, projection: Document | None = None, **how: Any) -> Iterator[Any]:
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

    def find_one(self, collection: str, key: str) -> Document | None:
        """Return the document whose `_id` is `key`, None where there is none."""
        return next(self.find(collection, {"_id": key}), None)

    def server(self) -> Any:
        """Return a value that changes when the server restarts, or another becomes the primary."""
        if self.mode == "memory":
            return None
        with self.use():
            hello = retry_once(lambda: self.client.admin.command("hello"))
        return hello.get("electionId"), hello.get("topologyVersion", {}).get("processId")

    # --- listening ---------------------------------------------------------------------------------------------------

    def listen(self, listener: Announce) -> None:
        """Give `listener` every change that this process writes, on the thread that writes it."""
        self._listeners.append(listener)

    def unlisten(self, listener: Announce) -> None:
        """Take a listener away, where it is one."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    @property
    def listened(self) -> bool:
        """Whether there is any listener."""
        return bool(self._listeners)

    def announce(self, change: Change) -> None:
        """Give every listener a change."""
        for listener in tuple(self._listeners):
            listener(change)

    def announce_row(self, kind: Kind, scope: Scope, native: str) -> None:
        """Give every listener the row of an object as it is now; nothing where it is gone."""
        if not self._listeners:
            return
        with self.use():
            rows = tuple(to_rows(kind, scope, self.find(kind.plural, {"_id": scope.key(native)})))
        if rows:
            self.announce(Change(kind.name, scope, upserts=rows))


SOON = WriteConcern(w=1)
"""Answered before it is on disk, where it is within a tenth of a second."""

_LEAVE = 0.3
"""Seconds that closing waits for the server."""


def retry_once(operation: Callable[[], _T]) -> _T:
    """Run what does no harm twice, and once more where its connection breaks: another member may be the primary then.

    The driver itself repeats finds and writes of single documents, but no commands and no deletions of several.
    """
    try:
        return operation()
    except ServerSelectionTimeoutError:  # it has waited for a primary
        raise
    except AutoReconnect:
        return operation()


UNREADABLE: Document = {}
"""What stands for a document that is no BSON."""


def _one_by_one(batch: bytes, options: Any) -> Iterator[Document]:
    """Yield the documents of a batch of which some are no BSON, each of those as an empty one."""
    while batch:
        size = int.from_bytes(batch[:4], "little")
        try:
            yield from decode_all(batch[:size], options)
        except BSONError:
            yield dict(UNREADABLE)
        batch = batch[size:]


def of(scope: Scope) -> Document:
    """Return the query for all that is of a cloud and region."""
    return {"cloud": scope.cloud, "region": scope.region}


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield `values` in requests of at most CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
