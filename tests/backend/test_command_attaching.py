"""Volumes on VMs: attached and detached as asked, and undone to the state before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.config import Cloud
from backend.errors import NotFoundError, RefusedError
from backend.providers.ec2.entry import EC2
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import (
    behind_proxy,
    boot_many,
    in_cloud,
    outcomes,
    run,
    sent,
    volume_in,
)
from tests.backend.command_support import row
from tests.backend.ec2_faults import Reply, listing, refusal
from tests.ec2_proxy import Call, Proxy
from tests.faces import Faces


def device(cloud: Cloud, volume: str) -> str | None:
    """The device as which a volume is attached."""
    attachments = in_cloud(cloud, volume)["extra"].get("attachmentSet") or [{}]
    found: str | None = attachments[0].get("device")
    return found


def test_attach_detach_and_back(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").tag(native, "Name", "web")
    first, second = volume_in(cloud, "first"), volume_in(cloud, "second")
    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        result = run(session, "volume attach first web")
        assert result.message == f"Volume first ({first}) is attached to {native} as /dev/sdf."
        assert result.undo == f"volume detach {first} --vm {native}"
        assert (in_cloud(cloud, first)["vm"], device(cloud, first)) == ([native], "/dev/sdf")
        assert (row(session, "volume", first)["vm"], row(session, "volume", first)["state"]) == ((native,), "in-use")
        assert dict(result.fields) == row(session, "volume", first)
        run(session, f"volume attach second {native}")
        assert device(cloud, second) == "/dev/sdg"  # the first that is free

        # The first is free again, but the undo puts the other where it was.
        undo = run(session, "volume detach second").undo
        assert (row(session, "volume", second)["vm"], row(session, "volume", second)["state"]) == (None, "available")
        assert undo == f"volume attach {second} {native} --device /dev/sdg"
        detached = run(session, result.undo)
        assert detached.message == f"Volume first ({first}) is being detached from {native}."
        assert in_cloud(cloud, first)["vm"] is None
        run(session, undo)
        assert (in_cloud(cloud, second)["vm"], device(cloud, second)) == ([native], "/dev/sdg")
        run(session, detached.undo)
        assert (in_cloud(cloud, first)["vm"], device(cloud, first)) == ([native], "/dev/sdf")
        assert run(session, "volume refresh").differences[0].count == 3


def test_a_device_of_ones_own_comes_back(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    volume = volume_in(cloud)
    run(session, f"volume attach data {native} --device '/dev/x y'")
    assert device(cloud, volume) == "/dev/x y"
    undo = run(session, "volume detach data").undo
    assert parse(split(undo)).given["device"] == "/dev/x y"
    run(session, undo)
    assert device(cloud, volume) == "/dev/x y"


def test_a_vm_whose_devices_are_all_taken(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    for name in EC2.devices:
        connect(cloud).of("volume").attach(volume_in(cloud, name), native, name)
    last = volume_in(cloud, "last")
    with pytest.raises(RefusedError, match=rf"VM {native} has no free device from /dev/sdf to /dev/sdp\. Name one"):
        run(session, f"volume attach {last} {native}")
    assert sent(proxy) == []
    run(session, f"volume attach {last} {native} --device /dev/sdq")
    assert device(cloud, last) == "/dev/sdq"


class ChoosingDevices(Faces):
    """A cloud that chooses the device of each volume."""

    def volume_attach(self, volume: str, vm: str, device: str) -> None:
        assert device == ""
        self.real.of("volume").attach(volume, vm, "/dev/vdb")


def test_a_cloud_may_choose_the_device(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    volume = volume_in(cloud)
    chosen = replace(
        session,
        cloud=replace(session.cloud, provider=replace(EC2, devices=())),
        connector=lambda *_: ChoosingDevices(connect(cloud)),
    )
    assert run(chosen, f"volume attach data {native}").message == f"Volume data ({volume}) is attached to {native}."
    assert device(cloud, volume) == "/dev/vdb"


def test_a_volume_of_another_zone(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    volume = volume_in(cloud, zone="us-east-1b")
    with pytest.raises(RefusedError) as caught:
        run(session, f"volume attach data {native}")
    assert caught.value.message == (
        f"Volume data ({volume}) is in us-east-1b and VM {native} in us-east-1a; nothing was done."
    )
    assert sent(proxy) == []


def test_a_volume_that_was_attached_meanwhile(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    volume = volume_in(cloud)
    run(session, "volume refresh")
    connect(cloud).of("volume").attach(volume, first, "/dev/sdf")
    with pytest.raises(RefusedError, match=rf"Volume data \({volume}\) is attached to {first}; nothing was done\."):
        run(session, f"volume attach data {second}")
    assert row(session, "volume", volume)["vm"] == (first,)
    connect(cloud).of("volume").detach(volume, first)
    with pytest.raises(RefusedError, match=rf"Volume data \({volume}\) is not attached; nothing was done\."):
        run(session, "volume detach data")
    assert sent(proxy) == []
    assert [outcome for _, outcome in outcomes(session.cache)] == ["failed", "failed"]


@pytest.mark.parametrize("look", ["lags", "fails"])
def test_the_state_of_a_volume_that_was_moved_is_the_cloud_s_word(
    both: tuple[Session, Proxy], cloud: Cloud, look: str
) -> None:
    """EC2 takes a while, and says so; nothing is foreseen."""
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    volume = volume_in(cloud)
    connect(cloud).of("volume").attach(volume, native, "/dev/sdf")
    run(session, "volume refresh")
    slow = attached(volume, "detaching", vms=[native])
    later = listing("DescribeVolumes", "volumeSet", [slow]) if look == "lags" else refusal(403, "UnauthorizedOperation")

    def from_now_on(_call: Call, reply: Reply) -> Reply:
        proxy.answers["DescribeVolumes"] = later
        return reply

    proxy.spoilt["DetachVolume"] = from_now_on
    run(session, f"volume detach {volume}")
    assert row(session, "volume", volume)["state"] == "in-use"
    proxy.answers.clear()
    run(session, "volume refresh")
    assert (row(session, "volume", volume)["state"], row(session, "volume", volume)["vm"]) == ("available", None)


def attached(volume: str, *statuses: str, vms: Sequence[str] = (), more: str = "") -> str:
    """A volume's element that is attached to as many VMs: `vms`, else i-0, i-1 …"""
    items = "".join(
        f"<item><instanceId>{vm}</instanceId><device>/dev/sd{'fgh'[number]}</device><status>{status}</status></item>"
        for number, (vm, status) in enumerate(zip(vms or [f"i-{n}" for n in range(9)], statuses, strict=False))
    )
    return (
        f"<volumeId>{volume}</volumeId><status>in-use</status><availabilityZone>us-east-1a</availabilityZone>"
        f"<attachmentSet>{items}</attachmentSet>{more}"
    )


