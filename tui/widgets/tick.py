"""A box to tick that tells its state without colour."""

from textual.content import Content
from textual.widgets import Checkbox


class Tick(Checkbox):
    """textual's own has its cross in it whether it is ticked or not, in two colours."""

    def __init__(self, label: str, value: bool, *, id: str) -> None:
        self.BUTTON_INNER = "✓" if value else " "
        super().__init__(Content(label), value, id=id, compact=True)

    def watch_value(self) -> None:
        """Draw the other state."""
        self.BUTTON_INNER = "✓" if self.value else " "
        super().watch_value()
