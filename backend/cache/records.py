"""The records of refreshes, and how they are read and checked.

Another version, another client or an attacker may have written anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.cache.keys import log_skipped, split_key


@dataclass(frozen=True)
class RefreshRecord:
    """The refreshes of one kind: when the last one began, why it failed, and the last complete listing."""

    cloud: str
    region: str
    kind: str
    started: datetime | None = None
    finished: datetime | None = None
    """When the last complete listing ended; the figures from here to `seconds` describe it."""
    count: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str | None = None
    """Why the last refresh failed; None if it succeeded or is under way."""
    batch: int = 0
    """Rows listed so far by the refresh under way; 0 when none is."""
    written: int = 0
    """Rows that all refreshes of this kind have written or removed: dashboards read again when it grows."""
    writer: str = ""
    """The open cache that wrote this: its own dashboard already has the rows."""
    lease: str = ""
    """The refresh under way, as long as it renews its lease; "" when there is none."""
    lease_by: str = ""
    """The machine and process of that refresh."""

    def age(self, now: datetime | None = None) -> float | None:
        """Return the seconds since the last complete listing, or None."""
        return None if self.finished is None else ((now or datetime.now(UTC)) - self.finished).total_seconds()


def record(document: Mapping[str, Any]) -> RefreshRecord | None:
    """Return the refresh record of a `refreshes` document; fields of a later version are ignored.

    Its `_id` says which kind and scope it describes. None if the `_id` or any field is invalid: a partly valid record
    could prevent every later refresh.
    """
    of = split_key(document.get("_id"))
    said = {name: document[name] for name in _RECORD if document.get(name) is not None}
    if of is None or not all(_RECORD[name](value) for name, value in said.items()):
        log_skipped("refreshes", document)
        return None
    return RefreshRecord(*of[0], of[1], **{name: value for name, value in said.items() if name != "lease_until"})


def is_past(value: Any) -> bool:
    """Return whether a field is a time that has been; clocks may differ a little."""
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
    "started": is_past, "finished": is_past, "lease_until": is_time, "seconds": _is_number,
    **dict.fromkeys(("count", "added", "changed", "removed", "batch", "written"), _is_count),
    **dict.fromkeys(("error", "writer", "lease", "lease_by"), is_text),
}  # fmt: skip
"""The check of each field of a record, if the field is present."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(hours=1)
"""The most that another machine's clock may be ahead: a listing that ended in the future would never be stale."""
_MOST = 1 << 53
"""Above any real count; sums of such numbers still fit MongoDB's integers."""
