"""Prints a table without a screen: columns two blanks apart, at most as wide as the terminal if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tui.widgets.cells import GAP, fit, width_of

LEAST = 12
"""The least width of a cut column, in cells; a longer title keeps its width."""
PADDED = 80
"""A text of more than N cells does not widen its column: it only shifts the rest of its own line."""


@dataclass(frozen=True)
class Column:
    """A column: the title, then one text for each row; all are safe for a terminal."""

    texts: tuple[str, ...]
    right: bool = False
    cuts: bool = False
    """Whether its texts may be cut."""
    stays: bool = False
    """Whether it is never left out."""

    @cached_property
    def widths(self) -> list[int]:
        """The cells of each text, by display width: a CJK name takes two a character."""
        return list(map(width_of, self.texts))

    @cached_property
    def width(self) -> int:
        """The cells of the longest text."""
        return max(self.widths)

    def cut(self, limit: int) -> int:
        """Return its width if cut columns have `limit` cells."""
        return min(self.width, max(limit, LEAST, self.widths[0])) if self.cuts else self.width


def fitted(columns: Sequence[Column], room: int) -> tuple[list[Column], list[str]]:
    """Return columns that fit `room` cells, and the titles of columns with content that were left out.

    First the widest texts are cut, down to LEAST cells. Then empty columns are left out, then others from the right.
    Columns that stay are never left out, so lines are longer than a very small `room`.
    """
    kept, missing = list(columns), []
    empty = [column for column in columns if not any(column.texts[1:])]
    for column in (*empty, *reversed(columns)):
        if _total(kept, 0) > room and column in kept and not column.stays:
            kept.remove(column)
            missing += [] if column in empty else [column.texts[0]]
    limit = next((n for n in range(room, LEAST, -1) if _total(kept, n) <= room), LEAST)
    return [_narrowed(one, one.cut(limit)) for one in kept], missing[::-1]


def _total(columns: Sequence[Column], limit: int) -> int:
    """Return the cells of a line whose cut columns have `limit` cells."""
    return sum(one.cut(limit) for one in columns) + GAP * (len(columns) - 1)


def _narrowed(column: Column, width: int) -> Column:
    sized = zip(column.texts, column.widths, strict=True)
    return replace(
        column, texts=tuple(text if size <= width else fit(text, width, middle=True) for text, size in sized)
    )


def write(columns: Sequence[Column], padded: int = PADDED) -> None:
    """Print columns; a text of more than `padded` cells does not widen its column."""
    at_most = [max((width for width in one.widths if width <= padded), default=0) for one in columns]
    for texts in zip(*(one.texts for one in columns), strict=True):
        cells = [
            fit(text, max(width, width_of(text)), one.right)
            for one, text, width in zip(columns, texts, at_most, strict=True)
        ]
        print((" " * GAP).join(cells).rstrip())
