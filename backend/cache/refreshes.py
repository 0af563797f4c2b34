"""Reads and writes the records of refreshes, and grants the leases in them."""

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
        """Seconds from the last renewal of a lease until it expires."""

    def of(self, kind: Kind, scope: Scope) -> RefreshRecord:
        """Return the record of the last refresh of a kind; an empty record if there is none."""
        with self._store.use():
            found = self._store.find_one("refreshes", scope.key(kind.name))
        return (None if found is None else record(found)) or RefreshRecord(scope.cloud, scope.region, kind.name)

    def all(self, kinds: Container[str]) -> list[RefreshRecord]:
        """Return the records of the kinds with these names, in every cloud and region."""
        with self._store.use():
            found = [record(document) for document in self._store.find("refreshes", {})]
        return [entry for entry in found if entry is not None and entry.kind in kinds]

    def begin(
        self, kind: Kind, scope: Scope, lease: str, by: str, *, seen: RefreshRecord | None = None, dead: bool = False
    ) -> RefreshRecord | None:
        """Grant a refresh the lease of its kind and return its record, which has the figures of the last listing.

        Returns None, and writes nothing, while another refresh holds the lease and renews it. With `seen`, also returns
        None if a listing has ended since then. `dead` means that the process with the lease in `seen` has ended.
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
            if there is not None and record(there) is None:  # an invalid record would block refreshes for ever
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
        """Renew a lease; return False if another refresh has it. `on_disk`: wait until earlier writes are on disk."""
        with self._store.use():
            records = self._store.database["refreshes"]
            if self._store.mode != "memory":
                records = records.with_options(write_concern=_SAFE if on_disk else SOON)
            query = {"_id": scope.key(kind.name), "lease": lease}
            return bool(records.update_one(query, self._leased({"lease": lease})).matched_count)

    def write(self, kind: Kind, scope: Scope, entry: RefreshRecord, lease: str = "") -> bool:
        """Write the `refreshes` document of a kind.

        `lease` is the lease of the refresh that writes. If another refresh has it now, nothing is written: returns
        False. If the entry has the lease too, it is renewed.
        """
        entry = replace(entry, writer=self._store.writer)
        query = {"_id": scope.key(kind.name)} | ({"lease": lease} if lease else {})
        with self._store.use():
            records = self._store.database["refreshes"]
            if entry.batch and self._store.mode != "memory":  # the next write will follow soon
                records = records.with_options(write_concern=SOON)
            written = records.update_one(query, self._leased(asdict(entry)), upsert=not lease)
        if lease and not written.matched_count:
            return False
        self._store.announce(Change(kind.name, scope, record=entry))
        return True

    def _leased(self, fields: Document) -> Any:
        """Return the update that writes `fields` and when their lease expires, by the clock of the server."""
        if not fields["lease"]:
            return {"$set": {**fields, "lease_until": None}}
        if self._store.mode == "memory":
            return {"$set": {**fields, "lease_until": datetime.now(UTC) + timedelta(seconds=self.lease_seconds)}}
        literal = {name: {"$literal": value} for name, value in fields.items()}  # a name may begin with a dollar
        return [{"$set": {**literal, "lease_until": {"$add": ["$$NOW", round(1_000 * self.lease_seconds)]}}}]

    def _expired(self) -> Document:
        """Return the query for an expired lease, or one that expires later than any granted lease could."""
        if self._store.mode == "memory":
            now = datetime.now(UTC)
            ends: list[Any] = [None, {"$lt": now}, {"$gt": now + timedelta(seconds=_LONGEST)}]
            return {"$or": [{"lease_until": end} for end in ends]}
        last = {"$add": ["$$NOW", round(1_000 * _LONGEST)]}
        until = "$lease_until"  # a missing one sorts below all
        return {"$expr": {"$or": [{"$lt": [until, "$$NOW"]}, {"$gt": [until, last]}]}}


_SAFE = WriteConcern(w="majority", j=True)
"""Acknowledged when it and all earlier writes are on disk."""

_LONGEST = 2 * LEASE_SECONDS
"""The most seconds until a lease expires; the clock may change when another server becomes the primary."""
