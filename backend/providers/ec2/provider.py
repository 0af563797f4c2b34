"""The provider for Amazon EC2 and whatever speaks its API: lists page by page and changes one thing at a time."""

import logging
from collections.abc import Callable, Container, Iterator, Sequence

from backend.callbacks import ignore
from backend.config import Cloud
from backend.errors import Cancelled, CloudError
from backend.providers.ec2 import rows
from backend.providers.ec2.entry import OWNERS
from backend.providers.ec2.hosts import signed_as
from backend.providers.ec2.params import booting, filtered, named, numbered
from backend.providers.ec2.prices import prices
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Malformed, Refusal, Request
from backend.providers.protocol import Boot, Item, Page, Waiting
from backend.providers.retry import RetryPolicy

log = logging.getLogger(__name__)

VOLUME_TYPE = "gp3"
"""EC2's API still defaults to gp2, which costs a quarter more and is slower when small; its console makes gp3."""


IMAGES = Listing(Request("DescribeImages", "Listing images"), "imagesSet", rows.IMAGE.item, vast=True)
FLAVORS = Listing(
    Request("DescribeInstanceTypes", "Listing flavors"),
    "instanceTypeSet",
    rows.FLAVOR.item,
    100,
    other=("instanceTypeDetails",),  # Eucalyptus
)
OFFERINGS = Listing(
    Request("DescribeInstanceTypeOfferings", "Listing the locations of flavors"),
    "instanceTypeOfferingSet",
    rows.OFFERING.item,
)
VMS = Listing(Request("DescribeInstances", "Listing VMs"), "reservationSet", rows.instances)
KEYPAIRS = Listing(Request("DescribeKeyPairs", "Listing keypairs"), "keySet", rows.KEYPAIR.item, 0)
LOCATIONS = Listing(
    Request("DescribeAvailabilityZones", "Listing locations"), "availabilityZoneInfo", rows.LOCATION.item, 0
)
VOLUMES = Listing(Request("DescribeVolumes", "Listing volumes"), "volumeSet", rows.VOLUME.item)
ADDRESSES = Listing(Request("DescribeAddresses", "Listing elastic IPs"), "addressesSet", rows.ADDRESS.item, 0)


