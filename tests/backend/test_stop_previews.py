"""What stopping a VM loses: in its preview, in its result, and in the result of the next start."""

import re

import pytest

from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.commands.model import Context
from backend.commands.preview import Preview
from backend.commands.run import execute
from backend.config import Cloud
from backend.errors import PermissionDeniedError
from backend.journal import resume
from backend.kinds.vm import preview as vm_preview
from backend.kinds.volume import preview as volume_preview
from backend.providers.ec2 import rows
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import GROUP, abandoned, boot_many, only, run, send_raw, sent
from tests.backend.ec2_faults import DENIED, listing
from tests.ec2_proxy import Proxy


def shown(session: Session, *ids: str) -> Preview:
    return vm_preview.stopping(Context(session, {}), ids)


def public_ip(cloud: Cloud, native: str) -> str:
    ((item,),) = connect(cloud).of("vm").list([native])
    return str(item["public_ip"])


def made_elastic(cloud: Cloud, native: str) -> str:
    address = send_raw(cloud, "AllocateAddress", {"Domain": "vpc"})
    allocation, ip = (re.findall(rf"<{name}>(.*?)</{name}>", address)[0] for name in ("allocationId", "publicIp"))
    send_raw(cloud, "AssociateAddress", {"AllocationId": allocation, "InstanceId": native})
    return str(ip)


