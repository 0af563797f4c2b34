"""Writes rows of a kind to a CSV or JSON file."""

import csv
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from backend.cache.documents import plain_or_text
from backend.errors import CloudmeshError, RefusedError, UsageError
from backend.format import as_object, joined, plain
from backend.kinds.model import Column, Kind, Row
from backend.lifecycle import Flight
from backend.text import printable


def write(kind: Kind, rows: Sequence[Row], path: Path) -> None:
    """Write `rows` to a new file for its owner alone, as CSV or JSON as the suffix of `path` says.

    Raises UsageError when it says neither, RefusedError when the file exists or cannot be made, and CloudmeshError
    when it cannot be written. A file that is not whole is removed.
    """
    check(path)
    write_to = {".csv": _csv, ".json": _json}[path.suffix.lower()]
    try:
        # Names, tags and addresses are nobody else's business, whatever the umask says.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:  # since it was looked for
        raise _exists(path) from None
    except FileNotFoundError:
        raise RefusedError(
            f"{path} cannot be written: there is no folder {path.parent}.", "Make it, or choose another file."
        ) from None
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be written: {_reason(error)}.", "Choose another file.") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write_to(kind, rows, file)
            file.flush()
            os.fsync(file.fileno())  # a network's disk may say only now that it is full
    except OSError as error:
        _remove(path)
        raise CloudmeshError(
            f"The {kind.nouns} could not be written to {path}: {_reason(error)}.", "Choose another file."
        ) from None
    except BaseException:
        _remove(path)
        raise


def check(path: Path) -> None:
    """Raise what `write` would raise for a name that does not serve, before anything is fetched to be written."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{path} is neither a .csv nor a .json file.", "Choose a name that ends in .csv or .json.")
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> RefusedError:
    return RefusedError(f"{path} exists already and is not overwritten.", "Move it away, or choose another file.")


def _remove(path: Path) -> None:
    with suppress(OSError):  # what went wrong first is what is told
        path.unlink()


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "no file can be called that"


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json(kind: Kind, rows: Sequence[Row], file: IO[str]) -> None:
    """Write what `KIND list --json` prints: an array, an object a line, all in printable ASCII."""
    separator = "[\n"
    for row in rows:
        file.write(separator + json.dumps(as_object(kind, row), default=plain_or_text))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv(kind: Kind, rows: Sequence[Row], file: IO[str]) -> None:
    """Write RFC 4180: a header of column names, then a line a row."""
    writer = csv.writer(file)
    writer.writerow(kind.index)
    writer.writerows([_cell(value, column) for column, value in kind.cells(row)] for row in rows)


def _cell(value: Any, column: Column) -> Any:
    """Return what stands for `value`: text on one line that no spreadsheet computes, numbers as they are.

    Entries of a list and tags are joined by commas, as tables show them; JSON has them one by one.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Flight):
        value = f"{value.action} since {plain(value.since)}{', overdue' if value.overdue else ''}"
    text = joined(value, column) if column.type in ("list", "tags") else str(plain(value))
    shown = f"'{printable(text)}" if _FORMULA.match(text) else printable(text)
    return _NEXT_CELL.sub(r"\1'", shown)


_LEADER = "[=+\\-@＝＋－＠]"
_FORMULA = re.compile(rf"[\s\0-\x1f\x7f-\x9f\"]*{_LEADER}|[\t\r\n]")
"""How text begins that a spreadsheet may take for a formula; an apostrophe in front makes it text to all of them."""
_NEXT_CELL = re.compile(rf"(;[\s\";]*)(?={_LEADER})")
"""The same in the middle of a text: half of Europe's spreadsheets begin another cell at a semicolon."""
