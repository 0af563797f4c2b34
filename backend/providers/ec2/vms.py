"""The EC2 face of VMs, which EC2 calls instances: lists them and acts on them."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from backend.errors import Cancelled, CloudError, CredentialsError, NotFoundError, PermissionDeniedError, TransientError
from backend.providers.ec2 import rows
from backend.providers.ec2.params import booting, filtered
from backend.providers.ec2.requests import Listing
from backend.providers.ec2.tags import Tags
from backend.providers.failures import Malformed, Request
from backend.providers.protocol import Boot, Item, Page

VMS = Listing(Request("DescribeInstances", "Listing VMs"), "reservationSet", rows.instances)
ADDRESSES = Listing(Request("DescribeAddresses", "Listing elastic IPs"), "addressesSet", rows.ADDRESS.item, 0)


_ASKED_IN_VAIN = (CredentialsError, NotFoundError, PermissionDeniedError, TransientError)
"""Errors that another form of the same request would meet too."""


class VMs(Tags):
    """The operations on VMs."""

    def list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        if keypair:
            return self._requests.pages(VMS, filtered("key-name", [keypair]))
        return self._requests.of(VMS, "instance-id", ids) if ids else self._requests.pages(VMS)

    def addresses(self, vms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for page in self._requests.of(ADDRESSES, "instance-id", vms):
            for address in page:
                if address["vm"]:
                    found.setdefault(address["vm"], []).append(address["id"])
        return found

    def protected(self, vm: str) -> bool:
        # DescribeInstances does not return this attribute, so each VM needs a request of its own.
        request = Request("DescribeInstanceAttribute", f"Checking whether VM {vm} is protected")
        answer = self._requests.asked(request, {"InstanceId": vm, "Attribute": "disableApiTermination"})
        said: str | None = rows.Field("disableApiTermination/value").of(answer)
        if said is None:
            raise self._requests.explained(Malformed("it does not say"), request)
        return said.lower() == "true"

    def console(self, vm: str) -> tuple[str, datetime | None]:
        request, asked = Request("GetConsoleOutput", f"Reading the console of VM {vm}"), {"InstanceId": vm}
        try:
            answer = self._requests.asked(request, asked | {"Latest": "true"})
        except CloudError as error:
            # Only VMs on Nitro have the newest output, and some endpoints do not know the parameter. Without it, EC2
            # returns what the VM wrote at its last start.
            if isinstance(error, _ASKED_IN_VAIN):
                raise
            answer = self._requests.asked(request, asked)
        try:  # with line ends in it, and without any output if there is none
            output = b64decode(rows.text(answer.get("output")) or "")
        except ValueError:
            raise self._requests.explained(Malformed("its text is not in base64"), request) from None
        return output.decode(errors="replace"), rows.moment(answer.get("timestamp"))

    def booted(self, boot: Boot) -> Item | None:
        # Filter by image and compare the token here: not every endpoint has the filter client-token.
        for page in self._requests.pages(VMS, filtered("image-id", [boot.image])):
            for item in page:
                if item["token"] == boot.token:
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
        if answer:  # EC2 refuses every dry run, and `change` returns {} for that refusal
            made = ", ".join(item["id"] for item in rows.instances(answer))
            raise CloudError(
                f"{self._requests.host} does not support dry runs and has booted {made or 'a VM'}.",
                "Delete it if you do not want it.",
            )

    def start(self, vm: str) -> str:
        return self._switch("StartInstances", "Starting", vm)

    def stop(self, vm: str) -> str:
        return self._switch("StopInstances", "Stopping", vm)

    def delete(self, vm: str) -> str:
        return self._switch("TerminateInstances", "Deleting", vm)

    def reboot(self, vm: str) -> str | None:
        """Reboot the VM and return its state; EC2 lists a rebooting VM as running.

        The answer of RebootInstances has no state, so the VM is listed afterwards. Returns None if that fails or is
        cancelled: EC2 has already accepted the reboot.
        """
        self._requests.change(Request("RebootInstances", f"Rebooting VM {vm}", changes=True), {"InstanceId.1": vm})
        try:
            states = [item["state"] for page in self.list([vm]) for item in page]
        except (CloudError, Cancelled):
            states = []
        return str(states[0]) if states and states[0] else None

    def protect(self, vm: str, on: bool) -> None:
        doing = f"{'Protecting' if on else 'Unprotecting'} VM {vm}"
        request = Request("ModifyInstanceAttribute", doing, changes=True)
        self._requests.change(request, {"InstanceId": vm, "DisableApiTermination.Value": "true" if on else "false"})

    def _switch(self, action: str, doing: str, vm: str) -> str:
        """Send a request about one VM and return its new state."""
        request = Request(action, f"{doing} VM {vm}", changes=True)
        answer = self._requests.change(request, {"InstanceId.1": vm})
        state: str | None = rows.Field("instancesSet/0/currentState/name").of(answer)
        if state is None:
            raise self._requests.explained(Malformed("it has no state"), request)
        return state
