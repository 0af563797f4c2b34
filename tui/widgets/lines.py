"""Makes the lines of a table: the widths of the columns, the header, the rows, and the notice of an empty table."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from backend.format import RIGHT_ALIGNED, STATE_SYMBOLS, cell
from backend.kinds.model import Column, Kind, Row, value_of, with_places
from backend.text import safe
from tui.widgets.cells import GAP, GUTTER, Wish, fit, matches, share, width_of

MARK = "✓"
STYLES = frozenset({
    "table--header", "table--header-sorted", "table--cursor", "table--cursor-match", "table--mark", "table--match",
    "table--muted", "table--ok", "table--off", "table--busy", "table--bad", "table--empty",
})  # fmt: skip
"""The styles by name: component classes, whose colours are in styles/table.tcss; "" is the table's own style."""
_STATE_STYLES = {"●": "table--ok", "○": "table--off", "◐": "table--busy", "✕": "table--bad"}
_GONE = frozenset({"terminated", "deleted", "deregistered"})
"""States of objects that are gone. They are no failures, though their symbol is a cross."""
_KEPT = 1_000
"""At most N finished lines are kept: several screens of them."""


class View(NamedTuple):
    """How far the lines are scrolled sideways, and how many cells of them show."""

    scroll: int
    width: int


