"""Sends the calls of one connection to EC2: page by page, again where that may help, never for ever."""

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from libcloud.common.types import LibcloudError
from urllib3.exceptions import HTTPError

from backend.callbacks import ignore
from backend.config import Cloud
from backend.errors import CloudError, CredentialsError, RefusedError, TransientError
from backend.providers.ec2 import rows
from backend.providers.ec2.cut import Cutter, value
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.errors import Call, Refusal, explain
from backend.providers.ec2.exchange import Exchange
from backend.providers.ec2.outline import outline
from backend.providers.ec2.xml import Malformed, Reader
from backend.providers.protocol import Item, Page, Waiting
from backend.providers.retry import RetryPolicy

log = logging.getLogger(__name__)

FAILURES = (Refusal, Malformed, OSError, HTTPError, LibcloudError, ValueError)
"""What sending a call and reading its answer may raise; requests' exceptions are OSErrors."""
RESTARTS = 3
"""How often a listing whose place was lost begins again."""
DRY_RUN = "DryRunOperation"
"""What EC2 refuses a dry run with when the call would have been carried out."""
LOST_PLACE = frozenset({"InvalidNextToken", "InvalidPaginationToken"})
"""What EC2 answers to the token of a page that has expired (EC2 API reference, error codes)."""


class Listing(NamedTuple):
    """A Describe… call: the set its items are in, what makes our items of one, the largest page (0: never paged).

    Each item of a `vast` one has a digest, by which it can be told that it is known, and all its columns are made of
    the texts directly in it; the rest is stored as EC2 wrote it.
    """

    call: Call
    collection: str
    items: Callable[[Any], Iterable[Item]]
    page: int = 1000
    vast: bool = False
    other: tuple[str, ...] = ()
    """What else endpoints call the set."""


class LostPlaceError(Exception):
    """EC2 no longer knows the token of the next page; `error` is what to raise when beginning again is no use."""

    def __init__(self, error: CloudError) -> None:
        super().__init__()
        self.error = error


