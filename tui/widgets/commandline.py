"""The `:` line: takes a command, completes it and keeps a history."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import Suggester

from tui.widgets.field import Field

Complete = Callable[[str], list[str]]


class _Suggest(Suggester):
    def __init__(self, complete: Complete) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        found = self._complete(value) if value else []
        return found[0] if found else None


class CommandLine(Field):
    """A field that is shown while a command is typed; Tab completes, Up and Down go through the history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Without priority: with it, Tab would overtake the letters typed right before.
        Binding("tab", "complete(1)", "Complete"),
        Binding("shift+tab", "complete(-1)", "Complete backwards", show=False),
        Binding("up", "recall(-1)", "Earlier"),
        Binding("down", "recall(1)", "Later"),
        Binding("escape", "close", "Close"),
    ]

    @dataclass
    class Entered(Message):
        """A line was entered."""

        line: str

    @dataclass
    class Closed(Message):
        """The user left without entering anything."""

    def __init__(self, complete: Complete, *, id: str | None = None) -> None:
        super().__init__(placeholder="a command: vm boot ami-…, keypair create NAME, …", id=id)
        self._complete = complete
        self.suggester = _Suggest(complete)
        self.history: list[str] = []
        self._at = 0
        self._typed = ""
        self._candidates: list[str] = []
        self._candidate = -1

    def on_mount(self) -> None:
        """Start hidden."""
        self.display = False

    def open(self, text: str = "") -> None:
        """Appear with the focus."""
        self.value = text
        self.cursor_position = len(text)
        self._at = len(self.history)
        self.display = True
        self.screen.set_focus(self)  # at once: with focus() the next letters would go to the table

    def remember(self, line: str) -> None:
        """Make a line the latest of the history; each line is there only once."""
        self.history = [*(old for old in self.history if old != line), line]

    def action_complete(self, step: int) -> None:
        """Put the next completion of what was typed into the field."""
        if self._candidate < 0 or self.value != self._candidates[self._candidate]:
            self._candidates = self._complete(self.value)
            self._candidate = -1
        if not self._candidates:
            return
        count = len(self._candidates)
        if count == 1 and self._candidate < 0:
            # The only one: continue with the next word.
            self.value = self._candidates[0] + " "
            self._candidates = []
        else:
            self._candidate = (self._candidate + step) % count if self._candidate >= 0 else 0
            self.value = self._candidates[self._candidate]
        self.cursor_position = len(self.value)

    def action_recall(self, step: int) -> None:
        """Show an earlier or later line of the history; after the latest comes what was typed."""
        if self._at == len(self.history):
            self._typed = self.value
        self._at = max(0, min(len(self.history), self._at + step))
        self.value = self.history[self._at] if self._at < len(self.history) else self._typed
        self.cursor_position = len(self.value)

    def action_close(self) -> None:
        """Leave without entering anything."""
        self.display = False
        self.post_message(self.Closed())

    def on_input_submitted(self, event: Field.Submitted) -> None:
        """Enter the line; an empty one closes."""
        event.stop()
        line = event.value.strip()
        self.display = False
        if line:
            self.remember(line)
            self.post_message(self.Entered(line))
        else:
            self.post_message(self.Closed())
