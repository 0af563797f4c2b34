"""The main screen: the tab line, one table for each kind, and the lines around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import ContentSwitcher, Input, Static

from backend.commands.table import COMMANDS, command
from backend.errors import CloudmeshError
from backend.format import counted
from backend.kinds.model import Kind, Ref
from backend.text import safe
from tui.deciding import Chosen
from tui.host import Owner
from tui.jobs import Job
from tui.lostkeys import LostKeys
from tui.screens.keys import OWN_BINDINGS, command_bindings
from tui.screens.steady import Steady
from tui.selection import elsewhere, selected, usable, which, why_not
from tui.widgets.commandline import CommandLine
from tui.widgets.field import Field
from tui.widgets.keyline import KeyLine
from tui.widgets.status import MessageBar, StatusBar, WorkLine
from tui.widgets.tabbar import Label, TabBar
from tui.widgets.table import ResourceTable
from tui.widgets.toosmall import is_small


class FilterLine(Field):
    """The field of the filter; the screen handles its changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,up", "screen.leave_filter", "to the rows", key_display="enter"),
        Binding("escape", "screen.back", "clear", key_display="esc"),
    ]


class MainScreen(Steady[None]):
    """The tables of the kinds; one is shown. The screen knows nothing of clouds: tui.listings loads the rows.

    A kind with a number key always has a tab. At most one of the others has a tab, at the end of the line, while open.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*command_bindings(), *OWN_BINDINGS]

    def __init__(self, owner: Owner, kinds: Mapping[str, Kind]) -> None:
        super().__init__()
        self._owner = owner
        self.kinds = kinds
        self.lost_keys = LostKeys()
        self._typed = 0.0
        """When the last key was typed."""
        self._painted = False
        self._tables = {kind.name: ResourceTable(kind, id=f"table-{kind.name}") for kind in kinds.values()}
        self._tabs = TabBar([kind for kind in kinds.values() if kind.tab], id="tabs")
        self._before = ""
        """The kind that was shown before the one without a number key."""

    def compose(self) -> ComposeResult:
        """Lay out the lines from top to bottom."""
        first = next(iter(self._tables.values()))
        yield self._tabs
        with Horizontal(id="filter-line"):
            yield Static("/", id="filter-prompt")
            yield FilterLine(placeholder="words, all must match, any column", id="filter")
            yield Static("", id="filter-count", markup=False)
        with ContentSwitcher(initial=first.id, id="tables"):
            # The other tables have their rows from the start, but are mounted when they are first shown: each has
            # twelve styles, and computing styles takes most of the time from the imports to the first frame.
            yield first
        yield Static("", id="trouble", markup=False)
        yield MessageBar(id="message", markup=False)
        yield WorkLine(id="work", markup=False)
        with Horizontal(id="command-line"):
            yield Static(":", id="command-prompt")
            yield CommandLine(self._complete, id="command")
        yield StatusBar(id="status", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Focus the first table; hide the filter and the command line."""
        self.query_one("#filter-line").display = False
        self.query_one("#command-line").display = False
        self.query_one("#trouble").display = False
        for table in self._tables.values():
            table.notice = "Opening the cache …"
        self.set_focus(self.table)

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """The name of the kind whose tab is shown."""
        return self._tabs.active

    @property
    def table(self) -> ResourceTable:
        """The table that is shown."""
        return self.table_of(self.kind)

    def table_of(self, kind: str) -> ResourceTable:
        """Return the table of a kind; it has no rows if the kind is not open."""
        return self._tables[kind]

    def is_open(self, kind: str) -> bool:
        """Return whether a kind has a tab now."""
        return self.kinds[kind] in self._tabs.kinds

    def show_tab(self, kind: str) -> None:
        """Show the tab of a kind, with its own filter; a kind without a number key replaces another such tab."""
        if not self.is_open(kind):
            for other in [other for other in self._tabs.kinds if not other.tab]:
                self._close(other)
            self._tabs.kinds = [*self._tabs.kinds, self.kinds[kind]]
        if kind != self.kind and self.kinds[self.kind].tab:
            self._before = self.kind
        self._tabs.active = kind
        table, switcher = self.table, self.query_one(ContentSwitcher)
        if table.parent is None:
            switcher.mount(table)
        switcher.current = table.id
        field = self.query_one("#filter", Input)
        with self.prevent(Input.Changed):
            field.value = table.filter_text
        self.query_one("#filter-line").display = bool(table.filter_text)
        self.set_focus(table)  # at once: focus() would come later, and take the focus from what the next key opens
        self.show_count()
        self.refresh_bindings()
        self.post_message(self.TabShown(kind))

    def _close(self, kind: Kind) -> None:
        """Remove the tab of a kind without a number key; its table keeps only its sort."""
        table = self.table_of(kind.name)
        table.clear_marks()
        table.set_filter("")
        self._tabs.kinds = [other for other in self._tabs.kinds if other != kind]
        self.post_message(self.TabClosed(kind.name))

    @dataclass
    class TabClosed(Message):
        """The tab of a kind was closed."""

        kind: str

    @dataclass
    class TabShown(Message):
        """Another tab is shown."""

        kind: str

    @on(ResourceTable.Counted)
    def show_count(self) -> None:
        """Show how many rows the filter leaves."""
        table, count = self.table, self.query_one("#filter-count", Static)
        text = f"{table.visible_count:,} of {table.total:,}"
        if text != count.content:
            count.update(text, layout=False)  # fixed width: a layout at every letter would be slow
        if table.rows.marks:
            self._owner.show_location()

    def count(self, kind: str) -> None:
        """Show how many rows the filter of a kind leaves, if that kind is on screen."""
        if kind == self.kind:
            self.show_count()

    def label(self, labels: Mapping[str, Label]) -> None:
        """Set the labels of the tabs."""
        self._tabs.labels = labels

    def trouble(self, text: str) -> None:
        """Show one line about the scopes that failed; "" hides it."""
        line = self.query_one("#trouble", Static)
        if line.display != bool(text):
            line.display = bool(text)
        shown = Text(f"✕ {safe(text)}", no_wrap=True, overflow="ellipsis")
        if text and line.content != shown:
            line.update(shown, layout=False)

    # --- the lines around the tables ----------------------------------------------------------------------------------

    def show_text(self, text: str, *, done: bool) -> None:
        """Show a result, or why nothing was done: in the status bar, or in the line above if it is too long."""
        status = self.query_one(StatusBar)
        status.result, status.elsewhere = text, not status.fits(text)
        if status.elsewhere:
            self.query_one(MessageBar).say(text, done=done)

    def show_error(self, error: CloudmeshError, *, behind: bool) -> None:
        """Show an error until it is dismissed; one that is `behind` does not replace a message on screen."""
        self.query_one(MessageBar).show(error, behind=behind)

    def retract(self, error: CloudmeshError) -> None:
        """Remove an error that is no longer true, if it is still on screen."""
        self.query_one(MessageBar).retract(error)

    def show_work(self, jobs: Sequence[Job]) -> None:
        """Show the running jobs, once the work line exists."""
        if self.is_mounted:
            self.query_one(WorkLine).show(jobs)

    def locate(self, location: str) -> None:
        """Show the location."""
        self.query_one(StatusBar).location = location

    def remember(self, line: str) -> None:
        """Put a command into the history of the `:` line."""
        self.query_one(CommandLine).remember(line)

    @dataclass
    class Painted(Message):
        """The screen was painted for the first time."""

    def on_resize(self) -> None:
        """Report the first painting, and show the keys that can be used in this size."""
        if not self._painted:
            self._painted = True
            self.call_next(self.post_message, self.Painted())  # next: textual paints after it has handled the resize
        self.refresh_bindings()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide commands of other tabs and refused ones; grey out those that do not fit the cursor's row."""
        if is_small(self.size):  # the user must see what a key does
            return action == "app.quit"
        if action in ("filter", "command_line"):
            return isinstance(self.focused, ResourceTable)
        if action != "ask":
            return True
        one = command(str(parameters[0]))
        if one.on and self.kind not in one.on:
            return False
        if self._owner.refusal(one):
            return False
        if one.target(self.kind) is not None and not usable(one, self.table):
            return None
        return True

    def on_key(self, event: events.Key) -> None:
        """Show why the key of a command cannot be used; drop the keys typed for its dialog."""
        if not isinstance(self.focused, ResourceTable):
            return
        self._typed = event.time
        self.table.expect(None)  # the user goes on: the cursor does not move by itself now
        if self.lost_keys.take(event):
            event.stop()
        elif reason := self._refusal(event.key):
            event.stop()
            self.lost_keys.begin(event.time)
            self._owner.say(reason, done=False)

    def _refusal(self, key: str) -> str:
        """Return why a key does nothing now; "" if it does something or is the key of no command."""
        here = [one for one in COMMANDS if one.key == key and (not one.on or self.kind in one.on)]
        if not here:
            return elsewhere(key, self.table.kind)
        if any(self.check_action("ask", (one.name,)) for one in here):
            return ""
        return self._owner.refusal(here[0]) or why_not(here[0], self.table, self._name_of)

    def _name_of(self, kind: str, ref: Ref) -> str:
        row = self.table_of(kind).rows.row(ref)
        return str((row and self.kinds[kind].value(row, "name")) or ref.id)

    def action_ask(self, name: str) -> None:
        """Ask for a command by its key, on the marked rows that are shown, else on the cursor's row."""
        one, table = command(name), self.table
        target = one.target(self.kind)
        refs = [table.kind.ref(row) for row in selected(one, table)]
        chosen = Chosen(target, refs, which(one, table)) if target else None
        self._owner.ask(one, chosen)

    def action_tab(self, kind: str) -> None:
        """Show a tab."""
        self.show_tab(kind)

    def action_mark(self) -> None:
        """Mark or unmark the row, and go to the next one."""
        self.table.toggle_mark()
        self.table.action_move(1)

    def action_mark_all(self) -> None:
        """Mark all rows that the filter shows."""
        self.table.mark_all()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.table.sort_next()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.table.sort_reverse()

    def action_undo(self) -> None:
        """Offer to undo the last commands."""
        if not self._owner.undo():
            self.lost_keys.begin(self._typed)

    def action_results(self) -> None:
        """List the results of the last commands."""
        if not self._owner.show_results():
            self.lost_keys.begin(self._typed)

    def action_failures(self) -> None:
        """List the scopes that failed."""
        self._owner.show_failures()

    def action_cancel_work(self) -> None:
        """Cancel the running jobs."""
        self._owner.cancel_work()

    def action_log_in(self) -> None:
        """Log in to the first account that needs it."""
        self._owner.log_in()

    def action_help(self) -> None:
        """Show the help."""
        self._owner.show_help()

    def action_back(self) -> None:
        """Drop one thing at a time: the message, the filter, the marks, the tab. The cursor stays on its row."""
        if self.query_one(MessageBar).dismiss():
            return
        if self.table.filter_text or self.query_one("#filter-line").display:
            self._close_filter(clear=True)
        elif count := self.table.clear_marks():
            self._owner.say(f"{counted(count, 'row')} {'is' if count == 1 else 'are'} no longer marked.")
        elif not self.kinds[self.kind].tab:
            kind = self.kinds[self.kind]
            self.show_tab(self._before)
            self._close(kind)

    @on(TabBar.Chosen)
    def choose(self, event: TabBar.Chosen) -> None:
        """Show the tab that was clicked."""
        self.show_tab(event.kind)

    @on(ResourceTable.Highlighted)
    @on(ResourceTable.MarksChanged)
    @on(ResourceTable.SelectionChanged)
    def follow_selection(self) -> None:
        """Grey out commands that do not fit the selected rows, and show how many rows are marked."""
        self.refresh_bindings()
        self._owner.show_location()

    @on(ResourceTable.Selected)
    def details(self, event: ResourceTable.Selected) -> None:
        """Show all fields of the row."""
        self._owner.show_details(event.table.kind, event.ref)

    # --- filter -------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Open the filter of this tab."""
        self.lost_keys.end()
        self.query_one("#filter-line").display = True
        self.set_focus(self.query_one("#filter", Input))
        self.show_count()

    @on(Input.Changed, "#filter")
    def filter_rows(self, event: Input.Changed) -> None:
        """Show the rows that have all words typed so far."""
        self.table.set_filter(event.value)
        self.show_count()
        self._owner.filtered(self.kind)

    def action_leave_filter(self) -> None:
        """Go to the rows; the filter stays."""
        self._close_filter(clear=False)

    def _close_filter(self, *, clear: bool) -> None:
        self.table.keep_cursor()
        if clear:
            field = self.query_one("#filter", Input)
            with self.prevent(Input.Changed):
                field.value = ""
            self.table.set_filter("")
            self._owner.filtered(self.kind)
        self.query_one("#filter-line").display = bool(self.table.filter_text)
        self.set_focus(self.table)

    # --- command line -------------------------------------------------------------------------------------------------

    def action_command_line(self) -> None:
        """Open the command line."""
        self.lost_keys.end()
        self.open_command_line()

    def open_command_line(self, text: str = "") -> None:
        """Open the command line with `text` in it."""
        self.query_one("#command-line").display = True
        self.query_one(CommandLine).open(text)

    @on(CommandLine.Closed)
    @on(CommandLine.Entered)
    def close_command_line(self) -> None:
        """Go back to the rows."""
        self.query_one("#command-line").display = False
        self.set_focus(self.table)

    @on(CommandLine.Entered)
    def enter_command(self, event: CommandLine.Entered) -> None:
        """Run the entered line; drop the keys after a line that is refused."""
        if not self._owner.enter(event.line):
            self.lost_keys.begin(event.time)

    def _complete(self, line: str) -> list[str]:
        return self._owner.completions(line)
