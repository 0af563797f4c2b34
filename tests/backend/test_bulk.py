"""Many commands at once: each acts once and is journalled once, even when throttled, cut off or killed."""

import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse
from backend.commands.model import Context, Result
from backend.commands.run import execute_all
from backend.config import Cloud
from backend.errors import Cancelled, CloudError, RefusedError, UsageError
from backend.journal.recovery import recover
from backend.kinds.vm import preview as vm_preview
from backend.providers.ec2.provider import EC2Provider
from backend.providers.registry import connect
from backend.providers.retry import RetryPolicy
from tests.backend.cache_support import eventually
from tests.backend.cloud_support import behind_proxy, boot_many, outcomes, run, states
from tests.ec2_proxy import Proxy

TREE = Path(__file__).parents[2]

WORKER = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.commands.run import execute_all
from backend.commands.grammar import parse
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.catalog import KINDS
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from backend.session import Session
database, home, endpoint, *ids = sys.argv[1:]
keys = ec2_keys(Secret("AKIATESTING"), Secret("testing-secret"))
cloud = Cloud("aws", endpoint=endpoint, credentials=keys, default=Defaults(location="us-east-1"))
cache = open_cache(MongoDB(Secret("embedded"), database), Path(home), KINDS.values())
session = Session(Settings({"aws": cloud}, "aws"), cloud, cache, Path(home))
execute_all([parse(["vm", "delete", native]) for native in ids], session)
"""
"""A program that deletes VMs, to be killed."""


def terminated(proxy: Proxy) -> Counter[str]:
    """Return how often moto was asked to terminate each VM."""
    return Counter(
        call.params["InstanceId.1"] for call in proxy.calls if call.action == "TerminateInstances" and call.passed
    )


def test_200_vms_20_protected_5_percent_throttled_one_reply_cut_killed_once(
    embedded: Cache, server_home: Path, cloud: Cloud
) -> None:
    ids = boot_many(cloud, 200)
    protected = set(ids[::10])
    for native in protected:
        connect(cloud).of("vm").protect(native, True)
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        run(session, "vm refresh")
        proxy.throttle(0.05, seed=7)
        preview = vm_preview.deleting(Context(session, {}), ids)
        assert {one.id for one in preview.left_out} == protected
        assert all("it is protected" in one.left_out for one in preview.left_out)
        assert preview.typed == "180"
        assert preview.totals[0] == "180 VMs: 2.0880 USD/hour now."
        said = [one.id for one in preview.acted_on]

        proxy.cut("TerminateInstances")
        words = [
            sys.executable,
            "-c",
            WORKER,
            embedded.store.database.name,
            str(server_home),
            session.cloud.endpoint or "",
        ]
        with subprocess.Popen([*words, *said], cwd=TREE) as process:
            eventually(lambda: proxy.count("TerminateInstances") >= 60)
            proxy.hold_reply("TerminateInstances")
            assert proxy.acted.wait(30)
            process.send_signal(signal.SIGKILL)
            process.wait()
        proxy.released.set()
        proxy.wait_idle()
        begun = len(terminated(proxy))
        assert 60 < begun < 180
        waiting = Counter(outcome for _, outcome in outcomes(embedded))
        assert waiting["unfinished"] >= 1
        assert sum(waiting.values()) == 180

        found = recover(session)
        assert found.failures == ()
        assert len(found.messages) >= 1
        assert found.left == 180 - begun
        assert run(session, "journal resume").message == f"{found.left} done."

        assert terminated(proxy) == Counter(said)  # each once, nothing else
        assert any(not call.passed and call.action == "TerminateInstances" for call in proxy.calls)  # some throttled
        assert {native for native, state in states(cloud).items() if state == "terminated"} == set(said)
        assert {native for native, state in states(cloud).items() if state == "running"} == protected
        entries = embedded.journal.newest()
        assert Counter(entry["outcome"] for entry in entries) == {"done": 180}
        assert Counter(native for entry in entries for native in entry["objects"]) == Counter(said)
        assert run(session, "journal resume").message == "Nothing waits to be resumed."
        assert recover(session).messages == ()


def test_part_failures_leave_the_others_done(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 6)
    connect(cloud).of("vm").protect(ids[0], True)
    connect(cloud).of("vm").delete(ids[1])
    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        run(session, "vm refresh")
        reported: list[int] = []
        commands = [parse(["vm", "delete", native]) for native in (*ids, "i-0123456789abcdef0")]
        results = execute_all(commands, session, on_finished=lambda place, _result: reported.append(place))
        assert [one.parsed for one in results] == commands
        assert sorted(reported) == list(range(7))
        errors = [str(one.error or "") for one in results]
        assert "it is protected" in errors[0]
        assert "is terminated, so there is nothing to delete" in errors[1]
        assert "There is no VM 'i-0123456789abcdef0'" in errors[6]
        assert errors[2:6] == [""] * 4
        assert states(cloud)[ids[0]] == "running"
        assert [states(cloud)[native] for native in ids[1:]] == ["terminated"] * 5
        assert [outcome for _, outcome in outcomes(cache)] == ["failed", "failed", *["done"] * 4, "failed"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["volume", "create", "x", "--size", "big"], "size must be a whole number"),
        (["vm", "boot"], r"vm boot needs IMAGE\."),
    ],
)
def test_one_that_makes_no_sense_keeps_all_from_being_planned(
    memory: Cache, cloud: Cloud, tmp_path: Path, wrong: list[str], message: str
) -> None:
    """What waits in the journal can be done: nothing is left there that never could."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        reported: list[int] = []
        with pytest.raises(UsageError, match=message):
            execute_all(
                [parse(["vm", "stop", "x"]), parse(wrong)],
                session,
                on_finished=lambda place, _result: reported.append(place),
            )
        assert (reported, proxy.calls, memory.journal.newest()) == ([], [], [])
        (alone,) = execute_all([parse(wrong)], session)
        assert isinstance(alone.error, UsageError)
        assert (proxy.calls, memory.journal.newest()) == ([], [])


