"""The cache on a real server and on mongomock: what goes in comes out, what does not fit stays out."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, open_cache
from backend.cache.documents import flatten, split_key, validator
from backend.cache.opening import NO_MONGOD, place_of
from backend.config import MongoDB
from backend.errors import CacheError, ConfigError
from backend.format import Flight
from backend.kinds import KINDS, Kind
from backend.secret import Secret
from tests.backend.cache_parts import (
    ELSEWHERE,
    HERE,
    IMAGE,
    SAMPLES,
    VM,
    Standalone,
    ago,
    fly,
    ids,
    item,
    items,
    many,
    vm_of,
)

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def by_column(kind: Kind, row: tuple[Any, ...]) -> dict[str, Any]:
    """What a cloud says of a row: all but what is ours, and the region, which is where it was asked."""
    return {column.name: kind.value(row, column.name) for column in kind.listed if column.name != "region"}


# --- rows ------------------------------------------------------------------------------------------------------------


@every_kind
def test_a_row_comes_out_as_it_went_in(cache: Cache, kind: Kind) -> None:
    assert cache.put(kind, HERE, [item(kind, "a")]) == (1, 0)
    (row,) = cache.rows(kind, HERE)
    expected = item(kind, "a")
    expected.pop("extra")
    expected.pop("region", None)
    assert by_column(kind, row) == expected
    for column in kind.columns:
        if column.type == "time":
            assert kind.value(row, column.name).utcoffset() == timedelta(0)
        if column.ours:
            assert kind.value(row, column.name) is None
    assert cache.rows(kind, ELSEWHERE) == []
    assert cache.count(kind, HERE) == 1
    document = cache.document(kind, HERE, "a")
    assert document is not None
    assert document["_id"] == "aws/us-east-1/a"
    assert (document["cloud"], document["region"], document["id"]) == ("aws", "us-east-1", "a")
    assert timedelta(0) <= datetime.now(UTC) - document["refreshed"] < timedelta(minutes=1)
    assert document["refreshed"].utcoffset() == timedelta(0)


@every_kind
def test_a_cloud_may_say_nothing(cache: Cache, kind: Kind) -> None:
    unsaid = {column.name: None for column in kind.columns}
    cache.put(kind, HERE, [{**unsaid, "id": "a"}, {"id": "b"}])
    for row in cache.rows(kind, HERE):
        assert {value for column, value in by_column(kind, row).items() if column != "id"} == {None}
    assert ids(cache, kind) == ["a", "b"]
    assert cache.put(kind, HERE, [{"id": "b"}], cache.known(kind, HERE)) == (0, 0)


@every_kind
def test_what_is_without_an_id_is_no_row(cache: Cache, kind: Kind) -> None:
    assert cache.put(kind, HERE, [item(kind, ""), {"name": "x"}]) == (0, 0)
    assert cache.rows(kind, HERE) == []


WRONG: list[tuple[str, Any, Any]] = [
    ("text", 12, "12"),
    ("text", True, None),
    ("state", 80, "80"),
    ("int", "12", 12),
    ("int", "twelve", None),
    ("int", [1], None),
    ("int", float("inf"), None),
    ("int", float("nan"), None),
    ("int", 2**63, None),
    ("int", True, None),
    ("mib", "512", 512.0),
    ("gib", "much", None),
    ("gib", 2**70, None),
    ("usd", "0.5", 0.5),
    ("usd", datetime.now(UTC), None),
    ("time", "2024", None),
    ("time", 1_700_000_000, None),
    ("time", "2024-01-01T00:00:00Z", None),
    ("time", datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (
        "time",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize(("type_", "said", "kept"), WRONG)
def test_values_of_the_wrong_type(cache: Cache, type_: str, said: Any, kept: Any) -> None:
    with following_locally(cache) as told:
        found = 0
        for kind in KINDS.values():
            columns = [one.name for one in kind.columns if one.type == type_ and one.name not in ("id", "region")]
            cache.put(kind, HERE, [item(kind, "a", **dict.fromkeys(columns, said))])
            # What is announced is what is stored.
            for row in (*cache.rows(kind, HERE), *told[-1].upserts):
                for column in columns:
                    assert kind.value(row, column) == kept
                    assert type(kind.value(row, column)) is type(kept)
                    found += 1
        assert found > 1


class following_locally:
    """What a cache announces while the block runs."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._told: list[Any] = []

    def __enter__(self) -> list[Any]:
        self._cache.listen(self._told.append)
        return self._told

    def __exit__(self, *_: object) -> None:
        self._cache.unlisten(self._told.append)


