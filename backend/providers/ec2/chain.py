"""The AWS chain as botocore resolves it: the keys of an account, renewed before they expire.

Import it late, and never before the first paint: botocore costs 0.16 s.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import botocore.credentials
from botocore.config import Config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import NoCredentialsError, RefreshWithMFAUnsupportedError
from botocore.loaders import create_loader
from botocore.session import Session
from botocore.utils import InstanceMetadataRegionFetcher

from backend import account as asking
from backend.account import Account, Ask, Role
from backend.errors import CloudmeshError, CredentialsError, LoginNeededError
from backend.providers.ec2.entry import KEY, SECRET, TOKEN, ec2_keys
from backend.providers.ec2.failing import explained
from backend.providers.ec2.process import SECONDS, Process
from backend.secret import Secret

_log = logging.getLogger("botocore")
_log.propagate = False  # it logs whole answers, and what a credential_process writes, keys included
_log.addHandler(logging.NullHandler())

SESSION_NAME = "cloudmesh-tui"
"""The session name of a role, if the configuration has none: CloudTrail shows it."""

_FEW_TRIES = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 2})
_LAZY = ("endpoint_resolver", "default_config_resolver", "smart_defaults_factory", "monitor")
"""Parts of a session that botocore makes at their first use, without a lock."""
_FILES = {"AWS_CONFIG_FILE": "config_file", "AWS_SHARED_CREDENTIALS_FILE": "credentials_file"}
_CLIENT_KEYS = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_session_token": TOKEN}
_IMDS_SECONDS = 1
_JUST_RENEWED = 5.0
"""Seconds in which an account is renewed only once, however many requests have found its keys expired."""

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_REGION_OF_PARTITION = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1"}
"""Where STS is asked for a role if no region is set; for all others, us-east-1."""


_LOADER = create_loader()
"""Loads botocore's data, once for all sessions: the list of endpoints alone takes 5 MB."""


class _Environment(Session):  # type: ignore[misc]
    """A botocore session without profiles, for a cloud whose keys are in cloudmesh.yaml."""

    full_config: Mapping[str, Any] = {"profiles": {}}

    def get_scoped_config(self) -> Mapping[str, Any]:
        return {}


