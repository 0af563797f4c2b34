"""The journal for its user: order, filter, keys, details, and entries that come while it is open."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from backend.journal.model import JOURNAL
from backend.kinds.model import Row, Scope
from tests.tui.dashboard import lines
from tui.screens.details import DetailsScreen
from tui.screens.journal import JournalScreen

pytestmark = pytest.mark.thorough

STYLES = Path(__file__).parents[2] / "styles"
NOW = datetime(2026, 11, 23, 12, 4, 5, tzinfo=UTC)
SIZES = [(80, 24), (140, 40)]


def entry(number: int, **values: Any) -> Row:
    """Return an entry that is `number` minutes after the first."""
    given = {
        "id": f"{number:032x}",
        "at": NOW + timedelta(minutes=number),
        "command": f"vm stop i-{number:017x}",
        "outcome": "done",
        "objects": f"i-{number:017x}",
        "seconds": 0.5 + number,
        "cloud": "research",
        "region": "eu-central-1",
        "user": "ada",
        "host": "workstation",
        **values,
    }
    return (*(given.get(column.name) for column in JOURNAL.columns), Scope("research", "eu-central-1").text)


def entries(count: int) -> list[Row]:
    """Return N entries as rows of the cache, newest first."""
    return [entry(number) for number in reversed(range(count))]


def name(number: int) -> str:
    """Return the id of the entry of that number."""
    return f"{number:032x}"


class Host(App[None]):
    CSS_PATH = [STYLES / "app.tcss", STYLES / "table.tcss", STYLES / "dialogs.tcss"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.journal = JournalScreen(self.asked.append)

    def on_mount(self) -> None:
        self.push_screen(self.journal)


class Reader:
    """The user of the journal."""

    def __init__(self, app: Host, pilot: Pilot[None]) -> None:
        self.app = app
        self.journal = app.journal
        self.table = app.journal.table
        self.pilot = pilot

    @property
    def screen(self) -> list[str]:
        """The lines of the topmost screen."""
        return lines(self.app.screen)

    @property
    def foot(self) -> str:
        """The text in the lower border of the window."""
        return next(line for line in reversed(self.screen) if line.startswith("╰")).strip("╰╯─ ")

    @property
    def shown(self) -> list[str]:
        """The ids of the rows that the filter shows, from top to bottom."""
        return [self.table.rows.ref_at(position).id for position in range(self.table.visible_count)]

    @property
    def at(self) -> str | None:
        """The id of the cursor's row."""
        return self.table.cursor_ref and self.table.cursor_ref.id

    @property
    def open(self) -> bool:
        """Whether the journal is in front."""
        return self.app.screen is self.journal

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Let the app run until the condition holds; fail with the screen if it does not in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "\n".join(self.screen)
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys and wait until they are handled."""
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def reading(rows: list[Row] | None = None, size: tuple[int, int] = SIZES[1]) -> AsyncIterator[Reader]:
    """Open the journal on rows; None: they have not come."""
    app = Host()
    async with app.run_test(size=size) as pilot:
        reader = Reader(app, pilot)
        await reader.until(lambda: reader.open and app.focused is reader.table)
        if rows is not None:
            app.journal.load(rows)
        await pilot.pause()
        yield reader


# What stands there


@pytest.mark.parametrize("size", SIZES)
async def test_newest_first_with_the_cursor_on_it(size: tuple[int, int]) -> None:
    async with reading([entry(1), entry(3), entry(2)], size) as reader:
        assert reader.shown == [name(3), name(2), name(1)]
        assert reader.at == name(3)
        top, header, first, *_ = reader.screen
        assert "Journal" in top
        assert "Command" in header
        assert "When ▼" in header
        assert "Outcome" in header
        assert "vm stop i-" in first
        assert "2026-11-23 12:07" in first
        assert "● done" in first
        assert reader.foot == "3 entries"
        assert {"/", "filter", "esc", "back"} <= set(reader.screen[-1].split())


async def test_what_is_not_known_to_have_ended_is_counted() -> None:
    outcomes = ("done", "failed", "cancelled", "waiting", "unfinished", "unknown")
    async with reading([entry(number, outcome=outcome) for number, outcome in enumerate(outcomes)]) as reader:
        assert reader.foot == "6 entries · 3 unfinished"
        await reader.press("slash", *"failed")
        assert reader.foot == "1 of 6 · 3 unfinished"


async def test_it_says_that_it_reads_and_that_there_is_nothing() -> None:
    async with reading() as reader:
        assert any("Reading the journal" in line for line in reader.screen)
        assert reader.foot == ""
        reader.journal.load([])
        await reader.until(lambda: any("Nothing has been done yet" in line for line in reader.screen))
        assert reader.foot == "0 entries"
        await reader.press("enter")
        assert reader.app.asked == []
        reader.journal.apply([entry(1)])
        await reader.until(lambda: reader.foot == "1 entry")
        assert reader.at == name(1)


async def test_hostile_text_is_shown_as_it_is() -> None:
    hostile = "[/]bold \x1b[31m[@click=app.quit]x[/]\n\u202eend"
    async with reading([entry(1, command=hostile, error=hostile, outcome="[red]", user="[/]bold")]) as reader:
        assert "[/]bold ␛[31m[@click=app.quit]x[/]␊\ufffdend" in reader.screen[2]
        assert "? [red]" in reader.screen[2]
        await reader.press("slash", *"[/]bold")
        assert reader.foot == "1 of 1"
        await reader.press("[", "r")
        assert any("No journal entry matches '[/]bold[r'." in line for line in reader.screen)


# Keys


async def test_sort_by_keys_and_by_the_header() -> None:
    rows = [entry(1, command="vm start c"), entry(2, command="vm stop a"), entry(3, command="vm boot b")]
    async with reading(rows) as reader:
        await reader.press("S")
        assert reader.shown == [name(1), name(2), name(3)]
        assert "When ▲" in reader.screen[1]
        await reader.press("s")
        assert "Outcome ▲" in reader.screen[1]
        await reader.pilot.click(reader.table, offset=(4, 0))
        await reader.pilot.pause()
        assert "Command ▲" in reader.screen[1]
        assert reader.shown == [name(3), name(1), name(2)]


@pytest.mark.parametrize("size", SIZES)
async def test_filter_and_what_escape_does(size: tuple[int, int]) -> None:
    rows = [entry(1), entry(2, error="Insufficient capacity", outcome="failed"), entry(3, outcome="failed")]
    async with reading(rows, size) as reader:
        await reader.press("slash", *"failed capacity")  # all words, whatever the column
        assert reader.shown == [name(2)]
        assert reader.foot == "1 of 3"
        assert any("failed capacity" in line for line in reader.screen)

        await reader.press("enter")  # to the rows; the filter stays
        assert reader.app.focused is reader.table
        assert reader.app.asked == []
        assert reader.shown == [name(2)]

        await reader.press("escape")
        assert reader.open
        assert reader.shown == [name(3), name(2), name(1)]
        assert reader.foot == "3 entries"
        assert not any("failed capacity" in line for line in reader.screen)
        await reader.press("escape")
        await reader.until(lambda: not reader.open)


@pytest.mark.parametrize("leave", [["enter", "escape"], ["escape"]])
async def test_the_cursor_stays_on_the_entry_that_the_filter_found(leave: list[str]) -> None:
    async with reading([entry(1), entry(2, error="Insufficient capacity"), entry(3)]) as reader:
        assert reader.at == name(3)
        await reader.press("slash", *"capacity", *leave)
        assert reader.at == name(2)
        assert len(reader.shown) == 3


async def test_escape_leaves_the_filter_while_it_is_typed_and_closes_nothing() -> None:
    async with reading(entries(3)) as reader:
        for text in ("qJ/", ""):
            await reader.press("slash", *text)  # letters, none of which closes anything
            assert reader.journal.query_one(Input).value == text
            await reader.press("escape")
            assert reader.open
            assert reader.app.focused is reader.table
            assert not reader.journal.query_one("#filter-line").display
        await reader.press("slash", "down")  # an empty filter that is left is closed
        assert not reader.journal.query_one("#filter-line").display


@pytest.mark.parametrize("key", ["q", "J", "escape"])
async def test_it_closes_and_what_comes_later_does_no_harm(key: str) -> None:
    async with reading(entries(3)) as reader:
        await reader.press(key)
        await reader.until(lambda: not reader.open and not reader.journal.is_running)
        reader.journal.load(entries(5))
        reader.journal.apply([entry(7)])
        await reader.pilot.pause()


async def test_rows_may_come_before_it_is_mounted() -> None:
    app = Host()
    app.journal.load(entries(3))
    app.journal.apply([entry(3, outcome="waiting")])
    async with app.run_test(size=SIZES[0]) as pilot:
        reader = Reader(app, pilot)
        await reader.until(lambda: reader.open and app.focused is reader.table)
        await pilot.pause()
        assert reader.foot == "4 entries · 1 unfinished"
        assert reader.shown[0] == name(3)
        assert "◐ waiting" in reader.screen[2]


async def test_enter_and_a_click_ask_for_the_details() -> None:
    async with reading(entries(3)) as reader:
        await reader.press("down", "enter")
        assert reader.app.asked == [name(1)]
        await reader.pilot.click(reader.table, offset=(6, 3))
        await reader.pilot.click(reader.table, offset=(6, 3))
        await reader.until(lambda: reader.app.asked == [name(1), name(0)])
        await reader.app.push_screen(DetailsScreen("journal entry", [("command", "vm stop")]))
        await reader.press("escape")
        assert reader.open
        assert reader.app.focused is reader.table


async def test_nothing_is_marked() -> None:
    async with reading(entries(3)) as reader:
        await reader.pilot.click(reader.table, offset=(0, 1))
        await reader.until(lambda: not reader.table.rows.marks)
        assert not any("✓" in line for line in reader.screen)


# Entries that come in and go on


@pytest.mark.parametrize("size", SIZES)
async def test_an_entry_ends_under_the_cursor(size: tuple[int, int]) -> None:
    async with reading([entry(3), entry(2, outcome="unfinished", seconds=None), entry(1)], size) as reader:
        await reader.press("down")
        assert reader.foot == "3 entries · 1 unfinished"
        assert "◐ unfinished" in reader.screen[3]
        reader.journal.apply([entry(2, outcome="done", seconds=1.25)])
        await reader.until(lambda: "● done" in reader.screen[3])
        assert reader.foot == "3 entries"
        assert reader.at == name(2)


async def test_new_entries_come_in_on_top_and_the_cursor_stays() -> None:
    async with reading(entries(100)) as reader:
        await reader.press("down")
        reader.journal.apply([entry(100, outcome="waiting"), entry(101, outcome="waiting")])
        await reader.until(lambda: name(101) in reader.shown)
        await reader.pilot.pause()
        assert reader.shown[:3] == [name(101), name(100), name(99)]
        assert reader.at == name(98)
        assert "i-00000000000000065" in reader.screen[2]  # they are seen, not scrolled past
        assert reader.foot == "102 entries · 2 unfinished"


async def test_a_scrolled_journal_stays_where_it_is() -> None:
    async with reading(entries(100)) as reader:
        await reader.press("pagedown", "pagedown")
        before, cursor = [line[:-2] for line in reader.screen[2:-2]], reader.at
        reader.journal.apply([entry(100)])
        await reader.until(lambda: reader.foot == "101 entries")
        assert [line[:-2] for line in reader.screen[2:-2]] == before  # all but the scroll bar
        assert reader.at == cursor


async def test_the_cursor_stays_in_sight_when_many_come_in() -> None:
    async with reading(entries(100), SIZES[0]) as reader:
        reader.journal.apply([entry(number) for number in range(100, 150)])
        await reader.until(lambda: reader.foot == "150 entries")
        assert reader.at == name(99)
        assert any(f"vm stop i-{99:017x}" in line for line in reader.screen)


async def test_what_comes_in_passes_through_the_filter() -> None:
    async with reading([entry(2, outcome="unfinished"), entry(1, outcome="failed")]) as reader:
        await reader.press("slash", *"unfinished", "enter")
        assert reader.foot == "1 of 2 · 1 unfinished"
        reader.journal.apply([entry(3, outcome="unfinished"), entry(4)])
        await reader.until(lambda: reader.foot == "2 of 4 · 2 unfinished")
        reader.journal.apply([entry(2)])
        await reader.until(lambda: reader.foot == "1 of 4 · 1 unfinished")
        assert reader.at == name(3)


async def test_read_again_the_cursor_stays() -> None:
    async with reading(entries(10)) as reader:
        await reader.press("down", "down")
        reader.journal.load(entries(12))
        await reader.until(lambda: reader.foot == "12 entries")
        assert reader.at == name(7)
