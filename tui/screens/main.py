"""The dashboard's screen: the tab line, one table a kind, and the lines around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import ContentSwitcher, Input, Static

from backend.catalog import KINDS
from backend.commands.model import Command, Param, Parsed
from backend.commands.table import COMMANDS, command
from backend.format import counted
from backend.kinds.model import Kind
from tui.lostkeys import LostKeys
from tui.messages import Asked
from tui.screens.steady import Steady
from tui.selection import elsewhere, scope, selected, usable, why_not
from tui.widgets.commandline import CommandLine
from tui.widgets.field import Field
from tui.widgets.keyline import KeyLine
from tui.widgets.status import MessageBar, StatusBar, WorkLine
from tui.widgets.tabbar import TabBar
from tui.widgets.table import ResourceTable
from tui.widgets.toosmall import is_small


def _command_bindings() -> list[BindingType]:
    """One binding a command with a key; check_action leaves those of the shown tab."""
    return [
        Binding(
            one.key,
            f"ask('{one.name}')",
            one.words[-1],
            show=bool(one.on) and not one.minor,
            id=one.name.replace(" ", "."),
            tooltip=one.help,
        )
        for one in COMMANDS
        if one.key
    ]


OWN_BINDINGS: list[Binding] = [
    # Priority: the letters typed right after these must find the focus already moved.
    Binding(
        "slash", "filter", "filter", priority=True, key_display="/", tooltip="Show rows that have all the words typed"
    ),
    Binding("colon", "command_line", "command", priority=True, key_display=":", tooltip="Type a command"),
    Binding(
        "space",
        "mark",
        "mark",
        show=False,
        key_display="space",
        tooltip="Mark the row and go down; commands act on the marked rows that are shown",
    ),
    Binding("asterisk", "mark_all", "mark all", show=False, key_display="*", tooltip="Mark all rows that are shown"),
    Binding("s", "sort", "sort", show=False, tooltip="Sort by the next column"),
    Binding("S", "reverse", "reverse", show=False, key_display="S", tooltip="Sort the other way round"),
    Binding("escape", "back", "back", show=False, key_display="esc", tooltip="Drop the message, the filter, the marks"),
    Binding("z", "undo", "take back", show=False, tooltip="Take back what was done last, where EC2 can"),
    Binding("F", "results", "results", show=False, key_display="F", tooltip="List results; do again what failed"),
    Binding("x", "cancel_work", "cancel work", show=False, tooltip="Cancel the work under way"),
    *(
        Binding(str(number), f"tab('{kind.name}')", kind.plural, show=False, tooltip=f"Show the {kind.nouns}")
        for number, kind in enumerate(KINDS.values(), 1)
    ),
    Binding("question_mark", "help", "help", key_display="?", tooltip="This help"),
    Binding("q", "app.quit", "quit", show=False, tooltip="Quit"),
]


class Host(Protocol):
    """What the screen wants of the app."""

    def refusal(self, one: Command) -> str:
        """Return why a command cannot be run now, whatever it is to act on; "" where it can."""

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done."""

    def ask(self, one: Command, target: Param, ids: Sequence[str], scope: str) -> None:
        """Open the dialog of a command on rows; `scope` says which these are, where it is not plain to see."""

    def enter(self, line: str) -> bool:
        """Run a typed line; return False where it is refused at once."""

    def completions(self, line: str) -> list[str]:
        """Return what a typed line may become."""

    def show_details(self, kind: Kind, native: str) -> None:
        """Show all fields of an object."""

    def show_help(self) -> None:
        """Show the help."""

    def undo(self) -> bool:
        """Offer to take back what was done last; return whether there is anything."""

    def show_results(self) -> bool:
        """List the results of the last commands; return whether there is anything."""

    def cancel_work(self) -> None:
        """Cancel what is under way."""

    def show_place(self) -> None:
        """Show where we are, and how many rows are marked."""


