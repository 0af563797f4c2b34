"""Volumes of EC2."""

from collections.abc import Iterator, Sequence

from backend.providers.ec2 import rows
from backend.providers.ec2.params import named
from backend.providers.ec2.requests import Listing
from backend.providers.ec2.tags import Tags
from backend.providers.failures import Request
from backend.providers.protocol import Item, Page

TYPE = "gp3"
"""EC2's console creates gp3. Its API still defaults to gp2, which costs 25 % more and is slower for small volumes."""

VOLUMES = Listing(Request("DescribeVolumes", "Listing volumes"), "volumeSet", rows.VOLUME.item)


class Volumes(Tags):
    """The operations on volumes."""

    def list(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        if ids or vms:
            return self._requests.of(VOLUMES, "volume-id" if ids else "attachment.instance-id", ids or vms)
        return self._requests.pages(VOLUMES)

    def create(self, name: str, size: int, location: str, token: str) -> Item:
        request = Request("CreateVolume", f"Creating volume {name}", changes=True)
        params = {
            "Size": str(size),
            "AvailabilityZone": location,
            "VolumeType": TYPE,
            "ClientToken": token,
            **named(name, "volume"),
        }
        return self._requests.made(request, rows.VOLUME.item(self._requests.change(request, params)))

    def delete(self, volume: str) -> None:
        self._requests.change(Request("DeleteVolume", f"Deleting volume {volume}", changes=True), {"VolumeId": volume})

    def attach(self, volume: str, vm: str, device: str) -> None:
        request = Request("AttachVolume", f"Attaching volume {volume} to VM {vm}", changes=True)
        self._requests.change(request, {"VolumeId": volume, "InstanceId": vm, "Device": device})

    def detach(self, volume: str, vm: str) -> None:
        request = Request("DetachVolume", f"Detaching volume {volume} from VM {vm}", changes=True)
        # EC2 does not need the VM, but moto does.
        self._requests.change(request, {"VolumeId": volume, "InstanceId": vm})
