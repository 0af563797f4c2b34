"""Reads and writes flights: the action under way on an object, beside the state that the cloud lists."""

from datetime import datetime

from backend.cache.documents import to_rows
from backend.cache.keys import Document
from backend.cache.store import Store, in_scope
from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import MOVING, Flight, is_in_flight
from backend.providers.registry import names_of


class Flights:
    """Reads the rows in flight, and sets and ends flights. Raises CacheError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self, kind: Kind, scope: Scope) -> list[Row]:
        """Return the rows with a flight, and those in a passing state: another program may have acted on these."""
        moving = [{"flight": {"$ne": None}}, {"state": {"$in": sorted(names_of(MOVING))}}]
        with self._store.use():
            found = self._store.find(kind.plural, {**in_scope(scope), "$or": moving}, kind.projection)
            rows = list(to_rows(kind, scope, found))
        # A flight that cannot be understood counts as none.
        return [row for row in rows if is_in_flight(kind, row)]

    def replace(
        self,
        kind: Kind,
        scope: Scope,
        native: str,
        new: Flight | None,
        expected: Flight | None,
        *,
        state: str | None = None,
    ) -> bool:
        """Set the flight of an object to `new` if it still is `expected`; return whether it was. None means no flight.

        Action and start time identify a flight. A flight ends when the VM has settled, when its action has failed, or
        with its row; an overdue one goes on. Every change of an existing object's flight goes through this method, so
        no process overwrites a flight that it has not read. `state` is the state in the cloud's answer, if it has one.
        """
        query: Document = {"_id": scope.key(native)}
        query |= {"flight.since": _stored(expected.since), "flight.action": expected.action} if expected else _NO_FLIGHT
        with self._store.use():
            update = {"$set": flight_fields(new, state)}
            replaced: bool = self._store.database[kind.plural].update_one(query, update).matched_count > 0
        if replaced:
            self._store.announce_row(kind, scope, native)
        return replaced


def flight_fields(flight: Flight | None, state: str | None = None) -> Document:
    """Return the document fields of a flight and, with `state`, of the state in the cloud's answer."""
    fields: Document = {"flight": flight._replace(since=_stored(flight.since))._asdict() if flight else None}
    # The hash describes a listing. This state is from no listing, so the next listing must write the object.
    return fields if state is None else fields | {"state": state, "hash": None}


def _stored(moment: datetime) -> datetime:
    """Return a time cut to the milliseconds that MongoDB keeps, so that it is equal when it is read back."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_NO_FLIGHT: Document = {
    "$or": [
        {"flight": {"$not": {"$type": "object"}}},
        {"flight.since": {"$not": {"$type": "date"}}},
        {"flight.action": {"$not": {"$type": "string"}}},
    ]
}
"""The query for no flight, or one that `to_row` cannot understand and reads as none."""
