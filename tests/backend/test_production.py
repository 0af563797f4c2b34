"""The production guard: an object that is tagged as production is destroyed only with its name or id."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse, split
from backend.commands.model import Context, Parsed
from backend.commands.run import execute, execute_all
from backend.commands.table import COMMANDS
from backend.config import Cloud
from backend.errors import NotFoundError, UsageError
from backend.kinds.keypair import deleting as keypairs
from backend.kinds.vm.preview import deleting as vms
from backend.kinds.volume.preview import deleting as volumes
from backend.providers.registry import connect
from tests.backend.cloud_support import (
    abandoned,
    account,
    behind_proxy,
    boot_many,
    entry_of,
    run,
    send_raw,
    sent,
    states,
)
from tests.backend.ec2_faults import DENIED, listing

Made = tuple[str, str, Callable[[], bool]]
"""Name, id, and a function that returns whether the object still exists."""


def vm(cloud: Cloud) -> Made:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").tag(native, "Name", "core")
    return "core", native, lambda: states(cloud)[native] == "running"


def volume(cloud: Cloud) -> Made:
    native = str(connect(cloud).of("volume").create("core", 1, "us-east-1a", "t")["id"])
    return "core", native, lambda: native in account(cloud).volumes


def keypair(cloud: Cloud) -> Made:
    native = str(connect(cloud).of("keypair").create("core")[0]["id"])
    return "core", native, lambda: "core" in account(cloud).keypairs


def secgroup(cloud: Cloud) -> Made:
    native = str(connect(cloud).of("secgroup").create("core", "a group of the tests", None)["id"])
    return "core", native, lambda: "core" in account(cloud).groups


MADE = {"vm": vm, "volume": volume, "keypair": keypair, "secgroup": secgroup}


def tag(cloud: Cloud, native: str) -> None:
    send_raw(cloud, "CreateTags", {"ResourceId.1": native, "Tag.1.Key": "env", "Tag.1.Value": "prod"})


def confirmed(line: str, *production: str) -> Parsed:
    return replace(parse(split(line)), production=frozenset(production))


def test_the_guard_is_tried_on_every_command_that_destroys_an_object() -> None:
    destroying = {one.words[0] for one in COMMANDS if one.effect == "destroys" and any(p.kind for p in one.params)}
    assert destroying == set(MADE)


@pytest.mark.parametrize("kind", MADE)
def test_production_is_destroyed_only_when_it_was_named(memory: Cache, cloud: Cloud, tmp_path: Path, kind: str) -> None:
    name, native, is_there = MADE[kind](cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, f"{kind} refresh")
        tag(cloud, native)  # the cache does not have it: the present state of the cloud counts
        for parsed in (parse([kind, "delete", name]), confirmed(f"{kind} delete {name}", "other", "")):
            with pytest.raises(UsageError, match=r"core.* is tagged as production \(env=prod\)") as refused:
                execute(parsed, session)
            assert refused.value.exit_status == 2
            assert refused.value.cure == "Without a screen, --production core confirms it."
        assert sent(proxy) == []
        assert is_there()
        assert {entry["outcome"] for entry in memory.journal.newest()} == {"failed"}
        execute(confirmed(f"{kind} delete {native}", name if kind != "vm" else native), session)
        assert not is_there()


def test_a_keypair_that_is_not_listed_is_not_deleted_unseen(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """A listing that lags once would hide its tags from the guard, and not from the call that deletes it."""
    _, native, is_there = keypair(cloud)
    tag(cloud, native)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "keypair refresh")
        empty = [listing("DescribeKeyPairs", "keySet", [])]
        proxy.spoilt["DescribeKeyPairs"] = lambda _, reply: empty.pop() if empty else reply
        with pytest.raises(NotFoundError, match=r"Keypair core \(key-\w+\) is not listed in cloud aws"):
            run(session, "keypair delete core")
        assert sent(proxy) == []
    assert is_there()


def test_of_several_the_one_that_was_not_named_stays(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    core, plain = boot_many(cloud, 2)
    tag(cloud, core)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        results = execute_all([parse(["vm", "delete", native]) for native in (core, plain)], session)
        assert [isinstance(one.error, UsageError) for one in results] == [True, False]
    assert states(cloud) == {core: "running", plain: "terminated"}


@pytest.mark.parametrize("word", ["data", "core", "id"])
def test_a_volume_that_is_production_and_goes_with_its_vm_is_named_too(
    memory: Cache, cloud: Cloud, tmp_path: Path, word: str
) -> None:
    name, native, is_there = vm(cloud)
    (root,) = (item["id"] for page in connect(cloud).of("volume").list(vms=[native]) for item in page)
    connect(cloud).of("vm").tag(root, "Name", "data")
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        assert vms(Context(session, {}), [native]).typed == ""
        tag(cloud, root)
        preview = vms(Context(session, {}), [native])
        assert preview.typed == name
        assert (
            f"Volume data ({root}), which is deleted with it, is tagged as production." in preview.targets[0].warnings
        )
        assert "1 tagged as production, or with a volume that is." in preview.totals
        with pytest.raises(UsageError, match=rf"volume data \({root}\) goes with core \({native}\), is tagged as"):
            run(session, f"vm delete {native}")
        assert sent(proxy) == []
        assert is_there()
        execute(confirmed(f"vm delete {native}", native if word == "id" else word), session)
        assert not is_there()


def test_a_volume_that_stays_or_is_not_for_these_keys_needs_no_name(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    first, second = boot_many(cloud, 2)
    stays = str(connect(cloud).of("volume").create("data", 1, "us-east-1a", "t")["id"])
    connect(cloud).of("volume").attach(stays, first, "/dev/sdf")
    (root,) = (item["id"] for page in connect(cloud).of("volume").list(vms=[second]) for item in page)
    tag(cloud, stays)
    tag(cloud, root)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, f"vm delete {first}")
        proxy.answers["DescribeVolumes"] = DENIED
        assert any("Volumes could not be read" in note for note in vms(Context(session, {}), [second]).notes)
        run(session, f"vm delete {second}")
    assert states(cloud) == {first: "terminated", second: "terminated"}


def test_nothing_is_resumed_while_some_of_it_is_production_and_not_named(
    cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    core, plain = boot_many(cloud, 2)
    data = str(connect(cloud).of("volume").create("data", 1, "us-east-1a", "t")["id"])
    for native in (core, data):
        tag(cloud, native)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        lines = (f"vm delete {plain}", f"vm delete {core}", f"volume delete {data}")
        entries = [abandoned(session, line, outcome="waiting", age=9 - at) for at, line in enumerate(lines)]
        for production in ((), (core,)):
            with pytest.raises(UsageError, match=f"{data if production else core}.* is tagged as production"):
                execute(confirmed("journal resume", *production), session)
        assert sent(proxy) == []
        assert {entry_of(session, entry)["outcome"] for entry in entries} == {"waiting"}
        result = execute(confirmed("journal resume", core, "data"), session)
        assert (result.message, result.failure) == ("3 done.", "")
    assert states(cloud) == {core: "terminated", plain: "terminated"}


def test_volumes_and_keypairs_that_are_production_want_their_names(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        for make, preview in ((volume, volumes), (keypair, keypairs)):
            name, native, _ = make(cloud)
            assert preview(Context(session, {}), [native]).typed == ""
            tag(cloud, native)
            assert preview(Context(session, {}), [native]).typed == name
