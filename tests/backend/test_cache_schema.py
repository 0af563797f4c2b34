"""The cache's schema and indexes on a real server: a wrong document is refused with a sentence."""

import threading
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, open_cache
from backend.cache.documents import to_document, validator
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.errors import CacheError
from backend.kinds.model import Kind
from backend.secret import Secret
from tests.backend.cache_support import HERE, SAMPLES, VM, every_kind, ids, item, items, set_flight

WRONG_BSON: dict[str, Any] = {
    "text": 1, "state": 1, "int": 1.5, "mib": "1", "gib": "1", "usd": "1", "time": "2024",
    "flag": "yes", "flight": {"action": "stop"}, "list": ["x"], "tags": ["x"],
}  # fmt: skip


def valid(kind: Kind) -> dict[str, Any]:
    return to_document(kind, HERE, item(kind, "a"), SAMPLES["time"])


@every_kind
def test_the_server_refuses_what_does_not_fit(embedded: Cache, kind: Kind) -> None:
    collection = embedded.store.database[kind.plural]
    wrong = [{name: WRONG_BSON[column.type]} for name, column in zip(kind.fields, kind.columns, strict=True)]
    wrong += [{"id": None}, {"cloud": None}, {"refreshed": None}, {"extra": []}]
    for fields in wrong:
        with pytest.raises(CacheError, match=r"at the embedded server\) refuses a document that does not fit"):  # noqa: SIM117
            with embedded.store.use():
                collection.insert_one({**valid(kind), **fields})
    assert embedded.rows.count(kind, HERE) == 0
    with embedded.store.use():
        collection.insert_one(valid(kind))
    assert ids(embedded, kind) == ["a"]


def test_a_refused_update_is_a_sentence(embedded: Cache) -> None:
    embedded.rows.put(VM, HERE, items(VM, "a"))
    wrong: Any = 80
    with pytest.raises(CacheError, match="does not fit the schema") as caught:
        set_flight(embedded, HERE, "a", None, wrong)
    assert caught.value.cure
    assert caught.value.__cause__ is None


def test_a_refused_page_is_a_sentence(embedded: Cache) -> None:
    schema = {"$jsonSchema": {"properties": {"name": {"enum": ["good"]}}}}
    embedded.store.database.command("collMod", "vms", validator=schema)
    with pytest.raises(CacheError, match="does not fit the schema"):
        embedded.rows.put(VM, HERE, [item(VM, "a", name="good"), item(VM, "b", name="bad")])


@every_kind
def test_the_schema_is_made_from_kinds(embedded: Cache, kind: Kind) -> None:
    schema = embedded.store.database[kind.plural].options()["validator"]
    assert schema == validator(kind)
    assert set(schema["$jsonSchema"]["properties"]) >= {*kind.fields, *kind.index}


@every_kind
def test_another_versions_schema_is_replaced(server_home: Path, embedded: Cache, kind: Kind) -> None:
    embedded.rows.put(kind, HERE, items(kind, "a"))
    embedded.store.database.command(
        "collMod", kind.plural, validator={"$jsonSchema": {"required": ["of another version"]}}
    )
    other = open_cache(MongoDB(Secret("embedded"), embedded.store.database.name), server_home, KINDS.values())
    try:
        assert other.store.database[kind.plural].options()["validator"] == validator(kind)
        assert other.rows.put(kind, HERE, items(kind, "b"), other.rows.known(kind, HERE)) == (1, 0)
        assert ids(other, kind) == ["a", "b"]
    finally:
        other.close()


@every_kind
def test_collections_are_indexed(cache: Cache, kind: Kind) -> None:
    keys = [entry["key"] for entry in cache.store.database[kind.plural].index_information().values()]
    assert [("cloud", 1), ("region", 1)] in keys


def test_the_journal_is_indexed(cache: Cache) -> None:
    keys = [index["key"] for index in cache.store.database["journal"].index_information().values()]
    assert [("at", -1), ("place", -1)] in keys


def test_dashboards_that_prepare_at_once(embedded: Cache) -> None:
    embedded.store.client.drop_database(embedded.store.database.name)
    barrier = threading.Barrier(4)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            barrier.wait(10)
            embedded.prepare(KINDS.values())
        except BaseException as error:  # noqa: BLE001 - seen by the test
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert embedded.store.database["volumes"].options()["validator"] == validator(KINDS["volume"])
