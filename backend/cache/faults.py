"""Turns each MongoDB error into one sentence, without credentials."""

import re

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from backend.cache.rights import UNAUTHORIZED
from backend.errors import CacheError, CacheLostError
from backend.redact import redacted
from backend.text import safe

_START_CURE = "Check that it runs, and mongodb.uri in the configuration."

_REPEAT_CURE = "Try again; if that fails, check that it runs."
"""What to do when a server that was reachable before is lost."""

_ELECTION_CURE = "They elect one within seconds: try again."

LONGEST = 200
"""The most characters of the driver's or the server's message that a sentence quotes."""

_CODES = {
    18: ("refuses the user name or the password", "Correct mongodb.uri in the configuration, then start again."),
    8000: ("refuses the user name or the password", "Correct mongodb.uri in the configuration, then start again."),
    121: (
        "refuses a document that does not fit the schema",
        "Another program changed its validator. Start once as a user with the role dbAdmin, or drop the collection.",
    ),
    64: ("did not write to most of its members in time", "Check that they all run."),
    14031: ("has no disk space left", "Free some, then try again."),
}
"""By server error code: what the server does, and what to do about it."""

ROLES = "To refresh and to change things, a user needs the role readWrite on the database; to view them, the role read."
"""The MongoDB roles that a user of the cache needs."""

_REFUSED = re.compile(r"not authorized on (\S+) to execute command \{ (\w+): (?:\"([^\"]*)\")?")
"""The server's message about a missing privilege: database, command, collection."""

_ACTIONS = {
    "aggregate": "find and changeStream", "create": "createCollection", "createIndexes": "createIndex",
    "delete": "remove", "findAndModify": "find and update",
}  # fmt: skip
"""The privilege action of a command whose name is different (MongoDB manual, Privilege Actions)."""

_LEAVING = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
"""Error codes of a server that shuts down or is no longer the primary (retryable writes specification)."""

_TLS_CURES = {
    "certificate verify failed": "Name the authority that signed its certificate with tlsCAFile=FILE in mongodb.uri.",
    "connection closed": f"{_START_CURE} If it requires TLS, add tls=true to mongodb.uri.",
}
"""By the driver's message when TLS fails or is missing: what to do."""

_PARTS = ("writeErrors", "writeConcernErrors")
"""Where the error of a batch holds its reasons."""


_NO_PRIMARY = "none of its members is the primary"

_REASONS = {
    "operation cancelled": "it does not answer",
    "not primary": "it is no longer the primary",
    'No replica set members match selector "Primary()"': _NO_PRIMARY,
    "No primary available for writes": _NO_PRIMARY,
}
"""Driver messages that users would not understand, and the reason to show instead."""


def sentence(error: PyMongoError | BSONError, address: str) -> CacheError:
    """Return the CacheError for `error`; `address` names the server, without credentials."""
    subject = f"The cache (MongoDB at {address})"
    codes = [error.code] if isinstance(error, OperationFailure) else []
    details = getattr(error, "details", None) or {}
    parts = [entry for name in _PARTS for entry in details.get(name, [])]
    codes += [entry.get("code") for entry in parts]
    if _LEAVING.intersection(codes):
        return CacheLostError(
            f"{subject} cannot be reached: it is shutting down or is no longer the primary.", _REPEAT_CURE
        )
    if UNAUTHORIZED in codes:
        return _unauthorized(subject, str(error))
    for code in codes:
        if code in _CODES:
            what, cure = _CODES[code]
            return CacheError(f"{subject} {what}.", cure)
    if isinstance(error, (ServerSelectionTimeoutError, AutoReconnect, ConnectionFailure)):
        # The driver's message repeats the whole topology; its first clause is the reason.
        reason = str(error).split(",")[0].split(" (configured timeouts")[0]
        reason = _REASONS.get(reason, reason)
        return CacheLostError(f"{subject} cannot be reached: {_short(reason)}.", _cure(error, reason))
    if isinstance(error, ConfigurationError):
        return CacheError(f"{subject} cannot be used: {_short(str(error))}.", "Check mongodb.uri.")
    reason = next((str(said["errmsg"]) for said in (details, *parts) if said.get("errmsg")), str(error))
    return CacheError(f"{subject} failed: {_short(reason)}.")


def _cure(error: PyMongoError | BSONError, reason: str) -> str:
    """Return what to do when the server cannot be reached."""
    if reason == _NO_PRIMARY:
        return _ELECTION_CURE
    if not isinstance(error, ServerSelectionTimeoutError):  # the connection existed and broke
        return _REPEAT_CURE
    return next((cure for words, cure in _TLS_CURES.items() if words in reason), _START_CURE)


def _unauthorized(subject: str, words: str) -> CacheError:
    """Return the error for a missing privilege, with MongoDB's name for it."""
    if found := _REFUSED.search(words):
        database, command, collection = found.groups()
        action = _ACTIONS.get(command, command)
        on = f"collection {collection} of database {database}" if collection else f"database {database}"
        return CacheError(f"{subject} refuses {command}: its user lacks the privilege {action} on {safe(on)}.", ROLES)
    if "requires authentication" in words:
        return CacheError(f"{subject} requires a user and a password.", f"Write them into mongodb.uri. {ROLES}")
    return CacheError(f"{subject} refuses this user: {_short(words)}.", ROLES)


def _short(words: str) -> str:
    """Return a server or driver message, redacted and escaped, then cut: `redacted` would not find half a secret."""
    return safe(redacted(words))[:LONGEST]
