"""Drops keys that were typed for a dialog that did not open: none of them may run a command."""

from textual.events import Key

PAUSE = 0.5
"""Seconds of pause that end what was typed for the dialog."""


class LostKeys:
    """Drops the keys after one whose dialog does not open, until a pause, Enter or a key that types no text.

    The time when a key was typed counts, not when it is handled. Keys that open a field end it too: then the user types
    text.
    """

    def __init__(self) -> None:
        self._last: float | None = None

    def begin(self, at: float) -> None:
        """Drop the keys that were typed right after `at`, a time of the events' clock."""
        self._last = at

    def take(self, event: Key) -> bool:
        """Return whether to drop a key."""
        text = event.is_printable or event.key in ("enter", "tab", "shift+tab", "backspace")
        taken = text and self._last is not None and event.time - self._last < PAUSE
        self._last = event.time if taken and event.key != "enter" else None
        return taken

    def end(self) -> None:
        """Stop dropping keys: the next ones are meant for something else."""
        self._last = None