class Keys:
    """The keys of one account; threads may share it. `ask` asks for a code of an MFA device."""

    def __init__(
        self,
        account: Account | None,
        environ: Mapping[str, str],
        ask: Ask = asking.ask,
        process_seconds: float = SECONDS,
    ) -> None:
        self._account = account
        self._environ = environ
        self._ask = ask
        self._popen = partial(Process, seconds=process_seconds)
        self._lock = threading.Lock()
        """Held while keys are fetched, which may take long."""
        self._opening = threading.Lock()
        self._session: Session | None = None
        self._read: Session | None = None
        """The last session, also one whose profile is unusable: it has read the files."""
        self._credentials: Any = None
        self._last: tuple[Any, dict[str, Secret]] | None = None
        """botocore's keys and ours, of the last call."""
        self._failed: tuple[float, CloudmeshError] | None = None
        """When the last attempt failed, and why: threads that waited for it do not try it again one after the other."""
        self._refused: CloudmeshError | None = None
        """The user gave no code, or a wrong one: do not ask again until `again` is called."""
        self._renewed = -_JUST_RENEWED
        self._by_code = False
        """Whether a code was asked for."""
        self._found_region: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self._account!r})"

    def url(self, service: str, region: str, *, fips: bool = False) -> str:
        """Return where `aws` would send the requests of a service. Raises CredentialsError for an unusable profile."""
        try:
            return self._url(service, region, fips=fips)
        except Exception as failure:  # noqa: BLE001 - as in `_try`
            error = explained(failure, self._account, self._read)
        raise error

    @property
    def session(self) -> Session:
        """The botocore session of the account's profile."""
        return self._opened()

    def configured(self, service: str) -> str | None:
        """Return the URL that environment or profile set for a service, or None."""
        session = self.session
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        url = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service).provide()
        return str(url) if url else None

    def client(
        self, service: str, region: str, keys: Mapping[str, Secret] | None = None, config: Config = _FEW_TRIES
    ) -> Any:
        """Return a botocore client of a service that signs with `keys`, else with those of this moment."""
        found = self.get() if keys is None else keys
        secrets = {name: found[key].reveal() for name, key in _CLIENT_KEYS.items() if key in found}
        return self._opened().create_client(service, region, config=config, **secrets)

    def get(self) -> Mapping[str, Secret]:
        """Return the keys of this moment; blocks while they are fetched. Raises CredentialsError, or CloudError."""
        credentials = self._credentials
        if credentials is not None and not _must_wait(credentials):
            with suppress(Exception):  # renewed early, and not usable: `_try` does it again and explains it
                return self._ours(credentials.get_frozen_credentials())
        entered = time.monotonic()
        with self._lock:
            if self._refused is not None:
                raise copy(self._refused)
            if self._failed is not None and self._failed[0] >= entered:
                raise copy(self._failed[1])
            error = self._try()
        if error is not None:  # raised outside the handler: botocore's errors may hold keys
            raise error
        assert self._last is not None  # noqa: S101 - for mypy: _try has set it
        return self._last[1]

    def renew(self, *, expired: bool) -> bool:
        """Fetch other keys at the next call of `get`; return False if they were just renewed, or are kept.

        These have `expired`, or the cloud does not accept them: then the user may have corrected them since. Keys that
        cost a code of an MFA device are kept then, because a region that is not enabled accepts none either.
        """
        with self._lock:
            if time.monotonic() - self._renewed <= _JUST_RENEWED or (self._by_code and not expired):
                return False
            self._forget()
            self._renewed = time.monotonic()
            return True

    def again(self) -> None:
        """Forget all, also that the user gave no code: the user has logged in, or wants to."""
        with self._lock:
            self._forget()
            self._refused = self._failed = None

    @property
    def login(self) -> LoginNeededError | None:
        """The login that it needs, as far as is known; blocks for nothing."""
        failed = self._refused or (self._failed and self._failed[1])
        return failed if isinstance(failed, LoginNeededError) else None

    @property
    def region(self) -> str:
        """The region by environment, profile or instance metadata (1 s); "" if none has one.

        Raises CredentialsError for an unusable profile.
        """
        try:
            if self._found_region is None:
                self._found_region = self._region(self._opened()) or _region_of_metadata(self._opened())
            return self._found_region
        except Exception as failure:  # noqa: BLE001 - as in `_try`
            error = explained(failure, self._account, self._read)
        raise error

    def _forget(self) -> None:
        with self._opening:
            self._session = self._credentials = None

    def _try(self) -> CloudmeshError | None:
        """Fetch the keys; return why there are none."""
        found: CloudmeshError
        try:
            try:
                self._last = self._fetched()
            except RefreshWithMFAUnsupportedError:  # botocore asks for a code only once a session
                self._forget()
                self._last = self._fetched()
        except CloudmeshError as error:
            found = error
        except Exception as error:  # noqa: BLE001 - each of botocore's has a sentence, and none may reach the log
            found = explained(error, self._account, self._read)
        else:
            self._failed = None
            return None
        self._forget()  # a login changes files: read them again
        found.__cause__ = found.__context__ = None
        self._failed = time.monotonic(), found
        if isinstance(found, LoginNeededError) and not found.command:
            self._refused = found
        return copy(found)

    def _fetched(self) -> tuple[Any, dict[str, Secret]]:
        if self._credentials is None:
            self._credentials = self._found(self._opened())
        frozen = self._credentials.get_frozen_credentials()
        return frozen, dict(self._ours(frozen))

    def _ours(self, frozen: Any) -> Mapping[str, Secret]:
        last = self._last
        if last is None or last[0] != frozen:
            secrets = (Secret(text) if text else None for text in (frozen.access_key, frozen.secret_key, frozen.token))
            key, secret, token = secrets
            if key is None or secret is None:
                raise CredentialsError("The AWS chain found an empty key.", "Correct the profile.")
            last = self._last = frozen, ec2_keys(key, secret, token)
        return last[1]

    def _opened(self) -> Session:
        """Return the botocore session; make it if there is none. Raises what botocore raises for a wrong profile."""
        with self._opening:
            if self._session is None:
                self._session = self._made()
            return self._session

    def _made(self) -> Session:
        session = _Environment() if self._account is None else Session(profile=self._account.profile)
        session.register_component("data_loader", _LOADER)
        for variable, name in _FILES.items():
            if path := self._environ.get(variable):
                session.set_config_variable(name, path)
        self._read = session
        session.set_default_client_config(_FEW_TRIES)
        session.set_config_variable("region", self._region(session) or self._region_of_partition())
        resolver = botocore.credentials.create_credential_resolver(session, cache={})
        for provider in resolver.providers:
            self._bound(provider, session)
        session.register_component("credential_provider", resolver)
        for component in _LAZY:
            session._get_internal_component(component)
        session.get_component("token_provider")
        return session

    def _bound(self, provider: Any, session: Session) -> None:
        """Give a provider of botocore's chain our prompt and our processes; tests know these private names."""
        match provider:
            case botocore.credentials.ProcessProvider():
                provider._popen = self._popen
            case botocore.credentials.AssumeRoleProvider():
                provider._prompter = partial(self._code, session.profile or "default")
                provider._profile_provider_builder._create_process_provider = lambda name: (
                    botocore.credentials.ProcessProvider(name, lambda: session.full_config, popen=self._popen)
                )

    def _code(self, profile: str, question: str) -> str:
        """Ask for a code. The question names only the device, and several profiles may ask at once."""
        self._by_code = True
        return self._ask(f"{question.rstrip(': ')} (profile {profile}): ")

    def _url(self, service: str, region: str, *, fips: bool) -> str:
        if url := self.configured(service):
            return url
        session = self.session
        found = session._get_internal_component("endpoint_resolver").construct_endpoint(
            service,
            region,
            use_fips_endpoint=fips or bool(session.get_config_variable("use_fips_endpoint")),
            use_dualstack_endpoint=bool(session.get_config_variable("use_dualstack_endpoint")),
        )
        return f"https://{found['hostname'] if found else f'{service}.{region}.amazonaws.com'}"

    def _found(self, session: Session) -> Any:
        """Return botocore's credentials of the account; most are fetched only when they are first used."""
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        role = self._account.role if self._account else None
        return credentials if role is None else _assumed(session, credentials, role)

    def _region(self, session: Session) -> str:
        """Return the region by environment or profile, or ""."""
        named = (self._environ.get(name, "").strip() for name in REGIONS)
        return next(filter(None, named), "") or str(session.get_scoped_config().get("region", "")).strip()

    def _region_of_partition(self) -> str:
        role = self._account.role if self._account else None
        return _REGION_OF_PARTITION.get(role.arn.split(":")[1] if role and ":" in role.arn else "", "us-east-1")


