"""KINDS: every kind of resource, collected from the rooms in backend/kinds.

Tabs, collections, commands and exports are generated from it.
"""

from collections.abc import Iterator
from importlib import import_module
from math import inf
from pkgutil import walk_packages
from types import ModuleType

from backend import kinds
from backend.commands.model import Command
from backend.kinds.model import Kind
from backend.names import nearest


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Yield each module of each room with the name of its room; the kind has the same name."""
    for found in walk_packages(kinds.__path__, f"{kinds.__name__}."):
        room = found.name.split(".")[2]
        if room != "model":
            yield room, import_module(found.name)


_ROOMS = tuple(_modules())


def _kind(room: str) -> Kind:
    """Return the kind of a room. Raises LookupError if the room has no kind of its own name."""
    values = (value for name, module in _ROOMS if name == room for value in vars(module).values())
    for value in values:
        if isinstance(value, Kind) and value.name == room:
            return value
    raise LookupError(f"{kinds.__name__}.{room} has no Kind whose name is {room!r}")


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in sorted({_kind(room) for room, _ in _ROOMS}, key=lambda kind: (kind.tab or inf, kind.name))
}
"""By name, in the order of their tabs; then the kinds without a number key."""


def commands_of(kind: Kind) -> tuple[Command, ...]:
    """Return the commands that only this kind has."""
    return tuple(one for room, module in _ROOMS if room == kind.name for one in getattr(module, "COMMANDS", ()))


_BY_WORD = {word: kind for kind in KINDS.values() for word in (kind.name, kind.plural, *kind.aliases)}


def kind_named(word: str) -> Kind:
    """Return the kind that `word` names (singular, plural or alias).

    Raises UsageError, which names the nearest match, if there is no such kind.
    """
    kind = _BY_WORD.get(word.lower())
    if kind is None:
        raise nearest(word, _BY_WORD, what="kind", known=KINDS)
    return kind
