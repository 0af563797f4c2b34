"""The base of all screens: events that come before its layout, or after its end, do no harm."""

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
"""Events whose handlers need the widgets of the screen; these may be gone, or not made so far."""


class Steady(Screen[Answer]):
    """A screen that is dismissed only once, however often its keys are pressed, and then ignores events.

    A key pressed twice can reach a field that is about to go. The second time, textual would dismiss the screen below,
    and the palette would run its command again.
    """

    _left = False

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close with an answer; do nothing if that was done before."""
        if self._left or not self.is_current:
            return AwaitComplete()
        self._left = True
        return super().dismiss(result)

    async def _dispatch_message(self, message: Message) -> None:
        going = self._left or self._pruning or self._closing or self.app._exit or self.parent is None
        if not (going and isinstance(message, _NEEDS_WIDGETS)):
            await super()._dispatch_message(message)

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Return where a text selection begins; nothing, where that widget is gone since the last layout."""
        widget, offset = super().get_widget_and_offset_at(x, y)
        return (None, None) if widget is None or widget.parent is None else (widget, offset)
