"""What the dashboard must never do: act on what was not shown, act twice, or lose what was typed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import mongomock
import pytest
from textual.widgets import Button

from backend.cache import Cache
from backend.cache.rows import Rows
from backend.cache.store import Store
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.run import execute
from backend.config import Cloud
from backend.errors import CacheError, CacheLostError, ConfigError
from backend.kinds.model import Kind, Row, Scope
from backend.providers import registry
from backend.providers.protocol import Page, Provider
from backend.refresh import CANCELLED
from backend.session import Session
from tests.tui.dashboard import Launch, Noting, World, copied, driven, opened
from tui.app import CloudmeshApp

pytestmark = pytest.mark.thorough


class Forgetful(Rows):
    """The rows of a cache; its server is lost just before a change is written."""

    lost = False

    def put(self, *args: Any, **options: Any) -> tuple[int, int]:
        if self.lost:
            raise CacheLostError("The cache (MongoDB at db.example.org) cannot be reached: refused.")
        return super().put(*args, **options)


@pytest.fixture
def forgetful(world: World) -> World:
    """The same world on a forgetful cache with the same documents."""
    cache = Cache(Store(mongomock.MongoClient(tz_aware=True), "forgetful", "memory", "memory"))
    cache.rows = Forgetful(cache.store, cache.flights)
    cache.prepare(KINDS.values())
    other = world.with_cache(copied(world.cache, cache))
    other.settings = replace(other.settings, max_age=dict.fromkeys(KINDS, 3600.0))
    return other


def lose(world: World) -> None:
    cast(Forgetful, world.cache.rows).lost = True


# --- done, but not written down ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("vm boot --name once", "vm boot"),
        ("keypair create once", "keypair create"),
        ("volume create once", "volume create"),
    ],
)
def test_a_change_is_reported_when_it_cannot_be_written(forgetful: World, line: str, call: str) -> None:
    session = forgetful.session()
    lose(forgetful)
    result = execute(parse(split(line)), session)
    assert result.message
    assert result.failure.startswith(result.message)
    assert "the cache does not have it yet: The cache (MongoDB at db.example.org) cannot be reached" in result.failure
    assert dict(result.fields)["id"] in forgetful.cache.journal.newest()[0]["objects"]
    assert forgetful.changing == [call]


async def test_a_boot_that_was_done_is_never_offered_again(forgetful: World) -> None:
    async with opened(forgetful, forgetful.app(refresh=False)) as user:
        await user.press("b")
        await user.dialog("vm boot")
        await user.type("once")
        lose(forgetful)
        await user.press("enter")
        await user.sees("once (i-", "But the cache does not have it yet")
        assert user.app.screen is user.app.main
        await user.press("F")
        await user.sees("vm boot: 1 done in part", "once (i-")
        assert [button.id for button in user.app.screen.query(Button)] == ["nothing"]
    assert forgetful.changing == ["vm boot"]


# --- refused: nothing is lost -----------------------------------------------------------------------------------------


async def test_a_refused_boot_gives_back_what_was_typed_with_the_reason(world: World) -> None:
    async with opened(world) as user:
        await user.press("b")
        await user.dialog("vm boot")
        await user.type("mine")
        user.field("flavor").value = "t3.micrö"
        await user.press("enter")
        await user.sees("There is no flavor 't3.micrö'")
        await user.dialog("vm boot")
        assert user.field("name").value == "mine"
        assert world.changing == []
        user.field("flavor").value = "t3.micro"
        await user.press("enter")
        await user.until(lambda: user.named("mine", "state"))
    assert world.changing == ["vm boot"]


async def test_an_emptied_field_means_none_and_not_the_default(world: World) -> None:
    assert world.cloud.default.keypair
    async with opened(world) as user:
        await user.press("b")
        await user.dialog("vm boot")
        await user.type("keyless")
        user.field("keypair").value = ""
        await user.press("enter")
        await user.until(lambda: user.named("keyless", "state"))
        assert user.named("keyless", "keypair") is None


# --- nothing is destroyed unseen --------------------------------------------------------------------------------------


async def test_deleting_without_a_name_asks_for_it_and_then_shows_what_goes(world: World) -> None:
    async with opened(world) as user:
        native = user.named("db-replica", "id")
        await user.run("vm delete")
        asking = await user.dialog("vm delete")
        await user.type("db-replica", "enter")
        await user.until(lambda: user.app.screen is not asking and user.app.screen is not user.app.main)
        dialog = await user.dialog("vm delete")
        assert native in user.window
        await user.sees("Type db-replica to confirm:")  # it is tagged as production
        await user.press("enter")
        await user.sees("Type db-replica to confirm it; Esc cancels.")
        await user.press("tab")
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await user.press("enter")
        await user.back()
    assert world.changing == []


async def test_marks_that_the_filter_hides_are_not_acted_on_and_all_are_counted(world: World) -> None:
    async with opened(world) as user:
        for name in ("gpu-train-01", "gpu-train-02"):
            await user.go_to(name)
            await user.press("space")
        await user.sees("· 2 marked")
        await user.press("slash")
        await user.type("db-replica", "enter")
        await user.sees("· 2 marked, none shown")
        assert list(user.table.selected_rows) == []
        for key in ("d", "t", "T", "e"):
            await user.press(key)
            assert user.app.screen is user.app.main
            assert user.result.startswith("2 marked, none shown: Esc drops the filter")
            await user.press("escape", "slash")  # that drops the filter
            await user.type("db-replica", "enter")
        assert user.at == "db-replica"
        await user.press("escape", "slash")
        await user.type("web-", "enter")
        await user.press("asterisk")
        await user.sees("· 4 marked, 2 hidden")
        await user.press("d")
        await user.dialog("vm delete")
        assert "Delete 2" in user.window
        assert "Marked: 2 shown, 2 hidden by the filter and left out." in user.window
        assert "gpu-train" not in user.window
        await user.press("escape")
        await user.back()
        await user.press("T")
        await user.dialog("vm tag")
        assert "Marked: 2 shown, 2 hidden by the filter and left out." in user.window
        await user.type("seen=yes", "enter")
        await user.back()
        await user.sees("· 2 marked, none shown")  # what was not acted on stays marked
        await user.until(lambda: user.result.startswith("vm tag: 2 done."))
    assert world.changing == ["vm tag", "vm tag"]
    world.changing.clear()
    assert world.changing == []


# --- said, and held to ------------------------------------------------------------------------------------------------


async def test_a_result_too_long_for_its_place_is_shown_in_full(world: World) -> None:
    async with opened(world, size=(80, 24)) as user:
        await user.run("keypair create long")
        path = world.home / "keys" / "demo" / "us-east-1" / "long.pem"
        await user.until(
            lambda: f"{path}.4goestoit.Escdismisses." in "".join(user.screen.split())
        )  # over several lines


async def test_a_listing_that_was_cancelled_stays_so_until_it_is_asked_for(world: World) -> None:
    calls, ticks = 0, 0
    reached = threading.Event()

    class Slow(Noting):
        def __init__(self, provider: Provider, check: Callable[[], None]) -> None:
            super().__init__(provider, world.changing)
            self._check = check

        def vm_list(self, _ids: Sequence[str] = ()) -> Iterator[Page]:
            nonlocal calls
            calls += 1
            reached.set()
            while not threading.Event().wait(0.01):
                self._check()
            yield []

    def slow(cloud: Cloud, check: Callable[[], None], _: Any) -> Provider:
        return cast(Provider, Slow(registry.connect(cloud, check), check))

    def now() -> datetime:
        nonlocal ticks
        ticks += 1
        return datetime.now(UTC)

    world.settings = replace(world.settings, max_age={**dict.fromkeys(KINDS, 3600.0), "vm": 0.01})
    session = world.session(slow)
    async with opened(world, CloudmeshApp(Launch(lambda: session), now=now)) as user:
        await user.until(reached.is_set)
        await user.press("x")
        await user.until(lambda: "was cancelled" in user.result)
        assert world.cache.refreshes.of(KINDS["vm"], world.scope).error == CANCELLED
        before, seen = calls, ticks
        await user.until(lambda: ticks >= seen + 8)  # two ticks of the dashboard and more
        assert calls == before
        await user.press("r")
        await user.until(lambda: calls == before + 1)
        await user.press("x")


async def test_a_configuration_that_is_wrong_ends_the_dashboard_with_its_status() -> None:
    def opening() -> Session:
        raise ConfigError("mongodb.uri in the configuration is not a valid MongoDB address.")

    app = CloudmeshApp(Launch(opening))
    async with driven(app) as user:
        await user.until(lambda: app.return_value is not None)
    assert app.return_value == ConfigError.exit_status


async def test_the_message_of_a_lost_cache_goes_when_it_is_back_and_no_other_does(world: World) -> None:
    answers: list[Session | None] = [world.session(), None]
    said = threading.Event()

    def opening() -> Session:
        if (answer := answers.pop()) is None:
            raise CacheLostError("The cache cannot be reached: refused.")
        assert said.wait(30)
        return answer

    app = CloudmeshApp(Launch(opening), reopen_every=0.01)
    async with driven(app) as user:
        await user.sees("The cache cannot be reached: refused.")
        await user.press("colon")
        await user.type("vm frob", "enter")
        await user.sees("The cache is not open yet.")  # another message has replaced it
        said.set()
        await user.until(lambda: app.session is not None)
        await user.show("vm")
        await user.sees("db-primary", "The cache is not open yet.")


class Halting(Rows):
    """The rows of a cache; a read of the images stops after the second page until the test continues it."""

    halted = True

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        for number, page in enumerate(super().pages(kind, scope)):
            if self.halted and kind.name == "image" and number == 2:
                raise CacheError("Reading the cache failed: a page is missing.")
            yield page


async def test_a_partly_read_snapshot_is_shown_reported_and_read_again(world: World) -> None:
    images = KINDS["image"]
    world.cache.rows.put(images, world.scope, [{"id": f"ami-{n:04}", "name": f"image {n:04}"} for n in range(1_200)])
    cache = Cache(Store(world.cache.store.client, world.cache.store.database.name, "memory", "memory"))
    cache.rows = halting = Halting(cache.store, cache.flights)
    count = cache.rows.count(images, world.scope)
    session = world.with_cache(cache).session(refresh=False)
    async with driven(CloudmeshApp(Launch(lambda: session), reopen_every=0.1)) as user:
        await user.show("image")
        await user.sees("Reading the cache failed: a page is missing.")
        await user.until(lambda: user.table.total == 500)
        await user.show("vm")
        await user.sees("db-primary")  # the others were still read
        halting.halted = False
        await user.until(lambda: user.app.main.table_of("image").total == count)
