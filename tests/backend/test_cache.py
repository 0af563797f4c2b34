"""Rows of the cache on a real server and on mongomock: valid rows are kept, invalid ones are refused."""

import gc
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from backend.cache import Cache
from backend.cache.documents import flatten, to_document, to_row
from backend.cache.keys import split_key
from backend.catalog import KINDS
from backend.kinds.model import Kind, Ref, Scope
from backend.lifecycle import Flight
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    IMAGE,
    SAMPLES,
    VM,
    ago,
    every_kind,
    following_locally,
    ids,
    item,
    items,
    many,
    vm_of,
)

VOLUME = KINDS["volume"]

# --- rows -------------------------------------------------------------------------------------------------------------


def by_column(kind: Kind, row: tuple[Any, ...]) -> dict[str, Any]:
    """What a cloud says of a row: all but what is ours."""
    said = {column.name: kind.value(row, column.name) for column in kind.listed}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


@every_kind
def test_a_row_comes_out_as_it_went_in(cache: Cache, kind: Kind) -> None:
    assert cache.rows.put(kind, HERE, [item(kind, "a")]) == (1, 0)
    (row,) = cache.rows.snapshot(kind, HERE)
    expected = item(kind, "a")
    assert by_column(kind, row) == {name: value for name, value in expected.items() if name not in ("extra", "tags")}
    for column in kind.columns:
        if column.type == "time":
            assert kind.value(row, column.name).utcoffset() == timedelta(0)
        if column.ours:
            assert kind.value(row, column.name) is None
    assert cache.rows.snapshot(kind, ELSEWHERE) == []
    assert cache.rows.count(kind, HERE) == 1
    document = cache.rows.document(kind, HERE, "a")
    assert document is not None
    assert document["_id"] == "aws/us-east-1/a"
    assert (document["cloud"], document["region"], document["id"]) == ("aws", "us-east-1", "a")
    assert timedelta(0) <= datetime.now(UTC) - document["refreshed"] < timedelta(minutes=1)
    assert document["refreshed"].utcoffset() == timedelta(0)


@every_kind
def test_a_cloud_may_say_nothing(cache: Cache, kind: Kind) -> None:
    unsaid = {column.name: None for column in kind.columns}
    cache.rows.put(kind, HERE, [{**unsaid, "id": "a"}, {"id": "b"}])
    for row in cache.rows.snapshot(kind, HERE):
        assert {value for column, value in by_column(kind, row).items() if column != "id"} == {None}
    assert ids(cache, kind) == ["a", "b"]
    assert cache.rows.put(kind, HERE, [{"id": "b"}], cache.rows.known(kind, HERE)) == (0, 0)


@every_kind
def test_what_is_without_an_id_is_no_row(cache: Cache, kind: Kind) -> None:
    assert cache.rows.put(kind, HERE, [item(kind, ""), {"name": "x"}]) == (0, 0)
    assert cache.rows.snapshot(kind, HERE) == []


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
    with following_locally(cache) as reported:
        found = 0
        for kind in KINDS.values():
            columns = [one.name for one in kind.columns if one.type == type_ and one.name not in ("id", "region")]
            cache.rows.put(kind, HERE, [item(kind, "a", **dict.fromkeys(columns, said))])
            # What is announced is what is stored.
            for row in (*cache.rows.snapshot(kind, HERE), *reported[-1].upserts):
                for column in columns:
                    assert kind.value(row, column) == kept
                    assert type(kind.value(row, column)) is type(kept)
                    found += 1
        assert found > 1


