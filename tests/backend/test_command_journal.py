"""The journal entries of commands: one for each change, with any outcome."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from backend.callbacks import ignore
from backend.commands.model import Command
from backend.commands.run import execute
from backend.commands.table import COMMANDS
from backend.errors import Cancelled, CloudError
from backend.journal import owner
from backend.journal.entry import plan
from backend.journal.model import JOURNAL
from backend.providers.protocol import Provider
from backend.session import Session
from tests.backend.cloud_support import AMI, run
from tests.backend.command_support import booted, full, listed, vms

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
        "secgroup create 'web servers' --description 'for tests'",
        "secgroup allow 'web servers' 22 --from 203.0.113.0/24",
        "secgroup revoke 'web servers' 22 --from 203.0.113.0/24",
        "secgroup tag 'web servers' env=test",
        "secgroup untag 'web servers' env",
        "secgroup delete 'web servers'",
    ]
    for line in lines:
        run(session, line)
    assert {" ".join(line.split()[:2]) for line in lines} == {one.name for one in CHANGES}
    entries = session.cache.journal.newest()[::-1]
    assert [entry["command"] for entry in entries] == lines
    (vm,) = vms(ec2)
    key, volume, group = (entries[number]["objects"][0] for number in (0, 9, 17))
    assert key.startswith("key-")
    assert volume.startswith("vol-")
    assert group.startswith("sg-")
    objects = {"vm": [vm], "keypair": [key], "volume": [volume], "secgroup": [group]}
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
    assert run(session, "journal drop").message == "0 commands that had not been done were given up."
    assert run(session, f"vm boot {AMI} --dry-run").message.endswith("nothing was booted.")
    assert run(session, "journal list").rows == ()
    assert session.cache.journal.newest() == []
    assert vms(ec2) == {}


def test_what_is_as_it_should_be_is_an_entry_and_not_sent(session: Session, ec2: Provider) -> None:
    booted(session, f"vm boot {AMI} --name web")
    before = vms(ec2)
    lines = ["vm unprotect web", "vm tag web Name=web", "vm untag web nothing"]
    for line in lines:
        assert run(session, line).message.endswith("nothing was done.")
        entry = session.cache.journal.newest()[0]
        assert (entry["command"], entry["outcome"], entry["sent"]) == (line, "done", None)
    assert vms(ec2) == before
    rows = run(session, "journal list --last 3").rows or ()
    assert [JOURNAL.value(one, "command") for one in rows] == lines[::-1]


@pytest.mark.parametrize("one", CHANGES, ids=lambda one: one.name)
def test_a_change_that_fails_is_one_entry(session: Session, one: Command) -> None:
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    with pytest.raises(CloudError) as caught:
        execute(full(one), nowhere)
    (entry,) = session.cache.journal.newest()
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
    (entry,) = session.cache.journal.newest()
    assert (entry["outcome"], entry["objects"], entry["error"]) == ("cancelled", [], None)
    assert vms(ec2) == {}
    assert listed(ec2.of("keypair").list()) == listed(ec2.of("volume").list()) == []
    assert not list(session.home.rglob("*.pem"))


def test_what_only_goes_on_with_others_fails_and_is_cancelled_under_their_entries(
    session: Session, ec2: Provider
) -> None:
    assert [one.name for one in COMMANDS if one.effect != "reads" and one not in CHANGES] == [
        "journal resume",
        "journal drop",
    ]

    def cancelled() -> NoReturn:
        raise Cancelled

    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    cases = [(nowhere, ignore, "failed", "127.0.0.1:1 cannot be reached"), (session, cancelled, "cancelled", "")]
    for number, (tried, check, outcome, error) in enumerate(cases, 1):
        (waiting,) = plan(session.cache, session.home, [(session.scope, "keypair create me")])
        waiting.release()
        resumed = run(tried, "journal resume", check=check)
        assert resumed.message == "0 of 1 done."
        assert resumed.failure.startswith("1 of 1 failed: ")
        entry = session.cache.journal.newest()[0]
        assert (entry["_id"], entry["outcome"], entry["objects"]) == (waiting.token, outcome, [])
        assert error in (entry["error"] or "")
        assert len(session.cache.journal.newest()) == number
    assert listed(ec2.of("keypair").list()) == []
    assert not list(session.home.rglob("*.pem"))
