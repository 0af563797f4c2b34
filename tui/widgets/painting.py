"""TableView: paints the rows of one table, only the lines on screen; the cursor and the marks are tui.widgets.table."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import ClassVar

from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backend.kinds.model import Kind, Row
from tui.rows import Rows
from tui.widgets.lines import STYLES, Lines, View

_SAMPLE = 300
"""At most N rows, spread over the table, are measured for the widths of the columns."""
_FEW = 30
"""At most N of the rows that change are measured: there may be a thousand of them every two seconds."""


class TableView(ScrollView, can_focus=True):
    """Shows a header, the rows that the filter shows, and a notice if there are none."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(STYLES)

    def __init__(self, kind: Kind, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.kind = kind
        self.rows = Rows(kind)
        self._cursor = -1
        """The position of the cursor's row among the rows that are shown; -1: there is none."""
        self._notice = ""
        self._found_styles: dict[str, Style] = {}
        self._lines = Lines(kind, self._style_named)

    @property
    def notice(self) -> str:
        """What an empty table says instead of its kind's own hint, such as "Loading…" or an error."""
        return self._notice

    @notice.setter
    def notice(self, text: str) -> None:
        self._notice = text
        if not self.rows.visible:
            self.refresh()

    def empty_text(self) -> str:
        """Return what is shown if there are no rows."""
        return self._notice or self.kind.empty

    def tick(self, now: datetime) -> None:
        """Repaint the rows in flight: their seconds count on."""
        self._lines.now = now
        for position in self._on_screen():
            if self._lines.in_flight(self.rows.row_at(position)):
                self._refresh_row(position)

    # Layout

    @property
    def _page(self) -> int:
        """The number of rows that fit under the header."""
        return self.scrollable_content_region.height - 1

    def _on_screen(self) -> range:
        """Return the positions of the rows on screen."""
        top = self.scroll_offset.y
        return range(top, min(top + max(self._page, 0), self.rows.visible))

    def _measure_sample(self) -> None:
        """Measure rows from all over the table."""
        step = max(1, self.rows.visible // _SAMPLE)
        self._lines.measure(self.rows.row_at(position) for position in range(0, self.rows.visible, step))

    def _measure_few(self, rows: list[Row]) -> None:
        """Measure some of `rows`; those that come on screen are measured then."""
        self._lines.measure(rows[:: max(1, len(rows) // _FEW)])

    def _measure_screen(self) -> None:
        """Measure the rows on screen."""
        positions: Iterable[int] = islice(self._on_screen(), _SAMPLE)
        self._lines.measure(self.rows.row_at(position) for position in positions)

    def _arrange(self) -> bool:
        """Share the width among the columns; return whether that changed anything."""
        region, height = self.container_size, self.rows.visible + 1
        if not region:
            return False
        bar = self.styles.scrollbar_size_vertical if height > region.height else 0
        changed = self._lines.arrange(region.width - bar)
        before = self.virtual_size
        self.virtual_size = Size(self._lines.total if self.rows.visible else region.width, height)
        return changed or before != self.virtual_size

    # Painting

    def notify_style_update(self) -> None:
        """Forget styles and lines when theme or focus change them."""
        super().notify_style_update()
        self._found_styles.clear()
        self._lines.forget()

    def _style_named(self, name: str) -> Style:
        style = self._found_styles.get(name)
        if style is None:
            style = self._found_styles[name] = self.get_component_rich_style(name) if name else self.rich_style
        return style

    def _refresh_row(self, position: int) -> None:
        if position in self._on_screen():
            self.refresh(Region(0, position - self.scroll_offset.y + 1, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the screen: the header, a row, a blank line, or a line of the notice."""
        rows, lines, width = self.rows, self._lines, self.size.width
        view, position = View(self.scroll_offset.x, width), self.scroll_offset.y + y - 1
        if y == 0:
            return lines.header(rows.column, rows.reverse, view)
        if position < rows.visible:
            row = rows.row_at(position)
            at_cursor, marked = position == self._cursor, rows.is_marked(position)
            return lines.row(row, rows.words, view, at_cursor=at_cursor, marked=marked)
        if rows.visible:
            return lines.blank(width)
        return lines.text(self.empty_text(), y - 1, width, self._page)
