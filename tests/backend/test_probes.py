"""Probing for the outcome of a lost call: cancelled, it stays unknown, and nothing is sent again unasked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse, split
from backend.commands.model import Context, Parsed, Result
from backend.commands.run import execute, execute_all
from backend.config import Cloud
from backend.errors import Cancelled, OutcomeUnknownError
from backend.journal.recovery import Recovered, recover
from backend.session import Session
from tests.backend.cache_support import VM
from tests.backend.cloud_support import (
    BOOT,
    EXAMPLES,
    Example,
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
    staged,
    states,
)
from tui import headless
from tui.interrupt import Interrupt

every_example = pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.name)

# --- cancelled --------------------------------------------------------------------------------------------------------


def cancelled_once(happened: Callable[[], object]) -> Callable[[], None]:
    """Return a check that raises Cancelled from when something has happened."""

    def check() -> None:
        if happened():
            raise Cancelled

    return check


def settled(cache: Cache, one: Example) -> None:
    """The next start has settled an entry that was left unknown."""
    word = {"vm reboot": "unknown", "keypair create": "failed"}.get(one.name, "done")
    assert [outcome for _, outcome in outcomes(cache)] == [word]


@pytest.mark.thorough
@every_example
@pytest.mark.parametrize("looked", [0, 1])
def test_a_look_that_is_cancelled_leaves_it_unknown(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Example, looked: int
) -> None:
    """Before the first probe, or after one that found nothing: EC2's listings lag behind."""
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        probes: list[Context] = []

        def look(call: Context) -> Result | None:
            probes.append(call)
            return None

        parsed = parse(split(one.on(stage)))
        blind = replace(parsed, command=replace(parsed.command, probe=look, resend=None))
        proxy.cut(one.action)
        with pytest.raises(OutcomeUnknownError) as caught:
            execute(
                blind,
                replace(session, backoff=(0.0, 3_600.0) if looked else (3_600.0,)),
                check=cancelled_once(lambda: one.action in proxy.asked and len(probes) == looked),
            )
        assert "The check of its outcome was cancelled" in caught.value.message
        assert "has not been done" not in str(caught.value)
        assert outcomes(memory) == [(one.on(stage), "unknown")]
        assert one.done(before, account(cloud), stage)
        recover(session)
        settled(memory, one)
        assert [call.action for call in proxy.calls if not call.action.startswith("Describe")] == [one.action]


@pytest.mark.thorough
@every_example
def test_what_is_cancelled_before_it_is_sent_is_not_done(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Example
) -> None:
    """Between the journal's entry and the request."""
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        with pytest.raises(Cancelled):
            run(
                session,
                one.on(stage),
                check=cancelled_once(lambda: outcomes(memory)[-1:] == [(one.on(stage), "unfinished")]),
            )
        assert outcomes(memory) == [(one.on(stage), "cancelled")]
        assert (sent(proxy), account(cloud)) == ([], before)
        assert memory.flights.rows(VM, session.scope) == []


