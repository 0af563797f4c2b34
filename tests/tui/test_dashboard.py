"""The dashboard for its user: opening, tabs, filter, order, marks, details and help."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from backend.catalog import KINDS
from backend.commands.table import COMMANDS
from backend.config import Cloud
from backend.errors import CacheLostError
from backend.kinds.model import Kind, Row
from backend.providers import registry
from backend.providers.protocol import Page, Provider
from backend.session import Session
from tests.tui.dashboard import TABS, Launch, Noting, World, driven, opened
from tui.app import CloudmeshApp
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.keys import OWN_BINDINGS

# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_the_screen_is_painted_before_the_cache_is_open_and_filled_after(
    world: World, size: tuple[int, int]
) -> None:
    gate = threading.Event()
    session = world.session()

    def opening() -> Session:
        assert gate.wait(10)
        return session

    async with driven(CloudmeshApp(Launch(opening)), size) as user:
        await user.sees("images", "vms", "volumes", "Opening the cache")
        assert user.app.session is None
        await user.press("b", "r", "R", "enter", "d", "space", "s")
        assert user.app.screen is user.app.main
        await user.run("vm list")
        await user.sees("The cache is not open yet.")
        gate.set()
        await user.show("vm")
        await user.sees("db-primary", "demo · us-east-1 · memory (will not last)")
        await user.until(lambda: len(user.rows("image")) == world.cache.rows.count(KINDS["image"], world.scope))
    assert world.changing == []


async def test_a_cache_that_cannot_be_opened_is_reported_and_retried(world: World) -> None:
    session = world.session()
    answers: list[Session | None] = [session, None, None]

    def opening() -> Session:
        if (answer := answers.pop()) is None:
            raise CacheLostError("The cache on db.example.org cannot be reached.", "Is it running?")
        return answer

    async with driven(CloudmeshApp(Launch(opening), reopen_every=0.2)) as user:
        await user.sees("The cache on db.example.org cannot be reached. Is it running?", "Trying again …")
        await user.until(lambda: user.app.session is session)
        await user.show("vm")
        await user.sees("db-primary")
        await user.loses("cannot be reached")
    assert answers == []


@pytest.mark.parametrize("blocking", ["open", "list"])
async def test_quitting_does_not_wait_for_what_does_not_answer(world: World, blocking: str) -> None:
    gate, reached = threading.Event(), threading.Event()

    class Deaf(Noting):
        def vm_list(self, _ids: Sequence[str] = ()) -> Iterator[Page]:
            reached.set()
            gate.wait(20)
            yield []

    def deaf(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Deaf(registry.connect(cloud, *hooks), []))

    def opening() -> Session:
        if blocking == "open":
            reached.set()
            gate.wait(20)
        return world.session(deaf)

    try:
        async with driven(CloudmeshApp(Launch(opening))) as user:
            await user.until(lambda: user.app.session is not None or blocking == "open")
            await user.show("vm")
            await user.press("r")
            await user.until(reached.is_set)
            began = time.monotonic()
            await user.press("q")
        assert time.monotonic() - began < 1
        assert user.app.return_code == 0
    finally:
        gate.set()


# --- tabs -------------------------------------------------------------------------------------------------------------


async def test_tabs_by_number_and_by_click_with_counts_and_ages(world: World) -> None:
    async with opened(world, size=(200, 60)) as user:
        for kind in TABS.values():
            await user.show(kind.name)
            count = world.cache.rows.count(kind, world.scope)
            assert count > 0
            await user.until(
                lambda kind=kind, count=count: re.search(  # type: ignore[misc]
                    rf"{kind.plural} {count:,} · \d+ (s|min)\b", user.screen.splitlines()[0]
                )
            )
            first = str(kind.value(user.rows(kind.name)[0], "id"))
            await user.sees(kind.columns[0].title, first[:12])
        for kind in TABS.values():
            await user.click_tab(kind.plural)
            assert user.app.main.kind == kind.name
            assert user.app.main.focused is user.table


async def test_a_narrow_screen_says_less_and_a_tiny_one_says_why(world: World) -> None:
    async with opened(world, size=(200, 60)) as user:
        await user.sees("images 1")
        await user.pilot.resize_terminal(40, 10)
        await user.until(lambda: "This terminal has 40×10 cells" in " ".join(user.screen.split()))
        assert "db-primary" not in user.screen
        await user.pilot.resize_terminal(80, 24)
        await user.loses("This terminal has")
        await user.sees("db-primary", "vms", "volumes")
        assert all(len(line) <= 80 for line in user.screen.splitlines())


# --- filter, sort, marks, cursor --------------------------------------------------------------------------------------


def text_of(kind: Kind, row: Row) -> str:
    return " ".join(str(value) for value in row if value is not None).casefold() + kind.name


async def test_filter_with_several_words_in_any_column(world: World) -> None:
    image = KINDS["image"]
    async with opened(world) as user:
        await user.show("image")
        rows = user.rows("image")
        wanted = [row for row in rows if all(word in text_of(image, row) for word in ("noble", "amd64", "amazon"))]
        assert 0 < len(wanted) < len(rows)
        outside = next(row for row in rows[40:] if row not in wanted)
        user.table.move_to(image.ref(outside))
        await user.type("/Noble AMD64 amazon")
        await user.sees(f"{len(wanted)} of {len(rows)}")
        assert sorted(user.column("id")) == sorted(image.value(row, "id") for row in wanted)
        await user.press("enter")
        assert user.app.main.focused is user.table
        assert user.table.visible_count == len(wanted)
        await user.sees("Noble AMD64 amazon")
        await user.show("vm")  # each tab has its own
        assert user.table.visible_count == user.table.total
        await user.show("image")
        await user.sees("Noble AMD64 amazon", f"{len(wanted)} of {len(rows)}")
        found = user.cursor_id
        await user.press("escape")
        assert user.table.visible_count == len(rows)
        assert user.cursor_id == found
        await user.loses("Noble AMD64 amazon")
        user.table.move_to(image.ref(outside))
        await user.type("/no such thing at all")
        await user.sees("No image matches 'no such thing at all'. Esc clears the filter.", f"0 of {len(rows)}")
        await user.press("escape")
        assert user.cursor_id == image.value(outside, "id")


async def test_sort_by_the_next_column_and_the_other_way_round(world: World) -> None:
    async with opened(world) as user:
        arrival = user.column()
        await user.press("s")
        names = [name.casefold() for name in user.column() if name]
        assert names == sorted(names)
        await user.sees("Name ▲")
        await user.press("S")
        back = [name.casefold() for name in user.column() if name]
        assert back == sorted(names, reverse=True)
        await user.sees("Name ▼")
        for _ in KINDS["vm"].columns:
            await user.press("s")
        assert user.column() == arrival


async def test_cursor_and_marks_stay_on_their_rows_through_a_refresh(world: World) -> None:
    volume = KINDS["volume"]
    for name in ("passing-1", "passing-2"):
        world.provider.of("volume").create(name, 1, "us-east-1a", "token")
    async with opened(world) as user:
        await user.show("volume")
        await user.press("r")
        await user.until(lambda: user.named("passing-2", "id", "volume"))
        await user.press("s")  # by name, so that rows come and go above the cursor
        passing = [await user.go_to(name) for name in ("passing-1", "passing-2")]
        await user.press("space")
        kept = [await user.go_to(name) for name in ("old-website [2019]", "scratch")]
        await user.press("space")
        await user.go_to("old-website [2019]")
        await user.press("space")
        assert user.marked == {*kept, passing[1]}
        await user.go_to("scratch")
        place = user.table.rows.position(user.ref(kept[1]))
        for native in passing:
            world.provider.of("volume").delete(native)
        new = [
            world.provider.of("volume").create(f"new-{number}", 1, "us-east-1a", "token")["id"] for number in range(3)
        ]
        await user.press("r")
        await user.until(lambda: user.named("new-2", "id", "volume") and not user.named("passing-1", "id", "volume"))
        assert user.cursor_id == kept[1]
        assert user.table.rows.position(user.ref(kept[1])) == (place or 0) + 1
        assert user.marked == set(kept)
        assert {volume.value(row, "id") for row in user.rows("volume")} >= set(new)
        await user.press("escape")
        assert user.marked == set()
    for native in new:
        world.provider.of("volume").delete(native)


# --- details and help -------------------------------------------------------------------------------------------------


async def test_enter_shows_all_fields_and_escape_goes_back(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to("db-primary")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees("vm db-primary", native, "r6i.xlarge")
        shown = user.body
        assert re.search(r"tags\.backup +daily", shown)
        document = world.cache.rows.document(KINDS["vm"], world.scope, native)
        assert document is not None
        for name in [
            *document.keys() - {"_id", "hash", "protection_asked"},
            *(column.name for column in KINDS["vm"].columns),
        ]:
            assert re.search(rf"^{name}\b", shown, re.M) or document.get(name) is None, name
        await user.press("escape")
        await user.back()
        assert user.at == "db-primary"


async def test_help_lists_every_key_and_every_command(world: World) -> None:
    async with opened(world) as user:
        await user.press("?")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.until(lambda: "Everywhere" in user.body)
        text = user.body
        words = " ".join(text.split())
        for one in COMMANDS:
            assert one.name in words
            assert one.help.split(";")[0].split(",")[0] in words
            if one.key:
                assert re.search(rf"^{re.escape(one.key)}\s+{re.escape(one.help[:12])}", text, re.M), one.name
        for binding in OWN_BINDINGS:
            assert (binding.key_display or binding.key) in text
        await user.press("escape")
        await user.back()
