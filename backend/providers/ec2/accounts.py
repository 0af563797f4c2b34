"""EC2's accounts: the AWS chain behind functions that import nothing of botocore before they are called."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from backend.providers.entry import Accounts

if TYPE_CHECKING:
    from backend.account import Account, Identity, Profiles
    from backend.config import Cloud
    from backend.errors import LoginNeededError
    from backend.secret import Secret


def keys_of(cloud: "Cloud") -> "Mapping[str, Secret]":
    """Return the keys for one request; see ProviderEntry."""
    if cloud.account is None:
        return cloud.credentials
    from backend.providers.ec2.chain import CHAIN

    return CHAIN.of(cloud.account).get()


def identity(cloud: "Cloud") -> "Identity | None":
    """Return who the keys of a cloud make you; see ProviderEntry."""
    if not cloud.credentials and cloud.account is None:
        return None
    from backend.providers.ec2.identity import IDENTITIES

    return IDENTITIES.of(cloud)


def _profiles(environ: Mapping[str, str]) -> "Profiles":
    from backend.providers.ec2.profiles import profiles

    return profiles(environ)


def _region(account: "Account") -> str:
    from backend.providers.ec2.chain import CHAIN

    return CHAIN.of(account).region


def _renew(account: "Account", *, expired: bool) -> None:
    from backend.providers.ec2.chain import CHAIN
    from backend.providers.ec2.identity import IDENTITIES

    if CHAIN.of(account).renew(expired=expired):
        IDENTITIES.renewed(account)


def _again() -> None:
    from backend.providers.ec2.chain import CHAIN
    from backend.providers.ec2.identity import IDENTITIES

    CHAIN.again()
    IDENTITIES.forget()


def _logins() -> "Mapping[Account | None, LoginNeededError]":
    chain = sys.modules.get("backend.providers.ec2.chain")  # if it was never imported, nothing has failed
    return chain.CHAIN.logins() if chain else {}


def _login(command: tuple[str, ...], say: Callable[[str], object], check: Callable[[], None]) -> None:
    from backend.providers.ec2.login import login

    login(command, say, check)


ACCOUNTS = Accounts(_profiles, _region, _renew, _again, _logins, _login)