class Calls:
    """The calls of one thread to one region. `check` ends any wait for a read; `waits` is told of each one between
    two tries.
    """

    def __init__(
        self,
        cloud: Cloud,
        check: Callable[[], None] = ignore,
        policy: RetryPolicy | None = None,
        waits: Callable[[Waiting], None] = ignore,
    ) -> None:
        self._cloud = cloud
        self._check = check
        self._waits = waits
        self._policy = policy or RetryPolicy()
        self._driver = self._connected()
        self._free = True
        """Nothing else uses the driver, as a call that was given up on still may."""

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._driver.host

    def _connected(self) -> Driver:
        return Driver(self._cloud, self._policy.silence)

    def pages(
        self, listing: Listing, params: Mapping[str, str] | None = None, known: Container[int] = ()
    ) -> Iterator[Page]:
        """Yield a listing's pages, one for each answer.

        A page that fails is repeated, and earlier ones are not. Only when EC2 no longer knows the place that the
        listing had come to does it begin again.
        """
        first = dict(params or {})
        if listing.page:
            first["MaxResults"] = str(listing.page)
        token: str | None = None
        restarts = 0
        while True:
            wanted = first if token is None else first | {"NextToken": token}
            try:
                page, following = self._page(listing, wanted, known)
            except LostPlaceError as lost:
                error = lost.error
            else:
                yield page
                if not following:
                    return
                if following == token:
                    raise self.explained(Malformed("it gives the same page again"), listing.call)
                token = following
                continue
            restarts += 1
            if restarts > RESTARTS:
                raise error
            token = None

    def _page(self, listing: Listing, params: Mapping[str, str], known: Container[int]) -> tuple[Page, str | None]:
        policy = self._policy
        began = policy.clock()
        tries = 0
        while True:
            tries += 1
            self._check()
            try:
                return self._read(listing, params, known, began, tries)
            except FAILURES as failure:
                error = self.explained(failure, listing.call, tries)
                lost = isinstance(failure, Refusal) and failure.code in LOST_PLACE and "NextToken" in params
            # Out here the failure, which may hold headers and keys, is neither cause nor context of ours.
            if lost:
                raise LostPlaceError(error)
            self._wait_or_raise(error, listing.call, began, tries, policy.tries)

    def _wait_or_raise(self, error: CloudError, call: Call, began: float, tries: int, most: int) -> None:
        """Wait until a call may be sent again, or raise why it failed: not in passing, too often or for too long."""
        policy = self._policy
        delay = policy.delay(tries)
        late = policy.clock() + delay - began > policy.deadline
        if late or tries >= most or not isinstance(error, TransientError):
            raise error
        log.info("%s: %s, retrying in %.1f s after try %d", call.doing, error.brief, delay, tries)
        self._waits(Waiting(call.doing, error.brief, policy.clock() + delay))
        policy.wait(delay, self._check)

    def _read(
        self, listing: Listing, params: Mapping[str, str], known: Container[int], began: float, tries: int
    ) -> tuple[Page, str | None]:
        """Send one call of a listing and return its items and the token of the next page."""
        page: Page = []
        make = outline if listing.vast else value
        cutter = Cutter(f"{listing.call.action}Response", listing.collection, known, make, listing.other)
        for pairs in self._received(listing.call, params, cutter, began, tries):
            for digest, raw in pairs:
                if raw is None:
                    page.append({"digest": digest})
                else:
                    for item in listing.items(raw):
                        if listing.vast and digest is not None:
                            item["digest"] = digest
                        page.append(item)
        return page, rows.text(cutter.rest.get("nextToken"))

    def change(self, call: Call, params: Mapping[str, str | None]) -> dict[str, Any]:
        """Send a call that changes something and return its answer; {} where a dry run says that it could be done.

        It is sent again only when EC2 refused it unread. Cancelling works until it is sent and not after: what EC2 then
        says (a VM's id, a private key) must not be lost.
        """
        if self._cloud.read_only:
            raise RefusedError(
                f"{call.doing} is refused: cloud {self._cloud.name} is read-only here.",
                "Start without --read-only, or take read_only out of cloudmesh.yaml.",
            )
        given = {name: value for name, value in params.items() if value is not None}
        return self.asked(call, given)

    def asked(self, call: Call, params: Mapping[str, str]) -> dict[str, Any]:
        """Send a call whose answer is one thing and return that; see `change` for those that change something."""
        policy = self._policy
        began = policy.clock()
        tries = 0
        while True:
            tries += 1
            self._check()
            reader = Reader(f"{call.action}Response")
            sent = policy.clock() if call.changes else began  # a change that was refused unread has all its time yet
            try:
                for _ in self._received(call, params, reader, sent, tries):
                    pass
            except FAILURES as failure:
                refused = isinstance(failure, Refusal)
                if isinstance(failure, Refusal) and failure.code == DRY_RUN and "DryRun" in params:
                    return {}
                error = self.explained(failure, call, tries)
            else:
                reader.rest.pop("requestId", None)  # else it would be cached with what was made
                return reader.rest
            most = policy.tries if not call.changes else policy.unread if refused else 1
            self._wait_or_raise(error, call, began, tries, most)

    def _received(
        self, call: Call, params: Mapping[str, str], reader: Reader | Cutter, began: float, tries: int
    ) -> Iterator[list[Any]]:
        """Send one call and yield the items that each piece of its answer completes.

        A change is not cancelled any more, but like a read it fails when its answer is late, reckoned from `began`.
        """
        self._check_credentials(call)
        if not self._free:  # now, not when a call is given up: a failure here must not hide the reason of that
            self._driver, self._free = self._connected(), True
        policy = self._policy
        sent = policy.clock()
        exchange = Exchange(self._driver, call.action, params, lambda received: policy.late(began, received))
        came, request = "broken off", ""
        try:
            with closing(exchange.chunks(ignore if call.changes else self._check)) as chunks:
                for chunk in chunks:
                    yield reader.feed(chunk)
            if not exchange.received:
                raise Malformed("it is empty")
            yield reader.close()
            came, request = "200", rows.text(reader.rest.get("requestId")) or ""
        except Refusal as refusal:
            came, request = f"{refusal.status} {refusal.code}".rstrip(), refusal.request
            raise
        except FAILURES as failure:
            came = type(failure).__name__
            raise
        finally:
            self._free = exchange.over
            log.debug(
                "%s in %s of cloud %s, try %d: %s after %.3f s, %d bytes, request id %s",
                call.action,
                self._cloud.region,
                self._cloud.name,
                tries,
                came,
                policy.clock() - sent,
                exchange.received,
                request or "unknown",
            )

    def _check_credentials(self, call: Call) -> None:
        provider = self._cloud.provider
        if not all(self._cloud.credentials.get(name) for name in provider.required):
            variables = [provider.credentials[name] for name in provider.required]
            raise CredentialsError(
                f"{call.doing} failed: cloud {self._cloud.name} has no keys.",
                f"Put {' and '.join(provider.required)} into cloudmesh.yaml, or {' and '.join(variables)} into the "
                "environment.",
            )

    def explained(self, failure: Exception, call: Call, tries: int = 1) -> CloudError:
        """Return the error to raise, outside the handler of the failure: that may hold headers and keys."""
        return explain(failure, call, self._cloud, self.host, tries)
