"""Logs in to SSO without the AWS tools: the device flow, with the code and the address to open."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config
from botocore.utils import JSONFileCache, SSOTokenLoader

from backend.account import Account
from backend.errors import Cancelled, CloudError, CloudmeshError
from backend.providers.ec2.chain import CHAIN
from backend.providers.ec2.failing import TOKENS, explained


def login(command: tuple[str, ...], say: Callable[[str], object], check: Callable[[], None]) -> None:
    """Do what `aws sso login --profile X` does; blocks until the user has confirmed the code in a browser.

    `say` gets the code and the address; `check` is called often and may end the wait by raising. Raises CloudmeshError.
    """
    if command[:3] != ("aws", "sso", "login"):
        raise CloudError(f"{' '.join(command)} needs the AWS CLI, which is not installed.", "Install it.")
    account = Account(command[-1])
    error: CloudmeshError
    try:
        _logged_in(account, say, check)
    except (CloudmeshError, Cancelled):
        raise
    except Exception as failure:  # noqa: BLE001 - botocore's may hold tokens
        error = explained(failure, account, None)
    else:
        return
    raise error


def _logged_in(account: Account, say: Callable[[str], object], check: Callable[[], None]) -> None:
    session = CHAIN.of(account).session
    profile = session.get_scoped_config()
    name = profile.get("sso_session")
    sso = session.full_config.get("sso_sessions", {}).get(name, {}) if name else profile
    if "sso_start_url" not in sso or "sso_region" not in sso:
        raise CloudError(f"Profile {account.profile} has no SSO settings.", "Run aws configure sso.")
    client = session.create_client("sso-oidc", config=Config(region_name=sso["sso_region"], signature_version=UNSIGNED))
    more = {"scopes": _scopes(sso)} if name else {}
    ours = client.register_client(clientName="cloudmesh-tui", clientType="public", **more)
    named = {"clientId": ours["clientId"], "clientSecret": ours["clientSecret"]}
    asked = client.start_device_authorization(startUrl=sso["sso_start_url"], **named)
    say(f"Open {asked['verificationUri']} and enter the code {asked['userCode']}.")
    if address := asked.get("verificationUriComplete"):
        say(f"Or open {address}")
    token = _confirmed(client, asked, named, check)
    saved = {
        "startUrl": sso["sso_start_url"],
        "region": sso["sso_region"],
        "accessToken": token["accessToken"],
        "expiresAt": _in_seconds(token["expiresIn"]),
        **named,
        "registrationExpiresAt": _at(ours["clientSecretExpiresAt"]),
    }
    if refresh := token.get("refreshToken"):
        saved["refreshToken"] = refresh
    cache = JSONFileCache(str(TOKENS.expanduser()))
    SSOTokenLoader(cache=cache).save_token(sso["sso_start_url"], saved, session_name=name)


def _confirmed(client: Any, asked: dict[str, Any], named: dict[str, str], check: Callable[[], None]) -> dict[str, Any]:
    """Return the token, once the user has confirmed the code; raise CloudError if it is not confirmed in time."""
    every = float(asked.get("interval") or 5)
    until = time.monotonic() + float(asked.get("expiresIn") or 600)
    while time.monotonic() < until:
        try:
            token: dict[str, Any] = client.create_token(
                grantType="urn:ietf:params:oauth:grant-type:device_code", deviceCode=asked["deviceCode"], **named
            )
        except client.exceptions.SlowDownException:
            every += 5
        except client.exceptions.AuthorizationPendingException:
            pass
        else:
            return token
        again = time.monotonic() + every
        while time.monotonic() < again:
            check()
            time.sleep(0.1)
    raise CloudError("The code was not confirmed in time.", "Log in again.")


def _in_seconds(seconds: float) -> str:
    return _at(time.time() + seconds)


def _at(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _scopes(sso: dict[str, str]) -> list[str]:
    """Return what the token is for: access to accounts, unless the profile says more."""
    return [scope.strip() for scope in sso.get("sso_registration_scopes", "sso:account:access").split(",")]
