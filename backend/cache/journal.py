"""Reads and writes the journal. A write returns after it is on disk."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from pymongo import WriteConcern

from backend.cache.documents import Change
from backend.cache.entries import entry, to_entry
from backend.cache.keys import Document
from backend.cache.store import Store, chunks, in_scope
from backend.journal.model import JOURNAL
from backend.kinds.model import Row, Scope

_T = TypeVar("_T")


class Journal:
    """The collection `journal`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, entries: Sequence[Document]) -> None:
        """Write new journal entries; they are on disk when this returns."""
        with self._store.use():
            for chunk in chunks(entries):
                self._collection().insert_many(chunk)
        self._announce_entries(entries)

    def set(self, key: str, fields: Document, where: Document | None = None) -> bool:
        """Change fields of a journal entry; they are on disk when this returns.

        `where` holds fields that the entry must have. If it does not have them, nothing is written: returns False.
        """
        with self._store.use():
            written: bool = (
                self._collection().update_one({"_id": key, **(where or {})}, {"$set": fields}).matched_count > 0
            )
            found = self._store.find_one("journal", key) if self._store.listened else None
        self._announce_entries([found] if found else [])
        return written

    def newest(self, limit: int = 1_000) -> list[Document]:
        """Return the newest journal entries, newest first."""
        return self._entries(entry, {}, limit)

    def unsettled(self, scope: Scope) -> list[Document]:
        """Return all journal entries of a scope whose outcome is unknown, newest first."""
        outcomes = ["waiting", "unfinished", "unknown"]
        query = {**in_scope(scope), "outcome": {"$in": outcomes}, "settled": {"$ne": True}}
        # An entry without an owner cannot be taken over.
        return [one for one in self._entries(entry, query) if one.get("owner") is not None]

    def of(self, scope: Scope, native: str) -> list[Document]:
        """Return all journal entries about an object, newest first."""
        return self._entries(entry, {**in_scope(scope), "objects": native})

    def _entries(self, read: Callable[[Document], _T | None], query: Document, limit: int | None = None) -> list[_T]:
        with self._store.use():
            found = self._store.find("journal", query, sort=[("at", -1), ("place", -1)])
            return list(islice((one for document in found if (one := read(document)) is not None), limit))

    def rows(self, limit: int) -> list[Row]:
        """Return the newest journal entries as rows of JOURNAL, newest first."""
        return self._entries(to_entry, {}, limit)

    def entry(self, key: str) -> Document | None:
        """Return one whole journal entry, or None."""
        with self._store.use():
            return self._store.find_one("journal", key)

    def _announce_entries(self, entries: Iterable[Document]) -> None:
        if self._store.listened:
            for row in map(to_entry, entries):
                if row is not None:
                    self._store.announce(Change(JOURNAL.name, JOURNAL.scope(row), upserts=(row,)))

    def _collection(self) -> Any:
        collection = self._store.database["journal"]
        if self._store.mode == "memory":
            return collection
        # Without j, kill -9 of the server loses thousands of acknowledged writes (measured). Without w="majority", a
        # failover loses the writes that the other members do not have.
        return collection.with_options(write_concern=_DURABLE)


_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)
"""On the disk of most members within ten seconds; else the write fails and nothing is sent to a cloud."""
