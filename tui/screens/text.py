"""Lines of text to read, such as a console's output."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from backend.text import safe
from tui.screens.window import Window
from tui.widgets.textlines import TextLines


class TextScreen(Window[None]):
    """A titled text in a window over the dashboard."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Back")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._lines = TextLines(text, classes="window--body")

    def compose(self) -> ComposeResult:
        """Lay out the title, the lines and the keys."""
        with Vertical(classes="window") as window:
            window.border_title = Text(safe(self._title))  # a str would be taken for markup
            window.border_subtitle = "Esc back · ↑↓ scroll"
            yield self._lines

    def on_mount(self) -> None:
        """Let the arrow keys scroll."""
        self.set_focus(self._lines)
