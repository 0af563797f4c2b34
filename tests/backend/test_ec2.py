"""The EC2 provider over HTTP against moto."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.config import Cloud, Defaults
from backend.errors import CloudError, NotFoundError, PermissionDeniedError
from backend.kinds.model import Kind
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.xml import Reader
from backend.providers.protocol import Boot, Item, Provider
from backend.providers.registry import connect
from tests.backend.ec2_faults import every

TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str, "state": str, "int": int, "mib": int, "gib": int, "usd": float, "time": datetime,
    "list": list,
}  # fmt: skip
"""What a column of each type holds."""

UNSAID = {"platform", "disk", "vm", "public_ip"}
"""Columns that EC2 leaves empty for some."""
MOTO_OMITS = {("keypair", "type"), ("vm", "ipv6")}
NOT_LISTED = {("flavor", "price"), ("flavor", "price_date")}
"""Columns that are added to EC2's listings; see test_prices."""


@pytest.fixture
def ec2(cloud: Cloud) -> Provider:
    return connect(cloud)


def sent(cloud: Cloud, action: str, **params: str) -> dict[str, Any]:
    """Send a call that the provider has no word for and return its answer."""
    answer, reader = Driver(cloud).send(action, params), Reader(f"{action}Response")
    for chunk in answer.chunks():
        reader.feed(chunk)
    reader.close()
    answer.close()
    return reader.rest


@pytest.fixture
def boot(ec2: Provider) -> Callable[..., Item]:
    """Boots an image that moto has."""

    def run(name: str | None = None, **more: Any) -> Item:
        request = Boot("ami-0abcdef1234567890", "t2.micro", "token-1", name=name, **more)
        made: Item = ec2.of("vm").boot(request)
        return made

    return run


# --- what it does, on moto --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_listing_fills_every_column(kind: Kind, ec2: Provider, boot: Callable[..., Item]) -> None:
    ec2.of("keypair").create("key")
    boot("vm", keypair="key", location="us-east-1b")
    ec2.of("volume").create("data", 3, "us-east-1b", "token")
    items = every(ec2.of(kind.name).list())
    assert items
    filled: dict[str, int] = {}
    for item in items:
        assert not item.keys() & {column.name for column in kind.columns if column.ours}
        for column in kind.listed:
            value = item.get(column.name)
            if value is None:
                continue
            filled[column.name] = filled.get(column.name, 0) + 1
            assert isinstance(value, TYPES[column.type]), (column.name, value)
            if isinstance(value, datetime):
                assert value.utcoffset() == timedelta(0)
                assert value.microsecond % 1000 == 0
        assert isinstance(item["tags"], dict)
    assert len({item["id"] for item in items}) == len(items)
    for column in kind.listed:
        if (kind.name, column.name) not in MOTO_OMITS | NOT_LISTED:
            assert filled.get(column.name), column.name
            if column.name not in UNSAID | {"name"}:
                assert filled[column.name] == len(items), column.name


@pytest.mark.parametrize("location", ["us-east-1", "eu-central-2", "cn-north-1"])
def test_any_region_lists(cloud: Cloud, location: str) -> None:
    """Signature V2's regions are the trap of the stock driver; eu-central-2 it does not know at all."""
    there = connect(replace(cloud, default=Defaults(location=location)))
    assert {item["region"] for item in every(there.of("location").list())} == {location}


def test_owners_narrow_images(cloud: Cloud) -> None:
    owned = every(connect(replace(cloud, images=("self",))).of("image").list())
    assert len(owned) < 40 < len(every(connect(cloud).of("image").list()))


def test_flavors_have_zones(ec2: Provider) -> None:
    flavors = {item["id"]: item for item in every(ec2.of("flavor").list())}
    assert "us-east-1a" in flavors["t3.micro"]["extra"]["zones"]


def test_life_of_a_vm(ec2: Provider, boot: Callable[..., Item]) -> None:
    booted = boot("café 漢字", location="us-east-1b")
    vm = booted["id"]
    assert booted["state"] == "pending"
    assert booted["name"] == "café 漢字"

    def state() -> Any:
        return every(ec2.of("vm").list([vm]))[0]["state"]

    assert ec2.of("vm").stop(vm) == "stopping"
    assert state() == "stopped"
    assert ec2.of("vm").start(vm) == "pending"
    assert ec2.of("vm").reboot(vm) == "running" == state()
    assert ec2.of("vm").delete(vm) == "shutting-down"
    assert state() == "terminated"


def test_life_of_a_protection(ec2: Provider, boot: Callable[..., Item]) -> None:
    vm = boot()["id"]
    assert ec2.of("vm").protected(vm) is False
    ec2.of("vm").protect(vm, True)
    assert ec2.of("vm").protected(vm) is True
    with pytest.raises(PermissionDeniedError, match=rf"Deleting VM {vm} failed.*it is protected"):
        ec2.of("vm").delete(vm)
    ec2.of("vm").protect(vm, False)
    assert ec2.of("vm").protected(vm) is False
    assert ec2.of("vm").delete(vm) == "shutting-down"


def test_life_of_a_tag(ec2: Provider, boot: Callable[..., Item]) -> None:
    vm = boot("web", location="us-east-1a")["id"]
    volume = ec2.of("volume").create("data", 1, "us-east-1a", "token")["id"]
    for native, listing in ((vm, ec2.of("vm").list), (volume, ec2.of("volume").list)):

        def tags(native: str = native, listing: Callable[..., Any] = listing) -> dict[str, str]:
            found: dict[str, str] = every(listing([native]))[0]["tags"]
            return found

        before = tags()
        ec2.of("vm").tag(native, "a.b", "é = 漢字")
        ec2.of("vm").tag(native, "empty", "")
        assert tags() == before | {"a.b": "é = 漢字", "empty": ""}
        ec2.of("vm").tag(native, "a.b", "new")
        assert tags()["a.b"] == "new"
        ec2.of("vm").untag(native, "a.b")
        ec2.of("vm").untag(native, "empty")
        assert tags() == before


