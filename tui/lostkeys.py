"""Keys that were typed for a dialog which did not open: none of them may run as a command."""

from textual.events import Key

PAUSE = 0.5
"""Seconds between two keys after which the second is no longer part of what was typed before."""


class LostKeys:
    """Drops what is typed after a key whose dialog does not open; a pause, Enter or a key that is no text ends that.

    What counts is when each key was typed, not when it is handled. The keys that open a field end it too: what is
    typed then is text.
    """

    def __init__(self) -> None:
        self._last: float | None = None

    def begin(self, at: float) -> None:
        """Drop the keys that were typed right after `at`, by the clock of events."""
        self._last = at

    def take(self, event: Key) -> bool:
        """Return whether a key is one of them, which then does nothing."""
        text = event.is_printable or event.key in ("enter", "tab", "shift+tab", "backspace")
        taken = text and self._last is not None and event.time - self._last < PAUSE
        self._last = event.time if taken and event.key != "enter" else None
        return taken

    def end(self) -> None:
        """Drop no more: what is typed now is meant for something else."""
        self._last = None
