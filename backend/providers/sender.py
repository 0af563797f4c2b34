"""Sends the requests of one connection, for all providers: waits, retries, gives up and explains why."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from libcloud.common.types import LibcloudError
from urllib3.exceptions import HTTPError

from backend.callbacks import ignore
from backend.errors import CloudError, CredentialsError, ExpiredError, RefusedError, TransientError
from backend.prefetch import prefetch
from backend.providers.exchange import Driver, Exchange, Reader
from backend.providers.failures import Dialect, Malformed, Refusal, Request, explain
from backend.providers.protocol import Waiting
from backend.providers.retry import RetryPolicy

if TYPE_CHECKING:
    from backend.config import Cloud
    from backend.secret import Secret

log = logging.getLogger(__name__)

FAILURES = (Refusal, Malformed, OSError, HTTPError, LibcloudError, ValueError)
"""What sending a request and reading its answer may raise; the exceptions of requests are OSErrors."""

T = TypeVar("T")


class Sender:
    """The requests of one thread to one cloud and region.

    `check` may end any wait for a read by raising; `on_wait` is called before each wait between two tries. `dial`
    creates a driver. An aborted request may still use the old driver, so the next request gets a new one.
    """

    def __init__(
        self,
        cloud: "Cloud",
        check: Callable[[], None],
        policy: RetryPolicy | None,
        on_wait: Callable[[Waiting], None],
        *,
        dial: Callable[["Cloud", float], Driver],
        dialect: Dialect,
    ) -> None:
        self.cloud = cloud
        self._check = check
        self._on_wait = on_wait
        self._policy = policy or RetryPolicy()
        self._dial = dial
        self._dialect = dialect
        self._driver = self._dialled()
        self._free = True
        """Whether no aborted request still uses the driver."""

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._driver.host

    def _dialled(self) -> Driver:
        return self._dial(self.cloud, self._policy.silence)

    def repeated(self, request: Request, once: Callable[[float, int], T]) -> T:
        """Return the result of `once`; call it again while it fails in passing and the retry policy allows that.

        `once` sends the request. It gets the start time for the deadline (see `received`) and the number of the try. A
        change is sent again only if it was refused unread. Raises CloudError, Cancelled before anything is sent, and
        RefusedError for a change on a read-only cloud.
        """
        if request.changes:
            self._check_writable(request)
        policy = self._policy
        began = policy.clock()
        tries = 0
        renewed = False
        while True:
            tries += 1
            self._check()
            try:
                # A change that was refused unread gets the full time again.
                return once(policy.clock() if request.changes else began, tries)
            except FAILURES as failure:
                refused = isinstance(failure, Refusal)
                error = self.explained(failure, request, tries)
            if isinstance(error, CredentialsError) and not renewed and self._renew(isinstance(error, ExpiredError)):
                renewed = True
                if not request.changes:
                    continue
            # Raise outside the handler: the failure may hold headers and keys, and must not become our context.
            most = policy.tries if not request.changes else policy.unread if refused else 1
            self._wait_or_raise(error, request, began, tries, most)

    def _wait_or_raise(self, error: CloudError, request: Request, began: float, tries: int, most: int) -> None:
        """Wait before the next try; or raise `error`, if it is not transient or the tries or the time are used up."""
        policy = self._policy
        delay = policy.delay(tries)
        late = policy.clock() + delay - began > policy.deadline
        if late or tries >= most or not isinstance(error, TransientError):
            raise error
        log.info("%s: %s, retrying in %.1f s after try %d", request.doing, error.brief, delay, tries)
        self._on_wait(Waiting(request.doing, error.brief, policy.clock() + delay))
        policy.wait(delay, self._check)

    def received(
        self, request: Request, params: Mapping[str, str], reader: Reader, began: float, tries: int
    ) -> list[Any]:
        """Send a request once and return what the reader makes of its answer.

        A change that is sent is not cancelled: its answer (a VM's id, a private key) must not be lost. Like a read, it
        fails if its answer is late, counted from `began`.
        """
        keys = self._keys(request)
        if not self._free:  # only now: when a request is aborted, a failure here would hide the reason
            self._driver, self._free = self._dialled(), True
        policy = self._policy
        driver = self._driver
        driver.use(keys)
        sent = policy.clock()
        exchange = Exchange(driver, reader, request.action, params, lambda received: policy.late(began, received))
        came, native = "broken off", ""
        try:
            items = exchange.items(ignore if request.changes else self._check)
            came, native = "200", reader.request
        except Refusal as refusal:
            came, native = f"{refusal.status} {refusal.code}".rstrip(), refusal.request
            raise
        except FAILURES as failure:
            came = type(failure).__name__
            raise
        finally:
            self._free = exchange.over
            log.debug(
                "%s in %s of cloud %s, try %d: %s after %.3f s, %d bytes, request id %s",
                request.action,
                self.cloud.region,
                self.cloud.name,
                tries,
                came,
                policy.clock() - sent,
                exchange.received,
                native or "unknown",
            )
        return items

    def _check_writable(self, request: Request) -> None:
        if self.cloud.read_only:
            raise RefusedError(
                f"{request.doing} is refused: cloud {self.cloud.name} is read-only here.",
                "Start without --read-only, or remove read_only from cloudmesh.yaml.",
            )

    def _renew(self, expired: bool) -> bool:
        """Have other keys fetched for the next request; return whether there may be any."""
        accounts = self.cloud.provider.accounts
        if self.cloud.account is None or accounts is None:
            return False
        accounts.renew(self.cloud.account, expired=expired)
        return True

    def _keys(self, request: Request) -> "Mapping[str, Secret]":
        """Return the keys of this moment. Nothing is sent before it returns, so that it may be cancelled."""
        provider = self.cloud.provider
        if self.cloud.account is not None:
            with closing(prefetch((provider.keys_of(self.cloud) for _ in range(1)), self._check)) as found:
                return next(found)
        keys = provider.keys_of(self.cloud)
        if not all(keys.get(name) for name in provider.required):
            variables = [provider.credentials[name] for name in provider.required]
            raise CredentialsError(
                f"{request.doing} failed: cloud {self.cloud.name} has no keys.",
                f"Write {' and '.join(provider.required)} into cloudmesh.yaml, or set {' and '.join(variables)} in the "
                "environment.",
            )
        return keys

    def explained(self, failure: Exception, request: Request, tries: int = 1) -> CloudError:
        """Return the error for a failure. Raise it outside the handler: the failure may hold headers and keys."""
        return explain(failure, request, self.cloud, self.host, self._dialect, tries=tries)
