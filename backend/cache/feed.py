"""Follows the cache: reports every change by any process, and when the connection is lost or restored."""

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from bson.errors import BSONError
from pymongo.errors import OperationFailure, PyMongoError

from backend.cache.cache import Cache
from backend.cache.documents import Change, to_row
from backend.cache.entries import to_entry
from backend.cache.keys import EVERYWHERE, Document, split_key
from backend.cache.records import RefreshRecord, record
from backend.cache.rights import UNAUTHORIZED
from backend.callbacks import ignore
from backend.errors import CacheError, CacheLostError, Cancelled, bug
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind, Ref, Row, Scope
from backend.log import logger

OnChange = Callable[[Change], object]
OnConnection = Callable[[str | None], object]
"""Called with a sentence for the user when the server is lost, and with None when it is back."""

REREAD_EVERY = 5.0
"""Seconds between polls of a server without change streams."""

RETRY_EVERY = 2.0
"""Seconds between attempts to reach a lost server."""

_NO_STREAMS = frozenset({40573, 40324, 59, 115, UNAUTHORIZED})
"""Error codes of a server that is not a replica set, or not MongoDB: $changeStream is refused or unknown.

A user without the privilege changeStream gets the same treatment: the feed polls.
"""


class Feed:
    """A thread that follows one cache until it is closed.

    On a replica set (the embedded server is one) it reads a change stream. A kind with too many rows for the stream is
    reported row by row when this process writes it, and as "read again" when another process does. On other servers it
    reports what this process writes at once, and polls every few seconds for what others write.
    """

    def __init__(
        self,
        cache: Cache,
        kinds: Iterable[Kind],
        on_change: OnChange,
        on_connection: OnConnection = ignore,
        *,
        reread_every: float = REREAD_EVERY,
        retry_every: float = RETRY_EVERY,
    ) -> None:
        self._cache = cache
        self._kinds = {kind.name: kind for kind in kinds}
        self._on_change = on_change
        self._on_connection = on_connection
        self._reread_every = reread_every
        self._retry_every = retry_every
        self._lost = False
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._written: dict[tuple[str, Scope], int] = {}
        self._events: queue.SimpleQueue[Document | None] = queue.SimpleQueue()
        self._start("cache feed", self._run)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the feed follows the cache; it reports everything written after that."""
        return self._ready.wait(seconds)

    def close(self) -> None:
        """Stop reporting. The thread ends within a second or two; nothing waits for it."""
        self._closed.set()
        self._events.put(None)
        self._cache.unlisten(self._pass_on)
        self._cache.unlisten(self._pass_on_rows)

    def _start(self, name: str, part: Callable[[], None]) -> None:
        """Run `part` on a thread of its own; if a bug ends it, report that the cache is no longer followed."""

        def run() -> None:
            try:
                part()
            except BaseException as error:
                if not self._closed.is_set():
                    self._on_connection(str(bug("Following the cache", error)))
                raise

        threading.Thread(target=run, name=name, daemon=True).start()

    def _run(self) -> None:
        if self._cache.mode == "memory":
            self._follow_locally()
            return
        self._start("cache feed, reports", self._deliver)
        self._cache.listen(self._pass_on_rows)
        again = False
        while not self._closed.is_set():
            try:
                self._follow_stream(again)
            except OperationFailure as error:
                if error.code in _NO_STREAMS:
                    self._cache.unlisten(self._pass_on_rows)
                    self._follow_by_rereading()
                    return
                self._lose(error)
            except (PyMongoError, BSONError) as error:  # after invalid BSON the next stream starts behind it
                self._lose(error)
            again = True
            self._closed.wait(self._retry_every)

    def _lose(self, error: PyMongoError | BSONError | CacheError) -> None:
        if not self._closed.is_set():
            if not self._lost:  # else it has been reported
                self._lost = True
                lost = error if isinstance(error, CacheError) else self._cache.store.sentence(error)
                self._on_connection(f"{lost.message} {_RETRYING if isinstance(lost, CacheLostError) else lost.cure}")
            with suppress(CacheError, Cancelled):  # if it cannot start, the next attempt to connect reports it
                self._cache.revive()

    def _regain(self) -> None:
        if self._lost:
            self._lost = False
            self._on_connection(None)

    def _follow_locally(self) -> None:
        self._cache.listen(self._pass_on)
        self._ready.set()

    def _pass_on(self, change: Change) -> None:
        if not self._closed.is_set():
            self._on_change(change)

    def _pass_on_rows(self, change: Change) -> None:
        """Pass on the rows that this process wrote, for the kinds that the stream does not carry."""
        if change.record is None and not self._is_by_row(change.kind):
            self._pass_on(change)

    def _is_by_row(self, name: str) -> bool:
        return name not in self._kinds or self._kinds[name].by_row

    def _follow_stream(self, again: bool) -> None:
        """Read events until the database is dropped; raises when the server is lost."""
        follow = [kind.plural for kind in self._kinds.values() if kind.by_row]
        pipeline = [
            # Do not use the driver's `watch`. It resumes silently on a server that was killed and has lost writes that
            # were already reported; and after a drop of the database it neither raises nor waits.
            {"$changeStream": {"fullDocument": "updateLookup"}},
            {"$match": {"ns.coll": {"$in": [*follow, "refreshes", "journal"]}}},
            {"$project": {"fullDocument.extra": 0, "updateDescription": 0}},  # rows do not need them
        ]
        with self._cache.store.database.aggregate(pipeline, maxAwaitTimeMS=1_000) as stream:
            self._regain()
            if again:
                self._reread((*self._kinds.values(), JOURNAL))
            self._ready.set()
            while stream.alive and not self._closed.is_set():
                if (event := stream.try_next()) is not None:
                    self._events.put(event)

    def _deliver(self) -> None:
        """Combine all waiting events and report the changes: a thousand rows cause one repaint, not a thousand."""
        while True:
            events = [self._events.get()]
            while not self._events.empty():
                events.append(self._events.get())
            if self._closed.is_set():
                return
            for change in changes(
                (event for event in events if event is not None), self._kinds, self._written_elsewhere
            ):
                self._on_change(change)

    def _written_elsewhere(self, entry: RefreshRecord) -> bool:
        """Return whether another process wrote rows since the last record of this kind."""
        key = entry.kind, Scope(entry.cloud, entry.region)
        before, self._written[key] = self._written.get(key), entry.written
        return entry.written != before and entry.writer != self._cache.store.writer

    def _follow_by_rereading(self) -> None:
        seen: list[RefreshRecord] = []
        with suppress(CacheError):  # the next poll reports it
            seen = self._cache.refreshes.all(self._kinds)
        self._follow_locally()
        while not self._closed.wait(self._retry_every if self._lost else self._reread_every):
            try:
                records = self._cache.refreshes.all(self._kinds)
            except CacheError as error:
                self._lose(error)
                continue
            self._regain()
            for entry in records:
                if entry not in seen and entry.writer != self._cache.store.writer:
                    self._on_change(Change(entry.kind, Scope(entry.cloud, entry.region), reread=True, record=entry))
            seen = records
            self._reread(kind for kind in (*self._kinds.values(), JOURNAL) if kind.by_row)

    def _reread(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            self._on_change(Change(kind.name, EVERYWHERE, reread=True))


_RETRYING = "Cloudmesh keeps trying; the screen keeps what it shows."


def changes(
    events: Iterable[Document], kinds: Mapping[str, Kind], written_elsewhere: Callable[[RefreshRecord], bool]
) -> list[Change]:
    """Combine a batch of change stream events into changes, one for each scope and kind of `kinds`.

    For several events about one row, the last one counts. A kind that is not followed row by row is read again if
    `written_elsewhere` returns True for its record.
    """
    by_collection = {kind.plural: kind for kind in kinds.values()} | {"journal": JOURNAL}
    rows: dict[tuple[str, Scope], dict[Ref, Row | None]] = defaultdict(dict)
    found = []
    for event in events:
        try:
            change = _change(event, by_collection, kinds, written_elsewhere)
        except Exception:  # noqa: BLE001 - a bug must not lose the other events of the batch
            logger.exception("a change in the cache was not understood")
            continue
        if change is None:
            continue
        if change.record or change.reread:
            found.append(change)
            continue
        kind = JOURNAL if change.kind == JOURNAL.name else kinds[change.kind]
        latest = rows[change.kind, change.scope]
        latest |= dict.fromkeys(change.removed) | {kind.ref(row): row for row in change.upserts}
    for (name, scope), latest in rows.items():
        upserts = tuple(row for row in latest.values() if row is not None)
        removed = tuple(ref for ref, row in latest.items() if row is None)
        found.append(Change(name, scope, upserts=upserts, removed=removed))
    return found


def _change(
    event: Document,
    by_collection: Mapping[str, Kind],
    kinds: Mapping[str, Kind],
    written_elsewhere: Callable[[RefreshRecord], bool],
) -> Change | None:
    """Return the change that an event describes; None if nobody needs it or it cannot be understood."""
    collection, document = event["ns"]["coll"], event.get("fullDocument")
    if collection == "refreshes":
        entry = None if document is None else record(document)
        if entry is None or entry.kind not in kinds:
            return None
        reread = not kinds[entry.kind].by_row and written_elsewhere(entry)
        return Change(entry.kind, Scope(entry.cloud, entry.region), reread=reread, record=entry)
    kind = by_collection[collection]
    if "documentKey" not in event:  # drop, rename, invalidate
        return Change(kind.name, EVERYWHERE, reread=True)
    if kind is JOURNAL:
        row = None if document is None else to_entry(document)
        return None if row is None else Change(kind.name, JOURNAL.scope(row), upserts=(row,))
    if (key := split_key(event["documentKey"]["_id"])) is None:
        return None
    scope, native = key
    # A document that cannot be understood, or belongs to another scope, counts as removed: no snapshot has it either.
    row = None
    if document is not None and Scope(document.get("cloud", ""), document.get("region", "")) == scope:
        row = to_row(kind, scope, document)
    if row is None:
        return Change(kind.name, scope, removed=(Ref(scope, native),))
    return Change(kind.name, scope, upserts=(row,))