def test_all_are_planned_before_the_first_is_begun(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 8)
    planned: list[list[str]] = []

    def check() -> None:
        planned.append(sorted(command for command, _ in outcomes(cache)))

    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        run(session, "vm refresh")
        lines = sorted(f"vm stop {native}" for native in ids)
        execute_all([parse(line.split()) for line in lines], session, check=check)
        assert planned
        assert all(one == lines for one in planned)
        assert outcomes(cache) == [(line, "done") for line in lines]


def test_denied_for_some_of_many(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Permissions may hang on tags: EC2 decides for each VM."""
    ids = boot_many(cloud, 4)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        proxy.denied = {ids[1], ids[3]}
        results = execute_all([parse(["vm", "stop", native]) for native in ids], session)
        assert [bool(one.error) for one in results] == [False, True, False, True]
        assert "may not do ec2:StopInstances" in str(results[1].error)
        assert [states(cloud)[native] for native in ids] == ["stopped", "running", "stopped", "running"]
        # What was refused is not in flight: it can be tried again at once.
        proxy.denied = set()
        again = execute_all([one.parsed for one in results if one.error], session)
        assert [one.error for one in again] == [None, None]


def test_what_is_not_begun_when_it_is_cancelled_is_not_done(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 20)
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Cancelled

    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        results = execute_all(
            [parse(["vm", "stop", native]) for native in ids], session, check=check, on_finished=lambda *_: stop.set()
        )
        done = [one for one in results if isinstance(one.outcome, Result)]
        assert 1 <= len(done) < 20
        assert all(isinstance(one.error, RefusedError) for one in results if one not in done)
        assert proxy.count("StopInstances") == len(done)
        assert Counter(outcome for _, outcome in outcomes(cache)) == {"done": len(done), "cancelled": 20 - len(done)}
        assert sorted(states(cloud).values()).count("stopped") == len(done)


def test_one_alone_that_is_cancelled_raises(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    def cancelled() -> None:
        raise Cancelled

    with behind_proxy(cloud, cache, tmp_path) as (session, _), pytest.raises(Cancelled):
        execute_all([parse(["vm", "stop", "x"])], session, check=cancelled)


def test_throttled_for_good(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """EC2 that lets nothing in is given up on, and the VM can be acted on again."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        proxy.throttle(1, seed=1, actions={"StopInstances"})
        hasty = replace(
            session, connector=lambda at, check, _: EC2Provider(at, check, RetryPolicy(unread=3, first=0.01))
        )
        with pytest.raises(CloudError, match=r"throttling\) \(asked 3 times\)"):
            run(hasty, f"vm stop {native}")
        proxy.throttle(0, seed=1)
        run(session, f"vm stop {native}")
        assert states(cloud)[native] == "stopped"
        assert [outcome for _, outcome in outcomes(cache)] == ["failed", "done"]
