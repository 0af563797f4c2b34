"""Commands whose process has ended: their outcomes are found; nothing is done twice or to another object."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from backend.account import Identity
from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.run import RESENT_FOR
from backend.config import Cloud
from backend.errors import CacheLostError, Cancelled, CloudError, OutcomeUnknownError
from backend.journal.recovery import FOREIGN_AFTER, PROBED_FOR, Recovered, recover
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cache_support import VM, ago
from tests.backend.cloud_support import (
    AMI,
    BOOT,
    abandoned,
    abandoned_boot,
    account,
    behind_proxy,
    boot_many,
    booted,
    entry_of,
    outcomes,
    run,
    sent,
    states,
)
from tests.backend.ec2_faults import Reply, refusal

# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_boot_is_found_or_repeated_as_long_as_ec2_knows_its_token(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        done, young = abandoned_boot(session), abandoned_boot(session, RESENT_FOR - 60)
        old_done, old = abandoned_boot(session, RESENT_FOR + 60), abandoned_boot(session, RESENT_FOR + 60)
        ids = {entry.token: booted(cloud, entry) for entry in (done, old_done)}
        found = recover(session, resend=True)
        assert len(found.messages) == 3
        assert (found.failures, found.left) == ((), 1)
        for entry in (done, old_done):
            written = entry_of(session, entry)
            assert (written["outcome"], written["objects"]) == ("done", [ids[entry.token]])
        (repeated,) = (call for call in proxy.calls if call.action == "RunInstances")
        assert repeated.params["ClientToken"] == young.token
        assert entry_of(session, young)["outcome"] == "done"
        assert len(states(cloud)) == 3
        # It may be resumed; it is never sent again by itself.
        assert entry_of(session, old)["outcome"] == "waiting"
        assert recover(session) == Recovered(left=1)
        assert proxy.count("RunInstances") == 1
        assert run(session, "journal resume").message == "1 done."
        assert len(states(cloud)) == 4
        assert proxy.count("RunInstances") == 2
        assert len(cache.journal.newest()) == 4


def test_what_was_reported_as_unknown_is_not_sent_again_although_the_next_process_died_too(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    """The user has read that it may have been done, and may have repeated it."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        reported = abandoned_boot(session, outcome="unknown")
        assert reported.taken()
        dead = uuid4().hex
        (tmp_path / "running" / dead).touch()  # no process holds its lock
        assert memory.journal.set(reported.token, {"owner": dead})
        found = recover(session, resend=True)
        assert (found.messages, found.left) == ((), 1)
        assert entry_of(session, reported)["outcome"] == "waiting"
        assert sent(proxy) == []