class FilterLine(Field):
    """Where the filter is typed; the screen acts on what it holds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,up", "screen.leave_filter", "to the rows", key_display="enter"),
        Binding("escape", "screen.back", "clear", key_display="esc"),
    ]


class MainScreen(Steady[None]):
    """Six tables of which one is shown. It knows nothing of clouds: it posts Asked, and the app gives it rows."""

    BINDINGS: ClassVar[list[BindingType]] = [*_command_bindings(), *OWN_BINDINGS]

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self.lost_keys = LostKeys()
        self._typed = 0.0
        """When the last key was typed."""
        self._painted = False
        self._tables = {kind.name: ResourceTable(kind, id=f"table-{kind.name}") for kind in KINDS.values()}

    def compose(self) -> ComposeResult:
        """Lay out the lines from top to bottom."""
        first = next(iter(self._tables.values()))
        yield TabBar(id="tabs")
        with Horizontal(id="filter-line"):
            yield Static("/", id="filter-prompt")
            yield FilterLine(placeholder="words, all must match, any column", id="filter")
            yield Static("", id="filter-count", markup=False)
        with ContentSwitcher(initial=first.id, id="tables"):
            # The others come in when they are first shown, and hold their rows from the start. Each has twelve styles
            # of its own, and working out styles is most of what lies between the imports and the first frame.
            yield first
        yield MessageBar(id="message", markup=False)
        yield WorkLine(id="work", markup=False)
        with Horizontal(id="command-line"):
            yield Static(":", id="command-prompt")
            yield CommandLine(self._complete, id="command")
        yield StatusBar(id="status", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Focus the first table; the lines that are asked for start out of sight."""
        self.query_one("#filter-line").display = False
        self.query_one("#command-line").display = False
        for table in self._tables.values():
            table.notice = "Opening the cache …"
        self.set_focus(self.table)

    # --- what is shown -----------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """The name of the kind whose tab is shown."""
        return self.query_one(TabBar).active

    @property
    def table(self) -> ResourceTable:
        """The table that is shown."""
        return self.table_of(self.kind)

    def table_of(self, kind: str) -> ResourceTable:
        """Return the table of a kind."""
        return self._tables[kind]

    def show_tab(self, kind: str) -> None:
        """Show the tab of a kind, with its own filter."""
        self.query_one(TabBar).active = kind
        table, switcher = self.table, self.query_one(ContentSwitcher)
        if table.parent is None:
            switcher.mount(table)
        switcher.current = table.id
        field = self.query_one("#filter", Input)
        with self.prevent(Input.Changed):
            field.value = table.filter_text
        self.query_one("#filter-line").display = bool(table.filter_text)
        self.set_focus(table)  # now: focus() would wait its turn, and take the focus from what the next key opens
        self.show_count()
        self.refresh_bindings()
        self.post_message(self.TabShown(kind))

    @dataclass
    class TabShown(Message):
        """A tab has come into sight."""

        kind: str

    @on(ResourceTable.Counted)
    def show_count(self) -> None:
        """Say how many rows the filter shows."""
        table, count = self.table, self.query_one("#filter-count", Static)
        text = f"{table.visible_count:,} of {table.total:,}"
        if text != count.content:
            count.update(text, layout=False)  # its width is fixed: a layout at every letter would cost more than it
        if table.rows.marks:
            self._host.show_place()

    @dataclass
    class Painted(Message):
        """The screen was painted for the first time."""

    def on_resize(self) -> None:
        """Say that the screen was painted, and show the keys that can be used in this size."""
        if not self._painted:
            self._painted = True
            self.call_next(self.post_message, self.Painted())  # next: it is painted by what textual does with a resize
        self.refresh_bindings()

    # --- keys --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the commands of other tabs and those not allowed; grey out those that do not fit the cursor's row."""
        if is_small(self.size):  # nothing may be done that cannot be seen
            return action == "app.quit"
        if action in ("filter", "command_line"):
            return isinstance(self.focused, ResourceTable)
        if action != "ask":
            return True
        one = command(str(parameters[0]))
        if one.on and self.kind not in one.on:
            return False
        if self._host.refusal(one):
            return False
        if one.target(self.kind) is not None and not usable(one, self.table):
            return None
        return True

    def on_key(self, event: events.Key) -> None:
        """Say why the key of a command cannot be used; what is typed on for its dialog then runs nothing."""
        if not isinstance(self.focused, ResourceTable):
            return
        self._typed = event.time
        self.table.expect(None)  # the cursor goes nowhere by itself when the user goes on
        if self.lost_keys.take(event):
            event.stop()
        elif reason := self._refusal(event.key):
            event.stop()
            self.lost_keys.begin(event.time)
            self._host.say(reason, done=False)

    def _refusal(self, key: str) -> str:
        """Return why a key does nothing now, "" where it does something or is no command's."""
        here = [one for one in COMMANDS if one.key == key and (not one.on or self.kind in one.on)]
        if not here:
            return elsewhere(key, self.table.kind)
        if any(self.check_action("ask", (one.name,)) for one in here):
            return ""
        return self._host.refusal(here[0]) or why_not(here[0], self.table, self._name_of)

    def _name_of(self, kind: str, native: str) -> str:
        row = self.table_of(kind).rows.row(native)
        return str((row and KINDS[kind].value(row, "name")) or native)

    def action_ask(self, name: str) -> None:
        """Ask for a command by its key: it acts on the marked rows that are shown, else on the cursor's."""
        one = command(name)
        table, target = self.table, command(name).target(self.kind)
        if target is None or (one.effect == "reads" and not one.asks):
            given = {target.name: table.cursor_id} if target and table.cursor_id else {}
            self.post_message(Asked(Parsed(one, given)))
        else:
            self._host.ask(one, target, selected(one, table), scope(one, table))

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
        """Offer to take back what was done last."""
        if not self._host.undo():
            self.lost_keys.begin(self._typed)

    def action_results(self) -> None:
        """List the results of the last commands."""
        if not self._host.show_results():
            self.lost_keys.begin(self._typed)

    def action_cancel_work(self) -> None:
        """Cancel what is under way."""
        self._host.cancel_work()

    def action_help(self) -> None:
        """Show the help."""
        self._host.show_help()

    def action_back(self) -> None:
        """Drop one thing a time: the message, the filter, the marks. The cursor stays on its row."""
        if self.query_one(MessageBar).dismiss():
            return
        if self.table.filter_text or self.query_one("#filter-line").display:
            self._close_filter(clear=True)
        elif count := self.table.clear_marks():
            self._host.say(f"{counted(count, 'row')} {'is' if count == 1 else 'are'} no longer marked.")

    @on(TabBar.Chosen)
    def choose(self, event: TabBar.Chosen) -> None:
        """Show the tab that was clicked."""
        self.show_tab(event.kind)

    @on(ResourceTable.Highlighted)
    @on(ResourceTable.MarksChanged)
    @on(ResourceTable.SelectionChanged)
    def follow_selection(self) -> None:
        """Grey out what does not fit the rows that a command would act on, and say how many are marked."""
        self.refresh_bindings()
        self._host.show_place()

    @on(ResourceTable.Selected)
    def details(self, event: ResourceTable.Selected) -> None:
        """Show all fields of the row."""
        self._host.show_details(event.table.kind, event.id)

    # --- filter ------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Open the filter of this tab."""
        self.lost_keys.end()
        self.query_one("#filter-line").display = True
        self.set_focus(self.query_one("#filter", Input))
        self.show_count()

    @on(Input.Changed, "#filter")
    def filter_rows(self, event: Input.Changed) -> None:
        """Show the rows that have all the words typed so far."""
        self.table.set_filter(event.value)
        self.show_count()

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
        self.query_one("#filter-line").display = bool(self.table.filter_text)
        self.set_focus(self.table)

    # --- command line ------------------------------------------------------------------------------------------------

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
        """Run the line that was entered; what is typed on after one that is refused runs nothing."""
        if not self._host.enter(event.line):
            self.lost_keys.begin(event.time)

    def _complete(self, line: str) -> list[str]:
        return self._host.completions(line)
