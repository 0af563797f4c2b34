"""Commands that were planned and not begun: shown, resumed or dropped, never run unasked."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse, split
from backend.commands.model import Context, Parsed
from backend.commands.run import execute
from backend.commands.table import command
from backend.config import Cloud
from backend.errors import OutcomeUnknownError, RefusedError
from backend.journal import resume
from backend.journal.entry import plan
from backend.journal.model import JOURNAL
from backend.journal.recovery import Recovered, left, recover
from backend.kinds.model import Scope
from backend.providers.registry import connect
from tests.backend.cloud_support import (
    BOOT,
    abandoned,
    account,
    behind_proxy,
    boot_many,
    entry_of,
    outcomes,
    run,
    sent,
    states,
)


def test_what_was_not_begun_is_counted_and_not_done(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, BOOT, outcome="waiting")
        assert recover(session) == Recovered(left=1)
        assert proxy.calls == []
        assert outcomes(memory) == [(BOOT, "waiting")]


def test_resume(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 3)
    connect(cloud).of("vm").protect(ids[1], True)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        entries = [
            abandoned(session, f"vm delete {native}", outcome="waiting", age=9 - at) for at, native in enumerate(ids)
        ]
        shown = resume.preview(Context(session, {}), [])
        assert [one.id for one in shown.targets] == ids
        assert "it is protected" in shown.targets[1].left_out
        assert shown.notes == ("vm delete: 3.",)
        assert shown.totals[0] == "2 VMs: 0.0232 USD/hour now."
        assert shown.typed == "2"
        assert shown.given == {"only": f"{entries[0].token},{entries[2].token}"}
        assert sent(proxy) == []

        result = execute(parse(["journal", "resume"]), session)
        assert result.message == "2 of 3 done."
        assert result.failure.startswith("1 of 3 failed: Deleting VM")
        assert [bool(one.error) for one in result.parts] == [False, True, False]
        assert [one.parsed.given["vm"] for one in result.parts] == ids  # oldest first
        assert list(states(cloud).values()).count("terminated") == 2
        assert [entry_of(session, entry)["outcome"] for entry in entries] == ["done", "failed", "done"]
        assert len(cache.journal.newest()) == 3
        assert run(session, "journal resume").message == "Nothing waits to be resumed."
        assert left(session) == []


def test_the_preview_of_resume_shows_all_of_it(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    first, second = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.of("vm").tag(first, "Name", "web")
    volume = ec2.of("volume").create("data", 3, "us-east-1a", "t")["id"]
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        for at, line in enumerate((f"vm stop {second}", f"vm delete {first}", f"volume delete {volume}")):
            abandoned(session, line, outcome="waiting", age=9 - at)
        abandoned(session, "vm stop of-another-cloud", outcome="waiting", cloud="other")
        shown = resume.preview(Context(session, {}), [])
        assert [one.name for one in shown.targets] == [f"vm stop {second}", "web", "data"]
        assert shown.notes == ("vm stop: 1.", "vm delete: 1.", "volume delete: 1.")
        assert "1 VM: 0.0116 USD/hour now." in shown.totals
        assert "1 volume (3 GiB) would be deleted, with all that is on them." in shown.totals
        assert shown.typed == "3"
        assert command("journal resume").preview is resume.preview
        assert (
            resume.preview(Context(replace(session, cloud=replace(session.cloud, name="third")), {}), []).targets == ()
        )


def test_what_is_gone_since_does_not_stand_in_the_way_of_the_rest(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """EC2 forgets a terminated VM within an hour, and then the next refresh does."""
    (native,) = boot_many(cloud, 1)
    gone = "i-0123456789abcdef0"
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        for at, one in enumerate((gone, native)):
            abandoned(session, f"vm delete {one}", outcome="waiting", age=9 - at)
        shown = resume.preview(Context(session, {}), [])
        assert [(one.id, one.left_out) for one in shown.targets] == [(gone, "it no longer exists"), (native, "")]
        result = run(session, "journal resume")
        assert result.message == "1 of 2 done."
        assert gone in result.failure
        assert states(cloud) == {native: "terminated"}
        assert [outcome for _, outcome in outcomes(memory)] == ["failed", "done"]


def test_what_is_resumed_is_what_was_shown(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    first, protected, second, later = boot_many(cloud, 4)
    connect(cloud).of("vm").protect(protected, True)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        lines = [f"vm delete {first}", f"vm delete {protected}", f"vm stop {second}"]
        entries = [abandoned(session, line, outcome="waiting", age=9 - at) for at, line in enumerate(lines)]
        shown = resume.preview(Context(session, {}), [])
        assert [one.id for one in shown.acted_on] == [first, lines[2]]
        assert [one.id for one in shown.left_out] == [protected]
        abandoned(session, f"vm delete {later}", outcome="waiting")  # while the dialog is open
        resuming = command("journal resume")
        assert resuming.preview
        assert [one.id for one in resuming.preview(Context(session, shown.given), []).targets] == [first, lines[2]]

        result = execute(Parsed(resuming, shown.given), session)
        assert (result.message, result.failure) == ("2 done.", "")
        assert sorted(sent(proxy)) == ["StopInstances", "TerminateInstances"]
        assert states(cloud) == {first: "terminated", protected: "running", second: "stopped", later: "running"}
        assert outcomes(cache) == [
            *zip(lines, ("done", "waiting", "done"), strict=True),
            (f"vm delete {later}", "waiting"),
        ]
        assert execute(Parsed(resuming, shown.given), session).message == "Nothing waits to be resumed."
        assert len(left(session)) == 2
        # One by its id, as a user may type it.
        result = run(session, f"journal resume --only {entries[1].token}")
        assert result.failure.startswith("1 of 1 failed: Deleting VM")
        assert [entry.command for entry in left(session)] == [f"vm delete {later}"]


@pytest.mark.parametrize("namesake", ["beside it", "in its place"])
def test_what_was_sent_before_is_resumed_by_its_id(memory: Cache, cloud: Cloud, tmp_path: Path, namesake: str) -> None:
    """Its name may be another's now."""
    native, other = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.of("vm").tag(native, "Name", "web")
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("StopInstances", after=False)
        with pytest.raises(OutcomeUnknownError):
            run(replace(session, backoff=()), "vm stop web")
        assert recover(session) == Recovered(left=1)
        ec2.of("vm").tag(native, "Name", "old")
        ec2.of("vm").tag(other, "Name", "web")
        if namesake == "in its place":
            ec2.of("vm").delete(native)
        run(session, "vm refresh")
        result = run(session, "journal resume")
        assert result.parts[0].parsed.given == {"vm": native}
        assert states(cloud)[other] == "running"
        if namesake == "in its place":
            assert f"old ({native}) is terminated, so there is nothing to stop" in result.failure
        else:
            assert result.message == "1 done."
            assert states(cloud)[native] == "stopped"
        assert [entry["objects"] for entry in memory.journal.newest()] == [[native]]


