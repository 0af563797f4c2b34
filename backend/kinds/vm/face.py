"""What the commands on VMs need of a provider."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from backend.kinds.vm import VM
from backend.providers.protocol import Boot, Item, Page, Provider


class VMs(Protocol):
    """The VMs of a cloud. Those of a cloud without a capability have no methods for it.

    Facts of an item: tags; token, the client token of its boot; group, which boots another in its place; spot, and
    spot_request; special, if its price is not that of its flavor (a licence, hardware of its own); ephemeral_root, a
    root disk that is lost with a stop; elastic, False if the cloud says that its public address is not; volumes, as
    [{id, dies}], where dies says whether they are deleted with it.
    """

    def list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        """List VMs, or those of `ids` or those booted with a keypair; ids that no longer exist are absent."""
        ...

    def console(self, vm: str) -> tuple[str, datetime | None]:
        """Return the last output of a VM's console, "" for none, as the VM wrote it, and when it was kept."""
        ...

    def addresses(self, vms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the elastic addresses of each of these VMs that has any."""
        ...

    def protected(self, vm: str) -> bool:
        """Return whether the VM is protected from being deleted, as the cloud says at this moment."""
        ...

    def booted(self, boot: Boot) -> Item | None:
        """Return the VM that an earlier request with the same token has made, None when there is none."""
        ...

    def boot(self, boot: Boot) -> Item:
        """Boot a VM; a request with a token that was used before makes no second one, for a day at least."""
        ...

    def try_boot(self, boot: Boot) -> None:
        """Ask whether the VM could be booted, without booting it; raises what booting it would raise."""
        ...

    def start(self, vm: str) -> str:
        """Start the VM and return the state that the cloud now says."""
        ...

    def stop(self, vm: str) -> str: ...
    def reboot(self, vm: str) -> str | None:
        """Reboot the VM and return the state that the cloud now says, None if it does not."""
        ...

    def delete(self, vm: str) -> str: ...
    def protect(self, vm: str, on: bool) -> None:
        """Protect the VM from being deleted, or no longer."""
        ...


def vms(provider: Provider) -> VMs:
    """Return the VMs of a cloud."""
    face: VMs = provider.of(VM.name)
    return face