NAMES = [
    "a.b", "$set", "a/b/c", "caf\u00e9", "cafe\u0301", "\u6771\u4eac", "\U0001f680\U0001f469\u200d\U0001f680",
    "\u202eevil", "\x00nul\x1b[31m", "[/]bad", "a" * 300, " ", "x\ny\tz", "\ufffe\uffff\U0010ffff",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_any_kind(cache: Cache, name: str) -> None:
    kind = KINDS["keypair"]
    cache.rows.put(kind, HERE, [item(kind, "key-1", name=name)])
    (row,) = cache.rows.snapshot(kind, HERE)
    assert kind.value(row, "name") == name
    assert cache.rows.named(kind, HERE, name) == [row]
    assert cache.rows.put(kind, HERE, [item(kind, "key-1", name=name)], cache.rows.known(kind, HERE)) == (0, 0)


@pytest.mark.parametrize("native", ["a/b/c", "a.b$c", "\u6771\u4eac", " x "])
def test_ids_of_any_kind(cache: Cache, native: str) -> None:
    kind = KINDS["keypair"]
    cache.rows.put(kind, HERE, [item(kind, native)])
    document = cache.rows.document(kind, HERE, native)
    assert document is not None
    assert split_key(document["_id"]) == (HERE, native)
    assert cache.rows.remove(kind, HERE, [native]) == 1
    assert cache.rows.document(kind, HERE, native) is None


TAGS = {
    "a.b.c": "1", "$set": "2", "$": "", "..": "dots", "": "empty", "k" * 127: "v" * 255,
    "\U0001f680" * 127: "\u6771", "aws:autoscaling:groupName": "g", "Name": "web",
}  # fmt: skip


@every_kind
def test_tags_of_any_kind(cache: Cache, kind: Kind) -> None:
    extra = {"price.date": "2025", "nested": {"deep": [1, {"x": None}]}, "when": SAMPLES["time"]}
    cache.rows.put(kind, HERE, [item(kind, "a", tags=TAGS, extra=extra)])
    document = cache.rows.document(kind, HERE, "a")
    assert document is not None
    assert {tag["key"]: tag["value"] for tag in document["extra"]["tags"]} == TAGS
    assert document["extra"] == {**extra, "tags": document["extra"]["tags"]}
    shown = dict(flatten(document["extra"]))
    assert shown["tags.a.b.c"] == "1"
    assert shown["tags." + "k" * 127] == "v" * 255
    assert shown["nested.deep.1"] == "1"
    cache.rows.put(kind, HERE, [item(kind, "a", tags={})], cache.rows.known(kind, HERE))
    document = cache.rows.document(kind, HERE, "a")
    assert document is not None
    assert document["extra"] == {"tags": []}


def test_found_by_id_before_name(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "i-1", name="twin"), item(VM, "i-2", name="twin"), item(VM, "i-3", name="i-1")])
    cache.rows.put(VM, ELSEWHERE, [item(VM, "i-9", name="twin")])
    assert [VM.value(row, "id") for row in cache.rows.named(VM, HERE, "i-1")] == ["i-1"]
    assert sorted(VM.value(row, "id") for row in cache.rows.named(VM, HERE, "twin")) == ["i-1", "i-2"]
    assert cache.rows.named(VM, HERE, "i-9") == []


def test_search_in_the_cache(cache: Cache) -> None:
    named = {"i-1": "Ubuntu jammy 22.04", "i-2": "ubuntu noble (24.04)", "i-3": "debian"}
    listed = [item(IMAGE, native, name=name, architecture="arm64") for native, name in named.items()]
    listed[2]["tags"] = {"team": "Kern"}
    cache.rows.put(IMAGE, HERE, listed)
    cache.rows.put(IMAGE, ELSEWHERE, items(IMAGE, "i-4", name="ubuntu"))

    def found(*words: str, limit: int = 9) -> list[str]:
        return [IMAGE.value(row, "id") for row in cache.rows.search(IMAGE, HERE, words, limit)]

    assert found("ubuntu") == ["i-1", "i-2"]
    assert found("ubuntu", "arm64", "i-2") == ["i-2"]
    assert found("(24.04)") == ["i-2"]
    assert found("22?04") == []
    assert found("kern") == found("team") == ["i-3"]
    assert found(limit=2) == ["i-1", "i-2"]


def test_rows_keep_the_order_they_were_first_seen_in(cache: Cache) -> None:
    cache.rows.put(IMAGE, HERE, items(IMAGE, "c", "a", "b"))
    cache.rows.put(IMAGE, HERE, items(IMAGE, "b", "a", name="new"))
    assert [IMAGE.value(row, "id") for row in cache.rows.snapshot(IMAGE, HERE)] == ["c", "a", "b"]


@every_kind
def test_what_is_ours_no_listing_says(cache: Cache, kind: Kind) -> None:
    assert {column.name for column in kind.columns if column.ours} == ({"flight", "protected"} if kind is VM else set())
    ours = {"flight": Flight("stop", ago(0)), "protected": True}
    cache.rows.put(kind, HERE, [item(kind, "a", **ours)])
    (row,) = cache.rows.snapshot(kind, HERE)
    assert {kind.value(row, name) for name in ours if name in kind.index} <= {None}
    document = cache.rows.document(kind, HERE, "a")
    assert document is not None
    assert not document.keys() & ours.keys()


@pytest.mark.parametrize(("said", "shown"), [("eu-west-1", "eu-west-1"), (None, None), (7, "7")])
def test_a_location_is_in_the_region_that_the_cloud_says(cache: Cache, said: Any, shown: str | None) -> None:
    """An endpoint may call its region otherwise than the configuration, by which its rows are found."""
    kind = KINDS["location"]
    cache.rows.put(kind, HERE, [item(kind, "use1-az1", region=said)])
    assert [kind.value(row, "region") for row in cache.rows.snapshot(kind, HERE)] == [shown]
    assert (cache.rows.document(kind, HERE, "use1-az1") or {})["region"] == HERE.region
    assert cache.rows.snapshot(kind, Scope("aws", "eu-west-1")) == []


