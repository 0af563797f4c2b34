"""The cache on a team's MongoDB: users who may write, only read, or neither; TLS with an authority of its own."""

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache, open_cache
from backend.cache.documents import validator
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.run import allowed
from backend.commands.table import COMMANDS
from backend.config import Cloud, MongoDB, Settings
from backend.errors import CacheError, RefusedError
from backend.journal.recovery import Recovered, recover
from backend.secret import Secret
from backend.session import Session
from tests.backend.cache_support import HERE, PASSWORD, VM, following, ids, item, items
from tests.backend.cloud_support import run
from tests.backend.command_support import untouched
from tests.backend.team_server import DATABASE, TeamServer

VOLUME = KINDS["volume"]


def opened(uri: str) -> Cache:
    return open_cache(MongoDB(Secret(uri), DATABASE), Path("/nowhere"), KINDS.values())


def session_on(cache: Cache, home: Path) -> Session:
    """A session that may not ask its cloud anything."""
    cloud = Cloud("aws")
    return Session(Settings({"aws": cloud}, "aws"), cloud, cache, home, connector=untouched)


# --- who may write ----------------------------------------------------------------------------------------------------


def test_an_ordinary_user_starts_on_an_empty_database(team: TeamServer) -> None:
    with closing(opened(team.uri("writer"))) as cache:
        assert (cache.refusal, cache.note) == (None, "")
        assert cache.rows.put(VM, HERE, items(VM, "a")) == (1, 0)
        for kind in KINDS.values():
            assert cache.store.database[kind.plural].options()["validator"] == validator(kind)
            keys = [entry["key"] for entry in cache.store.database[kind.plural].index_information().values()]
            assert [("cloud", 1), ("region", 1)] in keys
    with closing(opened(team.uri("writer"))) as again:
        assert ids(again, VM) == ["a"]


def test_an_ordinary_user_goes_on_with_the_validators_of_another_version(
    team: TeamServer, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"$jsonSchema": {"required": ["_id"]}}
    with team.administered() as client:
        client[DATABASE].create_collection("vms", validator=old)
    with caplog.at_level(logging.WARNING, "backend"), closing(opened(team.uri("writer"))) as cache:
        assert cache.refusal is None
        assert cache.rows.put(VM, HERE, items(VM, "a")) == (1, 0)
        assert cache.store.database["vms"].options()["validator"] == old
    assert "may not set the validator of vms, which needs the privilege collMod of the role dbAdmin" in caplog.text


def test_an_ordinary_user_refreshes_what_an_earlier_version_took_for_one_text(team: TeamServer) -> None:
    """Its validators stay, for this user cannot alter them: a volume's VM was a text there."""
    text = {"bsonType": ["string", "null"]}
    old = {"$jsonSchema": {"properties": {column.name: text for column in VOLUME.columns if column.name != "size"}}}
    del old["$jsonSchema"]["properties"]["created"], old["$jsonSchema"]["properties"]["tags"]
    with team.administered() as client:
        client[DATABASE].create_collection("volumes", validator=old, validationLevel="moderate")
        earlier = {"_id": HERE.key("vol-0"), "cloud": HERE.cloud, "region": HERE.region, "id": "vol-0", "vm": "i-1"}
        client[DATABASE]["volumes"].insert_one(earlier)
    with closing(opened(team.uri("writer"))) as cache:
        holders = {"vol-1": ("i-1",), "vol-2": ("i-1", "i-2"), "vol-3": ("i-1", "i-2", "i-3"), "vol-4": None}
        cache.rows.put(VOLUME, HERE, [item(VOLUME, native, vm=vms) for native, vms in holders.items()])
        found = {VOLUME.value(row, "id"): VOLUME.value(row, "vm") for row in cache.rows.snapshot(VOLUME, HERE)}
        assert found == holders | {"vol-0": ("i-1",)}
        assert cache.store.database["volumes"].find_one({"id": "vol-1"})["vm"] == "i-1", "earlier versions read it so"
        assert cache.store.database["volumes"].options()["validator"] == old


def test_a_user_with_no_more_than_is_needed(team: TeamServer, caplog: pytest.LogCaptureFixture) -> None:
    """Indexes and the list of collections are extras; insert alone makes a collection."""
    uri = team.add_user("frugal", privileges={"": ["find", "insert", "update", "remove"]})
    with caplog.at_level(logging.WARNING, "backend"), closing(opened(uri)) as cache:
        assert cache.refusal is None
        with following(cache) as received:  # without the privilege changeStream, by reading again
            cache.rows.put(VM, HERE, items(VM, "a"))
            received.wait_upserts(VM, "a")
            assert not [one for one in received.all if isinstance(one, str)], "the cache is said to be lost"
        assert ids(cache, VM) == ["a"]
    for what in ("list the collections", "create the index of vms"):
        assert f"may not {what}" in caplog.text


# --- who may only read ------------------------------------------------------------------------------------------------


def test_a_user_who_may_only_read_looks_at_everything(team: TeamServer) -> None:
    with closing(opened(team.uri("writer"))) as writer, closing(opened(team.uri("reader"))) as cache:
        assert cache.refusal is not None
        assert cache.note.startswith(cache.refusal.message)
        assert cache.refusal.message == (
            f"The user reader of the cache (MongoDB at 127.0.0.1:{team.port}) may only read it: it lacks the "
            f"privileges insert, remove, update on database {DATABASE}."
        )
        assert "readWrite" in cache.refusal.cure
        with following(cache) as received:
            writer.rows.put(VM, HERE, items(VM, "a"))
            received.wait_upserts(VM, "a")
            assert not [one for one in received.all if isinstance(one, str)], "the cache is said to be lost"
        assert ids(cache, VM) == ["a"]
        assert cache.journal.rows(10) == []
        assert cache.refreshes.of(VM, HERE).finished is None


