"""The requests of one connection to EC2: listings page by page, changes, and queries about one object."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.callbacks import ignore
from backend.errors import CloudError
from backend.providers.ec2 import rows
from backend.providers.ec2.cut import Cutter, value
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.outline import outline
from backend.providers.ec2.params import filtered
from backend.providers.ec2.words import DIALECT
from backend.providers.ec2.xml import Reader
from backend.providers.failures import Malformed, Refusal, Request
from backend.providers.protocol import Item, Page, Waiting
from backend.providers.retry import RetryPolicy
from backend.providers.sender import Sender

if TYPE_CHECKING:
    from backend.config import Cloud

RESTARTS = 3
"""How often a listing may restart after EC2 has lost its position."""
VALUES = 200
"""The most values that EC2 takes in one filter."""
DRY_RUN = "DryRunOperation"
"""EC2's error code for a dry run that would have succeeded."""
LOST_POSITION = frozenset({"InvalidNextToken", "InvalidPaginationToken"})
"""EC2's error codes for an expired page token (EC2 API reference, error codes)."""


class Listing(NamedTuple):
    """A Describe… request: the set with its items, the converter to our items, and the largest page (0: not paged).

    Each item of a `vast` listing has a digest, to recognize known items. Its columns come only from the texts directly
    below the item; the rest is stored as EC2 wrote it.
    """

    request: Request
    collection: str
    items: Callable[[Any], Iterable[Item]]
    page: int = 1000
    vast: bool = False
    other: tuple[str, ...] = ()
    """Other names of the set at some endpoints."""


class LostPositionError(Exception):
    """EC2 no longer knows the token of the next page; `error` is to be raised if restarting does not help."""

    def __init__(self, error: CloudError) -> None:
        super().__init__()
        self.error = error


class _PageReader:
    """Reads a page of a listing as items, piece by piece: the raw values of a whole page are never held."""

    def __init__(self, listing: Listing, known: Container[int]) -> None:
        make = outline if listing.vast else value
        action = listing.request.action
        self._listing = listing
        self._cutter = Cutter(f"{action}Response", listing.collection, known, make, listing.other)

    @property
    def rest(self) -> dict[str, Any]:
        """Everything except the items; after close()."""
        return self._cutter.rest

    @property
    def request(self) -> str:
        """EC2's id of the request."""
        return self._cutter.request

    def feed(self, data: bytes) -> Page:
        """Return the items that `data` completes. Raises Malformed."""
        return self._items(self._cutter.feed(data))

    def close(self) -> Page:
        """Return the remaining items, and check that the answer is complete. Raises Malformed."""
        return self._items(self._cutter.close())

    def _items(self, pairs: Iterable[tuple[int | None, Any]]) -> Page:
        page: Page = []
        for digest, raw in pairs:
            if raw is None:
                page.append({"digest": digest})
                continue
            for item in self._listing.items(raw):
                if self._listing.vast and digest is not None:
                    item["digest"] = digest
                page.append(item)
        return page


class Requests:
    """The requests of one thread to one region of EC2."""

    def __init__(
        self,
        cloud: "Cloud",
        check: Callable[[], None] = ignore,
        policy: RetryPolicy | None = None,
        on_wait: Callable[[Waiting], None] = ignore,
    ) -> None:
        self.cloud = cloud
        self._sender = Sender(cloud, check, policy, on_wait, dial=Driver, dialect=DIALECT)

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._sender.host

    def pages(
        self, listing: Listing, params: Mapping[str, str] | None = None, known: Container[int] = ()
    ) -> Iterator[Page]:
        """Yield a listing's pages, one for each answer.

        A page that fails is requested again, earlier pages are not. The listing restarts only if EC2 has lost its
        position.
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
            except LostPositionError as lost:
                error = lost.error
            else:
                yield page
                if not following:
                    return
                if following == token:
                    raise self.explained(Malformed("it repeats the same page"), listing.request)
                token = following
                continue
            restarts += 1
            if restarts > RESTARTS:
                raise error
            token = None

    def of(self, listing: Listing, name: str, values: Sequence[str]) -> Iterator[Page]:
        """Yield the pages of objects with one of these values in the filter `name`, at most 200 values per request."""
        for start in range(0, len(values), VALUES):
            yield from self.pages(listing, filtered(name, values[start : start + VALUES]))

    def _page(self, listing: Listing, params: Mapping[str, str], known: Container[int]) -> tuple[Page, str | None]:
        def once(began: float, tries: int) -> tuple[Page, str | None]:
            try:
                return self._read(listing, params, known, began, tries)
            except Refusal as refusal:
                if refusal.code not in LOST_POSITION or "NextToken" not in params:
                    raise
                error = self.explained(refusal, listing.request, tries)
            raise LostPositionError(error)

        return self._sender.repeated(listing.request, once)

    def _read(
        self, listing: Listing, params: Mapping[str, str], known: Container[int], began: float, tries: int
    ) -> tuple[Page, str | None]:
        """Send one request of a listing and return its items and the token of the next page."""
        reader = _PageReader(listing, known)
        page = self._sender.received(listing.request, params, reader, began, tries)
        return page, rows.text(reader.rest.get("nextToken"))

    def change(self, request: Request, params: Mapping[str, str | None]) -> dict[str, Any]:
        """Send a request that changes something and return its answer; {} for a successful dry run.

        It is sent again only if EC2 refused it unread, and is not cancelled once it is sent.
        """
        return self.asked(request, {name: value for name, value in params.items() if value is not None})

    def asked(self, request: Request, params: Mapping[str, str]) -> dict[str, Any]:
        """Send a request and return its whole answer; see `change` for requests that change something."""

        def once(began: float, tries: int) -> dict[str, Any]:
            reader = Reader(f"{request.action}Response")
            try:
                self._sender.received(request, params, reader, began, tries)
            except Refusal as refusal:
                if refusal.code == DRY_RUN and "DryRun" in params:
                    return {}
                raise
            reader.rest.pop("requestId", None)  # else it would be cached with the new object
            return reader.rest

        return self._sender.repeated(request, once)

    def made(self, request: Request, items: Iterable[Item]) -> Item:
        """Return the one item that a change created."""
        for item in items:
            return item
        raise self.explained(Malformed("it does not contain the new object"), request)

    def explained(self, failure: Exception, request: Request, tries: int = 1) -> CloudError:
        """Return the error for a failure. Raise it outside the handler: the failure may hold headers and keys."""
        return self._sender.explained(failure, request, tries)
