"""Why the AWS chain gives no keys: each failure of botocore as one sentence, with what to do."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.session import Session

from backend.account import Account
from backend.errors import CloudError, CloudmeshError, CredentialsError, LoginNeededError, NoKeysError
from backend.names import closest
from backend.providers.failures import short
from backend.text import safe

TOKENS = Path("~/.aws/sso/cache")
"""Where `aws sso login` keeps its tokens."""


class Failure(NamedTuple):
    """What a failure means. `reason` and `cure` are templates of the fields that `explained` gives them."""

    error: type[CloudmeshError]
    reason: str
    cure: str
    words: str = ""
    """A pattern that AWS's message must match."""
    quote: bool = False
    """Whether to quote the message. Those of a credential_process are never quoted: they may hold keys."""


_SSO = "Run {login}."
_CLOCK = Failure(CredentialsError, "AWS says that the time of the request is wrong", "Set this computer's clock.")
_MFA = Failure(LoginNeededError, "AWS refuses the code of the MFA device", "Give the code that it shows now.")
_NETWORK = Failure(CloudError, "{host} cannot be reached", "Check the network and the proxy.")
_LOGIN = Failure(LoginNeededError, "its login has ended", "Run {login}.")

FAILURES: tuple[tuple[tuple[str, ...], Failure], ...] = (
    (("UnauthorizedSSOTokenError",), Failure(LoginNeededError, "its SSO session has ended{other}", _SSO)),
    (
        ("SSOTokenLoadError", "TokenRetrievalError"),
        Failure(LoginNeededError, "it has no SSO session on this computer{other}", _SSO),
    ),
    (("UnauthorizedException",), Failure(LoginNeededError, "its SSO session has ended{other}", _SSO)),
    (
        ("ForbiddenException", "ResourceNotFoundException"),
        Failure(
            CredentialsError,
            "SSO does not give you its role",
            "Check sso_account_id and sso_role_name in {files}, or ask who runs your SSO.",
            quote=True,
        ),
    ),
    (("LoginInsufficientPermissions",), Failure(CredentialsError, "its login lacks a permission", "Ask for it.")),
    (("Login*",), _LOGIN),
    (("ProfileNotFound",), Failure(CredentialsError, "there is no such profile in {files}", "{near}")),
    (("ConfigParseError",), Failure(CredentialsError, "{path} cannot be understood", "Correct that file.")),
    (
        ("InfiniteLoopConfigError",),
        Failure(CredentialsError, "its profiles form a loop: {loop}", "Correct source_profile in {files}."),
    ),
    (("InvalidConfigError", "PartialCredentialsError"), Failure(CredentialsError, "{said}", "Correct {files}.")),
    (("UnknownCredentialError",), Failure(CredentialsError, "{said}", "Correct {files}.")),
    (("ProcessFailedError",), Failure(CredentialsError, "its credential_process {said}", "Run it to see why.")),
    (
        ("NoCredentialsError",),
        Failure(NoKeysError, "nothing in the chain has keys", "Run {configure}, or {login}."),
    ),
    (
        ("MetadataRetrievalError", "InvalidIMDS*"),
        Failure(CredentialsError, "the metadata service does not give them", "Check the role of this instance."),
    ),
    (("ParamValidationError",), _MFA._replace(words="TokenCode")),
    (
        ("ParamValidationError",),
        Failure(CredentialsError, "its settings are not valid", "Correct {files}.", quote=True),
    ),
    (("AccessDenied*", "ValidationError"), _MFA._replace(words=r"MultiFactor|\bMFA\b|tokenCode")),
    (
        ("AccessDenied*",),
        Failure(
            CredentialsError,
            "STS does not let it assume {role}",
            "Check the role's trust policy, the external id, and the permission sts:AssumeRole.",
            quote=True,
        ),
    ),
    (("*",), _CLOCK._replace(words=r"signature (?:has )?expired|signature not yet current|skewed|clock")),
    (("RequestTimeTooSkewed", "RequestExpired"), _CLOCK),
    (
        ("ExpiredToken*", "IDPRejectedClaim", "InvalidIdentityToken"),
        Failure(CredentialsError, "the token that it starts from has expired", "Get a new one: {login}."),
    ),
    (
        ("InvalidClientTokenId", "UnrecognizedClient*", "SignatureDoesNotMatch"),
        Failure(CredentialsError, "AWS does not know the keys that it starts from", "Correct them: {configure}."),
    ),
    (
        ("RegionDisabledException",),
        Failure(CredentialsError, "STS is not enabled in its region", "Enable the region at AWS, or choose another."),
    ),
    (("NoRegionError",), Failure(CredentialsError, "it has no region", "Set AWS_REGION, or run {configure}.")),
    (("*Connect*Error", "*Timeout*", "EndpointConnectionError", "HTTPClientError", "*ProxyError"), _NETWORK),
    (
        ("EndpointVariantError",),
        Failure(CredentialsError, "AWS has no such endpoint", "Unset use_fips_endpoint or use_dualstack_endpoint."),
    ),
    (("SSLError",), Failure(CloudError, "there is no trusted TLS connection to {host}", "Check AWS_CA_BUNDLE.")),
    (("CredentialRetrievalError",), Failure(CredentialsError, "what gives its keys does not", "Try {try}.")),
    (("*",), Failure(CredentialsError, "something unexpected happened ({name})", "Try {try}.")),
)
"""The first counts whose pattern matches AWS's code or the name of the exception, and whose words the message has."""