def test_of_several_those_not_begun_are_cancelled_and_those_sent_unknown(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    ids = boot_many(cloud, 6)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        proxy.cut("StopInstances", times=len(ids))
        commands: list[Parsed] = [parse(split(f"vm stop {native}")) for native in ids]
        results = execute_all(
            commands, replace(session, backoff=(3_600.0,)), check=cancelled_once(lambda: "StopInstances" in proxy.asked)
        )
        done = states(cloud)
        for native, result in zip(ids, results, strict=True):
            unsure = isinstance(result.outcome, OutcomeUnknownError)
            assert unsure == (done[native] == "stopped")
            assert unsure or "was cancelled and not done" in str(result.outcome)
        assert "stopped" in done.values()
        words = {line.split()[-1]: outcome for line, outcome in outcomes(memory)}
        assert words == {native: "unknown" if done[native] == "stopped" else "cancelled" for native in ids}
        recover(session)
        assert {outcome for _, outcome in outcomes(memory)} <= {"done", "cancelled"}


# --- a read sends nothing ---------------------------------------------------------------------------------------------


def headlessly(session: Session, line: str) -> int:
    return headless.task(split(line), None, Interrupt(), yes=True)(session, False)


@pytest.mark.parametrize("made", [True, False])
def test_the_journal_is_listed_and_nothing_is_sent(
    cache: Cache, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        native = booted(cloud, entry) if made else ""
        for _ in range(2):
            assert headlessly(session, "journal list") == 0
        said = capsys.readouterr().err
        assert sent(proxy) == []
        if made:
            assert f"Left unfinished: {BOOT}: web ({native}) is booting" in said
            assert entry_of(session, entry)["outcome"] == "done"
        else:
            assert f"No effect of {BOOT} is seen; it is not sent again unasked." in said
            assert "1 command is left from a run that ended, and not done. journal resume runs what is left" in said
            assert (entry_of(session, entry)["outcome"], states(cloud)) == ("unfinished", {})


@pytest.mark.parametrize("line", ["vm list", "keypair list", "volume list", "vm boot ami-03cf127a --dry-run"])
def test_what_changes_nothing_sends_nothing_again(memory: Cache, cloud: Cloud, tmp_path: Path, line: str) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned_boot(session)
        headlessly(session, line)
        assert states(cloud) == {}
        assert {call.params.get("DryRun") for call in proxy.calls if call.action == "RunInstances"} <= {"true"}


def test_a_command_that_changes_something_sends_it_again_and_says_so(
    memory: Cache, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        headlessly(session, "keypair create mine")
        (native,) = states(cloud)
        assert sent(proxy) == ["RunInstances", "CreateKeyPair"]
        assert proxy.calls[1].params["ClientToken"] == entry.token
        assert capsys.readouterr().err == (
            f"Left unfinished: {BOOT}: web ({native}) is booting from ami-03cf127a. No effect of it was seen, so it "
            "was sent again.\n"
        )


def volume_sent(session: Session) -> str:
    request = {"name": "data", "size": 1, "location": "us-east-1a", "before": []}
    return abandoned(session, "volume create data", request=request).token


@pytest.mark.parametrize("what", ["vm", "volume"])
def test_what_was_sent_is_resumed_with_its_token_once_the_user_wants_it(
    cache: Cache, cloud: Cloud, tmp_path: Path, what: str
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        token = abandoned_boot(session).token if what == "vm" else volume_sent(session)
        found = recover(session)
        assert (found.messages, found.left, sent(proxy)) == ((), 1, [])
        assert run(session, "journal resume").message == "1 done."
        (call,) = (one for one in proxy.calls if one.action in ("RunInstances", "CreateVolume"))
        assert call.params["ClientToken"] == token
        assert [outcome for _, outcome in outcomes(cache)] == ["done"]
        assert recover(session) == Recovered()


def test_what_has_been_done_after_all_is_not_sent_again_when_it_is_resumed(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    """The request was on its way for long; at an endpoint without tokens a second would boot a second VM."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.tokens = False
        entry = abandoned_boot(session)
        assert recover(session).left == 1
        native = booted(cloud, entry)
        result = run(session, "journal resume")
        assert (result.message, list(states(cloud)), sent(proxy)) == ("1 done.", [native], [])
        assert entry_of(session, entry)["objects"] == [native]


def test_what_cannot_be_looked_for_is_not_resumed(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        offline = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
        assert "cannot be reached" in run(offline, "journal resume").failure
        assert (entry_of(session, entry)["outcome"], sent(proxy)) == ("unknown", [])


def test_what_was_sent_can_be_given_up(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        headlessly(session, "journal drop")
        assert (sent(proxy), states(cloud)) == ([], {})
        written = entry_of(session, entry)
        assert (written["outcome"], written["settled"]) == ("unknown", True)
        assert recover(session, resend=True) == Recovered()


def test_two_reads_at_once_leave_it_as_it_is(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        before = entry_of(session, entry)
        assert recover(session) == recover(replace(session, read_only=True))
        assert entry_of(session, entry) == before
        assert sent(proxy) == []


def test_what_nobody_here_has_sealed_is_never_offered(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        memory.journal.set(entry.token, {"seal": "forged"})
        assert recover(session, resend=True).left == 0
        assert sent(proxy) == []
