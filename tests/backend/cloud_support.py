"""Shared by the tests of commands against moto: a session behind the fault-injecting proxy, and many VMs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.cache import Cache, RefreshRecord
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.model import Result
from backend.commands.preview import Preview, Target
from backend.commands.run import execute
from backend.config import Cloud, Settings
from backend.journal.entry import Entry, plan, sealed
from backend.journal.seal import seal
from backend.kinds.model import Scope
from backend.providers.ec2.driver import Driver
from backend.providers.protocol import Boot, Item
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cache_support import ago
from tests.ec2_proxy import Proxy

AMI = "ami-03cf127a"
BOOT = f"vm boot {AMI} --name web"
GROUP = {
    "TagSpecification.1.ResourceType": "instance",
    "TagSpecification.1.Tag.1.Key": "aws:autoscaling:groupName",
    "TagSpecification.1.Tag.1.Value": "workers",
}
"""A tag that only Auto Scaling can set: CreateTags refuses it."""

STOCK: dict[str, list[Item]] = {
    "image": [{"id": AMI, "name": "ubuntu", "architecture": "x86_64"}],
    "flavor": [{"id": "t2.micro", "name": "t2.micro", "architecture": "x86_64", "price": 0.0116}],
    "location": [{"id": "us-east-1a", "name": "us-east-1a", "region": "us-east-1", "state": "available"}],
}
"""The kinds that moto takes seconds to list."""


def stocked(cache: Cache, scope: Scope, stock: Mapping[str, list[Item]] = STOCK) -> None:
    """Write the stock as a refresh a moment ago would have."""
    now = datetime.now(UTC)
    for name, items in stock.items():
        kind = KINDS[name]
        cache.rows.put(kind, scope, items)
        cache.refreshes.write(kind, scope, RefreshRecord(scope.cloud, scope.region, name, now, now, len(items)))


@contextmanager
def behind_proxy(cloud: Cloud, cache: Cache, home: Path) -> Iterator[tuple[Session, Proxy]]:
    """Yield a session whose cloud is moto behind a proxy, and the proxy."""
    with Proxy(str(cloud.endpoint)) as proxy:
        near = replace(cloud, endpoint=proxy.endpoint)
        session = Session(Settings({near.name: near}, near.name), near, cache, home, backoff=(0.0, 0.1, 0.1))
        stocked(cache, session.scope)
        yield session, proxy


def run(session: Session, line: str, **more: Any) -> Result:
    return execute(parse(split(line)), session, **more)


def boot_many(cloud: Cloud, count: int, **more: str) -> list[str]:
    """Boot VMs without the program and return their ids."""
    params = {"ImageId": AMI, "InstanceType": "t2.micro", "MinCount": str(count), "MaxCount": str(count), **more}
    answer = Driver(cloud).send("RunInstances", params)
    for _ in answer.chunks():
        pass
    answer.close()
    return sorted(states(cloud))


def volume_in(cloud: Cloud, name: str = "data", zone: str = "us-east-1a") -> str:
    """Create a volume without the program and return its id."""
    return str(connect(cloud).of("volume").create(name, 1, zone, name)["id"])


def in_cloud(cloud: Cloud, native: str) -> Item:
    """Return a VM or a volume as it is in the cloud."""
    ec2 = connect(cloud)
    kind = "vm" if native.startswith("i-") else "volume"
    item: Item
    (item,) = (item for page in ec2.of(kind).list([native]) for item in page)
    return item


def states(cloud: Cloud) -> dict[str, str]:
    """Return the state of every VM that moto has."""
    return {item["id"]: item["state"] for page in connect(cloud).of("vm").list() for item in page}


def outcomes(cache: Cache) -> list[tuple[str, str]]:
    """Return command and outcome of every journal entry, oldest first."""
    return [(entry["command"], entry["outcome"]) for entry in reversed(cache.journal.newest())]


def abandoned(
    session: Session, line: str, *objects: str, outcome: str = "unfinished", age: float = 0, **fields: Any
) -> Entry:
    """Write the journal entry of a process that ended `age` seconds ago, before or after it sent the request."""
    (entry,) = plan(session.cache, session.home, [(session.scope, line)])
    entry.end("waiting")
    dead = uuid4().hex
    (session.home / "running" / dead).touch()  # no process holds its lock
    at = ago(age)
    written = {"owner": dead, "outcome": outcome, "objects": list(objects), "at": at, **fields}
    written.setdefault("sent", None if outcome == "waiting" else at)
    assert session.cache.journal.set(entry.token, written)
    vouch(session, entry.token)
    return Entry(session.cache, session.home, session.cache.journal.entry(entry.token) or {})


def vouch(session: Session, token: str) -> None:
    """Seal an entry as its process did."""
    found = session.cache.journal.entry(token) or {}
    assert session.cache.journal.set(token, {"seal": seal(session.home, sealed(found))})


def abandoned_boot(session: Session, age: float = 0, **fields: Any) -> Entry:
    """The journal entry of a boot whose process has ended, before or after it sent the request."""
    sent = {"image": AMI, "flavor": "t2.micro", "location": None, "keypair": None, "name": "web"}
    return abandoned(session, BOOT, age=age, request=sent, **fields)


def booted(cloud: Cloud, entry: Entry) -> str:
    """Boot the VM of an abandoned boot."""
    return str(connect(cloud).of("vm").boot(Boot(**entry.request, token=entry.token))["id"])


def only(preview: Preview) -> Target:
    (target,) = preview.targets
    return target


def entry_of(session: Session, entry: Entry) -> dict[str, Any]:
    return session.cache.journal.entry(entry.token) or {}


def sent(proxy: Proxy) -> list[str]:
    """The changing actions that the proxy got, passed on or not."""
    return [action for action in proxy.asked if not action.startswith("Describe")]


# --- one example of every command that changes something --------------------------------------------------------------


def send_raw(cloud: Cloud, action: str, params: Mapping[str, str]) -> str:
    """Send a request to moto that no command of ours sends; return the reply."""
    answer = Driver(cloud).send(action, params)
    body = b"".join(answer.chunks()).decode()
    answer.close()
    return body


@dataclass(frozen=True)
class Account:
    """The content of moto, to compare with an earlier one."""

    vms: dict[str, tuple[str, dict[str, str], bool]]
    """Id to state, tags, whether it is protected."""
    volumes: dict[str, tuple[list[str] | None, dict[str, str]]]
    """Id to the VMs it is attached to and tags."""
    keypairs: list[str]
    groups: dict[str, tuple[list[str], dict[str, str]]]
    """Name of a security group to what it lets in and tags."""


def account(cloud: Cloud) -> Account:
    ec2 = connect(cloud)
    return Account(
        {
            item["id"]: (item["state"], item["tags"], ec2.of("vm").protected(item["id"]))
            for page in ec2.of("vm").list()
            for item in page
        },
        {item["id"]: (item["vm"], item["tags"]) for page in ec2.of("volume").list() for item in page},
        sorted(item["name"] for page in ec2.of("keypair").list() for item in page),
        {item["name"]: (item["ports"], item["tags"]) for page in ec2.of("secgroup").list() for item in page},
    )


@dataclass(frozen=True)
class Stage:
    """The objects that the examples act on."""

    vm: str
    """Running, with the tag old=1."""
    stopped: str
    protected: str
    free: str
    """A volume that is not attached, with the tag old=1."""
    held: str
    """A volume that is attached to `vm` as /dev/sdf."""
    group: str
    """A security group, `open`, which lets in OPEN and has the tag old=1."""


def staged(cloud: Cloud) -> Stage:
    """Make the objects that the examples act on, and the keypair `mine`."""
    ec2 = connect(cloud)
    vm, stopped, protected = boot_many(cloud, 3)
    free, held = (ec2.of("volume").create(name, 1, "us-east-1a", name)["id"] for name in ("free", "held"))
    ec2.of("vm").stop(stopped)
    ec2.of("vm").protect(protected, True)
    ec2.of("volume").attach(held, vm, "/dev/sdf")
    group = ec2.of("secgroup").create("open", "for tests", None)
    rule = {"way": "in", "protocol": "tcp", "ports": "22", "peer": "10.0.0.0/8", "description": None}
    ec2.of("secgroup").allow(group, rule)
    for native in (vm, free, group["id"]):
        ec2.of("vm").tag(native, "old", "1")
    ec2.of("keypair").create("mine")
    return Stage(vm, stopped, protected, free, held, group["id"])


OPEN = "tcp 22 from 10.0.0.0/8"


@dataclass(frozen=True)
class Example:
    """A changing command, the call that it makes, and a check that it was done once."""

    line: str
    """A format string of the fields of Stage."""
    action: str
    done: Callable[[Account, Account, Stage], bool]
    """Takes the account before, the account after, and the stage; returns whether it was done once."""
    undone: bool = False
    """Its result has a command that undoes it."""

    @property
    def name(self) -> str:
        """The command's name."""
        return " ".join(self.line.split()[:2])

    def on(self, stage: Stage) -> str:
        return self.line.format(**vars(stage))


