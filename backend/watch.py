"""Follows the VMs in flight until they settle. Asks the cloud only about those VMs."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from backend.config import Poll
from backend.errors import Cancelled, CloudmeshError
from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import Flight, flight_of, is_in_flight, settle
from backend.log import logger
from backend.providers.protocol import Provider
from backend.refresh import not_listed_yet
from backend.text import safe

if TYPE_CHECKING:
    from backend.cache import Cache

_BACK_OFF = 1.3
_SLOWEST = 15.0
"""The interval between polls of VMs in flight grows by the factor _BACK_OFF, up to _SLOWEST seconds."""

_LATE = 1.0
"""Seconds that a listing may be late: a dashboard checks once a second whether the next one is due."""


class _Listing(NamedTuple):
    """A listing of all VMs that makes a poll of the VMs in flight unnecessary."""

    began: datetime
    lasts: float
    """Seconds until the next poll is necessary."""


class _Unreported(NamedTuple):
    """A VM in flight, with its last known flight."""

    name: str
    flight: Flight


class Watcher:
    """A thread that polls the VMs in flight of one cloud; it sleeps, without polling, while there are none.

    It does not poll for what a listing of all VMs has just shown. It reports the end of every flight, even if a refresh
    or another dashboard ended it.

    `report` gets one sentence when a VM settles. `trouble` (default: `report`) gets one when a VM does not settle in
    time or cannot be followed.
    """

    def __init__(
        self,
        cache: "Cache",
        kind: Kind,
        scope: Scope,
        connect: Callable[[Callable[[], None]], Provider],
        poll: Poll,
        *,
        report: Callable[[str], object],
        trouble: Callable[[str], object] | None = None,
    ) -> None:
        self._cache = cache
        self._kind = kind
        self._scope = scope
        self._connect = connect
        self._poll = poll
        self._report = report
        self._trouble = trouble or report
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._interval = poll.in_flight
        self._failed = ""
        self._followed: set[tuple[str, datetime | None]] = set()
        self._unreported: dict[str, _Unreported] = {}
        """By id, the VMs whose outcome is not reported yet."""

    def start(self) -> None:
        """Start; also follows the flights that an earlier or another dashboard left."""
        threading.Thread(target=self._run, name="vm watcher", daemon=True).start()

    def saw(self, row: Row) -> None:
        """Note that a row changed: a new flight is polled after the shortest interval. Other scopes do not count."""
        if (
            self._kind.scope(row) == self._scope
            and is_in_flight(self._kind, row)
            and self._key(row) not in self._followed
        ):
            self._interval = self._poll.in_flight
            self._wake.set()

    def close(self) -> None:
        """Stop following; nothing waits for the thread."""
        self._closed.set()
        self._wake.set()

    def _run(self) -> None:
        pause = self.step()
        while not self._closed.is_set():
            if self._wake.wait(pause):
                self._wake.clear()
                self._closed.wait(self._poll.in_flight)
            if not self._closed.is_set():
                pause = self.step()

    def step(self) -> float | None:
        """Poll once and return the seconds until the next poll, None when no VM is in flight."""
        try:
            flying = self._poll_once()
        except Cancelled:
            return None
        except CloudmeshError as error:
            if str(error) != self._failed:  # report the same trouble once
                self._failed = str(error)
                self._trouble(f"{self._in_flight()} cannot be followed now. {error}")
            return self._poll.settled
        except Exception:  # noqa: BLE001
            # A bug must not end this thread: no VM would be followed any more.
            logger.exception("the VM watcher failed")
            return self._poll.settled
        self._failed = ""
        return flying

    def _poll_once(self) -> float | None:
        self._check()
        rows = self._cache.flights.rows(self._kind, self._scope)
        self._followed = {self._key(row) for row in rows}
        for row in rows:
            if (flight := self._kind.value(row, "flight")) is not None:
                self._unreported[self._kind.value(row, "id")] = _Unreported(self._name(row), flight)
        if not rows and not self._unreported:
            return None
        listing = self._listing(datetime.now(UTC)) if rows else None
        asked = [self._kind.value(row, "id") for row in rows if not self._is_covered(listing, row)]
        if asked:
            self._ask(asked)
        settled = dict(settle(self._cache, self._kind, self._scope)) if self._unreported else {}
        if asked or settled:
            # A settled VM is no longer followed: its next flight is a new one.
            followed, self._followed = self._followed, set()
            rows = self._cache.flights.rows(self._kind, self._scope)
            self._followed = followed & {self._key(row) for row in rows}
        self._report_ended(rows, settled)
        return self._next(datetime.now(UTC), rows, None if asked else listing)

    def _in_flight(self) -> str:
        """Return the actions under way, as the start of a sentence."""
        acts = [f"{one.flight.action} of {safe(one.name)}" for one in self._unreported.values()]
        if not acts:
            return "VMs in flight"
        return f"{acts[0]} and {len(acts) - 1} more were sent, but" if len(acts) > 1 else f"{acts[0]} was sent, but"

    def _listing(self, now: datetime) -> _Listing | None:
        """Return the listing that ended within the current interval or is under way."""
        record = self._cache.refreshes.of(self._kind, self._scope)
        if record.started and not record.error and (record.finished is None or record.finished < record.started):
            began, seen = record.started, record.started
        elif record.finished:
            began, seen = record.finished - timedelta(seconds=record.seconds), record.finished
        else:
            return None
        # At most one interval: the clock of the machine that listed may be ahead.
        lasts = self._interval + _LATE - max((now - seen).total_seconds(), 0.0)
        return _Listing(began, lasts) if lasts > 0 else None

    def _ask(self, ids: Sequence[str]) -> None:
        missing = set(ids)
        for page in self._connect(self._check).of(self._kind.name).list(ids=ids):
            self._check()
            self._cache.rows.put(self._kind, self._scope, page)
            missing -= {item["id"] for item in page}
        if missing and (vanished := missing - not_listed_yet(self._cache, self._kind, self._scope)):
            self._cache.rows.remove(self._kind, self._scope, vanished)

    def _report_ended(self, flying: Sequence[Row], settled: dict[str, str]) -> None:
        """Report the flights that have ended: the just `settled` ones, and those that others ended."""
        flights = {self._kind.value(row, "id"): self._kind.value(row, "flight") for row in flying}
        for native, last in tuple(self._unreported.items()):
            now = flights.get(native)
            if now is not None and now.since == last.flight.since:
                continue
            del self._unreported[native]
            outcome = settled.pop(native, "") or ("" if now else self._outcome(native, last.flight))
            if outcome:
                self._report(f"{last.name} {outcome}.")
        for native, outcome in settled.items():  # it began and settled during this poll
            self._report(f"{native} {outcome}.")

    def _outcome(self, native: str, flight: Flight) -> str:
        """Return the outcome of a flight that a refresh or another dashboard ended; "" if the VM is gone."""
        state = (self._cache.rows.document(self._kind, self._scope, native) or {}).get("state")
        if not state:
            return ""
        return flight.outcome(str(state))

    def _next(self, now: datetime, flying: Sequence[Row], listing: _Listing | None) -> float | None:
        waiting = False
        for row in flying:
            native, flight = self._kind.value(row, "id"), self._kind.value(row, "flight")
            if flight is None:
                waiting = True
                continue
            if flight.overdue:
                continue
            if (now - flight.since).total_seconds() < self._poll.give_up:
                waiting = True
                continue
            # Only if it still has this flight: another dashboard may have ended it.
            if not self._cache.flights.replace(self._kind, self._scope, native, flight._replace(overdue=True), flight):
                continue
            self._trouble(
                f"{self._name(row)} did not settle within {self._poll.give_up:g} s of its {flight.action}; "
                f"it is {self._kind.value(row, 'state')}."
            )
        if not flying:
            return None
        if not waiting:
            pause = self._poll.settled
        elif listing:
            return listing.lasts  # unless a newer listing comes first
        else:
            pause = self._interval
        self._interval = min(self._interval * _BACK_OFF, max(_SLOWEST, self._poll.in_flight))
        return pause

    def _check(self) -> None:
        if self._closed.is_set():
            raise Cancelled

    def _key(self, row: Row) -> tuple[str, datetime | None]:
        flight = flight_of(self._kind, row)
        return self._kind.value(row, "id"), flight.since if flight else None

    def _name(self, row: Row) -> str:
        return str(self._kind.value(row, "name") or self._kind.value(row, "id"))

    def _is_covered(self, listing: _Listing | None, row: Row) -> bool:
        """Return whether a listing shows the outcome of a flight: whether it began after the flight."""
        flight = flight_of(self._kind, row)
        return listing is not None and (flight is None or flight.since <= listing.began)


class Watchers:
    """The watchers of one kind in several scopes: a scope has one, with its thread, from its first flight on."""

    def __init__(
        self, cache: "Cache", kind: Kind, scopes: Sequence[Scope], watcher: Callable[[Scope], Watcher]
    ) -> None:
        """`watcher` makes the watcher of a scope."""
        self._cache = cache
        self._kind = kind
        self._lock = threading.Lock()
        self._idle = {scope: watcher(scope) for scope in scopes}
        self._running: dict[Scope, Watcher] = {}
        self._closed = False

    def start(self) -> None:
        """Follow the flights that there are; a thread looks for them where there are several scopes."""
        if len(self._idle) == 1:
            self._begin(*self._idle)
        else:
            threading.Thread(target=self._begin_where_flying, name="vm watchers", daemon=True).start()

    def _begin_where_flying(self) -> None:
        for scope in tuple(self._idle):
            try:
                flying = bool(self._cache.flights.rows(self._kind, scope))
            except CloudmeshError:  # its watcher says so, if that lasts
                flying = True
            if self._closed:
                return
            if flying:
                self._begin(scope)

    def _begin(self, scope: Scope) -> None:
        with self._lock:
            watcher = None if self._closed else self._idle.pop(scope, None)
            if watcher is not None:
                self._running[scope] = watcher
                watcher.start()

    def saw(self, row: Row) -> None:
        """Note that a row changed: its flight is followed, and polled after the shortest interval."""
        scope = self._kind.scope(row)
        if (watcher := self._running.get(scope)) is not None:
            watcher.saw(row)
        elif is_in_flight(self._kind, row):
            self._begin(scope)

    def close(self) -> None:
        """Stop following; nothing waits for the threads."""
        with self._lock:
            self._closed = True
            for watcher in self._running.values():
                watcher.close()
