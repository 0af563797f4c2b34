"""All fields of one object."""

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from tui.screens.window import Window


class DetailsScreen(Window[None]):
    """A titled list of (field, safe text), in a window over the dashboard."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Back")]

    def __init__(self, title: str, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._fields = fields

    def compose(self) -> ComposeResult:
        """Lay out the title, the fields and the keys."""
        with Vertical(classes="window") as window:
            window.border_title = Text(self._title)  # a str would be taken for markup
            window.border_subtitle = "Esc back · ↑↓ scroll"
            with VerticalScroll(classes="window--body"):
                yield Static(_table(self._fields), markup=False)

    def show(self, fields: Sequence[tuple[str, str]]) -> None:
        """Show other fields, if the window is still open."""
        self._fields = fields
        for body in self.query(".window--body Static").results(Static):
            body.update(_table(fields))

    def on_mount(self) -> None:
        """Let the arrow keys scroll."""
        self.set_focus(self.query_one(VerticalScroll))


def _table(fields: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="bold", overflow="fold", ratio=2)
    grid.add_column(overflow="fold", ratio=3)
    for name, value in fields:
        grid.add_row(Text(name), Text(value) if value else Text("–", style="dim"))
    return grid
