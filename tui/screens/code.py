"""A window that asks for the code of an MFA device."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from backend.text import safe
from tui.screens.window import Window
from tui.widgets.field import Field


class CodeScreen(Window[str]):
    """Dismisses with the code, or "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "none", "Cancel")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Lay out the question and the field."""
        with Vertical(classes="window dialog") as window:
            window.border_title = Text("MFA")  # a str would be taken for markup
            window.border_subtitle = "Enter gives the code · Esc none"
            yield Static(safe(self._question), markup=False)
            with Horizontal(classes="field"):
                yield Label("code", markup=False)
                yield Field(placeholder="what the device shows now", id="code")

    def on_mount(self) -> None:
        """Let the user type the code."""
        self.set_focus(self.query_one("#code"))

    @on(Input.Submitted)
    def give(self, event: Input.Submitted) -> None:
        """Dismiss with the code."""
        if code := event.value.strip():
            self.dismiss(code)

    def action_none(self) -> None:
        """Dismiss without a code."""
        self.dismiss("")