def _new(before: Account, now: Account) -> tuple[list[str], list[str]]:
    """Return the names of the VMs and of the volumes without a VM that are new."""
    return (
        [tags.get("Name", "") for native, (_, tags, _) in now.vms.items() if native not in before.vms],
        [tags.get("Name", "") for native, (vm, tags) in now.volumes.items() if native not in before.volumes and not vm],
    )


EXAMPLES = (
    Example(f"vm boot {AMI} --name new", "RunInstances", lambda was, now, _: _new(was, now) == (["new"], [])),
    Example("vm start {stopped}", "StartInstances", lambda _, now, on: now.vms[on.stopped][0] == "running", True),
    Example("vm stop {vm}", "StopInstances", lambda _, now, on: now.vms[on.vm][0] == "stopped", True),
    Example("vm reboot {vm}", "RebootInstances", lambda _, now, on: now.vms[on.vm][0] == "running"),
    Example("vm delete {vm}", "TerminateInstances", lambda _, now, on: now.vms[on.vm][0] == "terminated"),
    Example("vm protect {vm}", "ModifyInstanceAttribute", lambda _, now, on: now.vms[on.vm][2], True),
    Example(
        "vm unprotect {protected}", "ModifyInstanceAttribute", lambda _, now, on: not now.vms[on.protected][2], True
    ),
    Example("vm tag {vm} old=2", "CreateTags", lambda _, now, on: now.vms[on.vm][1] == {"old": "2"}, True),
    Example("vm untag {vm} old", "DeleteTags", lambda _, now, on: now.vms[on.vm][1] == {}, True),
    Example("keypair create new", "CreateKeyPair", lambda _, now, _on: now.keypairs == ["mine", "new"]),
    Example("keypair delete mine", "DeleteKeyPair", lambda _, now, _on: now.keypairs == []),
    Example("volume create new", "CreateVolume", lambda was, now, _: _new(was, now) == ([], ["new"])),
    Example("volume delete {free}", "DeleteVolume", lambda _, now, on: on.free not in now.volumes),
    Example("volume attach {free} {vm}", "AttachVolume", lambda _, now, on: now.volumes[on.free][0] == [on.vm], True),
    Example("volume detach {held}", "DetachVolume", lambda _, now, on: now.volumes[on.held][0] is None, True),
    Example(
        "volume tag {free} old=2",
        "CreateTags",
        lambda _, now, on: now.volumes[on.free][1] == {"Name": "free", "old": "2"},
        True,
    ),
    Example(
        "secgroup create new --description text",
        "CreateSecurityGroup",
        lambda _, now, _on: now.groups["new"] == ([], {}),
    ),
    Example("secgroup delete {group}", "DeleteSecurityGroup", lambda _, now, _on: list(now.groups) == ["default"]),
    Example(
        "secgroup allow {group} 80 --from 10.0.0.0/8",
        "AuthorizeSecurityGroupIngress",
        lambda _, now, _on: now.groups["open"][0] == [OPEN, "tcp 80 from 10.0.0.0/8"],
        True,
    ),
    Example(
        "secgroup revoke {group} 22 --from 10.0.0.0/8",
        "RevokeSecurityGroupIngress",
        lambda _, now, _on: now.groups["open"][0] == [],
        True,
    ),
    Example(
        "secgroup tag {group} old=2",
        "CreateTags",
        lambda _, now, _on: now.groups["open"] == ([OPEN], {"old": "2"}),
        True,
    ),
    Example("secgroup untag {group} old", "DeleteTags", lambda _, now, _on: now.groups["open"] == ([OPEN], {}), True),
    Example(
        "volume untag {free} old", "DeleteTags", lambda _, now, on: now.volumes[on.free][1] == {"Name": "free"}, True
    ),
)
"""One of every command that changes something in the cloud; test_lost_replies.py says when one is missing."""
