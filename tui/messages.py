"""The messages of the app's threads to the event loop."""

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from backend.cache import Change
from backend.commands.model import Parsed


@dataclass
class CacheChanged(Message):
    """The cache has changed, by this process or another."""

    change: Change


@dataclass
class CacheConnection(Message):
    """The cache's server was lost, for the reason given, or is back (None)."""

    lost: str | None


@dataclass
class Reported(Message):
    """A thread reports a sentence for the user; `trouble`: it is an error."""

    text: str
    trouble: bool = False


@dataclass
class Asked(Message):
    """The user has picked a command from the palette."""

    parsed: Parsed


@dataclass
class CodeWanted(Message):
    """A thread needs the code of an MFA device; `answer` takes it, or "" for none."""

    question: str
    answer: Callable[[str], object]
