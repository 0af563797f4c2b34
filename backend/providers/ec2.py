"""The provider for Amazon EC2 and whatever speaks its API: lists page by page and changes one thing at a time."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from libcloud.common.types import LibcloudError
from urllib3.exceptions import HTTPError

from backend.callbacks import ignore
from backend.config import Cloud
from backend.errors import (
    Cancelled,
    CloudError,
    CredentialsError,
    PermissionDeniedError,
    RefusedError,
    TransientError,
)
from backend.providers import Boot, Item, Page
from backend.providers import ec2_rows as rows
from backend.providers.ec2_cut import Cutter, value
from backend.providers.ec2_driver import Driver
from backend.providers.ec2_errors import Call, Refusal, explain
from backend.providers.ec2_outline import outline
from backend.providers.ec2_params import booting, filtered, named, numbered
from backend.providers.ec2_prices import prices
from backend.providers.ec2_xml import Malformed, Reader
from backend.providers.patience import Patience

FAILURES = (Refusal, Malformed, OSError, HTTPError, LibcloudError, ValueError)
"""What sending a call and reading its answer may raise; requests' exceptions are OSErrors."""
VALUES = 200
"""The most values that EC2 takes in one filter."""
VOLUME_TYPE = "gp3"
"""EC2's API still defaults to gp2, which costs a quarter more and is slower when small; its console makes gp3."""


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


IMAGES = Listing(Call("DescribeImages", "Listing images"), "imagesSet", rows.IMAGE.item, vast=True)
FLAVORS = Listing(Call("DescribeInstanceTypes", "Listing flavors"), "instanceTypeSet", rows.FLAVOR.item, 100)
OFFERINGS = Listing(
    Call("DescribeInstanceTypeOfferings", "Listing the locations of flavors"),
    "instanceTypeOfferingSet",
    rows.OFFERING.item,
)
VMS = Listing(Call("DescribeInstances", "Listing VMs"), "reservationSet", rows.instances)
KEYPAIRS = Listing(Call("DescribeKeyPairs", "Listing keypairs"), "keySet", rows.KEYPAIR.item, 0)
LOCATIONS = Listing(
    Call("DescribeAvailabilityZones", "Listing locations"), "availabilityZoneInfo", rows.LOCATION.item, 0
)
VOLUMES = Listing(Call("DescribeVolumes", "Listing volumes"), "volumeSet", rows.VOLUME.item)
ADDRESSES = Listing(Call("DescribeAddresses", "Listing elastic IPs"), "addressesSet", rows.ADDRESS.item, 0)


class LostPlaceError(Exception):
    """EC2 no longer knows the token of the next page; `error` is what to raise when beginning again is no use."""

    def __init__(self, error: CloudError) -> None:
        super().__init__()
        self.error = error


