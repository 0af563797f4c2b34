"""Damaged documents in the cache, by another version, client or attacker, do no harm to others."""

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backend.cache import Cache, Change, RefreshRecord, open_cache
from backend.cache.documents import flatten
from backend.cache.feed import Feed
from backend.cache.records import record
from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.commands.model import Context
from backend.commands.run import execute
from backend.config import Cloud, MongoDB, Settings
from backend.errors import Cancelled
from backend.export import write
from backend.format import as_object, cell
from backend.journal import recovery, resume
from backend.journal.entry import sealed
from backend.journal.model import JOURNAL
from backend.journal.seal import seal
from backend.kinds.model import Kind, Row
from backend.lease import here
from backend.lifecycle import Flight
from backend.refresh import refresh, refresh_many
from backend.secret import Secret
from backend.session import Session
from tests.backend.cache_support import (
    HERE,
    VM,
    FakeCloud,
    Received,
    ago,
    entry,
    following,
    following_locally,
    ids,
    item,
    items,
)
from tests.damaged import BEYOND, GOOD, LISTED, ODD, OTHERS, Damage, cloud, damages, fill, no_bson, waiting

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(9999, 12, 31, tzinfo=UTC)

several = st.lists(damages(HERE), min_size=1, max_size=6)


def session_on(cache: Cache, home: Path, fake: FakeCloud | None = None) -> Session:
    aws = Cloud("aws")
    provider: Any = fake or cloud()
    for one in cache.journal.unsettled(
        HERE
    ):  # as if this data directory had written them: others are never run from here
        cache.journal.set(one["_id"], {"seal": seal(home, sealed(one))})
    return Session(Settings({"aws": aws}, "aws"), aws, cache, home, connector=lambda *_: provider, backoff=(0.0,))


def fresh() -> Cache:
    return open_cache(MongoDB(Secret("memory")), Path("/nowhere"), KINDS.values())