def test_what_counts_is_when_it_was_sent(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """A command may have waited for long: planned is not sent."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        repeated = abandoned_boot(session, at=ago(PROBED_FOR + 60))
        assert len(recover(session, resend=True).messages) == 1
        assert entry_of(session, repeated)["outcome"] == "done"
        assert sent(proxy) == ["RunInstances"]
        elsewhere = abandoned_boot(session, at=ago(FOREIGN_AFTER + 60), owner_host="elsewhere")
        assert recover(session) == Recovered()
        assert entry_of(session, elsewhere)["outcome"] == "unfinished"


def test_a_volume_is_found_or_repeated_in_the_same_way(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        line = "volume create data"
        made = connect(cloud).of("volume").create("data", 1, "us-east-1a", "t")["id"]
        request = {"name": "data", "size": 1, "location": "us-east-1a", "before": []}
        found = abandoned(session, line, request=request)
        repeated = abandoned(session, line, request=request | {"before": [made]})
        old = abandoned(session, line, age=RESENT_FOR + 60, request=request | {"name": "other"})
        assert len(recover(session, resend=True).messages) == 2
        assert entry_of(session, found)["outcome"] == entry_of(session, repeated)["outcome"] == "done"
        objects = [entry_of(session, entry)["objects"] for entry in (found, repeated)]
        assert made in objects[0] + objects[1]
        assert entry_of(session, old)["outcome"] == "waiting"
        assert sent(proxy) == ["CreateVolume"]
        assert len(account(cloud).volumes) == 2


def test_what_came_of_the_others(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    running, stopped, gone = boot_many(cloud, 3)
    ec2 = connect(cloud)
    ec2.of("vm").stop(stopped)
    ec2.of("keypair").create("made")
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        memory.rows.put(KINDS["vm"], session.scope, [{"id": "i-0123456789abcdef0", "state": "running"}])
        expected = {
            abandoned(session, f"vm stop {stopped}", stopped): "done",
            abandoned(session, f"vm stop {running}", running): "waiting",
            abandoned(session, f"vm delete {gone}", gone): "waiting",
            abandoned(session, "vm delete i-0123456789abcdef0", "i-0123456789abcdef0"): "done",  # EC2 has forgotten it
            abandoned(session, f"vm reboot {running}", running): "unknown",
            abandoned(
                session, "keypair create made", request={"name": "made", "path": "/nowhere/made.pem", "before": False}
            ): "failed",
            abandoned(
                session,
                "keypair create other",
                request={"name": "other", "path": "/nowhere/other.pem", "before": False},
            ): "waiting",
        }
        found = recover(session)
        assert {entry: entry_of(session, entry)["outcome"] for entry in expected} == expected
        assert sent(proxy) == []
        assert found.left == 3
        assert len(found.messages) == 2
        assert any("its private key was lost on the way" in failure for failure in found.failures)
        assert any(f"The outcome of vm reboot {running} is unknown" in failure for failure in found.failures)
        assert len(found.failures) == 2
        settled = {entry.command: entry_of(session, entry)["settled"] for entry in expected}
        assert [command for command, so in settled.items() if so] == [f"vm reboot {running}"]
        assert recover(session) == Recovered(left=3)


def test_a_vm_that_was_not_acted_on_is_not_in_flight(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        proxy.cut("StopInstances", after=False)
        with pytest.raises(CloudError):
            run(replace(session, backoff=()), f"vm stop {native}")
        assert memory.flights.rows(VM, session.scope)
        assert recover(session).left == 1
        assert memory.flights.rows(VM, session.scope) == []
        run(session, f"vm stop {native}")
        assert states(cloud) == {native: "stopped"}


def test_what_was_not_known_is_asked_again_for_a_day(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        old = abandoned(session, f"vm stop {native}", native, outcome="unknown", age=PROBED_FOR + 60)
        before = entry_of(session, old)
        assert recover(session) == Recovered()
        assert (entry_of(session, old), proxy.calls) == (before, [])
        young = abandoned(session, f"vm stop {native}", native, outcome="unknown", age=PROBED_FOR - 60)
        assert recover(session).messages == (f"vm stop {native}: {native} is stopping.",)
        assert entry_of(session, young)["outcome"] == "done"
        assert entry_of(session, old) == before


def test_a_boot_that_is_not_known_is_settled_at_the_next_start(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances")
        with pytest.raises(CloudError):
            run(replace(session, backoff=()), BOOT)
        assert outcomes(memory) == [(BOOT, "unknown")]
        assert len(recover(session).messages) == 1
        assert outcomes(memory) == [(BOOT, "done")]
        assert len(states(cloud)) == len(sent(proxy)) == 1


def test_an_offline_start_leaves_it_unknown_and_a_later_one_finds_it(
    cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    (running,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        proxy.cut("RunInstances")
        with pytest.raises(OutcomeUnknownError):
            run(replace(session, backoff=()), BOOT)
        stop = abandoned(session, f"vm stop {running}", running, age=9)
        offline = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
        found = recover(offline)
        assert (found.messages, found.left) == ((), 0)
        for failure, line in zip(found.failures, (stop.command, BOOT), strict=True):  # the oldest first
            assert failure.startswith(f"The outcome of {line} is unknown: ")
            assert "127.0.0.1:1 cannot be reached" in failure
        assert dict(outcomes(cache)) == {stop.command: "unknown", BOOT: "unknown"}
        assert all("cannot be reached" in entry["error"] for entry in cache.journal.newest())

        found = recover(session)
        (native,) = (one for one in states(cloud) if one != running)
        assert found == Recovered((f"{BOOT}: web ({native}) is booting from {AMI}.",), left=1)
        assert dict(outcomes(cache)) == {stop.command: "waiting", BOOT: "done"}
        assert sent(proxy) == ["RunInstances"]


@pytest.mark.parametrize("answer", [refusal(403, "UnauthorizedOperation"), refusal(401, "AuthFailure")])
def test_what_may_not_be_looked_at_is_not_known(memory: Cache, cloud: Cloud, tmp_path: Path, answer: Reply) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        made = abandoned_boot(session)
        native = booted(cloud, made)
        proxy.answers["*"] = answer
        (failure,) = recover(session).failures
        assert failure.startswith(f"The outcome of {BOOT} is unknown: Listing VMs failed on cloud aws")
        assert entry_of(session, made)["outcome"] == "unknown"
        proxy.answers.clear()
        assert len(recover(session).messages) == 1
        assert list(states(cloud)) == [native]


def test_what_is_gone_has_failed_for_good(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        gone = "i-0123456789abcdef0"
        run(session, "vm refresh")
        memory.rows.put(KINDS["vm"], session.scope, [{"id": gone, "state": "running"}])
        entry = abandoned(session, f"vm stop {gone}", gone)
        (failure,) = recover(session).failures
        assert failure.startswith(f"vm stop {gone}: VM {gone} no longer exists")
        assert entry_of(session, entry)["outcome"] == "failed"
        proxy.calls.clear()
        assert recover(session) == Recovered()
        assert proxy.calls == []


def test_a_reboot_is_told_of_once(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """No state shows whether a VM was rebooted, today or tomorrow."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.cut("RebootInstances")
        with pytest.raises(OutcomeUnknownError):
            run(session, f"vm reboot {native}")
        assert recover(session).failures == (
            f"The outcome of vm reboot {native} is unknown: No state shows whether {native} was rebooted; "
            "it is running.",
        )
        proxy.calls.clear()
        assert recover(session) == Recovered()
        assert proxy.calls == []
        assert outcomes(cache) == [(f"vm reboot {native}", "unknown")]


def test_a_default_that_is_gone_since_is_not_missed(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        with_image = replace(session, cloud=replace(session.cloud, default=replace(session.cloud.default, image=AMI)))
        proxy.cut("RunInstances")
        with pytest.raises(OutcomeUnknownError):
            run(replace(with_image, backoff=()), "vm boot --name web")
        (native,) = states(cloud)
        assert recover(session) == Recovered((f"vm boot --name web: web ({native}) is booting from {AMI}.",))
        assert outcomes(memory) == [("vm boot --name web", "done")]


def test_looking_can_be_cancelled(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    def cancelled() -> None:
        raise Cancelled

    ids = boot_many(cloud, 2)
    for native in ids:
        connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        first, second = (abandoned(session, f"vm stop {one}", one, age=9 - at) for at, one in enumerate(ids))
        before = entry_of(session, second)
        with pytest.raises(Cancelled):
            recover(session, cancelled)
        assert entry_of(session, first)["outcome"] == "unknown"
        assert entry_of(session, first)["error"] == "The check of its outcome was cancelled."
        assert entry_of(session, second) == before
        assert len(recover(session).messages) == 2
        assert {outcome for _, outcome in outcomes(memory)} == {"done"}


def test_a_cache_that_is_lost_says_nothing_of_what_was_done(
    memory: Cache, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise CacheLostError("The server is gone.")

    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        entry = abandoned(session, f"vm stop {native}", native)
        with monkeypatch.context() as patch:
            patch.setattr(memory.rows, "put", lost)
            with pytest.raises(CacheLostError):
                recover(session)
        assert entry_of(session, entry)["outcome"] == "unfinished"
        memory.journal.set(entry.token, {"owner": entry.owner})  # as when this process has ended
        assert len(recover(session).messages) == 1


# --- keys of another account ------------------------------------------------------------------------------------------


def test_a_command_of_another_account_is_neither_probed_nor_sent(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """There it has no effect to be seen, so it would be done in the wrong account."""
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        other = as_account(session, "999999999999")
        sent_there = abandoned_boot(session, account="111122223333 · Admin")
        never_sent = abandoned_boot(session, outcome="waiting", account="111122223333 · Admin")
        found = recover(other, resend=True)
        why = (
            "It is of account 111122223333, and the keys of cloud aws are now of account 999999999999. "
            "Start again with the keys of account 111122223333."
        )
        assert (found.messages, found.failures) == ((), (f"The outcome of {BOOT} is unknown: {why}",))
        resumed = run(other, "journal resume")
        assert (resumed.message, resumed.failure) == ("Nothing was resumed.", f"{BOOT}: {why}")
        assert (proxy.calls, states(cloud)) == ([], {})

        own = as_account(session, "111122223333")
        recover(own)
        assert entry_of(session, sent_there)["outcome"] == entry_of(session, never_sent)["outcome"] == "waiting"
        assert run(own, "journal resume").message == "2 done."
        assert len(states(cloud)) == 2


def as_account(session: Session, number: str) -> Session:
    """Return the session with keys of that account, as far as is known."""
    provider = replace(session.cloud.provider, identity=lambda _: Identity(number))
    return replace(session, cloud=replace(session.cloud, provider=provider))


# --- a session that is read-only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["session", "cloud"])
def test_a_read_only_session_looks_and_sends_nothing(cache: Cache, cloud: Cloud, tmp_path: Path, of: str) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        if of == "session":
            locked = replace(session, read_only=True)
        else:
            locked = replace(session, cloud=replace(session.cloud, read_only=True))
        there, not_there = abandoned_boot(session), abandoned_boot(session)
        native = booted(cloud, there)
        left_behind = entry_of(session, not_there)
        found = recover(locked, resend=True)
        assert found.messages == (f"{BOOT}: web ({native}) is booting from {AMI}.",)
        (failure,) = found.failures
        assert failure == f"No effect of {BOOT} is seen; it is not sent again unasked."
        assert entry_of(session, not_there) == left_behind
        assert sent(proxy) == []
        assert list(states(cloud)) == [native]
        (message,) = recover(session, resend=True).messages  # one that may write repeats it, with its token
        assert message.startswith(BOOT)
        assert len(states(cloud)) == 2
        assert recover(session) == Recovered()
        assert len(states(cloud)) == 2
        assert {outcome for _, outcome in outcomes(cache)} == {"done"}
