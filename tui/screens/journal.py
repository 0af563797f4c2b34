"""The journal: what was done, by whom and how it ended."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Input, Static

from backend.format import counted
from backend.journal.model import JOURNAL
from backend.kinds.model import Row
from tui.screens.main import FilterLine
from tui.screens.window import Window
from tui.widgets.table import ResourceTable

_OPEN = frozenset({"waiting", "unfinished", "unknown"})
"""The outcomes that are not final."""


class JournalScreen(Window[None]):
    """The journal in a window, newest entry first. It reads nothing: tui.windows loads the rows.

    `load` and `apply` may come before it is mounted and after it is closed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # Priority: the focus must have moved before the next letter comes.
        Binding("slash", "filter", "filter", priority=True, key_display="/"),
        Binding("s", "sort", "sort"),
        Binding("S", "reverse", "reverse", key_display="S"),
        Binding("escape", "back", "back", key_display="esc"),
        Binding("q,J", "dismiss", "close", show=False),
    ]

    def __init__(self, details: Callable[[str], None]) -> None:
        super().__init__()
        self._details = details
        self._window = Vertical(classes="window")
        self.table = ResourceTable(JOURNAL)
        self.table.notice = "Reading the journal …"
        self.table.sort_by("at", reverse=True)

    def compose(self) -> ComposeResult:
        """Lay out the filter, the rows and the keys."""
        with self._window:
            self._window.border_title = "Journal"
            with Horizontal(id="filter-line"):
                yield Static("/", id="filter-prompt")
                yield FilterLine(placeholder="words, all must match, any column", id="filter")
            yield self.table
        yield Footer(compact=True, show_command_palette=False)  # KeyLine is only for a screen that never closes

    def on_mount(self) -> None:
        """Focus the rows; hide the filter."""
        self.query_one("#filter-line").display = False
        self.set_focus(self.table)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def load(self, rows: Sequence[Row]) -> None:
        """Replace all rows."""
        self.table.notice = ""
        self.table.load(rows)
        self._count()

    def apply(self, rows: Sequence[Row]) -> None:
        """Add and update rows; if the top is in sight, it stays in sight."""
        table = self.table
        at_top = table.scroll_offset.y == 0
        table.apply(rows)
        cursor = (table.cursor_ref and table.rows.position(table.cursor_ref)) or 0
        if (
            at_top and cursor < table.scrollable_content_region.height - 1
        ):  # the table has kept the cursor's line instead
            table.scroll_to(y=0, animate=False, force=True)
        self._count()

    @on(ResourceTable.Counted)
    def _count(self) -> None:
        shown, total = self.table.visible_count, self.table.total
        entries = counted(total, "entry", "entries")
        parts = [f"{shown:,} of {total:,}" if self.table.filter_text.strip() else entries]
        # Count hidden entries too: the user must not overlook an unfinished command.
        if count := sum(JOURNAL.value(row, "outcome") in _OPEN for row in self.table.rows.all()):
            parts.append(f"{count:,} unfinished")
        self._window.border_subtitle = " · ".join(parts)

    @on(ResourceTable.Selected)
    def _show_details(self, event: ResourceTable.Selected) -> None:
        self._details(event.ref.id)

    @on(ResourceTable.MarksChanged)
    def _unmark(self) -> None:
        self.table.clear_marks()  # no command acts on entries

    # --- keys ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Let `/` be text while the filter has the focus."""
        return action != "filter" or isinstance(self.focused, ResourceTable)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.table.sort_next()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.table.sort_reverse()

    def action_filter(self) -> None:
        """Open the filter."""
        self.query_one("#filter-line").display = True
        self.set_focus(self.query_one(FilterLine))

    @on(Input.Changed, "#filter")
    def _filter_rows(self, event: Input.Changed) -> None:
        self.table.set_filter(event.value)
        self._count()

    def action_leave_filter(self) -> None:
        """Go to the rows; the filter stays."""
        self.table.keep_cursor()
        self.query_one("#filter-line").display = bool(self.table.filter_text)
        self.set_focus(self.table)

    def action_back(self) -> None:
        """Clear the filter; without one, close."""
        if not self.query_one("#filter-line").display:
            self.dismiss()
            return
        self.table.keep_cursor()
        field = self.query_one(FilterLine)
        with self.prevent(Input.Changed):
            field.value = ""
        self.table.set_filter("")
        self._count()
        self.action_leave_filter()
