"""The life of a VM: the actions on it, the flight of an action that is under way, and how a flight ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from backend.kinds.model import Kind, Row, Scope
from backend.providers.registry import meaning

if TYPE_CHECKING:
    from backend.cache import Cache


# --- states ----------------------------------------------------------------------------------------------------------

MOVING = frozenset({"pending", "stopping", "shutting-down"})
"""The states that a VM passes through."""

GONE = frozenset({"shutting-down", "terminated"})
"""The states of a deleted VM; EC2 lists it for up to an hour."""

_BUSY = frozenset({"pending", "running"})
_RESTING = frozenset({"stopping", "stopped"})

_FINAL = frozenset({"running", "stopped", "terminated", "error"})
"""The states in which a VM stays until somebody acts on it."""

STATE_DELAY = 20.0
"""Seconds for which a listing may still show the state of before an action: EC2's listings lag behind its replies."""


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """An action on a VM."""

    verb: str
    doing: str
    """As in "web is …"."""
    past: str
    """As in "web cannot be … now"."""
    during: str
    """The state that it takes the VM through."""
    to: str
    """The state that it ends in."""
    impossible_in: frozenset[str] = frozenset()
    """The states in which it cannot work; in all others, known or not, the cloud decides."""
    shown_by: frozenset[str] = frozenset()
    """The states that show that it was done; none where no state does."""
    reverse: str = ""
    """The verb that undoes it."""
    seconds: float = 0.0
    """How long it lasts at least, though the VM is listed in its last state all the time."""
    displaces: bool = False
    """It may begin while another action is under way."""
    displaced: bool = False
    """Any other action may begin while it is under way."""


ACTIONS: dict[str, Action] = {
    action.verb: action
    for action in (
        Action("boot", "booting", "booted", "pending", "running"),
        Action("start", "starting", "started", "pending", "running", _BUSY | GONE, _BUSY, reverse="stop"),
        Action("stop", "stopping", "stopped", "stopping", "stopped", _RESTING | GONE, _RESTING, reverse="start"),
        Action(
            "reboot", "rebooting", "rebooted", "rebooting", "running", GONE | {"stopped"}, seconds=4.0, displaced=True
        ),
        Action("delete", "being deleted", "deleted", "shutting-down", "terminated", GONE, GONE, displaces=True),
    )
}
"""By verb. EC2 says `running` all through a reboot, and it stops and deletes a VM that reboots."""


# --- flights ---------------------------------------------------------------------------------------------------------


class Flight(NamedTuple):
    """An action under way on a VM; `action` may be one of another version of the program."""

    action: str
    since: datetime
    """UTC."""
    overdue: bool = False
    """The VM did not settle in time."""
    before: str | None = None
    """The state that the VM was in."""

    @property
    def during(self) -> str:
        """The state that the action takes the VM through, else the action itself."""
        known = ACTIONS.get(self.action)
        return known.during if known else self.action

    def outcome(self, state: str) -> str:
        """Return how the flight ended in `state`: "is stopped", "is running after its stop"."""
        known = ACTIONS.get(self.action)
        return f"is {state}" if known and meaning(state) == known.to else f"is {state} after its {self.action}"

    def is_over(self, state: str, now: datetime | None = None) -> bool:
        """Return whether a VM that is in `state` has settled."""
        age = ((now or datetime.now(UTC)) - self.since).total_seconds()
        known, state = ACTIONS.get(self.action), meaning(state)
        if state == "terminated":  # nothing comes back from there: a failed boot has settled too
            return True
        if known and state == known.to:
            return age >= known.seconds
        return state in _FINAL and age >= STATE_DELAY


def flight_of(kind: Kind, row: Row) -> Flight | None:
    """Return the flight of a row, None where it has none or its kind has no flights."""
    flight: Flight | None = kind.value(row, "flight") if kind.has_flights else None
    return flight


def is_in_flight(kind: Kind, row: Row) -> bool:
    """Return whether an action on a row is under way, or the cloud says that it is moving."""
    return kind.has_flights and (flight_of(kind, row) is not None or meaning(str(kind.value(row, "state"))) in MOVING)


def settle(cache: "Cache", kind: Kind, scope: "Scope", now: datetime | None = None) -> list[tuple[str, str]]:
    """End the flights of all that has settled; return (id, how it ended) of each."""
    return list(_settled(cache, kind, scope, now or datetime.now(UTC)))


def _settled(cache: "Cache", kind: Kind, scope: "Scope", now: datetime) -> Iterator[tuple[str, str]]:
    for row in cache.flights.of(kind, scope):
        native, state, flight = str(kind.value(row, "id")), str(kind.value(row, "state")), flight_of(kind, row)
        # Without a flight it moves, but not by an action of this program. The write ends this flight only: another
        # dashboard may have begun the next one.
        if flight and flight.is_over(state, now) and cache.flights.claim(kind, scope, native, None, flight):
            yield native, flight.outcome(state)
