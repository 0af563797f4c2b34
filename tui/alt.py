"""Splits Alt and a key into Esc and the key: terminals send the same for both, and no key with Alt is bound here."""

from collections.abc import Callable, Iterator

from textual.events import Event, Key
from textual.keys import _character_to_key

_BY_WORDS = {"alt+b": "ctrl+left", "alt+f": "ctrl+right"}
"""What some terminals send for Alt and an arrow, and the key that moves by a word in a field."""


def apart(event: Event, in_field: Callable[[], bool]) -> Iterator[Event]:
    """Yield the two keys that a key with Alt stands for, with the same time; yield any other event unchanged.

    A terminal with the kitty protocol distinguishes Alt from Esc: its keys with Alt have no character and stay one key.
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
