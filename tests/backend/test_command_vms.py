"""Starting, stopping, rebooting, deleting and protecting a VM: once, in a state that allows it, by one user."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from backend.cache import Cache, Change
from backend.catalog import KINDS
from backend.config import Cloud
from backend.errors import (
    Cancelled,
    CloudError,
    CloudmeshError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
    UsageError,
)
from backend.format import as_object
from backend.journal.model import JOURNAL
from backend.lifecycle import Flight
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cache_support import set_flight
from tests.backend.cloud_support import AMI, account, behind_proxy, boot_many, run, sent, states
from tests.backend.command_support import booted, row, untouched, vms
from tests.faces import Faces

NOWHERE = "i-0123456789abcdef0"


def test_life_of_a_vm_by_id_and_by_name(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    steps = [
        (f"vm stop {vm}", "stopping", "running", "stop", "stopping", "stopped", f"vm start {vm}"),
        ("vm start web", "starting", "stopped", "start", "pending", "running", f"vm stop {vm}"),
        ("vm reboot web", "rebooting", "running", "reboot", "running", "running", ""),
        ("vm delete web", "being deleted", "running", "delete", "shutting-down", "terminated", ""),
    ]
    for line, doing, before, action, cached, real, undo in steps:
        result = run(session, line)
        assert (result.message, result.undo) == (f"web ({vm}) is {doing}.", undo)
        found = row(session, "vm", vm)
        assert (found["flight"].before, found["flight"].action, found["state"]) == (before, action, cached)
        assert dict(result.fields) == found
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
    session.cache.rows.put(KINDS["vm"], session.scope, [{"id": NOWHERE, "state": "running"}])
    with pytest.raises(NotFoundError, match=f"VM {NOWHERE} no longer exists in cloud aws, region us-east-1"):
        run(session, f"vm stop {NOWHERE}")
    assert session.cache.rows.snapshot(KINDS["vm"], session.scope) == []


def test_a_vm_terminated_meanwhile(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")  # which sees that it has booted
    ec2.of("vm").delete(vm)
    with pytest.raises(CloudmeshError) as caught:
        run(session, "vm stop web")
    assert caught.value.message == f"web ({vm}) is terminated, so there is nothing to stop; nothing was done."
    assert row(session, "vm", vm)["state"] == "terminated"  # the state that caused the refusal is in the cache


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
        {"stopped": ec2.of("vm").stop, "terminated": ec2.of("vm").delete}[state_of](vm)
    with pytest.raises(CloudmeshError) as caught:
        run(session, f"vm {verb} {vm}")
    assert caught.value.message == f"{vm} is {state_of}, so there is nothing to {verb}; nothing was done."
    assert vms(ec2)[vm]["state"] == state_of
    entry = session.cache.journal.newest()[0]
    assert (entry["command"], entry["outcome"], entry["objects"]) == (f"vm {verb} {vm}", "failed", [])


DOING = {"stop": "stopping", "reboot": "rebooting", "delete": "being deleted"}
DONE = {"start": "started", "stop": "stopped", "reboot": "rebooted"}
DURING = {"stop": "stopping", "reboot": "rebooting", "delete": "shutting-down"}


def flying(session: Session, action: str, seconds: float = 3, **more: Any) -> str:
    """Boot a VM, wait until it is settled, and begin an action some seconds ago that EC2 does not show."""
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    set_flight(session.cache, session.scope, vm, Flight(action, since, before="running", **more))
    return vm


@pytest.mark.parametrize("action", ["stop", "reboot", "delete"])
@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "delete"])
def test_while_an_action_is_under_way(session: Session, ec2: Provider, action: str, verb: str) -> None:
    vm = flying(session, action)
    before = row(session, "vm", vm)["flight"]
    if verb != action and (verb == "delete" or (verb, action) == ("stop", "reboot")):  # EC2 allows it
        run(session, f"vm {verb} web")
        assert vms(ec2)[vm]["state"] == {"stop": "stopped", "delete": "terminated"}[verb]
        now = row(session, "vm", vm)
        assert (now["flight"].action, now["state"]) == (verb, DURING[verb])
        return
    with pytest.raises(RefusedError) as caught:
        run(session, f"vm {verb} web")
    if (verb, action) == ("start", "reboot"):
        assert str(caught.value) == f"web ({vm}) is running, so there is nothing to start; nothing was done."
        return
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
    entry = session.cache.journal.newest()[0]
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
    """Another user's action begins between the read and the claim."""
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    theirs = Flight("reboot", datetime.now(UTC).replace(microsecond=0), before="running")

    def meanwhile(change: Change) -> None:
        if change.kind == JOURNAL.name and JOURNAL.value(change.upserts[0], "outcome") == "unfinished":
            set_flight(session.cache, session.scope, vm, theirs)

    session.cache.listen(meanwhile)
    with pytest.raises(RefusedError, match=rf"Another command is acting on web \({vm}\); nothing was done"):
        run(session, "vm stop web")
    assert row(session, "vm", vm)["flight"] == theirs
    assert vms(ec2)[vm]["state"] == "running"
    assert session.cache.journal.newest()[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("error", "flies"), [(CloudError("No."), False), (Cancelled(), False), (OutcomeUnknownError("Cut off."), True)]
)
def test_what_the_cloud_refuses_is_not_under_way(session: Session, error: Exception, flies: bool) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")

    class Refusing(Faces):
        """The cloud, but for stopping."""

        def vm_stop(self, native: str) -> NoReturn:
            flight = row(session, "vm", native)["flight"]
            assert (flight.action, flight.before) == ("stop", "running")  # claimed before it is sent
            raise error

    refusing = replace(session, connector=lambda cloud, *hooks: Refusing(connect(cloud, *hooks)), backoff=())
    with pytest.raises(type(error)):
        run(refusing, "vm stop web")
    flight = row(session, "vm", vm)["flight"]
    assert (flight.action if flight else None) == ("stop" if flies else None)