def test_a_volume_that_is_still_being_detached(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    proxy.answers["DescribeVolumes"] = listing(
        "DescribeVolumes", "volumeSet", [attached("vol-0123456789", "detaching")]
    )
    for line in ("vm refresh", "volume refresh"):
        run(session, line)
    with pytest.raises(RefusedError, match="is being detached from i-0; nothing was done"):
        run(session, f"volume attach vol-0123456789 {native}")
    assert sent(proxy) == []


def test_a_volume_on_several_vms_is_detached_from_none_that_nobody_named(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    answer = listing("DescribeVolumes", "volumeSet", [attached("vol-0123456789", "attached", "attached")])
    proxy.answers["DescribeVolumes"] = answer
    run(session, "volume refresh")
    assert row(session, "volume", "vol-0123456789")["vm"] == ("i-0", "i-1")
    with pytest.raises(
        RefusedError, match=r"is attached to 2 VMs: i-0, i-1; nothing was done\. Name the VM .* --vm VM"
    ):
        run(session, "volume detach vol-0123456789")
    with pytest.raises(RefusedError, match=r"is attached to i-0, i-1, not to i-23456789; nothing was done\."):
        run(session, "volume detach vol-0123456789 --vm i-23456789")
    assert sent(proxy) == []


def moved_by(proxy: Proxy, action: str, element: str) -> None:
    """Have EC2 list a volume as `element` says once an action on it has come."""
    later = listing("DescribeVolumes", "volumeSet", [element])

    def answer(call: Call, _: Reply) -> Reply:
        proxy.answers["DescribeVolumes"] = later
        return Reply(f"<{call.action}Response/>")

    proxy.spoilt[action] = answer


def test_a_volume_on_several_vms_is_detached_from_the_one_that_is_named(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    connect(cloud).of("vm").tag(second, "Name", "web")
    element = attached("vol-0123456789", "attached", "attached", vms=(first, second))
    proxy.answers["DescribeVolumes"] = listing("DescribeVolumes", "volumeSet", [element])
    left = attached("vol-0123456789", "attached", vms=[first])
    run(session, "volume refresh")  # VMs were never listed here
    moved_by(proxy, "DetachVolume", left)
    with pytest.raises(NotFoundError, match="There is no VM 'webb'"):
        run(session, "volume detach vol-0123456789 --vm webb")
    result = run(session, "volume detach vol-0123456789 --vm web")
    assert result.message == f"Volume vol-0123456789 is being detached from {second}."
    assert result.undo == f"volume attach vol-0123456789 {second} --device /dev/sdg"
    (sent,) = (call for call in proxy.calls if call.action == "DetachVolume")
    assert sent.params["InstanceId"] == second
    assert (row(session, "volume", "vol-0123456789")["vm"], row(session, "volume", "vol-0123456789")["state"]) == (
        (first,),
        "in-use",
    )


def test_a_volume_that_may_have_several_vms_is_asked_for(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    shared = "<multiAttachEnabled>true</multiAttachEnabled>"
    element = attached("vol-0123456789", "attached", vms=[first], more=shared)
    proxy.answers["DescribeVolumes"] = listing("DescribeVolumes", "volumeSet", [element])
    for line in ("vm refresh", "volume refresh"):
        run(session, line)
    moved_by(
        proxy, "AttachVolume", attached("vol-0123456789", "attached", "attached", vms=[first, second], more=shared)
    )
    result = run(session, f"volume attach vol-0123456789 {second}")
    assert result.undo == f"volume detach vol-0123456789 --vm {second}"
    assert sent(proxy) == ["AttachVolume"]
    with pytest.raises(RefusedError, match=f"is attached to {first}; nothing was done"):
        run(session, f"volume attach vol-0123456789 {first}")
    assert sent(proxy) == ["AttachVolume"]


def test_a_device_is_free_where_no_volume_has_it_on_this_vm(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    """A volume on two VMs takes a device on each, not only where it was attached first."""
    session, proxy = both
    first, second = boot_many(cloud, 2)
    volume = volume_in(cloud)
    elements = [
        attached("vol-0123456789", "attached", "attached", vms=(first, second)),  # /dev/sdf there, /dev/sdg here
        f"<volumeId>{volume}</volumeId><status>available</status><availabilityZone>us-east-1a</availabilityZone>",
    ]
    everything = {"volume-id": elements[1:], "attachment.instance-id": elements[:1]}

    def by_filter(call: Call, _: Reply) -> Reply:
        return listing("DescribeVolumes", "volumeSet", everything.get(call.params.get("Filter.1.Name", ""), elements))

    proxy.spoilt["DescribeVolumes"] = by_filter
    for line in ("vm refresh", "volume refresh"):
        run(session, line)
    run(session, f"volume attach {volume} {second}")
    (sent,) = (call for call in proxy.calls if call.action == "AttachVolume")
    assert sent.params["Device"] == "/dev/sdf"


def test_what_is_gone_is_attached_to_nothing(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    volume = volume_in(cloud)
    run(session, "volume refresh")
    with pytest.raises(NotFoundError, match="There is no VM 'nothing'"):
        run(session, "volume attach data nothing")
    connect(cloud).of("volume").delete(volume)
    with pytest.raises(NotFoundError, match=f"Volume {volume} no longer exists"):
        run(session, f"volume attach data {native}")
    assert session.cache.rows.named(KINDS["volume"], session.scope, volume) == []
    assert sent(proxy) == []
