"""Every function that shows or writes an object's text, each tried alone with the texts of tests/hostile.py."""

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from rich.console import Console, RenderableType
from rich.style import Style

from backend.cache.documents import flatten
from backend.catalog import KINDS
from backend.commands.model import Finished, Parsed, Result
from backend.commands.preview import Preview, Target
from backend.commands.table import command
from backend.errors import CloudmeshError
from backend.export import write
from backend.format import as_object, cell
from backend.journal.model import JOURNAL
from backend.kinds.model import Column, Kind, Row
from tests.hostile import Tally, cells, row_of
from tui import headless
from tui.printing import PADDED
from tui.screens import choice, details
from tui.widgets.lines import STYLES, Lines, View
from tui.widgets.losses import drawn
from tui.widgets.objects import described
from tui.widgets.picks import matches

csv.field_size_limit(1 << 20)

EVERY_KIND = (*KINDS.values(), JOURNAL)
_OURS = {name: Style(color=f"color({number})") for number, name in enumerate(sorted({"", *STYLES}), 20)}
_ID = "i-0123456789abcdef0"


def _kinds(text: str) -> Iterable[Kind]:
    """Return the kinds to try a text on: all of them, if that does not take a second."""
    return EVERY_KIND if len(text) < 1_000 else [EVERY_KIND[len(text) % len(EVERY_KIND)]]


def _row(kind: Kind, text: str) -> Row:
    return row_of(kind, lambda: text)


def _painted(renderable: RenderableType, tally: Tally, width: int = 60) -> None:
    for line in Console(width=width, file=io.StringIO(), color_system="truecolor").render_lines(renderable):
        tally.segments(line, width)


def table(text: str, tally: Tally) -> None:
    for kind in _kinds(text):
        row, lines = _row(kind, text), Lines(kind, _OURS.__getitem__)
        lines.measure([row])
        words = (text[1:3].casefold(),) if text[1:3].strip() else ()
        for view, at_cursor in ((View(0, 60), True), (View(0, 300), False), (View(7, 61), False), (View(20, 20), True)):
            lines.arrange(view.width)
            strip = lines.row(row, words, view, at_cursor=at_cursor, marked=not at_cursor)
            tally.segments(strip, view.width)
            tally.markup += [one.style for one in strip if one.style not in _OURS.values()]
            if strip.cell_length != view.width:
                tally.widths.append(f"{strip.cell_length}, not {view.width}: {strip.text}")


def notice(text: str, tally: Tally) -> None:
    lines = Lines(KINDS["vm"], _OURS.__getitem__)
    for line in range(5):
        tally.segments(lines.text(text[:1_000], line, 40, 5), 40)


def fields(text: str, tally: Tally) -> None:
    known = {
        "name": text,
        text: text,
        "extra": {"tags": [{"key": text, "value": text}], "x": [{text: [text, 1]}, text]},
    }
    _painted(details._table(list(flatten(known))), tally)


def preview(text: str, tally: Tally) -> None:
    target = Target(text, f"a{text}", (("State", text), ("Age", text)), (text, text), (text,), (text,))
    left_out = Target("i-1", text, left_out=text)
    production = Target(text, text, production=True)
    _painted(drawn(Preview((target,), notes=(text,))), tally)
    _painted(drawn(Preview((target, left_out), totals=(text,))), tally)
    _painted(drawn(Preview((production, production))), tally)
    _painted(drawn(Preview((target,), destroys=False)), tally)
    _painted(drawn(Preview((target, target), destroys=False)), tally)


def asking(text: str, tally: Tally) -> None:
    for kind in _kinds(text):
        if kind is JOURNAL:  # it is acted on by no command
            continue
        row = _row(kind, text)
        _painted(described(kind, [row]), tally)
        _painted(described(kind, [row, row]), tally)
        for value, offered in matches(kind, [row], ""):
            tally.text(offered)
            tally.text(value if value != kind.value(row, "id") else "")


def results(text: str, tally: Tally) -> None:
    _painted(choice._table([("✕", text, text), ("●", text, "")]), tally)


