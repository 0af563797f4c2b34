"""Reads and writes flights: the action under way on an object, beside the state that the cloud lists."""

from datetime import datetime

from backend.cache.documents import to_rows
from backend.cache.keys import Document
from backend.cache.store import Store, of
from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import MOVING, Flight, is_in_flight
from backend.providers.registry import names_of


class Flights:
    """The flights in the collections of the kinds that have flights."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, kind: Kind, scope: Scope) -> list[Row]:
        """Return the rows in flight: those with a flight, and those whose listed state is in MOVING."""
        moving = [{"flight": {"$ne": None}}, {"state": {"$in": sorted(names_of(MOVING))}}]
        with self._store.use():
            found = self._store.find(kind.plural, {**of(scope), "$or": moving}, kind.projection)
            rows = list(to_rows(kind, scope, found))
        # A flight that cannot be understood counts as none.
        return [row for row in rows if is_in_flight(kind, row)]

    def claim(
        self,
        kind: Kind,
        scope: Scope,
        native: str,
        flight: Flight | None,
        instead: Flight | None,
        *,
        state: str | None = None,
    ) -> bool:
        """Replace the flight `instead` of an object by `flight` (None: end it); return False if it has another flight.

        All writes of flights go through this method, so no dashboard ends or revives the flight of another. `state` is
        the state in the cloud's answer, if the answer has one.
        """
        query: Document = {"_id": scope.key(native)}
        query |= {"flight.since": _stored(instead.since), "flight.action": instead.action} if instead else _NO_FLIGHT
        with self._store.use():
            update = {"$set": flight_fields(flight, state)}
            claimed: bool = self._store.database[kind.plural].update_one(query, update).matched_count > 0
        if claimed:
            self._store.announce_row(kind, scope, native)
        return claimed


def flight_fields(flight: Flight | None, state: str | None = None) -> Document:
    """Return the document fields of a flight and, with `state`, of the state in the cloud's answer."""
    fields: Document = {"flight": flight._replace(since=_stored(flight.since))._asdict() if flight else None}
    # The hash describes a listing. This state is from no listing, so the next listing must write the object.
    return fields if state is None else fields | {"state": state, "hash": None}


def _stored(moment: datetime) -> datetime:
    """Return a time cut to the milliseconds that MongoDB keeps, so that mongomock finds it too."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_NO_FLIGHT: Document = {
    "$or": [
        {"flight": {"$not": {"$type": "object"}}},
        {"flight.since": {"$not": {"$type": "date"}}},
        {"flight.action": {"$not": {"$type": "string"}}},
    ]
}
"""The query for no flight, or one that cannot be understood."""