def test_a_location_of_an_earlier_version_is_in_the_region_it_was_listed_in(cache: Cache) -> None:
    kind = KINDS["location"]
    cache.rows.put(kind, HERE, [item(kind, "use1-az1")])
    with cache.store.use():
        cache.store.database["locations"].update_one({}, {"$unset": {"region_name": 1}})
    assert [kind.value(row, "region") for row in cache.rows.snapshot(kind, HERE)] == ["us-east-1"]


# --- lists and tags ---------------------------------------------------------------------------------------------------


def test_a_volume_has_every_vm_that_it_is_attached_to(cache: Cache) -> None:
    cache.rows.put(VOLUME, HERE, [item(VOLUME, "a", vm=["i-2", "i-1"]), item(VOLUME, "b", vm=None)])
    assert [VOLUME.value(row, "vm") for row in cache.rows.snapshot(VOLUME, HERE)] == [("i-2", "i-1"), None]
    again = [item(VOLUME, "a", vm=["i-2", "i-1"]), item(VOLUME, "b", vm=[])]
    assert cache.rows.put(VOLUME, HERE, again, cache.rows.known(VOLUME, HERE)) == (0, 0)
    assert cache.rows.put(VOLUME, HERE, [item(VOLUME, "a", vm=["i-2"])]) == (0, 1)
    assert [VOLUME.value(row, "vm") for row in cache.rows.snapshot(VOLUME, HERE)] == [("i-2",), None]


@pytest.mark.parametrize(
    ("written", "shown"),
    [("i-1", ("i-1",)), ("", None), ([], None), (["i-1", 5, None, "i-2"], ("i-1", "i-2")), (5, None), ({"a": 1}, None)],
)
def test_a_volume_of_an_earlier_version_or_a_damaged_one_is_read(written: Any, shown: Any) -> None:
    document = to_document(VOLUME, HERE, item(VOLUME, "a"), datetime.now(UTC)) | {"vm": written}
    row = to_row(VOLUME, HERE, document)
    assert row is not None
    assert VOLUME.value(row, "vm") == shown


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if "tags" in kind.index], ids=lambda kind: kind.name)
def test_tags_are_a_column(cache: Cache, kind: Kind) -> None:
    """The user's own come first: a name stands in a column of its own, and AWS's are nobody's words."""
    tags = {"aws:autoscaling:groupName": "g", "Name": "a", "team": "core", "a.$b": ""}
    cache.rows.put(kind, HERE, [item(kind, "a", tags=tags), item(kind, "b", tags={})])
    first, second = (kind.value(row, "tags") for row in cache.rows.snapshot(kind, HERE))
    assert first == (("a.$b", ""), ("team", "core"), ("Name", "a"), ("aws:autoscaling:groupName", "g"))
    assert second is None
    with following_locally(cache) as reported:
        cache.rows.put(kind, HERE, [item(kind, "b", tags={"team": "edge"})])
    assert [kind.value(row, "tags") for change in reported for row in change.upserts] == [(("team", "edge"),)]


@every_kind
def test_every_column_is_a_field_of_the_document(cache: Cache, kind: Kind) -> None:
    cache.rows.put(kind, HERE, [item(kind, "a")])
    (document,) = cache.store.database[kind.plural].find({})
    assert set(document) >= {column.name for column in kind.columns if not column.ours}


def test_tags_of_an_earlier_version_are_found(cache: Cache) -> None:
    """Of images that are listed as they were before, no document is written again."""
    cache.rows.put(IMAGE, HERE, [item(IMAGE, "a", tags={"team": "core"})])
    with cache.store.use():
        cache.store.database["images"].update_one({}, {"$unset": {"tags": 1}})
    assert [IMAGE.value(row, "tags") for row in cache.rows.snapshot(IMAGE, HERE)] == [(("team", "core"),)]


@pytest.mark.parametrize("damaged", [5, "team=core", {"team": "core"}, [5, {"key": "team"}, {"key": 1, "value": 2}]])
def test_damaged_tags_are_none(damaged: Any) -> None:
    document = to_document(VM, HERE, item(VM, "a"), datetime.now(UTC)) | {"tags": damaged}
    row = to_row(VM, HERE, document)
    assert row is not None
    assert VM.value(row, "tags") is None


@pytest.mark.parametrize("kind", [IMAGE, VM], ids=lambda kind: kind.name)
def test_the_garbage_collector_does_not_track_rows(kind: Kind) -> None:
    document = to_document(kind, HERE, item(kind, "a", tags={"team": "core"}), datetime.now(UTC))
    row = to_row(kind, HERE, document)
    for _ in "row", "tags", "tag":  # the innermost first, one level a collection
        gc.collect()
    assert not gc.is_tracked(row)


