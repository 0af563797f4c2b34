"""Follows the VMs in flight until they settle, asking the cloud about those alone."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from backend.cache import Cache, Scope
from backend.config import Poll
from backend.errors import Cancelled, CloudmeshError
from backend.format import MOVING
from backend.kinds import KINDS, Row
from backend.log import logger
from backend.providers import Provider
from backend.refresh import just_off, settle

_BACK_OFF = 1.3
_SLOWEST = 15.0
"""Polls of VMs in flight grow apart by this factor up to this many seconds."""


class Watcher:
    """A thread that polls the VMs in flight of one cloud; it sleeps, without polling, while there are none.

    `report` gets one sentence when a VM settles; `trouble`, which is `report` where none is given, one when it does not
    settle in time or cannot be followed.
    """

    def __init__(
        self,
        cache: Cache,
        scope: Scope,
        connect: Callable[[Callable[[], None]], Provider],
        poll: Poll,
        report: Callable[[str], object],
        *,
        trouble: Callable[[str], object] | None = None,
    ) -> None:
        self._cache = cache
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

    def start(self) -> None:
        """Begin; flights that an earlier or another dashboard left behind are followed too."""
        threading.Thread(target=self._run, name="vm watcher", daemon=True).start()

    def saw(self, row: Row) -> None:
        """Say that a VM's row changed: one that has taken off since is looked at after the shortest interval."""
        if is_flying(row) and _flight_key(row) not in self._followed:
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
        """Look once and return the seconds until the next look, None when no VM is in flight."""
        try:
            flying = self._fly()
        except Cancelled:
            return None
        except CloudmeshError as error:
            if str(error) != self._failed:  # the same trouble is told once
                self._failed = str(error)
                self._trouble(f"VMs in flight cannot be followed now. {error}")
            return self._poll.settled
        except Exception:  # noqa: BLE001
            # A mistake of ours; without this thread no VM would ever be followed again.
            logger.exception("the VM watcher failed")
            return self._poll.settled
        self._failed = ""
        return flying

    def _fly(self) -> float | None:
        kind = KINDS["vm"]
        rows = self._cache.flights(self._scope)
        self._followed = {_flight_key(row) for row in rows}
        if not rows:
            return None
        ids = [kind.value(row, "id") for row in rows]
        names = {kind.value(row, "id"): kind.value(row, "name") or kind.value(row, "id") for row in rows}
        known = dict.fromkeys(ids, "")  # always written: what was noted at take-off was no listing
        seen: set[str] = set()
        for page in self._connect(self._check).vms(ids):
            self._check()
            self._cache.put(kind, self._scope, page, known)
            seen |= {item["id"] for item in page}
        if vanished := set(ids) - seen - just_off(self._cache, self._scope):
            self._cache.remove(kind, self._scope, vanished)
        for native, outcome in settle(self._cache, self._scope):
            self._report(f"{names.get(native, native)} {outcome}.")
        return self._next(datetime.now(UTC), names)

    def _next(self, now: datetime, names: dict[str, str]) -> float | None:
        kind = KINDS["vm"]
        waiting = False
        # Those that have settled are followed no longer: the next time they move they are news again.
        followed, self._followed = self._followed, set()
        flights = self._cache.flights(self._scope)
        self._followed = followed & {_flight_key(row) for row in flights}
        for row in flights:
            native, flight = kind.value(row, "id"), kind.value(row, "flight")
            if flight is None:
                waiting = True
                continue
            if flight.overdue:
                continue
            if (now - flight.since).total_seconds() < self._poll.give_up:
                waiting = True
                continue
            self._cache.set_flight(self._scope, native, flight._replace(overdue=True))
            self._trouble(
                f"{names.get(native, native)} did not settle within {self._poll.give_up:g} s of its {flight.action}; "
                f"it is {kind.value(row, 'state')}."
            )
        if not flights:
            return None
        pause = self._interval if waiting else self._poll.settled
        self._interval = min(self._interval * _BACK_OFF, max(_SLOWEST, self._poll.in_flight))
        return pause

    def _check(self) -> None:
        if self._closed.is_set():
            raise Cancelled


def is_flying(row: Row) -> bool:
    """Return whether a VM's row is of one acted on, or of one that EC2 says is moving."""
    kind = KINDS["vm"]
    return kind.value(row, "flight") is not None or kind.value(row, "state") in MOVING


def _flight_key(row: Row) -> tuple[str, datetime | None]:
    kind = KINDS["vm"]
    flight = kind.value(row, "flight")
    return kind.value(row, "id"), flight.since if flight else None
