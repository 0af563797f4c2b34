"""ResourceTable: the cursor, the marks, the filter and the sort of one kind's table; each stays with its row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from backend.kinds.model import Column, Kind, Ref, Row
from tui.rows import AT_ONCE
from tui.widgets.cells import GUTTER
from tui.widgets.painting import TableView

_NEIGHBOURS = 100
"""At most N rows on either side of the cursor may get it when its own row is gone."""
_CHUNK = 1_000
"""N rows are made ready for the filter at a time: a few milliseconds."""
_BREAK = 0.001
"""Seconds between two chunks, in which keys are handled and lines are painted."""


class Anchor(NamedTuple):
    """Where the cursor and the screen were before the rows changed."""

    ref: Ref | None
    position: int
    line: int | None
    """Lines between the top of the screen and the cursor; None: the cursor was not on screen."""
    top: Ref | None
    neighbours: list[Ref]
    """The rows that may get the cursor when its own row is gone, the nearest first."""


class ResourceTable(TableView):
    """The table of one kind: a fixed first column, a header that sorts, a filter, marks, and a cursor that stays."""

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
        """A message of a table."""

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
        """The table has another order; column None: in order of arrival."""

        column: str | None
        reverse: bool

    @dataclass
    class Counted(OfTable):
        """The filter has found more rows among those that were made ready after it was typed."""

    @dataclass
    class SelectionChanged(OfTable):
        """Rows that a command would act on have changed: their state, or what is in flight."""

    @dataclass
    class MarksChanged(OfTable):
        """Rows were marked or unmarked, or marked rows vanished."""

    def __init__(self, kind: Kind, *, id: str | None = None) -> None:
        super().__init__(kind, id=id)
        self._cursor_ref: Ref | None = None
        self._cursor_row: Row | None = None
        """The cursor's row at the last SelectionChanged."""
        self._hidden: tuple[Ref, int | None] | None = None
        """The name and the line of the cursor's row while the filter hides it."""
        self._expected: Ref | None = None
        """The name of the row that gets the cursor when it comes."""
        self._last_page = 0
        self._moved = False
        """Whether the user has moved the cursor."""
        self._filter = ""
        self._preparing = False

    # Questions of the app

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
        """The rows that a command acts on: the marked ones that are shown; if none is marked, the cursor's.

        There are none if the filter hides all marked rows: the user has not chosen the cursor's row.
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

    def empty_text(self) -> str:
        """Return what is shown if there are no rows, or if the filter shows none."""
        if self.rows.total:
            look = f" r lists the {self.kind.nouns} there." if self.kind.vast and self.rows.names_scopes else ""
            return f"No {self.kind.noun} matches '{self._filter.strip()}'.{look} Esc clears the filter."
        return super().empty_text()

    # Changes by the app

    def load(self, rows: Iterable[Row]) -> None:
        """Replace all rows; cursor, marks, filter, sort and scroll stay where they can."""
        anchor, marks = self._anchor(), self.rows.marks
        self.rows.replace(rows)
        self._measure_sample()
        self._restore(anchor, marks)
        self._go_to_expected()
        self._prepare()
        self._announce_change()

    def apply(self, upserts: Iterable[Row], removed: Iterable[Ref] = ()) -> None:
        """Add, update and remove rows; if only cells changed, only their lines are painted."""
        upserts = list(upserts)
        anchor, marks = self._anchor(), self.rows.marks
        applied = self.rows.apply(upserts, removed)
        self._measure_few(upserts)
        self._prepare()
        if applied.moved:
            self._restore(anchor, marks)
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

    def show_places(self, places: tuple[Column, ...]) -> None:
        """Show the columns of the scope that tell something; see backend.kinds.model.places."""
        if places == self.rows.places:
            return
        anchor = self._anchor()
        self.rows.show_places(places)
        self._lines.show_places(places)
        self._measure_sample()
        self._restore(anchor)
        self._prepare()

    def _prepare(self) -> None:
        """Make many rows ready for the filter chunk by chunk as soon as they come: no letter waits for all of them."""
        rows = self.rows
        if self.is_running and not self._preparing and not rows.ready and (rows.words or rows.slots > AT_ONCE):
            self._preparing = True
            self._prepare_some()

    def _prepare_some(self) -> None:
        visible, anchor = self.rows.visible, self._anchor() if self.rows.words else None
        ready = self.rows.prepare(_CHUNK)
        if anchor is not None and self.rows.visible != visible:
            self._restore(anchor, filtering=True)
            self.post_message(self.Counted(self))
        if ready:
            self._preparing = False
        else:
            self.set_timer(_BREAK, self._prepare_some)

    def set_filter(self, text: str) -> None:
        """Show only the rows in which every word of `text` occurs; "" shows all."""
        anchor = self._anchor()
        self._filter = text
        self.rows.filter(text)
        self._prepare()
        self._restore(anchor, filtering=True)

    def keep_cursor(self) -> None:
        """Keep the cursor on its row when the filter is cleared: the user has found that row."""
        if self._cursor_ref is not None:
            self._moved, self._hidden = True, None

    def sort_by(self, column: str | None, reverse: bool = False) -> None:
        """Sort by the named column; None: in order of arrival."""
        anchor = self._anchor()
        self.rows.sort(column, reverse)
        if not self._moved:  # the user has chosen no row: show the top of the sorted table
            anchor = anchor._replace(ref=None, neighbours=[], position=0, line=0)
        self._restore(anchor)
        self.post_message(self.Sorted(self, self.rows.column, self.rows.reverse))

    def sort_next(self) -> None:
        """Sort by the next column; after the last, in order of arrival."""
        names = [None, *(column.name for column in self.rows.columns)]
        self.sort_by(names[(names.index(self.rows.column) + 1) % len(names)])

    def sort_reverse(self) -> None:
        """Sort the other way round; an unsorted table by its first column."""
        self.sort_by(self.rows.column or self.kind.columns[0].name, not self.rows.reverse)

    def toggle_mark(self) -> None:
        """Mark the cursor's row, or remove its mark."""
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
        """Remove all marks; return how many there were."""
        count = self.rows.marks
        self.rows.unmark_all()
        self._unmarked(count)
        return count

    def unmark(self, refs: Iterable[Ref]) -> None:
        """Remove the marks of these rows."""
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
        """Move the cursor to a row now, or when the row comes; a key of the user cancels that."""
        if ref is None or not self.move_to(ref):
            self._expected = ref

    # Cursor and scroll

    def _anchor(self) -> Anchor:
        """Return where the cursor and the screen are."""
        rows, top, cursor = self.rows, self.scroll_offset.y, self._cursor
        line = cursor - top if 0 <= cursor - top < max(self._page, 1) else None
        after = range(cursor + 1, min(cursor + _NEIGHBOURS, rows.visible))
        before = range(cursor - 1, max(cursor - _NEIGHBOURS, -1), -1)
        neighbours = [rows.ref_at(position) for positions in (after, before) for position in positions]
        return Anchor(self._cursor_ref, cursor, line, rows.ref_at(top) if top < rows.visible else None, neighbours)

    def _restore(self, anchor: Anchor, marks: int | None = None, *, filtering: bool = False) -> None:
        """Bring cursor and scroll back to their rows after rows came, went or moved, and paint everything.

        A row that the filter hides while the user types gets the cursor back when it is shown again. A row that a
        change hides does not: the user looks at another row by then, and the cursor stays there.
        """
        rows = self.rows
        line, position = anchor.line, None
        if self._hidden is not None:
            ref, its_line = self._hidden
            position = rows.position(ref)
            if position is not None:
                line = its_line
            if position is not None or rows.row(ref) is None:
                self._hidden = None
        if position is None and anchor.ref is not None:
            position = rows.position(anchor.ref)
            if position is None and filtering and self._hidden is None and rows.row(anchor.ref) is not None:
                self._hidden = anchor.ref, anchor.line
        if position is None and self._hidden is not None:
            position = rows.nearest(self._hidden[0])
        if position is None:
            neighbours = (rows.position(ref) for ref in anchor.neighbours)
            position = next((one for one in neighbours if one is not None), max(anchor.position, 0))
        self._cursor = min(position, rows.visible - 1)
        self._measure_screen()
        self._arrange()
        if self._page > 0:
            top = rows.position(anchor.top) if line is None and anchor.top is not None else None
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
        """Move the cursor for the user; scroll only as far as needed to show it."""
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
        """Move the cursor by N rows."""
        self._move(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move cursor and screen by N pages."""
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
        """Sort (the header), mark (the gutter), move to a row, or choose it (the cursor's row)."""
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

    # Events

    def on_mount(self) -> None:
        """Make the rows ready that were loaded before."""
        self._prepare()

    def on_resize(self) -> None:
        """Share the new width, and keep the cursor on screen if it was."""
        if self._arrange():
            self.refresh()
        line, before, page = self._cursor - self.scroll_offset.y, self._last_page, self._page
        self._last_page = page
        if (not before or line < before) and line >= page > 0:
            self.scroll_to(y=self._cursor - page + 1, animate=False, force=True)
