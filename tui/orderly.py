"""An app whose input acts in the order in which it was typed, and not at all in a terminal that is too small."""

from rich.console import RenderableType
from textual.driver import Driver
from textual.events import Event, InputEvent, Key, Paste, Resize
from textual.screen import Screen

from tui.guarded import Guarded
from tui.inputs import Inputs
from tui.screens.confirming import Confirming
from tui.widgets.toosmall import TooSmall, is_small

_WHEN_SMALL = ("ctrl+q", "ctrl+z")
"""The keys besides q that act in a terminal of any size."""


_TWICE = 0.4
"""Seconds within which the same key again is no new press: the key bounces, or is held down."""


class Orderly(Guarded):
    """Sends all keys through `inputs`; covers every screen, textual's too, while the terminal is too small."""

    def __init__(self, driver: type[Driver]) -> None:
        super().__init__(driver)
        self.inputs = Inputs(self, self.opening)
        self._last: tuple[Key, Screen[object]] | None = None
        """The last key, and the screen that got it."""

    def opening(self) -> float | None:
        """Return when the job started that opens a window at its end; None if there is none."""
        return None

    def on_mount(self) -> None:
        """Cover each screen that opens in a terminal that is too small."""
        self.screen_change_signal.subscribe(self, lambda screen: screen.call_later(self._fit, screen), immediate=True)
        self._fit(self.screen)

    def on_unmount(self) -> None:
        """Drop all input."""
        self.inputs.close()

    async def on_event(self, event: Event) -> None:
        """Handle input when all earlier input is handled."""
        if not self.inputs.admit(event):
            return
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded and is_small(self.size):
            key = event.key if isinstance(event, Key) else ""
            if key == "q":
                await self.run_action("app.quit")
            if key not in _WHEN_SMALL:
                return
        if isinstance(event, Key) and not event.is_forwarded and self._repeats(event):
            return
        await super().on_event(event)

    def _repeats(self, event: Key) -> bool:
        """Return whether a key repeats the one that has just closed a dialog: it is not for the screen below."""
        before, self._last = self._last, (event, self.screen)
        if before is None:
            return False
        if isinstance(self.screen, Confirming):  # it has its own rules
            self.screen.follow(event, before[0])
            return False
        key, screen = before
        closed = isinstance(screen, Confirming) and screen not in self.screen_stack
        if not closed or event.key != key.key or event.key == "escape" or event.time - key.time > _TWICE:
            return False
        self._last = (event, screen)
        return True

    def on_resize(self, event: Resize) -> None:
        """Cover or uncover all open screens."""
        for screen in self.screen_stack:
            self._fit(screen, event)

    def _fit(self, screen: Screen[object], event: Resize | None = None) -> None:
        size = event.size if event else self.size
        small = is_small(size)
        screen.set_class(small, "-small")
        if notices := screen.query(TooSmall):
            notices.first().fit(size)
        elif small and screen.is_attached:
            screen.mount(TooSmall(size))

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Notify a window that it was painted; textual's own hooks may run before that."""
        super()._display(screen, renderable)
        shown = renderable is not None and not self._batch_count and not is_small(self.size)
        if shown and isinstance(screen, Confirming):
            screen.displayed()
