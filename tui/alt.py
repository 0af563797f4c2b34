"""Takes Alt and a key for Esc and then the key: terminals send the same for both, and Alt means nothing here."""

from collections.abc import Iterator

from textual.events import Event, Key
from textual.keys import _character_to_key


def apart(event: Event) -> Iterator[Event]:
    """Yield the two keys that a key with Alt may be, typed at the same time; any other event as it is.

    Where a terminal tells Alt from Esc, by the kitty protocol, such a key has no character, and stays as it is.
    """
    if not isinstance(event, Key) or not event.key.startswith("alt+") or not event.character:
        yield event
        return
    char = event.character
    for key in (Key("escape", "\x1b"), Key(char if char.isalnum() else _character_to_key(char), char)):
        key.time = event.time
        yield key
