"""Where a document of the cache belongs, and what is said of one that cannot be understood."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from backend.kinds.model import Scope

log = logging.getLogger(__name__)

Document = dict[str, Any]


EVERYWHERE = Scope("", "")
"""The scope of a change that may concern any cloud and region."""


@lru_cache(maxsize=1_000)
def scope_of(cloud: str, region: str) -> Scope:
    """Return the scope of a cloud and region: one object for all rows that are read one by one."""
    return Scope(cloud, region)


def split_key(key: Any) -> tuple[Scope, str] | None:
    """Return the scope and the native id that an `_id` was made of; None where it was made of anything else."""
    parts = key.split("/", 2) if isinstance(key, str) else ()
    return (scope_of(parts[0], parts[1]), parts[2]) if len(parts) == 3 else None


def log_skipped(collection: str, document: Mapping[str, Any]) -> None:
    """Say in the log, once, that a document cannot be understood."""
    key = str(document.get("_id"))[:_KEY]
    if (collection, key) not in _told and len(_told) < _TOLD:
        _told.add((collection, key))
        log.warning("something in %s of the cache cannot be understood and is passed over: %s", collection, key)


_told: set[tuple[str, str]] = set()
_TOLD = 1_000
"""Documents that are told of, at most: nobody shall fill the log, or the memory, with more."""
_KEY = 200
"""Characters of an `_id` that are told."""