def rows_of(kind: Kind, rows: Sequence[Row], where: str = "id") -> set[Any]:
    """Check that rows can be shown and exported, and return their ids."""
    for row in rows:
        assert all(isinstance(cell(value, column), str) for column, value in kind.cells(row))
        assert set(as_object(kind, row)) == set(kind.index)
        hash(row)
    found = [kind.value(row, where) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def run(session: Session, *words: str) -> Any:
    return execute(parse(words), session)


# --- each by itself: nothing raises, and all that is good is there ----------------------------------------------------


def every_read(cache: Cache, home: Path) -> None:
    session = session_on(cache, home)
    for kind in KINDS.values():
        assert rows_of(kind, cache.rows.snapshot(kind, HERE)) >= set(GOOD)
        assert [row for page in cache.rows.pages(kind, HERE) for row in page] == cache.rows.snapshot(kind, HERE)
        assert cache.rows.count(kind, HERE) >= len(GOOD)
        for native in GOOD:
            (row,) = cache.rows.named(kind, HERE, native)
            assert kind.value(row, "id") == native
        for native in (*GOOD, *(f"other-{number}" for number in range(51))):
            known = session.details(kind, native)
            assert isinstance((known or {}).get("name"), str | None)
            assert native not in GOOD or dict(flatten(known))["id"] == native
        assert isinstance(cache.refreshes.of(kind, HERE), RefreshRecord)
        left = cache.rows.left(kind, HERE, cache.rows.known(kind, HERE))
        assert set(left) >= set(GOOD)
    assert all(row[VM.index["flight"]] or row[VM.index["state"]] == "pending" for row in cache.flights.rows(VM, HERE))
    assert {one["_id"] for one in cache.journal.newest()} >= set(GOOD)
    assert rows_of(JOURNAL, cache.journal.rows(100)) >= set(GOOD)
    assert {one["_id"] for one in cache.journal.unsettled(HERE)} >= set(GOOD)
    assert all(one["command"] for one in cache.journal.of(HERE, "i-1"))


def every_command(cache: Cache, home: Path) -> None:
    session = session_on(cache, home)
    with following_locally(cache) as reported:
        done = refresh_many(list(KINDS.values()), session.connect, cache, HERE)
        assert [one.error for one in done] == [None] * len(KINDS)
    gone = {(one.kind, ref.id) for one in reported for ref in one.removed if isinstance(one, Change)}
    assert not {(kind, native) for kind, native in gone if native in GOOD}
    for kind in KINDS.values():
        # What is left of the damaged is what has no key by which it could be taken away: it is not shown.
        assert rows_of(kind, cache.rows.snapshot(kind, HERE)) == {*GOOD, *OTHERS}
        assert isinstance(cache.refreshes.of(kind, HERE).finished, datetime)
        assert rows_of(kind, run(session, kind.name, "list").rows) == {*GOOD, *OTHERS}
    write(VM, cache.rows.snapshot(VM, HERE), home / f"{os.urandom(4).hex()}.csv")
    assert {JOURNAL.value(row, "id") for row in run(session, "journal", "list").rows} >= set(GOOD)
    shown = resume.preview(Context(session, {}), [])
    assert {f"vm stop {native}" for native in GOOD} <= {target.name for target in shown.targets}
    assert set(GOOD) <= set(shown.given["only"].split(","))
    recovery.recover(session)
    assert {one.token for one in recovery.left(session)} >= set(GOOD)
    outcome = run(session, "journal", "resume")
    resumed = {result.parsed.line for result in outcome.parts}
    assert {f"vm stop {native}" for native in GOOD} <= resumed
    assert not resumed & {"vm list", "vm export all.csv", "vm boot ami-1 --dry-run", "journal resume", "refresh all"}
    run(session, "journal", "drop")
    entries = {JOURNAL.value(row, "id"): JOURNAL.value(row, "outcome") for row in cache.journal.rows(999)}
    assert all(outcome == "failed" for native, outcome in entries.items() if native in GOOD)


@given(damaged=several)
def test_whatever_stands_beside_the_good_ones(damaged: list[Damage], tmp_path: Path) -> None:
    cache = fresh()
    fill(cache, HERE)
    for one in damaged:
        one.write(cache)
    every_read(cache, tmp_path)
    every_command(cache, tmp_path)


@settings(max_examples=8, phases=[Phase.generate])
@given(damaged=st.lists(damages(HERE, ODD | BEYOND), min_size=20, max_size=40))
def test_whatever_stands_beside_the_good_ones_on_a_server(
    damaged: list[Damage], embedded: Cache, tmp_path: Path
) -> None:
    for name in embedded.store.database.list_collection_names():
        embedded.store.database[name].delete_many({})
    fill(embedded, HERE)
    for one in damaged:
        one.write(embedded)
    every_read(embedded, tmp_path)
    every_command(embedded, tmp_path)


@settings(max_examples=8, phases=[Phase.generate])
@given(damaged=st.lists(damages(HERE, ODD | BEYOND), min_size=5, max_size=20))
def test_whatever_is_written_while_it_is_followed(damaged: list[Damage], embedded: Cache) -> None:
    for name in embedded.store.database.list_collection_names():
        embedded.store.database[name].delete_many({})
    with following(embedded) as received:
        for one in damaged:
            one.write(embedded)
        fill(embedded, HERE)
        for kind in (VM, KINDS["volume"], KINDS["keypair"]):
            received.wait_upserts(kind, *GOOD)
            rows_of(kind, list({row[kind.index["id"]]: row for row in received.upserts(kind)}.values()))
        received.wait_upserts(JOURNAL, *GOOD)
        for name in KINDS:
            received.until(partial(_counted, name))
        assert not [one for one in received.all if not isinstance(one, Change)]  # the connection was never lost


def _counted(name: str, received: Sequence[Change]) -> bool:
    return any(one.record is not None and one.record.count == len(GOOD) for one in received if one.kind == name)


# --- what the server takes and the driver cannot read -----------------------------------------------------------------


def test_what_is_no_bson_costs_nothing_but_itself(embedded: Cache, tmp_path: Path) -> None:
    fill(embedded, HERE)
    now = datetime.now(UTC)
    scope = {"cloud": HERE.cloud, "region": HERE.region}
    no_bson(embedded, "vms", HERE.key("x"), scope | {"id": "x", "refreshed": now}, "name")()
    no_bson(embedded, "images", HERE.key("x"), scope | {"id": "x", "refreshed": now}, "extra")()
    no_bson(embedded, "refreshes", HERE.key("vm"), {"finished": now}, "writer")()
    no_bson(embedded, "journal", "x", waiting("x", HERE, now), "error")()
    every_read(embedded, tmp_path)
    every_command(embedded, tmp_path)


def test_an_object_that_is_no_bson_is_whole_again_when_it_is_listed(embedded: Cache) -> None:
    no_bson(embedded, "vms", HERE.key("x"), {"cloud": "aws", "region": "us-east-1", "id": "x"}, "name")()
    refresh(VM, FakeCloud(vms=[items(VM, "a", "x")]), embedded, HERE)
    assert ids(embedded, VM) == ["a", "x"]


def test_an_event_that_is_no_bson_ends_no_feed(embedded: Cache) -> None:
    with following(embedded, retry_every=0.05) as received:
        no_bson(embedded, "vms", HERE.key("x"), {"cloud": "aws", "region": "us-east-1", "id": "x"}, "name")()
        received.until(lambda all_: any(isinstance(one, str) for one in all_) and None in all_)
        received.until(lambda all_: any(isinstance(one, Change) and one.reread for one in all_[all_.index(None) :]))
        embedded.rows.put(VM, HERE, items(VM, "a"))
        received.wait_upserts(VM, "a")


# --- rows -------------------------------------------------------------------------------------------------------------


def write_vm(cache: Cache, native: str, **fields: Any) -> None:
    cache.rows.put(VM, HERE, [item(VM, native, state="running")])
    with cache.store.use():
        vms = cache.store.database["vms"]
        more = {} if cache.mode == "memory" else {"bypass_document_validation": True}
        vms.update_one({"_id": HERE.key(native)}, {"$set": fields}, **more)


@pytest.mark.parametrize("flight", [5, "stop", {}, {"action": "stop"}, {"action": 1, "since": FAR}, []], ids=repr)
def test_a_flight_that_is_none_keeps_nobody_from_acting(cache: Cache, flight: Any) -> None:
    write_vm(cache, "a", flight=flight)
    assert cache.flights.rows(VM, HERE) == []
    (row,) = cache.rows.snapshot(VM, HERE)
    assert (VM.value(row, "id"), VM.value(row, "flight")) == ("a", None)
    assert cache.flights.replace(VM, HERE, "a", Flight("stop", ago(0)), None)
    assert not cache.flights.replace(VM, HERE, "a", Flight("start", ago(0)), None)
    assert len(cache.flights.rows(VM, HERE)) == 1


def test_what_is_known_of_a_row_stays(cache: Cache) -> None:
    write_vm(cache, "a", name=5, launched="yesterday", protected="yes", extra="none", public_ip=["x"])
    (row,) = cache.rows.snapshot(VM, HERE)
    found = dict(zip(VM.index, row, strict=False))
    assert (found["name"], found["launched"], found["protected"]) == ("5", None, None)
    assert (found["state"], found["private_ip"]) == ("running", item(VM, "a")["private_ip"])
    known = cache.rows.document(VM, HERE, "a")
    assert known is not None
    assert (known["name"], known["launched"], known["extra"]) == ("5", None, {})


def test_who_takes_the_id_of_another_does_not_take_its_place(cache: Cache) -> None:
    cache.rows.put(VM, HERE, items(VM, "a", "b"))
    with cache.store.use():
        found = cache.store.database["vms"].find_one({"_id": HERE.key("a")})
        cache.store.database["vms"].insert_one(found | {"_id": HERE.key("z"), "name": "false", "hash": 1})
    assert ids(cache, VM) == ["a", "b"]
    with following_locally(cache) as reported:
        refresh(VM, FakeCloud(vms=[items(VM, "a", "b")]), cache, HERE)
    assert not any(one.removed for one in reported)
    assert ids(cache, VM) == ["a", "b"]


@pytest.mark.parametrize("fields", [{"id": 5}, {"id": ""}, {"hash": "x"}, {"hash": 1.5}, {"hash": [5]}], ids=repr)
def test_a_listing_puts_right_what_is_of_it_and_takes_away_the_rest(cache: Cache, fields: dict[str, Any]) -> None:
    write_vm(cache, "a", **fields)
    refresh(VM, FakeCloud(vms=[[item(VM, "a", state="running")]]), cache, HERE)
    assert ids(cache, VM) == ["a"]
    if "hash" in fields:
        write_vm(cache, "a", **fields)
        assert refresh(VM, FakeCloud(vms=[[]]), cache, HERE).removed == 1
        assert cache.rows.count(VM, HERE) == 0


def test_it_is_told_of_once_and_not_without_end(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    key = f"aws/us-east-1/{os.urandom(8).hex()}"
    with cache.store.use():
        more = {} if cache.mode == "memory" else {"bypass_document_validation": True}
        odd = {"_id": key, "cloud": HERE.cloud, "region": HERE.region, "id": 5}
        cache.store.database["vms"].insert_one(odd, **more)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert cache.rows.snapshot(VM, HERE) == []
    assert [one.getMessage() for one in caplog.records] == [
        f"a document in vms of the cache cannot be understood and is skipped: {key}"
    ]


# --- records and leases -----------------------------------------------------------------------------------------------


def lend(cache: Cache, **fields: Any) -> None:
    """Let somebody have the lease of the VMs, and the record say what is odd."""
    record_ = {"lease": "theirs", "lease_by": f"{here()}:{os.getppid()}", "lease_until": ago(-50)} | fields
    with cache.store.use():
        cache.store.database["refreshes"].replace_one({"_id": HERE.key("vm")}, record_, upsert=True)


@pytest.mark.parametrize(
    "fields",
    [
        *({"lease_by": f"{here()}:{number}"} for number in ("9" * 30, "²", "-1", "0")),
        {"lease_by": 5}, {"lease_by": {}},
        *({"finished": value} for value in (FAR, "x", 5, [THEN], {"a": 1}, datetime(1, 1, 1, tzinfo=UTC))),
        *({"lease_until": until} for until in (FAR, "x", [FAR], {"a": FAR}, True)),
        *({"seconds": seconds} for seconds in (float("nan"), float("inf"), -1.0, "1", 1e300)),
        {"count": 2**62}, {"written": 2**63 - 1}, {"batch": "x"}, {"lease": 5}, {"error": {}}, {"started": FAR},
    ],
    ids=repr,
)  # fmt: skip
def test_no_record_keeps_a_refresh_waiting(cache: Cache, fields: dict[str, Any]) -> None:
    lend(cache, **{"lease_until": ago(-0.5), **fields})
    until = ago(-15)

    def check() -> None:
        if datetime.now(UTC) > until:
            raise Cancelled

    done = refresh(VM, FakeCloud(vms=[items(VM, "a")]), cache, HERE, check=check)
    assert (done.shared, done.count) == (False, 1)
    found = cache.refreshes.of(VM, HERE)
    assert (found.count, found.lease, found.error) == (1, "", None)
    assert found.finished is not None


def test_a_lease_that_may_be_one_is_waited_for(cache: Cache) -> None:
    for seconds, waits in ((50, True), (70, False)):
        lend(cache, lease_until=ago(-seconds))
        assert (cache.refreshes.begin(VM, HERE, "ours", "x") is None) is waits


def test_a_record_is_of_what_its_id_says() -> None:
    said = {"cloud": "other", "region": "other", "kind": "image", "count": 3}
    assert record({"_id": HERE.key("vm"), **said}) == RefreshRecord(*HERE, "vm", count=3)
    assert record({"_id": "evil", "kind": "vm"}) is None
    assert record({}) is None


def test_a_record_of_an_unknown_kind_is_left_out(cache: Cache) -> None:
    with cache.store.use():
        cache.store.database["refreshes"].insert_many([{"_id": HERE.key(name)} for name in ("balloon", "vm")])
    assert [found.kind for found in cache.refreshes.all(KINDS)] == ["vm"]


# --- the feed ---------------------------------------------------------------------------------------------------------


def test_a_record_without_anything_ends_no_telling(embedded: Cache) -> None:
    with following(embedded) as received:
        embedded.store.database["refreshes"].insert_many([{"_id": "evil", "kind": "vm"}, {"_id": {"a": 1}}, {"_id": 5}])
        embedded.store.database["vms"].insert_many(
            [{"_id": "evil"}, {"_id": 5}, {"_id": {"a": [1]}}], bypass_document_validation=True
        )
        embedded.store.database["journal"].insert_many([{"_id": 5}, {"_id": "evil", "cloud": {}, "region": []}])
        embedded.rows.put(VM, HERE, items(VM, "a"))
        received.wait_upserts(VM, "a")
        assert all(isinstance(one, Change) for one in received.all)


@pytest.mark.parametrize("fields", [{"id": 5}, {"cloud": "other"}, {"region": None}], ids=repr)
def test_a_row_that_is_understood_no_longer_is_gone(embedded: Cache, fields: dict[str, Any]) -> None:
    embedded.rows.put(VM, HERE, items(VM, "a"))
    with following(embedded) as received:
        write_vm(embedded, "a", **fields)
        received.wait_removed(VM, "a")
    assert embedded.rows.snapshot(VM, HERE) == []


def test_without_change_streams_nothing_odd_ends_the_feed(plain: Cache) -> None:
    plain.store.database["refreshes"].insert_many([{"_id": "evil", "kind": "vm"}, {"_id": {"a": 1}}])
    with following(plain, reread_every=0.05) as received:
        plain.store.database["refreshes"].insert_one({"_id": {"a": 2}, "kind": "vm"})
        other = RefreshRecord(*HERE, "image", count=7, writer="another")
        plain.store.database["refreshes"].insert_one({"_id": HERE.key("image"), "count": 7, "writer": "another"})
        received.until(lambda all_: Change("image", HERE, reread=True, record=other) in all_)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_listeners_are_notified_when_the_feed_stops(embedded: Cache) -> None:
    received, lost = Received(), Received()

    def fails(change: Change) -> None:
        received(change)
        raise ValueError("a mistake")

    feed = Feed(embedded, KINDS.values(), fails, lost)
    try:
        assert feed.wait(10)
        with embedded.store.use():
            embedded.store.database["refreshes"].insert_one({"_id": HERE.key("vm")})
        lost.until(lambda all_: all_)
        assert lost.all == [
            "Following the cache failed: ValueError. This is a bug in cloudmesh-tui. "
            "Run with --log-file FILE and report it."
        ]
    finally:
        feed.close()


# --- the journal ------------------------------------------------------------------------------------------------------


def add(cache: Cache, *entries: dict[str, Any]) -> None:
    with cache.store.use():
        cache.store.database["journal"].insert_many(entries)


def test_an_entry_is_shown_with_what_is_known_of_it(cache: Cache) -> None:
    add(cache, {"_id": "a", "at": "yesterday", "objects": 5, "seconds": "x", "command": ["vm"], "user": "ann"})
    (row,) = cache.journal.rows(10)
    found = dict(zip(JOURNAL.index, row, strict=False))
    assert found == dict.fromkeys(JOURNAL.index) | {"id": "a", "objects": "", "user": "ann", "command": "['vm']"}
    assert cache.journal.newest() == []


def test_odd_entries_take_no_place_of_others(cache: Cache) -> None:
    add(cache, *({"_id": number, "at": FAR} for number in range(20)), entry("a"))
    assert [one["_id"] for one in cache.journal.newest(1)] == ["a"]
    assert [JOURNAL.value(row, "id") for row in cache.journal.rows(1)] == ["a"]


NOT_RUN = [
    "vm export all.csv", "vm list", "journal resume", "vm boot ami-1 --dry-run", "rm -rf /", "vm stop 'x", "vm stop",
]  # fmt: skip


@pytest.mark.parametrize("command", NOT_RUN)
def test_what_is_no_journalled_command_is_not_resumed(memory: Cache, tmp_path: Path, command: str) -> None:
    fill(memory, HERE)
    add(memory, waiting("odd", HERE, ago(0)) | {"command": command})
    session = session_on(memory, tmp_path)
    shown = resume.preview(Context(session, {}), [])
    assert set(shown.given["only"].split(",")) == set(GOOD)
    assert any(command in note for note in shown.notes)
    result = run(session, "journal", "resume")
    assert {one.parsed.line for one in result.parts} == {f"vm stop {native}" for native in GOOD}
    assert command in result.failure
    assert not (tmp_path / "all.csv").exists()
    found = memory.journal.entry("odd")
    assert found is not None
    assert found["outcome"] == "waiting"


@pytest.mark.parametrize("owner", ["../../etc", "a\0b", 5, {}, ["a"], "x" * 5_000], ids=lambda owner: repr(owner)[:20])
def test_no_owner_opens_another_file(memory: Cache, tmp_path: Path, owner: Any) -> None:
    fill(memory, HERE)
    add(memory, waiting("odd", HERE, ago(0)) | {"owner": owner, "owner_host": gethostname()})
    assert {one.token for one in recovery.left(session_on(memory, tmp_path))} == set(GOOD)


def test_an_entry_that_cannot_be_looked_for_keeps_no_other_from_it(memory: Cache, tmp_path: Path) -> None:
    """Whatever looking for it raises."""
    sent = {"outcome": "unfinished", "owner": "", "sent": ago(9)}
    odd = waiting("odd", HERE, ago(0)) | sent | {"command": "volume create data", "request": _REQUEST}
    good = waiting("good", HERE, ago(9)) | sent | {"command": "vm stop good-1", "objects": ["good-1"]}
    fill(memory, HERE)
    add(memory, odd, good)

    session = session_on(memory, tmp_path, Broken(vms=lambda _ids: [LISTED["vms"]]))
    recovered = recovery.recover(session)
    assert any("cannot be understood" in failure for failure in recovered.failures)
    assert (memory.journal.entry("good") or {})["outcome"] == "waiting"
    assert (memory.journal.entry("odd") or {})["settled"] is True


_REQUEST = {"name": "x", "size": 1, "location": "y", "before": []}


class Broken(FakeCloud):
    """One whose answer a library makes nothing of."""

    def volume_list(self, *_: Any, **__: Any) -> Any:
        raise AttributeError("of a library")
