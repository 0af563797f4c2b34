"""Prepares a cache at its opening: what its user may do, then collections, validators and indexes as far as may be."""

from collections.abc import Iterable

from pymongo.errors import OperationFailure

from backend.cache.connection import Connection
from backend.cache.documents import validator
from backend.cache.faults import ROLES
from backend.cache.places import Document
from backend.cache.rights import READS, WRITES, extra, rights
from backend.errors import CacheError
from backend.kinds import KINDS, Kind
from backend.text import safe

_EXISTS = 48
"""What a server answers that has the collection already, with other options."""


def _schema(kind: Kind) -> Document:
    """Return the options of a kind's collection."""
    # Moderate: what does not fit already may be written to all the same, else it could not be put right.
    return {"validator": validator(kind), "validationLevel": "moderate"}


class Preparing(Connection):
    """The part of a cache that makes its collections."""

    def prepare(self) -> None:
        """Create what is missing of the collections, their indexes and validators, as far as the user may.

        These are extras. Where the user may not write `refusal` says so, and nothing is created; one who may not even
        read gets CacheError.
        """
        with self.use():
            if self.mode == "mongodb":
                self._look_at_rights()
            if self.refusal:
                return
            existing: dict[str, Document] = {}
            with extra("list the collections"):
                existing = {found["name"]: found.get("options", {}) for found in self._collections()}
            stale = [
                kind for kind in KINDS.values() if not _schema(kind).items() <= existing.get(kind.plural, {}).items()
            ]
            if not stale and "journal" in existing:  # the last that is made: all is there
                return
            for kind in KINDS.values():
                if self.mode != "memory" and kind in stale:
                    self._validate(kind.plural, _schema(kind))
                # Of equal keys the server keeps the order in which they came, which an index by name would not.
                self._index(kind.plural, [("cloud", 1), ("region", 1)])
            self._index("journal", [("at", -1), ("place", -1)])

    def _look_at_rights(self) -> None:
        """Note in `refusal` and `note` that the user may only read."""
        collections = [*(kind.plural for kind in KINDS.values()), "refreshes", "journal"]
        found = rights(self.database, collections)
        if not found.user:
            self.find_one("refreshes", "")  # a server that wants a user says so here
        who = f"The user {safe(found.user)} of the cache (MongoDB at {self.place})"
        missing = f"lacks the privileges {{}} on database {self.database.name}"
        if lacks := found.lacks & READS:
            raise CacheError(f"{who} may not read it: it {missing.format(', '.join(sorted(lacks)))}.", ROLES)
        if lacks := found.lacks & WRITES:
            self.refusal = CacheError(f"{who} may only read it: it {missing.format(', '.join(sorted(lacks)))}.", ROLES)
            self.note = (
                f"{self.refusal.message} What others refresh is shown; nothing is refreshed or changed from here."
            )

    def _validate(self, collection: str, schema: Document) -> None:
        """Give a collection its validator, as it is made where it is missing: readWrite may make one, not alter one."""
        with extra(f"create the collection {collection}"):
            try:
                self.database.create_collection(collection, check_exists=False, **schema)
                return
            except OperationFailure as error:
                if error.code != _EXISTS:
                    raise
        with extra(f"set the validator of {collection}, which takes the privilege collMod of the role dbAdmin"):
            self.database.command("collMod", collection, **schema)

    def _index(self, collection: str, keys: list[tuple[str, int]]) -> None:
        with extra(f"create the index of {collection}"):
            self.database[collection].create_index(keys)

    def _collections(self) -> Iterable[Document]:
        if self.mode == "memory":  # mongomock does not know their options
            return ()
        found: Iterable[Document] = self.database.list_collections()
        return found
