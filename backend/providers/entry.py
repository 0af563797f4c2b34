"""The entry of a provider in the registry: what the program knows about it before it connects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from backend.account import Account, Identity, Profiles
    from backend.config import Cloud
    from backend.errors import LoginNeededError
    from backend.providers.protocol import Provider, Waiting
    from backend.secret import Secret

Connect = Callable[["Cloud", Callable[[], None], Callable[["Waiting"], None]], "Provider"]
"""Creates a provider for a cloud; the other arguments are `check` and `on_wait` of `registry.connect`."""


def as_it_is(_kind: str, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an "extra" unchanged: its fields are already separate."""
    return extra


def nobody(_cloud: "Cloud") -> None:
    """Return that it is not known who the keys of a cloud make you."""
    return


def of_the_configuration(cloud: "Cloud") -> "Mapping[str, Secret]":
    """Return the credentials that the configuration has."""
    return cloud.credentials


class Renew(Protocol):
    """Has other keys fetched for the next request: these have `expired`, else the cloud does not accept them."""

    def __call__(self, account: "Account", *, expired: bool) -> None: ...


@dataclass(frozen=True)
class Accounts:
    """How a provider finds keys that are not in the configuration. `region`, `again` and `login` block."""

    profiles: "Callable[[Mapping[str, str]], Profiles]"
    """Returns the accounts that the provider's own tools know, by an environment. Raises ConfigError."""
    region: "Callable[[Account], str]"
    """Returns the region that goes with an account, or ""."""
    renew: "Renew"
    again: Callable[[], None]
    """Looks again for the keys that were not found: the user has logged in, or is ready to give a code."""
    logins: "Callable[[], Mapping[Account | None, LoginNeededError]]"
    """Returns the logins that are needed, by account, without looking for keys."""
    login: "Callable[[tuple[str, ...], Callable[[str], object], Callable[[], None]], None]"
    """Does what a command of LoginNeededError does, where it is not installed.

    The second argument reports what the user must do, the third may end the wait by raising. Raises CloudmeshError.
    """


@dataclass(frozen=True)
class ProviderEntry:
    """One provider. Each cloud of the configuration has one; it says what the cloud can do."""

    name: str
    """Its name for `provider:` in the configuration: "ec2"."""
    title: str
    """Its name in sentences: "EC2"."""
    connect: Connect = field(repr=False)
    """Imports what the provider needs, and sends nothing."""
    kinds: frozenset[str] = field(repr=False)
    """The names of its kinds."""
    capabilities: frozenset[str] = field(default=frozenset(), repr=False)
    """What it can do beyond listing its kinds, each worded to follow "cloud x has no …": "termination protection"."""
    ids: str = field(default="(?!)", repr=False)
    """The pattern of a word that can only be an id; the default matches nothing."""
    states: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its names for VM states that differ from EC2's, each with EC2's name for the state."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The keys of `credentials`, each with the environment variable to use if the configuration has none."""
    required: tuple[str, ...] = field(default=(), repr=False)
    """The credentials that every request needs."""
    accounts: Accounts | None = field(default=None, repr=False)
    """How it finds keys for a cloud that has none in the configuration; None: it does not."""
    keys_of: "Callable[[Cloud], Mapping[str, Secret]]" = field(default=of_the_configuration, repr=False)
    """Returns the keys for one request, by the names of `credentials`. Blocks while they are fetched.

    Raises CredentialsError, and CloudError if what gives them cannot be reached.
    """
    identity: "Callable[[Cloud], Identity | None]" = field(default=nobody, repr=False)
    """Returns who the keys of a cloud make you; None if that cannot be found out. The first call blocks."""
    region_variables: tuple[str, ...] = field(default=(), repr=False)
    """The environment variables that name the region, in order of precedence."""
    zone: str = field(default="(?!)", repr=False)
    """The pattern of a location within a region, with the group `region`; the default matches nothing."""
    locations: str = field(default="a region", repr=False)
    """What a location is, with an example, worded to follow "must be"."""
    endpoint_region: str = field(default="", repr=False)
    """The default region of a cloud with an `endpoint`; "" if there is none."""
    owners: tuple[str, ...] = field(default=(), repr=False)
    """The words that `images` accepts; empty if the provider has no such key."""
    owner_id: str = field(default="(?!)", repr=False)
    """The pattern of any other owner."""
    owner_form: str = field(default="", repr=False)
    """What such an owner is, in words: "a 12-digit account id"."""
    flavor: str = field(default="", repr=False)
    """The default flavor to boot; "" if there is none."""
    devices: tuple[str, ...] = field(default=(), repr=False)
    """The devices of a VM for data volumes, in the order of use; empty if the cloud chooses one."""
    opened: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = field(default=as_it_is, repr=False)
    """Parses the "extra" of an object of a kind, if the provider stores it as the cloud wrote it."""