def _must_wait(credentials: Any) -> bool:
    """Return whether keys must be renewed before they are used; before that, botocore renews them by itself."""
    needed: Callable[[int], bool] | None = getattr(credentials, "refresh_needed", None)
    return needed is not None and needed(credentials._mandatory_refresh_timeout)


def _assumed(session: Session, credentials: Any, role: Role) -> Any:
    """Return credentials of a role, by the credentials of an account."""
    more = {"RoleSessionName": role.session_name or SESSION_NAME}
    if role.external_id:
        more["ExternalId"] = role.external_id
    fetcher = botocore.credentials.AssumeRoleCredentialFetcher(session.create_client, credentials, role.arn, more)
    return botocore.credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _region_of_metadata(session: Session) -> str:
    names = ("ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode", "ec2_metadata_v1_disabled")
    config = {name: session.get_config_variable(name) for name in names}
    fetcher = InstanceMetadataRegionFetcher(timeout=_IMDS_SECONDS, num_attempts=1, config=config)
    try:
        return fetcher.retrieve_region() or ""
    except Exception:  # noqa: BLE001 - this computer is no instance, whatever answered
        return ""


class Chain:
    """The keys of all accounts in a process: one object for each account."""

    def __init__(self, environ: Mapping[str, str], ask: Ask = asking.ask, process_seconds: float = SECONDS) -> None:
        self._make = partial(Keys, environ=environ, ask=ask, process_seconds=process_seconds)
        self._keys: dict[Account | None, Keys] = {}
        self._lock = threading.Lock()

    def of(self, account: Account | None) -> Keys:
        """Return the keys of an account; None: no keys, but what the environment says of endpoints."""
        with self._lock:
            if account not in self._keys:
                self._keys[account] = self._make(account)
            return self._keys[account]

    def logins(self) -> Mapping[Account | None, LoginNeededError]:
        """Return the logins that are needed, by account, as far as is known."""
        with self._lock:
            return {account: login for account, keys in self._keys.items() if (login := keys.login) is not None}

    def again(self) -> None:
        """Look again for the keys that were not found: the user has logged in. Waits for keys that are fetched now."""
        with self._lock:
            every = list(self._keys.values())
        for keys in every:
            if keys.login is not None:
                keys.again()


CHAIN = Chain(os.environ)
"""The keys of this process."""
