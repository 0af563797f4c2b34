"""The records of refreshes: what they say, and what of a document is believed.

Another version, another client or an enemy may have written anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.cache.keys import log_skipped, split_key


@dataclass(frozen=True)
class RefreshRecord:
    """The refreshes of one kind: when the last one began and why it failed, and the last listing that was complete."""

    cloud: str
    region: str
    kind: str
    started: datetime | None = None
    finished: datetime | None = None
    """When the last complete listing ended; the figures from here to `seconds` are its own."""
    count: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str | None = None
    """Why the last refresh failed; None when it did not, or is under way."""
    batch: int = 0
    """Rows listed so far by the refresh under way; 0 when none is."""
    written: int = 0
    """Rows that all refreshes of this kind have written or removed: dashboards read again when it has grown."""
    writer: str = ""
    """Which open cache wrote this: its own dashboard was told of the rows themselves."""
    lease: str = ""
    """Which refresh is under way, as long as it is heard of; "" when none is."""
    lease_by: str = ""
    """The machine and process that it is of."""

    def age(self, now: datetime | None = None) -> float | None:
        """Return the seconds since the last complete listing, None when there has been none."""
        return None if self.finished is None else ((now or datetime.now(UTC)) - self.finished).total_seconds()


def record(document: Mapping[str, Any]) -> RefreshRecord | None:
    """Return the refresh record of a `refreshes` document; fields of a later version are passed over.

    It is of what its `_id` says. None where that is nothing, or where any field is not as it should be: a record that
    is half believed may keep a refresh from ever beginning.
    """
    of = split_key(document.get("_id"))
    said = {name: document[name] for name in _RECORD if document.get(name) is not None}
    if of is None or not all(_RECORD[name](value) for name, value in said.items()):
        log_skipped("refreshes", document)
        return None
    return RefreshRecord(*of[0], of[1], **{name: value for name, value in said.items() if name != "lease_until"})


def _is_past(value: Any) -> bool:
    return isinstance(value, datetime) and _EARLIEST < value < datetime.now(UTC) + _AHEAD


def is_time(value: Any) -> bool:
    """Return whether a field is a time."""
    return isinstance(value, datetime)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def is_text(value: Any) -> bool:
    """Return whether a field is a text."""
    return isinstance(value, str)


_RECORD: dict[str, Callable[[Any], bool]] = {
    "started": _is_past, "finished": _is_past, "lease_until": is_time, "seconds": _is_number,
    **dict.fromkeys(("count", "added", "changed", "removed", "batch", "written"), _is_count),
    **dict.fromkeys(("error", "writer", "lease", "lease_by"), is_text),
}  # fmt: skip
"""What each field of a record must be, where it is there at all."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(hours=1)
"""So far ahead may another machine's clock be: what has ended in the future would never be stale."""
_MOST = 1 << 53
"""More than anybody counts: all that is reckoned with it can be stored."""
