"""Shared by the tests of the cache: objects of every kind, a fake cloud, and a listener to wait on."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import MongoClient

from backend.cache import Cache, Change
from backend.cache.feed import Feed
from backend.catalog import KINDS
from backend.kinds.model import Kind, Scope, Type
from backend.lifecycle import Flight
from backend.mongod import find_binary
from backend.providers.protocol import Item, Page
from tests.faces import Faces

HERE = Scope("aws", "us-east-1")
ELSEWHERE = Scope("aws", "eu-west-1")
VM = KINDS["vm"]
IMAGE = KINDS["image"]

SAMPLES: dict[Type, Any] = {
    "text": "na\u00efve \u2603 \u6771\u4eac [bold]x[/]",
    "state": "available",
    "int": 2**40,
    "mib": 1024,
    "gib": 1.5,
    "usd": 0.0116,
    "time": datetime(2026, 5, 6, 7, 8, 9, 123000, tzinfo=UTC),
    "list": ["x-1", "na\u00efve \u2603"],
}
"""One value of every type that a cloud returns."""

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def item(kind: Kind, native: str, **values: Any) -> Item:
    """One object as a cloud lists it, every column filled."""
    filled = {column.name: SAMPLES[column.type] for column in kind.listed}
    return {**filled, "tags": {"Name": native}, "extra": {}, **values, "id": native}


def items(kind: Kind, *natives: str, **values: Any) -> Page:
    return [item(kind, native, **values) for native in natives]


def many(kind: Kind, count: int, **values: Any) -> Page:
    return items(kind, *(f"x-{number:05}" for number in range(count)), **values)


def entry(native: str, **fields: Any) -> dict[str, Any]:
    """A waiting journal entry with the fields that its row needs."""
    waiting = {"at": SAMPLES["time"], "command": "vm stop i-1", "objects": [], "outcome": "waiting"}
    return {"_id": native, "cloud": HERE.cloud, "region": HERE.region, **waiting, **fields}


def ids(cache: Cache, kind: Kind, scope: Scope = HERE) -> list[str]:
    """The ids in the cache, in order."""
    return sorted(kind.value(row, "id") for row in cache.rows.snapshot(kind, scope))


def set_flight(cache: Cache, scope: Scope, vm: str, flight: Flight | None, state: str | None = None) -> None:
    """Set the flight of a VM, or end it (None), whatever it is now; `state` is that of the cloud's reply."""
    before = next((VM.value(row, "flight") for row in cache.rows.named(VM, scope, vm)), None)
    assert cache.flights.replace(VM, scope, vm, flight, before, state=state)


def vm_of(cache: Cache, native: str) -> dict[str, Any]:
    """A VM's row by column."""
    (row,) = cache.rows.named(VM, HERE, native)
    return {column.name: value for column, value in VM.cells(row)}


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def fly(cache: Cache, native: str, action: str, seconds: float = 0, state: str | None = None) -> None:
    """Begin a flight that started some seconds ago."""
    set_flight(cache, HERE, native, Flight(action, ago(seconds)), state)


def eventually(check: Callable[[], Any], seconds: float = 20) -> Any:
    """Poll until the value is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"still not true after {seconds} s"
        time.sleep(0.01)
    return found


class Received:
    """A callback that keeps each argument and its time; a test can wait for one."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.all: list[Any] = []
        self.times: list[float] = []

    def __call__(self, thing: Any) -> None:
        with self._news:
            self.all.append(thing)
            self.times.append(time.monotonic())
            self._news.notify_all()

    def until(self, check: Callable[[list[Any]], Any], seconds: float = 10) -> Any:
        """Wait until `check` returns something for what was received, and return that."""
        with self._news:
            assert self._news.wait_for(lambda: check(self.all), seconds), f"received in {seconds} s only {self.all}"
            return check(self.all)

    def upserts(self, kind: Kind) -> list[Any]:
        """The received rows of a kind, in order."""
        with self._news:
            reported = [change for change in self.all if isinstance(change, Change) and change.kind == kind.name]
        return [row for change in reported for row in change.upserts]

    def wait_upserts(self, kind: Kind, *natives: str) -> float:
        """Wait until rows of all these ids are received; return the time of the last one."""
        want = set(natives)
        self.until(lambda _: want <= {kind.value(row, "id") for row in self.upserts(kind)})
        return self.times[-1]

    def wait_removed(self, kind: Kind, native: str) -> None:
        """Wait until the removal of a row is received."""
        self.until(lambda all_: any(native == ref.id for one in all_ if one.kind == kind.name for ref in one.removed))


