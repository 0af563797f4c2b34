"""What every provider does: the protocol between the commands and a cloud."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

Item = dict[str, Any]
"""One object as a cloud lists it: the kind's columns by name (None or absent: not said), facts, and "extra".

The facts are "tags", as {key: value}, and those that a room says its commands need. "extra" is for people to read,
under the cloud's own names; it may be as the cloud wrote it, which the entry's `opened` takes apart.
Where the provider can tell by a signed 64-bit number whether an object is still what it was, "digest" is that number.
"""

Page = list[Item]


@dataclass(frozen=True)
class Boot:
    """What to boot. `token` makes a repeated request the same request (EC2: ClientToken)."""

    image: str
    flavor: str
    token: str
    location: str | None = None
    """An availability zone; None lets the cloud choose."""
    keypair: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Waiting:
    """A call that failed in passing and waits to be sent again."""

    doing: str
    """The call in plain words: "Listing images"."""
    why: str
    """Why it failed, in a word or two: "throttled"."""
    until: float
    """When it is sent again, by time.monotonic()."""

    def text(self, now: float) -> str:
        """Return what to show at a moment, "" when it is over: "throttled, retrying in 4 s"."""
        return f"{self.why}, retrying in {ceil(self.until - now)} s" if now < self.until else ""


class Face(Protocol):
    """What can be done with the objects of one kind; each room says what its commands need beyond this."""

    def list(self) -> Iterator[Page]:
        """List all, page by page; a listing that had to restart yields what it had yielded before once more.

        That of a vast kind takes `known`, the digests of what is known: such an object may come as {"digest": …} alone.
        Where objects can be listed by id, it takes `ids`.
        """
        ...


class Tagged(Protocol):
    """What can be done with the tags of one kind."""

    def tag(self, native: str, key: str, value: str) -> None:
        """Set a tag of an object."""
        ...

    def untag(self, native: str, key: str) -> None:
        """Remove a tag, whatever its value."""
        ...


class Provider(Protocol):
    """One connection to one cloud and region, for one thread.

    Its failures are subclasses of CloudError. It calls `check` before each request and while it waits; `check` raises
    Cancelled when the user has cancelled. A read that fails in passing is sent again. A change is sent again only after
    the cloud refused it unread, by throttling; when its answer does not arrive, OutcomeUnknownError is raised. On a
    read-only cloud a change raises RefusedError, and nothing is sent.
    """

    def of(self, kind: str) -> Any:
        """Return the Face of a kind. Raises KeyError for a kind that the cloud has not."""
        ...
