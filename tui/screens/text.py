"""Lines of text to read, such as a console's output."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from backend.text import safe, safe_lines
from tui.screens.window import Window


class TextScreen(Window[None]):
    """A titled text in a window over the dashboard; control characters in it are escaped."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Back")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Lay out the title, the lines and the keys."""
        with Vertical(classes="window") as window:
            window.border_title = Text(safe(self._title))  # a str would be taken for markup
            window.border_subtitle = "Esc back · ↑↓ scroll"
            with VerticalScroll(classes="window--body"):
                yield Static(Text(safe_lines(self._text), overflow="fold"), markup=False)

    def on_mount(self) -> None:
        """Show the end, which has the newest lines; let the arrow keys scroll."""
        body = self.query_one(VerticalScroll)
        self.set_focus(body)
        self.call_after_refresh(body.scroll_end, animate=False)
