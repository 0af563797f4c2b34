"""What the commands do: run as every face runs them, through the real provider against moto."""

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IMODE
from typing import Any, NoReturn

import pytest

from backend import owner, state
from backend.cache import Cache, Change, RefreshRecord, Scope, open_cache
from backend.callbacks import ignore
from backend.commands import COMMANDS, Command, Outcome, Parsed, allowed, command, execute, parse, split
from backend.commands.lookup import MissingKeypairError
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.errors import (
    Cancelled,
    CloudError,
    CloudmeshError,
    ConfigError,
    NotFoundError,
    RefusedError,
    UnsureError,
    UsageError,
)
from backend.format import Flight, as_object
from backend.journal import plan
from backend.kinds import JOURNAL, KINDS, Kind
from backend.mongod import find_binary
from backend.providers import Item, Provider, connect
from backend.refresh import Progress
from backend.secret import Secret
from backend.session import Session
from tests.backend.test_grammar import HOSTILE

AMI, ARM_AMI = "ami-03cf127a", "ami-0e9271c829888680e"
ZONES = ("us-east-1a", "us-east-1b")
NOWHERE = "i-0123456789abcdef0"

STOCK: dict[str, list[Item]] = {
    "image": [
        {"id": AMI, "name": "ubuntu", "architecture": "x86_64"},
        {"id": ARM_AMI, "name": "ubuntu-arm", "architecture": "arm64"},
    ],
    "flavor": [
        {"id": "t2.micro", "name": "t2.micro", "architecture": "i386, x86_64"},
        {"id": "t4g.micro", "name": "t4g.micro", "architecture": "arm64"},
    ],
    "location": [
        {"id": f"use1-az{number}", "name": zone, "region": "us-east-1", "state": "available"}
        for number, zone in enumerate(ZONES)
    ],
}
"""What a test's cache has been told of what never changes; moto takes seconds to list all of it."""


