"""Help: every key and every command, made from the tables that define them."""

from collections.abc import Iterable
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from backend.commands.model import Command
from backend.kinds.model import Kind
from tui.screens.window import Window

_DIALOGS = [
    ("y  enter", "Press the button in focus, once the dialog can be read; y where the button shows it"),
    ("n  esc", "Cancel"),
    ("tab  arrows", "The next field or button; typing into a filled field replaces what is in it"),
]


class HelpScreen(Window[None]):
    """The keys of the dashboard, the keys of the commands, and the grammar."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Back")]

    def __init__(self, bindings: Iterable[Binding], commands: Iterable[Command], kinds: Iterable[Kind]) -> None:
        super().__init__()
        self._own = list(bindings)
        self._commands = list(commands)
        self._kinds = list(kinds)

    def compose(self) -> ComposeResult:
        """Lay out the sections."""
        with Vertical(classes="window") as window:
            window.border_title = "Help"
            window.border_subtitle = "Esc back · ↑↓ scroll"
            with VerticalScroll(classes="window--body"):
                yield Static(Group(*self._sections()), markup=False)

    def on_mount(self) -> None:
        """Let the arrow keys scroll."""
        self.set_focus(self.query_one(VerticalScroll))

    def _sections(self) -> Iterable[RenderableType]:
        rows = [(_keys(binding), binding.tooltip or binding.description) for binding in self._own]
        yield from _section("Keys", rows)
        yield from _section("In a dialog", _DIALOGS)
        yield from _section("Everywhere", _keys_of(one for one in self._commands if not one.on))
        for kind in self._kinds:
            here = (one for one in self._commands if kind.name in one.on)
            yield from _section(f"On the {kind.plural} tab", _keys_of(here))
        untabbed = [
            (f":{kind.plural}", f"Show the {kind.nouns}; Esc closes the tab") for kind in self._kinds if not kind.tab
        ]
        yield from _section("Kinds without a number key", untabbed)
        yield from _section("Commands, after : and in the shell", [(one.usage, one.help) for one in self._commands])


def _keys_of(commands: Iterable[Command]) -> list[tuple[str, str]]:
    return [(command.key, command.help) for command in commands if command.key]


def _keys(binding: Binding) -> str:
    return binding.key_display or binding.key.replace(",", " ")


def _section(title: str, rows: list[tuple[str, str]]) -> Iterable[RenderableType]:
    if not rows:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=False, min_width=14, max_width=40)
    grid.add_column()
    for left, right in rows:
        grid.add_row(Text(left, style="bold"), Text(right))
    yield Text(f"{title}\n", style="bold underline")
    yield grid
    yield Text("")
