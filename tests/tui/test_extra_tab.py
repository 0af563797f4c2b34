"""A kind without a number key: it opens by its name and by the palette, as a tab that can be closed."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend.cache import Cache, open_cache
from backend.cache.documents import to_document
from backend.cache.flights import Flights
from backend.cache.records import RefreshRecord
from backend.cache.rows import Rows
from backend.cache.store import Store
from backend.catalog import KINDS
from backend.commands.model import Command, Context, Param, Result
from backend.commands.table import COMMANDS
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.errors import CacheError
from backend.kinds.model import Column, Kind, Row, Scope
from backend.providers.ec2.entry import EC2, ec2_keys
from backend.secret import Secret
from backend.session import Session
from tests.tui.dashboard import AT_ONCE, Launch, User, World, driven, palette
from tui.app import CloudmeshApp
from tui.widgets.tabbar import TabBar

NAME, ID = Column("name", "Name"), Column("id", "ID")
BUCKET = Kind("bucket", "buckets", (NAME, ID), 60, by_row=True, empty="No buckets.", aliases=("pail",))
CRATE = Kind("crate", "crates", (NAME, ID), 60, by_row=True, empty="No crates.")
KNOWN = {**KINDS, BUCKET.name: BUCKET, CRATE.name: CRATE}
SCOPE = Scope("one", "eu-central-1")


class Buckets:
    """The surroundings of a dashboard with two more kinds; their refreshes are counted and fetch nothing."""

    def __init__(self, home: Path) -> None:
        keys = ec2_keys(Secret("none"), Secret("none"))
        known = replace(EC2, kinds=frozenset(KNOWN))
        cloud = Cloud(SCOPE.cloud, known, "http://127.0.0.1:9", credentials=keys, default=Defaults(SCOPE.region))
        settings = Settings({cloud.name: cloud}, cloud.name, mongodb=MongoDB(Secret("memory")))
        self.cache = open_cache(settings.mongodb, home, KNOWN.values())
        self.world = World(settings, self.cache, home)
        self.refreshed: list[str] = []
        self.may_refresh = threading.Event()
        """A refresh that has begun ends after this."""
        self.may_refresh.set()
        now = datetime.now(UTC)
        for kind in KINDS.values():  # listed a moment ago, and empty: nothing is to be asked of the cloud
            self.cache.refreshes.write(kind, SCOPE, RefreshRecord(*SCOPE, kind.name, now, now, 0))
        for kind, names in ((BUCKET, ("logs", "photos")), (CRATE, ("tools",))):
            items = [{"id": f"{kind.name}-{name}", "name": name} for name in names]
            documents = [to_document(kind, SCOPE, item, now) for item in items]
            self.cache.store.database[kind.plural].insert_many(documents)

    def app(self) -> CloudmeshApp:
        """Return a dashboard with the two kinds and their commands."""
        session = self.world.session()
        return CloudmeshApp(Launch(lambda: session), pace=AT_ONCE, kinds=KNOWN, commands=[*COMMANDS, *self._commands()])

    def _commands(self) -> list[Command]:
        def refresh(kind: Kind) -> Command:
            def run(_call: Context) -> Result:
                self.refreshed.append(kind.name)
                assert self.may_refresh.wait(10)
                return Result(f"{kind.plural} refreshed")

            return Command((kind.name, "refresh"), f"Fetch {kind.plural}", run, refreshes=kind.name)

        def never(_call: Context) -> Result:
            raise AssertionError("a tab is shown instead")

        lists = [
            Command((kind.name, "list"), f"List {kind.plural}", never, shows=kind.name) for kind in (BUCKET, CRATE)
        ]
        named = Param("bucket", "A bucket", kind="bucket", required=True)
        get = Command(("bucket", "get"), "Show a bucket", never, params=(named,))
        return [refresh(BUCKET), refresh(CRATE), *lists, get]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[User]:
        """Open the dashboard and wait until it shows the cache."""
        async with driven(self.app()) as user:
            await user.until(lambda: isinstance(user.app.session, Session))
            await user.sees("1 images 0", "6 volumes 0")
            yield user


@pytest.fixture
def buckets(tmp_path: Path) -> Buckets:
    return Buckets(tmp_path)


def tabs(user: User) -> str:
    return user.app.main.query_one(TabBar).render().plain


@pytest.mark.parametrize("line", ["buckets", "bucket", "pail"])
async def test_it_opens_by_any_of_its_names_and_esc_closes_it(buckets: Buckets, line: str) -> None:
    async with buckets.opened() as user:
        await user.show("volume")
        assert "buckets" not in tabs(user)
        await user.run(line)
        await user.sees("logs", "photos")
        assert user.app.main.kind == "bucket"
        assert tabs(user).rstrip().endswith("buckets 2")
        await user.type("/photo", "enter")
        await user.loses("logs")
        await user.press("escape")  # the filter first
        await user.sees("logs")
        assert user.app.main.kind == "bucket"
        await user.press("escape")
        await user.until(lambda: user.app.main.kind == "volume")
        assert "buckets" not in tabs(user)
        assert user.rows("bucket") == []
        await user.press("escape")  # there is nothing more to close
        assert user.app.main.kind == "volume"


async def test_it_is_neither_read_nor_refreshed_before_it_is_opened(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        user.app.following.tick()
        await user.pilot.pause(0)
        assert user.rows("bucket") == []
        assert buckets.refreshed == []
        await user.run("buckets")
        await user.sees("logs")
        await user.until(lambda: buckets.refreshed == ["bucket"])  # it was never listed


async def test_a_first_refresh_that_still_runs_when_it_is_opened_again_is_not_talked_about(buckets: Buckets) -> None:
    buckets.may_refresh.clear()
    async with buckets.opened() as user:
        await user.run("buckets")
        await user.until(lambda: buckets.refreshed == ["bucket"])
        await user.press("escape")
        await user.until(lambda: user.app.main.kind == "image")
        await user.run("buckets")
        await user.sees("logs", "buckets 2")
        assert "under way already" not in user.screen
        await palette(user, "bucket refresh", "bucket refresh")
        await user.press("enter")
        await user.sees("bucket refresh is under way already.")  # the user asked for it
        assert buckets.refreshed == ["bucket"]
        buckets.may_refresh.set()


class FailingRows(Rows):
    """The rows of a cache; a read of the buckets waits for the test and fails."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Flights(store))
        self.reached, self.gate = threading.Event(), threading.Event()

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        if kind is BUCKET:
            self.reached.set()
            assert self.gate.wait(10)
            raise CacheError("The buckets cannot be read.")
        return super().pages(kind, scope)