def fill(cache: Cache, scope: Scope) -> None:
    """Write the stock as a refresh a moment ago would have."""
    for name, items in STOCK.items():
        kind = KINDS[name]
        cache.put(kind, scope, items)
        now = datetime.now(UTC)
        cache.note_refresh(kind, scope, RefreshRecord(scope.cloud, scope.region, name, now, now, len(items)))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    opened = open_cache(MongoDB(Secret("memory")), tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def session(cloud: Cloud, cache: Cache, tmp_path: Path) -> Session:
    """A session on an empty account, with refresh on and a second cloud in the configuration."""
    other = replace(cloud, name="other", default=Defaults("eu-west-1"))
    settings = Settings({"aws": cloud, "other": other}, "aws", tmp_path / "cloudmesh.yaml")
    made = Session(settings, cloud, cache, tmp_path / "home")
    fill(cache, made.scope)
    return made


@pytest.fixture
def offline(cache: Cache, tmp_path: Path) -> Session:
    """A session whose test fails when the cloud is asked anything."""
    cloud = Cloud("aws")
    made = Session(Settings({"aws": cloud}, "aws"), cloud, cache, tmp_path / "home", connector=untouched)
    fill(cache, made.scope)
    return made


@pytest.fixture
def ec2(session: Session) -> Provider:
    """The cloud itself, to look behind the cache."""
    return connect(session.cloud)


def run(session: Session, line: str, **more: Any) -> Outcome:
    return execute(parse(split(line)), session, **more)


def defaulting(session: Session, **defaults: str) -> Session:
    """Return the session with other defaults of its cloud."""
    return replace(session, cloud=replace(session.cloud, default=replace(session.cloud.default, **defaults)))


def listed(pages: Iterator[list[Item]]) -> list[Item]:
    return [item for page in pages for item in page]


def vms(ec2: Provider) -> dict[str, Item]:
    return {item["id"]: item for item in listed(ec2.vms())}


def booted(session: Session, line: str = f"vm boot {AMI}") -> str:
    return str(dict(run(session, line).fields)["id"])


def row(session: Session, kind: str, word: str) -> dict[str, Any]:
    """What the cache says of one object."""
    (found,) = session.cache.named(KINDS[kind], session.scope, word)
    return dict(zip(KINDS[kind].index, found, strict=True))


def everything(cache: Cache) -> str:
    """The whole database as text."""
    found = [list(cache.database[name].find()) for name in cache.database.list_collection_names()]
    assert any(found)
    return repr(found)


def untouched(_cloud: Cloud, _check: Callable[[], None]) -> NoReturn:
    pytest.fail("the cloud was asked")


# --- listings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_refresh_and_list_of_every_kind(kind: Kind, session: Session, ec2: Provider) -> None:
    booted(session)
    ec2.create_keypair("me")
    seen: list[Progress] = []
    outcome = run(session, f"{kind.plural} refresh", progress=seen.append)
    (difference,) = outcome.differences
    assert difference.kind == kind.name
    assert difference.count == seen[-1].rows > 0
    assert outcome.message.startswith(f"{kind.plural}: {difference.count:,} (")
    off = run(replace(session, refresh=False, connector=untouched), f"{kind.name} list")
    assert off.kind is kind
    assert off.rows is not None
    assert len(off.rows) == difference.count
    assert off.failure == ""
    assert session.cache.journal() == session.cache.journal()[-1:]  # of the boot alone: reading is not journalled


def test_list_fetches_first_when_refresh_is_on(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    assert run(replace(session, refresh=False), "keypair list").rows == ()
    rows = run(session, "keypair list").rows
    assert rows is not None
    assert [KINDS["keypair"].value(one, "name") for one in rows] == ["me"]


def test_list_shows_what_is_known_when_fetching_fails(session: Session) -> None:
    vm = booted(session)
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    outcome = run(nowhere, "vm list")
    assert "127.0.0.1:1 cannot be reached" in outcome.failure
    assert outcome.rows is not None
    assert [KINDS["vm"].value(one, "id") for one in outcome.rows] == [vm]
    with pytest.raises(CloudError, match="cannot be reached"):
        run(nowhere, "vm refresh")


def test_refresh_all_tells_what_failed_and_refreshes_the_rest(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    session = replace(session, cloud=replace(session.cloud, images=("self",)))

    class NoFlavors:
        """The cloud, but for one listing."""

        def __init__(self, real: Provider) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            if name == "flavors":
                raise CloudError("No flavors today.")
            return getattr(self._real, name)

    broken = replace(session, connector=lambda cloud, check: NoFlavors(connect(cloud, check)))
    outcome = run(broken, "refresh all")
    assert outcome.failure == "No flavors today."
    assert [one.kind for one in outcome.differences] == list(KINDS)
    assert [one.kind for one in outcome.differences if one.error] == ["flavor"]
    assert "keypairs: 1 (1 new) in " in outcome.message
    assert "flavors" not in outcome.message
    assert row(session, "keypair", "me")["name"] == "me"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_export_of_every_kind(kind: Kind, session: Session, ec2: Provider, tmp_path: Path) -> None:
    booted(session)
    ec2.create_keypair("me")
    run(session, f"{kind.name} refresh")
    off = replace(session, refresh=False, connector=untouched)
    rows = session.cache.rows(kind, session.scope)
    what = f"1 {kind.noun}" if len(rows) == 1 else f"{len(rows):,} {kind.nouns}"
    for name in ("all.json", "all.csv"):
        outcome = run(off, f"{kind.plural} export '{tmp_path / name}'")
        assert (outcome.message, outcome.failure) == (f"{what} written to {tmp_path / name}.", "")
    objects = [as_object(kind, one) for one in rows]
    assert json.loads((tmp_path / "all.json").read_text()) == json.loads(json.dumps(objects))
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == [one["id"] for one in objects]
    assert len(session.cache.journal()) == 1  # of the boot alone: nothing was changed


def test_export_fetches_first_when_refresh_is_on(session: Session, ec2: Provider, tmp_path: Path) -> None:
    ec2.create_keypair("me")
    run(replace(session, refresh=False), f"keypair export '{tmp_path}/off.json'")
    run(session, f"keypair export '{tmp_path}/on.json'")
    assert json.loads((tmp_path / "off.json").read_text()) == []
    assert [one["name"] for one in json.loads((tmp_path / "on.json").read_text())] == ["me"]


def test_export_of_some_alone_is_of_what_is_known(session: Session, tmp_path: Path) -> None:
    vms = [booted(session, f"vm boot {AMI} --name {name}") for name in ("web", "db", "other")]
    known = replace(session, connector=untouched)
    outcome = run(known, f"vm export '{tmp_path}/some.json' --only {vms[1]},web")
    assert outcome.message == f"2 VMs written to {tmp_path}/some.json."
    assert [one["id"] for one in json.loads((tmp_path / "some.json").read_text())] == [vms[1], vms[0]]
    assert run(known, f"vm export '{tmp_path}/one.csv' --only web").message.startswith("1 VM written to ")
    with pytest.raises(NotFoundError, match="There is no VM 'nobody'"):
        run(replace(session, refresh=False), f"vm export '{tmp_path}/none.csv' --only web,nobody")
    assert not (tmp_path / "none.csv").exists()


def test_export_of_what_is_known_when_fetching_fails(session: Session, tmp_path: Path) -> None:
    vm = booted(session)
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    outcome = run(nowhere, f"vm export '{tmp_path}/vms.json'")
    assert "127.0.0.1:1 cannot be reached" in outcome.failure
    assert [one["id"] for one in json.loads((tmp_path / "vms.json").read_text())] == [vm]


def test_a_file_that_does_not_serve_is_refused_before_anything_is_fetched(session: Session, tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine")
    session = replace(session, connector=untouched)
    with pytest.raises(UsageError, match=r"is neither a \.csv nor a \.json file"):
        run(session, f"vm export '{tmp_path}/vms.xlsx'")
    with pytest.raises(RefusedError, match="exists already and is not overwritten"):
        run(session, f"vm export '{there}'")
    assert there.read_text() == "mine"


# --- booting ---------------------------------------------------------------------------------------------------------


def test_boot_with_every_option(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    outcome = run(session, f"vm boot {AMI} --name 'web 1' --flavor t2.micro --location us-east-1b --keypair me")
    (vm,) = vms(ec2).values()
    assert outcome.message == f"web 1 ({vm['id']}) is booting from {AMI}."
    expected = {"name": "web 1", "flavor": "t2.micro", "location": "us-east-1b", "keypair": "me", "image": AMI}
    assert expected.items() <= vm.items()
    cached = row(session, "vm", vm["id"])
    assert (expected | {"state": "pending"}).items() <= cached.items()
    assert cached["flight"].action == "boot"
    assert dict(outcome.fields) == cached


def test_boot_with_the_configuration_alone(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    session = defaulting(session, image=ARM_AMI, size="t4g.micro", keypair="me", location="us-east-1b")
    outcome = run(session, "vm boot")
    (vm,) = vms(ec2).values()
    assert outcome.message == f"{vm['id']} is booting from {ARM_AMI}."
    expected = {"name": None, "flavor": "t4g.micro", "location": "us-east-1b", "keypair": "me", "image": ARM_AMI}
    assert expected.items() <= vm.items()


def test_boot_by_the_image_s_name_in_the_region_without_a_key(session: Session, ec2: Provider) -> None:
    run(session, "vm boot ubuntu --location us-east-1")
    (vm,) = vms(ec2).values()
    assert (vm["image"], vm["flavor"], vm["keypair"]) == (AMI, "t2.micro", None)


@pytest.mark.parametrize(
    ("words", "message", "cure"),
    [
        ("ami-03cf127b", "There is no image 'ami-03cf127b' in cloud aws, region", AMI),
        (f"{AMI} --flavor t2.mikro", "There is no flavor 't2.mikro'", "t2.micro"),
        (f"{AMI} --location us-east-1z", "There is no location 'us-east-1z'", "us-east-1"),
        (f"{AMI} --location mars", "There is no location 'mars'", "location refresh fetches the list again."),
        (f"{AMI} --keypair mee", "There is no keypair 'mee'", "me"),
        ("zzz", "There is no image 'zzz'", "image refresh fetches the list again."),
        (f"{AMI} --flavor t4g.micro", f"Image {AMI} is for x86_64, and flavor t4g.micro has arm64", "with x86_64"),
        (f"{ARM_AMI}", f"Image {ARM_AMI} is for arm64, and flavor t2.micro has i386, x86_64", "a flavor with arm64"),
    ],
)  # fmt: skip
def test_a_boot_that_cannot_be_creates_nothing(
    session: Session, ec2: Provider, words: str, message: str, cure: str
) -> None:
    ec2.create_keypair("me")
    with pytest.raises(CloudmeshError) as caught:
        run(session, f"vm boot {words}")
    assert caught.value.message.startswith(message)
    assert cure in caught.value.cure
    assert vms(ec2) == {}
    assert session.cache.rows(KINDS["vm"], session.scope) == []
    (entry,) = session.cache.journal()
    assert (entry["outcome"], entry["objects"], entry["error"]) == ("failed", [], str(caught.value))


def test_a_keypair_that_is_missing_is_told_apart(session: Session, ec2: Provider) -> None:
    with pytest.raises(MissingKeypairError) as caught:
        run(session, f"vm boot {AMI} --keypair 'two words'")
    assert caught.value.name == "two words"
    assert caught.value.cure == "Create it with: keypair create 'two words'"
    assert parse(split(caught.value.cure.partition(": ")[2])).given == {"name": "two words"}
    assert vms(ec2) == {}


def test_what_the_cache_never_listed_is_fetched_first(session: Session, ec2: Provider, tmp_path: Path) -> None:
    """Even with refresh off: an empty cache says nothing about what there is."""
    fresh = open_cache(MongoDB(Secret("memory")), tmp_path)
    for name in ("image", "flavor"):  # moto takes seconds to list these
        fresh.put(KINDS[name], session.scope, STOCK[name])
    ec2.create_keypair("me")
    run(replace(session, cache=fresh, refresh=False), f"vm boot {AMI} --keypair me --location us-east-1f")
    assert [(vm["keypair"], vm["location"]) for vm in vms(ec2).values()] == [("me", "us-east-1f")]
    assert fresh.count(KINDS["location"], session.scope) > len(ZONES)
    fresh.close()


def test_refresh_off_takes_the_word_of_the_cache(session: Session, ec2: Provider) -> None:
    run(session, "keypair list")
    ec2.create_keypair("me")
    session = replace(session, refresh=False)
    with pytest.raises(MissingKeypairError):
        run(session, f"vm boot {AMI} --keypair me")
    run(session, "keypair refresh")
    run(session, f"vm boot {AMI} --keypair me")
    assert [vm["keypair"] for vm in vms(ec2).values()] == ["me"]


# --- VMs -------------------------------------------------------------------------------------------------------------


def test_life_of_a_vm_by_id_and_by_name(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    steps = [
        (f"vm stop {vm}", "stopping", "running", "stop", "stopping", "stopped", f"vm start {vm}"),
        ("vm start web", "starting", "stopped", "start", "pending", "running", f"vm stop {vm}"),
        ("vm reboot web", "rebooting", "running", "reboot", "rebooting", "running", ""),
        ("vm delete web", "being deleted", "running", "delete", "shutting-down", "terminated", ""),
    ]
    for line, doing, before, action, cached, real, undo in steps:
        outcome = run(session, line)
        assert (outcome.message, outcome.undo) == (f"web ({vm}) is {doing}.", undo)
        found = row(session, "vm", vm)
        assert (found["flight"].before, found["flight"].action, found["state"]) == (before, action, cached)
        assert dict(outcome.fields) == found
        assert vms(ec2)[vm]["state"] == real


def test_a_name_that_two_share(session: Session, ec2: Provider) -> None:
    ids = sorted(booted(session, f"vm boot {AMI} --name web") for _ in range(2))
    before = vms(ec2)
    for verb in ("start", "stop", "reboot", "delete"):
        with pytest.raises(CloudmeshError) as caught:
            run(session, f"vm {verb} web")
        assert str(caught.value) == f"2 VMs share the name 'web': {ids[0]}, {ids[1]}. Give the id instead."
    assert vms(ec2) == before


def test_a_vm_that_never_was(session: Session) -> None:
    booted(session, f"vm boot {AMI} --name webserver")
    for verb in ("start", "stop", "reboot", "delete"):
        with pytest.raises(NotFoundError) as caught:
            run(session, f"vm {verb} {NOWHERE}")
        where = "in cloud aws, region us-east-1"
        assert caught.value.message.startswith(f"There is no VM '{NOWHERE}' {where}, as listed ")
        with pytest.raises(NotFoundError, match=r"There is no VM 'WebServr' .* Did you mean 'webserver'\?"):
            run(session, f"vm {verb} WebServr")


def test_a_vm_that_the_cloud_has_forgotten_leaves_the_cache(session: Session) -> None:
    session.cache.put(KINDS["vm"], session.scope, [{"id": NOWHERE, "state": "running"}])
    with pytest.raises(NotFoundError, match=f"VM {NOWHERE} no longer exists in cloud aws, region us-east-1"):
        run(session, f"vm stop {NOWHERE}")
    assert session.cache.rows(KINDS["vm"], session.scope) == []


def test_a_vm_terminated_meanwhile(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")  # which sees that it has booted
    ec2.delete_vm(vm)
    with pytest.raises(CloudmeshError) as caught:
        run(session, "vm stop web")
    assert caught.value.message == f"web ({vm}) is terminated, so there is nothing to stop; nothing was done."
    assert row(session, "vm", vm)["state"] == "terminated"  # the look that refused is in the cache


@pytest.mark.parametrize(
    ("state_of", "verb"),
    [
        ("running", "start"),
        *(("stopped", verb) for verb in ("stop", "reboot")),
        *(("terminated", verb) for verb in ("start", "stop", "reboot", "delete")),
    ],
)
def test_an_action_that_does_not_fit(session: Session, ec2: Provider, state_of: str, verb: str) -> None:
    vm = booted(session)
    run(session, "vm refresh")
    if state_of != "running":
        {"stopped": ec2.stop, "terminated": ec2.delete_vm}[state_of](vm)
    with pytest.raises(CloudmeshError) as caught:
        run(session, f"vm {verb} {vm}")
    assert caught.value.message == f"{vm} is {state_of}, so there is nothing to {verb}; nothing was done."
    assert vms(ec2)[vm]["state"] == state_of
    entry = session.cache.journal()[0]
    assert (entry["command"], entry["outcome"], entry["objects"]) == (f"vm {verb} {vm}", "failed", [])


DOING = {"stop": "stopping", "reboot": "rebooting", "delete": "being deleted"}
DONE = {"start": "started", "stop": "stopped", "reboot": "rebooted"}
DURING = {"stop": "stopping", "reboot": "rebooting", "delete": "shutting-down"}


def flying(session: Session, action: str, seconds: float = 3, **more: Any) -> str:
    """Boot a VM, which has come to rest, and begin an action some seconds ago that EC2 does not show yet."""
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    session.cache.set_flight(session.scope, vm, Flight(action, since, before="running", **more))
    return vm


@pytest.mark.parametrize("action", ["stop", "reboot", "delete"])
@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "delete"])
def test_while_an_action_is_under_way(session: Session, ec2: Provider, action: str, verb: str) -> None:
    vm = flying(session, action)
    before = row(session, "vm", vm)["flight"]
    if verb == "delete" != action:
        run(session, "vm delete web")
        assert vms(ec2)[vm]["state"] == "terminated"
        assert (row(session, "vm", vm)["flight"].action, row(session, "vm", vm)["state"]) == ("delete", "shutting-down")
        return
    with pytest.raises(RefusedError) as caught:
        run(session, f"vm {verb} web")
    what = f"running → {DURING[action]} 3 s"
    if verb == action:
        assert str(caught.value) == f"web ({vm}) is {DOING[verb]} already ({what}); nothing was done."
    else:
        assert str(caught.value) == (
            f"web ({vm}) cannot be {DONE[verb]} now: its {action} is under way ({what}); nothing was done. "
            "Wait until it has settled."
        )
    assert row(session, "vm", vm)["flight"] == before
    assert vms(ec2)[vm]["state"] == "running"
    entry = session.cache.journal()[0]
    assert (entry["outcome"], entry["objects"], entry["sent"]) == ("failed", [], None)


@pytest.mark.parametrize("seconds", [30, 3])
def test_an_action_that_is_over_or_was_given_up_on_is_in_nobody_s_way(
    session: Session, ec2: Provider, seconds: float
) -> None:
    vm = flying(session, "stop", seconds, overdue=seconds < 20)
    run(session, "vm stop web")
    assert vms(ec2)[vm]["state"] == "stopped"
    flight = row(session, "vm", vm)["flight"]
    assert (flight.action, flight.overdue) == ("stop", False)
    assert (datetime.now(UTC) - flight.since).total_seconds() < 2


def test_of_two_at_once_one_alone_acts(session: Session, ec2: Provider) -> None:
    """Somebody else's action begins between the look and the claim."""
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    theirs = Flight("reboot", datetime.now(UTC).replace(microsecond=0), before="running")

    def meanwhile(change: Change) -> None:
        if change.kind == JOURNAL.name and JOURNAL.value(change.upserts[0], "outcome") == "unfinished":
            session.cache.set_flight(session.scope, vm, theirs)

    session.cache.listen(meanwhile)
    with pytest.raises(RefusedError, match=rf"Somebody else acts on web \({vm}\) at this moment; nothing was done"):
        run(session, "vm stop web")
    assert row(session, "vm", vm)["flight"] == theirs
    assert vms(ec2)[vm]["state"] == "running"
    assert session.cache.journal()[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("error", "flies"), [(CloudError("No."), False), (Cancelled(), False), (UnsureError("Cut off."), True)]
)
def test_what_the_cloud_refuses_is_not_under_way(session: Session, error: Exception, flies: bool) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")

    class Refusing:
        """The cloud, but for stopping."""

        def __init__(self, real: Provider) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def stop(self, native: str) -> NoReturn:
            flight = row(session, "vm", native)["flight"]
            assert (flight.action, flight.before) == ("stop", "running")  # claimed before it is sent
            raise error

    refusing = replace(session, connector=lambda cloud, check: Refusing(connect(cloud, check)), looks=())
    with pytest.raises(type(error)):
        run(refusing, "vm stop web")
    flight = row(session, "vm", vm)["flight"]
    assert (flight.action if flight else None) == ("stop" if flies else None)


def test_a_stopped_vm_can_be_deleted(session: Session, ec2: Provider) -> None:
    vm = booted(session)
    ec2.stop(vm)
    run(session, f"vm delete {vm}")
    assert vms(ec2)[vm]["state"] == "terminated"


def test_a_hostile_name_is_shown_safely(session: Session) -> None:
    vm = booted(session, f"vm boot {AMI} --name '\u202e[/]\n'")
    outcome = run(session, f"vm stop {vm}")
    assert outcome.message == f"\ufffd[/]␊ ({vm}) is stopping."
    assert run(session, "vm start '\u202e[/]\n'").message.endswith("is starting.")


# --- keypairs --------------------------------------------------------------------------------------------------------


def test_a_private_key_is_saved_once_and_for_its_owner_alone(session: Session, ec2: Provider) -> None:
    outcome = run(session, "keypair create me")
    path = session.home / "keys" / "aws" / "us-east-1" / "me.pem"
    assert outcome.message == f"Keypair me created; its private key is {path}."
    assert dict(outcome.fields)["private_key"] == str(path)
    assert S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, session.home / "keys", session.home):
        assert S_IMODE(folder.stat().st_mode) == 0o700
    pem = path.read_text()
    assert pem.startswith("-----BEGIN")
    assert [item["name"] for item in listed(ec2.keypairs())] == ["me"]
    assert row(session, "keypair", "me")["fingerprint"]
    body = pem.splitlines()[1]
    for text in (everything(session.cache), repr(outcome), repr(session)):
        assert "PRIVATE KEY" not in text
        assert body not in text


def test_a_key_file_is_never_overwritten(session: Session, ec2: Provider) -> None:
    run(session, "keypair create me")
    path = session.home / "keys" / "aws" / "us-east-1" / "me.pem"
    pem = path.read_text()
    ec2.delete_keypair("me")
    for line in ("keypair create me", f"keypair create you --to {path}"):
        with pytest.raises(CloudmeshError, match="exists already and is not overwritten; no keypair was created"):
            run(session, line)
    assert path.read_text() == pem
    assert listed(ec2.keypairs()) == []
    assert [entry["outcome"] for entry in session.cache.journal()] == ["failed", "failed", "done"]


def test_a_key_file_elsewhere(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "deeper" / "me.key"
    outcome = run(session, f"keypair create me --to '{path}'")
    assert str(path) in outcome.message
    assert path.read_text().startswith("-----BEGIN")
    assert S_IMODE(path.stat().st_mode) == 0o600
    assert S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert not (session.home / "keys").exists()


@pytest.mark.parametrize("name", ["file/me.pem", "folder", "x" * 300, "a\0b", "link"])
def test_a_place_where_no_key_can_be_saved(session: Session, ec2: Provider, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    owner.sign(session.home)  # as any command that changes something does
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CloudmeshError) as caught:
        execute(Parsed(command("keypair create"), {"name": "me", "to": str(tmp_path / name)}), session)
    assert "no keypair was created." in caught.value.message
    assert "--to FILE" in caught.value.cure
    assert listed(ec2.keypairs()) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == ""


def test_a_tilde_that_names_nobody_is_a_folder_s_name(session: Session, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        run(session, "keypair create me --to ~no-such-user/me.pem")
    assert (tmp_path / "~no-such-user" / "me.pem").read_text().startswith("-----BEGIN")


def test_a_cloud_that_refuses_leaves_no_file(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    with pytest.raises(CloudError, match="name is taken"):
        run(session, "keypair create me")
    assert not (session.home / "keys" / "aws" / "us-east-1" / "me.pem").exists()
    (entry,) = session.cache.journal()
    assert (entry["outcome"], entry["objects"]) == ("failed", [])


def test_get_tells_where_the_private_key_is(session: Session, ec2: Provider) -> None:
    run(session, "keypair create mine")
    ec2.create_keypair("theirs")
    path = session.home / "keys" / "aws" / "us-east-1" / "mine.pem"
    mine = run(session, "keypair get mine")
    assert mine.message == f"Keypair mine: its private key is {path}."
    fields = dict(mine.fields)
    assert (fields["name"], fields["private_key"]) == ("mine", str(path))
    assert set(fields) == {*KINDS["keypair"].index, "private_key"}
    theirs = run(session, "keypair get theirs")
    assert theirs.message == "Keypair theirs: its private key is not here."
    assert dict(theirs.fields)["private_key"] is None
    with pytest.raises(NotFoundError, match=r"Did you mean 'theirs'\?"):
        run(session, "keypair get their")


def test_deleting_a_keypair_keeps_its_private_key(session: Session, ec2: Provider) -> None:
    run(session, "keypair create mine")
    ec2.create_keypair("theirs")
    path = session.home / "keys" / "aws" / "us-east-1" / "mine.pem"
    assert run(session, "keypair delete mine").message == f"Keypair mine deleted. Its private key stays in {path}."
    assert path.exists()
    assert run(session, "keypair delete theirs").message == "Keypair theirs deleted."
    assert listed(ec2.keypairs()) == []
    assert session.cache.rows(KINDS["keypair"], session.scope) == []
    with pytest.raises(NotFoundError, match="There is no keypair 'mine'"):
        run(session, "keypair delete mine")


def test_a_keypair_deleted_meanwhile(session: Session, ec2: Provider) -> None:
    run(session, "keypair create me")
    ec2.delete_keypair("me")
    with pytest.raises(NotFoundError, match="Deleting keypair me failed on cloud aws"):
        run(session, "keypair delete me")


@pytest.mark.parametrize("name", ["../../x", "a/b", ".", "..", "/etc/x", "~", "-x", "a\nb", "\u202e", "é漢字", "%2e"])
def test_hostile_keypair_names_are_one_file_each(session: Session, ec2: Provider, name: str) -> None:
    outcome = execute(Parsed(command("keypair create"), {"name": name}), session)
    folder = session.home / "keys" / "aws" / "us-east-1"
    (path,) = folder.iterdir()
    assert path.is_file()
    signed = session.home / "running" / owner.sign(session.home)
    assert {file for file in session.home.rglob("*") if file.is_file()} == {path, signed}
    assert [item["name"] for item in listed(ec2.keypairs())] == [name]
    assert outcome.message.isprintable()
    assert execute(Parsed(command("keypair get"), {"keypair": name}), session).message.endswith(f"{path}.")
    execute(Parsed(command("keypair delete"), {"keypair": name}), session)
    assert listed(ec2.keypairs()) == []


# --- volumes ---------------------------------------------------------------------------------------------------------


def test_a_volume_by_default_is_of_1_gib_in_the_first_zone_of_the_region(session: Session, ec2: Provider) -> None:
    outcome = run(session, "volume create data")
    (made,) = listed(ec2.volumes())
    assert (made["name"], made["size"], made["location"]) == ("data", 1, "us-east-1a")
    assert outcome.message == f"Volume data ({made['id']}, 1 GiB) created in us-east-1a."
    assert dict(outcome.fields) == {"id": made["id"], "name": "data", "size": 1, "location": "us-east-1a"}
    assert row(session, "volume", "data")["size"] == 1


def test_a_volume_in_the_default_zone(session: Session, ec2: Provider) -> None:
    run(defaulting(session, location="us-east-1b"), "volume create data --size 7")
    run(session, "volume create more --location us-east-1b")
    assert [(one["size"], one["location"]) for one in listed(ec2.volumes())] == [(7, "us-east-1b"), (1, "us-east-1b")]


def test_a_volume_in_a_region_whose_zones_are_not_known_yet(session: Session, ec2: Provider) -> None:
    fresh = open_cache(MongoDB(Secret("memory")), session.home)
    run(replace(session, cache=fresh, refresh=False), "volume create data")
    assert [one["location"] for one in listed(ec2.volumes())] == ["us-east-1a"]
    fresh.close()


def test_a_volume_where_no_zone_is_available(session: Session, ec2: Provider) -> None:
    down = [{**item, "state": "impaired"} for item in STOCK["location"]]
    session.cache.put(KINDS["location"], session.scope, down)
    with pytest.raises(CloudmeshError, match=r"Region us-east-1 has no available zone\. Give one with --location"):
        run(session, "volume create data")
    assert listed(ec2.volumes()) == []


def test_a_tag_that_is_none_is_not_even_journalled(session: Session) -> None:
    with pytest.raises(UsageError, match=r"'x' is no tag\. Write it as KEY=VALUE\."):
        run(replace(session, connector=untouched), "vm tag web x")
    assert session.cache.journal() == []


def test_a_launch_that_failed_at_once_is_not_said_to_be_booting(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    ec2.delete_vm(vm)
    with pytest.raises(CloudmeshError, match="is terminated, so there is nothing to stop"):
        run(session, "vm stop web")


@pytest.mark.parametrize("words", ["--size 0", "--size=-1", "--size big", "--size 99999999999999999999"])
def test_a_size_that_is_none_is_not_even_journalled(session: Session, words: str) -> None:
    with pytest.raises(UsageError, match="size must be"):
        run(replace(session, connector=untouched), f"volume create data {words}")
    assert session.cache.journal() == []


def test_a_volume_in_a_wrong_zone(session: Session, ec2: Provider) -> None:
    with pytest.raises(NotFoundError, match=r"There is no location 'us-east-1x'.* Did you mean 'us-east-1"):
        run(session, "volume create data --location us-east-1x")
    assert listed(ec2.volumes()) == []


def test_deleting_volumes_by_id_and_by_name(session: Session, ec2: Provider) -> None:
    first = dict(run(session, "volume create data").fields)["id"]
    second = dict(run(session, "volume create more").fields)["id"]
    assert run(session, f"volume delete {first}").message == f"Volume data ({first}) deleted."
    assert [one["id"] for one in listed(ec2.volumes())] == [second]
    run(session, "volume delete more")
    assert listed(ec2.volumes()) == []
    assert session.cache.rows(KINDS["volume"], session.scope) == []


def test_an_attached_volume_is_refused_by_what_the_cloud_says_now(session: Session, ec2: Provider) -> None:
    vm = booted(session)
    run(session, "volume refresh")
    (root,) = listed(ec2.volumes())
    with pytest.raises(CloudError) as caught:
        run(session, f"volume delete {root['id']}")
    assert f"Deleting volume {root['id']} failed" in caught.value.message
    assert f"currently attached to {vm}" in caught.value.message
    assert row(session, "volume", root["id"])["vm"] == vm
    made = ec2.create_volume("data", 1, "us-east-1a", "token")
    session.cache.put(KINDS["volume"], session.scope, [{**made, "vm": vm, "state": "in-use"}])
    run(session, "volume delete data")  # it was attached when the cache was told, and is no longer
    assert listed(ec2.volumes()) == [root]


# --- settings --------------------------------------------------------------------------------------------------------


def test_refresh_on_and_off_are_remembered(session: Session) -> None:
    session = replace(session, connector=untouched)
    for word, on in (("off", False), ("on", True)):
        outcome = run(session, f"refresh {word}")
        assert outcome.message.startswith(f"refresh is {word}: ")
        assert outcome.session == replace(session, refresh=on)
        assert state.recall(session.settings, session.home) == {"refresh": on}


def test_set_default_is_remembered_and_goes_on_there(session: Session) -> None:
    session = replace(session, connector=untouched)
    outcome = run(session, "set default cloud=other")
    assert outcome.message == "The default cloud is other (ec2, eu-west-1)."
    assert outcome.session is not None
    assert outcome.session.scope == Scope("other", "eu-west-1")
    assert outcome.session.cache is session.cache
    assert session.scope == Scope("aws", "us-east-1")
    assert state.recall(session.settings, session.home) == {"cloud": "other"}
    with pytest.raises(ConfigError, match=r"There is no cloud 'othr' in the configuration\. Did you mean 'other'\?"):
        run(session, "set default cloud=othr")
    assert state.recall(session.settings, session.home) == {"cloud": "other"}


def test_a_choice_that_cannot_be_remembered(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "deeper"):
        for line in ("refresh off", "set default cloud=other"):
            with pytest.raises(ConfigError, match=f"The choice cannot be remembered in {home}"):
                run(replace(session, home=home), line)


# --- who may what ----------------------------------------------------------------------------------------------------


def full(one: Command) -> Parsed:
    """Return a call of the command with something in every required place."""
    fitting = {"cloud": "other", "image": AMI, "tag": "key=value", "file": "/nowhere/x.csv"}
    return Parsed(one, {param.name: fitting.get(param.name, "x") for param in one.params if param.required})


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_a_read_only_session_changes_nothing(offline: Session, one: Command) -> None:
    assert allowed(one, offline)
    session = replace(offline, read_only=True)
    assert session.locked
    assert allowed(one, session) == (one.effect == "reads")
    if one.effect == "reads":
        return
    before = everything(session.cache)
    with pytest.raises(CloudmeshError) as caught:
        execute(full(one), session)
    assert caught.value.message == f"This session is read-only: {one.name} is not run."
    assert caught.value.cure == "Start without --read-only, or take read_only out of cloudmesh.yaml."
    assert everything(session.cache) == before
    assert not session.home.exists()


def test_a_read_only_session_reads(session: Session, ec2: Provider) -> None:
    ec2.create_keypair("me")
    session = replace(session, read_only=True)
    assert run(session, "keypair get me").message == "Keypair me: its private key is not here."
    assert run(session, "keypair list").rows
    assert run(session, "refresh off").session is not None


# --- the journal -----------------------------------------------------------------------------------------------------


CHANGES = [one for one in COMMANDS if one.effect != "reads" and one.journalled]


def test_every_change_is_one_entry(session: Session, ec2: Provider) -> None:
    lines = [
        "keypair create me",
        f"vm boot {AMI} --name 'web 1' --location us-east-1a --keypair me",
        "vm protect 'web 1'",
        "vm unprotect 'web 1'",
        "vm tag 'web 1' 'a tag=of two'",
        "vm untag 'web 1' 'a tag'",
        "vm stop 'web 1'",
        "vm start 'web 1'",
        "vm reboot 'web 1'",
        "volume create data --size 2 --location us-east-1a",
        "volume tag data env=test",
        "volume untag data env",
        "volume attach data 'web 1' --device /dev/sdk",
        "volume detach data",
        "volume delete data",
        "vm delete 'web 1'",
        "keypair delete me",
    ]
    for line in lines:
        run(session, line)
    assert {" ".join(line.split()[:2]) for line in lines} == {one.name for one in CHANGES}
    entries = session.cache.journal()[::-1]
    assert [entry["command"] for entry in entries] == lines
    (vm,) = vms(ec2)
    key, volume = entries[0]["objects"][0], entries[9]["objects"][0]
    assert key.startswith("key-")
    assert volume.startswith("vol-")
    objects = {"vm": [vm], "keypair": [key], "volume": [volume]}
    for entry in entries:
        first, verb = entry["command"].split()[:2]
        assert entry["objects"] == ([volume, vm] if verb in ("attach", "detach") else objects[first]), entry["command"]
        assert (entry["outcome"], entry["error"]) == ("done", None)
        assert (entry["cloud"], entry["region"]) == ("aws", "us-east-1")
        assert entry["user"]
        assert entry["host"]
        assert entry["owner"] == owner.sign(session.home)
        assert entry["batch"] is None
        assert entry["at"] <= entry["sent"]
        assert entry["seconds"] >= 0
        assert (datetime.now(UTC) - entry["at"]).total_seconds() < 60


def test_what_sends_nothing_by_itself_is_no_entry(session: Session, ec2: Provider) -> None:
    assert run(session, "journal resume").message == "Nothing waits to be resumed."
    assert run(session, "journal drop").message == "0 commands that had not been begun were given up."
    assert run(session, f"vm boot {AMI} --dry-run").message.endswith("nothing was booted.")
    assert run(session, "journal list").rows == ()
    assert session.cache.journal() == []
    assert vms(ec2) == {}


def test_what_is_as_it_should_be_is_an_entry_and_not_sent(session: Session, ec2: Provider) -> None:
    booted(session, f"vm boot {AMI} --name web")
    before = vms(ec2)
    lines = ["vm unprotect web", "vm tag web Name=web", "vm untag web nothing"]
    for line in lines:
        assert run(session, line).message.endswith("nothing was done.")
        entry = session.cache.journal()[0]
        assert (entry["command"], entry["outcome"], entry["sent"]) == (line, "done", None)
    assert vms(ec2) == before
    rows = run(session, "journal list --last 3").rows or ()
    assert [JOURNAL.value(one, "command") for one in rows] == lines[::-1]


@pytest.mark.parametrize("one", CHANGES, ids=lambda one: one.name)
def test_a_change_that_fails_is_one_entry(session: Session, one: Command) -> None:
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    with pytest.raises(CloudError) as caught:
        execute(full(one), nowhere)
    (entry,) = session.cache.journal()
    assert (entry["command"], entry["outcome"], entry["objects"]) == (full(one).line, "failed", [])
    assert entry["error"] == str(caught.value)
    assert not list(session.home.rglob("*.pem"))


@pytest.mark.parametrize("one", CHANGES, ids=lambda one: one.name)
def test_a_change_that_is_cancelled_is_one_entry_and_changes_nothing(
    session: Session, ec2: Provider, one: Command
) -> None:
    def cancelled() -> NoReturn:
        raise Cancelled

    with pytest.raises(Cancelled):
        execute(full(one), session, check=cancelled)
    (entry,) = session.cache.journal()
    assert (entry["outcome"], entry["objects"], entry["error"]) == ("cancelled", [], None)
    assert vms(ec2) == {}
    assert listed(ec2.keypairs()) == listed(ec2.volumes()) == []
    assert not list(session.home.rglob("*.pem"))


def test_what_only_goes_on_with_others_fails_and_is_cancelled_under_their_entries(
    session: Session, ec2: Provider
) -> None:
    assert [one.name for one in COMMANDS if one.effect != "reads" and one not in CHANGES] == ["journal resume"]

    def cancelled() -> NoReturn:
        raise Cancelled

    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    cases = [(nowhere, ignore, "failed", "127.0.0.1:1 cannot be reached"), (session, cancelled, "cancelled", "")]
    for number, (tried, check, outcome, error) in enumerate(cases, 1):
        (waiting,) = plan(session.cache, session.scope, session.home, ["keypair create me"])
        waiting.release()
        resumed = run(tried, "journal resume", check=check)
        assert resumed.message == "0 of 1 done."
        assert resumed.failure.startswith("1 of 1 failed: ")
        entry = session.cache.journal()[0]
        assert (entry["_id"], entry["outcome"], entry["objects"]) == (waiting.token, outcome, [])
        assert error in (entry["error"] or "")
        assert len(session.cache.journal()) == number
    assert listed(ec2.keypairs()) == []
    assert not list(session.home.rglob("*.pem"))


# --- on a real server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Cache]:
    """A cache on the private mongod."""
    if find_binary() is None:
        pytest.skip("there is no mongod here")
    with tempfile.TemporaryDirectory(prefix="cm-") as home:  # short: a socket's path is limited
        opened = open_cache(MongoDB(database="commands"), Path(home))
        assert opened.mode == "embedded"
        yield opened
        opened.close()


@pytest.fixture
def embedded(server: Cache, session: Session) -> Session:
    for name in server.database.list_collection_names():
        server.database[name].delete_many({})
    fill(server, session.scope)
    return replace(session, cache=server)


def test_a_day_s_work_on_a_real_server(embedded: Session, ec2: Provider) -> None:
    run(embedded, "keypair create me")
    body = (embedded.home / "keys" / "aws" / "us-east-1" / "me.pem").read_text().splitlines()[1]
    vm = booted(embedded, f"vm boot {AMI} --name web --keypair me")
    assert run(embedded, "vm stop web").message == f"web ({vm}) is stopping."
    assert isinstance(row(embedded, "vm", vm)["flight"], Flight)
    run(embedded, "volume create data --size 3")
    run(embedded, "vm list")
    run(embedded, "vm delete web")
    run(embedded, "volume delete data")
    assert vms(ec2)[vm]["state"] == "terminated"
    assert [entry["outcome"] for entry in embedded.cache.journal()] == ["done"] * 6
    text = everything(embedded.cache)
    assert body not in text
    assert "PRIVATE" not in text


def test_two_sessions_see_each_other_s_work(embedded: Session, server: Cache, ec2: Provider) -> None:
    """Another dashboard of the same user, with a connection of its own and refresh off."""
    name = server.database.name
    other = replace(embedded, refresh=False)
    uri = f"mongodb://{str(server.client.address[0]).replace('/', '%2F')}/?directConnection=true"
    with_own = open_cache(MongoDB(Secret(uri), name), embedded.home)
    other = replace(other, cache=with_own)
    vm = booted(embedded, f"vm boot {AMI} --name web")
    rows = run(replace(other, connector=untouched), "vm list").rows
    assert rows is not None
    assert [KINDS["vm"].value(one, "id") for one in rows] == [vm]
    run(other, "vm stop web")
    assert row(embedded, "vm", vm)["flight"].action == "stop"
    run(other, "set default cloud=other")
    assert run(embedded, "vm start web").message.endswith("is starting.")  # this one stays where it is
    assert [entry["command"] for entry in with_own.journal()] == [
        "vm start web",
        "vm stop web",
        f"vm boot {AMI} --name web",
    ]
    assert vms(ec2)[vm]["state"] == "running"
    with_own.close()


def test_bad_words_are_told_and_raise_nothing_else(embedded: Session, ec2: Provider) -> None:
    """Every command with every hostile word in every place that names something; the cloud has none of them."""
    now = datetime.now(UTC)
    for kind in KINDS.values():
        embedded.cache.note_refresh(kind, embedded.scope, RefreshRecord("aws", "us-east-1", kind.name, now, now))
    session = replace(embedded, refresh=False, connector=untouched)
    for one in COMMANDS:
        for param in one.params:
            if not (param.kind or param.type in ("int", "cloud")):
                continue
            for word in {*HOSTILE, "$where", "a.b", "x" * 5000, "\0"} - set(session.settings.clouds):
                given = {**full(one).given, param.name: word}
                with pytest.raises(CloudmeshError) as caught:
                    execute(Parsed(one, given), session)
                assert str(caught.value).isprintable(), (one.name, param.name, word)
    assert vms(ec2) == {}


def test_hostile_names_reach_the_cloud_and_the_cache_as_they_are(embedded: Session, ec2: Provider) -> None:
    words = sorted(word for word in HOSTILE if word.strip() and "\x1b" not in word)  # ESC is no XML
    for word in words:
        execute(Parsed(command("volume create"), {"name": word}), embedded)
    assert sorted(str(one["name"]) for one in listed(ec2.volumes())) == words
    rows = run(embedded, "volume list").rows or ()
    assert sorted(KINDS["volume"].value(one, "name") for one in rows) == words
    assert [entry["outcome"] for entry in embedded.cache.journal()] == ["done"] * len(words)
