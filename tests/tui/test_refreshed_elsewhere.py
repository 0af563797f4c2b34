"""A dashboard whose user refreshes a kind that another dashboard is refreshing."""

import threading
from concurrent.futures import ThreadPoolExecutor

from backend.catalog import KINDS
from backend.providers.protocol import Page
from backend.refresh import refresh
from tests.backend.cache_support import FakeCloud
from tests.tui.dashboard import World, opened
from tui.widgets.status import WorkLine

VM = KINDS["vm"]


async def test_its_rows_are_waited_for_and_shown_as_they_come(world: World) -> None:
    page = [item for part in world.provider.of("vm").list() for item in part]
    begun, released = threading.Event(), threading.Event()

    def last() -> Page:
        begun.set()
        assert released.wait(30)
        return [_named(page[1], "on the last page")]

    elsewhere = FakeCloud(vms=[[_named(page[0], "on the first page"), *page[2:]], last])
    async with opened(world, world.app(refresh=False)) as user:
        with ThreadPoolExecutor() as pool:
            try:
                other = pool.submit(refresh, VM, elsewhere, world.cache, world.scope)
                await user.until(begun.is_set)
                await user.press("r")
                await user.sees("vm refresh", "being refreshed elsewhere", "on the first page")
                released.set()
                await user.sees("on the last page", "refreshed elsewhere")
                assert not other.result(10).shared
                await user.until(lambda: not user.app.main.query_one(WorkLine).display)
                await user.press("r")  # and then by itself again
                await user.loses("on the last page")
            finally:
                released.set()


def _named(item: dict[str, object], name: str) -> dict[str, object]:
    return {**item, "name": name}
