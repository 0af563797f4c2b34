"""Commands whose process has ended: it is found out what came of them, and nothing is done twice or to another."""

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, Scope, open_cache
from backend.commands import Parsed, command, execute, parse, recovery, split
from backend.commands.common import REPEATED_FOR
from backend.commands.model import Call
from backend.commands.recovery import ASKED_FOR, FOREIGN, Recovered, left, recover
from backend.config import Cloud, MongoDB
from backend.errors import CacheLostError, Cancelled, CloudError, RefusedError, UnsureError
from backend.journal import Entry, plan
from backend.kinds import JOURNAL, KINDS
from backend.providers import Boot, Provider, connect
from backend.secret import Secret
from backend.session import Session
from tests.backend.cache_parts import ago
from tests.backend.cloud_parts import AMI, abandoned, account, behind_proxy, boot_many, outcomes, run, states
from tests.backend.ec2_faults import Reply, refusal
from tests.ec2_proxy import Proxy

TREE = Path(__file__).parents[2]

WORKER = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.commands import execute, parse, split
from backend.config import Cloud, Credentials, Defaults, MongoDB, Settings
from backend.secret import Secret
from backend.session import Session
database, home, endpoint, line = sys.argv[1:]
keys = Credentials(Secret("AKIATESTING"), Secret("testing-secret"))
cloud = Cloud("aws", endpoint=endpoint, credentials=keys, default=Defaults(location="us-east-1"))
cache = open_cache(MongoDB(Secret("embedded"), database), Path(home))
session = Session(Settings({"aws": cloud}, "aws"), cloud, cache, Path(home))
print(execute(parse(split(line)), session).message)
"""
"""A program that runs one command, to be killed."""

BOOT = f"vm boot {AMI} --name web"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Cache]:
    """What does not hang on the cache's server is tried on the one that is quickly there."""
    opened = open_cache(MongoDB(Secret("memory")), tmp_path)
    yield opened
    opened.close()