class EC2Provider:
    """One connection to EC2 in one region, for one thread; see backend.providers.Provider."""

    def __init__(
        self,
        cloud: Cloud,
        check: Callable[[], None] = ignore,
        policy: RetryPolicy | None = None,
        waits: Callable[[Waiting], None] = ignore,
    ) -> None:
        self._cloud = cloud
        self._requests = Requests(cloud, check, policy, waits)

    def __repr__(self) -> str:
        return f"EC2Provider({self._cloud.name!r}, {self._cloud.region!r})"

    # --- listings ----------------------------------------------------------------------------------------------------

    def images(self, known: Container[int] = (), ids: Sequence[str] = ()) -> Iterator[Page]:
        if ids:
            return self._requests.of(IMAGES, "image-id", ids)
        owners = self._cloud.images or OWNERS
        return self._requests.pages(IMAGES, {} if "all" in owners else numbered("Owner", owners), known)

    def flavors(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        if ids:
            yield from self._requests.of(FLAVORS, "instance-type", ids)
            return
        zones: dict[str, list[str]] | None = None
        price, date = prices(signed_as(self._cloud.region))
        for number, page in enumerate(self._requests.pages(FLAVORS)):
            if number == 0:  # only when flavors are there: else the error is that of listing them
                zones = self._zones()
            for item in page:
                item["price"] = price.get(item["id"])
                item["price_date"] = date if item["price"] is not None else None
                item["extra"] |= {"zones": None if zones is None else zones.get(item["id"], [])}
            yield page

    def vms(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        if keypair:
            return self._requests.pages(VMS, filtered("key-name", [keypair]))
        return self._requests.of(VMS, "instance-id", ids) if ids else self._requests.pages(VMS)

    def keypairs(self) -> Iterator[Page]:
        return self._requests.pages(KEYPAIRS)

    def locations(self) -> Iterator[Page]:
        return self._requests.pages(LOCATIONS)

    def volumes(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        if ids or vms:
            return self._requests.of(VOLUMES, "volume-id" if ids else "attachment.instance-id", ids or vms)
        return self._requests.pages(VOLUMES)

    def addresses(self, vms: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for page in self._requests.of(ADDRESSES, "instance-id", vms):
            for address in page:
                if address["vm"]:
                    found.setdefault(address["vm"], []).append(address["id"])
        return found

    def protected(self, vm: str) -> bool:
        # The one attribute that DescribeInstances does not tell: a call for each VM.
        request = Request("DescribeInstanceAttribute", f"Looking whether VM {vm} is protected")
        answer = self._requests.asked(request, {"InstanceId": vm, "Attribute": "disableApiTermination"})
        said: str | None = rows.Field("disableApiTermination/value").of(answer)
        if said is None:
            raise self._requests.explained(Malformed("it does not say"), request)
        return said.lower() == "true"

    def booted(self, boot: Boot) -> Item | None:
        # By image, and the token compared here: not every endpoint knows the filter client-token.
        for page in self._requests.pages(VMS, filtered("image-id", [boot.image])):
            for item in page:
                if item["extra"].get("clientToken") == boot.token:
                    return item
        return None

    # --- changes: never interrupted once sent ------------------------------------------------------------------------

    def boot(self, boot: Boot) -> Item:
        request = Request("RunInstances", f"Booting a {boot.flavor} VM from {boot.image}", changes=True)
        return self._requests.made(request, rows.instances(self._requests.change(request, booting(boot))))

    def try_boot(self, boot: Boot) -> None:
        request = Request(
            "RunInstances", f"A dry run of booting a {boot.flavor} VM from {boot.image}", changes=True, trial=True
        )
        answer = self._requests.change(request, booting(boot) | {"DryRun": "true"})
        if answer:  # EC2 answers a dry run with a refusal, which _change knows
            made = ", ".join(item["id"] for item in rows.instances(answer))
            raise CloudError(
                f"{self._requests.host} does not know dry runs and has booted {made or 'a VM'}.",
                "Delete it, if it was not wanted.",
            )

    def start(self, vm: str) -> str:
        return self._switch("StartInstances", "Starting", vm)

    def stop(self, vm: str) -> str:
        return self._switch("StopInstances", "Stopping", vm)

    def delete_vm(self, vm: str) -> str:
        return self._switch("TerminateInstances", "Deleting", vm)

    def reboot(self, vm: str) -> str | None:
        """Reboot the VM and return its state, which EC2 keeps calling running while a VM reboots.

        RebootInstances answers with no state, so the VM is listed again. None where that fails or is cancelled: the
        reboot has been accepted all the same.
        """
        self._requests.change(Request("RebootInstances", f"Rebooting VM {vm}", changes=True), {"InstanceId.1": vm})
        try:
            states = [item["state"] for page in self.vms([vm]) for item in page]
        except (CloudError, Cancelled):
            states = []
        return str(states[0]) if states and states[0] else None

    def protect(self, vm: str, on: bool) -> None:
        doing = f"{'Protecting' if on else 'Unprotecting'} VM {vm}"
        request = Request("ModifyInstanceAttribute", doing, changes=True)
        self._requests.change(request, {"InstanceId": vm, "DisableApiTermination.Value": "true" if on else "false"})

    def tag(self, native: str, key: str, value: str) -> None:
        request = Request("CreateTags", f"Tagging {native}", changes=True)
        self._requests.change(request, {"ResourceId.1": native, "Tag.1.Key": key, "Tag.1.Value": value})

    def untag(self, native: str, key: str) -> None:
        request = Request("DeleteTags", f"Removing a tag of {native}", changes=True)
        self._requests.change(request, {"ResourceId.1": native, "Tag.1.Key": key})

    def create_keypair(self, name: str) -> tuple[Item, str]:
        request = Request("CreateKeyPair", f"Creating keypair {name}", changes=True)
        answer = self._requests.change(request, {"KeyName": name})
        pem = answer.pop("keyMaterial", None)  # out of the answer before anything is made of it: extra is cached
        # EC2 says neither type (RSA is its default) nor time here; the next listing does.
        item = self._requests.made(request, rows.KEYPAIR.item({"keyType": "rsa", **answer}))
        if not isinstance(pem, str):
            raise self._requests.explained(Malformed("it has no private key"), request)
        return item, pem

    def delete_keypair(self, name: str, native: str) -> None:
        request = Request("DeleteKeyPair", f"Deleting keypair {name}", changes=True)
        # EC2 calls deleting what is not there a success.
        if not self._has_keypair(name, native):
            raise self._requests.explained(Refusal(400, "InvalidKeyPair.NotFound"), request)
        if native == name:  # the endpoint gives no ids
            self._requests.change(request, {"KeyName": name})
            return
        # By its id: under its name another may have been created since.
        answer = self._requests.change(request, {"KeyPairId": native})
        if answer.get("keyPairId") != native and self._has_keypair(name, native):  # moto passes over the id
            self._requests.change(request, {"KeyName": name})

    def _has_keypair(self, name: str, native: str) -> bool:
        listed = self._requests.pages(KEYPAIRS, filtered("key-name", [name]))
        return any((item["name"], item["id"]) == (name, native) for page in listed for item in page)

    def create_volume(self, name: str, size: int, location: str, token: str) -> Item:
        request = Request("CreateVolume", f"Creating volume {name}", changes=True)
        params = {
            "Size": str(size),
            "AvailabilityZone": location,
            "VolumeType": VOLUME_TYPE,
            "ClientToken": token,
            **named(name, "volume"),
        }
        return self._requests.made(request, rows.VOLUME.item(self._requests.change(request, params)))

    def delete_volume(self, volume: str) -> None:
        self._requests.change(Request("DeleteVolume", f"Deleting volume {volume}", changes=True), {"VolumeId": volume})

    def attach(self, volume: str, vm: str, device: str) -> None:
        request = Request("AttachVolume", f"Attaching volume {volume} to VM {vm}", changes=True)
        self._requests.change(request, {"VolumeId": volume, "InstanceId": vm, "Device": device})

    def detach(self, volume: str, vm: str) -> None:
        request = Request("DetachVolume", f"Detaching volume {volume} from VM {vm}", changes=True)
        self._requests.change(request, {"VolumeId": volume, "InstanceId": vm})  # EC2 can do without the VM, moto cannot

    # --- how ---------------------------------------------------------------------------------------------------------

    def _zones(self) -> dict[str, list[str]] | None:
        """Return the availability zones that offer each flavor; None where the endpoint does not tell.

        That costs no flavor: these keys may not ask, the endpoint lacks the request, or its answer is lost.
        """
        zones: dict[str, set[str]] = {}  # sets: a listing that began again says things twice
        try:
            for page in self._requests.pages(OFFERINGS, {"LocationType": "availability-zone"}):
                for offer in page:
                    zones.setdefault(offer["id"], set()).add(offer["zone"])
        except CloudError as error:
            log.warning("flavors are listed without their locations: %s", error)
            return None
        return {flavor: sorted(filter(None, names)) for flavor, names in zones.items()} or None

    def _switch(self, action: str, doing: str, vm: str) -> str:
        """Send a call about one VM whose answer is its new state."""
        request = Request(action, f"{doing} VM {vm}", changes=True)
        answer = self._requests.change(request, {"InstanceId.1": vm})
        state: str | None = rows.Field("instancesSet/0/currentState/name").of(answer)
        if state is None:
            raise self._requests.explained(Malformed("it has no state"), request)
        return state