# --- put --------------------------------------------------------------------------------------------------------------


@every_kind
def test_unchanged_rows_are_not_rewritten(cache: Cache, kind: Kind) -> None:
    first = items(kind, "a", "b", "c")
    assert cache.rows.put(kind, HERE, first) == (3, 0)
    before = {native: cache.rows.document(kind, HERE, native) for native in "abc"}
    with following_locally(cache) as reported:
        known = cache.rows.known(kind, HERE)
        assert len(known.hashes) == 3
        assert cache.rows.put(kind, HERE, first, known) == (0, 0)
        assert not known.hashes
        assert cache.rows.put(kind, HERE, first) == (0, 0)  # nor where nothing is known but what the cache says
        assert reported == []
        second = [*items(kind, "a", "c"), item(kind, "b", name="other"), item(kind, "d")]
        assert cache.rows.put(kind, HERE, second, cache.rows.known(kind, HERE)) == (1, 1)
        assert [kind.value(row, "id") for change in reported for row in change.upserts] == ["b", "d"]
    after = {native: cache.rows.document(kind, HERE, native) for native in "abc"}
    assert after["a"] == before["a"]
    assert after["c"] == before["c"]
    assert after["b"] != before["b"]
    assert ids(cache, kind) == ["a", "b", "c", "d"]


def test_a_change_of_extra_alone_is_a_change(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", tags={"x": "1"})])
    assert cache.rows.put(VM, HERE, [item(VM, "a", tags={"x": "2"})], cache.rows.known(VM, HERE)) == (0, 1)


def test_the_same_id_twice(cache: Cache) -> None:
    page = [item(VM, "a", name="first"), item(VM, "b"), item(VM, "a", name="last")]
    assert cache.rows.put(VM, HERE, page) == (2, 0)
    assert vm_of(cache, "a")["name"] == "last"
    assert ids(cache, VM) == ["a", "b"]
    assert cache.rows.put(VM, HERE, [item(VM, "a", name="last")]) == (0, 0)  # on the next page again


def test_an_image_listed_as_it_is_and_otherwise_too_on_one_page_stays(cache: Cache) -> None:
    cache.rows.put(IMAGE, HERE, [{**item(IMAGE, "a", name="as it is"), "digest": 1}])
    known = cache.rows.known(IMAGE, HERE)
    page = [{**item(IMAGE, "a", name="otherwise"), "digest": 2}, {"digest": 1}]
    assert cache.rows.put(IMAGE, HERE, page, known) == (0, 0)
    assert [IMAGE.value(row, "name") for row in cache.rows.snapshot(IMAGE, HERE)] == ["as it is"]
    assert cache.rows.left(IMAGE, HERE, known) == {}
    assert list(cache.rows.known(IMAGE, HERE).hashes) == [1]


def test_a_refresh_tells_of_rows_that_another_has_written_since_it_began(cache: Cache) -> None:
    known = cache.rows.known(IMAGE, HERE)
    cache.rows.put(IMAGE, HERE, items(IMAGE, "a"))
    with following_locally(cache) as reported:
        assert cache.rows.put(IMAGE, HERE, items(IMAGE, "a"), known) == (0, 0)
    assert [IMAGE.value(row, "id") for change in reported for row in change.upserts] == ["a"]


def test_many_rows(cache: Cache) -> None:
    assert cache.rows.put(VM, HERE, many(VM, 2_500)) == (2_500, 0)
    assert cache.rows.count(VM, HERE) == len(cache.rows.snapshot(VM, HERE)) == 2_500
    assert cache.rows.remove(VM, HERE, [f"x-{number:05}" for number in range(2_000)]) == 2_000
    assert cache.rows.count(VM, HERE) == 500


def test_threads_that_put_the_same_new_rows(cache: Cache) -> None:
    # mongomock scans everything for each row.
    count = 1_000 if cache.mode == "embedded" else 100
    barrier = threading.Barrier(4)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            barrier.wait(10)
            cache.rows.put(VM, HERE, many(VM, count, name=str(number)))
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
    cache.rows.put(VM, HERE, items(VM, "a", "b"))
    cache.rows.put(VM, ELSEWHERE, items(VM, "a"))
    with following_locally(cache) as reported:
        assert cache.rows.remove(VM, HERE, ["a", "gone"]) == 1
        assert cache.rows.remove(VM, HERE, []) == 0
    assert [change.removed for change in reported] == [(Ref(HERE, "a"), Ref(HERE, "gone"))]
    assert ids(cache, VM) == ["b"]
    assert ids(cache, VM, ELSEWHERE) == ["a"]
