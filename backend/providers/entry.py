"""What the program knows of a provider before it connects to one: its entry in the registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.config import Cloud
    from backend.providers.protocol import Provider, Waiting

Connect = Callable[["Cloud", Callable[[], None], Callable[["Waiting"], None]], "Provider"]
"""Makes a provider for a cloud; its other arguments are the `check` and `waits` of `registry.connect`."""

NOTHING: Mapping[str, str] = MappingProxyType({})


def as_it_is(_kind: str, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an "extra" that holds every field by itself."""
    return extra


@dataclass(frozen=True)
class ProviderEntry:
    """One provider. A cloud of the configuration has one, and everything asks it what its cloud can do."""

    name: str
    """How `provider:` in the configuration names it: "ec2"."""
    title: str
    """How sentences call it: "EC2"."""
    connect: Connect = field(repr=False)
    """Imports what the provider needs; nothing is sent."""
    kinds: frozenset[str] = field(repr=False)
    """Names of the kinds that it has."""
    capabilities: frozenset[str] = field(default=frozenset(), repr=False)
    """What it can do beyond listing its kinds, each as it stands in "cloud x has no …": "termination protection"."""
    ids: str = field(default="(?!)", repr=False)
    """The pattern of a word that can only be an id; the default fits none."""
    states: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    """Its words for the states of a VM that are not EC2's, each with EC2's word for the same state."""
    credentials: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    """The keys of `credentials`, each with the environment variable that serves where the configuration has none."""
    required: tuple[str, ...] = field(default=(), repr=False)
    """The credentials without which nothing is sent."""
    region_variables: tuple[str, ...] = field(default=(), repr=False)
    """The environment variables that name the region, the first one first."""
    zone: str = field(default="(?!)", repr=False)
    """The pattern of a location that is in a region, which is its group `region`; the default fits none."""
    locations: str = field(default="a region", repr=False)
    """What a location is, with an example, as it stands behind "must be"."""
    endpoint_region: str = field(default="", repr=False)
    """The region of an `endpoint` where nothing names another; "": it must be named."""
    owners: tuple[str, ...] = field(default=(), repr=False)
    """The words that `images` takes; none: the provider has no such key."""
    owner_id: str = field(default="(?!)", repr=False)
    """The pattern of an owner that is none of these words."""
    owner_form: str = field(default="", repr=False)
    """What such an owner is, in words: "a 12-digit account id"."""
    flavor: str = field(default="", repr=False)
    """The flavor to boot where nobody names one; "": it must be named."""
    opened: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = field(default=as_it_is, repr=False)
    """Takes apart the "extra" of an object of a kind, where the provider keeps that as the cloud wrote it."""
