"""The session of a command: the settings, the chosen clouds and regions, the cache, and how to connect."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.account import Identity
from backend.callbacks import ignore
from backend.config import Cloud, Settings
from backend.errors import ConfigError
from backend.kinds.model import Kind, Scope
from backend.names import closest
from backend.prefetch import prefetch
from backend.providers import registry
from backend.providers.entry import Connect
from backend.providers.protocol import Provider, Waiting

if TYPE_CHECKING:
    from backend.cache import Cache


@dataclass(frozen=True)
class SettingChange:
    """The settings that a command changes at run time; None keeps a setting."""

    scopes: tuple[Scope, ...] | None = None
    """The clouds and regions to show from now on; the first is the home scope."""
    refresh: bool | None = None


@dataclass(frozen=True)
class Session:
    """The chosen clouds and regions, and one cache. Immutable: a changed setting makes a new session."""

    settings: Settings
    cloud: Cloud
    """The cloud of the home scope, with its region as the default location."""
    cache: "Cache"
    home: Path
    """The data directory: private keys and remembered settings."""
    refresh: bool = True
    """Whether listings refresh stale rows; see `refresh on|off`."""
    read_only: bool = False
    """Whether the user forbids changes in all clouds (--read-only)."""
    connector: Connect = registry.connect
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    """The clock for ages."""
    backoff: tuple[float, ...] = (0.5, 2.0, 5.0)
    """Seconds to wait before each further probe, for the outcome of a command whose answer was lost, or for an object
    that was just created and is not listed yet."""
    chosen: tuple[Scope, ...] = ()
    """The scopes, if there are several; see `scopes`."""

    @property
    def scope(self) -> Scope:
        """The home scope: the cloud and region in which a command acts that names no row."""
        return Scope(self.cloud.name, self.cloud.region)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The clouds and regions that tables show, the home scope first."""
        return self.chosen or (self.scope,)

    def scopes_of(self, kind: Kind) -> tuple[Scope, ...]:
        """The scopes in which a kind is listed when its table is shown; tables show the cached rows of all `scopes`.

        A vast kind is listed in the home scope alone: seventeen regions have 1.7 million public images. Those of
        another scope are listed when the user asks for them by name.
        """
        return (self.scope,) if kind.vast else self.scopes

    def among(self, scopes: Sequence[Scope]) -> "Session":
        """Return this session in these scopes, the first as its home. Raises ConfigError as `at` does."""
        home = self.at(scopes[0])
        return replace(home, chosen=tuple(scopes)) if len(scopes) > 1 else home

    def at(self, scope: Scope) -> "Session":
        """Return this session in one cloud and region. Raises ConfigError if no such cloud is configured."""
        if scope == self.scope:
            return replace(self, chosen=()) if self.chosen else self
        cloud = self.cloud if scope.cloud == self.cloud.name else known_cloud(self.settings, scope.cloud)
        if scope.region != cloud.region:
            cloud = replace(cloud, default=replace(cloud.default, location=scope.region))
        return replace(self, cloud=cloud, chosen=())

    @property
    def fetches(self) -> bool:
        """Whether listings refresh stale rows: refresh is on, and the cache can be written to."""
        return self.refresh and self.cache.refusal is None

    @property
    def locked(self) -> bool:
        """Whether changes in the current cloud are refused: by a setting, or because the journal cannot be written."""
        return self.read_only or self.cloud.read_only or self.cache.refusal is not None

    def has(self, what: str) -> bool:
        """Return whether the cloud has a kind or a capability; see ProviderEntry."""
        return what in self.cloud.provider.kinds or what in self.cloud.provider.capabilities

    def connect(self, check: Callable[[], None] = ignore, on_wait: Callable[[Waiting], None] = ignore) -> Provider:
        """Return a new provider for the current cloud, for the calling thread only; read-only if `locked`."""
        return self.connector(replace(self.cloud, read_only=self.locked), check, on_wait)

    def identity(self, check: Callable[[], None] = ignore) -> Identity | None:
        """Return who the keys of the current cloud make you; None if that is unknown. `check` may end the wait."""
        with closing(prefetch((self.cloud.provider.identity(self.cloud) for _ in range(1)), check)) as found:
            return next(found)

    def details(self, kind: Kind, native: str) -> dict[str, Any] | None:
        """Return everything that the cache has about one object, for people to read; None if it is not there."""
        document = self.cache.rows.document(kind, self.scope, native)
        if document is None:
            return None
        shown = {name: value for name, value in document.items() if name not in _OURS}
        for column in kind.columns:  # rename fields to the names of their columns
            if column.field in shown:
                shown[column.name] = shown.pop(column.field)
        extra = self.cloud.provider.opened(kind.name, document["extra"])
        if "tags" in shown:  # earlier versions have them in `extra` alone, so a document has both
            extra = {name: value for name, value in extra.items() if name != "tags"}
        shown.pop("extra", None)
        return shown | {"extra": extra}  # last: it is long, and what was asked of the cloud since is not

    def changed(self, change: SettingChange) -> "Session":
        """Return this session with the changed settings."""
        session = self if change.scopes is None else self.among(change.scopes)
        return session if change.refresh is None else replace(session, refresh=change.refresh)


_OURS = frozenset({"_id", "hash", "made", "unlisted"})
"""Fields of a document that do not describe its object."""


def known_cloud(settings: Settings, name: str) -> Cloud:
    """Return the configured cloud with that name; raise ConfigError if there is none, with the nearest match."""
    if name not in settings.clouds:
        match = closest(name, settings.clouds)
        cure = f"Did you mean {match!r}?" if match else f"Configured: {', '.join(settings.clouds)}."
        raise ConfigError(f"There is no cloud {name!r} in the configuration.", cure)
    return settings.clouds[name]


def cloud_named(settings: Settings, name: str) -> Cloud:
    """Return the configured cloud with that name.

    Raises ConfigError if there is none, with the nearest match, and if it has no region.
    """
    cloud = known_cloud(settings, name)
    if not cloud.region:
        variables = cloud.provider.region_variables
        said = f"neither its default.location nor {' or '.join(variables)} names one"
        cure = f"Write default.location of cloud {name} in cloudmesh.yaml"
        if cloud.account is not None:
            said = f"neither {', '.join(variables)} nor its profile names one"
            if settings.path is None:
                cure = f"Run aws configure set region REGION --profile {cloud.account.profile or 'default'}"
        raise ConfigError(
            f"Cloud {name} has no region: {said if variables else 'its default.location names none'}.",
            f"{cure}{f', or set {variables[0]}' if variables else ''}.",
        )
    return cloud