def test_life_of_an_attachment(ec2: Provider, boot: Callable[..., Item]) -> None:
    vm = boot(location="us-east-1a")["id"]
    (root,) = every(ec2.of("volume").list(vms=[vm]))
    volume = ec2.of("volume").create("data", 1, "us-east-1a", "token")["id"]
    other = ec2.of("volume").create("other", 1, "us-east-1a", "token-2")["id"]
    ec2.of("volume").attach(volume, vm, "/dev/sdf")
    assert {item["id"] for item in every(ec2.of("volume").list(vms=[vm]))} == {root["id"], volume}
    (item,) = every(ec2.of("volume").list([volume, "vol-0123456789abcdef0"]))
    assert (item["vm"], item["state"], item["extra"]["attachmentSet"][0]["device"]) == ([vm], "in-use", "/dev/sdf")
    assert every(ec2.of("volume").list([other]))[0]["vm"] is None
    ec2.of("volume").detach(volume, vm)
    (item,) = every(ec2.of("volume").list([volume]))
    assert (item["vm"], item["state"]) == (None, "available")
    assert every(ec2.of("volume").list(vms=[vm])) == [root]


def test_addresses_by_vm(cloud: Cloud, ec2: Provider, boot: Callable[..., Item]) -> None:
    with_one, without = boot()["id"], boot()["id"]
    given = [sent(cloud, "AllocateAddress", Domain="vpc") for _ in range(2)]
    sent(cloud, "AssociateAddress", InstanceId=with_one, AllocationId=given[0]["allocationId"])
    assert ec2.of("vm").addresses([with_one, without]) == {with_one: [given[0]["publicIp"]]}
    assert ec2.of("vm").addresses([without]) == {}
    assert ec2.of("vm").addresses([]) == {}


def test_vms_of_a_keypair(ec2: Provider, boot: Callable[..., Item]) -> None:
    for name in ("me", "you"):
        ec2.of("keypair").create(name)
    mine = boot(keypair="me")["id"]
    boot(keypair="you")
    boot()
    assert [item["id"] for item in every(ec2.of("vm").list(keypair="me"))] == [mine]
    assert every(ec2.of("vm").list(keypair="nobody")) == []


def test_a_boot_is_found_by_its_token(ec2: Provider, boot: Callable[..., Item]) -> None:
    first = Boot("ami-0abcdef1234567890", "t2.micro", "token-1")
    assert ec2.of("vm").booted(first) is None
    boot()
    found = ec2.of("vm").booted(first)
    assert found is not None
    assert found["id"] == every(ec2.of("vm").list())[0]["id"]
    assert ec2.of("vm").booted(replace(first, token="token-2")) is None


def test_a_dry_run_boots_nothing(ec2: Provider) -> None:
    ec2.of("vm").try_boot(Boot("ami-0abcdef1234567890", "t2.micro", ""))
    assert every(ec2.of("vm").list()) == []


def test_vms_by_id_leave_out_what_is_gone(ec2: Provider, boot: Callable[..., Item]) -> None:
    one, two = boot()["id"], boot()["id"]
    assert [item["id"] for item in every(ec2.of("vm").list(["i-0123456789abcdef0", one]))] == [one]
    assert {item["id"] for item in every(ec2.of("vm").list())} == {one, two}


def test_names_are_given_at_creation(ec2: Provider, boot: Callable[..., Item]) -> None:
    boot("web 1", location="us-east-1a")
    (root,) = every(ec2.of("volume").list())
    assert root["name"] == "web 1"  # the volume of the VM too
    made = ec2.of("volume").create("データ", 7, "us-east-1a", "token")
    assert (made["name"], made["size"], made["type"], made["vm"]) == ("データ", 7, "gp3", None)
    assert every(ec2.of("volume").list())[-1] == made
    ec2.of("volume").delete(made["id"])
    assert every(ec2.of("volume").list()) == [root]


def test_life_of_a_keypair(ec2: Provider) -> None:
    item, pem = ec2.of("keypair").create("clé")
    assert pem.startswith("-----BEGIN")
    assert "PRIVATE" not in repr(item)  # items are cached
    assert [found["name"] for found in every(ec2.of("keypair").list())] == ["clé"]
    with pytest.raises(CloudError, match="name is taken"):
        ec2.of("keypair").create("clé")
    ec2.of("keypair").delete("clé", item["id"])
    assert every(ec2.of("keypair").list()) == []
    with pytest.raises(NotFoundError, match="Deleting keypair clé failed on cloud aws, region us-east-1"):
        ec2.of("keypair").delete("clé", item["id"])
    other, _ = ec2.of("keypair").create("clé")
    with pytest.raises(NotFoundError, match="Deleting keypair clé failed"):
        ec2.of("keypair").delete("clé", item["id"])
    assert [found["id"] for found in every(ec2.of("keypair").list())] == [other["id"]]


def test_what_does_not_exist_is_not_found(ec2: Provider) -> None:
    with pytest.raises(NotFoundError, match=r"Stopping VM i-0123456789abcdef0 failed.*does not exist"):
        ec2.of("vm").stop("i-0123456789abcdef0")
    with pytest.raises(NotFoundError, match="vol-0123456789abcdef0"):
        ec2.of("volume").delete("vol-0123456789abcdef0")
