"""A replica set of three; its primary is killed during a `--refresh`, and under a dashboard."""

import threading
from collections.abc import Callable, Container, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from backend.cache import RefreshRecord, open_cache
from backend.catalog import KINDS
from backend.config import Cloud, MongoDB
from backend.errors import CacheLostError
from backend.kinds.model import Kind, Row
from backend.mongod import find_binary
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Page, Provider
from backend.secret import Secret
from tests.backend.replica_set import ReplicaSet
from tests.ec2_proxy import Proxy
from tests.tui.dashboard import Noting, User, World, copied, opened
from tests.tui.shell import Shell, booted, by_kind

pytestmark = pytest.mark.skipif(find_binary() is None, reason="needs a mongod")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with ReplicaSet(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest.fixture
def replica_set(members: ReplicaSet) -> ReplicaSet:
    """The set with all its members: the test before may have killed one."""
    members.whole()
    return members


@pytest.fixture
def database(replica_set: ReplicaSet) -> Iterator[Database[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(replica_set.uri, tz_aware=True) as client:
        yield client[f"test-{uuid4().hex[:12]}"]


# --- without a screen -------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(bare: Shell, proxy: Proxy, replica_set: ReplicaSet, database: Database[dict[str, Any]]) -> Shell:
    bare.configure(proxy.endpoint, replica_set.uri, database.name)
    return bare


@dataclass(frozen=True)
class Account:
    """The simulated cloud, without the program."""

    cloud: Cloud
    provider: EC2Provider

    def boot(self, name: str) -> str:
        return booted(self.cloud, self.provider, name)


@pytest.fixture
def account(cloud: Cloud, provider: EC2Provider) -> Account:
    return Account(cloud, provider)


def test_a_refresh_or_its_repeat_completes_though_the_primary_is_killed(
    shell: Shell, proxy: Proxy, account: Account, replica_set: ReplicaSet, database: Database[dict[str, Any]]
) -> None:
    account.boot("web")
    gone, _ = account.provider.of("keypair").create("gone")
    shell.lines()
    account.provider.of("keypair").delete("gone", gone["id"])
    account.provider.of("keypair").create("new")
    account.boot("later")
    proxy.held |= {"DescribeInstances", "DescribeKeyPairs"}
    with shell.start("--refresh", "--json") as process:
        assert proxy.reached.wait(30)
        replica_set.kill_primary()
        proxy.released.set()
        out, said = process.communicate(timeout=60)
    assert "Traceback" not in out + said
    lines = by_kind(out)
    if process.returncode:
        assert all("cannot be reached" in line["error"] for line in lines.values() if line["error"])
        lines = shell.lines()
    assert {line["error"] for line in lines.values()} == {None}
    assert {name: line["count"] for name, line in lines.items()} == {
        kind.name: database[kind.plural].count_documents({}) for kind in KINDS.values()
    }
    assert {one["name"] for one in database.vms.find()} == {"web", "later"}
    assert {one["name"] for one in database.keypairs.find()} == {"new"}


def test_without_a_majority_a_refresh_ends_with_a_sentence_and_a_repeat_completes(
    shell: Shell, proxy: Proxy, account: Account, replica_set: ReplicaSet, database: Database[dict[str, Any]]
) -> None:
    shell.configure(proxy.endpoint, f"{replica_set.uri}&serverSelectionTimeoutMS=500", database.name)
    account.boot("web")
    shell.lines("vms")
    account.boot("later")
    proxy.held.add("DescribeInstances")
    with shell.start("--refresh", "vms") as process:
        assert proxy.reached.wait(30)
        for _ in range(2):
            replica_set.kill_primary()
        proxy.released.set()
        out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "none of its members is the primary. They elect one within seconds: try again." in out
    assert "Traceback" not in out + said
    replica_set.whole()
    assert {one["name"] for one in database.vms.find()} == {"web"}
    line = shell.lines("vms")["vm"]
    assert (line["count"], line["added"], line["error"]) == (2, 1, None)


# --- on the screen ----------------------------------------------------------------------------------------------------


@pytest.fixture
def scaled(world: World, replica_set: ReplicaSet, database: Database[dict[str, Any]]) -> Iterator[World]:
    """The demo on the set, with no images in its cache."""
    with closing(
        open_cache(MongoDB(Secret(replica_set.uri), database.name), Path("/nowhere"), KINDS.values())
    ) as cache:
        copied(world.cache, cache).rows.remove(KINDS["image"], world.scope, ids(world, KINDS["image"]))
        yield world.with_cache(cache)


class Striking(Noting):
    """A provider that lists images in pages of 20; the third page triggers the fault."""

    def __init__(self, provider: Provider, strike: Callable[[], object]) -> None:
        super().__init__(provider, [])
        self._strike = strike

    def image_list(self, known: Container[int] = ()) -> Iterator[Page]:
        images = [image for page in self.real.of("image").list(known=known) for image in page]
        for start in range(0, len(images), 20):
            if start == 40:
                self._strike()
            yield images[start : start + 20]


async def test_the_dashboard_goes_on_when_the_primary_is_killed_while_it_refreshes(
    scaled: World, world: World, replica_set: ReplicaSet, database: Database[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    struck = threading.Event()

    def strike() -> None:
        if not struck.is_set():  # a refresh that has to restart is struck once
            replica_set.kill_primary()
            struck.set()

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Striking(scaled.connect(cloud, *hooks), strike))

    before = {kind.name: scaled.cache.refreshes.of(kind, scaled.scope).finished for kind in KINDS.values()}
    async with opened(scaled, scaled.app(connect, refresh=False)) as user:
        await user.run("vm tag web-1 before=it")
        await user.until(lambda: outcomes(scaled) == ["done"])
        assert not struck.is_set()
        await user.press("R")
        await user.until(struck.is_set)
        await user.run("vm tag web-2 during=it")  # it waits for the next primary
        await user.until(lambda: outcomes(scaled) == ["done", "done"], 20)
        for kind in KINDS.values():
            record = await ended(user, scaled, kind, before[kind.name])
            assert (record.error, record.count) == (None, len(ids(world, kind)))
            assert ids(scaled, kind) == ids(world, kind)
            await user.show(kind.name)
            await user.until(partial(on_its_table, user, kind, ids(world, kind)))
        # What somebody else changes shows by itself, as before.
        await user.show("vm")
        database.vms.update_one({"name": "web-1"}, {"$set": {"name": "renamed-1"}})
        await user.sees("renamed-1")
        assert "CACHE LOST" not in user.screen
        assert "cannot be reached" not in user.screen
    assert "cannot be reached" in caplog.text  # the dashboard did lose it


async def ended(user: User, world: World, kind: Kind, before: datetime | None) -> RefreshRecord:
    """Wait until a refresh of a kind has ended since then, and return its record."""
    found: list[RefreshRecord] = []

    def has() -> bool:
        with suppress(CacheLostError):
            found[:] = [world.cache.refreshes.of(kind, world.scope)]
        return bool(found) and found[0].finished != before

    await user.until(has, 20)
    return found[0]


def on_its_table(user: User, kind: Kind, wanted: list[str]) -> bool:
    return sorted(native(kind, row) for row in user.rows(kind.name)) == wanted


def outcomes(world: World) -> list[str]:
    """Return the outcomes in the journal, if the cache can be read now."""
    with suppress(CacheLostError):
        return [one["outcome"] for one in world.cache.journal.newest()]
    return []


def ids(world: World, kind: Kind) -> list[str]:
    """Return the ids of a kind that a world's cache holds."""
    return sorted(native(kind, row) for row in world.cache.rows.snapshot(kind, world.scope))


def native(kind: Kind, row: Row) -> str:
    return str(kind.value(row, "id"))
