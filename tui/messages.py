"""What the app's threads tell the event loop."""

from dataclasses import dataclass

from textual.message import Message

from backend.cache import Change
from backend.commands.model import Parsed


@dataclass
class CacheChanged(Message):
    """Somebody, here or elsewhere, wrote to the cache."""

    change: Change


@dataclass
class CacheConnection(Message):
    """The cache's server was lost, for the reason given, or is back (None)."""

    lost: str | None


@dataclass
class Reported(Message):
    """The watcher has a sentence to say."""

    text: str
    trouble: bool = False


@dataclass
class Asked(Message):
    """The user asked for a command, in whatever way."""

    parsed: Parsed
