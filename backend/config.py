"""Reads cloudmesh.yaml into Settings. Refuses what it does not understand, with file, key and nearest match."""

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backend import plainyaml
from backend.account import Account, Role
from backend.cleartext import in_clear
from backend.errors import ConfigError, UsageError
from backend.folders import is_trusted
from backend.kinds.model import Kind
from backend.names import closest
from backend.providers.entry import ProviderEntry
from backend.providers.registry import DEFAULT, PROVIDERS
from backend.redact import KEY_VARIABLES
from backend.secret import Secret
from backend.text import safe

NAME = "cloudmesh.yaml"


@dataclass(frozen=True)
class Defaults:
    """The values that `vm boot` and `volume create` use when the command does not give them."""

    location: str | None = None
    """A region or a zone; "" if nothing names one, None for the default region of the provider's endpoints."""
    image: str | None = None
    size: str | None = None
    keypair: str | None = None


PRODUCTION = ("env=prod*", "environment=prod*", "stage=prod*")
"""The tags that mark production, if the configuration does not set them."""


EVERY = "all"
"""The word for every cloud, or every region that is enabled."""

ALL_REGIONS = (EVERY,)


@dataclass(frozen=True)
class Cloud:
    """A named account, with its default region."""

    name: str
    provider: ProviderEntry = DEFAULT
    endpoint: str | None = None
    """A URL instead of the provider's own, for moto, LocalStack or Eucalyptus."""
    images: tuple[str, ...] = ()
    """The owners of the images to list, in the provider's words; empty: the provider's choice."""
    credentials: Mapping[str, Secret] = field(default_factory=dict)
    """The keys that the configuration has, by the provider's names for them; empty if there is an `account`."""
    default: Defaults = field(default_factory=Defaults)
    account: Account | None = None
    """Where the keys come from if they are not `credentials`."""
    read_only: bool = False
    """Its provider refuses every change."""
    direct: bool = False
    """It runs in this process: do not use the environment's proxies."""
    regions: tuple[str, ...] = ()
    """The regions that are shown of it; () is that of the default location, ALL_REGIONS all that are enabled."""

    @property
    def location(self) -> str:
        """The default location: a region or a zone; "" if there is none."""
        return self.provider.endpoint_region if self.default.location is None else self.default.location

    @property
    def region(self) -> str:
        """The region of the default location; "" if there is none."""
        match = re.fullmatch(self.provider.zone, self.location)
        return match["region"] if match else self.location

    @property
    def flavor(self) -> str:
        """The flavor to boot if the user names none; "" if the provider has no default."""
        return self.default.size or self.provider.flavor


@dataclass(frozen=True)
class Poll:
    """Seconds between polls of the cloud, and until a poll gives up."""

    in_flight: float = 2.0
    settled: float = 30.0
    give_up: float = 600.0


@dataclass(frozen=True)
class MongoDB:
    """Where the cache lives: `uri` is embedded, memory or a mongodb:// address (a secret: it may hold a password)."""

    uri: Secret = field(default_factory=lambda: Secret("embedded"))
    database: str = "cloudmesh"


@dataclass(frozen=True)
class Settings:
    """The whole configuration."""

    clouds: dict[str, Cloud]
    cloud: str
    """The clouds that are shown at first: a name, several joined by commas, or `all`; see backend.scopes."""
    path: Path | None = None
    refresh: bool = True
    poll: Poll = field(default_factory=Poll)
    max_age: Mapping[str, float] = field(default_factory=dict)
    """Seconds after which a listing is stale, by kind name, for kinds that do not use their own default."""
    mongodb: MongoDB = field(default_factory=MongoDB)
    read_only: bool = False
    """Whether every cloud is read-only, also one that is added later."""
    looked_at: tuple[str, ...] = ()
    """Without a configuration: what was looked at to find the accounts, a sentence each."""
    found: bool = True
    """Without a configuration: whether an account was found; if not, this computer may still be an instance."""
    production: tuple[str, ...] = PRODUCTION
    """Tags, as TAG=VALUE with * and ?, of objects whose deletion requires typing their name."""
    warnings: tuple[str, ...] = ()

    def max_age_of(self, kind: Kind) -> float:
        """Return the seconds after which a listing of `kind` is stale."""
        return self.max_age.get(kind.name, kind.max_age)