@contextmanager
def working(session: Session, line: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs a command; it is killed in the end."""
    words = [sys.executable, "-c", WORKER, session.cache.database.name, str(session.home), session.cloud.endpoint or ""]
    with subprocess.Popen([*words, line], cwd=TREE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def abandoned_boot(session: Session, age: float = 0, **fields: Any) -> Entry:
    """An entry of a boot that was sent, or not, by a process that has ended since."""
    sent = {"image": AMI, "flavor": "t2.micro", "location": None, "keypair": None, "name": "web"}
    return abandoned(session, BOOT, age=age, request=sent, **fields)


def booted(cloud: Cloud, entry: Entry) -> str:
    """Boot what an abandoned boot has sent."""
    return str(connect(cloud).boot(Boot(**entry.request, token=entry.token))["id"])


def entry_of(session: Session, entry: Entry) -> dict[str, Any]:
    return session.cache.entry(entry.token) or {}


def sent(proxy: Proxy) -> list[str]:
    """The actions that change something, passed on or not."""
    return [action for action in proxy.asked if not action.startswith("Describe")]


# --- kill -9 between the journal and the answer ----------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [True, False])
def test_killed_when_ec2_has_booted(embedded: Cache, server_home: Path, cloud: Cloud, tokens: bool) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.tokens = tokens
        proxy.hold_reply("RunInstances")
        with working(session, BOOT) as process:
            assert proxy.acted.wait(30)
            killed(process)
        proxy.released.set()
        proxy.wait_idle()
        assert outcomes(embedded) == [(BOOT, "unfinished")]

        found = recover(session)
        (native,) = states(cloud)
        assert found == Recovered((f"{BOOT}: web ({native}) is booting from {AMI}.",))
        assert sent(proxy) == ["RunInstances"]
        (entry,) = embedded.journal()
        assert (entry["outcome"], entry["objects"], entry["error"]) == ("done", [native], None)
        assert embedded.named(KINDS["vm"], session.scope, native)
        assert recover(session) == Recovered()


@pytest.mark.parametrize("tokens", [True, False])
def test_killed_when_the_request_never_reaches_ec2(
    embedded: Cache, server_home: Path, cloud: Cloud, tokens: bool
) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.tokens = tokens
        proxy.held = {"RunInstances"}
        with working(session, BOOT) as process:
            assert proxy.reached.wait(30)
            killed(process)
        proxy.answers["RunInstances"] = Reply(hang_up=True)
        proxy.released.set()
        proxy.wait_idle()
        proxy.answers.clear()
        assert states(cloud) == {}

        assert len(recover(session).messages) == 1
        (native,) = states(cloud)
        first, second = (call for call in proxy.calls if call.action == "RunInstances")
        assert (first.passed, second.passed) == (False, True)
        assert first.params == second.params
        (entry,) = embedded.journal()
        assert (entry["outcome"], entry["objects"]) == ("done", [native])
        assert recover(session) == Recovered()


def test_a_request_that_arrives_after_it_was_repeated(embedded: Cache, server_home: Path, cloud: Cloud) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.held = {"RunInstances"}
        with working(session, BOOT) as process:
            assert proxy.reached.wait(30)
            killed(process)
        proxy.held = set()
        assert len(recover(session).messages) == 1
        proxy.released.set()
        proxy.wait_idle()
        assert len(states(cloud)) == 1


def test_a_command_of_a_process_that_lives_is_left_to_it(embedded: Cache, server_home: Path, cloud: Cloud) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.hold_reply("RunInstances")
        with working(session, BOOT) as process:
            assert proxy.acted.wait(30)
            before = embedded.journal()
            proxy.calls.clear()
            assert recover(session) == Recovered()
            assert proxy.calls == []
            assert embedded.journal() == before
            assert run(session, "journal drop").message.startswith("0 commands")
            proxy.released.set()
            message, _ = process.communicate(timeout=30)
        assert "is booting from" in message
        assert outcomes(embedded) == [(BOOT, "done")]
        assert len(states(cloud)) == 1


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_a_command_of_our_own_is_left_to_us(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        sending, waiting = plan(memory, session.scope, tmp_path, ["vm stop i-1", "vm stop i-2"])
        sending.sending("i-1")
        memory.journal_set(sending.token, {"at": ago(FOREIGN * 2), "sent": ago(FOREIGN * 2)})
        memory.journal_set(waiting.token, {"at": ago(FOREIGN * 2)})
        before = memory.journal()
        assert recover(session) == Recovered()
        assert left(session) == []
        assert (memory.journal(), proxy.calls) == (before, [])


@pytest.mark.parametrize(
    "where", [{"owner_host": "elsewhere"}, {"owner": "0" * 32}], ids=["another host", "another data directory"]
)
def test_a_command_begun_elsewhere_counts_as_abandoned_after_a_while(
    memory: Cache, cloud: Cloud, tmp_path: Path, where: dict[str, str]
) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        young = abandoned(session, f"vm stop {native}", native, age=FOREIGN - 60, **where)
        waits = abandoned(session, "vm stop x", outcome="waiting", age=FOREIGN - 60, **where)
        old = abandoned(session, f"vm stop {native}", native, age=FOREIGN + 60, **where)
        waited = abandoned(session, "vm stop y", outcome="waiting", age=FOREIGN + 60, **where)
        before = [entry_of(session, entry) for entry in (young, waits)]
        found = recover(session)
        assert found == Recovered((f"vm stop {native}: {native} is stopping.",), left=1)
        assert entry_of(session, old)["outcome"] == "done"
        assert [entry.token for entry in left(session)] == [waited.token]
        assert [entry_of(session, entry) for entry in (young, waits)] == before


def test_a_command_of_another_cloud_is_left_to_its_sessions(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        for cloud_name, region in (("other", "us-east-1"), ("aws", "eu-west-1")):
            for outcome in ("unfinished", "unknown", "waiting"):
                abandoned(session, "vm stop i-1", "i-1", outcome=outcome, cloud=cloud_name, region=region)
        before = memory.journal()
        assert recover(session) == Recovered()
        assert run(session, "journal drop").message.startswith("0 commands")
        assert (memory.journal(), proxy.calls) == (before, [])


def test_two_recoveries_at_once_take_each_entry_once(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 12)
    for native in ids:
        connect(cloud).stop(native)
    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        run(session, "vm refresh")
        for native in ids:
            abandoned(session, f"vm stop {native}", native)
        together = threading.Barrier(2, timeout=30)
        found: list[Recovered] = []

        def start() -> None:
            together.wait()
            found.append(recover(session))

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = [message for one in found for message in one.messages]
        assert sorted(told) == sorted(f"vm stop {native}: {native} is stopping." for native in ids)
        assert {outcome for _, outcome in outcomes(cache)} == {"done"}


def test_two_recoveries_at_once_boot_one_vm(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """At an endpoint without tokens nothing but the journal keeps them from booting two."""
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.tokens = False
        entry = abandoned_boot(session)
        listed, together, listing = cache.unsettled, threading.Barrier(2, timeout=30), threading.Semaphore(2)
        found: list[Recovered] = []

        def both_have_listed(scope: Scope) -> list[dict[str, Any]]:
            entries = listed(scope)
            if listing.acquire(blocking=False):
                together.wait()
            return entries

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "unsettled", both_have_listed)
            threads = [threading.Thread(target=lambda: found.append(recover(session))) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        (native,) = states(cloud)
        assert sent(proxy) == ["RunInstances"]
        assert sorted(len(one.messages) for one in found) == [0, 1]
        assert [one.failures for one in found] == [(), ()]
        assert (entry_of(session, entry)["outcome"], entry_of(session, entry)["objects"]) == ("done", [native])


def test_one_that_starts_while_another_looks_leaves_it_alone(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.tokens = False
        abandoned_boot(session)
        inner: list[Recovered] = []

        def connecting(at: Cloud, check: Callable[[], None]) -> Provider:
            inner.append(recover(session))
            return connect(at, check)

        assert len(recover(replace(session, connector=connecting)).messages) == 1
        assert inner == [Recovered()]
        assert len(states(cloud)) == len(sent(proxy)) == 1


def test_two_that_look_at_once_whether_a_process_lives_do_not_take_each_other_for_it(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        entry = abandoned(session, "vm stop i-1", outcome="waiting")
        with (tmp_path / "running" / entry.owner).open() as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH)  # as the other holds it for a moment
            assert len(left(session)) == 1


@pytest.mark.parametrize("whose", ["other", "aws"])
@pytest.mark.parametrize("outcome", ["waiting", "unfinished", "unknown"])
def test_many_of_another_cloud_or_process_hide_nothing(
    memory: Cache, cloud: Cloud, tmp_path: Path, outcome: str, whose: str
) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        ours = abandoned(session, f"vm stop {native}", native, outcome=outcome, age=60)
        plan(memory, Scope(whose, "us-east-1"), tmp_path, [f"vm stop i-{number}" for number in range(1_001)])
        memory.database["journal"].update_many({"cloud": "other"}, {"$set": {"outcome": outcome, "sent": ago(0)}})
        if outcome == "waiting":
            assert [entry.token for entry in left(session)] == [ours.token]
            return
        assert len(recover(session).messages) == 1
        assert entry_of(session, ours)["outcome"] == "done"


# --- what is found ---------------------------------------------------------------------------------------------------


def test_a_boot_is_found_or_repeated_as_long_as_ec2_knows_its_token(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        done, young = abandoned_boot(session), abandoned_boot(session, REPEATED_FOR - 60)
        old_done, old = abandoned_boot(session, REPEATED_FOR + 60), abandoned_boot(session, REPEATED_FOR + 60)
        ids = {entry.token: booted(cloud, entry) for entry in (done, old_done)}
        found = recover(session)
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
        assert len(cache.journal()) == 4


def test_what_counts_is_when_it_was_sent(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """A command may have waited for long: planned is not sent."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        repeated = abandoned_boot(session, at=ago(ASKED_FOR + 60))
        assert len(recover(session).messages) == 1
        assert entry_of(session, repeated)["outcome"] == "done"
        assert sent(proxy) == ["RunInstances"]
        elsewhere = abandoned_boot(session, at=ago(FOREIGN + 60), owner_host="elsewhere")
        assert recover(session) == Recovered()
        assert entry_of(session, elsewhere)["outcome"] == "unfinished"


def test_a_volume_is_found_or_repeated_in_the_same_way(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        line = "volume create data"
        made = connect(cloud).create_volume("data", 1, "us-east-1a", "t")["id"]
        request = {"name": "data", "size": 1, "location": "us-east-1a", "before": []}
        found = abandoned(session, line, request=request)
        repeated = abandoned(session, line, request=request | {"before": [made]})
        old = abandoned(session, line, age=REPEATED_FOR + 60, request=request | {"name": "other"})
        assert len(recover(session).messages) == 2
        assert entry_of(session, found)["outcome"] == entry_of(session, repeated)["outcome"] == "done"
        objects = [entry_of(session, entry)["objects"] for entry in (found, repeated)]
        assert made in objects[0] + objects[1]
        assert entry_of(session, old)["outcome"] == "waiting"
        assert sent(proxy) == ["CreateVolume"]
        assert len(account(cloud).volumes) == 2


def test_what_came_of_the_others(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    running, stopped, gone = boot_many(cloud, 3)
    ec2 = connect(cloud)
    ec2.stop(stopped)
    ec2.create_keypair("made")
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        memory.put(KINDS["vm"], session.scope, [{"id": "i-0123456789abcdef0", "state": "running"}])
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
        assert any(f"It is not known what came of vm reboot {running}" in failure for failure in found.failures)
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
            run(replace(session, looks=()), f"vm stop {native}")
        assert memory.flights(session.scope)
        assert recover(session).left == 1
        assert memory.flights(session.scope) == []
        run(session, f"vm stop {native}")
        assert states(cloud) == {native: "stopped"}


def test_what_was_not_known_is_asked_again_for_a_day(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).stop(native)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        old = abandoned(session, f"vm stop {native}", native, outcome="unknown", age=ASKED_FOR + 60)
        before = entry_of(session, old)
        assert recover(session) == Recovered()
        assert (entry_of(session, old), proxy.calls) == (before, [])
        young = abandoned(session, f"vm stop {native}", native, outcome="unknown", age=ASKED_FOR - 60)
        assert recover(session).messages == (f"vm stop {native}: {native} is stopping.",)
        assert entry_of(session, young)["outcome"] == "done"
        assert entry_of(session, old) == before


def test_a_boot_that_is_not_known_is_settled_at_the_next_start(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances")
        with pytest.raises(CloudError):
            run(replace(session, looks=()), BOOT)
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
        with pytest.raises(UnsureError):
            run(replace(session, looks=()), BOOT)
        stop = abandoned(session, f"vm stop {running}", running, age=9)
        offline = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
        found = recover(offline)
        assert (found.messages, found.left) == ((), 0)
        for failure, line in zip(found.failures, (stop.command, BOOT), strict=True):  # the oldest first
            assert failure.startswith(f"It is not known what came of {line}: ")
            assert "127.0.0.1:1 cannot be reached" in failure
        assert dict(outcomes(cache)) == {stop.command: "unknown", BOOT: "unknown"}
        assert all("cannot be reached" in entry["error"] for entry in cache.journal())

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
        assert failure.startswith(f"It is not known what came of {BOOT}: Listing VMs failed on cloud aws")
        assert entry_of(session, made)["outcome"] == "unknown"
        proxy.answers.clear()
        assert len(recover(session).messages) == 1
        assert list(states(cloud)) == [native]


def test_what_is_gone_has_failed_for_good(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        gone = "i-0123456789abcdef0"
        run(session, "vm refresh")
        memory.put(KINDS["vm"], session.scope, [{"id": gone, "state": "running"}])
        entry = abandoned(session, f"vm stop {gone}", gone)
        (failure,) = recover(session).failures
        assert failure.startswith(f"vm stop {gone}: VM {gone} no longer exists")
        assert entry_of(session, entry)["outcome"] == "failed"
        proxy.calls.clear()
        assert recover(session) == Recovered()
        assert proxy.calls == []


def test_a_reboot_is_told_of_once(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Nothing tells whether a VM was rebooted, today or tomorrow."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.cut("RebootInstances")
        with pytest.raises(UnsureError):
            run(session, f"vm reboot {native}")
        assert recover(session).failures == (
            f"It is not known what came of vm reboot {native}: Nothing tells whether {native} was rebooted; "
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
        with pytest.raises(UnsureError):
            run(replace(with_image, looks=()), "vm boot --name web")
        (native,) = states(cloud)
        assert recover(session) == Recovered((f"vm boot --name web: web ({native}) is booting from {AMI}.",))
        assert outcomes(memory) == [("vm boot --name web", "done")]


def test_looking_can_be_cancelled(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    def cancelled() -> None:
        raise Cancelled

    ids = boot_many(cloud, 2)
    for native in ids:
        connect(cloud).stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        first, second = (abandoned(session, f"vm stop {one}", one, age=9 - at) for at, one in enumerate(ids))
        before = entry_of(session, second)
        with pytest.raises(Cancelled):
            recover(session, cancelled)
        assert entry_of(session, first)["outcome"] == "unknown"
        assert entry_of(session, first)["error"] == "Looking for what came of it was cancelled."
        assert entry_of(session, second) == before
        assert len(recover(session).messages) == 2
        assert {outcome for _, outcome in outcomes(memory)} == {"done"}


def test_a_cache_that_is_lost_says_nothing_of_what_was_done(
    memory: Cache, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise CacheLostError("The server is gone.")

    (native,) = boot_many(cloud, 1)
    connect(cloud).stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        entry = abandoned(session, f"vm stop {native}", native)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "put", lost)
            with pytest.raises(CacheLostError):
                recover(session)
        assert entry_of(session, entry)["outcome"] == "unfinished"
        memory.journal_set(entry.token, {"owner": entry.owner})  # as when this process has ended
        assert len(recover(session).messages) == 1


# --- a session that is read-only -------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["session", "cloud"])
def test_a_read_only_session_looks_and_sends_nothing(cache: Cache, cloud: Cloud, tmp_path: Path, of: str) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        if of == "session":
            locked = replace(session, read_only=True)
        else:
            locked = replace(session, cloud=replace(session.cloud, read_only=True))
        there, not_there = abandoned_boot(session), abandoned_boot(session)
        native = booted(cloud, there)
        found = recover(locked)
        assert found.messages == (f"{BOOT}: web ({native}) is booting from {AMI}.",)
        (failure,) = found.failures
        assert failure.startswith(f"It is not known what came of {BOOT}: Booting a t2.micro VM")
        assert "read-only" in failure
        assert entry_of(session, not_there)["outcome"] == "unknown"
        assert sent(proxy) == []
        assert list(states(cloud)) == [native]
        # It was told of, so one that may write does not repeat it unasked.
        assert recover(session) == Recovered(left=1)
        assert list(states(cloud)) == [native]
        assert run(session, "journal resume").message == "1 done."
        assert len(states(cloud)) == 2
        assert {outcome for _, outcome in outcomes(cache)} == {"done"}


def test_a_read_only_session_resumes_nothing(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, f"vm stop {native}", outcome="waiting")
        with pytest.raises(RefusedError, match="read-only"):
            run(replace(session, read_only=True), "journal resume")
        assert proxy.calls == []
        assert len(left(session)) == 1


# --- what was planned and not begun ----------------------------------------------------------------------------------


def test_what_was_not_begun_is_counted_and_not_done(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, BOOT, outcome="waiting")
        assert recover(session) == Recovered(left=1)
        assert proxy.calls == []
        assert outcomes(memory) == [(BOOT, "waiting")]


def test_resume(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 3)
    connect(cloud).protect(ids[1], True)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        entries = [
            abandoned(session, f"vm delete {native}", outcome="waiting", age=9 - at) for at, native in enumerate(ids)
        ]
        shown = recovery.preview(Call(session, {}), [])
        assert [one.id for one in shown.targets] == ids
        assert "it is protected" in shown.targets[1].left_out
        assert shown.notes == ("vm delete: 3.",)
        assert shown.totals[0] == "2 VMs: 0.0232 USD/hour now."
        assert shown.typed == "2"
        assert shown.given == {"only": f"{entries[0].token},{entries[2].token}"}
        assert sent(proxy) == []

        outcome = execute(parse(["journal", "resume"]), session)
        assert outcome.message == "2 of 3 done."
        assert outcome.failure.startswith("1 of 3 failed: Deleting VM")
        assert [bool(one.error) for one in outcome.parts] == [False, True, False]
        assert [one.parsed.given["vm"] for one in outcome.parts] == ids  # oldest first
        assert list(states(cloud).values()).count("terminated") == 2
        assert [entry_of(session, entry)["outcome"] for entry in entries] == ["done", "failed", "done"]
        assert len(cache.journal()) == 3
        assert run(session, "journal resume").message == "Nothing waits to be resumed."
        assert left(session) == []


def test_the_preview_of_resume_shows_all_of_it(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    first, second = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.tag(first, "Name", "web")
    volume = ec2.create_volume("data", 3, "us-east-1a", "t")["id"]
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        for at, line in enumerate((f"vm stop {second}", f"vm delete {first}", f"volume delete {volume}")):
            abandoned(session, line, outcome="waiting", age=9 - at)
        abandoned(session, "vm stop of-another-cloud", outcome="waiting", cloud="other")
        shown = recovery.preview(Call(session, {}), [])
        assert [one.name for one in shown.targets] == [f"vm stop {second}", "web", "data"]
        assert shown.notes == ("vm stop: 1.", "vm delete: 1.", "volume delete: 1.")
        assert "1 VM: 0.0116 USD/hour now." in shown.totals
        assert "1 volume (3 GiB) would be deleted, with all that is on them." in shown.totals
        assert shown.typed == "3"
        assert command("journal resume").preview is recovery.preview
        assert (
            recovery.preview(Call(replace(session, cloud=replace(session.cloud, name="third")), {}), []).targets == ()
        )


def test_what_is_gone_since_does_not_stand_in_the_way_of_the_rest(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """EC2 forgets a terminated VM within an hour, and then the next refresh does."""
    (native,) = boot_many(cloud, 1)
    gone = "i-0123456789abcdef0"
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        for at, one in enumerate((gone, native)):
            abandoned(session, f"vm delete {one}", outcome="waiting", age=9 - at)
        shown = recovery.preview(Call(session, {}), [])
        assert [(one.id, one.left_out) for one in shown.targets] == [(gone, "it no longer exists"), (native, "")]
        outcome = run(session, "journal resume")
        assert outcome.message == "1 of 2 done."
        assert gone in outcome.failure
        assert states(cloud) == {native: "terminated"}
        assert [outcome for _, outcome in outcomes(memory)] == ["failed", "done"]


def test_what_is_resumed_is_what_was_shown(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    first, protected, second, later = boot_many(cloud, 4)
    connect(cloud).protect(protected, True)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        lines = [f"vm delete {first}", f"vm delete {protected}", f"vm stop {second}"]
        entries = [abandoned(session, line, outcome="waiting", age=9 - at) for at, line in enumerate(lines)]
        shown = recovery.preview(Call(session, {}), [])
        assert [one.id for one in shown.acted_on] == [first, lines[2]]
        assert [one.id for one in shown.left_out] == [protected]
        abandoned(session, f"vm delete {later}", outcome="waiting")  # while the dialog is open
        resume = command("journal resume")
        assert [one.id for one in recovery.preview(Call(session, shown.given), []).targets] == [first, lines[2]]

        outcome = execute(Parsed(resume, shown.given), session)
        assert (outcome.message, outcome.failure) == ("2 done.", "")
        assert sorted(sent(proxy)) == ["StopInstances", "TerminateInstances"]
        assert states(cloud) == {first: "terminated", protected: "running", second: "stopped", later: "running"}
        assert outcomes(cache) == [
            *zip(lines, ("done", "waiting", "done"), strict=True),
            (f"vm delete {later}", "waiting"),
        ]
        assert execute(Parsed(resume, shown.given), session).message == "Nothing waits to be resumed."
        assert len(left(session)) == 2
        # One by its id, as a user may type it.
        outcome = run(session, f"journal resume --only {entries[1].token}")
        assert outcome.failure.startswith("1 of 1 failed: Deleting VM")
        assert [entry.command for entry in left(session)] == [f"vm delete {later}"]


@pytest.mark.parametrize("namesake", ["beside it", "in its place"])
def test_what_was_sent_before_is_resumed_by_its_id(memory: Cache, cloud: Cloud, tmp_path: Path, namesake: str) -> None:
    """Its name may be another's now."""
    native, other = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.tag(native, "Name", "web")
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("StopInstances", after=False)
        with pytest.raises(UnsureError):
            run(replace(session, looks=()), "vm stop web")
        assert recover(session) == Recovered(left=1)
        ec2.tag(native, "Name", "old")
        ec2.tag(other, "Name", "web")
        if namesake == "in its place":
            ec2.delete_vm(native)
        run(session, "vm refresh")
        outcome = run(session, "journal resume")
        assert outcome.parts[0].parsed.given == {"vm": native}
        assert states(cloud)[other] == "running"
        if namesake == "in its place":
            assert f"old ({native}) is terminated, so there is nothing to stop" in outcome.failure
        else:
            assert outcome.message == "1 done."
            assert states(cloud)[native] == "stopped"
        assert [entry["objects"] for entry in memory.journal()] == [[native]]


def test_attaching_is_resumed_by_both_ids(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    native, other = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.tag(native, "Name", "web")
    volume = ec2.create_volume("data", 1, "us-east-1a", "t")["id"]
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("AttachVolume", after=False)
        with pytest.raises(UnsureError):
            run(replace(session, looks=()), "volume attach data web --device /dev/sdh")
        assert recover(session) == Recovered(left=1)
        ec2.tag(volume, "Name", "old")
        ec2.untag(native, "Name")
        ec2.tag(other, "Name", "web")
        ec2.create_volume("data", 1, "us-east-1a", "u")
        for line in ("vm refresh", "volume refresh"):
            run(session, line)
        shown = recovery.preview(Call(session, {}), [])
        assert [one.id for one in shown.targets] == [f"volume attach {volume} {native} --device /dev/sdh"]
        assert run(session, "journal resume").message == "1 done."
        assert account(cloud).volumes[volume][0] == native


def test_drop(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        for native in ("i-1", "i-2"):
            abandoned(session, f"vm stop {native}", outcome="waiting")
        sending = abandoned(session, "vm stop i-3", "i-3")
        plan(cache, session.scope, tmp_path, ["vm stop i-4", "vm stop i-5"])  # which are ours, and about to be done
        assert run(replace(session, read_only=True), "journal drop").message == (
            "2 commands that had not been begun were given up."
        )
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
        assert run(session, "journal drop").message == "1 command that had not been begun was given up."
        assert left(session) == []


def test_list(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        other = Scope("other", "eu-west-1")
        abandoned(session, "vm stop i-1", outcome="waiting", age=9, cloud=other.cloud, region=other.region)
        abandoned(session, "vm stop i-2", "i-2", "vol-1", outcome="done", age=5)
        abandoned(session, "vm stop i-3", outcome="waiting")
        outcome = run(session, "journal list")
        assert outcome.kind is JOURNAL
        shown = [dict(zip(JOURNAL.index, row, strict=True)) for row in outcome.rows or ()]
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