class following_locally:
    """What a cache announces while the block runs."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._reported: list[Any] = []

    def __enter__(self) -> list[Any]:
        self._cache.listen(self._reported.append)
        return self._reported

    def __exit__(self, *_: object) -> None:
        self._cache.unlisten(self._reported.append)


@contextmanager
def following(cache: Cache, **options: Any) -> Iterator[Received]:
    """A feed of a cache; its changes and connection messages go to one list."""
    received = Received()
    feed = Feed(cache, KINDS.values(), received, received, **options)
    try:
        assert feed.wait(10)
        yield received
    finally:
        feed.close()


Listing = Iterable[Page | Exception | Callable[[], Page]]
"""The pages in order: each is a page, an error, or a function that returns the page (and may wait)."""


class FakeCloud(Faces):
    """A provider with the listings of the test; a listing may depend on the requested ids."""

    def __init__(self, **listings: Listing | Callable[[Sequence[str]], Listing]) -> None:
        super().__init__()
        self._listings: Mapping[str, Listing | Callable[[Sequence[str]], Listing]] = listings
        self.protected_vms: set[str] = set()
        self.asked = Received()
        """What was listed: (plural, ids)."""

    def connect(self, *_hooks: Any) -> "FakeCloud":
        return self

    def _list(self, plural: str, natives: Sequence[str] = ()) -> Iterator[Page]:
        self.asked((plural, tuple(natives)))
        listing = self._listings.get(plural, ())
        for step in listing(natives) if callable(listing) else listing:
            if isinstance(step, Exception):
                raise step
            yield step() if callable(step) else step

    def image_list(self, known: Container[int] = ()) -> Iterator[Page]:
        for page in self._list("images"):
            yield [{"digest": item["digest"]} if item.get("digest") in known else item for item in page]

    def flavor_list(self) -> Iterator[Page]:
        return self._list("flavors")

    def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:  # noqa: ARG002
        return self._list("vms", ids)

    def keypair_list(self) -> Iterator[Page]:
        return self._list("keypairs")

    def location_list(self) -> Iterator[Page]:
        return self._list("locations")

    def volume_list(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:  # noqa: ARG002
        return self._list("volumes")

    def secgroup_list(self) -> Iterator[Page]:
        return self._list("secgroups")

    def vm_protected(self, vm: str) -> bool:
        self.asked(("protected", (vm,)))
        return vm in self.protected_vms


# --- a server that is no replica set ----------------------------------------------------------------------------------

PASSWORD = "p@ss:w/rd%hush"


class Standalone:
    """A mongod that is no replica set and wants a password."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = str(folder / "s.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = find_binary()
        assert binary is not None
        words = [binary, "--auth", "--bind_ip", self.socket, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        words += ["--dbpath", str(self._folder), "--logpath", str(self._folder / "log")]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(self.socket)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def make_users(self) -> None:
        """The first user can be created without a login."""
        with MongoClient[dict[str, Any]](f"mongodb://{quote(self.socket, safe='')}") as client:
            client.admin.command("createUser", "boss", pwd=PASSWORD, roles=["root"])

    def uri(self, user: str = "boss", password: str = PASSWORD) -> str:
        return f"mongodb://{user}:{quote(password, safe='')}@{quote(self.socket, safe='')}/?authSource=admin"
