"""One refresh of a kind at a time: who waits, who takes over, and what a process without the lease leaves alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.callbacks import ignore
from backend.commands.listings import summary
from backend.errors import Cancelled, CloudError
from backend.lease import here
from backend.providers.protocol import Page
from backend.refresh import Difference, Progress, refresh
from tests.backend.cache_support import HERE, IMAGE, VM, FakeCloud, Received, eventually, ids, item, items, set_flight

TREE = Path(__file__).parents[2]


class Held:
    """A page that comes when the test says so."""

    def __init__(self, page: Page | Exception) -> None:
        self._page = page
        self.asked, self.released = threading.Event(), threading.Event()

    def __call__(self) -> Page:
        self.asked.set()
        assert self.released.wait(30)
        if isinstance(self._page, Exception):
            raise self._page
        return self._page


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@contextmanager
def refreshing(
    pool: ThreadPoolExecutor, cache: Cache, held: Held, *before: Page, progress: Callable[[Progress], None] = ignore
) -> Iterator[Future[Difference]]:
    """A refresh of VMs that is under way as long as its last page is held."""
    future = pool.submit(refresh, VM, FakeCloud(vms=[*before, held]), cache, HERE, progress=progress)
    try:
        assert held.asked.wait(10)
        yield future
    finally:
        held.released.set()


def lease_of(cache: Cache) -> dict[str, Any]:
    with cache.store.use():
        found: dict[str, Any] = cache.store.database["refreshes"].find_one({"_id": HERE.key("vm")})
    return found


def overtake(cache: Cache) -> None:
    """Let a lease run out, as it does when its process has slept."""
    with cache.store.use():
        cache.store.database["refreshes"].update_one({}, {"$set": {"lease_until": datetime.now(UTC) - timedelta(1)}})


def test_those_that_come_meanwhile_share_what_one_lists(cache: Cache, pool: ThreadPoolExecutor) -> None:
    held, reported = Held(items(VM, "b", "c")), Received()
    others = [FakeCloud(vms=[items(VM, "never")]) for _ in range(3)]
    cache.rows.put(VM, HERE, items(VM, "old"))
    with refreshing(pool, cache, held, items(VM, "a")) as first:
        waiting = [pool.submit(refresh, VM, other, cache, HERE, progress=reported) for other in others]
        reported.until(lambda all_: [one.rows for one in all_[-3:]] == [1] * 3)
        assert all(isinstance(one, Progress) and one.elsewhere for one in reported.all)
        held.released.set()
        done = first.result(10)
        assert not done.shared
        assert (done.count, done.added, done.removed) == (3, 3, 1)
        for one in waiting:
            found = one.result(10)
            assert found.shared
            assert (found.count, found.added, found.changed, found.removed) == (3, 3, 0, 1)
            assert summary(found).endswith(", refreshed elsewhere")
    assert all(other.asked.all == [] for other in others)
    assert ids(cache, VM) == ["a", "b", "c"]
    # The next one is of its own.
    assert not refresh(VM, FakeCloud(vms=[items(VM, "a")]), cache, HERE).shared
    assert ids(cache, VM) == ["a"]


def test_other_kinds_and_clouds_do_not_wait(cache: Cache, pool: ThreadPoolExecutor) -> None:
    held = Held([])
    with refreshing(pool, cache, held):
        assert not refresh(IMAGE, FakeCloud(images=[items(IMAGE, "x")]), cache, HERE).shared
        assert not refresh(VM, FakeCloud(vms=[]), cache, HERE._replace(cloud="$other")).shared


@pytest.mark.parametrize("end", [CloudError("No."), Cancelled(), ValueError("a mistake")], ids=repr)
def test_one_that_fails_leaves_it_to_those_that_wait(cache: Cache, pool: ThreadPoolExecutor, end: Exception) -> None:
    held, reported = Held(end), Received()
    with refreshing(pool, cache, held) as first:
        second = pool.submit(refresh, VM, FakeCloud(vms=[items(VM, "a")]), cache, HERE, progress=reported)
        reported.until(lambda all_: all_)
        held.released.set()
        with pytest.raises(type(end)):
            first.result(10)
        found = second.result(10)
    assert (found.shared, found.added) == (False, 1)
    assert ids(cache, VM) == ["a"]


def test_waiting_can_be_cancelled(cache: Cache, pool: ThreadPoolExecutor) -> None:
    def check() -> None:
        raise Cancelled

    held = Held(items(VM, "a"))
    with refreshing(pool, cache, held) as first:
        before = lease_of(cache)
        with pytest.raises(Cancelled):
            refresh(VM, FakeCloud(), cache, HERE, check=check)
        assert lease_of(cache) == before
        held.released.set()
        assert first.result(10).added == 1


def test_a_slow_page_does_not_lose_the_lease(cache: Cache, pool: ThreadPoolExecutor) -> None:
    cache.refreshes.lease_seconds = 0.6
    held, reported = Held(items(VM, "a")), Received()
    with refreshing(pool, cache, held) as first:
        until = lease_of(cache)["lease_until"]
        second = pool.submit(refresh, VM, FakeCloud(vms=[]), cache, HERE, progress=reported)
        eventually(
            lambda: lease_of(cache)["lease_until"] > until + timedelta(seconds=3 * cache.refreshes.lease_seconds)
        )
        assert not second.done()
        held.released.set()
        assert not first.result(10).shared
        assert second.result(10).shared


def test_one_that_was_overtaken_changes_nothing(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """The older listing ends last, lacks what the newer one has seen, and has what is gone since."""
    cache.refreshes.lease_seconds = 0.6
    cache.rows.put(VM, HERE, items(VM, "a", "b", "seen by the newer"))
    before = set(threading.enumerate())
    older, third, reported = Held(items(VM, "a", "late")), Held(items(VM, "b", "new")), Received()
    with refreshing(pool, cache, older, progress=reported) as first:
        overtake(cache)
        newer = refresh(VM, FakeCloud(vms=[items(VM, "b", "seen by the newer", "new")]), cache, HERE)
        assert (newer.shared, newer.removed) == (False, 1)
        eventually(lambda: not any(thread.name == "lease" for thread in {*threading.enumerate()} - before))
        with refreshing(pool, cache, third) as another:
            older.released.set()
            reported.until(lambda all_: any(one.elsewhere for one in all_))
            assert ids(cache, VM) == ["b", "new", "seen by the newer"]
            third.released.set()
            assert not another.result(10).shared
        assert first.result(10).shared
    assert ids(cache, VM) == ["b", "new"]


def test_what_others_write_while_it_lists_is_not_removed(cache: Cache, pool: ThreadPoolExecutor) -> None:
    cache.rows.put(VM, HERE, items(VM, "changed", "unhashed", "gone"))
    set_flight(cache, HERE, "unhashed", None, "running")
    held = Held([])
    with refreshing(pool, cache, held) as first:
        cache.rows.put(
            VM, HERE, [item(VM, "changed", name="later"), item(VM, "unhashed", name="later"), item(VM, "new")]
        )
        held.released.set()
        assert first.result(10).removed == 1
    assert ids(cache, VM) == ["changed", "new", "unhashed"]


def test_what_is_written_between_looking_and_removing_stays(cache: Cache) -> None:
    cache.rows.put(VM, HERE, items(VM, "a", "b", "c"))
    set_flight(cache, HERE, "c", None, "running")
    left = cache.rows.left(VM, HERE, cache.rows.known(VM, HERE))
    assert set(left) == {"a", "b", "c"}
    cache.rows.put(VM, HERE, [item(VM, "b", name="later"), item(VM, "c", name="later")])
    assert cache.rows.remove_left(VM, HERE, left) == 1
    assert ids(cache, VM) == ["b", "c"]


def by(cache: Cache, holder: str, ends: float = 50) -> None:
    """Let somebody else have the lease."""
    assert cache.refreshes.begin(VM, HERE, "theirs", holder) is not None
    with cache.store.use():
        until = datetime.now(UTC) + timedelta(seconds=ends)
        cache.store.database["refreshes"].update_one({"_id": HERE.key("vm")}, {"$set": {"lease_until": until}})


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_killed_one_is_taken_over_at_once_on_this_host(cache: Cache) -> None:
    for holder in (f"{here()}:{dead()}", f"{here()}:{os.getpid()}"):
        by(cache, holder)
        assert refresh(VM, FakeCloud(vms=[items(VM, "a")]), cache, HERE).shared is False
        assert lease_of(cache)["lease"] == ""


@pytest.mark.parametrize("holder", ["elsewhere:999999999", f"{here()}:{os.getppid()}"])
def test_one_that_is_not_heard_of_is_taken_over_when_its_lease_ends(cache: Cache, holder: str) -> None:
    by(cache, holder, ends=1.5)
    cache.refreshes.lease_seconds = 5
    reported = Received()
    assert refresh(VM, FakeCloud(vms=[items(VM, "a")]), cache, HERE, progress=reported).shared is False
    assert len([one for one in reported.all if one.elsewhere]) >= 4
    assert ids(cache, VM) == ["a"]


def test_of_many_that_begin_at_once_one_lists(cache: Cache, pool: ThreadPoolExecutor) -> None:
    barrier = threading.Barrier(8)
    listed: list[int] = []

    def slow(number: int) -> Callable[[], Page]:
        def page() -> Page:
            listed.append(number)
            threading.Event().wait(0.3)  # for the others to come meanwhile
            return items(VM, "a")

        return page

    def work(number: int) -> Difference:
        barrier.wait(10)
        return refresh(VM, FakeCloud(vms=[slow(number)]), cache, HERE)

    found = list(pool.map(work, range(8)))
    assert len(listed) == 1
    assert sorted(one.shared for one in found) == [False] + [True] * 7


_OTHER = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.config import MongoDB
from backend.refresh import refresh
from backend.catalog import KINDS
from backend.secret import Secret
from tests.backend.cache_support import *
cache = open_cache(MongoDB(Secret("embedded"), sys.argv[1]), Path(sys.argv[2]), KINDS.values())
def page():
    print("listing", flush=True)
    sys.stdin.readline()
    return items(VM, "theirs")
print(refresh(VM, FakeCloud(vms=[page]), cache, HERE).shared, flush=True)
cache.close()
"""


@pytest.mark.parametrize("kill", [False, True])
def test_another_process_is_waited_for_until_it_ends_or_is_killed(
    embedded: Cache, server_home: Path, pool: ThreadPoolExecutor, kill: bool
) -> None:
    words = [sys.executable, "-c", _OTHER, embedded.store.database.name, str(server_home)]
    reported = Received()
    with subprocess.Popen(words, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "listing\n"
        cloud = FakeCloud(vms=[items(VM, "ours")])
        mine = pool.submit(refresh, VM, cloud, embedded, HERE, progress=reported)
        reported.until(lambda all_: len(all_) >= 3)
        if kill:
            other.kill()
            other.wait()  # a zombie is not seen to have ended
        else:
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == "False\n"
        assert mine.result(10).shared is not kill
        assert ids(embedded, VM) == ["ours" if kill else "theirs"]
