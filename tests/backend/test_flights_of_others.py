"""Two dashboards on one cache: neither ends, revives nor overwrites a flight of the other."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mongomock
import pytest

from backend.cache import Cache
from backend.cache.flights import Flights
from backend.cache.store import Store
from backend.catalog import KINDS
from backend.config import Poll
from backend.errors import CloudError
from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import Flight, settle
from backend.providers.registry import connect
from backend.session import Session
from backend.watch import Watcher
from tests.backend.cache_support import HERE, VM, FakeCloud, ago, following_locally, item, set_flight, vm_of
from tests.backend.cloud_support import AMI, run
from tests.backend.command_support import booted, row
from tests.faces import Faces

OTHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backend.cache import open_cache
from backend.kinds.model import Scope
from backend.config import MongoDB
from backend.lifecycle import Flight
from backend.catalog import KINDS
from backend.lifecycle import settle
from backend.secret import Secret
what, database, home = sys.argv[1:]
cache, scope = open_cache(MongoDB(Secret("embedded"), database), Path(home), KINDS.values()), Scope("aws", "us-east-1")
(found,) = cache.rows.named(KINDS["vm"], scope, "i-1")
old = KINDS["vm"].value(found, "flight")
new = Flight("start", datetime.now(UTC), before="stopped") if what == "start" else None
print(cache.flights.replace(KINDS["vm"], scope, "i-1", new, old))
"""
"""Another dashboard's process, which begins a flight in place of the one that it reads, or ends that."""


class Interleaved(Flights):
    """The flights of a cache whose reader is held up, after it has read, until something else has happened."""

    meanwhile: Callable[[], object] | None = None
    reads = 1
    """The read after which that happens."""

    def rows(self, kind: Kind, scope: Scope) -> list[Row]:
        rows = super().rows(kind, scope)
        self.reads -= 1
        if self.reads == 0 and self.meanwhile:
            self.meanwhile()
        return rows


class InterleavedCache(Cache):
    """A cache with interleaved flights."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.flights = self.interleaved = Interleaved(store)


@pytest.fixture(params=["embedded", "memory"])
def shared(request: pytest.FixtureRequest) -> Any:
    """A cache of ours, with what another dashboard does to it: a process on a real server, else another cache."""
    if request.param == "memory":
        client: Any = mongomock.MongoClient(tz_aware=True)
        ours, theirs = (InterleavedCache(Store(client, "shared", "memory", "memory")) for _ in range(2))
        ours.prepare(KINDS.values())

        def do(what: str) -> None:
            old = vm_of(theirs, "i-1")["flight"]
            new = Flight("start", datetime.now(UTC), before="stopped") if what == "start" else None
            assert theirs.flights.replace(VM, HERE, "i-1", new, old)

        return ours, do
    embedded: Cache = request.getfixturevalue("embedded")
    home: Path = request.getfixturevalue("server_home")
    ours = InterleavedCache(Store(embedded.store.client, embedded.store.database.name, embedded.mode, embedded.address))

    def act(what: str) -> None:
        words = [sys.executable, "-c", OTHER, what, embedded.store.database.name, str(home)]
        done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"

    return ours, act


def test_settling_leaves_the_flight_that_another_has_just_begun(shared: Any) -> None:
    cache, other = shared
    cache.rows.put(VM, HERE, [item(VM, "i-1", state="stopped")])
    set_flight(cache, HERE, "i-1", Flight("stop", ago(30)))
    cache.interleaved.meanwhile = lambda: other("start")
    assert settle(cache, VM, HERE) == []
    assert vm_of(cache, "i-1")["flight"].action == "start"


def test_a_flight_that_has_ended_does_not_come_back_as_overdue(shared: Any) -> None:
    cache, other = shared
    cache.rows.put(VM, HERE, [item(VM, "i-1", state="stopping")])
    set_flight(cache, HERE, "i-1", Flight("stop", ago(700)))
    said: list[str] = []
    cloud = FakeCloud(vms=[[item(VM, "i-1", state="stopping")]])
    # It reads them before it asks the cloud, to settle them, and to judge what has not settled.
    cache.interleaved.reads, cache.interleaved.meanwhile = 3, lambda: other("end")
    Watcher(cache, VM, HERE, cloud.connect, Poll(), report=said.append).step()
    assert cache.interleaved.reads == 0
    assert (vm_of(cache, "i-1")["flight"], said) == (None, [])


def test_a_flight_is_found_by_its_own_time(cache: Cache) -> None:
    """MongoDB keeps milliseconds, a clock has microseconds."""
    flight = Flight("stop", datetime.now(UTC).replace(microsecond=123_456))
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    assert cache.flights.replace(VM, HERE, "a", flight, None)
    assert cache.flights.replace(VM, HERE, "a", None, flight)
    assert vm_of(cache, "a")["flight"] is None


def test_a_state_is_written_only_with_the_flight_that_it_belongs_to(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="stopped")])
    ended, begun = Flight("stop", ago(30)), Flight("start", ago(1))
    set_flight(cache, HERE, "a", begun)
    assert not cache.flights.replace(VM, HERE, "a", ended, ended, state="stopping")
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"].action) == ("stopped", "start")
    assert cache.flights.replace(VM, HERE, "a", begun, begun, state="pending")
    assert vm_of(cache, "a")["state"] == "pending"


def test_a_boot_found_again_leaves_the_flight_that_has_begun_since(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="pending")])
    set_flight(cache, HERE, "a", Flight("delete", ago(1)))
    with following_locally(cache) as reported:
        cache.rows.put(VM, HERE, [item(VM, "a", state="pending")], flight=Flight("boot", ago(0)))
    assert vm_of(cache, "a")["flight"].action == "delete"
    assert [VM.value(row, "flight").action for change in reported for row in change.upserts] == ["delete"]


class Refusing(Faces):
    """A cloud that refuses to stop, while another dashboard begins something."""

    def __init__(self, real: Any, meanwhile: Callable[[], object]) -> None:
        super().__init__(real)
        self._meanwhile = meanwhile

    def vm_stop(self, _native: str) -> str:
        self._meanwhile()
        raise CloudError("No.")


def test_what_the_cloud_refuses_ends_its_own_flight_alone(session: Session) -> None:
    vm = booted(session, f"vm boot {AMI} --name web")
    run(session, "vm refresh")
    theirs = Flight("delete", ago(0), before="running")

    def begun() -> None:
        set_flight(session.cache, session.scope, vm, theirs)

    refusing = replace(session, connector=lambda cloud, *hooks: Refusing(connect(cloud, *hooks), begun))
    with pytest.raises(CloudError, match="No"):
        run(refusing, "vm stop web")
    assert row(session, "vm", vm)["flight"].action == "delete"
