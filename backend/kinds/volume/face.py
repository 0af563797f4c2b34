"""What the commands on volumes need of a provider."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from backend.kinds.volume import VOLUME
from backend.providers.protocol import Item, Page, Provider


class Volumes(Protocol):
    """The volumes of a cloud.

    Facts of an item: tags; attachments, as [{vm, device, state, dies}], where dies says whether the volume is deleted
    with the VM; multi_attach, whether several VMs may have it; snapshot, which it was made from.
    """

    def list(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        """List volumes, or those of `ids` or those attached to `vms`; what no longer exists is absent."""
        ...

    def create(self, name: str, size: int, location: str, token: str) -> Item:
        """Create a volume of `size` GiB in `location`; `token` as in Boot."""
        ...

    def delete(self, volume: str) -> None: ...
    def attach(self, volume: str, vm: str, device: str) -> None:
        """Attach a volume to a VM as `device`, such as /dev/sdf; "": the cloud chooses."""
        ...

    def detach(self, volume: str, vm: str) -> None: ...


def volumes(provider: Provider) -> Volumes:
    """Return the volumes of a cloud."""
    face: Volumes = provider.of(VOLUME.name)
    return face