class Lines:
    """The lines of one kind's table; `style` returns a style by its name."""

    def __init__(self, kind: Kind, style: Callable[[str], Style]) -> None:
        self.kind = kind
        self._places: tuple[Column, ...] = ()
        self.columns = kind.columns
        """The columns from left to right, those of the scope included where these are shown."""
        self.widths = [0] * len(kind.columns)
        self.now: datetime | None = None
        self._style = style
        self._content = [0] * len(kind.columns)  # the widest cell seen of each column; it never shrinks
        self._flight = next((i for i, column in enumerate(kind.columns) if column.type == "flight"), None)
        self._kept: dict[tuple[object, ...], tuple[Row, Strip]] = {}

    def show_places(self, places: tuple[Column, ...]) -> None:
        """Show these of backend.kinds.model.PLACES."""
        self._places = places
        self.columns = with_places(self.kind, places)
        self._content, self.widths = [0] * len(self.columns), [0] * len(self.columns)
        self.forget()

    def _values(self, row: Row) -> Row:
        """Return the values of a row in the order of the columns."""
        if not self._places:
            return row
        return (row[0], *(value_of(self.kind, row, column) for column in self._places), *row[1:])

    def forget(self) -> None:
        """Forget all finished lines, because the styles or the widths changed."""
        self._kept.clear()

    def in_flight(self, row: Row) -> bool:
        """Return whether the row shows seconds that count on."""
        return self._flight is not None and row[self._flight] is not None

    # Widths

    def measure(self, rows: Iterable[Row]) -> None:
        """Note how wide the cells of `rows` are."""
        columns, content = self.columns, self._content
        for row in rows:
            values = self._values(row)
            for index, column in enumerate(columns):
                if (value := values[index]) is not None:
                    content[index] = max(content[index], width_of(cell(value, column, self.now)))

    def arrange(self, room: int) -> bool:
        """Share `room` cells among the columns; return whether that changed their widths."""
        wishes = [
            Wish(len(column.title), content, column.width)
            for column, content in zip(self.columns, self._content, strict=True)
        ]
        widths = share(room, wishes)
        changed = widths != self.widths
        if changed:
            self.widths = widths
            self.forget()
        return changed

    @property
    def total(self) -> int:
        """The cells that all columns take together."""
        return GUTTER + sum(self.widths) + GAP * len(self.widths)

    def starts(self) -> list[int]:
        """Return where each column after the first begins in the part that scrolls, in cells."""
        return [sum(self.widths[1:index]) + GAP * (index - 1) for index in range(1, len(self.widths))]

    def column_at(self, x: int, scroll: int) -> Column:
        """Return the column that shows at cell `x` of the screen."""
        fixed = GUTTER + self.widths[0] + GAP
        index = 0 if x < fixed else sum(start <= x - fixed + scroll for start in self.starts())
        return self.columns[index]

    # Lines

    def header(self, sorted_by: str | None, reverse: bool, view: View) -> Strip:
        """Return the header, with an arrow at the column sorted by."""
        plain, chosen = self._style("table--header"), self._style("table--header-sorted")
        parts = []
        for column, cells in zip(self.columns, self.widths, strict=True):
            here, right = column.name == sorted_by, column.type in RIGHT_ALIGNED
            arrow = ("▼" if reverse else "▲") if here else ""
            title = f"{arrow} {column.title}" if right else f"{column.title} {arrow}"
            parts.append([Segment(fit(title.strip(), cells, right), chosen if here else plain)])
        return self._join(Segment(" " * GUTTER, plain), parts, (plain, plain), view)

    def row(self, row: Row, words: tuple[str, ...], view: View, *, at_cursor: bool, marked: bool) -> Strip:
        """Return the line of `row`, with the casefolded `words` of the filter highlighted."""
        key = self.kind.ref(row), words, view, at_cursor, marked
        known = self._kept.get(key)
        if known is not None and known[0] is row and not self.in_flight(row):
            return known[1]
        plain = self._style("table--cursor" if at_cursor else "")
        match = self._style("table--cursor-match" if at_cursor else "table--match")
        parts: list[list[Segment]] = []
        for column, cells, value in zip(self.columns, self.widths, self._values(row), strict=False):
            # The cursor's colours replace all others, so that its row is readable in every theme.
            style = (
                plain if at_cursor else self._style("table--mark" if marked and not parts else _style_of(column, value))
            )
            text = fit(cell(value, column, self.now), cells, column.type in RIGHT_ALIGNED, middle=not parts)
            parts.append(_highlighted(text, words, style, match))
        gutter = Segment(fit(MARK if marked else "", GUTTER), plain if at_cursor else self._style("table--mark"))
        edge = plain if at_cursor else self._style("table--muted")
        strip = self._join(gutter, parts, (plain, edge), view)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = row, strip
        return strip

    def text(self, text: str, line: int, width: int, height: int) -> Strip:
        """Return one line of `text` in the middle of `width` by `height` cells."""
        lines = textwrap.wrap(safe(text), max(min(width - 4, 72), 1))
        index = line - max((height - len(lines)) // 2, 0)
        shown = lines[index] if 0 <= index < len(lines) else ""
        left = max((width - width_of(shown)) // 2, 0)
        return Strip([Segment(fit(" " * left + shown, width), self._style("table--empty"))], width)

    def blank(self, width: int) -> Strip:
        """Return the line under the last row."""
        return Strip.blank(width, self._style(""))

    def _join(self, gutter: Segment, parts: list[list[Segment]], styles: tuple[Style, Style], view: View) -> Strip:
        """Return one line: gutter and first column fixed, the others scrolled sideways past them."""
        style, edge = styles
        gap = Segment(" " * GAP, style)
        border = Segment("│".ljust(GAP), edge) if view.scroll else gap
        fixed = Strip([gutter, *parts[0], border], GUTTER + self.widths[0] + GAP)
        moving = Strip([segment for part in parts[1:] for segment in (*part, gap)], self.total - fixed.cell_length)
        room = max(view.width - fixed.cell_length, 0)
        if view.scroll or moving.cell_length > room:
            moving = moving.crop(view.scroll, view.scroll + room)
        return Strip.join([fixed, moving]).adjust_cell_length(view.width, style).simplify()


def _style_of(column: Column, value: object) -> str:
    """Return the name of a cell's style by its column and value."""
    if column.type == "state":
        return "table--off" if value in _GONE else _STATE_STYLES.get(STATE_SYMBOLS.get(str(value), ""), "")
    return "table--muted" if column.type == "time" or column.name == "id" else ""


def _highlighted(text: str, words: Sequence[str], style: Style, match: Style) -> list[Segment]:
    segments, done = [], 0
    for start, end in matches(text, words) if words else ():
        if start > done:
            segments.append(Segment(text[done:start], style))
        segments.append(Segment(text[start:end], match))
        done = end
    if done < len(text):
        segments.append(Segment(text[done:], style))
    return segments