def test_a_plain_stop_loses_no_more_than_its_address(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    data = connect(cloud).of("volume").create("data", 30, "us-east-1a", "t")["id"]
    connect(cloud).of("volume").attach(data, native, "/dev/sdf")
    preview = shown(session, native)
    one, address = only(preview), public_ip(cloud, native)
    assert one.losses == (f"public address {address} is not elastic: it is lost",)
    assert one.stays == ("its 2 volumes, 38 GiB, still billed",)
    assert (one.warnings, one.left_out) == ((), "")
    assert preview.totals == (
        "1 VM: 0.0116 USD/hour less.",
        "2 volumes (38 GiB) still billed.",
        "1 public address lost: not elastic.",
    )
    assert (preview.typed, preview.is_final) == ("", False)  # Enter does it: a start brings the rest back
    assert (sent(proxy), "DescribeInstanceAttribute" in proxy.asked) == ([], False)


def test_an_elastic_address_stays(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    ip = made_elastic(cloud, native)
    one = only(shown(session, native))
    assert one.losses == ()
    assert one.stays == ("its volume, 8 GiB, still billed", f"elastic IP {ip}, still billed")
    assert run(session, f"vm stop {native}").lost == "Its volume is still billed."
    assert run(session, f"vm start {native}").lost == ""


@pytest.mark.parametrize("known", [True, False], ids=["listed before", "never listed"])
def test_an_instance_store_is_lost_and_wants_more_than_enter(
    both: tuple[Session, Proxy], cloud: Cloud, known: bool
) -> None:
    session, proxy = both
    if known:
        session.cache.rows.put(KINDS["flavor"], session.scope, [{"id": "m5d.large", "name": "m5d.large", "disk": 75}])
    (native,) = boot_many(cloud, 1, InstanceType="m5d.large")
    store = "instance store of m5d.large, 75 GB, and all that is on it"
    preview = shown(session, native)
    assert ("DescribeInstanceTypes" in proxy.asked) != known
    assert store in only(preview).losses
    assert "1 instance store lost." in preview.totals
    assert preview.is_final
    going = vm_preview.deleting(Context(session, {}), [native])
    assert store in only(going).losses
    assert "1 instance store lost with it." in going.totals
    connect(cloud).of("vm").stop(native)  # which has lost it
    stopped = vm_preview.deleting(Context(session, {}), [native])
    assert store not in only(stopped).losses
    assert not any("instance store" in total for total in stopped.totals)


def test_a_vm_whose_root_is_an_instance_store_cannot_be_stopped(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    native = "i-0123456789abcdef0"
    vm = (
        f"<instanceId>{native}</instanceId><instanceType>t2.micro</instanceType>"
        "<instanceState><name>running</name></instanceState><rootDeviceType>instance-store</rootDeviceType>"
    )
    proxy.answers["DescribeInstances"] = listing(
        "DescribeInstances", "reservationSet", [f"<instancesSet><item>{vm}</item></instancesSet>"]
    )
    assert (
        only(shown(session, native)).left_out == "its root disk is an instance store, and such a VM cannot be stopped"
    )
    assert only(vm_preview.deleting(Context(session, {}), [native])).losses == (
        "its root disk, which is an instance store",
    )


def test_a_vm_that_is_stopped_loses_nothing_more(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    stopped, running, gone = boot_many(cloud, 3, InstanceType="m5d.large", **GROUP)
    connect(cloud).of("vm").stop(stopped)
    connect(cloud).of("vm").delete(gone)
    preview = shown(session, stopped, running, gone)
    assert [one.left_out for one in preview.targets] == ["it is stopped already", "", "it is terminated already"]
    assert [one.id for one in preview.acted_on] == [running]
    assert "1 instance store lost." in preview.totals
    assert "1 deleted and replaced by Auto Scaling groups." in preview.totals
    assert not shown(session, stopped).is_final


def test_an_auto_scaling_group_deletes_what_is_stopped(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1, **GROUP)
    preview = shown(session, native)
    assert only(preview).warnings == ("Auto Scaling group workers deletes a stopped VM and boots another.",)
    assert "1 deleted and replaced by Auto Scaling groups." in preview.totals
    assert preview.is_final


def test_a_spot_vm_waits_for_capacity(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1, **{"InstanceMarketOptions.MarketType": "spot"})
    assert only(shown(session, native)).warnings == (
        "It is a spot VM: it starts again only when there is spot capacity for it.",
    )


def test_only_ec2s_spot_lifecycle_and_a_spot_request_are_spot() -> None:
    for raw, spot in (
        ({"instanceLifecycle": "spot"}, True),
        ({"spotInstanceRequestId": "sir-1"}, True),
        ({"instanceLifecycle": "scheduled"}, False),
        ({"instanceLifecycle": "interruptible-capacity-reservation"}, False),
        ({}, False),
    ):
        (item,) = rows.VM.item({"instanceId": "i-1", **raw})
        assert bool(item["spot"] or item["spot_request"]) is spot


def test_what_may_not_be_looked_at_is_said_and_stops_nothing(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    boot_many(cloud, 1, InstanceType="m5d.large")
    ids = boot_many(cloud, 1)
    for action in ("DescribeVolumes", "DescribeAddresses", "DescribeInstanceTypes"):
        proxy.answers[action] = DENIED
    preview = shown(session, *ids)
    assert [note.partition(" could not")[0] for note in preview.notes] == ["Volumes", "Elastic IPs", "Instance stores"]
    assert len(preview.acted_on) == 2
    # Whether its address is elastic is not known.
    assert {one.losses for one in preview.targets} == {("its public address is lost unless it is elastic",)}
    assert not any("address" in total for total in preview.totals)
    assert run(session, f"vm stop {ids[0]}").lost == "Its volume is still billed."
    proxy.answers["DescribeInstances"] = DENIED
    with pytest.raises(PermissionDeniedError):
        shown(session, *ids)


def test_several_want_no_number_for_nothing_is_destroyed(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    ids = boot_many(cloud, 3)
    connect(cloud).of("vm").tag(ids[0], "env", "prod")
    preview = shown(session, *ids)
    assert len(preview.acted_on) == 3
    assert preview.typed == ""


# --- afterwards -------------------------------------------------------------------------------------------------------


def test_the_outcome_of_a_stop_and_of_its_undo_says_that_the_address_is_gone(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    address = public_ip(cloud, native)
    stopped = run(session, f"vm stop {native}")
    assert stopped.message == f"{native} is stopping."
    assert stopped.lost == (
        f"Its public address {address} is gone: it is not elastic, and a start gives another. "
        "Its volume is still billed."
    )
    started = execute(parse(stopped.undo.split()), session)
    assert started.lost == f"Its public address {address} of before the stop does not come back: it gets another."
    assert public_ip(cloud, native) != address


def test_what_is_resumed_says_what_it_loses(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1, **GROUP)
    line = f"vm stop {native}"
    abandoned(session, line, outcome="waiting")
    one = only(resume.preview(Context(session, {}), []))
    assert (one.id, one.name) == (line, line)
    assert public_ip(cloud, native) in one.losses[0]
    assert "workers" in one.warnings[0]
    assert resume.preview(Context(session, {}), []).typed == ""


# --- a stopped VM bills no compute ------------------------------------------------------------------------------------


def test_the_preview_of_deleting_does_not_price_what_is_stopped(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    stopped, running = boot_many(cloud, 2)
    connect(cloud).of("vm").stop(stopped)
    preview = vm_preview.deleting(Context(session, {}), [stopped, running])
    prices = [dict(one.facts)["USD/hour"] for one in preview.targets]
    assert prices == ["stopped: no compute is billed, its volumes are", "0.0116"]
    assert preview.totals[0] == "2 VMs: 0.0116 USD/hour now."
    connect(cloud).of("vm").delete(running)
    gone = vm_preview.deleting(Context(session, {}), [running]).targets[0]
    assert dict(gone.facts)["USD/hour"] == "terminated: no compute is billed"
    alone = vm_preview.deleting(Context(session, {}), [stopped])
    assert alone.totals[0] == "1 VM: stopped: no compute is billed, its volumes are."


# --- attached to several ----------------------------------------------------------------------------------------------


def attached(volume: str, *vms: tuple[str, str]) -> str:
    """A volume, attached to VMs, each with what becomes of it when that one is deleted."""
    items = "".join(
        f"<item><volumeId>{volume}</volumeId><instanceId>{vm}</instanceId><status>attached</status>"
        f"<deleteOnTermination>{dies}</deleteOnTermination></item>"
        for vm, dies in vms
    )
    return f"<volumeId>{volume}</volumeId><size>8</size><attachmentSet>{items}</attachmentSet>"


def test_a_volume_of_several_vms_is_with_each_and_goes_with_the_last(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    volume = "vol-0123456789abcdef0"
    both_hold = attached(volume, (first, "false"), (second, "true"))
    proxy.answers["DescribeVolumes"] = listing("DescribeVolumes", "volumeSet", [both_hold])
    call = Context(session, {})
    for native, other in ((first, second), (second, first)):
        one = only(vm_preview.deleting(call, [native]))
        assert (one.losses, one.stays) == ((), (f"volume {volume}, 8 GiB, attached to {other} too",))
        assert "1 volume (8 GiB) left by it." in vm_preview.deleting(call, [native]).totals
    preview = vm_preview.deleting(call, [first, second])
    assert "1 volume (8 GiB) deleted with them." in preview.totals
    assert preview.targets[1].losses == (f"volume {volume}, 8 GiB, attached to {first} too",)
    connect(cloud).of("vm").protect(first, True)  # and so it is left out, and keeps the volume
    assert "1 volume (8 GiB) left by it." in vm_preview.deleting(call, [first, second]).totals
    connect(cloud).of("vm").protect(first, False)
    left = only(volume_preview.deleting(call, [volume])).left_out
    assert left == f"it is attached to {first}, {second}; detach it first"
    assert "1 volume (8 GiB) still billed." in shown(session, first, second).totals