def test_attaching_is_resumed_by_both_ids(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    native, other = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.of("vm").tag(native, "Name", "web")
    volume = ec2.of("volume").create("data", 1, "us-east-1a", "t")["id"]
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("AttachVolume", after=False)
        with pytest.raises(OutcomeUnknownError):
            run(replace(session, backoff=()), "volume attach data web --device /dev/sdh")
        assert recover(session) == Recovered(left=1)
        ec2.of("vm").tag(volume, "Name", "old")
        ec2.of("vm").untag(native, "Name")
        ec2.of("vm").tag(other, "Name", "web")
        ec2.of("volume").create("data", 1, "us-east-1a", "u")
        for line in ("vm refresh", "volume refresh"):
            run(session, line)
        shown = resume.preview(Context(session, {}), [])
        assert [one.id for one in shown.targets] == [f"volume attach {volume} {native} --device /dev/sdh"]
        assert run(session, "journal resume").message == "1 done."
        assert account(cloud).volumes[volume][0] == [native]


def test_drop(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        for native in ("i-1", "i-2"):
            abandoned(session, f"vm stop {native}", outcome="waiting")
        sending = abandoned(session, "vm stop i-3", "i-3")
        plan(cache, tmp_path, [(session.scope, f"vm stop i-{number}") for number in (4, 5)])  # ours, not begun
        with pytest.raises(RefusedError, match="read-only"):
            run(replace(session, read_only=True), "journal drop")
        assert len(left(session)) == 2
        assert run(session, "journal drop").message == ("2 commands that had not been done were given up.")
        assert dict(outcomes(cache)) == {
            "vm stop i-1": "cancelled",
            "vm stop i-2": "cancelled",
            "vm stop i-3": "unfinished",
            "vm stop i-4": "waiting",
            "vm stop i-5": "waiting",
        }
        assert entry_of(session, sending)["error"] is None
        assert proxy.calls == []
        abandoned(session, "vm stop i-6", outcome="waiting")
        assert run(session, "journal drop").message == "1 command that had not been done was given up."
        assert left(session) == []


def test_list(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        other = Scope("other", "eu-west-1")
        abandoned(session, "vm stop i-1", outcome="waiting", age=9, cloud=other.cloud, region=other.region)
        abandoned(session, "vm stop i-2", "i-2", "vol-1", outcome="done", age=5)
        abandoned(session, "vm stop i-3", outcome="waiting")
        result = run(session, "journal list")
        assert result.kind is JOURNAL
        shown = [dict(zip(JOURNAL.index, row, strict=False)) for row in result.rows or ()]
        assert [(row["command"], row["outcome"]) for row in shown] == [
            ("vm stop i-3", "waiting"),
            ("vm stop i-2", "done"),
            ("vm stop i-1", "waiting"),
        ]
        assert shown[1]["objects"] == "i-2, vol-1"
        assert (shown[2]["cloud"], shown[2]["region"]) == other
        assert len(run(session, "journal list --last 2").rows or ()) == 2
        assert proxy.calls == []


def test_a_line_is_resumed_as_it_was_written(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        line = parse(split(f"vm tag {native} -- '--my key=a b\\'")).line
        abandoned(session, line, outcome="waiting")
        run(session, "journal resume")
        assert account(cloud).vms[native][1] == {"--my key": "a b\\"}
        assert outcomes(memory) == [(line, "done")]


def test_a_read_only_session_resumes_nothing(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, f"vm stop {native}", outcome="waiting")
        with pytest.raises(RefusedError, match="read-only"):
            run(replace(session, read_only=True), "journal resume")
        assert proxy.calls == []
        assert len(left(session)) == 1


def test_two_commands_on_one_vm_are_shown_as_one_and_both_run(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Two dashboards were about to delete the same."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        for _ in range(2):
            abandoned(session, f"vm delete {native}", outcome="waiting")
        shown = resume.preview(Context(session, {}), [])
        assert [one.id for one in shown.acted_on] == [native]
        result = run(session, f"journal resume --only {shown.given['only']}")
        assert "1 of 2 done." in result.message
        assert sorted(outcome for _, outcome in outcomes(memory)) == ["done", "failed"]
        assert left(session) == []
