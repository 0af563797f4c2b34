"""The protocol of every provider: between the commands and a cloud."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, NamedTuple, Protocol

Item = dict[str, Any]
"""One object as a cloud lists it: the kind's columns by name (None or absent: not given), facts, and "extra".

The facts are "tags", as {key: value}, and those that the kind's room names for its commands. "extra" is for people to
read, under the cloud's own names; it may be as the cloud wrote it, and then the entry's `opened` parses it.
"digest", if present, is a signed 64-bit number that changes when the object changes.
"""

Page = list[Item]


class Region(NamedTuple):
    """A region of a cloud, and whether the account may use it."""

    name: str
    enabled: bool = True
    state: str = ""
    """The cloud's word for that: "opted-in"."""


@dataclass(frozen=True)
class Boot:
    """What to boot. With the same `token`, a repeated request boots only once (EC2: ClientToken)."""

    image: str
    flavor: str
    token: str
    location: str | None = None
    """An availability zone; None lets the cloud choose."""
    keypair: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Waiting:
    """A request that failed in passing and waits to be sent again."""

    doing: str
    """The request in plain words: "Listing images"."""
    why: str
    """Why it failed, in a word or two: "throttled"."""
    until: float
    """When it is sent again, in time.monotonic()."""

    def text(self, now: float) -> str:
        """Return what to show at time `now`: "throttled, retrying in 4 s", or "" when the wait is over."""
        return f"{self.why}, retrying in {ceil(self.until - now)} s" if now < self.until else ""


@dataclass(frozen=True)
class PriceList:
    """What flavors cost in one region, in USD per hour, and since when that is known."""

    source: str
    """Where the prices are from, worded to precede the day: "on demand," or "libcloud's list of"."""
    at: datetime | None
    """When they were fetched or published, in UTC; None if there is no list."""
    prices: Mapping[str, float]
    """By flavor. A flavor whose price is not known is absent."""

    @property
    def text(self) -> str:
        """Source and day: "on demand, 27 Nov 2026"."""
        return f"{self.source} {self.at.day} {self.at:%b %Y}" if self.at else "no price list"


class PriceSource(Protocol):
    """Where the prices of one cloud and region come from."""

    @property
    def key(self) -> str:
        """The name of the price list: clouds with the same key have the same prices. "" if none can be fetched."""
        ...

    @property
    def why_not(self) -> str:
        """Why no price list can be fetched, in a sentence; "" if one can."""
        ...

    def fetch(self, check: Callable[[], None]) -> PriceList:
        """Fetch the prices of now. Any thread may call it: it has a connection of its own.

        `check` may end it by raising. Raises CloudError, also if the cloud has no price in USD.
        """
        ...

    def fallback(self) -> PriceList:
        """Return the prices that are known without the cloud."""
        ...


class Face(Protocol):
    """The operations on the objects of one kind; each room adds what its commands need."""

    def list(self) -> Iterator[Page]:
        """List all objects, page by page. A listing that has to restart yields the earlier pages again.

        The listing of a vast kind takes `known`, the digests of known objects; such an object may be listed as only
        {"digest": …}. If objects can be listed by id, it takes `ids`.
        """
        ...


class Tagged(Protocol):
    """The operations on the tags of one kind."""

    name_tag: str
    """The tag that holds the name of an object; "" if the name is not a tag."""

    def tag(self, native: str, key: str, value: str) -> None:
        """Set a tag of an object."""
        ...

    def untag(self, native: str, key: str) -> None:
        """Remove a tag, whatever its value is."""
        ...


class Provider(Protocol):
    """One connection to one cloud and region, for one thread.

    Its failures are subclasses of CloudError. It calls `check` before each request and while it waits; `check` raises
    Cancelled when the user has cancelled. A read that fails in passing is sent again. A change is sent again only after
    the cloud refused it unread, by throttling; when its answer does not arrive, OutcomeUnknownError is raised. On a
    read-only cloud a change raises RefusedError, and nothing is sent.
    """

    def of(self, kind: str) -> Any:
        """Return the Face of a kind. Raises KeyError for a kind that the cloud does not have."""
        ...