class FailingCache(Cache):
    """A cache with such rows."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.rows = self.failing = FailingRows(store)


async def test_a_read_that_fails_after_the_tab_was_closed_is_not_reported(buckets: Buckets) -> None:
    cache = FailingCache(buckets.cache.store)
    buckets.world = buckets.world.with_cache(cache)
    async with buckets.opened() as user:
        await user.run("buckets")
        await user.until(cache.failing.reached.is_set)
        await user.press("escape")
        await user.until(lambda: user.app.main.kind == "image")
        cache.failing.gate.set()
        await user.run("crates")
        await user.sees("tools")  # they are read after the buckets
        assert "cannot be read" not in user.screen
        await user.run("buckets")
        await user.sees("The buckets cannot be read.")  # the tab is open


async def test_it_stays_open_behind_another_tab_and_another_such_kind_takes_its_place(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        await user.run("buckets")
        await user.sees("logs")
        await user.press("1")
        assert user.app.main.kind == "image"
        await user.sees("buckets 2")
        await user.click_tab("buckets")
        assert user.app.main.kind == "bucket"
        await user.run("crates")
        await user.sees("tools", "crates 1")
        assert "buckets" not in tabs(user)
        await user.run("buckets")
        await user.sees("logs", "buckets 2")
        assert "crates" not in tabs(user)
        await user.press("escape")
        assert user.app.main.kind == "image"


async def test_what_changes_in_it_is_shown_while_it_is_open_alone(buckets: Buckets) -> None:
    rows = buckets.cache.rows
    async with buckets.opened() as user:
        await user.run("buckets")
        await user.sees("logs")
        rows.remove(BUCKET, SCOPE, ["bucket-logs"])
        await user.loses("logs")
        await user.press("escape")
        await user.until(lambda: user.app.main.kind == "image")
        rows.remove(BUCKET, SCOPE, ["bucket-photos"])
        await user.run("crates")  # the bucket's change is handled before these rows
        await user.sees("tools")
        assert user.rows("bucket") == []
        await user.run("buckets")
        await user.sees("Fetching the buckets")
        assert user.rows("bucket") == []


async def test_its_names_are_offered_though_it_is_not_open(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        await user.until(lambda: "bucket get photos" in user.app.completions("bucket get "))
        await palette(user, "bucket get", "bucket get")
        await user.press("enter")
        await user.dialog("bucket get")
        await user.type("pho", "down", "enter")
        await user.until(lambda: user.field("bucket").value == "bucket-photos")
        assert user.rows("bucket") == []


async def test_the_palette_opens_it_and_the_help_says_how(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        await palette(user, "bucket list", "bucket list")
        await user.press("enter")
        await user.back()
        await user.sees("logs")
        await user.press("question_mark")
        await user.until(lambda: ":buckets" in user.body)
        assert "Show the buckets; Esc closes the tab" in user.body
        assert ":crates" in user.body
        assert ":vms" not in user.body


async def test_a_number_key_has_a_kind_and_its_name_shows_it_too(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        await user.run("zones")
        assert user.app.main.kind == "location"
        await user.press("escape")
        assert user.app.main.kind == "location"


async def test_its_name_is_in_sight_in_the_smallest_terminal(buckets: Buckets) -> None:
    async with buckets.opened() as user:
        await user.run("buckets")
        await user.sees("logs")
        await user.pilot.resize_terminal(60, 16)
        await user.until(lambda: tabs(user).rstrip() == " 1   2   3   4   5   6   buckets 2")
        await user.press("4")
        await user.until(lambda: tabs(user).rstrip().endswith(" 4 keypairs 0  5   6   buckets"))
