"""Asks the cache's server which privileges its user has, and goes on without optional ones."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

UNAUTHORIZED = 13
"""Error code: the user lacks a privilege (MongoDB's error codes, Unauthorized)."""

_UNKNOWN = frozenset({59, 115})
"""Error codes of servers that lack the command or a part of it."""

READS = frozenset({"find"})
WRITES = frozenset({"insert", "update", "remove"})
"""The privilege actions that a dashboard needs to read, and to refresh and change (MongoDB manual, Privilege Actions).

The roles read and readWrite include them.
"""


@dataclass(frozen=True)
class Rights:
    """The user's privileges on the collections of the cache."""

    user: str = ""
    """The name; "" if the server requires no user."""
    lacks: frozenset[str] = frozenset()
    """The actions of READS and WRITES that are missing on one of the collections or more."""


def rights(database: Any, collections: Iterable[str]) -> Rights:
    """Return the user's privileges (connectionStatus); all of them if the server does not say."""
    try:
        status = database.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure as error:
        if error.code in _UNKNOWN:
            return Rights()
        raise
    users = status.get("authenticatedUsers") or []
    if not users:  # it requires none, or will refuse the first read
        return Rights()
    privileges = status.get("authenticatedUserPrivileges") or []
    lacks: set[str] = set()
    for collection in collections:
        lacks |= (READS | WRITES) - _granted(privileges, database.name, collection)
    return Rights(str(users[0].get("user", "")), frozenset(lacks))


def _granted(privileges: Iterable[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    """Return the actions that privileges grant on a collection; "" in a resource means any."""
    granted: set[str] = set()
    for privilege in privileges:
        resource = privilege.get("resource") or {}
        of_it = resource.get("db") in ("", database) and resource.get("collection") in ("", collection)
        if of_it or resource.get("anyResource"):
            granted.update(privilege.get("actions") or ())
    return granted


@contextmanager
def extra(what: str) -> Iterator[None]:
    """Run something optional. If the user lacks the privilege, log that and go on."""
    try:
        yield
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        log.warning("the user of the cache may not %s; the cache works without", what)