def printed_rows(text: str, tally: Tally) -> None:
    for kind in _kinds(text):
        hostile, tame = list(_row(kind, text)), list(_row(kind, "x"))
        hostile[kind.index["id"]] = tame[kind.index["id"]] = _ID
        lines = _printed(lambda kind=kind, rows=[hostile, tame]: headless._print_rows(kind, rows))  # type: ignore[misc]
        for line in lines:
            tally.text(line)
        at = {cells(line[: line.rindex(_ID)]) for line in lines[1:]}
        # What is longer moves the rest of its own line, so that nobody can make all lines long.
        longer = any(cells(cell(value, column)) > PADDED for column, value in kind.cells(tuple(hostile)))
        if len(lines) != 3 or (len(at) != 1 and not longer):
            tally.widths.append(f"{len(lines)} lines, the id at {at}: {text[:200]}")


def messages(text: str, tally: Tally) -> None:
    parsed = Parsed(command("vm tag"), {"vm": text, "tag": f"a={text}"})
    part = Finished(parsed, CloudmeshError(text, text))
    result = Result(
        text, parts=(part, part), undo=text or "-", kind=KINDS["keypair"], fields=(("name", text),), shows_fields=True
    )
    lines = _printed(lambda: headless._show(result, False))
    for line in lines:
        tally.text(line)
    if len(lines) != 5:
        tally.widths.append(f"{len(lines)} lines: {text[:200]}")


def as_json(text: str, tally: Tally) -> None:
    rows = [_row(kind, text) for kind in _kinds(text)]
    shown = [as_object(kind, row) for kind, row in zip(_kinds(text), rows, strict=True)]
    result = Result(text, fields=(("name", text),))
    lines = [*_printed(lambda: headless._print_array(iter(shown))), *_printed(lambda: headless._show(result, True))]
    for line in lines:
        tally.text(line)
    said = json.loads("".join(lines[:-1])), json.loads(lines[-1])
    if said != (shown, {"message": text, "name": text}) or not "".join(lines).isascii():
        tally.others.append(text[:200])


def exported(text: str, tally: Tally) -> None:
    kind = EVERY_KIND[len(text) % len(EVERY_KIND)]
    row = _row(kind, text)
    with tempfile.TemporaryDirectory(prefix="cm-hostile-") as folder:
        sheet, objects = Path(folder, "x.csv"), Path(folder, "x.json")
        for path in (sheet, objects):
            write(kind, [row, _row(kind, "x")], path)
        if json.loads(objects.read_text(encoding="ascii"))[0] != as_object(kind, row):
            tally.others.append(text[:200])
        _sheet(kind, row, sheet.read_bytes().decode(), tally)


def _sheet(kind: Kind, row: Row, written: str, tally: Tally) -> None:
    lines = written.split("\r\n")
    if len(lines) != 4 or not all(line.isprintable() for line in lines):
        tally.escapes.append(written[:200])
    # As it is meant, and as a spreadsheet reads it where the comma is the decimal sign.
    read = list(csv.reader(io.StringIO(written), strict=True))[1]
    for (column, value), said in zip(kind.cells(row), read, strict=True):
        if not _is_number(column) and _FORMULA.match(said):
            tally.others.append(f"a formula: {said[:200]}")
        if _is_number(column) and (float(said) != value or said.startswith("'")):
            tally.others.append(f"{value} became {said}")
    cells_there = [cell for line in csv.reader(io.StringIO(written), delimiter=";") for cell in line[1:]]
    tally.others += [f"a formula after a semicolon: {cell[:200]}" for cell in cells_there if _FORMULA.match(cell)]


def _is_number(column: Column) -> bool:
    return column.type in ("int", "mib", "gib", "usd", "seconds")


_FORMULA = re.compile(r"[\s\"]*[=+\-@＝＋－＠]")


def _printed(print_: Callable[[], object]) -> list[str]:
    """Return the lines that something prints, all of them on stdout."""
    out, error = io.StringIO(newline=""), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        print_()
    assert error.getvalue() == ""
    return out.getvalue().split("\n")[:-1]


PLACES: Mapping[str, Callable[[str, Tally], None]] = {
    "rows of every table": table,
    "what an empty table says": notice,
    "the details": fields,
    "what would be lost": preview,
    "a dialog's rows and offers": asking,
    "lists of results": results,
    "tables without a screen": printed_rows,
    "messages without a screen": messages,
    "JSON without a screen": as_json,
    "exported CSV and JSON": exported,
}