# --- finding and reading ---------------------------------------------------------------------------------------------


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's data directory: $CLOUDMESH_HOME, else ~/.cloudmesh.

    Raises ConfigError if it exists and belongs to another user.
    """
    path = expanded(environ.get("CLOUDMESH_HOME") or "~/.cloudmesh")
    with suppress(OSError):  # it does not exist; a failure to create it is reported there
        if not is_trusted(path.stat()):
            raise ConfigError(
                f"The data directory {path} belongs to another user, who may change its files.",
                "Set CLOUDMESH_HOME to a folder of yours, or run without sudo.",
            )
    return path


def expanded(name: str) -> Path:
    """Return the absolute path of `name`; a leading ~ is expanded if it names a user.

    A relative path would change its meaning with the current folder. Raises UsageError if `name` is relative and the
    current folder no longer exists.
    """
    path = Path(os.path.expanduser(name))  # Path.expanduser raises RuntimeError for an unknown user
    try:
        return path.absolute()
    except FileNotFoundError:
        raise UsageError(
            f"{safe(name)} names no file: the current folder no longer exists.", "Give the full path, or cd elsewhere."
        ) from None


def find(option: str | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration file: `--config`, $CLOUDMESH_CONFIG, ./cloudmesh.yaml, then the data directory's.

    Return None if none of these files exists. Raises ConfigError if one is named and missing.
    """
    for named, where in ((option, "--config"), (environ.get("CLOUDMESH_CONFIG"), "$CLOUDMESH_CONFIG")):
        if named:
            path = expanded(named)
            if not path.is_file():
                raise ConfigError(f"The configuration {path} that {where} names does not exist.", _NO_CONFIG_CURE)
            return path
    here, own = Path(NAME), home(environ) / NAME
    if here.is_file():
        _check_ours(here)
        return here.absolute()
    return own if own.is_file() else None


def _check_ours(path: Path) -> None:
    """Raise ConfigError if others can write a file that the user did not name: it says where keys are sent."""
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"./{NAME} is not used: others {'own' if found.st_uid not in (os.geteuid(), 0) else 'may change'} it, and "
            "it says where your keys are sent.",
            f"To use it nevertheless, name it: --config ./{NAME}.",
        )


_EXAMPLES = (Path(__file__).parents[1] / f"{NAME}.example", Path(__file__).with_name(f"{NAME}.example"))
"""In the source tree, and as installed by the wheel."""

_NO_CONFIG_CURE = (
    "To look around without an account: cloudmesh-tui --demo. To use yours: "
    f"cp {next((path for path in _EXAMPLES if path.is_file()), _EXAMPLES[0])} {NAME}, and put your keys into it."
)