class EC2Provider:
    """One connection to EC2 in one region, for one thread; see backend.providers.Provider."""

    def __init__(self, cloud: Cloud, check: Callable[[], None] = ignore, patience: Patience | None = None) -> None:
        self._cloud = cloud
        self._check = check
        self._patience = patience or Patience()
        self._driver = Driver(cloud)

    def __repr__(self) -> str:
        return f"EC2Provider({self._cloud.name!r}, {self._cloud.region!r})"

    # --- listings ----------------------------------------------------------------------------------------------------

    def images(self, known: Container[int] = ()) -> Iterator[Page]:
        owners = self._cloud.images
        return self._pages(IMAGES, {} if "all" in owners else numbered("Owner", owners), known)

    def flavors(self) -> Iterator[Page]:
        zones = self._zones()
        price, date = prices(self._cloud.region)
        for page in self._pages(FLAVORS):
            for item in page:
                item["price"] = price.get(item["id"])
                item["price_date"] = date if item["price"] is not None else None
                item["extra"] |= {"zones": None if zones is None else zones.get(item["id"], [])}
            yield page

    def vms(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        if keypair:
            return self._pages(VMS, filtered("key-name", [keypair]))
        return self._of(VMS, "instance-id", ids) if ids else self._pages(VMS)

    def keypairs(self) -> Iterator[Page]:
        return self._pages(KEYPAIRS)

    def locations(self) -> Iterator[Page]:
        return self._pages(LOCATIONS)

    def volumes(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        if ids or vms:
            return self._of(VOLUMES, "volume-id" if ids else "attachment.instance-id", ids or vms)
        return self._pages(VOLUMES)

    def addresses(self, vms: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for page in self._of(ADDRESSES, "instance-id", vms):
            for address in page:
                if address["vm"]:
                    found.setdefault(address["vm"], []).append(address["id"])
        return found

    def protected(self, vm: str) -> bool:
        # The one attribute that DescribeInstances does not tell: a call for each VM.
        call = Call("DescribeInstanceAttribute", f"Looking whether VM {vm} is protected")
        answer = self._asked(call, {"InstanceId": vm, "Attribute": "disableApiTermination"})
        said: str | None = rows.Field("disableApiTermination/value").of(answer)
        if said is None:
            raise self._explained(Malformed("it does not say"), call)
        return said.lower() == "true"

    def booted(self, boot: Boot) -> Item | None:
        # By image, and the token compared here: not every endpoint knows the filter client-token.
        for page in self._pages(VMS, filtered("image-id", [boot.image])):
            for item in page:
                if item["extra"].get("clientToken") == boot.token:
                    return item
        return None

    # --- changes: never interrupted once sent ------------------------------------------------------------------------

    def boot(self, boot: Boot) -> Item:
        call = Call("RunInstances", f"Booting a {boot.flavor} VM from {boot.image}", changes=True)
        return self._made(call, rows.instances(self._change(call, booting(boot))))

    def try_boot(self, boot: Boot) -> None:
        call = Call("RunInstances", f"A dry run of booting a {boot.flavor} VM from {boot.image}", changes=True)
        answer = self._change(call, booting(boot) | {"DryRun": "true"})
        if answer:  # EC2 answers a dry run with a refusal, which _change knows
            made = ", ".join(item["id"] for item in rows.instances(answer))
            raise CloudError(
                f"{self._driver.host} does not know dry runs and has booted {made or 'a VM'}.",
                "Delete it, if it was not wanted.",
            )

    def start(self, vm: str) -> str:
        return self._switch("StartInstances", "Starting", vm)

    def stop(self, vm: str) -> str:
        return self._switch("StopInstances", "Stopping", vm)

    def delete_vm(self, vm: str) -> str:
        return self._switch("TerminateInstances", "Deleting", vm)

    def reboot(self, vm: str) -> str:
        """Reboot the VM and return its state, which EC2 keeps calling running while a VM reboots.

        RebootInstances answers with no state, so the VM is looked at again. When that look fails or is cancelled, the
        reboot has been accepted all the same, and EC2 accepts it of running VMs only.
        """
        self._change(Call("RebootInstances", f"Rebooting VM {vm}", changes=True), {"InstanceId.1": vm})
        try:
            states = [item["state"] for page in self.vms([vm]) for item in page]
        except (CloudError, Cancelled):
            states = []
        return str(states[0]) if states and states[0] else "running"

    def protect(self, vm: str, on: bool) -> None:
        doing = f"{'Protecting' if on else 'Unprotecting'} VM {vm}"
        call = Call("ModifyInstanceAttribute", doing, changes=True)
        self._change(call, {"InstanceId": vm, "DisableApiTermination.Value": "true" if on else "false"})

    def tag(self, native: str, key: str, value: str) -> None:
        call = Call("CreateTags", f"Tagging {native}", changes=True)
        self._change(call, {"ResourceId.1": native, "Tag.1.Key": key, "Tag.1.Value": value})

    def untag(self, native: str, key: str) -> None:
        call = Call("DeleteTags", f"Removing a tag of {native}", changes=True)
        self._change(call, {"ResourceId.1": native, "Tag.1.Key": key})

    def create_keypair(self, name: str) -> tuple[Item, str]:
        call = Call("CreateKeyPair", f"Creating keypair {name}", changes=True)
        answer = self._change(call, {"KeyName": name})
        pem = answer.pop("keyMaterial", None)  # out of the answer before anything is made of it: extra is cached
        # EC2 says neither type (RSA is its default) nor time here; the next listing does.
        item = self._made(call, rows.KEYPAIR.item({"keyType": "rsa", **answer}))
        if not isinstance(pem, str):
            raise self._explained(Malformed("it has no private key"), call)
        return item, pem

    def delete_keypair(self, name: str, native: str) -> None:
        call = Call("DeleteKeyPair", f"Deleting keypair {name}", changes=True)
        # EC2 calls deleting what is not there a success, and moto knows keypairs by name alone, which may be another's.
        listed = self._pages(KEYPAIRS, filtered("key-name", [name]))
        if not any((item["name"], item["id"]) == (name, native) for page in listed for item in page):
            raise self._explained(Refusal(400, "InvalidKeyPair.NotFound"), call)
        self._change(call, {"KeyName": name})

    def create_volume(self, name: str, size: int, location: str, token: str) -> Item:
        call = Call("CreateVolume", f"Creating volume {name}", changes=True)
        params = {
            "Size": str(size),
            "AvailabilityZone": location,
            "VolumeType": VOLUME_TYPE,
            "ClientToken": token,
            **named(name, "volume"),
        }
        return self._made(call, rows.VOLUME.item(self._change(call, params)))

    def delete_volume(self, volume: str) -> None:
        self._change(Call("DeleteVolume", f"Deleting volume {volume}", changes=True), {"VolumeId": volume})

    def attach(self, volume: str, vm: str, device: str) -> None:
        call = Call("AttachVolume", f"Attaching volume {volume} to VM {vm}", changes=True)
        self._change(call, {"VolumeId": volume, "InstanceId": vm, "Device": device})

    def detach(self, volume: str, vm: str) -> None:
        call = Call("DetachVolume", f"Detaching volume {volume} from VM {vm}", changes=True)
        self._change(call, {"VolumeId": volume, "InstanceId": vm})  # EC2 can do without the VM, moto cannot

    # --- how ---------------------------------------------------------------------------------------------------------

    def _zones(self) -> dict[str, list[str]] | None:
        """Return the availability zones that offer each flavor; None where these keys may not ask."""
        zones: dict[str, set[str]] = {}  # sets: a listing that began again says things twice
        try:
            for page in self._pages(OFFERINGS, {"LocationType": "availability-zone"}):
                for offer in page:
                    zones.setdefault(offer["id"], set()).add(offer["zone"])
        except PermissionDeniedError:
            return None
        return {flavor: sorted(filter(None, names)) for flavor, names in zones.items()}

    def _of(self, listing: Listing, name: str, values: Sequence[str]) -> Iterator[Page]:
        """Yield the pages of what has one of these values in the filter `name`, as many values a call as EC2 takes."""
        for start in range(0, len(values), VALUES):
            yield from self._pages(listing, filtered(name, values[start : start + VALUES]))

    def _pages(
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
                    raise self._explained(Malformed("it gives the same page again"), listing.call)
                token = following
                continue
            restarts += 1
            if restarts > RESTARTS:
                raise error
            token = None

    def _page(self, listing: Listing, params: Mapping[str, str], known: Container[int]) -> tuple[Page, str | None]:
        patience = self._patience
        began = patience.clock()
        tries = 0
        while True:
            tries += 1
            self._check()
            try:
                return self._read(listing, params, known)
            except FAILURES as failure:
                error = self._explained(failure, listing.call, tries)
                lost = isinstance(failure, Refusal) and failure.code in LOST_PLACE and "NextToken" in params
            # Out here the failure, which may hold headers and keys, is neither cause nor context of ours.
            if lost:
                raise LostPlaceError(error)
            self._wait_or_raise(error, began, tries, patience.tries)

    def _wait_or_raise(self, error: CloudError, began: float, tries: int, most: int) -> None:
        """Wait until a call may be sent again, or raise why it failed: not in passing, too often or for too long."""
        patience = self._patience
        delay = patience.delay(tries)
        late = patience.clock() + delay - began > patience.deadline
        if late or tries >= most or not isinstance(error, TransientError):
            raise error
        patience.wait(delay, self._check)

    def _read(self, listing: Listing, params: Mapping[str, str], known: Container[int]) -> tuple[Page, str | None]:
        """Send one call of a listing and return its items and the token of the next page."""
        page: Page = []
        make = outline if listing.vast else value
        cutter = Cutter(f"{listing.call.action}Response", listing.collection, known, make)
        for pairs in self._received(listing.call, params, cutter, self._check):
            for digest, raw in pairs:
                if raw is None:
                    page.append({"digest": digest})
                else:
                    for item in listing.items(raw):
                        if listing.vast and digest is not None:
                            item["digest"] = digest
                        page.append(item)
        return page, rows.text(cutter.rest.get("nextToken"))

    def _change(self, call: Call, params: Mapping[str, str | None]) -> dict[str, Any]:
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
        return self._asked(call, given)

    def _asked(self, call: Call, params: Mapping[str, str]) -> dict[str, Any]:
        """Send a call whose answer is one thing and return that; see `_change` for those that change something."""
        patience = self._patience
        began = patience.clock()
        tries = 0
        while True:
            tries += 1
            self._check()
            reader = Reader(f"{call.action}Response")
            try:
                for _ in self._received(call, params, reader, ignore):
                    pass
            except FAILURES as failure:
                refused = isinstance(failure, Refusal)
                if isinstance(failure, Refusal) and failure.code == DRY_RUN:
                    return {}
                error = self._explained(failure, call, tries)
            else:
                reader.rest.pop("requestId", None)  # else it would be cached with what was made
                return reader.rest
            most = patience.tries if not call.changes else patience.unread if refused else 1
            self._wait_or_raise(error, began, tries, most)

    def _received(
        self, call: Call, params: Mapping[str, str], reader: Reader | Cutter, check: Callable[[], None]
    ) -> Iterator[list[Any]]:
        """Send one call and yield the items that each piece of its answer completes."""
        if not (self._cloud.credentials.key and self._cloud.credentials.secret):
            raise CredentialsError(
                f"{call.doing} failed: cloud {self._cloud.name} has no keys.",
                "Put EC2_ACCESS_KEY and EC2_SECRET_KEY into cloudmesh.yaml, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY into the environment.",
            )
        answer = self._driver.send(call.action, params)
        try:
            for chunk in answer.chunks():
                check()
                yield reader.feed(chunk)
            yield reader.close()
        finally:
            answer.close()

    def _switch(self, action: str, doing: str, vm: str) -> str:
        """Send a call about one VM whose answer is its new state."""
        call = Call(action, f"{doing} VM {vm}", changes=True)
        answer = self._change(call, {"InstanceId.1": vm})
        state: str | None = rows.Field("instancesSet/0/currentState/name").of(answer)
        if state is None:
            raise self._explained(Malformed("it has no state"), call)
        return state

    def _made(self, call: Call, items: Iterable[Item]) -> Item:
        """Return the one item that a change has made."""
        for item in items:
            return item
        raise self._explained(Malformed("it does not say what was made"), call)

    def _explained(self, failure: Exception, call: Call, tries: int = 1) -> CloudError:
        return explain(failure, call, self._cloud, self._driver.host, tries)