def test_a_stopped_vm_can_be_deleted(session: Session, ec2: Provider) -> None:
    vm = booted(session)
    ec2.of("vm").stop(vm)
    run(session, f"vm delete {vm}")
    assert vms(ec2)[vm]["state"] == "terminated"


def test_a_hostile_name_is_shown_safely(session: Session) -> None:
    vm = booted(session, f"vm boot {AMI} --name '\u202e[/]\n'")
    result = run(session, f"vm stop {vm}")
    assert result.message == f"\ufffd[/]␊ ({vm}) is stopping."
    assert run(session, "vm start '\u202e[/]\n'").message.endswith("is starting.")


def test_a_tag_that_is_none_is_not_even_journalled(session: Session) -> None:
    with pytest.raises(UsageError, match=r"'x' is no tag\. Write it as KEY=VALUE\."):
        run(replace(session, connector=untouched), "vm tag web x")
    assert session.cache.journal.newest() == []


def test_a_launch_that_failed_at_once_is_not_said_to_be_booting(session: Session, ec2: Provider) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    ec2.of("vm").delete(vm)
    with pytest.raises(CloudmeshError, match="is terminated, so there is nothing to stop"):
        run(session, "vm stop web")


def test_the_state_of_a_vm_that_reboots_is_the_cloud_s_word(session: Session) -> None:
    """What is done to it is its flight, in JSON too."""
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    run(session, "vm reboot web")
    (found,) = session.cache.rows.snapshot(KINDS["vm"], session.scope)
    said = as_object(KINDS["vm"], found)
    assert (said["id"], said["state"], said["flight"]["action"]) == (vm, "running", "reboot")


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_a_vm_is_stopped_or_deleted_right_after_its_reboot(session: Session, ec2: Provider, verb: str) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    run(session, "vm reboot web")
    run(session, f"vm {verb} web")
    assert vms(ec2)[vm]["state"] == {"stop": "stopped", "delete": "terminated"}[verb]
    assert row(session, "vm", vm)["flight"].action == verb


def test_a_reboot_whose_vm_cannot_be_listed_says_nothing_of_its_state(session: Session) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")

    class Blind(Faces):
        """The cloud, which lists nothing any more once it has rebooted."""

        def vm_reboot(self, native: str) -> str | None:
            self.real.of("vm").reboot(native)
            return None

    blind = replace(session, connector=lambda cloud, *hooks: Blind(connect(cloud, *hooks)))
    set_flight(session.cache, session.scope, vm, None)
    assert run(blind, "vm reboot web").message == f"web ({vm}) is rebooting."
    assert (row(session, "vm", vm)["state"], row(session, "vm", vm)["flight"].action) == ("running", "reboot")


# --- protection -------------------------------------------------------------------------------------------------------


def test_protection_and_undo(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").tag(native, "Name", "web")
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        idle = run(session, "vm unprotect web")
        assert idle.message == f"web ({native}) is not protected; nothing was done."
        assert (idle.undo, sent(proxy)) == ("", [])
        result = run(session, "vm protect web")
        assert result.message == f"web ({native}) is protected from being deleted."
        assert account(cloud).vms[native][2]
        assert row(session, "vm", native)["protected"] is True
        assert dict(result.fields) == row(session, "vm", native)
        again = run(session, "vm protect web")
        assert again.message == f"web ({native}) is protected already; nothing was done."
        assert (again.undo, sent(proxy)) == ("", ["ModifyInstanceAttribute"])

        with pytest.raises(CloudError, match="it is protected"):
            run(session, "vm delete web")
        assert states(cloud) == {native: "running"}
        assert row(session, "vm", native)["flight"] is None

        back = run(session, result.undo)
        assert back.message == f"web ({native}) is no longer protected from being deleted."
        assert not account(cloud).vms[native][2]
        assert row(session, "vm", native)["protected"] is False
        run(session, back.undo)
        assert account(cloud).vms[native][2]
