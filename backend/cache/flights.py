"""Reads and writes the flights: what is being done to an object, beside the state that the cloud lists."""

from datetime import datetime

from backend.cache.documents import to_rows
from backend.cache.keys import Document
from backend.cache.store import Store, of
from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import MOVING, Flight


class Flights:
    """The flights in the collections of the kinds that have any."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, kind: Kind, scope: Scope) -> list[Row]:
        """Return the rows in flight: those that a command acted on, and those that the cloud says are moving."""
        moving = [{"flight": {"$ne": None}}, {"state": {"$in": sorted(MOVING)}}]
        with self._store.use():
            found = self._store.find(kind.plural, {**of(scope), "$or": moving}, kind.projection)
            rows = list(to_rows(kind, scope, found))
        # What has a flight that cannot be understood is in none.
        return [row for row in rows if kind.value(row, "flight") or kind.value(row, "state") in MOVING]

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
        """Set or, with None, end the flight of an object where it still is `instead`; return False where it is another.

        Every flight begins, changes and ends by this, so that no dashboard ends or revives the flight of another.
        `state` is that of the cloud's answer, where it has one.
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
    """Return the fields of a document that say which flight it is in, and with `state` what the cloud's answer said."""
    fields: Document = {"flight": flight._replace(since=_stored(flight.since))._asdict() if flight else None}
    # The digest is of what a listing said; this was no listing, so the next one must write.
    return fields if state is None else fields | {"state": state, "hash": None}


def _stored(moment: datetime) -> datetime:
    """Return a time in the milliseconds that MongoDB keeps, to be found by it on mongomock as well."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_NO_FLIGHT: Document = {
    "$or": [
        {"flight": {"$not": {"$type": "object"}}},
        {"flight.since": {"$not": {"$type": "date"}}},
        {"flight.action": {"$not": {"$type": "string"}}},
    ]
}
"""A VM that is in no flight, or in one that cannot be understood."""
