"""The requests of an idle dashboard: one listing of VMs each interval, and none for each VM."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.config import Cloud, Defaults, MongoDB, Poll, Settings
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from tests.bench import content, endpoint
from tests.faces import Faces
from tests.tui.dashboard import TABS, World, booted, opened
from tui.screens.details import DetailsScreen

pytestmark = pytest.mark.thorough

VM = KINDS["vm"]
INTERVAL = 1.5
"""Seconds between two listings, in place of 30."""
PAGES = 5
"""Calls that 5,000 VMs take, at 1,000 a page."""


class Counting(endpoint.Server):
    """The endpoint of the benchmark, in this process; it records each request and its time."""

    def __init__(self, vms: int) -> None:
        super().__init__(endpoint.World(0, vms, 0, 0), 0)
        self.asked: list[tuple[str, float]] = []

    def note(self, action: str) -> None:
        self.asked.append((action, monotonic()))

    def handle_error(self, *_: object) -> None:
        """Print nothing: a dashboard that ends resets its connections."""

    def since(self, first: int) -> list[str]:
        """The actions from the `first` request on."""
        return [action for action, _ in self.asked[first:]]


@contextmanager
def serving(vms: int) -> Iterator[Counting]:
    with Counting(vms) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def world_on(server: Counting, home: Path) -> World:
    """The surroundings of a dashboard with that endpoint as its cloud; the other kinds do not become stale."""
    cloud = Cloud(
        "bench",
        endpoint=f"http://127.0.0.1:{server.server_address[1]}",
        credentials=ec2_keys(Secret("x"), Secret("y")),
        default=Defaults(location=content.REGION),
    )
    settings = Settings(
        {cloud.name: cloud},
        cloud.name,
        mongodb=MongoDB(Secret("memory")),
        max_age={name: INTERVAL if name == "vm" else 3_600.0 for name in KINDS},
        poll=Poll(settled=INTERVAL),
    )
    return World(settings, open_cache(settings.mongodb, home, KINDS.values()), home)


async def test_an_idle_screen_lists_the_vms_each_interval_and_asks_nothing_else(tmp_path: Path) -> None:
    """With 5,000 VMs and 30 s that is 15 calls in 90 s."""
    with serving(1_000 * PAGES) as server:
        world = world_on(server, tmp_path)
        async with opened(world) as user:
            await user.until(lambda: user.table.total == 1_000 * PAGES, seconds=60)
            for kind in TABS.values():  # each is listed once at the start
                await user.until(lambda kind=kind: world.cache.refreshes.of(kind, world.scope).finished)  # type: ignore[misc]
            begun = len(server.asked)
            await user.until(lambda: len(server.asked) >= begun + 3 * PAGES, seconds=60)
            assert set(server.since(begun)) == {"DescribeInstances"}
            times = [when for action, when in server.asked if action == "DescribeInstances"]
            listings = times[::PAGES]
            assert len(times) == PAGES * len(listings)
            assert min(later - earlier for earlier, later in pairwise(listings)) >= INTERVAL
            assert "DescribeInstanceAttribute" not in server.since(0)


async def test_the_details_of_a_vm_ask_whether_it_is_protected(world: World) -> None:
    """One call in the background, and none of other kinds."""
    native = booted(world, "kept")
    world.provider.of("vm").protect(native, True)
    asked: list[str] = []

    class Asked(Faces):
        def vm_protected(self, vm: str) -> Any:
            asked.append(vm)
            return self.real.of("vm").protected(vm)

    async with opened(world, world.app(lambda _, *hooks: Asked(world.connect(world.cloud, *hooks)))) as user:
        await user.run("vm refresh")
        await user.go_to("kept")
        assert user.named("kept", "protected") is None
        assert asked == []
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen) and user.named("kept", "protected"))
        assert asked == [native]
        await user.until(lambda: "protected" in user.body and "True" in user.body)
        await user.press("escape")
        await user.back()
        assert "protected" in user.line("kept")
        await user.press("enter", "escape")  # closed before the reply
        await user.back()
        await user.until(lambda: asked == [native, native])


@pytest.mark.parametrize("how", ["refresh off", "terminated"])
async def test_details_ask_nothing_where_there_is_nothing_to_ask(world: World, how: str) -> None:
    native = booted(world, "gone")
    if how == "terminated":
        world.provider.of("vm").delete(native)
    asked: list[str] = []

    class Asked(Faces):
        def passes(self, kind: str, verb: str) -> None:
            asked.append(f"{kind} {verb}")

    async with opened(world, world.app(lambda _, *hooks: Asked(world.connect(world.cloud, *hooks)))) as user:
        await user.run("vm refresh")
        await user.go_to("gone")
        if how == "refresh off":
            await user.run("refresh off")
            await user.until(lambda: user.app.session is not None and not user.app.session.refresh)
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees(native)
        assert "protected" not in asked
