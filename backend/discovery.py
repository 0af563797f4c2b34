"""Settings without cloudmesh.yaml: a cloud for each account that the AWS tools know on this computer."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from backend import config
from backend.account import Account
from backend.config import EVERY, Cloud, Defaults, Settings, region_of
from backend.errors import ConfigError, NoAccountError
from backend.names import closest
from backend.providers.entry import ProviderEntry
from backend.providers.registry import DEFAULT

_OWN = "aws"
"""The name of the cloud whose keys come from the environment or from this instance."""


def discovered(environ: Mapping[str, str] = os.environ, provider: ProviderEntry = DEFAULT) -> Settings:
    """Return the settings for the accounts on this computer: a cloud for each profile, with its name.

    The current one is the one that `aws` would use. Raises ConfigError for files that cannot be read, and for a chosen
    profile that does not exist.
    """
    assert provider.accounts is not None  # noqa: S101 - for mypy: the default provider finds accounts
    found = provider.accounts.profiles(environ)
    if found.chosen is not None and found.chosen not in found.regions:
        raise _no_profile(found.chosen, found.regions, "The environment names the profile")
    own = found.from_environment or not found.regions
    accounts: list[Account] = [Account()] * own + [Account(name) for name in found.regions]
    clouds: dict[str, Cloud] = {}
    for account in accounts:
        name = _free(account.profile or _OWN, clouds)
        where = Defaults(location=region_of(provider, account, environ))
        clouds[name] = Cloud(name, provider, account=account, default=where)
    current = Account() if own else Account(found.chosen or next(iter(found.regions)))
    known = found.from_environment or bool(found.regions)
    return Settings(clouds, _named(clouds, current), looked_at=found.looked_at, found=known)


def with_profile(settings: Settings, profile: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with the cloud of a profile as the current one; it is added if there is none.

    Raises ConfigError if there is no such profile.
    """
    account = Account(profile)
    clouds = dict(settings.clouds)
    if all(cloud.account != account for cloud in clouds.values()):
        assert DEFAULT.accounts is not None  # noqa: S101 - for mypy: the default provider finds accounts
        known = DEFAULT.accounts.profiles(environ).regions
        if profile not in known:
            raise _no_profile(profile, known, "--profile names")
        name = _free(profile, clouds)
        where = Defaults(location=region_of(DEFAULT, account, environ))
        clouds[name] = Cloud(name, account=account, default=where, read_only=settings.read_only)
    return replace(settings, clouds=clouds, cloud=_named(clouds, account))


def nothing_found(settings: Settings, why: str, environ: Mapping[str, str] = os.environ) -> NoAccountError:
    """Return the error for a computer without any account; `why` is the end of the search: the instance metadata."""
    files, environment = settings.looked_at[:-1], settings.looked_at[-1]
    own = config.home(environ) / config.NAME
    return NoAccountError(
        (
            f"aws configure: writes keys. Looked at: {', '.join(files)}.",
            "aws configure sso, then aws sso login --profile X: for accounts with single sign-on.",
            f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: keys in the environment. Looked at: {environment}.",
            f"An instance with a role: its keys are used. Looked at: {why}.",
            f"{config.NAME}: keys of your own, and other clouds. Looked at: ./{config.NAME} and {own}: neither exists.",
            "cloudmesh-tui --demo: a simulated account, to look around.",
        )
    )


def _named(clouds: Mapping[str, Cloud], account: Account) -> str:
    return next(name for name, cloud in clouds.items() if cloud.account == account)


def _free(profile: str, taken: Iterable[str]) -> str:
    """Return the name of a cloud for a profile, whose name may have any character."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", profile).lstrip("-_.") or "profile"
    number, free = 1, name
    while free in taken or free == EVERY:
        number += 1
        free = f"{name}-{number}"
    return free


def _no_profile(profile: str, known: Iterable[str], who: str) -> ConfigError:
    match = closest(profile, known)
    cure = f"Did you mean {match!r}?" if match else f"Known: {', '.join(known) or 'none'}."
    return ConfigError(f"{who} {profile!r}, which neither ~/.aws/config nor ~/.aws/credentials has.", cure)