NAMES = [
    "a.b", "$set", "a/b/c", "caf\u00e9", "cafe\u0301", "\u6771\u4eac", "\U0001f680\U0001f469\u200d\U0001f680",
    "\u202eevil", "\x00nul\x1b[31m", "[/]bad", "a" * 300, " ", "x\ny\tz", "\ufffe\uffff\U0010ffff",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_any_kind(cache: Cache, name: str) -> None:
    kind = KINDS["keypair"]
    cache.put(kind, HERE, [item(kind, "key-1", name=name)])
    (row,) = cache.rows(kind, HERE)
    assert kind.value(row, "name") == name
    assert cache.named(kind, HERE, name) == [row]
    assert cache.put(kind, HERE, [item(kind, "key-1", name=name)], cache.known(kind, HERE)) == (0, 0)


@pytest.mark.parametrize("native", ["a/b/c", "a.b$c", "\u6771\u4eac", " x "])
def test_ids_of_any_kind(cache: Cache, native: str) -> None:
    kind = KINDS["keypair"]
    cache.put(kind, HERE, [item(kind, native)])
    document = cache.document(kind, HERE, native)
    assert document is not None
    assert split_key(document["_id"]) == (HERE, native)
    assert cache.remove(kind, HERE, [native]) == 1
    assert cache.document(kind, HERE, native) is None


TAGS = {
    "a.b.c": "1", "$set": "2", "$": "", "..": "dots", "": "empty", "k" * 127: "v" * 255,
    "\U0001f680" * 127: "\u6771", "aws:autoscaling:groupName": "g", "Name": "web",
}  # fmt: skip


@every_kind
def test_tags_of_any_kind(cache: Cache, kind: Kind) -> None:
    extra = {"tags": TAGS, "price.date": "2025", "nested": {"deep": [1, {"x": None}]}, "when": SAMPLES["time"]}
    cache.put(kind, HERE, [item(kind, "a", extra=extra)])
    document = cache.document(kind, HERE, "a")
    assert document is not None
    assert {tag["key"]: tag["value"] for tag in document["extra"]["tags"]} == TAGS
    assert document["extra"] | {"tags": TAGS} == extra
    shown = dict(flatten(document["extra"]))
    assert shown["tags.a.b.c"] == "1"
    assert shown["tags." + "k" * 127] == "v" * 255
    assert shown["nested.deep.1"] == "1"
    cache.put(kind, HERE, [item(kind, "a", extra={"tags": {}})], cache.known(kind, HERE))
    document = cache.document(kind, HERE, "a")
    assert document is not None
    assert document["extra"] == {"tags": []}


def test_found_by_id_before_name(cache: Cache) -> None:
    cache.put(VM, HERE, [item(VM, "i-1", name="twin"), item(VM, "i-2", name="twin"), item(VM, "i-3", name="i-1")])
    cache.put(VM, ELSEWHERE, [item(VM, "i-9", name="twin")])
    assert [VM.value(row, "id") for row in cache.named(VM, HERE, "i-1")] == ["i-1"]
    assert sorted(VM.value(row, "id") for row in cache.named(VM, HERE, "twin")) == ["i-1", "i-2"]
    assert cache.named(VM, HERE, "i-9") == []


def test_rows_keep_the_order_they_were_first_seen_in(cache: Cache) -> None:
    cache.put(IMAGE, HERE, items(IMAGE, "c", "a", "b"))
    cache.put(IMAGE, HERE, items(IMAGE, "b", "a", name="new"))
    assert [IMAGE.value(row, "id") for row in cache.rows(IMAGE, HERE)] == ["c", "a", "b"]


@every_kind
def test_what_is_ours_no_listing_says(cache: Cache, kind: Kind) -> None:
    assert {column.name for column in kind.columns if column.ours} == ({"flight", "protected"} if kind is VM else set())
    ours = {"flight": Flight("stop", ago(0)), "protected": True}
    cache.put(kind, HERE, [item(kind, "a", **ours)])
    (row,) = cache.rows(kind, HERE)
    assert {kind.value(row, name) for name in ours if name in kind.index} <= {None}
    document = cache.document(kind, HERE, "a")
    assert document is not None
    assert not document.keys() & ours.keys()


@pytest.mark.parametrize("said", ["eu-west-1", None, 7])
def test_a_location_is_in_the_region_it_was_listed_in(cache: Cache, said: Any) -> None:
    kind = KINDS["location"]
    cache.put(kind, HERE, [item(kind, "use1-az1", region=said)])
    assert [kind.value(row, "region") for row in cache.rows(kind, HERE)] == ["us-east-1"]


# --- put -------------------------------------------------------------------------------------------------------------


@every_kind
def test_unchanged_rows_are_not_rewritten(cache: Cache, kind: Kind) -> None:
    first = items(kind, "a", "b", "c")
    assert cache.put(kind, HERE, first) == (3, 0)
    before = {native: cache.document(kind, HERE, native) for native in "abc"}
    with following_locally(cache) as told:
        known = cache.known(kind, HERE)
        assert len(known.hashes) == 3
        assert cache.put(kind, HERE, first, known) == (0, 0)
        assert not known.hashes
        assert cache.put(kind, HERE, first) == (0, 0)  # nor where nothing is known but what the cache says
        assert told == []
        second = [*items(kind, "a", "c"), item(kind, "b", name="other"), item(kind, "d")]
        assert cache.put(kind, HERE, second, cache.known(kind, HERE)) == (1, 1)
        assert [kind.value(row, "id") for change in told for row in change.upserts] == ["b", "d"]
    after = {native: cache.document(kind, HERE, native) for native in "abc"}
    assert after["a"] == before["a"]
    assert after["c"] == before["c"]
    assert after["b"] != before["b"]
    assert ids(cache, kind) == ["a", "b", "c", "d"]


def test_a_change_of_extra_alone_is_a_change(cache: Cache) -> None:
    cache.put(VM, HERE, [item(VM, "a", extra={"tags": {"x": "1"}})])
    assert cache.put(VM, HERE, [item(VM, "a", extra={"tags": {"x": "2"}})], cache.known(VM, HERE)) == (0, 1)


def test_the_same_id_twice(cache: Cache) -> None:
    page = [item(VM, "a", name="first"), item(VM, "b"), item(VM, "a", name="last")]
    assert cache.put(VM, HERE, page) == (2, 0)
    assert vm_of(cache, "a")["name"] == "last"
    assert ids(cache, VM) == ["a", "b"]
    assert cache.put(VM, HERE, [item(VM, "a", name="last")]) == (0, 0)  # on the next page again


def test_an_image_listed_as_it_is_and_otherwise_too_on_one_page_stays(cache: Cache) -> None:
    cache.put(IMAGE, HERE, [{**item(IMAGE, "a", name="as it is"), "digest": 1}])
    known = cache.known(IMAGE, HERE)
    page = [{**item(IMAGE, "a", name="otherwise"), "digest": 2}, {"digest": 1}]
    assert cache.put(IMAGE, HERE, page, known) == (0, 0)
    assert [IMAGE.value(row, "name") for row in cache.rows(IMAGE, HERE)] == ["as it is"]
    assert cache.left(IMAGE, HERE, known) == set()
    assert list(cache.known(IMAGE, HERE).hashes) == [1]


def test_a_refresh_tells_of_rows_that_another_has_written_since_it_began(cache: Cache) -> None:
    known = cache.known(IMAGE, HERE)
    cache.put(IMAGE, HERE, items(IMAGE, "a"))
    with following_locally(cache) as told:
        assert cache.put(IMAGE, HERE, items(IMAGE, "a"), known) == (0, 0)
    assert [IMAGE.value(row, "id") for change in told for row in change.upserts] == ["a"]


def test_a_flight_is_kept_through_a_listing(cache: Cache) -> None:
    cache.put(VM, HERE, [item(VM, "a", state="running")])
    fly(cache, "a", "stop", state="stopping")
    flight = vm_of(cache, "a")["flight"]
    assert flight.action == "stop"
    assert flight.overdue is False
    assert flight.since.utcoffset() == timedelta(0)
    with following_locally(cache) as told:
        # The same listing as before: what the command noted was none, so it must be written.
        assert cache.put(VM, HERE, [item(VM, "a", state="running")], cache.known(VM, HERE)) == (0, 1)
    assert vm_of(cache, "a")["flight"] == flight
    assert VM.value(told[0].upserts[0], "flight") == flight
    assert [VM.value(row, "id") for row in cache.flights(HERE)] == ["a"]
    cache.set_flight(HERE, "a", flight._replace(overdue=True))
    assert vm_of(cache, "a")["flight"].overdue is True
    cache.set_flight(HERE, "a", None)
    assert vm_of(cache, "a")["flight"] is None
    assert cache.flights(HERE) == []


def test_a_flight_knows_the_state_before(cache: Cache) -> None:
    cache.put(VM, HERE, [item(VM, "a", state="running")])
    cache.set_flight(HERE, "a", Flight("stop", ago(0), before="running"), "stopping")
    assert vm_of(cache, "a")["flight"].before == "running"
    # One of an earlier version did not say it; one of a later version may say more.
    with cache.use():
        flight = {"action": "stop", "since": ago(0), "of a later version": 1}
        cache.database["vms"].update_one({"_id": HERE.key("a")}, {"$set": {"flight": flight}})
    found = vm_of(cache, "a")["flight"]
    assert (found.action, found.overdue, found.before) == ("stop", False, None)


def test_one_alone_claims_a_vm(cache: Cache) -> None:
    cache.put(VM, HERE, items(VM, "a", "b"))
    first, second = Flight("stop", ago(5), before="running"), Flight("delete", ago(0), before="stopping")
    with following_locally(cache) as told:
        assert cache.claim(HERE, "a", first, None)
        claimed = vm_of(cache, "a")["flight"]
        assert (claimed.action, claimed.before, claimed.overdue) == ("stop", "running", False)
        assert not cache.claim(HERE, "a", second, None)
        assert not cache.claim(HERE, "a", second, claimed._replace(action="start"))
        assert not cache.claim(HERE, "a", second, claimed._replace(since=ago(60)))
        assert vm_of(cache, "a")["flight"] == claimed
        assert not cache.claim(HERE, "b", second, claimed)
        assert not cache.claim(HERE, "nobody", second, None)
        assert not cache.claim(ELSEWHERE, "a", second, None)
        cache.set_flight(HERE, "a", claimed._replace(overdue=True))
        assert cache.claim(HERE, "a", second, claimed)  # of one that was given up on meanwhile
    assert vm_of(cache, "a")["flight"].action == "delete"
    assert [VM.value(row, "flight").action for change in told for row in change.upserts] == ["stop", "stop", "delete"]
    assert vm_of(cache, "b")["flight"] is None
    assert ids(cache, VM) == ["a", "b"]


def test_of_many_that_claim_at_once_one_alone_does(cache: Cache) -> None:
    cache.put(VM, HERE, items(VM, "a"))
    barrier = threading.Barrier(8)
    won: list[int] = []

    def work(number: int) -> None:
        barrier.wait(10)
        if cache.claim(HERE, "a", Flight("stop", ago(number)), None):
            won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1


@pytest.mark.parametrize("on", [True, False, None])
def test_what_protects_a_vm_is_kept_through_a_listing(cache: Cache, on: bool | None) -> None:
    cache.put(VM, HERE, [item(VM, "a", state="running")])
    with following_locally(cache) as told:
        cache.set_protected(HERE, "a", on)
        assert vm_of(cache, "a")["protected"] is on
        assert cache.put(VM, HERE, [item(VM, "a", state="running")], cache.known(VM, HERE)) == (0, 0)
        assert cache.put(VM, HERE, [item(VM, "a", state="stopped")], cache.known(VM, HERE)) == (0, 1)
    assert vm_of(cache, "a")["protected"] is on
    assert [VM.value(row, "protected") for change in told for row in change.upserts] == [on, on]
    cache.set_protected(HERE, "nobody", True)
    assert ids(cache, VM) == ["a"]


def test_whose_protection_was_not_asked_for_lately(cache: Cache) -> None:
    states = {"a": "running", "b": "stopped", "c": "shutting-down", "d": "terminated", "e": "pending"}
    cache.put(VM, HERE, [item(VM, native, state=state) for native, state in states.items()])
    cache.put(VM, ELSEWHERE, [item(VM, "z", state="running")])
    assert sorted(cache.unasked(HERE, ago(60), 10)) == ["a", "b", "e"]
    for native, seconds, on in (("a", 90, True), ("b", 120, None), ("e", 30, False)):
        cache.set_protected(HERE, native, on)
        with cache.use():
            fields = {"protection_asked": ago(seconds)}
            cache.database["vms"].update_one({"_id": HERE.key(native)}, {"$set": fields})
    assert cache.unasked(HERE, ago(60), 10) == ["b", "a"]  # the longest ago first
    assert cache.unasked(HERE, ago(60), 1) == ["b"]
    cache.put(VM, HERE, [item(VM, "new", state="pending")])
    assert cache.unasked(HERE, ago(60), 2) == ["new", "b"]  # of which it never was before all


def test_a_row_may_come_with_its_flight(cache: Cache) -> None:
    flight = Flight("boot", ago(0))
    with following_locally(cache) as told:
        assert cache.put(VM, HERE, [item(VM, "a", state="pending")], flight=flight) == (1, 0)
    [change] = told  # one write: nobody sees the VM without its flight
    assert VM.value(change.upserts[0], "flight").action == "boot"
    assert vm_of(cache, "a")["flight"].action == "boot"
    assert vm_of(cache, "a")["state"] == "pending"


def test_a_reboot_is_shown_while_ec2_says_running(cache: Cache) -> None:
    cache.put(VM, HERE, [item(VM, "a", state="running"), item(VM, "b", state="stopped")])
    fly(cache, "a", "reboot")
    fly(cache, "b", "reboot")
    assert [vm_of(cache, native)["state"] for native in "ab"] == ["rebooting", "stopped"]


def test_taking_off_makes_no_row(cache: Cache) -> None:
    cache.set_flight(HERE, "nobody", Flight("stop", ago(0)))
    assert cache.rows(VM, HERE) == []


def test_vms_that_move_by_themselves_are_in_flight(cache: Cache) -> None:
    states = {"a": "pending", "b": "stopping", "c": "shutting-down", "d": "running", "e": "stopped"}
    cache.put(VM, HERE, [item(VM, native, state=state) for native, state in states.items()])
    cache.put(VM, ELSEWHERE, [item(VM, "z", state="pending")])
    assert sorted(VM.value(row, "id") for row in cache.flights(HERE)) == ["a", "b", "c"]


def test_many_rows(cache: Cache) -> None:
    assert cache.put(VM, HERE, many(VM, 2_500)) == (2_500, 0)
    assert cache.count(VM, HERE) == len(cache.rows(VM, HERE)) == 2_500
    assert cache.remove(VM, HERE, [f"x-{number:05}" for number in range(2_000)]) == 2_000
    assert cache.count(VM, HERE) == 500


def test_threads_that_put_the_same_new_rows(cache: Cache) -> None:
    # mongomock scans everything for each row.
    count = 1_000 if cache.mode == "embedded" else 100
    barrier = threading.Barrier(4)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            barrier.wait(10)
            cache.put(VM, HERE, many(VM, count, name=str(number)))
        except BaseException as error:  # noqa: BLE001 - seen by the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert ids(cache, VM) == [f"x-{number:05}" for number in range(count)]


def test_removing(cache: Cache) -> None:
    cache.put(VM, HERE, items(VM, "a", "b"))
    cache.put(VM, ELSEWHERE, items(VM, "a"))
    with following_locally(cache) as told:
        assert cache.remove(VM, HERE, ["a", "gone"]) == 1
        assert cache.remove(VM, HERE, []) == 0
    assert [change.removed for change in told] == [("a", "gone")]
    assert ids(cache, VM) == ["b"]
    assert ids(cache, VM, ELSEWHERE) == ["a"]


# --- schema and indexes ----------------------------------------------------------------------------------------------

WRONG_BSON: dict[str, Any] = {
    "text": 1, "state": 1, "int": 1.5, "mib": "1", "gib": "1", "usd": "1", "time": "2024",
    "flag": "yes", "flight": {"action": "stop"},
}  # fmt: skip


def valid(kind: Kind) -> dict[str, Any]:
    keys = {"_id": HERE.key("a"), "cloud": "aws", "region": "us-east-1", "extra": {}, "refreshed": SAMPLES["time"]}
    return {**item(kind, "a"), **keys}


@every_kind
def test_the_server_refuses_what_does_not_fit(embedded: Cache, kind: Kind) -> None:
    collection = embedded.database[kind.plural]
    wrong = [{column.name: WRONG_BSON[column.type]} for column in kind.columns]
    wrong += [{"id": None}, {"cloud": None}, {"refreshed": None}, {"extra": []}]
    for fields in wrong:
        with pytest.raises(CacheError, match=r"at the embedded server\) refuses a document that does not fit"):  # noqa: SIM117
            with embedded.use():
                collection.insert_one({**valid(kind), **fields})
    assert embedded.count(kind, HERE) == 0
    with embedded.use():
        collection.insert_one(valid(kind))
    assert ids(embedded, kind) == ["a"]


def test_a_refused_update_is_a_sentence(embedded: Cache) -> None:
    embedded.put(VM, HERE, items(VM, "a"))
    wrong: Any = 80
    with pytest.raises(CacheError, match="does not fit the schema") as caught:
        embedded.set_flight(HERE, "a", None, wrong)
    assert caught.value.cure
    assert caught.value.__cause__ is None


def test_a_refused_page_is_a_sentence(embedded: Cache) -> None:
    schema = {"$jsonSchema": {"properties": {"name": {"enum": ["good"]}}}}
    embedded.database.command("collMod", "vms", validator=schema)
    with pytest.raises(CacheError, match="does not fit the schema"):
        embedded.put(VM, HERE, [item(VM, "a", name="good"), item(VM, "b", name="bad")])


@every_kind
def test_the_schema_is_made_from_kinds(embedded: Cache, kind: Kind) -> None:
    schema = embedded.database[kind.plural].options()["validator"]
    assert schema == validator(kind)
    assert set(schema["$jsonSchema"]["properties"]) >= {column.name for column in kind.columns}


@every_kind
def test_another_versions_schema_is_replaced(server_home: Path, embedded: Cache, kind: Kind) -> None:
    embedded.put(kind, HERE, items(kind, "a"))
    embedded.database.command("collMod", kind.plural, validator={"$jsonSchema": {"required": ["of another version"]}})
    other = open_cache(MongoDB(Secret("embedded"), embedded.database.name), server_home)
    try:
        assert other.database[kind.plural].options()["validator"] == validator(kind)
        assert other.put(kind, HERE, items(kind, "b"), other.known(kind, HERE)) == (1, 0)
        assert ids(other, kind) == ["a", "b"]
    finally:
        other.close()


@every_kind
def test_collections_are_indexed(cache: Cache, kind: Kind) -> None:
    keys = [entry["key"] for entry in cache.database[kind.plural].index_information().values()]
    assert [("cloud", 1), ("region", 1)] in keys


def test_the_journal_is_indexed(cache: Cache) -> None:
    keys = [index["key"] for index in cache.database["journal"].index_information().values()]
    assert [("at", -1), ("place", -1)] in keys


def test_dashboards_that_prepare_at_once(embedded: Cache) -> None:
    embedded.client.drop_database(embedded.database.name)
    barrier = threading.Barrier(4)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            barrier.wait(10)
            embedded.prepare()
        except BaseException as error:  # noqa: BLE001 - seen by the test
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert embedded.database["volumes"].options()["validator"] == validator(KINDS["volume"])


# --- opening ---------------------------------------------------------------------------------------------------------


def test_an_address_with_a_user(plain: Cache, standalone: Standalone) -> None:
    assert (plain.mode, plain.place, plain.note) == ("mongodb", standalone.socket, "")
    assert plain.put(VM, HERE, items(VM, "a")) == (1, 0)
    assert ids(plain, VM) == ["a"]
    assert plain.database["vms"].options()["validator"] == validator(VM)


def test_a_wrong_password(standalone: Standalone) -> None:
    with pytest.raises(CacheError, match="refuses the user name or the password") as caught:
        open_cache(MongoDB(Secret(standalone.uri(password="wr@ng")), "test"), Path("/nowhere"))
    assert standalone.socket in str(caught.value)
    assert "wr@ng" not in str(caught.value)
    assert "mongodb.uri" in caught.value.cure


def test_a_user_who_may_not_write(standalone: Standalone) -> None:
    with pytest.raises(CacheError, match="does not let this user do that") as caught:
        open_cache(MongoDB(Secret(standalone.uri("reader")), "test"), Path("/nowhere"))
    assert "readWrite" in caught.value.cure


def test_a_server_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(CacheError, match=f"127.0.0.1:{port}") as caught:
        open_cache(MongoDB(Secret(f"mongodb://user:hush@127.0.0.1:{port}/")), Path("/nowhere"))
    assert time.monotonic() - began < 4.5
    assert "hush" not in str(caught.value)
    assert "user" not in str(caught.value)
    assert str(caught.value).count("refused") == 1


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:p@hush@db.example.org/",
        "mongodb://user:p/hush@db.example.org/",
        "mongodb://user:hush",
        "mongodb://",
        "mongodb+srv://user:p@hush@db.example.org/",
        "mongodb+srv://user:hush",
        "mongodb+srv://user:hush@a.example.org,b.example.org/",
        "mongodb+srv://user:hush@a.example.org:27017/",
    ],
)
def test_an_address_that_is_none(uri: str) -> None:
    with pytest.raises(ConfigError, match="not a valid MongoDB address") as caught:
        open_cache(MongoDB(Secret(uri)), Path("/nowhere"))
    assert "hush" not in str(caught.value)
    assert "%40" in caught.value.cure
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("mongodb://user:p%40ss@db.example.org/cm?retryWrites=true", "db.example.org:27017"),
        ("mongodb://a.example.org,b.example.org:27018/?replicaSet=rs", "a.example.org:27017, b.example.org:27018"),
        ("mongodb://user:hush@%2Ftmp%2Fx.sock/", "/tmp/x.sock"),  # noqa: S108 - never opened
        ("mongodb://[::1]:27018", "::1:27018"),
        ("mongodb+srv://user:p%40ss@cluster.example.org/cm?retryWrites=true", "cluster.example.org"),
        ("mongodb+srv://cluster.example.org", "cluster.example.org"),
        ("mongodb+srv://user:hush@cluster.example.org/?w=majority", "cluster.example.org"),
    ],
)
def test_a_place_names_no_user(uri: str, place: str) -> None:
    assert place_of(uri) == place


