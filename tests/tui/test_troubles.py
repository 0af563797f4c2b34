"""The dashboard when a cloud is out of reach, slow, read-only or full of hostile names."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from textual.command import CommandPalette

from backend.catalog import KINDS
from backend.commands.table import COMMANDS
from backend.config import Cloud
from backend.providers import registry
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Page, Provider, Waiting
from backend.providers.retry import RetryPolicy
from backend.session import Session
from tests.backend.ec2_faults import Faults, refusal
from tests.tui.dashboard import Launch, Noting, World, driven, opened, palette
from tui.app import CloudmeshApp
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.widgets.status import MessageBar, WorkLine

pytestmark = pytest.mark.thorough

HOSTILE = '[/]bold "quoted" <b>&'


async def test_a_cloud_out_of_reach_leaves_the_cached_rows_and_explains_the_empty_tables(world: World) -> None:
    away = world.with_cloud(endpoint="http://127.0.0.1:9")  # the discard port: nobody listens
    for kind in ("volume", "flavor"):
        away.cache.store.database[KINDS[kind].plural].delete_many({})
        away.cache.store.database["refreshes"].delete_one({"kind": kind})

    def impatient(cloud: Cloud, check: Callable[[], None], _: Any) -> Provider:
        return EC2Provider(cloud, check, RetryPolicy(tries=1))

    async with opened(away, away.app(impatient)) as user:
        tried = [KINDS[kind] for kind in ("flavor", "volume")]
        await user.until(lambda: all(away.cache.refreshes.of(kind, away.scope).error for kind in tried))
        await user.until(lambda: user.app.main.query_one(MessageBar).display)
        await user.sees("✕", "demo", "db-primary")
        await user.press("r")
        await user.sees("Listing VMs")
        assert "db-primary" in user.screen
        await user.press("escape")
        await user.loses("Listing VMs")
        await user.show("volume")
        await user.until(lambda: "Listing volumes" in user.screen)
        assert user.rows("volume") == []


async def test_hostile_names_are_shown_as_they_are_everywhere(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to(HOSTILE)
        await user.sees(HOSTILE)
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees(f"vm {HOSTILE}", native)
        assert re.search(r"tags\.\[link=x\] +\$\(id\)", user.body)
        await user.press("escape")
        await user.back()
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees(HOSTILE, native)
        await user.press("escape")
        await user.back()
        await palette(user, "vm stop [/]bold", f"vm stop {HOSTILE} {native}")
        await user.press("escape")
        await user.back()
        await user.run("vm stop '[/b] [red]x'")
        await user.sees("There is no VM '[/b] [red]x' in cloud demo")
        await user.press("escape")
        await user.type("/[/]bold")
        await user.sees("1 of")
        assert user.column() == [HOSTILE]
    assert world.changing == []


async def test_read_only_hides_and_refuses_whatever_changes_a_cloud(world: World) -> None:
    async with opened(world, world.app(read_only=True)) as user:
        await user.sees("read-only")
        await user.go_to("db-primary")
        changing = [one for one in COMMANDS if one.effect != "reads"]
        await user.until(lambda: "r refresh" in user.screen.splitlines()[-1])
        footer = user.screen.splitlines()[-1]
        assert not any(re.search(rf"\b{one.words[-1]}\b", footer) for one in changing)
        for one in changing:
            if "vm" in one.on:
                await user.press(one.key)
                assert user.result == f"This session is read-only: {one.name} is not run."
                await user.press("escape")
        assert user.app.screen is user.app.main
        await user.run("vm delete db-primary")
        await user.sees("This session is read-only: vm delete is not run.")
        await user.press("escape", "?")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.until(lambda: "vm list" in user.body)
        assert not any(one.usage in user.body for one in changing)
        await user.press("escape")
        await user.back()
        await palette(user, "refresh all", "refresh all")
        await user.press("escape")
        await user.back()
        await user.press("ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
        await user.type("db-primary")
        await user.sees("vm console db-primary")
        assert not any(f"{one.name} db-primary" in user.screen for one in changing)
        await user.press("escape")
    assert world.changing == []


class Slow(Noting):
    """A provider that lists VMs, and then blocks until the job is cancelled."""

    def __init__(self, provider: Provider, changing: list[str], check: Callable[[], None]) -> None:
        super().__init__(provider, changing)
        self._check = check

    def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        yield from self.real.of("vm").list(ids, keypair)
        for _ in range(1_000):
            self._check()
            threading.Event().wait(0.01)
        raise AssertionError("nobody cancelled")


async def test_running_work_is_shown_with_its_progress_and_x_cancels_it(world: World) -> None:
    def slow(cloud: Cloud, check: Callable[[], None], _: Any) -> Provider:
        return cast(Provider, Slow(registry.connect(cloud, check), world.changing, check))

    count = world.cache.rows.count(KINDS["vm"], world.scope)
    async with opened(world, world.app(slow, refresh=False)) as user:
        await user.press("x")
        assert user.result == "Nothing is under way."
        await user.press("r")
        await user.sees("vm refresh", "rows", "x cancels")
        shown = re.search(r"(█+)░* (\d+)/(\d+) rows", user.screen)
        assert shown is not None
        assert int(shown[2]) >= count - 1  # the terminated one may be forgotten by now
        await user.press("x")
        await user.until(lambda: user.result == "vm refresh was cancelled.")
        assert not user.app.main.query_one(WorkLine).display
        assert user.table.total >= count - 1
        await user.until(lambda: world.cache.refreshes.of(KINDS["vm"], world.scope).error == "Cancelled.")


def patient(cloud: Cloud, check: Callable[[], None], on_wait: Callable[[Waiting], None]) -> Provider:
    return EC2Provider(cloud, check, RetryPolicy(first=100, longest=100, deadline=1_000, random=lambda: 1.0), on_wait)


async def test_a_wait_before_a_retry_is_shown_counts_down_and_is_cancelled(world: World) -> None:
    with Faults(refusal(503, "RequestLimitExceeded")) as faults:
        away = world.with_cloud(endpoint=faults.url)
        async with opened(away, away.app(patient, refresh=False)) as user:
            await user.press("r")
            await user.sees("vm refresh", "throttled, retrying in 99 s", "x cancels")
            await user.sees("throttled, retrying in 98 s")
            await user.press("x")
            await user.until(lambda: user.result == "vm refresh was cancelled.")
            await user.loses("throttled")


async def test_a_dialog_shows_a_wait_before_a_request_is_sent_again(world: World) -> None:
    with Faults(refusal(503, "RequestLimitExceeded")) as faults:
        away = world.with_cloud(endpoint=faults.url)
        async with opened(away, away.app(patient, refresh=False)) as user:
            await user.go_to("db-primary")
            await user.press("d")
            await user.sees("Looking at what would be lost: throttled, retrying in 100 s …")
            await user.press("escape")
            await user.back()


async def test_a_job_that_does_not_check_for_cancelling_is_given_up_at_once(world: World) -> None:
    """Like a read from a frozen database."""
    released = threading.Event()

    class Deaf(Noting):
        def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:  # noqa: ARG002
            assert released.wait(20)
            yield []

    def deaf(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Deaf(registry.connect(cloud, *hooks), world.changing))

    count = world.cache.rows.count(KINDS["vm"], world.scope)
    async with opened(world, world.app(deaf, refresh=False)) as user:
        await user.press("r")
        await user.sees("vm refresh", "x cancels")
        await user.press("x")
        await user.until(lambda: user.result == "vm refresh was cancelled.", 2)
        await user.loses("x cancels")
        released.set()
        await user.until(lambda: world.cache.refreshes.of(KINDS["vm"], world.scope).error == "Cancelled.")
        assert user.result == "vm refresh was cancelled."
    assert world.cache.rows.count(KINDS["vm"], world.scope) == count


async def test_opening_the_cache_can_be_cancelled_and_started_again(world: World) -> None:
    begun: list[threading.Event] = []

    def opening() -> Session:
        begun.append(threading.Event())
        assert begun[-1].wait(20)
        return world.session(refresh=False)

    async with driven(CloudmeshApp(Launch(opening))) as user:
        await user.sees("Opening the cache", "x cancels")
        await user.press("x")
        await user.until(lambda: user.result == "Opening the cache was cancelled.", 2)
        begun[0].set()  # what comes late is nobody's
        await user.sees("The cache is not open. Any command, such as :vm list, opens it.")
        await user.run("vm list")
        await user.sees("The cache is not open yet.")
        await user.until(lambda: len(begun) == 2)
        assert user.app.session is None
        begun[1].set()
        await user.until(lambda: user.app.session is not None)
        await user.show("vm")
        await user.sees("db-primary")
