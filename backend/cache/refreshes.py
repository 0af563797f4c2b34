"""Reads and writes the records of refreshes, and gives out the leases in them."""

from collections.abc import Container
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import WriteConcern

from backend.cache.documents import Change
from backend.cache.keys import Document
from backend.cache.records import RefreshRecord, record
from backend.cache.store import SOON, Store
from backend.kinds.model import Kind, Scope

LEASE_SECONDS = 30.0


class Refreshes:
    """The collection `refreshes`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lease_seconds = LEASE_SECONDS
        """Seconds that a lease lasts after it was last renewed."""

    def of(self, kind: Kind, scope: Scope) -> RefreshRecord:
        """Return what is known of the last refresh of a kind; an empty record when there has been none."""
        with self._store.use():
            found = self._store.find_one("refreshes", scope.key(kind.name))
        return (None if found is None else record(found)) or RefreshRecord(scope.cloud, scope.region, kind.name)

    def all(self, kinds: Container[str]) -> list[RefreshRecord]:
        """Return the records of all refreshes, in every cloud and region, of the kinds that have these names."""
        with self._store.use():
            found = [record(document) for document in self._store.find("refreshes", {})]
        return [entry for entry in found if entry is not None and entry.kind in kinds]

    def begin(
        self, kind: Kind, scope: Scope, lease: str, by: str, *, seen: RefreshRecord | None = None, dead: bool = False
    ) -> RefreshRecord | None:
        """Give a refresh the lease of its kind and return its record, which has the figures of the last listing.

        Returns None, and writes nothing, while another refresh has the lease and is heard of. Where `seen` is given,
        also when a listing has ended since; `dead` says that the one that had the lease then is heard of no more.
        """
        named = {"_id": scope.key(kind.name)}
        free: list[Document] = [self._expired()]
        query: Document = named | {"$or": free}
        if seen is not None:
            query |= {"finished": seen.finished}
            free += [{"lease": seen.lease}] if dead else []
        begun: Document = {"started": datetime.now(UTC), "error": None, "batch": 0, "writer": self._store.writer}
        begun |= {"lease": lease, "lease_by": by}
        about = {"cloud": scope.cloud, "region": scope.region, "kind": kind.name, "writer": self._store.writer}
        with self._store.use():
            records = self._store.database["refreshes"]
            there = self._store.find_one("refreshes", named["_id"])
            if there is not None and record(there) is None:  # it would be waited for what it says for ever
                records.delete_one(named)
            found = records.find_one_and_update(query, self._leased(begun))
            if (
                found is None
                and records.update_one(named, {"$setOnInsert": about}, upsert=True).upserted_id is not None
            ):
                found = records.find_one_and_update(query, self._leased(begun))
        if found is None:
            return None
        entry = record(found | begun) or RefreshRecord(scope.cloud, scope.region, kind.name, **begun)
        self._store.announce(Change(kind.name, scope, record=entry))
        return entry

    def renew(self, kind: Kind, scope: Scope, lease: str, *, on_disk: bool = False) -> bool:
        """Renew a lease; return False where another refresh has it. `on_disk`: after all that was written before."""
        with self._store.use():
            records = self._store.database["refreshes"]
            if self._store.mode != "memory":
                records = records.with_options(write_concern=_SAFE if on_disk else SOON)
            query = {"_id": scope.key(kind.name), "lease": lease}
            return bool(records.update_one(query, self._leased({"lease": lease})).matched_count)

    def write(self, kind: Kind, scope: Scope, entry: RefreshRecord, lease: str = "") -> bool:
        """Write the `refreshes` document of a kind.

        `lease` is that of the refresh that writes it: where another has it now nothing is written, and False returned.
        It lasts on where the entry has it too.
        """
        entry = replace(entry, writer=self._store.writer)
        query = {"_id": scope.key(kind.name)} | ({"lease": lease} if lease else {})
        with self._store.use():
            records = self._store.database["refreshes"]
            if entry.batch and self._store.mode != "memory":  # the next will follow
                records = records.with_options(write_concern=SOON)
            written = records.update_one(query, self._leased(asdict(entry)), upsert=not lease)
        if lease and not written.matched_count:
            return False
        self._store.announce(Change(kind.name, scope, record=entry))
        return True

    def _leased(self, fields: Document) -> Any:
        """Return the update that writes `fields` and how long the lease in them lasts, by the clock of the server."""
        if not fields["lease"]:
            return {"$set": {**fields, "lease_until": None}}
        if self._store.mode == "memory":
            return {"$set": {**fields, "lease_until": datetime.now(UTC) + timedelta(seconds=self.lease_seconds)}}
        literal = {name: {"$literal": value} for name, value in fields.items()}  # a name may begin with a dollar
        return [{"$set": {**literal, "lease_until": {"$add": ["$$NOW", round(1_000 * self.lease_seconds)]}}}]

    def _expired(self) -> Document:
        """Return what a lease is that has ended, or lasts for longer than any that was ever given."""
        if self._store.mode == "memory":
            now = datetime.now(UTC)
            ends: list[Any] = [None, {"$lt": now}, {"$gt": now + timedelta(seconds=_LONGEST)}]
            return {"$or": [{"lease_until": end} for end in ends]}
        last = {"$add": ["$$NOW", round(1_000 * _LONGEST)]}
        until = "$lease_until"  # none at all is less than any
        return {"$expr": {"$or": [{"$lt": [until, "$$NOW"]}, {"$gt": [until, last]}]}}


_SAFE = WriteConcern(w="majority", j=True)
"""Answered when it is on disk, with all that was written before it."""

_LONGEST = 2 * LEASE_SECONDS
"""Seconds from now until which a lease may last; clocks of servers differ when another becomes the primary."""
