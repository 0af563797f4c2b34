"""Reads and writes the rows of each kind, on MongoDB or mongomock."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from backend.cache.documents import CHUNK, Change, digest_of, is_of, same, to_document, to_rows, understood
from backend.cache.flights import Flights, flight_fields
from backend.cache.keys import Document
from backend.cache.known import Hashes, Known
from backend.cache.store import SOON, UNREADABLE, Store, chunks, in_scope, retry_once
from backend.kinds.model import Kind, Ref, Row, Scope
from backend.lifecycle import Flight


class Rows:
    """The collections of the kinds, with one document for each object."""

    def __init__(self, store: Store, flights: Flights) -> None:
        self._store = store
        self._flights = flights

    def snapshot(self, kind: Kind, scope: Scope) -> list[Row]:
        """Return the snapshot of one kind: its rows in the order they were first seen."""
        return list(chain.from_iterable(self.pages(kind, scope)))

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        """Yield the snapshot of one kind in pages of at most CHUNK rows."""
        with self._store.use():
            rows = to_rows(kind, scope, self._store.find(kind.plural, in_scope(scope), kind.projection))
            while page := list(islice(rows, CHUNK)):
                yield page

    def count(self, kind: Kind, scope: Scope) -> int:
        """Return the number of rows in the cache."""
        with self._store.use():
            return int(self._store.database[kind.plural].count_documents(in_scope(scope)))

    def document(self, kind: Kind, scope: Scope, native: str) -> Document | None:
        """Return everything that the cache has about one object, or None."""
        with self._store.use():
            found = self._store.find_one(kind.plural, scope.key(native))
            return None if found is None else understood(kind, scope, found)

    def named(self, kind: Kind, scope: Scope, word: str) -> list[Row]:
        """Return the row with the id `word`, or else all rows with the name `word`."""
        with self._store.use():
            for query in ({"_id": scope.key(word)}, {**in_scope(scope), "name": word}):
                if rows := list(to_rows(kind, scope, self._store.find(kind.plural, query))):
                    return rows
            return []

    def search(self, kind: Kind, scope: Scope, words: Sequence[str], limit: int) -> list[Row]:
        """Return at most `limit` rows in which every word occurs, in any case, in the text of a column or in a tag.

        Times and numbers are not searched. The server looks at every row: 100,000 take 0.1 s.
        """
        fields = [field for column, field in zip(kind.columns, kind.fields, strict=True) if column.type in _SEARCHED]
        fields += ["tags.key", "tags.value"] if "tags" in kind.index else []
        query = in_scope(scope)
        if words:
            query["$and"] = [
                {"$or": [{field: {"$regex": re.escape(word), "$options": "i"}} for field in fields]} for word in words
            ]
        with self._store.use():
            return list(to_rows(kind, scope, self._store.find(kind.plural, query, kind.projection, limit=limit)))

    def known(self, kind: Kind, scope: Scope) -> Known:
        """Return what a refresh must know about the cached rows."""
        unhashed: list[str] = []

        def hashes() -> Iterator[int]:
            for found in self._hashes(kind, scope):
                if (digest := digest_of(found)) is None:
                    unhashed.append(found["id"])
                else:
                    yield digest

        with self._store.use():
            return Known(Hashes(hashes()), unhashed)

    def left(self, kind: Kind, scope: Scope, known: Known) -> dict[str, int | None]:
        """Return the ids and hashes of the rows that are still in `known` after the listing.

        Rows that were written since then have another hash and are not included.
        """
        if not known:
            return {}
        with self._store.use():
            hashes = ((found["id"], digest_of(found)) for found in self._hashes(kind, scope))
            return {
                native: digest
                for native, digest in hashes
                if (native in known.unhashed if digest is None else digest in known.hashes)
            }

    def _hashes(self, kind: Kind, scope: Scope) -> Iterator[Document]:
        """Yield id and hash of each row. Invalid documents are left out, so that a listing writes them again."""
        found = self._store.find(kind.plural, in_scope(scope), {"id": 1, "hash": 1}, batch_size=1_000)
        return (one for one in found if is_of(scope, one))

    def put(
        self,
        kind: Kind,
        scope: Scope,
        items: Iterable[Mapping[str, Any]],
        known: Known | None = None,
        *,
        made: bool = False,
        flight: Flight | None = None,
    ) -> tuple[int, int]:
        """Write the items that are new or changed and return (added, changed).

        Items that are in `known` are removed from it and not written. If an object is listed twice, its last item
        counts. A VM keeps its flight. With `made`, or the `flight` of a boot, the items come from the answer of the
        request that created them, and count as unlisted until a listing has them; see `unlisted`.
        """
        if made or flight:
            old = [self._put_made(kind, scope, item, flight) for item in items]
            return old.count(False), old.count(True)
        refreshing = known is not None
        known = Known() if known is None else known
        now = datetime.now(UTC)
        listed: dict[str, Document] = {}
        passed: set[int] = set()
        for item in items:
            if item.get("id"):
                document = to_document(kind, scope, item, now)
                listed[document["_id"]] = document
            elif "digest" in item:
                passed.add(item["digest"])
        known.hashes.take(passed)
        fresh = {key: document for key, document in listed.items() if document["hash"] not in known.hashes}
        known.hashes.take(document["hash"] for document in listed.values())
        if not fresh:
            return 0, 0
        with self._store.use():
            # Insert new documents: an upsert costs the server five times as much (measured). If the cache was empty,
            # do not even search for them: the server refuses any that exist.
            present = {} if refreshing and known.nothing else self._present(kind, fresh)
            there = self._insert(kind, [document for key, document in fresh.items() if key not in present])
            present |= dict.fromkeys(there, UNREADABLE) | self._present(kind, there)
            hashes = {key: digest_of(found) for key, found in present.items()}
            known.hashes.take(hashes.values())
            known.unhashed.difference_update(listed[key]["id"] for key in present)
            # An object may be listed twice on a page, once as it is cached: keep that, else it would flip each time.
            alike = [
                fresh.pop(key) for key, found in present.items() if same(fresh[key], found) or hashes[key] in passed
            ]
            self._update(kind, [_listed(document, present[key]) for key, document in fresh.items() if key in present])
            # The same values from other bytes: write only the new hash.
            self._update(
                kind,
                [
                    _listed({"_id": one["_id"], "hash": one["hash"]}, present[one["_id"]])
                    for one in alike
                    if hashes[one["_id"]] not in passed and hashes[one["_id"]] != one["hash"]
                ],
            )
        shown = list(fresh.values())
        if refreshing:  # another dashboard's refresh just wrote these; show them here at once
            shown += [one for one in alike if hashes[one["_id"]] == one["hash"]]
        if shown and self._store.listened:
            rows = to_rows(kind, scope, (present.get(one["_id"], {}) | one for one in shown))
            self._store.announce(Change(kind.name, scope, upserts=tuple(rows)))
        changed = sum(key in present for key in fresh)
        return len(fresh) - changed, changed

    def _put_made(self, kind: Kind, scope: Scope, item: Mapping[str, Any], flight: Flight | None) -> bool:
        """Write an object that a command created, with its flight if it has none; return whether it was in the cache.

        One write sets both, so that no table shows a just booted VM without its flight.
        """
        now = datetime.now(UTC)
        # The hash describes a listing. This item is from no listing, so the next listing must write it.
        document = to_document(kind, scope, item, now) | {"hash": None, "made": now, "unlisted": True}
        with self._store.use():
            there = self._insert(kind, [document | (flight_fields(flight) if flight else {})])
            if there:
                self._update(kind, [document])
        if not (there and flight and self._flights.replace(kind, scope, str(document["id"]), flight, None)):
            self._store.announce_row(kind, scope, str(document["id"]))
        return bool(there)

    def unlisted(self, kind: Kind, scope: Scope, since: datetime) -> set[str]:
        """Return the ids of the objects that commands created since then and no listing has had."""
        if not kind.by_row:  # no command creates such an object
            return set()
        with self._store.use():
            found = self._store.find(kind.plural, {**in_scope(scope), "unlisted": True}, {"id": 1, "made": 1})
            return {one["id"] for one in found if is_of(scope, one) and _is_made_since(one, since)}

    def made_since(self, kind: Kind, scope: Scope, native: str, since: datetime) -> bool:
        """Return whether a command created the object since then, listed or not."""
        with self._store.use():
            found = self._store.find_one(kind.plural, scope.key(native))
        return found is not None and _is_made_since(found, since)

    def _present(self, kind: Kind, keys: Iterable[str]) -> dict[str, Document]:
        """Return the existing documents with these keys."""
        found = chain.from_iterable(self._store.find(kind.plural, {"_id": {"$in": chunk}}) for chunk in chunks([*keys]))
        return {one["_id"]: one for one in found if one}

    def _insert(self, kind: Kind, documents: Sequence[Document]) -> list[str]:
        """Insert documents; return the keys of those that exist already, which stay unchanged."""
        collection = self._written(kind)
        there = []
        for chunk in chunks(documents):
            try:
                collection.insert_many(chunk, ordered=False)
            except BulkWriteError as error:
                failed = error.details["writeErrors"]
                if any(entry["code"] != _DUPLICATE for entry in failed):
                    raise
                there += [chunk[entry["index"]]["_id"] for entry in failed]
        return there

    def _update(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Set the fields of these documents and keep all others, such as the flight."""
        collection = self._written(kind)
        updates = [({"_id": document["_id"]}, {"$set": document}) for document in documents]
        if self._store.mode == "memory":  # mongomock has no bulk_write with this pymongo
            for query, update in updates:
                collection.update_one(query, update)
            return
        for chunk in chunks(updates):
            collection.bulk_write([UpdateOne(query, update) for query, update in chunk], ordered=False)

    def _written(self, kind: Kind) -> Any:
        collection = self._store.database[kind.plural]
        if not kind.vast or self._store.mode == "memory":
            return collection
        # Not waiting for the disk at each batch halves the time of a vast listing. The record of its end does wait, and
        # then all earlier writes are on disk too.
        return collection.with_options(write_concern=SOON)

    def remove(self, kind: Kind, scope: Scope, ids: Iterable[str]) -> int:
        """Remove rows and return how many existed."""
        gone = tuple(ids)
        removed = 0
        with self._store.use():
            for chunk in chunks(gone):
                query = {"_id": {"$in": [scope.key(native) for native in chunk]}}
                removed += self._store.database[kind.plural].delete_many(query).deleted_count
        if gone:
            self._store.announce(Change(kind.name, scope, removed=tuple(Ref(scope, native) for native in gone)))
        return removed

    def remove_left(self, kind: Kind, scope: Scope, left: Mapping[str, int | None]) -> int:
        """Remove the rows that `left` returned, except those that changed since then."""
        removed = 0
        with self._store.use():
            for hashed in (False, True):
                for chunk in chunks([native for native, digest in left.items() if (digest is not None) is hashed]):
                    keys = [scope.key(native) for native in chunk]
                    digests = [left[native] for native in chunk]  # each row has another one, or None
                    query = {"_id": {"$in": keys}} | ({"hash": {"$in": digests}} if hashed else _UNHASHED)
                    removed += retry_once(partial(self._store.database[kind.plural].delete_many, query)).deleted_count
        if left:
            self._store.announce(Change(kind.name, scope, removed=tuple(Ref(scope, native) for native in left)))
        return removed

    def note(self, kind: Kind, scope: Scope, native: str, fields: Document) -> None:
        """Write fields that no listing has; without effect for an object that is not in the cache."""
        with self._store.use():
            self._store.database[kind.plural].update_one({"_id": scope.key(native)}, {"$set": fields})
        self._store.announce_row(kind, scope, native)


def _listed(document: Document, before: Document) -> Document:
    """Return what a listing writes about a cached object: it clears the mark `unlisted`."""
    return document | {"unlisted": False} if before.get("unlisted") else document


def _is_made_since(document: Document, since: datetime) -> bool:
    made = document.get("made")
    return isinstance(made, datetime) and made >= since


_SEARCHED = frozenset({"text", "state"})
"""The types of columns whose values are their texts."""

_DUPLICATE = 11000

_UNHASHED: Document = {
    "$or": [{"hash": {"$type": "array"}}, {"$nor": [{"hash": {"$type": "int"}}, {"hash": {"$type": "long"}}]}]
}
"""The query for a missing or invalid hash. For an array, $type also matches the types of its entries."""
