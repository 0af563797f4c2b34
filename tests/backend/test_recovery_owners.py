"""The owner of an unsettled command: one session takes it, and only after its process has ended."""

import fcntl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.config import Cloud
from backend.journal.entry import plan
from backend.journal.recovery import FOREIGN_AFTER, Recovered, left, recover
from backend.kinds.model import Scope
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from tests.backend.cache_support import ago
from tests.backend.cloud_support import (
    abandoned,
    abandoned_boot,
    behind_proxy,
    boot_many,
    entry_of,
    outcomes,
    run,
    sent,
    states,
)


def test_a_command_of_our_own_is_left_to_us(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        sending, waiting = plan(memory, tmp_path, [(session.scope, "vm stop i-1"), (session.scope, "vm stop i-2")])
        sending.sending("i-1")
        memory.journal.set(sending.token, {"at": ago(FOREIGN_AFTER * 2), "sent": ago(FOREIGN_AFTER * 2)})
        memory.journal.set(waiting.token, {"at": ago(FOREIGN_AFTER * 2)})
        before = memory.journal.newest()
        assert recover(session) == Recovered()
        assert left(session) == []
        assert (memory.journal.newest(), proxy.calls) == (before, [])


@pytest.mark.parametrize(
    "where", [{"owner_host": "elsewhere"}, {"owner": "0" * 32}], ids=["another host", "another data directory"]
)
def test_a_command_begun_elsewhere_counts_as_abandoned_after_a_while(
    memory: Cache, cloud: Cloud, tmp_path: Path, where: dict[str, str]
) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        young = abandoned(session, f"vm stop {native}", native, age=FOREIGN_AFTER - 60, **where)
        waits = abandoned(session, "vm stop x", outcome="waiting", age=FOREIGN_AFTER - 60, **where)
        old = abandoned(session, f"vm stop {native}", native, age=FOREIGN_AFTER + 60, **where)
        waited = abandoned(session, "vm stop y", outcome="waiting", age=FOREIGN_AFTER + 60, **where)
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
        before = memory.journal.newest()
        assert recover(session) == Recovered()
        assert run(session, "journal drop").message.startswith("0 commands")
        assert (memory.journal.newest(), proxy.calls) == (before, [])


def test_two_recoveries_at_once_take_each_entry_once(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    ids = boot_many(cloud, 12)
    for native in ids:
        connect(cloud).of("vm").stop(native)
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
        reported = [message for one in found for message in one.messages]
        assert sorted(reported) == sorted(f"vm stop {native}: {native} is stopping." for native in ids)
        assert {outcome for _, outcome in outcomes(cache)} == {"done"}


def test_two_recoveries_at_once_boot_one_vm(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """At an endpoint without tokens nothing but the journal keeps them from booting two."""
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.tokens = False
        entry = abandoned_boot(session)
        listed, together, listing = cache.journal.unsettled, threading.Barrier(2, timeout=30), threading.Semaphore(2)
        found: list[Recovered] = []

        def both_have_listed(scope: Scope) -> list[dict[str, Any]]:
            entries = listed(scope)
            if listing.acquire(blocking=False):
                together.wait()
            return entries

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache.journal, "unsettled", both_have_listed)
            threads = [threading.Thread(target=lambda: found.append(recover(session, resend=True))) for _ in range(2)]
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

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            inner.append(recover(session))
            return connect(at, *hooks)

        assert len(recover(replace(session, connector=connecting), resend=True).messages) == 1
        assert inner == [Recovered()] * 2  # one as it looks, one as it sends
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
    connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        ours = abandoned(session, f"vm stop {native}", native, outcome=outcome, age=60)
        plan(memory, tmp_path, [(Scope(whose, "us-east-1"), f"vm stop i-{number}") for number in range(1_001)])
        memory.store.database["journal"].update_many({"cloud": "other"}, {"$set": {"outcome": outcome, "sent": ago(0)}})
        if outcome == "waiting":
            assert [entry.token for entry in left(session)] == [ours.token]
            return
        assert len(recover(session).messages) == 1
        assert entry_of(session, ours)["outcome"] == "done"
