"""Two VMs of the same id in two scopes: two rows, two flights, two objects that commands act on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse
from backend.commands.model import Result
from backend.commands.run import execute, execute_all, losses
from backend.config import Cloud, Poll, Settings
from backend.errors import CloudmeshError, ConfigError, RefusedError
from backend.format import as_object
from backend.journal.model import JOURNAL
from backend.kinds.model import Ref, Scope
from backend.lifecycle import Flight, settle
from backend.session import Session
from backend.watch import Watcher
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    VM,
    FakeCloud,
    ago,
    entry,
    following_locally,
    item,
    set_flight,
)


@pytest.fixture
def twins(cache: Cache) -> Cache:
    """A cache with a VM of the same id in two scopes."""
    cache.rows.put(VM, HERE, [item(VM, "i-1", name="web", state="running")])
    cache.rows.put(VM, ELSEWHERE, [item(VM, "i-1", name="db", state="stopped")])
    return cache


def test_a_row_has_its_scope(twins: Cache) -> None:
    rows = [*twins.rows.snapshot(VM, HERE), *twins.rows.snapshot(VM, ELSEWHERE)]
    assert [VM.ref(row) for row in rows] == [Ref(HERE, "i-1"), Ref(ELSEWHERE, "i-1")]
    assert [VM.value(row, "name") for row in rows] == ["web", "db"]
    assert all(len(row) == len(VM.columns) + 1 for row in rows)
    assert list(as_object(VM, rows[0])) == list(VM.index), "the front end adds the scope"


def test_one_scope_object_serves_all_rows_of_a_snapshot(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "i-1"), item(VM, "i-2")])
    first, second = cache.rows.snapshot(VM, HERE)
    assert VM.scope(first) is VM.scope(second)


def test_a_journal_entry_has_the_scope_of_what_it_acted_on(cache: Cache) -> None:
    cache.journal.add([entry("one"), entry("two", cloud=ELSEWHERE.cloud, region=ELSEWHERE.region)])
    assert {JOURNAL.value(row, "id"): JOURNAL.scope(row) for row in cache.journal.rows(9)} == {
        "one": HERE,
        "two": ELSEWHERE,
    }


def test_a_change_names_the_row_that_it_removes(twins: Cache) -> None:
    with following_locally(twins) as reported:
        twins.rows.remove(VM, ELSEWHERE, ["i-1"])
    assert [change.removed for change in reported] == [(Ref(ELSEWHERE, "i-1"),)]
    assert [VM.ref(row) for row in twins.rows.snapshot(VM, HERE)] == [Ref(HERE, "i-1")]


def test_each_has_its_own_flight(twins: Cache) -> None:
    set_flight(twins, HERE, "i-1", Flight("stop", ago(30)), "stopped")
    assert twins.flights.replace(VM, ELSEWHERE, "i-1", Flight("start", ago(1)), None)
    assert [VM.ref(row) for row in twins.flights.rows(VM, ELSEWHERE)] == [Ref(ELSEWHERE, "i-1")]
    assert settle(twins, VM, HERE) == [("i-1", "is stopped")]
    (row,) = twins.flights.rows(VM, ELSEWHERE)
    assert VM.value(row, "flight").action == "start"


def test_a_watcher_follows_its_own_scope_alone(twins: Cache) -> None:
    for scope in (HERE, ELSEWHERE):
        set_flight(twins, scope, "i-1", Flight("stop", ago(30)), "stopping")
    said: list[str] = []
    cloud = FakeCloud(vms=[[item(VM, "i-1", name="web", state="stopped")]])
    Watcher(twins, VM, HERE, cloud.connect, Poll(), report=said.append).step()
    assert said == ["web is stopped."]
    (row,) = twins.flights.rows(VM, ELSEWHERE)
    assert (VM.value(row, "state"), VM.value(row, "flight").action) == ("stopping", "stop")


# --- commands ---------------------------------------------------------------------------------------------------------


WEST = Scope("east", "us-west-2")


@pytest.fixture
def session(memory: Cache, tmp_path: Path) -> Session:
    clouds = {"east": Cloud("east"), "locked": Cloud("locked", read_only=True)}
    return Session(Settings(clouds, "east"), clouds["east"], memory, tmp_path)


def test_a_session_in_another_scope(session: Session) -> None:
    assert session.at(session.scope) is session
    west = session.at(WEST)
    assert (west.scope, west.cloud.name, west.cache) == (WEST, "east", session.cache)
    assert west.at(session.scope).scope == session.scope
    locked = session.at(Scope("locked", "us-east-1"))
    assert (locked.locked, session.locked) == (True, False)
    with pytest.raises(ConfigError, match="no cloud 'gone'"):
        session.at(Scope("gone", "us-east-1"))


def listing(session: Session) -> list[tuple[Scope, Any]]:
    found = execute(replace(parse(["vm", "list"]), scope=WEST), replace(session, refresh=False))
    return [(VM.scope(row), VM.value(row, "name")) for row in found.rows or ()]


def test_a_command_acts_in_the_scope_of_its_row(session: Session) -> None:
    session.cache.rows.put(VM, session.scope, [item(VM, "i-1", name="web")])
    session.cache.rows.put(VM, WEST, [item(VM, "i-1", name="db")])
    assert listing(session) == [(WEST, "db")]


def test_what_is_read_only_is_so_by_the_scope_of_the_row(session: Session) -> None:
    stop = replace(parse(["vm", "stop", "i-1"]), scope=Scope("locked", "us-east-1"))
    with pytest.raises(RefusedError, match="read-only"):
        execute(stop, session)
    with pytest.raises(RefusedError, match="read-only"):
        execute_all([stop, stop], session)
    assert losses(stop, session) is None


class Connected(CloudmeshError):
    """Raised instead of a connection."""


def test_commands_started_together_connect_each_to_its_own_scope(session: Session) -> None:
    asked: set[Scope] = set()

    def connecting(cloud: Cloud, *_hooks: Any) -> Any:
        asked.add(Scope(cloud.name, cloud.region))
        raise Connected("This cloud is not reached.")

    scopes = [session.scope, WEST]
    for scope in scopes:
        session.cache.rows.put(VM, scope, [item(VM, "i-0123456789abcdef0", state="running")])
    stops = [replace(parse(["vm", "stop", "i-0123456789abcdef0"]), scope=scope) for scope in scopes]
    done = execute_all(stops, replace(session, connector=connecting, refresh=False))
    assert [isinstance(one.error, Connected) for one in done] == [True, True]
    assert asked == set(scopes)
    rows = session.cache.journal.rows(9)
    assert sorted(JOURNAL.scope(row) for row in rows) == sorted(scopes)
    assert not any(isinstance(one.outcome, Result) for one in done)