def test_a_reader_on_an_empty_database_makes_nothing(team: TeamServer) -> None:
    with closing(opened(team.uri("reader"))) as cache:
        assert ids(cache, VM) == []
    with team.administered() as client:
        assert DATABASE not in client.list_database_names()


def test_what_a_reader_is_not_offered_says_why(team: TeamServer, tmp_path: Path) -> None:
    """Whatever changes a cloud would have to be journalled, whatever refreshes to be written."""
    with closing(opened(team.uri("reader"))) as cache:
        session = session_on(cache, tmp_path)
        for one in COMMANDS:
            writes = one.effect != "reads" or one.refreshes is not None
            assert allowed(one, session) != writes, one.name
        for line in ("vm refresh", "refresh all", "vm stop i-1", "journal drop"):
            with pytest.raises(RefusedError, match="is not run") as caught:
                run(session, line)
            assert cache.refusal is not None
            assert cache.refusal.message in caught.value.message
            assert "readWrite" in caught.value.cure


@pytest.mark.parametrize("refresh", [True, False])
def test_a_readers_lists_are_the_caches(team: TeamServer, tmp_path: Path, refresh: bool) -> None:
    with closing(opened(team.uri("writer"))) as writer, closing(opened(team.uri("reader"))) as cache:
        writer.rows.put(VM, HERE, [item(VM, "i-1", name="web")])
        session = replace(session_on(cache, tmp_path), refresh=refresh)
        assert not session.fetches
        listed = run(session, "vm list")
        assert listed.failure == ""
        assert [VM.value(row, "name") for row in listed.rows or ()] == ["web"]
        written = run(session, f"vm export {tmp_path / 'vms.json'} --only web")
        assert "1 VM written" in written.message
        assert recover(session) == Recovered()


# --- who may do neither -----------------------------------------------------------------------------------------------


def test_a_user_without_a_role_is_told_which_one_is_missing(team: TeamServer) -> None:
    with pytest.raises(CacheError) as caught:
        opened(team.uri("nobody"))
    assert caught.value.message == (
        f"The user nobody of the cache (MongoDB at 127.0.0.1:{team.port}) may not read it: it lacks the privileges "
        f"find on database {DATABASE}."
    )
    assert "a user needs the role readWrite on the database" in caught.value.cure
    assert "the role read" in caught.value.cure


def test_without_a_user_and_a_password(team: TeamServer) -> None:
    with pytest.raises(CacheError, match="requires a user and a password") as caught:
        opened(team.uri("", "replicaSet=rs"))
    assert "mongodb.uri" in caught.value.cure


def test_a_user_of_a_part_is_told_what_is_missing(team: TeamServer) -> None:
    """All but one collection: the journal is as much needed as the rows."""
    actions = ["find", "insert", "update", "remove"]
    granted = dict.fromkeys([*(kind.plural for kind in KINDS.values()), "refreshes"], actions)
    uri = team.add_user("partial", privileges={**granted, "journal": ["find", "insert", "update"]})
    with closing(opened(uri)) as cache:
        assert cache.refusal is not None
        assert "lacks the privileges remove on database" in cache.refusal.message


def test_a_right_that_is_taken_away_is_named(team: TeamServer) -> None:
    uri = team.add_user("leaver", "readWrite")
    with closing(opened(uri)) as cache:
        with team.administered() as client:
            client.admin.command("revokeRolesFromUser", "leaver", roles=[{"role": "readWrite", "db": DATABASE}])
        with pytest.raises(CacheError) as caught:
            cache.rows.put(VM, HERE, items(VM, "a"))
    assert f"its user lacks the privilege find on collection vms of database {DATABASE}" in caught.value.message
    assert "readWrite" in caught.value.cure


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_an_authority_that_is_not_known_is_named_as_the_reason(team: TeamServer) -> None:
    uri = team.uri("writer").replace(f"&tlsCAFile={str(team.ca).replace('/', '%2F')}", "")
    assert "tlsCAFile" not in uri
    with pytest.raises(CacheError, match="certificate verify failed") as caught:
        opened(uri)
    assert "tlsCAFile" in caught.value.cure
    assert PASSWORD not in str(caught.value)


def test_an_address_without_tls_says_that_the_server_may_want_it(team: TeamServer) -> None:
    with pytest.raises(CacheError, match="cannot be reached") as caught:
        opened(team.uri("writer", tls=False))
    assert "tls=true" in caught.value.cure


def test_commands_of_a_writer_are_journalled_over_tls(team: TeamServer, tmp_path: Path) -> None:
    with closing(opened(team.uri("writer"))) as cache:
        session = session_on(cache, tmp_path)
        assert allowed(parse(split("vm stop i-1")).command, session)
        cache.journal.add([{"_id": "t", "cloud": "aws", "region": "us-east-1", "command": "vm stop i-1",
                            "objects": [], "outcome": "done", "at": items(VM, "a")[0]["launched"]}])  # fmt: skip
        assert len(cache.journal.rows(10)) == 1
        assert cache.refreshes.begin(VM, HERE, "lease", "by") is not None
