"""What every window over the dashboard shares: it is left once."""

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Window(ModalScreen[Answer]):
    """A window that gives back one answer, however often its keys are pressed.

    A key pressed twice reaches a field before the field has gone. The second time, textual would take away whatever
    screen is in front by then.
    """

    _left = False

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Go away with an answer; nothing happens where that has been done."""
        if self._left or not self.is_current:
            return AwaitComplete()
        self._left = True
        return super().dismiss(result)
