"""What was done to a cloud, by whom and how it ended."""

import getpass
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.cache import Scope
from backend.errors import CacheError, Cancelled

if TYPE_CHECKING:
    from backend.cache import Cache


@contextmanager
def recorded(cache: "Cache", scope: Scope, command: str, objects: Sequence[str]) -> Iterator[None]:
    """Journal a command that changes something: an entry before it acts, completed when it has ended.

    `objects` are the ids it acts on, which may grow while it runs. An entry whose outcome stays "unfinished" tells
    that the process died in between.
    """
    key = cache.journal_add(
        {
            "at": datetime.now(UTC),
            "user": _user(),
            "cloud": scope.cloud,
            "region": scope.region,
            "command": command,
            "objects": list(objects),
            "outcome": "unfinished",
            "error": None,
            "seconds": None,
        }
    )
    began = time.monotonic()
    outcome, error = "failed", None
    try:
        yield
        outcome = "done"
    except (Cancelled, KeyboardInterrupt):
        outcome = "cancelled"
        raise
    except Exception as failure:
        error = str(failure) or type(failure).__name__
        raise
    finally:
        seconds = round(time.monotonic() - began, 3)
        fields = {"objects": list(objects), "outcome": outcome, "error": error, "seconds": seconds}
        with suppress(CacheError):  # what happened in the cloud is told, not that it could not be written down
            cache.journal_end(key, fields)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
