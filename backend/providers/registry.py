"""PROVIDERS: one entry for each provider. Adding one is a package and a line here."""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.providers.ec2.entry import EC2
from backend.providers.entry import ProviderEntry
from backend.providers.protocol import Provider, Waiting

if TYPE_CHECKING:
    from backend.config import Cloud

PROVIDERS: Mapping[str, ProviderEntry] = MappingProxyType({entry.name: entry for entry in (EC2,)})
"""By name; the first is the default for a cloud that names no provider."""

DEFAULT = next(iter(PROVIDERS.values()))

_ID = re.compile("|".join(f"(?:{entry.ids})" for entry in PROVIDERS.values()))
_STATES = {word: state for entry in PROVIDERS.values() for word, state in entry.states.items()}


def is_id(word: str) -> bool:
    """Return whether a word can only be an id, never a name."""
    return _ID.fullmatch(word) is not None


def meaning(state: str) -> str:
    """Return EC2's name for a VM state, which the lifecycle uses; an unknown name unchanged."""
    return _STATES.get(state, state)


def names_of(states: Iterable[str]) -> frozenset[str]:
    """Return these VM states, which have EC2's names, and all other names for them."""
    wanted = frozenset(states)
    return wanted | {word for word, state in _STATES.items() if state in wanted}


def connect(
    cloud: "Cloud", check: Callable[[], None] = ignore, on_wait: Callable[[Waiting], None] = ignore
) -> Provider:
    """Return a provider for `cloud`, for one thread at a time; nothing is sent.

    `check` is called during every wait and may end it by raising; `on_wait` is called when a request waits to be sent
    again.
    """
    return cloud.provider.connect(cloud, check, on_wait)
