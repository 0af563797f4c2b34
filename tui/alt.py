"""Takes Alt and a key for Esc and then the key: terminals send the same for both, and Alt means nothing here."""

from collections.abc import Callable, Iterator

from textual.events import Event, Key
from textual.keys import _character_to_key

_BY_WORDS = {"alt+b": "ctrl+left", "alt+f": "ctrl+right"}
"""What some terminals send for Alt and an arrow, which goes from word to word in a field."""


def apart(event: Event, in_field: Callable[[], bool]) -> Iterator[Event]:
    """Yield the two keys that a key with Alt may be, typed at the same time; any other event as it is.

    Where a terminal tells Alt from Esc, by the kitty protocol, such a key has no character, and stays as it is.
    """
    if not isinstance(event, Key) or not event.key.startswith("alt+") or not event.character:
        yield event
        return
    char = event.character
    keys = [Key("escape", "\x1b"), Key(char if char.isalnum() else _character_to_key(char), char)]
    if event.key in _BY_WORDS and in_field():
        keys = [Key(_BY_WORDS[event.key], None)]
    for key in keys:
        key.time = event.time
        yield key
