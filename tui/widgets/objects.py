"""Draws the objects that a command acts on: all columns of one, or a list of several."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from backend.format import cell
from backend.kinds.model import Kind, Row, places, value_of

_LISTED = frozenset({"name", "id", "state", "size", "type", "location"})
"""The columns that distinguish the rows of a list."""


def described(kind: Kind, rows: Sequence[Row]) -> RenderableType:
    """Return all columns of one row, or a list of several."""
    return _facts(kind, rows[0]) if len(rows) == 1 else _list(kind, rows)


def _facts(kind: Kind, row: Row) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for column, value in kind.cells(row):
        if value is not None:
            grid.add_row(column.title, Text(cell(value, column)))
    return grid


def _list(kind: Kind, rows: Sequence[Row]) -> Table:
    columns = [column for column in kind.columns if column.name in _LISTED]
    shown = [*columns[:1], *places(kind, map(kind.scope, rows)), *columns[1:]]
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in shown:
        grid.add_column(column.title, no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(cell(value_of(kind, row, column), column)) for column in shown))
    return grid
