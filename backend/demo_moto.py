"""The simulated EC2 of the demo: moto's backend with slow states, EC2's refusals and sample content.

Importing this module imports moto, which takes 0.3 s: only backend.demo_server does so.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import RLock
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidKeyPairNameError
from moto.ec2.models import EC2Backend, InstanceTypeBackend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.availability_zones_and_regions import Region as AWSRegion
from moto.ec2.models.instances import Instance, InstanceState, Reservation
from moto.ec2.models.key_pairs import KeyPair
from moto.moto_api._internal import mock_random

from backend.demo_accounts import ACCOUNTS, NOT_OPTED_IN, REGION_NAMES, Account
from backend.demo_content import Disk, Group, Image, Keypair, Machine, Region, newest

# --- slow states -----------------------------------------------------------------------------------------------------

_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

_BETWEEN = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}
"""The state that EC2 reports before the requested one."""

_FINAL = {between: final for final, between in _BETWEEN.items()}


class SlowState(InstanceState):  # type: ignore[misc]
    """A VM's state that takes `delay` seconds to reach what moto sets; moto itself changes it at once."""

    def __init__(self, clock: Callable[[], float], delay: float, name: str, first: float | None = None) -> None:
        """Start in `name`. If that is a passing state, it ends after `first` seconds, later ones after `delay`."""
        self._clock = clock
        self._delay = delay
        wait = (delay if first is None else first) if name in _FINAL else 0.0
        # One tuple, so that requests on other threads never see half a change.
        self._course = (clock() + wait, name, _FINAL.get(name, name))

    @property
    def name(self) -> str:
        """The state at this moment."""
        settles, between, final = self._course
        return between if self._clock() < settles else final

    @name.setter
    def name(self, final: str) -> None:
        # moto's reboot sets `running` on a running VM: not a change.
        if final != self._course[2]:
            self._course = (self._clock() + self._delay, _BETWEEN[final], final)

    @property
    def code(self) -> int:
        """EC2's number for the state."""
        return _CODES[self.name]

    @code.setter
    def code(self, code: int) -> None:
        """Ignore the number that moto sets after the name: here it follows from the name."""

    def terminated_for(self) -> float:
        """Return the seconds since the VM was terminated; negative if it is not."""
        settles, _, final = self._course
        return self._clock() - settles if final == "terminated" else -1.0


# --- the backend -----------------------------------------------------------------------------------------------------

_REFUSED = {
    "started": {"stopping", "shutting-down", "terminated"},
    "stopped": {"pending", "shutting-down", "terminated"},
    "rebooted": {"pending", "stopping", "stopped", "shutting-down", "terminated"},
}
"""The states in which EC2 refuses the action; terminating is never refused."""


