"""Tags, volumes on VMs, protection and dry runs: each is done as it was said, and taken back as it was before."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands import parse, split
from backend.commands.volumes import DEVICES
from backend.config import Cloud
from backend.errors import CloudError, NotFoundError, PermissionDeniedError, RefusedError, UsageError
from backend.kinds import KINDS
from backend.providers import Item, connect
from backend.session import Session
from tests.backend.cloud_parts import AMI, account, behind_proxy, boot_many, outcomes, run, states
from tests.backend.ec2_faults import XMLNS, Reply, listing, refusal
from tests.ec2_proxy import Call, Proxy


def made(cloud: Cloud, name: str = "data", zone: str = "us-east-1a") -> str:
    """Create a volume without a word to anybody."""
    return str(connect(cloud).create_volume(name, 1, zone, name)["id"])


def in_cloud(cloud: Cloud, native: str) -> Item:
    ec2 = connect(cloud)
    (item,) = (
        item for page in (ec2.vms([native]) if native.startswith("i-") else ec2.volumes([native])) for item in page
    )
    return item


def tags(cloud: Cloud, native: str) -> dict[str, str]:
    found: dict[str, str] = in_cloud(cloud, native)["extra"]["tags"]
    return found


def device(cloud: Cloud, volume: str) -> str | None:
    """The device as which a volume is attached."""
    attachments = in_cloud(cloud, volume)["extra"].get("attachmentSet") or [{}]
    found: str | None = attachments[0].get("device")
    return found


def cached(session: Session, native: str) -> dict[str, object]:
    kind = KINDS["vm" if native.startswith("i-") else "volume"]
    (row,) = session.cache.named(kind, session.scope, native)
    return dict(zip(kind.index, row, strict=True))


def changed(proxy: Proxy) -> list[str]:
    return [action for action in proxy.asked if not action.startswith("Describe")]


# --- tags ------------------------------------------------------------------------------------------------------------

TAGS = {
    "plain": ("role", "db"),
    "blanks": ("my key", " two  words "),
    "no value": ("role", ""),
    "dashes": ("--name", "--value"),
    "two dashes alone": ("--", "--"),
    "equals in the value": ("query", "a=b=c"),
    "quotes": ("it's", '"$HOME" \\ `x`'),
    "mongo": ("$set.a", "{}"),
    "other scripts": ("名前", "データ"),
    "name": ("Name", "web 1"),
}


@pytest.mark.parametrize(("kind", "before"), [("vm", "none"), ("volume", "empty"), ("volume", "other")])
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_tag_and_undo(both: tuple[Session, Proxy], cloud: Cloud, kind: str, before: str, tag: tuple[str, str]) -> None:
    (session, proxy), (key, value) = both, tag
    native = boot_many(cloud, 1)[0] if kind == "vm" else made(cloud)
    connect(cloud).untag(native, "Name")
    former = {"none": {}, "empty": {key: ""}, "other": {key: "--was = it"}}[before]
    for one in former.items():
        connect(cloud).tag(native, *one)
    outcome = run(session, parse([kind, "tag", native, "--", f"{key}={value}"]).line)
    assert tags(cloud, native) == {key: value}
    if former == {key: value}:
        assert outcome.message.endswith(" already; nothing was done.")
        assert (outcome.undo, changed(proxy)) == ("", [])
        return
    assert cached(session, native)["name"] == tags(cloud, native).get("Name")
    back = run(session, outcome.undo)
    assert tags(cloud, native) == former
    # Taking it back can be taken back.
    run(session, back.undo)
    assert tags(cloud, native) == {key: value}
    assert [outcome for _, outcome in outcomes(session.cache)] == ["done"] * 3


@pytest.mark.parametrize("kind", ["vm", "volume"])
@pytest.mark.parametrize(("key", "value"), TAGS.values(), ids=TAGS)
def test_untag_and_undo(both: tuple[Session, Proxy], cloud: Cloud, kind: str, key: str, value: str) -> None:
    session, _ = both
    native = boot_many(cloud, 1)[0] if kind == "vm" else made(cloud)
    connect(cloud).untag(native, "Name")
    for one in ((key, value), ("other", "stays")):
        connect(cloud).tag(native, *one)
    outcome = run(session, parse([kind, "untag", native, "--", key]).line)
    assert tags(cloud, native) == {"other": "stays"}
    assert cached(session, native)["name"] is None
    run(session, outcome.undo)
    assert tags(cloud, native) == {key: value, "other": "stays"}


@pytest.mark.parametrize("kind", ["vm", "volume"])
def test_untagging_a_key_that_no_command_can_write_cannot_be_taken_back(
    both: tuple[Session, Proxy], cloud: Cloud, kind: str
) -> None:
    """EC2 has keys with an equals sign; `a=b=c` would set the tag a."""
    session, _ = both
    native = boot_many(cloud, 1)[0] if kind == "vm" else made(cloud)
    connect(cloud).untag(native, "Name")
    connect(cloud).tag(native, "a=b", "c")
    outcome = run(session, f"{kind} untag {native} a=b")
    assert outcome.message.endswith(" has no tag a=b any more.")
    assert outcome.undo == ""
    assert tags(cloud, native) == {}


def test_what_tagging_says(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        outcome = run(session, f"vm tag {native} Name='web 1'")
        assert outcome.message == f"{native} is tagged Name=web 1."
        assert outcome.undo == f"vm untag {native} -- Name"
        assert dict(outcome.fields) == cached(session, native)
        assert cached(session, native)["name"] == "web 1"
        assert run(session, "vm tag 'web 1' env=prod").message == f"web 1 ({native}) is tagged env=prod."
        assert run(session, "vm tag 'web 1' env=test").undo == f"vm tag {native} -- env=prod"
        assert run(session, "vm untag 'web 1' env").message == f"web 1 ({native}) has no tag env any more."
        again = run(session, "vm untag 'web 1' env")
        assert again.message == f"web 1 ({native}) has no tag env; nothing was done."
        assert again.undo == ""
        assert changed(proxy) == ["CreateTags", "CreateTags", "CreateTags", "DeleteTags"]
        # The listing that follows finds nothing to change.
        assert run(session, "vm refresh").differences[0].changed == 0
        entry = cache.journal()[1]
        assert entry["request"] == {"key": "env", "value": None, "before": "test"}
        assert entry["objects"] == [native]


@pytest.mark.parametrize("word", ["role", "=db", "="])
def test_a_tag_that_is_none(both: tuple[Session, Proxy], word: str) -> None:
    session, proxy = both
    with pytest.raises(UsageError, match=r"Write it as KEY=VALUE\."):
        run(session, f"vm tag x {word}")
    assert proxy.calls == []


def test_a_tag_that_ec2_refuses(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    proxy.answers["CreateTags"] = refusal(400, "TagLimitExceeded", "More than 50 tags.")
    with pytest.raises(CloudError, match=f"Tagging {native} failed .* a limit of the account is reached"):
        run(session, f"vm tag {native} Name=web")
    assert tags(cloud, native) == {}
    assert cached(session, native)["name"] is None
    assert [outcome for _, outcome in outcomes(session.cache)] == ["failed"]


# --- attaching and detaching -----------------------------------------------------------------------------------------


def test_attach_detach_and_back(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).tag(native, "Name", "web")
    first, second = made(cloud, "first"), made(cloud, "second")
    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        outcome = run(session, "volume attach first web")
        assert outcome.message == f"Volume first ({first}) is attached to {native} as /dev/sdf."
        assert outcome.undo == f"volume detach {first} --vm {native}"
        assert (in_cloud(cloud, first)["vm"], device(cloud, first)) == ([native], "/dev/sdf")
        assert (cached(session, first)["vm"], cached(session, first)["state"]) == ((native,), "in-use")
        assert dict(outcome.fields) == cached(session, first)
        run(session, f"volume attach second {native}")
        assert device(cloud, second) == "/dev/sdg"  # the first that is free

        # The first is free again, but what is taken back goes where it was.
        undo = run(session, "volume detach second").undo
        assert (cached(session, second)["vm"], cached(session, second)["state"]) == (None, "available")
        assert undo == f"volume attach {second} {native} --device /dev/sdg"
        detached = run(session, outcome.undo)
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
    volume = made(cloud)
    run(session, f"volume attach data {native} --device '/dev/x y'")
    assert device(cloud, volume) == "/dev/x y"
    undo = run(session, "volume detach data").undo
    assert parse(split(undo)).given["device"] == "/dev/x y"
    run(session, undo)
    assert device(cloud, volume) == "/dev/x y"


def test_a_vm_whose_devices_are_all_taken(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    for name in DEVICES:
        connect(cloud).attach(made(cloud, name), native, name)
    last = made(cloud, "last")
    with pytest.raises(RefusedError, match=rf"VM {native} has no free device from /dev/sdf to /dev/sdp\. Name one"):
        run(session, f"volume attach {last} {native}")
    assert changed(proxy) == []
    run(session, f"volume attach {last} {native} --device /dev/sdq")
    assert device(cloud, last) == "/dev/sdq"


def test_a_volume_of_another_zone(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    volume = made(cloud, zone="us-east-1b")
    with pytest.raises(RefusedError) as caught:
        run(session, f"volume attach data {native}")
    assert caught.value.message == (
        f"Volume data ({volume}) is in us-east-1b and VM {native} in us-east-1a; nothing was done."
    )
    assert changed(proxy) == []


def test_a_volume_that_was_attached_meanwhile(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    volume = made(cloud)
    run(session, "volume refresh")
    connect(cloud).attach(volume, first, "/dev/sdf")
    with pytest.raises(RefusedError, match=rf"Volume data \({volume}\) is attached to {first}; nothing was done\."):
        run(session, f"volume attach data {second}")
    assert cached(session, volume)["vm"] == (first,)
    connect(cloud).detach(volume, first)
    with pytest.raises(RefusedError, match=rf"Volume data \({volume}\) is not attached; nothing was done\."):
        run(session, "volume detach data")
    assert changed(proxy) == []
    assert [outcome for _, outcome in outcomes(session.cache)] == ["failed", "failed"]


@pytest.mark.parametrize("look", ["lags", "fails"])
def test_the_state_of_a_volume_that_was_moved_is_the_cloud_s_word(
    both: tuple[Session, Proxy], cloud: Cloud, look: str
) -> None:
    """EC2 takes a while, and says so; nothing is foreseen."""
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    volume = made(cloud)
    connect(cloud).attach(volume, native, "/dev/sdf")
    run(session, "volume refresh")
    slow = attached(volume, "detaching", vms=[native])
    later = listing("DescribeVolumes", "volumeSet", [slow]) if look == "lags" else refusal(403, "UnauthorizedOperation")

    def from_now_on(_call: Call, reply: Reply) -> Reply:
        proxy.answers["DescribeVolumes"] = later
        return reply

    proxy.spoilt["DetachVolume"] = from_now_on
    run(session, f"volume detach {volume}")
    assert cached(session, volume)["state"] == "in-use"
    proxy.answers.clear()
    run(session, "volume refresh")
    assert (cached(session, volume)["state"], cached(session, volume)["vm"]) == ("available", None)


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
    assert changed(proxy) == []


def test_a_volume_on_several_vms_is_detached_from_none_that_nobody_named(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    answer = listing("DescribeVolumes", "volumeSet", [attached("vol-0123456789", "attached", "attached")])
    proxy.answers["DescribeVolumes"] = answer
    run(session, "volume refresh")
    assert cached(session, "vol-0123456789")["vm"] == ("i-0", "i-1")
    with pytest.raises(
        RefusedError, match=r"is attached to 2 VMs: i-0, i-1; nothing was done\. Name the VM .* --vm VM"
    ):
        run(session, "volume detach vol-0123456789")
    with pytest.raises(RefusedError, match=r"is attached to i-0, i-1, not to i-2; nothing was done\."):
        run(session, "volume detach vol-0123456789 --vm i-2")
    assert changed(proxy) == []


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
    connect(cloud).tag(second, "Name", "web")
    element = attached("vol-0123456789", "attached", "attached", vms=(first, second))
    proxy.answers["DescribeVolumes"] = listing("DescribeVolumes", "volumeSet", [element])
    left = attached("vol-0123456789", "attached", vms=[first])
    for line in ("vm refresh", "volume refresh"):
        run(session, line)
    moved_by(proxy, "DetachVolume", left)
    outcome = run(session, "volume detach vol-0123456789 --vm web")
    assert outcome.message == f"Volume vol-0123456789 is being detached from {second}."
    assert outcome.undo == f"volume attach vol-0123456789 {second} --device /dev/sdg"
    (sent,) = (call for call in proxy.calls if call.action == "DetachVolume")
    assert sent.params["InstanceId"] == second
    assert (cached(session, "vol-0123456789")["vm"], cached(session, "vol-0123456789")["state"]) == (
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
    outcome = run(session, f"volume attach vol-0123456789 {second}")
    assert outcome.undo == f"volume detach vol-0123456789 --vm {second}"
    assert changed(proxy) == ["AttachVolume"]
    with pytest.raises(RefusedError, match=f"is attached to {first}; nothing was done"):
        run(session, f"volume attach vol-0123456789 {first}")
    assert changed(proxy) == ["AttachVolume"]


def test_a_device_is_free_where_no_volume_has_it_on_this_vm(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    """A volume on two VMs takes a device on each, not only where it was attached first."""
    session, proxy = both
    first, second = boot_many(cloud, 2)
    volume = made(cloud)
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
    volume = made(cloud)
    run(session, "volume refresh")
    with pytest.raises(NotFoundError, match="There is no VM 'nothing'"):
        run(session, "volume attach data nothing")
    connect(cloud).delete_volume(volume)
    with pytest.raises(NotFoundError, match=f"volume {volume} no longer exists"):
        run(session, f"volume attach data {native}")
    assert session.cache.named(KINDS["volume"], session.scope, volume) == []
    assert changed(proxy) == []


# --- protection ------------------------------------------------------------------------------------------------------


def test_protection_and_undo(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).tag(native, "Name", "web")
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        idle = run(session, "vm unprotect web")
        assert idle.message == f"web ({native}) is not protected; nothing was done."
        assert (idle.undo, changed(proxy)) == ("", [])
        outcome = run(session, "vm protect web")
        assert outcome.message == f"web ({native}) is protected from being deleted."
        assert account(cloud).vms[native][2]
        assert cached(session, native)["protected"] is True
        assert dict(outcome.fields) == cached(session, native)
        again = run(session, "vm protect web")
        assert again.message == f"web ({native}) is protected already; nothing was done."
        assert (again.undo, changed(proxy)) == ("", ["ModifyInstanceAttribute"])

        with pytest.raises(CloudError, match="it is protected"):
            run(session, "vm delete web")
        assert states(cloud) == {native: "running"}
        assert cached(session, native)["flight"] is None

        back = run(session, outcome.undo)
        assert back.message == f"web ({native}) is no longer protected from being deleted."
        assert not account(cloud).vms[native][2]
        assert cached(session, native)["protected"] is False
        run(session, back.undo)
        assert account(cloud).vms[native][2]


# --- dry runs --------------------------------------------------------------------------------------------------------

BOOTED = Reply(
    f'<RunInstancesResponse xmlns="{XMLNS}"><requestId>r</requestId><reservationId>r-1</reservationId><instancesSet>'
    "<item><instanceId>i-1</instanceId><instanceState><name>pending</name></instanceState></item>"
    "</instancesSet></RunInstancesResponse>"
)


def test_a_dry_run_of_what_one_may_do(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        outcome = run(session, f"vm boot {AMI} --name web --location us-east-1a --dry-run")
        assert outcome.message == (
            f"You may boot a t2.micro VM from {AMI} in us-east-1a of cloud aws; nothing was booted."
        )
        (call,) = (call for call in proxy.calls if call.action == "RunInstances")
        assert call.params["DryRun"] == "true"
        assert "ClientToken" not in call.params  # EC2 refuses an empty one
        assert call.params["Placement.AvailabilityZone"] == "us-east-1a"
        assert states(cloud) == {}
        assert cache.journal() == []
        assert cache.rows(KINDS["vm"], session.scope) == []
        assert outcome.undo == ""
        assert "in us-east-1 of cloud aws" in run(session, f"vm boot {AMI} --dry-run").message
        # The same without it boots.
        run(session, f"vm boot {AMI} --name web --location us-east-1a")
        assert len(states(cloud)) == len(cache.journal()) == 1


def test_a_dry_run_of_what_one_may_not_do(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    words = "You are not authorized to perform: ec2:RunInstances."
    proxy.answers["RunInstances"] = refusal(403, "UnauthorizedOperation", words)
    with pytest.raises(PermissionDeniedError) as caught:
        run(session, f"vm boot {AMI} --dry-run")
    assert caught.value.message.startswith(f"A dry run of booting a t2.micro VM from {AMI} failed on cloud aws")
    assert "may not do ec2:RunInstances" in caught.value.message
    assert session.cache.journal() == []


def test_a_dry_run_finds_what_does_not_exist_without_asking(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    with pytest.raises(NotFoundError, match=r"There is no flavor 't9\.huge'"):
        run(session, f"vm boot {AMI} --flavor t9.huge --dry-run")
    assert changed(proxy) == []
    assert session.cache.journal() == []


def test_an_endpoint_that_does_not_know_dry_runs_is_told_of(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    proxy.answers["RunInstances"] = BOOTED
    with pytest.raises(CloudError) as caught:
        run(session, f"vm boot {AMI} --dry-run")
    host = proxy.endpoint.removeprefix("http://")
    assert str(caught.value) == (f"{host} does not know dry runs and has booted i-1. Delete it, if it was not wanted.")


def test_a_dry_run_whose_answer_is_lost_is_not_repeated(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    proxy.cut("RunInstances")
    with pytest.raises(CloudError, match="A dry run of booting"):
        run(session, f"vm boot {AMI} --dry-run")
    assert changed(proxy) == ["RunInstances"]
    assert states(cloud) == {}
