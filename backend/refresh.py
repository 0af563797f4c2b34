"""Refreshes kinds: provider to cache, page by page. Old rows stay until the listing is complete."""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from backend.cache import RefreshRecord
from backend.callbacks import ignore
from backend.errors import CacheError, Cancelled, CloudmeshError
from backend.kinds.model import Kind, Scope
from backend.lease import Lease, RestartNeeded, take
from backend.lifecycle import STATE_DELAY, flight_of, settle
from backend.prefetch import prefetch
from backend.providers.protocol import Provider, Waiting

if TYPE_CHECKING:
    from backend.cache import Cache

CANCELLED = "Cancelled."
"""The error in the record of a refresh that the user cancelled."""


@dataclass(frozen=True)
class Progress:
    """The progress of a refresh: rows and pages so far, and the last count as an estimate (0: unknown)."""

    kind: str
    rows: int
    pages: int
    estimate: int
    seconds: float
    elsewhere: bool = False
    """Another dashboard or run lists it; this refresh waits for its result."""
    scope: Scope | None = None
    """Where; None if that is no matter."""


@dataclass(frozen=True)
class Difference:
    """The result of a refresh. If it failed, `error` says why, and the other fields count what was done before."""

    cloud: str
    region: str
    kind: str
    count: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str | None = None
    shared: bool = False
    """It is the result of another refresh that was already under way."""
    note: str = ""
    """A sentence for the user about what the listing lacks."""

    def as_object(self) -> dict[str, Any]:
        """Return the object that `--refresh --json` prints."""
        said = asdict(self) | {"seconds": round(self.seconds, 3)}
        del said["shared"], said["note"]  # the rows are the same, whichever process listed them
        return said


def refresh(
    kind: Kind,
    provider: Provider,
    cache: "Cache",
    scope: Scope,
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
) -> Difference:
    """List one kind of a cloud into the cache and return the difference.

    Rows are written as their page arrives; rows that are gone are removed only after a complete listing. A refresh that
    fails or is cancelled keeps the old rows, records why, and raises. If another refresh of the kind is under way, in
    any process, this one waits for it and returns its difference.
    """
    began = time.monotonic()

    def on_wait(other: RefreshRecord) -> None:
        progress(Progress(kind.name, other.batch, 0, other.count, time.monotonic() - began, True, scope))

    while True:
        taken = take(cache, kind, scope, check, on_wait)
        if isinstance(taken, RefreshRecord):
            figures = {name: getattr(taken, name) for name in _FIGURES}
            return Difference(scope.cloud, scope.region, kind.name, **figures, shared=True)
        with suppress(RestartNeeded):
            done = _listed(kind, provider, cache, scope, lease=taken, check=check, progress=progress)
            break
    if kind.has_flights:
        settle(cache, kind, scope)
    return done


_FIGURES = ("count", "added", "changed", "removed", "seconds")
"""The fields that a difference and its record have in common."""


def _listed(
    kind: Kind,
    provider: Provider,
    cache: "Cache",
    scope: Scope,
    *,
    lease: Lease,
    check: Callable[[], None],
    progress: Callable[[Progress], None],
) -> Difference:
    """Refresh with the lease. Raises RestartNeeded."""
    began = time.monotonic()
    running = lease.record  # with the figures of the last complete listing, which the rows still show
    last = running.count
    listed = added = changed = pages = 0
    notes: list[str] = []
    try:
        listing = provider.of(kind.name).list
        known = cache.rows.known(kind, scope)
        found = listing(known=known.hashes) if kind.vast else listing()
        if kind.complete:
            found = kind.complete(provider, cache, scope, found, check=check, say=notes.append)
        for page in prefetch(found):
            check()
            lease.hold()
            new, different = cache.rows.put(kind, scope, page, known)
            added, changed, pages, listed = added + new, changed + different, pages + 1, listed + len(page)
            running = replace(running, batch=listed, written=running.written + new + different)
            if new or different:
                lease.note(running)
            progress(Progress(kind.name, listed, pages, last, time.monotonic() - began, scope=scope))
        check()
        lease.secure()
        gone = cache.rows.left(kind, scope, known)
        for native in not_listed_yet(cache, kind, scope) if gone else ():
            gone.pop(native, None)
        removed = cache.rows.remove_left(kind, scope, gone)
        count = cache.rows.count(kind, scope)
        done = Difference(
            scope.cloud,
            scope.region,
            kind.name,
            count,
            added,
            changed,
            removed,
            time.monotonic() - began,
            note=" ".join(notes),
        )
        figures = {name: getattr(done, name) for name in _FIGURES}
        ended = replace(running, finished=datetime.now(UTC), written=running.written + removed, **figures)
        lease.end(ended)
    except BaseException as error:  # an interrupt too: else the thread would renew the lease for ever
        with suppress(CacheError, RestartNeeded):  # raise the first error, not this one
            why = CANCELLED if isinstance(error, Cancelled) else str(error) or f"{type(error).__name__}."
            lease.end(replace(running, error=why))
        raise
    return done


AT_ONCE = 8
"""Listings of this process that run side by side, each on a thread and a connection of its own, whatever asks for them:
seventeen regions of three kinds each never open fifty-one connections."""

OF_ONE_SCOPE = 3
"""At most N of them are of one scope: its small kinds finish while its images still stream."""

Wanted = tuple[Kind, Scope]
"""What to list: a kind, and where."""

_slots = threading.BoundedSemaphore(AT_ONCE)


