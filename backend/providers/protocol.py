"""What every provider does: the protocol between the commands and a cloud."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

Item = dict[str, Any]
"""One object as a cloud lists it: the kind's columns by name (None or absent: not said) and "extra" for the rest.

The rest may be as the cloud wrote it, which `opened` takes apart.
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


class Provider(Protocol):
    """One connection to one cloud and region, for one thread.

    Every listing yields pages as they arrive and raises CloudError's subclasses; `check` is called before each
    request and while waiting, and raises Cancelled when the user has cancelled. Reads are retried when they fail
    in passing. What changes a cloud is sent again only after it was refused unread, by throttling; when its answer
    does not come it raises UnsureError. On a cloud that is read-only it raises RefusedError, and nothing is sent. A
    listing that had to begin again yields what it had yielded before once more.
    """

    def images(self, known: Container[int] = (), ids: Sequence[str] = ()) -> Iterator[Page]:
        """List images, or only those of `ids`; one whose digest is in `known` may come as {"digest": …} alone."""
        ...

    def flavors(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List flavors, or only those of `ids`, then without their prices and locations."""
        ...

    def vms(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        """List VMs, or only those of `ids` or those booted with a keypair; ids that no longer exist are absent."""
        ...

    def keypairs(self) -> Iterator[Page]: ...
    def locations(self) -> Iterator[Page]: ...
    def volumes(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        """List volumes, or only those of `ids` or those attached to `vms`; what no longer exists is absent."""
        ...

    def addresses(self, vms: Sequence[str]) -> dict[str, list[str]]:
        """Return the elastic IP addresses of each of these VMs that has any."""
        ...

    def protected(self, vm: str) -> bool:
        """Return whether the VM is protected from being deleted, as the cloud says at this moment."""
        ...

    def booted(self, boot: Boot) -> Item | None:
        """Return the VM that an earlier request with the same token has made, None when there is none."""
        ...

    def boot(self, boot: Boot) -> Item:
        """Boot a VM; a request with a token that was used before makes no second one (EC2: for a day and more)."""
        ...

    def try_boot(self, boot: Boot) -> None:
        """Ask whether the VM could be booted, without booting it; raises what booting it would raise."""
        ...

    def start(self, vm: str) -> str:
        """Start the VM and return the state that the cloud now says."""
        ...

    def stop(self, vm: str) -> str: ...
    def reboot(self, vm: str) -> str | None:
        """Reboot the VM and return the state that the cloud now says, None where it does not."""
        ...

    def delete_vm(self, vm: str) -> str: ...
    def protect(self, vm: str, on: bool) -> None:
        """Protect the VM from being deleted, or no longer."""
        ...

    def tag(self, native: str, key: str, value: str) -> None:
        """Set a tag of a VM or a volume."""
        ...

    def untag(self, native: str, key: str) -> None:
        """Remove a tag, whatever its value."""
        ...

    def create_keypair(self, name: str) -> tuple[Item, str]:
        """Return the keypair and its private key (PEM), which the cloud will never show again."""
        ...

    def delete_keypair(self, name: str, native: str) -> None:
        """Delete a keypair; NotFoundError where the one of that name is not the one of that id."""
        ...

    def create_volume(self, name: str, size: int, location: str, token: str) -> Item:
        """Create a volume of `size` GiB in the availability zone `location`; `token` as in Boot."""
        ...

    def delete_volume(self, volume: str) -> None: ...
    def attach(self, volume: str, vm: str, device: str) -> None:
        """Attach a volume to a VM as `device`, such as /dev/sdf."""
        ...

    def detach(self, volume: str, vm: str) -> None: ...
