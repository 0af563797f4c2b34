"""The journal: the entry is on disk before the act and is never lost; others can see that its owner is dead."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from pymongo import MongoClient

from backend.cache import Cache
from backend.errors import CacheError, Cancelled, CloudError, CloudmeshError, OutcomeUnknownError
from backend.journal import owner
from backend.journal.entry import Entry, Outcome, plan
from backend.journal.model import JOURNAL
from backend.mongod import EmbeddedServer
from tests.backend.cache_support import HERE, ago, following

TREE = Path(__file__).parents[2]
FIELDS = {
    "_id", "at", "user", "host", "cloud", "region", "account", "command", "objects", "outcome", "error", "seconds",
    "sent", "request", "settled", "batch", "place", "owner", "owner_host", "seal",
}  # fmt: skip


def planned(cache: Cache, home: Path, command: str = "vm stop i-1") -> Entry:
    (entry,) = plan(cache, home, [(HERE, command)])
    return entry


def only(cache: Cache) -> dict[str, Any]:
    (entry,) = cache.journal.newest()
    return entry


def test_an_entry_is_there_before_the_act(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    entry = planned(cache, tmp_path, "vm boot ami-1")
    assert cache.journal.newest() == []  # one alone is written when it is sent, or has failed before
    with entry.recorded():
        entry.sending("i-1", image="ami-1")
        before = only(cache)
        assert (before["outcome"], before["objects"], before["seconds"]) == ("unfinished", ["i-1"], None)
        assert set(before) == FIELDS
        assert before["request"] == {"image": "ami-1"}
        assert timedelta(0) <= before["sent"] - before["at"] < timedelta(minutes=1)
        entry.objects.append("vol-1")
    after = only(cache)
    assert set(after) == FIELDS
    assert after["_id"] == entry.token
    assert (after["user"], after["host"]) == ("ann", gethostname())
    assert (after["cloud"], after["region"]) == HERE
    assert (after["command"], after["objects"]) == ("vm boot ami-1", ["i-1", "vol-1"])
    assert (after["outcome"], after["error"]) == ("done", None)
    assert 0 <= after["seconds"] < 60
    assert timedelta(0) <= datetime.now(UTC) - after["at"] < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("end", "outcome", "error"),
    [
        (Cancelled(), "cancelled", None),
        (KeyboardInterrupt(), "unknown", "It was interrupted before the cloud had answered."),
        (OutcomeUnknownError("Cut off."), "unknown", "Cut off."),
        (CloudError("It is gone.", "Look."), "failed", "It is gone. Look."),
        (ValueError("of a library"), "failed", "of a library"),
        (KeyError(), "failed", "KeyError"),
    ],
)
def test_how_a_command_ended(cache: Cache, tmp_path: Path, end: BaseException, outcome: str, error: str | None) -> None:
    entry = planned(cache, tmp_path)

    def act() -> None:
        with entry.recorded():
            entry.sending("i-1")
            raise end

    with pytest.raises(type(end)) as caught:
        act()
    assert caught.value is end
    found = only(cache)
    assert (found["outcome"], found["error"], found["objects"]) == (outcome, error, ["i-1"])
    assert found["seconds"] >= 0


def test_what_was_interrupted_before_it_was_sent_was_not_done(cache: Cache, tmp_path: Path) -> None:
    entry = planned(cache, tmp_path)
    with pytest.raises(KeyboardInterrupt), entry.recorded():
        raise KeyboardInterrupt
    assert only(cache)["outcome"] == "cancelled"


def test_the_newest_come_first(cache: Cache, tmp_path: Path) -> None:
    for number in range(5):
        entry = planned(cache, tmp_path, str(number))
        entry.end("done")
        cache.journal.set(entry.token, {"at": ago(100 - number)})
    assert [entry["command"] for entry in cache.journal.newest(3)] == ["4", "3", "2"]
    assert [JOURNAL.value(row, "command") for row in cache.journal.rows(2)] == ["4", "3"]


def test_several_are_planned_together(cache: Cache, tmp_path: Path) -> None:
    entries = plan(cache, tmp_path, [(HERE, f"vm stop i-{number}") for number in range(700)])
    assert len({entry.token for entry in entries}) == 700
    assert len({entry.batch for entry in entries}) == 1
    assert entries[0].batch
    assert {document["outcome"] for document in cache.journal.unsettled(HERE)} == {"waiting"}
    assert len(cache.journal.unsettled(HERE)) == 700


def test_every_dashboard_is_told(cache: Cache, tmp_path: Path) -> None:
    with following(cache) as received:
        entry = planned(cache, tmp_path)
        entry.end("done")

        def outcomes(_all: list[Any]) -> bool:
            reported = [row for row in received.upserts(JOURNAL) if JOURNAL.value(row, "id") == entry.token]
            return bool(reported) and JOURNAL.value(reported[-1], "outcome") == "done"

        received.until(outcomes)


@pytest.mark.parametrize("outcome", ["waiting", "unfinished", "unknown"])
def test_one_alone_takes_an_entry_over(cache: Cache, tmp_path: Path, outcome: Outcome) -> None:
    entry = planned(cache, tmp_path)
    entry.end(outcome)
    for _ in range(2):  # another's, and then one that this process has taken over before
        cache.journal.set(entry.token, {"owner": "dead", "outcome": outcome})
        (first, second) = (Entry(cache, tmp_path, only(cache)) for _ in range(2))
        assert first.taken()
        assert not second.taken()
        assert only(cache)["owner"] == owner.sign(tmp_path)


def test_what_cannot_be_journalled_is_not_done(embedded: Cache, tmp_path: Path) -> None:
    embedded.store.database.command(
        "collMod", "journal", validator={"$jsonSchema": {"required": ["of another version"]}}
    )
    with pytest.raises(CacheError, match="does not fit the schema"):
        planned(embedded, tmp_path).sending("i-1")
    with pytest.raises(CacheError, match="does not fit the schema"):
        plan(embedded, tmp_path, [(HERE, "vm delete i-1"), (HERE, "vm delete i-2")])


def test_a_data_directory_that_cannot_be_written(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CloudmeshError, match=r"Nothing was done: the data directory .*/file cannot be written"):
        planned(cache, tmp_path / "file")
    assert cache.journal.newest() == []


DIES = """
import os, signal, sys
from pathlib import Path
from backend.cache import open_cache
from backend.kinds.model import Scope
from backend.config import MongoDB
from backend.journal.entry import plan
from backend.catalog import KINDS
from backend.secret import Secret
home = Path(sys.argv[2])
cache = open_cache(MongoDB(Secret("embedded"), sys.argv[1]), home, KINDS.values())
[entry] = plan(cache, home, [(Scope("aws", "us-east-1"), "vm delete i-1")])
with entry.recorded():
    entry.sending("i-1")
    print(entry.owner, flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_in_between_leaves_it_unfinished_and_its_owner_dead(embedded: Cache, server_home: Path) -> None:
    words = [sys.executable, "-c", DIES, embedded.store.database.name, str(server_home)]
    with subprocess.Popen(words, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        name = process.stdout.readline().strip()
        assert owner.lives(server_home, name) is True
        process.communicate("x", timeout=30)
        assert process.returncode == -signal.SIGKILL
    assert owner.lives(server_home, name) is False
    with EmbeddedServer(server_home) as server, MongoClient[dict[str, Any]](server.start()) as client:
        (entry,) = client[embedded.store.database.name]["journal"].find()
    assert set(entry) == FIELDS
    assert (entry["outcome"], entry["command"], entry["objects"]) == ("unfinished", "vm delete i-1", ["i-1"])
    assert (entry["error"], entry["seconds"], entry["owner"]) == (None, None, name)


def test_owners(tmp_path: Path) -> None:
    name = owner.sign(tmp_path)
    assert owner.sign(tmp_path) == name
    assert owner.lives(tmp_path, name) is True
    assert owner.lives(tmp_path, "0" * 32) is None
    assert owner.lives(tmp_path / "other", name) is None
