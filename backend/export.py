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
from backend.kinds.model import Column, Kind, Row, value_of, with_places
from backend.lifecycle import Flight
from backend.text import printable

Places = tuple[Column, ...]
"""The columns of the scope that a file has; see backend.kinds.model.PLACES."""


def write(kind: Kind, rows: Sequence[Row], path: Path, shown: Places = ()) -> None:
    """Write `rows` to a new file that only its owner may read; the suffix of `path` selects CSV or JSON.

    Raises UsageError for another suffix, RefusedError if the file exists or cannot be created, and CloudmeshError if
    it cannot be written. An incomplete file is removed.
    """
    check(path)
    write_to = {".csv": _csv, ".json": _json}[path.suffix.lower()]
    try:
        # Names, tags and addresses are private, whatever the umask is.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:  # created since `check`
        raise _exists(path) from None
    except FileNotFoundError:
        raise RefusedError(
            f"{path} cannot be written: there is no folder {path.parent}.", "Create it, or choose another file."
        ) from None
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be written: {_reason(error)}.", "Choose another file.") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write_to(kind, rows, file, shown)
            file.flush()
            os.fsync(file.fileno())  # a network disk may report only now that it is full
    except OSError as error:
        _remove(path)
        raise CloudmeshError(
            f"The {kind.nouns} could not be written to {path}: {_reason(error)}.", "Choose another file."
        ) from None
    except BaseException:
        _remove(path)
        raise


def check(path: Path) -> None:
    """Raise what `write` would raise for this path; call it before fetching the rows."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{path} is neither a .csv nor a .json file.", "Choose a name that ends in .csv or .json.")
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> RefusedError:
    return RefusedError(f"{path} exists already and is not overwritten.", "Move it, or choose another file.")


def _remove(path: Path) -> None:
    with suppress(OSError):  # report the first error, not this one
        path.unlink()


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "a file cannot have that name"


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json(kind: Kind, rows: Sequence[Row], file: IO[str], shown: Places) -> None:
    """Write an array with one object on each line, in printable ASCII, as `KIND list --json` prints it.

    Cloud and region are only in it if `shown` has them.
    """
    separator = "[\n"
    for row in rows:
        there = {column.name: value_of(kind, row, column) for column in shown}
        file.write(separator + json.dumps(as_object(kind, row) | there, default=plain_or_text))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv(kind: Kind, rows: Sequence[Row], file: IO[str], shown: Places) -> None:
    """Write RFC 4180: a header of column names, then one line for each row."""
    writer = csv.writer(file)
    columns = with_places(kind, shown)
    writer.writerow(column.name for column in columns)
    writer.writerows([_cell(value_of(kind, row, column), column) for column in columns] for row in rows)


def _cell(value: Any, column: Column) -> Any:
    """Return the CSV cell of `value`: one line of text that no spreadsheet evaluates, or a number.

    Lists and tags are joined by commas, as in tables; JSON keeps their entries apart.
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
"""The start of a text that a spreadsheet may evaluate; an apostrophe in front prevents that in all of them."""
_NEXT_CELL = re.compile(rf"(;[\s\";]*)(?={_LEADER})")
"""The same after a semicolon, which separates cells in many European spreadsheets."""
