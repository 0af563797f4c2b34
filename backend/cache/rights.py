"""Asks the cache's server what its user may do, and does without what is only an extra."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

UNAUTHORIZED = 13
"""What a server answers to a user who lacks a privilege (MongoDB's error codes, Unauthorized)."""

_UNKNOWN = frozenset({59, 115})
"""What servers answer that have no such command, or not all of it."""

READS = frozenset({"find"})
WRITES = frozenset({"insert", "update", "remove"})
"""The privilege actions that a dashboard needs to look, and to refresh and change (MongoDB manual, Privilege Actions).

The roles read and readWrite have them.
"""


@dataclass(frozen=True)
class Rights:
    """What a user may do with the collections of the cache."""

    user: str = ""
    """The name; "" where the server wants no user."""
    lacks: frozenset[str] = frozenset()
    """The actions of READS and WRITES that are missing on one of the collections or more."""


def rights(database: Any, collections: Iterable[str]) -> Rights:
    """Return what the user of a connection may do (connectionStatus); everything where the server does not say."""
    try:
        status = database.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure as error:
        if error.code in _UNKNOWN:
            return Rights()
        raise
    users = status.get("authenticatedUsers") or []
    if not users:  # it has none, or wants one and refuses the first read
        return Rights()
    privileges = status.get("authenticatedUserPrivileges") or []
    lacks: set[str] = set()
    for collection in collections:
        lacks |= (READS | WRITES) - _granted(privileges, database.name, collection)
    return Rights(str(users[0].get("user", "")), frozenset(lacks))


def _granted(privileges: Iterable[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    """Return the actions that privileges grant on a collection; an empty word in a resource means any."""
    granted: set[str] = set()
    for privilege in privileges:
        resource = privilege.get("resource") or {}
        of_it = resource.get("db") in ("", database) and resource.get("collection") in ("", collection)
        if of_it or resource.get("anyResource"):
            granted.update(privilege.get("actions") or ())
    return granted


@contextmanager
def extra(what: str) -> Iterator[None]:
    """Run what the cache can do without; where the user may not do it, the log says so and the program goes on."""
    try:
        yield
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        log.warning("the user of the cache may not %s; the cache works without", what)