def explained(error: Exception, account: Account | None, session: Session | None) -> CloudmeshError:
    """Return the error to raise when an account has no keys. Raise it outside the handler of `error`."""
    code, said = _of_aws(error)
    names = [*filter(None, [code]), *(one.__name__ for one in type(error).__mro__)]
    failure = _failure(names, said)
    profile = (account and account.profile) or (session.profile if session else None)
    shown = profile or "default"
    config = _Config(session)
    command = _command(names, config.sso_profile(shown)) if failure.error is LoginNeededError else ()
    more: Mapping[str, Any] = getattr(error, "kwargs", {})
    fields = {
        "name": names[0],
        "said": short(said),
        "files": "~/.aws/config and ~/.aws/credentials",
        "path": more.get("path", "~/.aws/config"),
        "loop": " → ".join((*more.get("visited_profiles", ()), more.get("source_profile", ""))),
        "near": config.near(shown),
        "other": config.other_start_url(shown),
        "role": account.role.arn if account and account.role else config.of(shown).get("role_arn", "the role"),
        "host": urlsplit(str(more.get("endpoint_url", ""))).hostname or "AWS",
        "login": " ".join(command or ("aws", "sso", "login", "--profile", shown)),
        "configure": f"aws configure --profile {shown}",
        "try": f"aws sts get-caller-identity --profile {shown}",
    }
    who = f"Profile {profile}" if profile else "The AWS chain"
    if account and account.role:
        who = f"Role {account.role.arn} of {who[0].lower()}{who[1:]}"
    quoted = f"; AWS says: {short(said)}" if failure.quote and said else ""
    reason = failure.reason.format_map(fields)
    found = failure.error(f"{safe(who)} has no keys: {safe(reason)}{quoted}.", safe(failure.cure.format_map(fields)))
    if isinstance(found, LoginNeededError):
        found.command = command
    return found


def _of_aws(error: Exception) -> tuple[str, str]:
    """Return AWS's code, or "", and the message."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(said.get("Code", "")), str(said.get("Message") or error)


def _failure(names: list[str], said: str) -> Failure:
    for name in names:
        for patterns, failure in FAILURES[:-1]:
            if any(fnmatchcase(name, pattern) for pattern in patterns) and (
                not failure.words or re.search(failure.words, said, re.IGNORECASE)
            ):
                return failure
    return FAILURES[-1][1]


def _command(names: list[str], profile: str) -> tuple[str, ...]:
    """Return the command that logs in; () if only a code is needed."""
    if any("SSO" in name or name in ("TokenRetrievalError", "UnauthorizedException") for name in names):
        return ("aws", "sso", "login", "--profile", profile)
    return ("aws", "login", "--profile", profile) if any(name.startswith("Login") for name in names) else ()


class _Config:
    """What ~/.aws/config says, as far as botocore could read it."""

    def __init__(self, session: Session | None) -> None:
        self._full: Mapping[str, Any] = {}
        if session is not None:
            with suppress(Exception):  # what is wrong with it is the failure that is explained
                self._full = session.full_config

    def of(self, profile: str) -> Mapping[str, Any]:
        found = self._full.get("profiles", {}).get(profile, {})
        return found if isinstance(found, dict) else {}

    def near(self, profile: str) -> str:
        known = [name for name in self._full.get("profiles", {}) if name != profile]
        match = closest(profile, known)
        return f"Did you mean {match!r}?" if match else f"Known: {', '.join(known) or 'none'}."

    def sso_profile(self, profile: str) -> str:
        """Return the profile to log in to: this one, or the first of its sources that uses SSO."""
        seen: list[str] = []
        one = profile
        while one and one not in seen:
            if "sso_session" in self.of(one) or "sso_start_url" in self.of(one):
                return one
            seen.append(one)
            one = str(self.of(one).get("source_profile", ""))
        return profile

    def other_start_url(self, profile: str) -> str:
        """Return a clause about a saved token of another start URL, or ""."""
        own = self.of(self.sso_profile(profile))
        session = self._full.get("sso_sessions", {}).get(own.get("sso_session"), own)
        wanted = str(session.get("sso_start_url", "")).rstrip("/#")
        saved = sorted(set(_saved()))
        if not wanted or not saved or wanted in saved:
            return ""
        return f" (the saved token belongs to another start URL, {saved[0]}, and not to {wanted})"


def _saved() -> Iterator[str]:
    """Yield the start URLs of the saved tokens."""
    for path in TOKENS.expanduser().glob("*.json"):
        with suppress(OSError, ValueError, AttributeError):
            if url := json.loads(path.read_text(encoding="utf-8")).get("startUrl"):
                yield str(url).rstrip("/#")
