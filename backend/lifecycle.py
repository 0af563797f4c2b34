"""The life of a VM: the actions on it, the flight of an action that is under way, and how a flight ends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.kinds.model import Kind, Row, Scope
from backend.providers.registry import meaning

if TYPE_CHECKING:
    from backend.cache import Cache


# --- states ----------------------------------------------------------------------------------------------------------

MOVING = frozenset({"pending", "stopping", "shutting-down"})
"""The passing states of a VM."""

GONE = frozenset({"shutting-down", "terminated"})
"""The states of a deleted VM, which a cloud may list for some time."""

_BUSY = frozenset({"pending", "running"})
_RESTING = frozenset({"stopping", "stopped"})

_FINAL = frozenset({"running", "stopped", "terminated", "error"})
"""The states that a VM leaves only by an action."""

STATE_DELAY = 20.0
"""Seconds that a listing may still show the state before an action: listings lag behind the answers to changes."""


def state_of(vm: Mapping[str, Any]) -> str:
    """Return the state of a VM (an item or a document) by the name that it has here; "" for none."""
    return meaning(str(vm.get("state") or ""))


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
    """The state of the VM during the action."""
    to: str
    """The state of the VM after the action."""
    impossible_in: frozenset[str] = frozenset()
    """The states in which it is impossible; in all other states, known or not, the cloud decides."""
    shown_by: frozenset[str] = frozenset()
    """The states that prove that it was done; empty if no state does."""
    reverse: str = ""
    """The verb that undoes it."""
    seconds: float = 0.0
    """The least time it takes, for an action during which the listed state does not change."""
    displaces: bool = False
    """Whether it may begin while another action is under way."""
    displaced: bool = False
    """Whether any other action may begin while it is under way."""


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
"""By verb. A cloud may list a rebooting VM as `running`, and accept its stop and its deletion."""


# --- flights ---------------------------------------------------------------------------------------------------------


class Flight(NamedTuple):
    """An action under way on a VM; another version of the program may have written an unknown `action`."""

    action: str
    since: datetime
    """UTC."""
    overdue: bool = False
    """Whether the VM did not settle in time."""
    before: str | None = None
    """The state before the action."""

    @property
    def during(self) -> str:
        """The state of the VM during the action; for an unknown action, its name."""
        known = ACTIONS.get(self.action)
        return known.during if known else self.action

    def outcome(self, state: str) -> str:
        """Return how the flight ended in `state`: "is stopped", "is running after its stop"."""
        known = ACTIONS.get(self.action)
        return f"is {state}" if known and meaning(state) == known.to else f"is {state} after its {self.action}"

    def is_over(self, state: str, now: datetime | None = None) -> bool:
        """Return whether a VM in `state` has settled."""
        age = ((now or datetime.now(UTC)) - self.since).total_seconds()
        known, state = ACTIONS.get(self.action), meaning(state)
        if state == "terminated":  # final: a failed boot has settled too
            return True
        if known and state == known.to:
            return age >= known.seconds
        return state in _FINAL and age >= STATE_DELAY


def flight_of(kind: Kind, row: Row) -> Flight | None:
    """Return the flight of a row, or None."""
    flight: Flight | None = kind.value(row, "flight") if kind.has_flights else None
    return flight


def is_in_flight(kind: Kind, row: Row) -> bool:
    """Return whether an action on a row is under way, or its listed state is in MOVING."""
    return kind.has_flights and (flight_of(kind, row) is not None or meaning(str(kind.value(row, "state"))) in MOVING)


def settle(cache: "Cache", kind: Kind, scope: "Scope", now: datetime | None = None) -> list[tuple[str, str]]:
    """End the flight of each row that has settled; return (id, how it ended) for each."""
    return list(_settled(cache, kind, scope, now or datetime.now(UTC)))


def _settled(cache: "Cache", kind: Kind, scope: "Scope", now: datetime) -> Iterator[tuple[str, str]]:
    for row in cache.flights.rows(kind, scope):
        native, state, flight = str(kind.value(row, "id")), str(kind.value(row, "state")), flight_of(kind, row)
        # A row without a flight moves by an action outside this program. The write ends this very flight only: another
        # dashboard may have begun the next one.
        if flight and flight.is_over(state, now) and cache.flights.replace(kind, scope, native, None, flight):
            yield native, flight.outcome(state)
