"""Previews of destroying commands: all that goes with an object, by the present state of the cloud."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.model import Context
from backend.commands.preview import Preview, Target
from backend.commands.table import COMMANDS
from backend.config import PRODUCTION, Cloud
from backend.errors import NotFoundError, PermissionDeniedError, RefusedError
from backend.kinds import keypair as keypair_room
from backend.kinds.vm import preview as vm_preview
from backend.kinds.volume import preview as volume_preview
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import GROUP, account, behind_proxy, boot_many, only, run, send_raw, sent
from tests.backend.ec2_faults import DENIED, listing
from tests.ec2_proxy import Proxy

NOWHERE = "i-0123456789abcdef0"


def shown(session: Session, *ids: str) -> Preview:
    return vm_preview.deleting(Context(session, {}), ids)


def texts(preview: Preview) -> list[str]:
    """Everything that a preview shows."""
    found = [*preview.totals, *preview.notes]
    for one in preview.targets:
        found += [one.name, one.label, one.left_out, *one.losses, *one.stays, *one.warnings]
        found += [word for fact in one.facts for word in fact]
    return found


def test_what_is_named_twice_is_counted_once_and_a_shared_name_is_no_ones(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, _ = both
    one, other, third = boot_many(cloud, 3)
    ec2 = connect(cloud)
    for native, name in ((one, "dup"), (other, "same"), (third, "same")):
        ec2.of("vm").tag(native, "Name", name)
    run(session, "vm refresh")
    preview = shown(session, one, "dup", "same")
    assert [(target.id, target.left_out) for target in preview.targets] == [
        (one, ""),
        ("same", "2 VMs share that name"),
    ]
    assert preview.typed == ""
    volumes = [ec2.of("volume").create("twin", 1, "us-east-1a", str(number))["id"] for number in range(2)]
    run(session, "volume refresh")
    target = only(volume_preview.deleting(Context(session, {}), ["twin"]))
    assert target.left_out == "2 volumes share that name"
    assert len(volume_preview.deleting(Context(session, {}), [volumes[0]] * 2).targets) == 1


def test_every_destroying_command_shows_what_it_destroys() -> None:
    destroying = {one.name for one in COMMANDS if one.effect == "destroys"}
    assert {one.name for one in COMMANDS if one.preview} == {*destroying, "vm stop"}


# --- VMs --------------------------------------------------------------------------------------------------------------


def test_a_vm_with_all_that_hangs_on_it(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1, **GROUP)
    ec2 = connect(cloud)
    ec2.of("vm").tag(native, "Name", "web")
    data = ec2.of("volume").create("data", 3, "us-east-1a", "t")["id"]
    ec2.of("volume").attach(data, native, "/dev/sdf")
    (root,) = (item["id"] for page in ec2.of("volume").list(vms=[native]) for item in page if item["id"] != data)
    address = send_raw(cloud, "AllocateAddress", {"Domain": "vpc"})
    allocation, ip = (re.findall(rf"<{name}>(.*?)</{name}>", address)[0] for name in ("allocationId", "publicIp"))
    send_raw(cloud, "AssociateAddress", {"AllocationId": allocation, "InstanceId": native})
    send_raw(cloud, "AllocateAddress", {"Domain": "vpc"})  # which hangs on nothing
    ec2.of("volume").create("other", 9, "us-east-1a", "u")
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        preview = shown(session, native)
        one = only(preview)
        assert (one.id, one.name, one.label) == (native, "web", f"web ({native})")
        facts = dict(one.facts)
        assert re.fullmatch(r"\d+ s", facts.pop("Age"))
        assert facts == {
            "State": "running",
            "Location": "us-east-1a",
            "Flavor": "t2.micro",
            "USD/hour": "0.0116",
            "Protected": "no",
            "Elastic IP": ip,
            "Auto Scaling": "workers",
        }
        assert one.losses == (f"volume {root}, 8 GiB",)
        assert one.stays == (f"volume data ({data}), 3 GiB", f"elastic IP {ip}, billed while nothing uses it")
        assert one.warnings == ("Auto Scaling group workers would boot another in its place.",)
        assert (one.left_out, one.production, preview.typed, preview.notes) == ("", False, "", ())
        assert preview.totals == (
            "1 VM: 0.0116 USD/hour now.",
            "1 volume (8 GiB) deleted with it.",
            "1 volume (3 GiB) left by it.",
            "1 elastic IP left, billed while unused.",
            "1 would come back: Auto Scaling groups boot others.",
        )
        assert sent(proxy) == []
        # What it says is what happens.
        run(session, f"vm delete {native}")
        left = {item["id"] for page in ec2.of("volume").list() for item in page}
        assert root not in left
        assert data in left


def test_a_plain_vm(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    one = only(shown(session, native))
    assert (one.name, one.label) == (native, native)
    facts = dict(one.facts)
    assert (facts["Elastic IP"], facts["Auto Scaling"]) == ("none", "no group")
    assert (one.stays, one.warnings) == ((), ())


def test_what_the_cloud_says_now_counts_and_not_the_cache(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    run(session, "vm refresh")
    connect(cloud).of("vm").tag(native, "env", "production")
    connect(cloud).of("vm").protect(native, True)
    connect(cloud).of("vm").tag(native, "Name", "renamed")
    one = only(shown(session, native))
    assert (one.name, one.production) == ("renamed", True)
    assert one.left_out == f"it is protected; vm unprotect {native} lifts that"
    ((name, protected),) = (
        (KINDS["vm"].value(row, "name"), KINDS["vm"].value(row, "protected"))
        for row in session.cache.rows.snapshot(KINDS["vm"], session.scope)
    )
    assert (name, protected) == ("renamed", True)  # and the table shows it too


def test_what_is_left_out_counts_nowhere(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    protected, terminated, going, stopped = boot_many(cloud, 4)
    ec2 = connect(cloud)
    ec2.of("vm").protect(protected, True)
    ec2.of("vm").tag(protected, "env", "prod")
    ec2.of("vm").stop(stopped)
    run(session, "vm refresh")
    ec2.of("vm").delete(terminated)
    session.cache.rows.put(KINDS["vm"], session.scope, [{"id": NOWHERE, "state": "running"}])
    preview = shown(session, protected, terminated, going, stopped, NOWHERE)
    assert [one.left_out for one in preview.targets] == [
        f"it is protected; vm unprotect {protected} lifts that",
        "it is terminated already",
        "",
        "",
        "it no longer exists",
    ]
    assert [one.id for one in preview.acted_on] == [going, stopped]
    assert [one.id for one in preview.left_out] == [protected, terminated, NOWHERE]
    # One that is stopped costs nothing by the hour.
    assert preview.totals == ("2 VMs: 0.0116 USD/hour now.", "2 volumes (16 GiB) deleted with them.")
    assert preview.typed == "2"


def test_a_price_that_is_not_known(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    boot_many(cloud, 1, InstanceType="c8a.large")  # libcloud's list does not have it
    ids = boot_many(cloud, 1)
    preview = shown(session, *ids)
    assert sorted(dict(one.facts)["USD/hour"] for one in preview.targets) == ["0.0116", "unknown"]
    assert preview.totals[0].startswith("2 VMs: 0.0116 USD/hour now, ")
    assert "1 of unknown price" in preview.totals[0]


@pytest.mark.thorough
def test_many_vms_are_looked_at_by_name_and_by_id(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    ids = boot_many(cloud, 250)
    connect(cloud).of("vm").tag(ids[0], "Name", "web")
    run(session, "vm refresh")
    proxy.asked.clear()
    preview = shown(session, "web", *ids[1:])
    assert [one.id for one in preview.targets] == ids
    assert preview.typed == "250"
    assert preview.totals == ("250 VMs: 2.9000 USD/hour now.", "250 volumes (2,000 GiB) deleted with them.")
    assert proxy.asked.count("DescribeInstances") == 2  # 200 ids a call
    assert proxy.asked.count("DescribeInstanceAttribute") == 250


def test_a_word_that_names_nothing_is_left_out(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    boot_many(cloud, 1)
    call = Context(session, {})
    for preview in (shown(session, "x"), volume_preview.deleting(call, ["x"]), keypair_room.deleting(call, ["x"])):
        assert (only(preview).name, only(preview).left_out) == ("x", "it no longer exists")
        assert preview.acted_on == ()


# --- production -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "tag", "matches"),
    [
        (PRODUCTION, "env=prod", True),
        (PRODUCTION, "Env=PRODUCTION", True),
        (PRODUCTION, "stage=prod-eu", True),
        (PRODUCTION, "environment=production", True),
        (PRODUCTION, "env=preprod", False),
        (PRODUCTION, "environ=prod", False),
        (("tier=?ritical", "owner=*"), "tier=critical", True),
        (("tier=?ritical", "owner=*"), "owner=", True),
        (("tier=?ritical", "owner=*"), "env=prod", False),
        (("ENV=Prod*",), "env=production", True),
        ((), "env=prod", False),
    ],
)
def test_what_is_production(
    both: tuple[Session, Proxy], cloud: Cloud, rules: tuple[str, ...], tag: str, matches: bool
) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").tag(native, "Name", "web")
    connect(cloud).of("vm").tag(native, *tag.split("=", 1))
    preview = shown(replace(session, settings=replace(session.settings, production=rules)), native)
    assert only(preview).production == matches
    assert only(preview).warnings == (("It is tagged as production.",) if matches else ())
    assert preview.typed == ("web" if matches else "")
    assert ("1 tagged as production." in preview.totals) == matches


def test_what_must_be_typed(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    plain, production, protected = boot_many(cloud, 3)
    ec2 = connect(cloud)
    ec2.of("vm").tag(production, "env", "prod")
    ec2.of("vm").protect(protected, True)
    assert shown(session, plain).typed == ""
    assert shown(session, production).typed == production  # it has no name
    preview = shown(session, production, plain)
    assert preview.typed == f"2 {production}"
    assert [preview.confirmed_by(text) for text in ("2", production, f" 2  {production} ", f"2 {plain}")] == [
        False, False, True, False,
    ]  # fmt: skip
    assert shown(session, production, protected).typed == production  # only one would be deleted
    assert shown(session, plain, protected).typed == ""
    assert shown(session, protected).typed == ""


def test_of_several_each_that_is_production_wants_its_name_or_its_id(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    ids = boot_many(cloud, 3)
    for native, name in zip(ids, ("core (1)", "web", "core 2"), strict=True):
        connect(cloud).of("vm").tag(native, "Name", name)
        connect(cloud).of("vm").tag(native, "env", "test" if name == "web" else "prod")
    preview = shown(session, *ids)
    assert preview.typed == "3 core (1) core 2"
    for text, confirms in (
        ("3", False),
        ("3 core (1)", False),
        ("3 core (1) core 2", True),
        (f"3 {ids[0]} core 2", True),
        (f"3 {ids[0]} {ids[2]}", True),
        ("core (1) core 2", False),
        ("3 core 1 core 2", False),
        ("", False),
    ):
        assert preview.confirmed_by(text) == confirms, text


# --- what may not be listed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("DescribeAddresses", "Elastic IPs"),
        ("DescribeInstanceAttribute", "Termination protection"),
        ("DescribeVolumes", "Volumes"),
    ],
)
def test_what_the_cloud_will_not_tell_is_said(
    cache: Cache, cloud: Cloud, tmp_path: Path, action: str, what: str
) -> None:
    ids = boot_many(cloud, 2)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.answers[action] = DENIED
        preview = shown(session, *ids)
        (note,) = preview.notes
        assert note.startswith(f"{what} could not be read: ")
        assert f"may not do ec2:{action}" in note
        assert preview.typed == "2"
        assert all(bool(one.losses) == (what != "Volumes") for one in preview.targets)
        for one in preview.targets:
            assert (dict(one.facts)["Protected"] == "unknown") == (what == "Termination protection")
            assert (dict(one.facts)["Elastic IP"] == "unknown") == (what == "Elastic IPs")


def test_without_the_vms_themselves_there_is_no_preview(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    ids = boot_many(cloud, 2)
    run(session, "vm refresh")
    proxy.answers["DescribeInstances"] = DENIED
    with pytest.raises(PermissionDeniedError, match="may not do ec2:DescribeInstances"):
        shown(session, *ids)


def test_what_strangers_wrote_is_shown_safely(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    hostile = "\u202e[/]\n"
    group = GROUP | {"TagSpecification.1.Tag.1.Value": hostile}
    (native,) = boot_many(cloud, 1, KeyName=hostile, **group)
    ec2 = connect(cloud)
    for key, value in (("Name", hostile), ("env", "prod")):
        ec2.of("vm").tag(native, key, value)
    volume = ec2.of("volume").create(hostile, 1, "us-east-1a", "t")["id"]
    ec2.of("volume").attach(volume, native, "/dev/sdf")
    keypair = ec2.of("keypair").create(hostile)[0]["id"]
    vms = shown(session, native)
    assert vms.typed == only(vms).name == "\ufffd[/]␊"
    call = Context(session, {})
    for preview in (vms, volume_preview.deleting(call, [volume]), keypair_room.deleting(call, [keypair])):
        found = texts(preview)
        assert any("\ufffd[/]␊" in text for text in found)
        assert all(text.isprintable() for text in found)


def test_all_that_a_target_has_is_looked_at_above() -> None:
    """`texts` must not pass over what is new."""
    assert {one.name for one in fields(Target)} == {
        "id", "name", "facts", "losses", "stays", "warnings", "left_out", "production", "final",
        "scope",
    }  # fmt: skip
    # Those after the notes are not shown.
    assert {one.name for one in fields(Preview)} == {"targets", "totals", "notes", "given", "destroys"}


# --- volumes and keypairs ---------------------------------------------------------------------------------------------


def test_volumes(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    ec2 = connect(cloud)
    ec2.of("vm").tag(native, "Name", "web")
    free, held, gone = (
        ec2.of("volume").create(name, size, "us-east-1a", name)["id"] for name, size in (("a", 3), ("b", 5), ("c", 7))
    )
    ec2.of("volume").attach(held, native, "/dev/sdf")
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        run(session, "volume refresh")
        ec2.of("volume").delete(gone)
        preview = volume_preview.deleting(Context(session, {}), ["a", held, gone])
        assert [one.id for one in preview.targets] == [free, held, gone]
        assert [one.left_out for one in preview.targets] == [
            "",
            f"it is attached to web ({native}); detach it first",
            "it no longer exists",
        ]
        first, second, _ = preview.targets
        assert (first.name, first.losses) == ("a", ("all that is on it",))
        facts = dict(first.facts)
        assert (facts["Size"], facts["State"], facts["Location"]) == ("3 GiB", "● available", "us-east-1a")
        assert facts["Used by"] == "nothing"
        assert dict(second.facts)["Used by"] == f"web ({native})"
        assert preview.totals == ("1 volume (3 GiB) would be deleted, with all that is on them.",)
        assert preview.typed == ""
        assert sent(proxy) == []


def test_a_volume_of_a_vm_that_the_cache_does_not_know(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1)
    (root,) = (item["id"] for page in connect(cloud).of("volume").list() for item in page)
    assert (
        only(volume_preview.deleting(Context(session, {}), [root])).left_out
        == f"it is attached to {native}; detach it first"
    )


def test_a_volume_wants_its_name_unless_it_was_created_empty_a_moment_ago(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, _ = both
    ec2 = connect(cloud)
    (vm,) = boot_many(cloud, 1)
    empty, used, nameless = (
        str(ec2.of("volume").create(name, 1, "us-east-1a", str(n))["id"])
        for n, name in enumerate(("empty", "used", ""))
    )
    snapshot = re.findall("<snapshotId>(.*?)<", send_raw(cloud, "CreateSnapshot", {"VolumeId": empty}))[0]
    where = {"SnapshotId": snapshot, "AvailabilityZone": "us-east-1a"}
    copied = re.findall("<volumeId>(.*?)<", send_raw(cloud, "CreateVolume", where))[0]
    run(session, "volume refresh")
    run(session, f"volume attach used {vm}")
    run(session, "volume detach used")

    def typed(later: timedelta, *ids: str) -> str:
        at = datetime.now(UTC) + later
        return volume_preview.deleting(Context(replace(session, now=lambda: at), {}), ids).typed

    soon, later = volume_preview.NEW - timedelta(minutes=1), volume_preview.NEW
    assert [typed(soon, one) for one in (empty, used, nameless, copied)] == ["", "used", "", copied]
    assert [typed(later, one) for one in (empty, used, nameless, copied)] == ["empty", "used", nameless, copied]
    assert typed(later, empty, used) == "2"


def test_keypairs(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "keypair create used")
        ec2 = connect(cloud)
        ids = [ec2.of("keypair").create(name)[0]["id"] for name in ("unused", "gone")]
        first, second, last = boot_many(cloud, 3, KeyName="used")
        ec2.of("vm").tag(first, "Name", "web")
        ec2.of("vm").delete(last)
        boot_many(cloud, 1)
        run(session, "keypair refresh")
        ec2.of("keypair").delete("gone", ids[1])
        proxy.asked.clear()
        preview = keypair_room.deleting(Context(session, {}), ["used", "unused", "gone"])
        assert keypair_room.deleting(Context(session, {}), [one.id for one in preview.targets]) == preview
        used, unused, gone = preview.targets
        assert used.id.startswith("key-")
        facts = dict(used.facts)
        assert sorted(facts["Used by"].split(", ")) == sorted([f"web ({first})", second])
        assert facts["Private key"] == f"stays in {tmp_path / 'keys' / 'aws' / 'us-east-1' / 'used.pem'}"
        assert facts["Fingerprint"]
        (warning,) = used.warnings
        assert "can still log in" in warning
        assert dict(unused.facts)["Used by"] == "no VM"
        assert dict(unused.facts)["Private key"] == "not here"
        assert unused.warnings == ()
        assert gone.left_out == "it no longer exists"
        assert preview.totals == ("2 keypairs would be deleted.",)
        assert preview.typed == "2"
        assert sent(proxy) == []


def test_a_keypair_named_like_the_id_of_another_is_never_meant_by_that_id(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, _ = both
    ec2 = connect(cloud)
    meant = str(ec2.of("keypair").create("meant")[0]["id"])
    decoy = str(ec2.of("keypair").create(meant)[0]["id"])
    run(session, "keypair refresh")
    call = Context(session, {})
    shown = keypair_room.deleting(call, [meant, decoy])
    assert [(one.id, one.name) for one in shown.targets] == [
        (meant, "meant"),
        (decoy, meant),
    ]
    run(session, f"keypair delete {meant}")
    assert account(cloud).keypairs == [meant]  # the one that was called "meant" is gone
    assert only(keypair_room.deleting(call, [meant])).left_out == "it no longer exists"
    with pytest.raises(NotFoundError):
        run(session, f"keypair delete {meant}")
    run(session, f"keypair delete {decoy}")
    assert account(cloud).keypairs == []
    with pytest.raises(RefusedError, match="would be read as the id"):
        run(session, f"keypair create {meant}")
    assert account(cloud).keypairs == []


def test_an_endpoint_that_does_not_know_the_filter_is_not_taken_at_its_word(
    both: tuple[Session, Proxy], cloud: Cloud
) -> None:
    session, proxy = both
    mine = connect(cloud).of("keypair").create("mine")[0]["id"]
    vms = "".join(
        f"<item><instanceId>i-{name}</instanceId><keyName>{name}</keyName></item>" for name in ("mine", "theirs")
    )
    proxy.answers["DescribeInstances"] = listing(
        "DescribeInstances", "reservationSet", [f"<instancesSet>{vms}</instancesSet>"]
    )
    assert dict(only(keypair_room.deleting(Context(session, {}), [mine])).facts)["Used by"] == "i-mine"
