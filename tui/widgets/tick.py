"""A checkbox that shows its state without colour."""

from textual.content import Content
from textual.widgets import Checkbox


class Tick(Checkbox):
    """textual's own shows a cross in both states, in two colours."""

    def __init__(self, label: str, value: bool, *, id: str) -> None:
        self.BUTTON_INNER = "✓" if value else " "
        super().__init__(Content(label), value, id=id, compact=True)

    def watch_value(self) -> None:
        """Draw the new state."""
        self.BUTTON_INNER = "✓" if self.value else " "
        super().watch_value()