class DemoBackend(EC2Backend):  # type: ignore[misc]
    """moto's EC2 of one region of an account; moto's settings, environment and classes stay unchanged."""

    def __init__(
        self,
        account: Account,
        region: Region,
        *,
        clock: Callable[[], float],
        delay: float,
        forget: float,
        now: datetime,
    ) -> None:
        self._clock = clock
        self._delay = delay
        self._forget = forget
        self.images_as_filled = True
        # moto registers a booted VM as running; then it is made pending. No request may see it in between.
        self._boots = RLock()
        families = set(region.families.split())
        # moto keeps the flavors on the class; this attribute hides them.
        self.instance_types = [t for t in InstanceTypeBackend.instance_types if t.name.split(".")[0] in families]
        self._flavors = {flavor.name: flavor for flavor in self.instance_types}
        super().__init__(region.name, account.id)
        self.regions = [
            *(AWSRegion(name, f"ec2.{name}.amazonaws.com", "opt-in-not-required") for name in REGION_NAMES),
            *(AWSRegion(name, f"ec2.{name}.amazonaws.com", "not-opted-in") for name in NOT_OPTED_IN),
        ]
        self._fill(region, now)

    def reset(self) -> None:
        """Keep the content: moto's reset is for tests; DemoCloud removes this backend itself."""

    def _load_amis(self) -> None:
        """Load none of moto's 1,300 images: `_fill` adds ours."""

    # Refuse what EC2 refuses and moto allows. moto's own checks are switched by the environment at import, and accept
    # any part of a flavor's name.

    def run_instances(self, image_id: str, *args: Any, **kwargs: Any) -> Reservation:
        image = self.describe_images(ami_ids=[image_id or ""])[0]
        keypair = kwargs.get("key_name")
        if keypair and keypair not in self.key_pairs:
            raise InvalidKeyPairNameError(keypair)
        flavor = self._flavors.get(kwargs["instance_type"])
        if flavor is None:
            raise EC2ClientError(
                "InvalidParameterValue", f"Invalid value '{kwargs['instance_type']}' for InstanceType."
            )
        architectures = flavor["ProcessorInfo"]["SupportedArchitectures"]
        if image.architecture not in architectures:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The architecture '{','.join(architectures)}' of the specified instance type does not match "
                f"the architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI "
                "that have matching architectures, and try again.",
            )
        with self._boots:
            reservation = super().run_instances(image_id, *args, **kwargs)
            for instance in reservation.instances:
                instance._state = SlowState(self._clock, self._delay, "pending")
        return reservation

    def start_instances(self, instance_ids: list[str]) -> Any:
        self._refuse("started", instance_ids)
        return super().start_instances(instance_ids)

    def stop_instances(self, instance_ids: list[str]) -> Any:
        self._refuse("stopped", instance_ids)
        return super().stop_instances(instance_ids)

    def reboot_instances(self, instance_ids: list[str]) -> Any:
        self._refuse("rebooted", instance_ids)
        return super().reboot_instances(instance_ids)

    def _refuse(self, what: str, instance_ids: list[str]) -> None:
        for instance in self.get_multi_instances_by_id(instance_ids):
            if instance.state in _REFUSED[what]:
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be {what}.",
                )

    def all_reservations(self, filters: Any = None) -> list[Reservation]:
        with self._boots:
            for key, reservation in list(self.reservations.items()):
                kept = [instance for instance in reservation.instances if not self._forgotten(instance)]
                if kept:
                    reservation.instances = kept
                elif reservation.instances:  # a reservation that is just being booted has no instances
                    del self.reservations[key]
            return list(super().all_reservations(filters))

    def _forgotten(self, instance: Instance) -> bool:
        state = instance._state  # moto's own class while the instance is being booted
        return isinstance(state, SlowState) and state.terminated_for() >= self._forget

    def describe_instance_type_offerings(self, location_type: str | None = None, filters: Any = None) -> list[Any]:
        offerings = super().describe_instance_type_offerings(location_type, filters)
        return [offering for offering in offerings if offering["InstanceType"] in self._flavors]

    # --- the content ---

    def _fill(self, region: Region, now: datetime) -> None:
        for image in region.images():
            self.amis[image.id] = self._ami(image)
        for keypair in region.keypairs:
            self.key_pairs[keypair.name] = self._key_pair(keypair)
        machines = {machine.name: self._instance(region, machine, now) for machine in region.machines}
        for letter, disk in zip("fghijklmnop", region.disks, strict=False):
            self._volume(region, disk, machines[disk.on] if disk.on else None, f"/dev/sd{letter}", now)
        for group in region.groups:  # last: the ids of all else stay what they were
            self._group(group, machines)

    def _ami(self, image: Image) -> Ami:
        account = image.owner.account or self.account_id
        return Ami(
            self,
            image.id,
            name=image.name,
            description=image.description,
            owner_id=account,
            owner_alias=image.owner.alias,
            public=image.owner.account is not None,
            virtualization_type="hvm",
            architecture=image.architecture,
            creation_date=image.created,
            platform=image.platform,
            image_location=f"{image.owner.alias or account}/{image.name}",
            hypervisor="xen",
            root_device_type="ebs",
            region_name=f"{self.region_name}a",
        )

    def _key_pair(self, keypair: Keypair) -> KeyPair:
        digest = hashlib.sha256(keypair.name.encode()).digest()
        fingerprint = digest[:20].hex(":") if keypair.type == "rsa" else b64encode(digest).decode()
        return KeyPair(
            keypair.name, keypair.type, fingerprint, material=b"", material_public=b"", tags={}, ec2_backend=self
        )

    def _instance(self, region: Region, machine: Machine, now: datetime) -> Instance:
        tags = {"Name": machine.name, **machine.tags} if machine.name else machine.tags
        launched = now - timedelta(days=machine.days)
        [instance] = self.run_instances(
            newest(region.name, machine.image, machine.architecture),
            1,
            None,
            [],
            instance_type=machine.flavor,
            is_instance_type_default=False,
            region_name=region.name,
            placement=region.name + machine.zone,
            key_name=machine.keypair,
            tags={"instance": tags},
            block_device_mappings=[
                {
                    "DeviceName": "/dev/sda1",
                    "Ebs": {"VolumeSize": machine.disk, "VolumeType": "gp3", "DeleteOnTermination": True},
                }
            ],
        ).instances
        instance.launch_time = launched
        for _, mapping in instance.get_block_device_mapping:
            self.get_volume(mapping.volume_id).create_time = launched
        instance.disable_api_termination = machine.protected
        if machine.address:
            address = self.allocate_address("vpc")
            self.associate_address(instance=instance, allocation_id=address.allocation_id)
        # moto changes more than the state: a stopped VM loses its public address, a terminated VM its volumes.
        if machine.state in ("stopping", "stopped"):
            instance.stop()
        elif machine.state in ("shutting-down", "terminated"):
            instance.terminate()
        # Twice the time, so that VMs in flight still are when the screen shows the first listing.
        instance._state = SlowState(self._clock, self._delay, machine.state, first=2 * self._delay)
        return instance

    def _volume(self, region: Region, disk: Disk, holder: Instance | None, device: str, now: datetime) -> None:
        volume = self.create_volume(disk.size, region.name + disk.zone, volume_type=disk.type, iops=disk.iops)
        volume.create_time = now - timedelta(days=disk.days)
        volume.add_tags({"Name": disk.name})
        if holder:
            self.attach_volume(volume.id, holder.id, device)

    def _group(self, group: Group, machines: dict[str | None, Instance]) -> None:
        made = self.create_security_group(group.name, group.description, tags=group.tags)
        for protocol, first, last, who, description in group.rules:
            said = {"CidrIpv6" if ":" in who else "CidrIp": who, "Description": description}
            other = self.get_security_group_from_name(who)
            ranges, groups = ([], [{"GroupId": other.id, "Description": description}]) if other else ([said], [])
            self.authorize_security_group_ingress(made.id, protocol, first, last, ranges, source_groups=groups)
        for name in group.machines:
            self.modify_instance_security_groups(machines[name].id, [made.id])


