"""Prepares a cache when it is opened: checks the user's rights, creates collections, validators and indexes."""

from collections.abc import Collection, Iterable

from pymongo.errors import OperationFailure

from backend.cache.documents import validator
from backend.cache.faults import ROLES
from backend.cache.keys import Document
from backend.cache.rights import READS, WRITES, extra, rights
from backend.cache.store import Store
from backend.errors import CacheError
from backend.kinds.model import Kind
from backend.text import safe

_EXISTS = 48
"""Error code: the collection exists already, with other options."""


def _schema(kind: Kind) -> Document:
    """Return the options of a kind's collection."""
    # Moderate: documents that do not fit the schema may still be written, else they could not be repaired.
    return {"validator": validator(kind), "validationLevel": "moderate"}


def prepare(store: Store, kinds: Collection[Kind]) -> None:
    """Create the missing collections, indexes and validators, as far as the user has the privileges.

    The cache works without them. If the user may not write, `refusal` says so and nothing is created. If the user may
    not read, this raises CacheError.
    """
    with store.use():
        if store.mode == "mongodb":
            _check_rights(store, kinds)
        if store.refusal:
            return
        existing: dict[str, Document] = {}
        with extra("list the collections"):
            existing = {found["name"]: found.get("options", {}) for found in _collections(store)}
        stale = [kind for kind in kinds if not _schema(kind).items() <= existing.get(kind.plural, {}).items()]
        if not stale and "journal" in existing:  # the last one to be created: all exist
            return
        for kind in kinds:
            if store.mode != "memory" and kind in stale:
                _validate(store, kind.plural, _schema(kind))
            # For equal keys the server keeps the order of insertion; an index by name would not.
            _index(store, kind.plural, [("cloud", 1), ("region", 1)])
        _index(store, "journal", [("at", -1), ("place", -1)])


def _check_rights(store: Store, kinds: Collection[Kind]) -> None:
    """Set `refusal` and `note` if the user may only read."""
    collections = [*(kind.plural for kind in kinds), "refreshes", "journal"]
    found = rights(store.database, collections)
    if not found.user:
        store.find_one("refreshes", "")  # a server that requires a user refuses here
    who = f"The user {safe(found.user)} of the cache (MongoDB at {store.address})"
    missing = f"lacks the privileges {{}} on database {store.database.name}"
    if lacks := found.lacks & READS:
        raise CacheError(f"{who} may not read it: it {missing.format(', '.join(sorted(lacks)))}.", ROLES)
    if lacks := found.lacks & WRITES:
        store.refusal = CacheError(f"{who} may only read it: it {missing.format(', '.join(sorted(lacks)))}.", ROLES)
        store.note = f"{store.refusal.message} You see what others refresh; you cannot refresh or change anything here."


def _validate(store: Store, collection: str, schema: Document) -> None:
    """Create a collection with its validator, or alter the validator, which needs more than the role readWrite."""
    with extra(f"create the collection {collection}"):
        try:
            store.database.create_collection(collection, check_exists=False, **schema)
            return
        except OperationFailure as error:
            if error.code != _EXISTS:
                raise
    with extra(f"set the validator of {collection}, which needs the privilege collMod of the role dbAdmin"):
        store.database.command("collMod", collection, **schema)


def _index(store: Store, collection: str, keys: list[tuple[str, int]]) -> None:
    with extra(f"create the index of {collection}"):
        store.database[collection].create_index(keys)


def _collections(store: Store) -> Iterable[Document]:
    if store.mode == "memory":  # mongomock does not report their options
        return ()
    found: Iterable[Document] = store.database.list_collections()
    return found