def load(
    path: Path,
    kinds: Iterable[str],
    environ: Mapping[str, str] = os.environ,
    providers: Mapping[str, ProviderEntry] = PROVIDERS,
) -> Settings:
    """Read `path` into Settings. It may set values for the kinds named `kinds` and define clouds of `providers`.

    Raises ConfigError, with the file and the key path, if the file cannot be read, is not YAML, has an unknown key or a
    value of the wrong type, or names a cloud that it does not define.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read()
            found = os.fstat(file.fileno())
        above = path.resolve().parent.stat()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"The configuration {path} cannot be read: {reason}.") from None
    try:
        document = plainyaml.load(text)
    except plainyaml.NotYAMLError as error:
        raise ConfigError(f"The configuration {path} is not valid YAML in {error}.", "Correct that line.") from None
    reader = _Reader(path, kinds, environ, providers)
    return reader.settings(document, tuple(_exposed(path, found, above)))


def _exposed(path: Path, found: os.stat_result, above: os.stat_result) -> Iterator[str]:
    """Yield a warning if others may read or change a configuration; `above` is the status of its folder."""
    if found.st_uid not in (os.geteuid(), 0):
        yield f"{path} belongs to another user, who may change it. Replace it by a copy of your own."
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield f"{path} holds keys and others may read it. Run: chmod 600 {shlex.quote(str(path))}"
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        yield f"{path} is in a folder in which everybody may replace it. Move it to another folder."


def region_of(provider: ProviderEntry, account: Account | None, environ: Mapping[str, str]) -> str:
    """Return the region that the environment names, else that of the account's profile, or "".

    Raises ConfigError if the environment names none that can be one, or the profiles cannot be read.
    """
    for name in provider.region_variables:
        region = environ.get(name, "").strip()
        if not region:
            continue
        if not re.fullmatch(NAMES, region):
            raise ConfigError(f"{name} in the environment is {safe(region)!r}, not a region.", f"Correct {name}.")
        return region
    if account is None or provider.accounts is None:
        return ""
    known = provider.accounts.profiles(environ)
    region = known.regions.get(account.profile or known.chosen or "", "")
    return region if re.fullmatch(NAMES, region) else ""


# --- the document ----------------------------------------------------------------------------------------------------


class _Reader:
    """Turns one parsed document into Settings; every error names the file and the key path."""

    def __init__(
        self, path: Path, kinds: Iterable[str], environ: Mapping[str, str], providers: Mapping[str, ProviderEntry]
    ) -> None:
        self._path = path
        self._kinds = tuple(kinds)
        self._environ = environ
        self._providers = providers

    def settings(self, document: Any, warnings: tuple[str, ...]) -> Settings:
        top = self._section(document, "", {"cloudmesh": self._as_is})
        root = self._section(
            top.get("cloudmesh"),
            "cloudmesh",
            {
                "default": self._as_is,
                "refresh": self._switch,
                "read_only": self._switch,
                "production": self._tags,
                "poll": self._as_is,
                "max_age": self._as_is,
                "mongodb": self._as_is,
                "clouds": self._as_is,
            },
        )
        clouds = self._clouds(root.get("clouds"))
        if root.get("read_only", False):
            clouds = {name: replace(cloud, read_only=True) for name, cloud in clouds.items()}
        default = self._section(root.get("default"), "cloudmesh.default", {"cloud": self._text})
        current = default.get("cloud") or next(iter(clouds))
        for name in map(str.strip, current.split(",")):
            if name.partition("/")[0] not in (*clouds, EVERY):
                raise self._error("cloudmesh.default.cloud", f"names the cloud {name!r}", clouds, name)
        seconds = dict.fromkeys(self._kinds, self._seconds)
        ages = self._section(root.get("max_age"), "cloudmesh.max_age", seconds)
        poll = dict.fromkeys(("in_flight", "settled", "give_up"), self._seconds)
        keys = {"uri": self._mongodb_uri, "database": self._database}
        mongodb = MongoDB(**self._section(root.get("mongodb"), "cloudmesh.mongodb", keys))
        endpoints = {name: cloud.endpoint or "" for name, cloud in clouds.items()}
        return Settings(
            clouds=clouds,
            cloud=current,
            path=self._path,
            refresh=root.get("refresh", True),
            poll=Poll(**self._section(root.get("poll"), "cloudmesh.poll", poll)),
            max_age=ages,
            read_only=root.get("read_only", False),
            production=root.get("production", PRODUCTION),
            mongodb=mongodb,
            warnings=(*warnings, *in_clear(endpoints, mongodb.uri.reveal())),
        )

    def _clouds(self, value: Any) -> dict[str, Cloud]:
        where = "cloudmesh.clouds"
        if not isinstance(value, dict) or not value:
            raise self._wrong(where, "must name at least one cloud", "See cloudmesh.yaml.example.")
        return {self._cloud_name(name): self._cloud(str(name), entry) for name, entry in value.items()}

    def _cloud(self, name: str, value: Any) -> Cloud:
        where = f"cloudmesh.clouds.{name}"
        provider = self._provider(value, where)
        owners = {"images": partial(self._owners, provider)} if provider.owners else {}
        accounts = {"profile": self._text, "role": self._role} if provider.accounts else {}
        found = self._section(
            value,
            where,
            {
                "provider": self._as_is,
                "endpoint": self._endpoint,
                **owners,
                "read_only": self._switch,
                "regions": partial(self._regions, provider),
                "credentials": self._as_is,
                **accounts,
                "default": self._as_is,
            },
        )
        keys = self._section(
            found.pop("credentials", None), f"{where}.credentials", dict.fromkeys(provider.credentials, self._text)
        )
        account = self._account(provider, found.pop("profile", None), found.pop("role", None), where)
        if keys and account not in (None, Account()):
            raise self._wrong(where, "has credentials and a profile or a role", "Leave out one of them.")
        if keys or provider.accounts is not None:
            sources: Mapping[str, str | None] = keys
        else:  # only as a set: never mix one account's key with another account's secret
            sources = {key: self._environ.get(variable) for key, variable in provider.credentials.items()}
        default = self._section(
            found.pop("default", None),
            f"{where}.default",
            {
                "location": partial(self._location, provider),
                **dict.fromkeys(("image", "size", "keypair"), self._text),
            },
        )
        account = None if keys else account
        regions = found.get("regions", ())
        location = default.pop("location", None)
        if not location and regions and regions != ALL_REGIONS:
            location = regions[0]
        location = location or region_of(provider, account, self._environ)
        return Cloud(
            **found
            | {
                "name": name,
                "provider": provider,
                "account": account,
                "credentials": {key: Secret(said) for key, said in sources.items() if said},
                "default": Defaults(location=location or (None if "endpoint" in found else ""), **default),
            }
        )

    def _provider(self, value: Any, where: str) -> ProviderEntry:
        """Return the provider of a cloud. It is read first, because the other keys depend on it."""
        where = f"{where}.provider"
        name = self._expand(value.get("provider"), where) if isinstance(value, dict) else None
        if name in (None, ""):
            return next(iter(self._providers.values()))
        entry = self._providers.get(self._text(name, where))
        if entry is None:
            raise self._error(where, f"names the unknown provider {name!r}", self._providers, name)
        return entry

    def _account(self, provider: ProviderEntry, profile: str | None, role: Role | None, where: str) -> Account | None:
        """Return where the keys of a cloud come from that has none in the configuration."""
        if provider.accounts is None:
            return None
        if profile is not None:
            known = provider.accounts.profiles(self._environ)
            if profile not in known.regions:
                raise self._error(f"{where}.profile", f"names the unknown profile {profile!r}", known.regions, profile)
        return Account(profile, role)

    # One method for each type: it takes a value and its key path and returns the value for Settings.

    def _section(self, value: Any, where: str, known: Mapping[str, Callable[[Any, str], Any]]) -> dict[str, Any]:
        """Check a mapping against its `known` keys; empty values count as absent."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(
                where or "the document", f"must be a mapping of {', '.join(known)}, not {_kind_of(value)}"
            )
        result = {}
        for key, entry in value.items():
            path = f"{where}.{key}" if where else str(key)
            if key not in known:
                raise self._error(path, "is not a known key", known, str(key))
            value = self._expand(entry, path)
            if value not in (None, ""):
                result[key] = known[key](value, path)
        return result

    def _expand(self, value: Any, where: str) -> Any:
        """Return a text, or a list of texts, with ${NAME} replaced by the value from the environment."""

        def found(match: re.Match[str]) -> str:
            name = match[1]
            if name in KEY_VARIABLES and ".credentials." not in where:
                raise self._wrong(where, f"uses ${{{name}}}, which is a key", "Write keys only under credentials.")
            if name not in self._environ:
                raise self._wrong(where, f"uses ${{{name}}}, which the environment does not have", f"Set {name}.")
            return self._environ[name]

        if isinstance(value, list):
            return [self._expand(entry, where) for entry in value]
        return re.sub(r"\$\{(\w+)\}", found, value) if isinstance(value, str) else value

    def _as_is(self, value: Any, where: str) -> Any:  # noqa: ARG002
        return value

    def _text(self, value: Any, where: str) -> str:
        if isinstance(value, str):
            return value
        raise self._wrong(where, f"must be text, not {_kind_of(value)}")

    def _switch(self, value: Any, where: str) -> bool:
        word = self._text(value, where).lower()
        if word not in _SWITCH:
            raise self._wrong(where, f"must be on or off, not {word!r}")
        return _SWITCH[word]

    def _seconds(self, value: Any, where: str) -> float:
        text = self._text(value, where)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0
        if not 0 < seconds <= _LONGEST:  # false for nan too
            raise self._wrong(where, f"must be a number of seconds above 0 and at most {_LONGEST}, not {text!r}")
        return seconds

    def _location(self, provider: ProviderEntry, value: Any, where: str) -> str:
        text = self._text(value, where)
        if not re.fullmatch(NAMES, text):
            raise self._wrong(where, f"must be {provider.locations}")
        return text

    def _role(self, value: Any, where: str) -> Role:
        """Return a role: its ARN alone, or with an external id and a session name."""
        if isinstance(value, str):
            value = {"arn": value}
        found = self._section(value, where, dict.fromkeys(("arn", "external_id", "session_name"), self._text))
        if not re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+", found.get("arn", "")):
            raise self._wrong(f"{where}.arn", "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME")
        return Role(**found)

    def _texts(self, value: Any, where: str) -> tuple[str, ...]:
        """Return a list of texts; a text may have several, joined by commas."""
        entries = value if isinstance(value, list) else self._text(value, where).split(",")
        return tuple(self._text(entry, where).strip() for entry in entries)

    def _regions(self, provider: ProviderEntry, value: Any, where: str) -> tuple[str, ...]:
        names = self._texts(value, where)
        if EVERY in names and names != ALL_REGIONS:
            raise self._wrong(where, "names `all` and other regions", "Name `all` alone, or leave it out.")
        if names == ALL_REGIONS and "regions" not in provider.capabilities:
            raise self._wrong(where, f"must name its regions: {provider.title} does not list them")
        return tuple(self._location(provider, name, where) for name in dict.fromkeys(names))

    def _owners(self, provider: ProviderEntry, value: Any, where: str) -> tuple[str, ...]:
        known = (*provider.owners, provider.owner_form)
        owners = tuple(self._text(entry, where) for entry in (value if isinstance(value, list) else [value]))
        if not owners:
            raise self._wrong(where, "must name at least one owner", f"Known: {', '.join(known)}.")
        for owner in owners:
            if owner not in provider.owners and not re.fullmatch(provider.owner_id, owner):
                raise self._error(where, f"has the unknown owner {owner!r}", known, owner)
        if "all" in owners and len(owners) > 1:
            raise self._wrong(where, "names `all` and other owners", "Name `all` alone, or leave it out.")
        return owners

    def _tags(self, value: Any, where: str) -> tuple[str, ...]:
        rules = tuple(self._text(entry, where) for entry in (value if isinstance(value, list) else [value]))
        for rule in rules:
            if not rule.partition("=")[0].strip() or "=" not in rule:
                raise self._wrong(where, f"has the rule {rule!r}", "Write each as TAG=VALUE, such as env=prod*.")
        return rules

    def _endpoint(self, value: Any, where: str) -> str:
        text = self._text(value, where)
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        except ValueError:
            good = False
        if not good:
            raise self._wrong(where, "must be a URL such as http://127.0.0.1:5000")
        if "@" in text:  # errors and logs show the URL, and requests never use a password
            raise self._wrong(where, "must be a URL without user and password", "Write keys under credentials.")
        return text

    def _mongodb_uri(self, value: Any, where: str) -> Secret:
        text = self._text(value, where)
        if text not in ("embedded", "memory") and not text.startswith(("mongodb://", "mongodb+srv://")):
            raise self._wrong(where, "must be embedded, memory, mongodb://… or mongodb+srv://…")
        return Secret(text)

    def _database(self, value: Any, where: str) -> str:
        text = self._text(value, where)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,38}", text):
            raise self._wrong(where, "must be 1 to 38 letters, digits, - or _")
        return text

    def _cloud_name(self, name: Any) -> str:
        if not isinstance(name, str) or not re.fullmatch(NAMES, name):
            raise self._wrong(
                "cloudmesh.clouds",
                f"has the cloud name {name!r}; letters, digits, . - _ are allowed, a letter or a digit first",
            )
        if name == EVERY:
            raise self._wrong("cloudmesh.clouds", "has a cloud called `all`, which means every cloud", "Rename it.")
        return name

    def _error(self, where: str, what: str, known: Any, word: str) -> ConfigError:
        match = closest(word, known)
        cure = f"Did you mean {match!r}?" if match else f"Known: {', '.join(known)}."
        return self._wrong(where, what, cure)

    def _wrong(self, where: str, what: str, cure: str = "") -> ConfigError:
        return ConfigError(f"{self._path}: {safe(where)} {safe(what)}.", cure)


NAMES = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""The pattern of cloud and region names: both become folder names, and the region a part of a host name."""

_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}

_LONGEST = 1_000_000_000
"""The most seconds that a timer accepts."""


def _kind_of(value: Any) -> str:
    names = {type(None): "nothing", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)
