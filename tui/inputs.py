"""Keeps keys, clicks and pastes in the order in which they were made, however fast they come."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic

from textual.app import App, ScreenStackError
from textual.errors import NoWidget
from textual.events import Event, InputEvent, Key, MouseEvent, Paste
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widgets import Input

Opening = Callable[[], float | None]
"""Returns when the job started that opens a window at its end; None if there is none."""

_OPENS_WITHIN = 1.0
"""At most N seconds input waits for a window that is about to open."""

_EAGER = 0.05
"""Seconds for which every turn of the event loop checks whether the last event is handled."""

_PAUSE = 0.002
"""Seconds between checks after that."""


class Inputs:
    """Holds each event until the one before it is handled completely.

    textual hands a key to the widget that has the focus when the key *arrives*. In a burst (a slow ssh, a paste, a
    macro) the keys after Enter would reach the field that Enter closes, and the dialog that a key opens would miss the
    next ones. All methods run on the event loop.
    """

    def __init__(self, app: App[int], opening: Opening) -> None:
        self._app = app
        self._opening = opening
        self._waiting: deque[Event] = deque()
        self._released: Event | None = None
        self._releasing: asyncio.Task[None] | None = None
        self._path: set[MessagePump] = set()
        """The widgets that the last event reaches."""
        self._field: Input | None = None
        """The field that got the last key as text."""

    @property
    def idle(self) -> bool:
        """Whether all events are handled."""
        return not (self._waiting or self._released or self._releasing)

    def admit(self, event: Event) -> bool:
        """Return whether an event is handled now; if not, it is posted again when its turn comes."""
        if not isinstance(event, (InputEvent, Paste)) or event.is_forwarded:
            return True
        if event is self._released:
            self._released = None
        elif not (self.idle or (not self._waiting and (self._is_text(event) or self._done(inside=True)))):
            self._waiting.append(event)
            return False
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release_next())
        self._field = self._target_of_text(event)
        self._path = self._path_of(event)
        return True

    def close(self) -> None:
        """Drop the events that wait."""
        self._waiting.clear()
        if self._releasing:
            self._releasing.cancel()

    def _is_text(self, event: Event) -> bool:
        """Return whether an event is one more letter for the same field: no letter moves the focus, so none waits."""
        return self._field is not None and self._field is self._target_of_text(event)

    def _target_of_text(self, event: Event) -> Input | None:
        focused = self._app.focused
        return focused if isinstance(focused, Input) and isinstance(event, Key) and event.is_printable else None

    async def _release_next(self) -> None:
        """Wait until the last event is handled, then post the next one."""
        began = monotonic()
        try:
            while not self._done():
                await asyncio.sleep(0 if monotonic() - began < _EAGER else _PAUSE)
        finally:  # input continues even after an error
            self._releasing = None
            if self._waiting:
                self._released = self._waiting.popleft()
                if not self._app.post_message(self._released):
                    self._released = None

    def _path_of(self, event: Event) -> set[MessagePump]:
        """Return the widgets that an event reaches: from its target up to the app."""
        app = self._app
        try:
            target = app.focused or app.screen
            if isinstance(event, MouseEvent):
                target = app.mouse_captured or app.screen.get_widget_at(event.x, event.y)[0]
        except (NoWidget, ScreenStackError):
            return {app}
        return set(target.ancestors_with_self)

    def _done(self, *, inside: bool = False) -> bool:
        """Return whether the last event is handled.

        `inside`: this is called while the app handles the last message of its queue, which does not count.
        """
        app: App[int] = self._app
        if not app.is_running:
            return True
        try:
            screen: Screen[object] = app.screen
        except ScreenStackError:
            return True
        if inside and queued(app):
            return False
        if any(_is_busy(pump) for pump in self._path if not (inside and pump is app)):
            return False
        if any(map(_is_busy, screen.walk_children(with_self=True))):
            return False
        if not screen.is_mounted and not screen._closing:  # its fields are still to come
            return False
        if (began := self._opening()) is not None and monotonic() - began < _OPENS_WITHIN:
            return False
        # textual's palette searches on its own workers: Enter must wait for the results, letters need not.
        following = self._waiting[0] if self._waiting else None
        return not (isinstance(following, Key) and not following.is_printable and any(self._searches()))

    def _searches(self) -> Iterator[bool]:
        return (not worker.is_finished for worker in self._app.workers if worker.node is self._app.screen)


def _is_busy(pump: MessagePump) -> bool:
    """Return whether a widget has a message in its queue or handles one; a closing widget may never handle it."""
    if not pump.is_running or pump._closing or pump._closed:
        return False
    if queued(pump):
        return True
    waiters: object = vars(pump._message_queue.ready_event)["_waiters"]
    return not waiters  # without waiters it handles a message


def queued(pump: MessagePump) -> bool:
    """Return whether a widget has a message to handle; textual keeps the next one outside the queue."""
    return pump.message_queue_size > 0 or pump._pending_message is not None
