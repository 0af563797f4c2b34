"""The line of keys at the foot of the screen."""

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

FRAME = 1 / 60
"""Seconds between two frames."""


class KeyLine(Footer):
    """textual's footer, but it makes its keys once for many changes, and only if they differ.

    textual's own makes them at every change of focus or of the cursor's row: eight times while the screen opens, which
    delays the event loop.
    """

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)
        # Without this, textual first lays the screen out without keys, and paints it twice.
        self.set_reactive(Footer._bindings_ready, True)
        self._shown: list[tuple[Binding, bool]] = []
        self._due = False

    def compose(self) -> ComposeResult:
        """Make one key for each binding that is shown."""
        self._shown = self._keys()
        yield from super().compose()

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Make the keys a frame later, for all changes until then.

        Not by call_after_refresh: that belongs to the screen in front, and is lost when a window closes.
        """
        if screen is self.screen and self.app.app_focus and self.is_attached and not self._due:
            self._due = True
            self.set_timer(FRAME, self._renew)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press a dim key too: the screen shows why it cannot be used."""
        found, _ = self.screen.get_widget_at(*event.screen_offset)
        if isinstance(found, FooterKey) and found.has_class("-disabled"):
            self.app.simulate_key(found.key)

    async def _renew(self) -> None:
        self._due = False
        if self.is_attached and self._keys() != self._shown:
            await self.recompose()
            # Each key watches this; only its change releases the old keys.
            self.mutate_reactive(Footer.compact)

    def _keys(self) -> list[tuple[Binding, bool]]:
        return [(binding, on) for _, binding, on, _ in self.screen.active_bindings.values() if binding.show]
