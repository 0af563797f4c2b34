"""The keys of documents: their scope and id. Also logs the documents that cannot be understood."""

import logging
from collections.abc import Mapping
from typing import Any

from backend.kinds.model import Scope

log = logging.getLogger(__name__)

Document = dict[str, Any]


EVERYWHERE = Scope("", "")
"""The scope of a change that may concern any cloud and region."""


def split_key(key: Any) -> tuple[Scope, str] | None:
    """Return the scope and the native id in an `_id`; None if it is not such a key."""
    parts = key.split("/", 2) if isinstance(key, str) else ()
    return (Scope(parts[0], parts[1]), parts[2]) if len(parts) == 3 else None


def log_skipped(collection: str, document: Mapping[str, Any]) -> None:
    """Log, once, that a document cannot be understood and is skipped."""
    key = str(document.get("_id"))[:_KEY]
    if (collection, key) not in _logged and len(_logged) < _MOST_LOGGED:
        _logged.add((collection, key))
        log.warning("a document in %s of the cache cannot be understood and is skipped: %s", collection, key)


_logged: set[tuple[str, str]] = set()
_MOST_LOGGED = 1_000
"""The most documents that are logged: damaged data must not fill the log or the memory."""
_KEY = 200
"""The most characters of an `_id` that are logged."""