def refresh_many(
    kinds: Sequence[Kind],
    connect: Callable[[Callable[[], None], Callable[[Waiting], None]], Provider],
    cache: "Cache",
    scope: Scope,
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
    on_wait: Callable[[Waiting], None] = ignore,
    done: Callable[[Difference], None] = ignore,
) -> list[Difference]:
    """Refresh several kinds of one scope; see `refresh_scopes`."""
    return refresh_scopes(
        [(kind, scope) for kind in kinds],
        lambda _scope, *hooks: connect(*hooks),
        cache,
        check=check,
        progress=progress,
        on_wait=on_wait,
        done=done,
    )


def refresh_scopes(
    wanted: Sequence[Wanted],
    connect: Callable[[Scope, Callable[[], None], Callable[[Waiting], None]], Provider],
    cache: "Cache",
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
    on_wait: Callable[[Waiting], None] = ignore,
    done: Callable[[Difference], None] = ignore,
) -> list[Difference]:
    """Refresh kinds in their scopes side by side and return their differences, in the order of `wanted`.

    Those named first begin first, within AT_ONCE and OF_ONE_SCOPE. One that fails does not stop the others; its
    difference says why. `progress` and `on_wait` are called on other threads, `done` on this one. If `check`, a signal
    or a bug raises, the threads are asked to end, and this function waits for them for at most 0.5 s.
    """
    stop = threading.Event()
    queued = _Queue(wanted)
    results: queue.SimpleQueue[Difference | BaseException] = queue.SimpleQueue()

    def stopped() -> None:
        if stop.is_set():
            raise Cancelled

    def listed(kind: Kind, scope: Scope) -> Difference:
        try:
            provider = connect(scope, stopped, on_wait)
        except CloudmeshError as error:
            _note_failure(cache, kind, scope, error)
            raise
        return refresh(kind, provider, cache, scope, check=stopped, progress=progress)

    def work() -> None:
        while (found := queued.take(stop)) is not None:
            kind, scope = found
            try:
                with _slot(stopped):
                    results.put(listed(kind, scope))
            except CloudmeshError as error:
                results.put(Difference(scope.cloud, scope.region, kind.name, error=str(error)))
            except BaseException as error:  # noqa: BLE001 - cancelled, or a bug: raised in the waiting thread
                results.put(error)
                return
            finally:
                queued.give_back(scope)

    # Daemon threads: an interrupted run must not wait for a silent socket.
    threads = [threading.Thread(target=work, name="refresh", daemon=True) for _ in range(queued.workers)]
    for thread in threads:
        thread.start()
    found: dict[tuple[str, str, str], Difference] = {}
    try:
        while len(found) < len(wanted):
            check()
            with suppress(queue.Empty):
                one = results.get(timeout=0.1)
                if isinstance(one, BaseException):
                    raise one
                found[one.kind, one.cloud, one.region] = one
                done(one)
    finally:
        stop.set()
        until = time.monotonic() + 0.5
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))
    return [found[kind.name, *scope] for kind, scope in wanted]


class _Queue:
    """What is still to be listed; no scope is asked for more than OF_ONE_SCOPE kinds at once."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._left = list(wanted)
        self._running: Counter[Scope] = Counter()
        self._changed = threading.Condition()
        of_scope = Counter(scope for _, scope in wanted)
        self.workers = min(AT_ONCE, sum(min(count, OF_ONE_SCOPE) for count in of_scope.values()))

    def take(self, stop: threading.Event) -> Wanted | None:
        """Return the first whose scope is free; None when nothing is left. Waits while all scopes are busy."""
        with self._changed:
            while self._left and not stop.is_set():
                for place, (kind, scope) in enumerate(self._left):
                    if self._running[scope] < OF_ONE_SCOPE:
                        del self._left[place]
                        self._running[scope] += 1
                        return kind, scope
                self._changed.wait(0.1)
        return None

    def give_back(self, scope: Scope) -> None:
        """Note that a listing of a scope has ended."""
        with self._changed:
            self._running[scope] -= 1
            self._changed.notify()


@contextmanager
def _slot(check: Callable[[], None]) -> Iterator[None]:
    """Hold one of the places for listings while the block runs; `check` may end the wait for it."""
    while not _slots.acquire(timeout=0.1):
        check()
    try:
        yield
    finally:
        _slots.release()


def _note_failure(cache: "Cache", kind: Kind, scope: Scope, error: CloudmeshError) -> None:
    """Record why a kind could not be listed, unless another refresh of it is under way."""
    with suppress(CacheError):
        record = cache.refreshes.of(kind, scope)
        if not record.lease:
            cache.refreshes.write(kind, scope, replace(record, error=str(error), started=datetime.now(UTC)))


# --- objects that a listing may lack ---------------------------------------------------------------------------------

LISTING_DELAY = 300.0
"""Seconds after its creation in which a listing may lack an object that exists."""


def not_listed_yet(cache: "Cache", kind: Kind, scope: Scope) -> set[str]:
    """Return the ids of the objects that may exist though a listing lacks them.

    A command has just created them or acted on them, and the listing may lag.
    """
    now = datetime.now(UTC)
    natives = cache.rows.unlisted(kind, scope, now - timedelta(seconds=LISTING_DELAY))
    for row in cache.flights.rows(kind, scope) if kind.has_flights else ():
        flight = flight_of(kind, row)
        if flight and (now - flight.since).total_seconds() < STATE_DELAY:
            natives.add(kind.value(row, "id"))
    return natives