# --- moto's table of backends -----------------------------------------------------------------------------------------


class Backends:
    """The backends of all accounts and regions, in moto's table. What is not asked for at the start is filled later.

    The first account's are filled at once, and each other one by its first request: a start takes half the time.
    """

    def __init__(self, clock: Callable[[], float], delay: float, forget: float, now: datetime) -> None:
        now = now.astimezone(UTC).replace(tzinfo=None)  # as moto's own times are
        self._made: dict[tuple[str, str], DemoBackend] = {}
        self._make = partial(DemoBackend, clock=clock, delay=delay, forget=forget, now=now)
        # moto takes ids and addresses from this generator: the seed makes them the same in every demo.
        mock_random.seed("cloudmesh")
        first = ACCOUNTS[0]
        for region in first.regions:
            self._add(first, region.name)

    def at(self, account: Account, region: str) -> DemoBackend:
        """Return the backend of a region of an account."""
        if (account.id, region) not in self._made:
            state = mock_random.getstate()
            mock_random.seed(f"{account.id} {region}")
            self._add(account, region)
            mock_random.setstate(state)  # the ids of what is made later depend on nothing but what is made
        return self._made[account.id, region]

    def _add(self, account: Account, region: str) -> None:
        # moto's models look their own backend up in its table.
        made = self._made[account.id, region] = self._make(account, account.region(region))
        ec2_backends[account.id][region] = made

    def remove(self) -> None:
        """Remove them from moto's table, which makes new, empty ones on demand."""
        for account, region in self._made:
            ec2_backends[account].pop(region, None)
