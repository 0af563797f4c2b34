"""A server that steps down, has a full disk or does not reply, during a refresh and during a command."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from backend.cache import Cache, open_cache
from backend.cache.faults import sentence
from backend.catalog import KINDS
from backend.config import Cloud, MongoDB
from backend.errors import CacheError, CacheLostError
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind
from backend.mongod import find_binary
from backend.refresh import Progress, refresh
from backend.secret import Secret
from tests.backend.cache_support import HERE, IMAGE, VM, FakeCloud, entry, eventually, following, ids, items
from tests.backend.cloud_support import behind_proxy, outcomes, run, sent
from tests.backend.server_support import Server

pytestmark = pytest.mark.skipif(find_binary() is None, reason="needs a mongod")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        server.start()
        yield server


@pytest.fixture
def cache(server: Server) -> Iterator[Cache]:
    opened = open_cache(MongoDB(Secret(server.uri), f"test-{uuid4().hex[:12]}"), Path("/nowhere"), KINDS.values())
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", [VM, IMAGE], ids=lambda kind: kind.name)
def test_the_primary_steps_down_during_a_refresh(server: Server, cache: Cache, kind: Kind) -> None:
    cache.rows.put(kind, HERE, items(kind, "gone"))
    pages = [items(kind, *(f"{page}-{number}" for number in range(50))) for page in range(4)]
    left = [2]

    def reported(progress: Progress) -> None:
        if left == [progress.pages]:
            left.clear()
            server.step_down()

    with following(cache, retry_every=0.1) as received:
        done = refresh(kind, FakeCloud(**{kind.plural: pages}), cache, HERE, progress=reported)
        assert left == []
        assert (done.count, done.removed) == (200, 1)
        received.until(lambda all_: any(getattr(one, "record", None) and one.record.count == 200 for one in all_))
    assert ids(cache, kind) == sorted(item["id"] for page in pages for item in page)
    assert cache.refreshes.of(kind, HERE).count == 200


def test_a_batch_is_not_written_twice_when_the_primary_steps_down(server: Server, cache: Cache) -> None:
    """The driver tries each write once more; if it is deposed again meanwhile, that is a sentence."""
    written: list[str] = []

    def write(key: str) -> None:
        cache.journal.add([entry(key), entry(f"{key}-b")])
        assert cache.rows.put(VM, HERE, items(VM, key)) == (1, 0)
        assert cache.rows.put(VM, HERE, items(VM, key, name="later")) == (0, 1)
        written.append(key)

    with following(cache, retry_every=0.1) as received:
        for number in range(5):
            deposed = threading.Thread(target=server.step_down)
            deposed.start()
            while deposed.is_alive():
                with suppress(CacheLostError):
                    write(f"{number}-{uuid4().hex}")
            deposed.join()
        before = len(written)

        def followed() -> bool:
            """Whether changes are announced again: what was written without the stream is read again."""
            with suppress(CacheLostError):
                write(f"after-{uuid4().hex}")
            after = set(written[before:])
            reported = {JOURNAL.value(row, "id") for row in received.upserts(JOURNAL)}
            return bool(after & reported) and bool(after & {VM.value(row, "id") for row in received.upserts(VM)})

        eventually(followed)
    assert len(written) >= 5
    assert {*written} <= {*ids(cache, VM)}
    assert len(ids(cache, VM)) == len({*ids(cache, VM)})
    assert {*written, *(f"{key}-b" for key in written)} <= {one["_id"] for one in cache.journal.newest(100_000)}


def test_a_command_whose_journal_has_no_room_is_not_sent(
    server: Server, cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        with server.failing("insert", "update"), pytest.raises(CacheError, match="has no disk space left") as caught:
            run(session, "volume create data --size 1")
        assert "Free some" in caught.value.cure
        assert sent(proxy) == []
        assert outcomes(cache) == []
        run(session, "volume create data --size 1")
        assert sent(proxy) == ["CreateVolume"]
        assert outcomes(cache) == [("volume create data --size 1", "done")]


def test_what_was_done_is_told_though_it_cannot_be_written_down(
    server: Server, cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, _), server.failing("update"):
        result = run(session, "volume create data --size 1")
    assert "data" in result.message
    assert outcomes(cache) == [("volume create data --size 1", "unfinished")]  # the next start probes for it


def test_a_refresh_without_room_leaves_what_was_there(server: Server, cache: Cache) -> None:
    refresh(VM, FakeCloud(vms=[items(VM, "a", "b")]), cache, HERE)
    last = cache.refreshes.of(VM, HERE)
    with (
        server.failing("insert", "update", "delete", "findAndModify"),
        pytest.raises(CacheError, match="has no disk space left"),
    ):
        refresh(VM, FakeCloud(vms=[items(VM, "c")]), cache, HERE)
    assert ids(cache, VM) == ["a", "b"]
    assert cache.refreshes.of(VM, HERE) == last
    with server.failing("insert"), pytest.raises(CacheError, match="has no disk space left"):
        refresh(VM, FakeCloud(vms=[items(VM, "c")]), cache, HERE)
    assert ids(cache, VM) == ["a", "b"]
    record = cache.refreshes.of(VM, HERE)
    assert "has no disk space left" in (record.error or "")
    assert (record.finished, record.lease) == (last.finished, "")
    assert refresh(VM, FakeCloud(vms=[items(VM, "c")]), cache, HERE).removed == 2


@pytest.mark.parametrize(
    ("error", "words", "cure"),
    [
        (AutoReconnect("operation cancelled"), "it does not answer", "Try again"),
        (AutoReconnect("db-1:27017: connection closed"), "db-1:27017: connection closed", "Try again"),
        (
            ServerSelectionTimeoutError("db-1:27017: connection closed, Timeout: 3.0s"),
            "db-1:27017: connection closed",
            "Check that it runs, and mongodb.uri in the configuration. If it requires TLS, add tls=true",
        ),
        (
            ServerSelectionTimeoutError('No replica set members match selector "Primary()", Timeout: 3.0s'),
            "none of its members is the primary",
            "They elect one within seconds: try again.",
        ),
        (
            ServerSelectionTimeoutError("No primary available for writes, Timeout: 3.0s"),
            "none of its members is the primary",
            "They elect one within seconds: try again.",
        ),
    ],
)
def test_the_driver_s_own_words_are_explained(error: AutoReconnect, words: str, cure: str) -> None:
    reported = sentence(error, "db.example.org")
    assert isinstance(reported, CacheLostError)
    assert reported.message == f"The cache (MongoDB at db.example.org) cannot be reached: {words}."
    assert reported.cure.startswith(cure)


def test_a_command_waits_until_most_members_have_its_entry(server: Server, cache: Cache) -> None:
    """Else a failover forgets a request that was sent."""
    cache.store.database.command("profile", 2)
    cache.journal.add([entry("one")])
    cache.journal.set("one", {"outcome": "unfinished"})
    cache.store.database.command("profile", 0)
    said = cache.store.database["system.profile"].find(
        {"ns": f"{cache.store.database.name}.journal", "op": {"$in": ["insert"]}}
    )
    concerns = [one["command"]["writeConcern"] for one in said]
    assert [(one["w"], one["j"]) for one in concerns] == [("majority", True)]
    assert 0 < concerns[0]["wtimeout"] <= 20_000
    for write in (lambda: cache.journal.add([entry("two")]), lambda: cache.journal.set("one", {"error": "x"})):
        with (
            server.failing("insert", "update", code=64, unconfirmed=True),
            pytest.raises(CacheError, match="did not write to most of its members in time"),
        ):
            write()


def test_nothing_is_sent_when_most_members_do_not_have_its_entry(
    server: Server, cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        with (
            server.failing("insert", code=64, unconfirmed=True),
            pytest.raises(CacheError, match="did not write to most of its members in time"),
        ):
            run(session, "volume create data --location us-east-1a")
        assert sent(proxy) == []


def test_a_server_that_shuts_down_while_it_writes_is_lost_for_now(server: Server, cache: Cache) -> None:
    with (
        server.failing("insert", code=91, unconfirmed=True),
        pytest.raises(CacheLostError, match="cannot be reached: it is shutting down or is no longer the primary"),
    ):
        cache.journal.add([entry("three")])
