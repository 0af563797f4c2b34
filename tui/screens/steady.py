"""What every screen shares: events that come before it is laid out, or after it was left, do no harm."""

from typing import TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.geometry import Offset
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList

Answer = TypeVar("Answer")

_NEEDS_WIDGETS = (
    events.Mount,
    events.Resize,
    events.DescendantFocus,
    events.DescendantBlur,
    events.Timer,
    events.InputEvent,
    events.Click,
    events.Paste,
    Button.Pressed,
    Input.Changed,
    Input.Submitted,
    OptionList.OptionHighlighted,
    OptionList.OptionSelected,
)
"""What a screen answers by means of its widgets, which may be gone, or still to come."""


class Steady(Screen[Answer]):
    """A screen that is left once, however often its keys are pressed, and then acts on nothing any more.

    A key pressed twice reaches a field before the field has gone. The second time, textual would take away whatever
    screen is in front by then, and the palette run its command again.
    """

    _left = False

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Go away with an answer; nothing happens where that has been done."""
        if self._left or not self.is_current:
            return AwaitComplete()
        self._left = True
        return super().dismiss(result)

    async def _dispatch_message(self, message: Message) -> None:
        going = self._left or self._pruning or self._closing or self.app._exit or self.parent is None
        if not (going and isinstance(message, _NEEDS_WIDGETS)):
            await super()._dispatch_message(message)

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Return what text selection would begin at: nothing, where that has gone since the last layout."""
        widget, offset = super().get_widget_and_offset_at(x, y)
        return (None, None) if widget is None or widget.parent is None else (widget, offset)
