"""ResourceTable: the table of one kind, which draws only the lines it shows and keeps its place by row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import ClassVar, NamedTuple

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backend.kinds.model import Kind, Ref, Row
from tui.rows import AT_ONCE, Rows
from tui.widgets.cells import GUTTER
from tui.widgets.lines import LOOKS, Lines, View

_SAMPLE = 300
"""So many rows, spread over the table, are measured for the widths of the columns."""
_FEW = 30
"""So many of the rows that change are measured: there may be a thousand of them every two seconds."""
_HEIRS = 100
"""So many rows on either side are asked to take the cursor's place when its row is gone."""
_CHUNK = 1_000
"""So many rows are made ready for the filter at a time: a few milliseconds."""
_BREATH = 0.001
"""Seconds in between, in which keys are handled and lines are painted."""


class Place(NamedTuple):
    """Where the cursor and the screen stood before the rows changed."""

    ref: Ref | None
    position: int
    line: int | None
    """Lines between the top of the screen and the cursor; None: the cursor was not on screen."""
    top: Ref | None
    heirs: list[Ref]
    """The rows that may take the cursor's place, should its own be gone."""


class ResourceTable(ScrollView, can_focus=True):
    """The table of one kind: a fixed first column, a header that sorts, a filter, marks and a cursor kept by row."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(LOOKS)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "first", "First row", show=False),
        Binding("end", "last", "Last row", show=False),
        Binding("left", "column(-1)", "Columns to the left", show=False),
        Binding("right", "column(1)", "Columns to the right", show=False),
        Binding("enter", "select", "Details", show=False),
    ]

    @dataclass
    class OfTable(Message):
        """What all messages of a table have in common: the table."""

        table: "ResourceTable"

        @property
        def control(self) -> "ResourceTable":
            """The table, so that `on` can select by it."""
            return self.table

    @dataclass
    class Highlighted(OfTable):
        """The cursor went to another row; None: there is no row."""

        ref: Ref | None

    @dataclass
    class Selected(OfTable):
        """A row was chosen, by Enter or by a click on the cursor's row."""

        ref: Ref

    @dataclass
    class Sorted(OfTable):
        """The table is sorted otherwise; column None: in order of arrival."""

        column: str | None
        reverse: bool

    @dataclass
    class Counted(OfTable):
        """The filter has found more rows, in those that were made ready for it since."""

    @dataclass
    class SelectionChanged(OfTable):
        """Rows that a command would act on have changed where they are: their state, or what is under way."""

    @dataclass
    class MarksChanged(OfTable):
        """Rows were marked or unmarked, or marked rows vanished."""

    def __init__(
        self, kind: Kind, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.kind = kind
        self.rows = Rows(kind)
        self._cursor = -1
        self._cursor_ref: Ref | None = None
        self._cursor_row: Row | None = None  # as it was at the last SelectionChanged
        self._hidden: tuple[Ref, int | None] | None = None  # name and line of the cursor's row that the filter hid
        self._expected: Ref | None = None  # name of a row that is to get the cursor when it comes
        self._last_page = 0
        self._moved = False  # the user has moved the cursor
        self._filter = ""
        self._notice = ""
        self._preparing = False
        self._looks: dict[str, Style] = {}
        self._lines = Lines(kind, self._look)

    # What the app asks

    @property
    def cursor_ref(self) -> Ref | None:
        """The name of the cursor's row."""
        return self._cursor_ref

    @property
    def cursor_row(self) -> Row | None:
        """The cursor's row."""
        return None if self._cursor_ref is None else self.rows.row(self._cursor_ref)

    @property
    def selected_rows(self) -> Iterator[Row]:
        """The rows that a command applies to: the marked ones that are shown; where none is marked, the cursor's.

        Where the filter hides all that are marked, there are none: the cursor's row is not what was chosen.
        """
        if self.rows.marks:
            return self.rows.marked(shown=True)
        row = self.cursor_row
        return iter(() if row is None else (row,))

    @property
    def shown_rows(self) -> Iterator[Row]:
        """The rows that the filter shows, from top to bottom."""
        return map(self.rows.row_at, range(self.rows.visible))

    @property
    def hidden_marks(self) -> int:
        """The number of marked rows that the filter hides."""
        return self.rows.hidden_marks

    @property
    def visible_count(self) -> int:
        """The number of rows that the filter shows."""
        return self.rows.visible

    @property
    def total(self) -> int:
        """The number of rows."""
        return self.rows.total

    @property
    def filter_text(self) -> str:
        """The text of the filter, as typed."""
        return self._filter

    @property
    def notice(self) -> str:
        """What an empty table says instead of its kind's own hint, such as "Loading…" or an error."""
        return self._notice

    @notice.setter
    def notice(self, text: str) -> None:
        self._notice = text
        if not self.rows.visible:
            self.refresh()

    # What the app tells

    def load(self, rows: Iterable[Row]) -> None:
        """Take `rows` for the whole table; cursor, marks, filter, sort and scroll stay where they can."""
        place, marks = self._place(), self.rows.marks
        self.rows.replace(rows)
        step = max(1, self.rows.visible // _SAMPLE)
        self._lines.measure(self.rows.row_at(position) for position in range(0, self.rows.visible, step))
        self._settle(place, marks)
        self._go_to_expected()
        self._prepare()
        self._announce_change()

    def apply(self, upserts: Iterable[Row], removed: Iterable[Ref] = ()) -> None:
        """Add, update and remove rows; where only cells changed, only their lines are painted."""
        upserts = list(upserts)
        place, marks = self._place(), self.rows.marks
        applied = self.rows.apply(upserts, removed)
        self._lines.measure(upserts[:: max(1, len(upserts) // _FEW)])  # those on screen are measured as they settle
        self._prepare()
        if applied.moved:
            self._settle(place, marks)
            self._go_to_expected()
        self._announce_change()
        if applied.moved:
            return
        if self._arrange() or not self.rows.visible:
            self.refresh()
        elif applied.changed:
            for position in self._on_screen():
                if self.rows.ref_at(position) in applied.changed:
                    self._refresh_row(position)
        if marks != self.rows.marks:
            self.post_message(self.MarksChanged(self))

    def _prepare(self) -> None:
        """Make many rows ready for the filter bit by bit from when they come, so that no letter waits for it."""
        rows = self.rows
        if self.is_running and not self._preparing and not rows.ready and (rows.words or rows.slots > AT_ONCE):
            self._preparing = True
            self._prepare_some()

    def _prepare_some(self) -> None:
        visible, place = self.rows.visible, self._place() if self.rows.words else None
        ready = self.rows.prepare(_CHUNK)
        if place is not None and self.rows.visible != visible:
            self._settle(place, filtering=True)
            self.post_message(self.Counted(self))
        if ready:
            self._preparing = False
        else:
            self.set_timer(_BREATH, self._prepare_some)

    def set_filter(self, text: str) -> None:
        """Show only the rows in which every word of `text` occurs; "" shows all."""
        place = self._place()
        self._filter = text
        self.rows.filter(text)
        self._prepare()
        self._settle(place, filtering=True)

    def keep_cursor(self) -> None:
        """Take the cursor's row for the one that was looked for: it stays the cursor's when the filter goes."""
        if self._cursor_ref is not None:
            self._moved, self._hidden = True, None

    def sort_by(self, column: str | None, reverse: bool = False) -> None:
        """Sort by the named column; None: in order of arrival."""
        place = self._place()
        self.rows.sort(column, reverse)
        if not self._moved:  # nobody has chosen that row: show the top of what was asked for
            place = place._replace(ref=None, heirs=[], position=0, line=0)
        self._settle(place)
        self.post_message(self.Sorted(self, self.rows.column, self.rows.reverse))

    def sort_next(self) -> None:
        """Sort by the next column; after the last, in order of arrival."""
        names = [None, *self.kind.index]
        self.sort_by(names[(names.index(self.rows.column) + 1) % len(names)])

    def sort_reverse(self) -> None:
        """Sort the other way round; an unsorted table by its first column."""
        self.sort_by(self.rows.column or self.kind.columns[0].name, not self.rows.reverse)

    def toggle_mark(self) -> None:
        """Mark the cursor's row, or take its mark away."""
        if self._cursor_ref is not None:
            self._moved = True
            self.rows.toggle_mark(self._cursor_ref)
            self._refresh_row(self._cursor)
            self.post_message(self.MarksChanged(self))

    def mark_all(self) -> None:
        """Mark every row that the filter shows."""
        self.rows.mark_all_visible()
        self.refresh()
        self.post_message(self.MarksChanged(self))

    def clear_marks(self) -> int:
        """Take all marks away; returns how many there were."""
        count = self.rows.marks
        self.rows.unmark_all()
        self._unmarked(count)
        return count

    def unmark(self, refs: Iterable[Ref]) -> None:
        """Take the marks of these rows away."""
        before = self.rows.marks
        self.rows.unmark(refs)
        self._unmarked(before)

    def _unmarked(self, before: int) -> None:
        if before != self.rows.marks:
            self.refresh()
            self.post_message(self.MarksChanged(self))

    def move_to(self, ref: Ref) -> bool:
        """Move the cursor to the row of this name; return whether it is shown."""
        position = self.rows.position(ref)
        if position is not None:
            self._move(position)
        return position is not None

    def expect(self, ref: Ref | None) -> None:
        """Move the cursor to a row, now or when it comes, unless the user does something before that."""
        if ref is None or not self.move_to(ref):
            self._expected = ref

    def tick(self, now: datetime) -> None:
        """Paint the rows in flight again, whose seconds go on."""
        self._lines.now = now
        for position in self._on_screen():
            if self._lines.in_flight(self.rows.row_at(position)):
                self._refresh_row(position)

    # Cursor and scroll

    @property
    def _page(self) -> int:
        """The number of rows that fit under the header."""
        return self.scrollable_content_region.height - 1

    def _on_screen(self) -> range:
        top = self.scroll_offset.y
        return range(top, min(top + max(self._page, 0), self.rows.visible))

    def _place(self) -> Place:
        rows, top, cursor = self.rows, self.scroll_offset.y, self._cursor
        line = cursor - top if 0 <= cursor - top < max(self._page, 1) else None
        after = range(cursor + 1, min(cursor + _HEIRS, rows.visible))
        before = range(cursor - 1, max(cursor - _HEIRS, -1), -1)
        heirs = [rows.ref_at(position) for positions in (after, before) for position in positions]
        return Place(self._cursor_ref, cursor, line, rows.ref_at(top) if top < rows.visible else None, heirs)

    def _settle(self, place: Place, marks: int | None = None, *, filtering: bool = False) -> None:
        """Bring cursor and scroll back to their rows after rows came, went or moved, and paint everything.

        A row that the filter hides while it is typed gets the cursor back when it is shown again. One that changed so
        that the filter hides it does not: that would take the cursor from the row that is looked at meanwhile.
        """
        rows = self.rows
        line, position = place.line, None
        if self._hidden is not None:
            ref, its_line = self._hidden
            position = rows.position(ref)
            if position is not None:
                line = its_line
            if position is not None or rows.row(ref) is None:
                self._hidden = None
        if position is None and place.ref is not None:
            position = rows.position(place.ref)
            if position is None and filtering and self._hidden is None and rows.row(place.ref) is not None:
                self._hidden = place.ref, place.line
        if position is None and self._hidden is not None:
            position = rows.nearest(self._hidden[0])
        if position is None:
            heirs = (rows.position(ref) for ref in place.heirs)
            position = next((heir for heir in heirs if heir is not None), max(place.position, 0))
        self._cursor = min(position, rows.visible - 1)
        self._lines.measure(rows.row_at(each) for each in islice(self._on_screen(), _SAMPLE))
        self._arrange()
        if self._page > 0:
            top = rows.position(place.top) if line is None and place.top is not None else None
            y = self.scroll_offset.y if top is None else top
            self.scroll_to(y=max(self._cursor, 0) - line if line is not None else y, animate=False, force=True)
        self.refresh()
        self._announce()
        if marks is not None and marks != rows.marks:
            self.post_message(self.MarksChanged(self))

    def _announce(self) -> None:
        ref = self.rows.ref_at(self._cursor) if self._cursor >= 0 else None
        if ref != self._cursor_ref:
            self._cursor_ref = ref
            self.post_message(self.Highlighted(self, ref))

    def _go_to_expected(self) -> None:
        if self._expected is not None and (position := self.rows.position(self._expected)) is not None:
            self._move(position)

    def _announce_change(self) -> None:
        row = self.cursor_row
        if row != self._cursor_row or self.rows.marks:
            self._cursor_row = row
            self.post_message(self.SelectionChanged(self))

    def _move(self, position: int) -> None:
        """Move the cursor where the user wants it, and scroll no more than it takes to show it."""
        if not self.rows.visible:
            return
        self._moved, self._hidden, self._expected = True, None, None
        self._refresh_row(self._cursor)
        self._cursor = min(max(position, 0), self.rows.visible - 1)
        self._refresh_row(self._cursor)
        top, page = self.scroll_offset.y, self._page
        if page > 0 and not top <= self._cursor < top + page:
            y = self._cursor if self._cursor < top else self._cursor - page + 1
            self.scroll_to(y=y, animate=False, force=True)
        self._announce()

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self._move(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move cursor and screen by so many pages."""
        step = max(self._page, 1) * pages
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, force=True)
        self._move(self._cursor + step)

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._move(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._move(self.rows.visible - 1)

    def action_column(self, columns: int) -> None:
        """Scroll sideways to the start of the next column, or of the one before."""
        starts = self._lines.starts()
        x = self.scroll_offset.x
        if columns > 0:
            target = next((start for start in starts if start > x), x)
        else:
            target = next((start for start in reversed(starts) if start < x), 0)
        self.scroll_to(x=target, animate=False, force=True)

    def action_select(self) -> None:
        """Choose the cursor's row."""
        if self._cursor_ref is not None:
            self._moved = True
            self.post_message(self.Selected(self, self._cursor_ref))

    def on_click(self, event: events.Click) -> None:
        """Sort by a header, mark in the gutter, move to a row, choose the cursor's row."""
        event.stop()
        position = self.scroll_offset.y + event.y - 1
        if event.y == 0:
            name = self._lines.column_at(event.x, self.scroll_offset.x).name
            self.sort_by(name, name == self.rows.column and not self.rows.reverse)
        elif position < self.rows.visible:
            here = position == self._cursor
            self._move(position)
            if event.x < GUTTER:
                self.toggle_mark()
            elif here:
                self.action_select()

    # Layout and painting

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

    def on_mount(self) -> None:
        """Make ready what was loaded before."""
        self._prepare()

    def on_resize(self) -> None:
        """Share the new width, and keep the cursor on screen if it was."""
        if self._arrange():
            self.refresh()
        line, before, page = self._cursor - self.scroll_offset.y, self._last_page, self._page
        self._last_page = page
        if (not before or line < before) and line >= page > 0:
            self.scroll_to(y=self._cursor - page + 1, animate=False, force=True)

    def notify_style_update(self) -> None:
        """Forget styles and lines when theme or focus change them."""
        super().notify_style_update()
        self._looks.clear()
        self._lines.forget()

    def _look(self, name: str) -> Style:
        style = self._looks.get(name)
        if style is None:
            style = self._looks[name] = self.get_component_rich_style(name) if name else self.rich_style
        return style

    def _refresh_row(self, position: int) -> None:
        if position in self._on_screen():
            self.refresh(Region(0, position - self.scroll_offset.y + 1, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Return the line `y` of the screen: the header, a row, or what an empty table says."""
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
        if rows.total:
            text = f"No {self.kind.noun} matches '{self._filter.strip()}'. Esc clears the filter."
        else:
            text = self._notice or self.kind.empty
        return lines.text(text, y - 1, width, self._page)
