"""Turns MongoDB's errors into one sentence each, without credentials."""

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
"""What to do about a server that was reached before."""

_ELECTION_CURE = "They elect one within seconds: try again then."

LONGEST = 200
"""Characters of the driver's and the server's own words that a message keeps."""

_CODES = {
    18: ("refuses the user name or the password", "Mend mongodb.uri in the configuration, then start again."),
    8000: ("refuses the user name or the password", "Mend mongodb.uri in the configuration, then start again."),
    121: (
        "refuses a document that does not fit the schema",
        "Something else has set its validator: start this once as a user with dbAdmin, or drop the collection.",
    ),
    64: ("has not written it on most of its members in time", "See whether they all run."),
    14031: ("has no disk space left", "Free some, then try again."),
}
"""Server error code to what the server does and what to do about it."""

ROLES = "The role readWrite on the database lets a user refresh and change things, the role read lets one look."
"""Which of MongoDB's own roles a user of the cache needs."""

_REFUSED = re.compile(r"not authorized on (\S+) to execute command \{ (\w+): (?:\"([^\"]*)\")?")
"""The server's words for a privilege that is missing: database, command, collection."""

_ACTIONS = {
    "aggregate": "find and changeStream", "create": "createCollection", "createIndexes": "createIndex",
    "delete": "remove", "findAndModify": "find and update",
}  # fmt: skip
"""The privilege actions that commands need, where they have other names (MongoDB manual, Privilege Actions)."""

_LEAVING = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
"""What a server answers that shuts down, or is the primary no longer (retryable writes specification)."""

_TLS_CURES = {
    "certificate verify failed": "Name the authority that signed its certificate with tlsCAFile=FILE in mongodb.uri.",
    "connection closed": f"{_START_CURE} A server that wants TLS hangs up on others: tls=true in mongodb.uri.",
}
"""What to do about what the driver says when TLS fails, or is missing."""

_PARTS = ("writeErrors", "writeConcernErrors")
"""Where the error of a batch says why."""


_NO_PRIMARY = "none of its members is the primary now"

_REASONS = {
    "operation cancelled": "it does not answer",
    "not primary": "it is not the primary now",
    'No replica set members match selector "Primary()"': _NO_PRIMARY,
    "No primary available for writes": _NO_PRIMARY,
}
"""The driver's words that only its makers understand."""


def sentence(error: PyMongoError | BSONError, address: str) -> CacheError:
    """Return the CacheError for `error`; `address` names the server without credentials."""
    subject = f"The cache (MongoDB at {address})"
    codes = [error.code] if isinstance(error, OperationFailure) else []
    details = getattr(error, "details", None) or {}
    parts = [entry for name in _PARTS for entry in details.get(name, [])]
    codes += [entry.get("code") for entry in parts]
    if _LEAVING.intersection(codes):
        return CacheLostError(f"{subject} cannot be reached: it shuts down, or is the primary no longer.", _REPEAT_CURE)
    if UNAUTHORIZED in codes:
        return _unauthorized(subject, str(error))
    for code in codes:
        if code in _CODES:
            what, cure = _CODES[code]
            return CacheError(f"{subject} {what}.", cure)
    if isinstance(error, (ServerSelectionTimeoutError, AutoReconnect, ConnectionFailure)):
        # The driver's own text repeats the whole topology; the first clause is the reason.
        reason = str(error).split(",")[0].split(" (configured timeouts")[0]
        reason = _REASONS.get(reason, reason)
        return CacheLostError(f"{subject} cannot be reached: {_short(reason)}.", _cure(error, reason))
    if isinstance(error, ConfigurationError):
        return CacheError(f"{subject} cannot be used: {_short(str(error))}.", "Check mongodb.uri.")
    reason = next((str(said["errmsg"]) for said in (details, *parts) if said.get("errmsg")), str(error))
    return CacheError(f"{subject} failed: {_short(reason)}.")


def _cure(error: PyMongoError | BSONError, reason: str) -> str:
    """Return what to do about a server that cannot be reached."""
    if reason == _NO_PRIMARY:
        return _ELECTION_CURE
    if not isinstance(error, ServerSelectionTimeoutError):  # the connection was there, and broke
        return _REPEAT_CURE
    return next((cure for words, cure in _TLS_CURES.items() if words in reason), _START_CURE)


def _unauthorized(subject: str, words: str) -> CacheError:
    """Return what is missing where a user may not do something, named as MongoDB names it."""
    if found := _REFUSED.search(words):
        database, command, collection = found.groups()
        action = _ACTIONS.get(command, command)
        on = f"collection {collection} of database {database}" if collection else f"database {database}"
        return CacheError(f"{subject} refuses {command}: its user lacks the privilege {action} on {safe(on)}.", ROLES)
    if "requires authentication" in words:
        return CacheError(f"{subject} wants a user and a password.", f"Name them in mongodb.uri. {ROLES}")
    return CacheError(f"{subject} refuses this user: {_short(words)}.", ROLES)


def _short(words: str) -> str:
    """Return the server's or the driver's words for people to read; half a secret would be no secret to `redacted`."""
    return safe(redacted(words))[:LONGEST]