def test_no_mongod_means_memory(tmp_path: Path) -> None:
    opened = open_cache(MongoDB(), tmp_path, find=lambda: None)
    try:
        assert (opened.mode, opened.note) == ("memory", NO_MONGOD)
        opened.put(VM, HERE, items(VM, "a"))
        assert ids(opened, VM) == ["a"]
        assert not list(tmp_path.iterdir())
    finally:
        opened.close()


def test_a_mongod_that_does_not_run_means_memory(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho no libcrypto >&2\nexit 127\n")
    broken.chmod(0o755)
    opened = open_cache(MongoDB(), tmp_path / "home", find=lambda: str(broken))
    try:
        assert opened.mode == "memory"
        assert "no libcrypto" in opened.note
        assert "will not last" in opened.note
    finally:
        opened.close()


def test_memory_that_was_asked_for_has_no_note() -> None:
    opened = open_cache(MongoDB(Secret("memory")), Path("/nowhere"), find=lambda: None)
    assert (opened.mode, opened.note, opened.place) == ("memory", "", "memory")
    opened.close()


def test_what_is_embedded_lasts(server_home: Path, embedded: Cache) -> None:
    embedded.put(VM, HERE, items(VM, "a"))
    again = open_cache(MongoDB(Secret("embedded"), embedded.database.name), server_home)
    try:
        assert (again.mode, again.note) == ("embedded", "")
        assert ids(again, VM) == ["a"]
    finally:
        again.close()
