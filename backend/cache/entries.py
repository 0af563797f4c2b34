"""Reads journal entries: as rows to show, and as documents to act on."""

from collections.abc import Callable, Mapping
from typing import Any

from backend.cache.documents import typed
from backend.cache.keys import Document, log_skipped
from backend.cache.records import is_text, is_time
from backend.journal.model import JOURNAL
from backend.kinds.model import Row, Scope


def to_entry(document: Mapping[str, Any]) -> Row | None:
    """Return the row of a journal document; None if it has no valid id.

    A value that an earlier version did not write, or that has the wrong type, is None.
    """
    if not isinstance(native := document.get("_id"), str):
        log_skipped("journal", document)
        return None
    shown = {**document, "id": native, "objects": ", ".join(_texts(document.get("objects")))}
    values = typed(JOURNAL, tuple(shown.get(column.name) for column in JOURNAL.columns), document)
    cloud, region = (values[JOURNAL.index[name]] or "" for name in ("cloud", "region"))
    return (*values, Scope(cloud, region).text)


def entry(document: Document) -> Document | None:
    """Return a journal document with valid fields; None if a field that recovery needs is missing or invalid."""
    if not all(fits(document.get(name)) for name, fits in _NEEDED.items()):
        log_skipped("journal", document)
        return None
    wrong = {name for name, fits in _OPTIONAL.items() if document.get(name) is not None and not fits(document[name])}
    known = {name: value for name, value in document.items() if name not in wrong}
    return known | {"objects": _texts(document.get("objects")), "request": known.get("request") or {}}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and (value == "" or value.isalnum())  # it becomes a file name


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_NEEDED: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("_id", "command", "cloud", "region", "outcome"), is_text), "at": is_time,
}  # fmt: skip
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "owner": _is_word, "owner_host": is_text, "batch": is_text, "sent": is_time, "request": _is_object,
}  # fmt: skip


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
