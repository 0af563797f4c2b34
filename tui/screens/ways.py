"""The screen for a computer without any account: the ways to one, and what was looked at."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from backend.text import safe
from tui.screens.window import Window


class WaysScreen(Window[bool]):
    """Dismisses with whether to look again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R,r", "dismiss(True)", "Look again"),
        Binding("q,escape", "dismiss(False)", "Quit"),
    ]

    def __init__(self, title: str, ways: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._ways = ways

    def compose(self) -> ComposeResult:
        """Lay out the ways."""
        with Vertical(classes="window") as window:
            window.border_title = Text(safe(self._title))  # a str would be taken for markup
            window.border_subtitle = "R looks again · q quits"
            text = Text()
            for way in self._ways:
                what, colon, rest = safe(way).partition(": ")
                text.append(f"{what}\n", style="bold").append(f"   {rest}\n\n" if colon else "\n")
            with VerticalScroll(classes="window--body"):
                yield Static(text, markup=False)
