"""The table for its user: keys, mouse and the screen."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Button

from backend.catalog import KINDS
from backend.kinds.model import Kind, Ref, Row, Scope
from backend.lifecycle import Flight
from tui.widgets.cells import fit, matches
from tui.widgets.table import ResourceTable

STYLES = Path(__file__).parents[2] / "styles" / "table.tcss"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VOLUME, VM, LOCATION = KINDS["volume"], KINDS["vm"], KINDS["location"]
HERE, THERE = Scope("aws", "us-east-1"), Scope("aws", "us-west-2")
SIZES = [(80, 24), (200, 60)]


def row(kind: Kind, id: str, scope: Scope = HERE, **values: Any) -> Row:
    said = {"name": f"name {id}", **values, "id": id}
    return (*(said.get(column.name) for column in kind.columns), scope.text)


def here(*natives: str) -> list[Ref]:
    """Return the names of rows of the first scope."""
    return [Ref(HERE, native) for native in natives]


def volumes(count: int, **values: Any) -> list[Row]:
    return [row(VOLUME, f"vol-{n:03}", size=n, state="available", **values) for n in range(count)]


class Shown(App[None]):
    CSS_PATH = STYLES

    def __init__(self, kind: Kind = VOLUME, rows: list[Row] | None = None) -> None:
        super().__init__()
        self.table = ResourceTable(kind)
        if rows is not None:
            self.table.load(rows)
        self.seen: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.table
        yield Button("other")

    def on_mount(self) -> None:
        self.query_one(Button).styles.height = 1
        self.table.focus()

    def on_resource_table_highlighted(self, message: ResourceTable.Highlighted) -> None:
        self.seen.append(message)

    def on_resource_table_selected(self, message: ResourceTable.Selected) -> None:
        self.seen.append(message)

    def on_resource_table_sorted(self, message: ResourceTable.Sorted) -> None:
        self.seen.append(message)

    def on_resource_table_marks_changed(self, message: ResourceTable.MarksChanged) -> None:
        self.seen.append(message)


def screen(table: ResourceTable) -> list[str]:
    """Return the text of every line of the table, each as wide as the table in cells."""
    lines = [table.render_line(y).text for y in range(table.size.height)]
    assert {cell_len(line) for line in lines} == {table.size.width}
    return lines


def cursor(table: ResourceTable) -> str | None:
    """Return the id of the cursor's row, unknown to the type checker, which takes a property for a constant."""
    return table.cursor_ref and table.cursor_ref.id


def selected(table: ResourceTable) -> list[str]:
    """Return the ids of the rows that a command would act on."""
    return [table.kind.value(row, "id") for row in table.selected_rows]


def line_of(table: ResourceTable, id: str) -> int:
    """Return the line of the screen with the row of this id."""
    return next(y for y, line in enumerate(screen(table)) if f" {id} " in line)


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Callable[[ResourceTable], list[int]]:
    """Return a function that starts to collect the lines a table paints."""

    def start(table: ResourceTable) -> list[int]:
        ys: list[int] = []
        real = table.render_line

        def render_line(y: int) -> Strip:
            ys.append(y)
            return real(y)

        monkeypatch.setattr(table, "render_line", render_line)
        return ys

    return start


# Cursor and scroll


@pytest.mark.parametrize("size", SIZES)
async def test_keys_move_the_cursor_and_the_screen_follows(size: tuple[int, int]) -> None:
    app = Shown(rows=volumes(300))
    async with app.run_test(size=size) as pilot:
        table = app.table
        await pilot.pause()
        assert cursor(table) == "vol-000"
        await pilot.press("down", "j", "down", "k", "up")
        assert cursor(table) == "vol-001"
        page = table.scrollable_content_region.height - 1
        await pilot.press("pagedown")
        assert cursor(table) == f"vol-{1 + page:03}"
        assert line_of(table, f"vol-{1 + page:03}") == 2  # where it was
        await pilot.press("end", "down")
        assert cursor(table) == "vol-299"
        assert line_of(table, "vol-299") == page
        await pilot.press("pageup")
        assert cursor(table) == f"vol-{299 - page:03}"
        await pilot.press("home", "up")
        assert cursor(table) == "vol-000"
        assert line_of(table, "vol-000") == 1


async def test_cursor_and_screen_line_outlive_load_apply_sort_and_filter() -> None:
    app = Shown(rows=volumes(200))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        table.move_to(Ref(HERE, "vol-100"))
        await pilot.press("up", "up", "up")
        assert cursor(table) == "vol-097"
        line = line_of(table, "vol-097")
        assert 1 < line < 21
        app.seen.clear()
        changes: list[Callable[[], None]] = [
            lambda: table.load(volumes(200)[50:]),
            lambda: table.apply(volumes(50), []),
            lambda: table.sort_by("size", True),
            lambda: table.apply([row(VOLUME, "vol-new", size=1000)], here("vol-150", "vol-151")),
            lambda: table.set_filter("0"),
            lambda: table.sort_by("name"),
            lambda: table.set_filter(""),
        ]
        for change in changes:
            change()
            await pilot.pause()
            assert cursor(table) == "vol-097"
            assert line_of(table, "vol-097") == line
        assert not [message for message in app.seen if isinstance(message, ResourceTable.Highlighted)]


async def test_a_screen_scrolled_away_from_the_cursor_stays_on_its_rows() -> None:
    app = Shown(rows=volumes(200))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        table.scroll_to(y=100, animate=False)
        await pilot.pause()
        assert line_of(table, "vol-100") == 1
        table.apply([], here(*(f"vol-{n:03}" for n in range(10, 60))))
        await pilot.pause()
        assert line_of(table, "vol-100") == 1
        assert cursor(table) == "vol-000"


async def test_the_cursor_goes_to_the_row_after_a_removed_one() -> None:
    app = Shown(rows=volumes(10))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        table.move_to(Ref(HERE, "vol-005"))
        table.apply([], here("vol-001", "vol-005", "vol-006"))
        assert cursor(table) == "vol-007"
        table.load(volumes(7))
        assert cursor(table) == "vol-004"
        table.load([])
        assert cursor(table) is None
        assert selected(table) == []
        table.load(volumes(2))
        assert cursor(table) == "vol-000"
        await pilot.pause()
        said = [
            message.ref and message.ref.id for message in app.seen if isinstance(message, ResourceTable.Highlighted)
        ]
        assert said == ["vol-000", "vol-005", "vol-007", "vol-004", None, "vol-000"]


async def test_a_filtered_cursor_comes_back_with_its_row() -> None:
    app = Shown(rows=volumes(200))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        table.move_to(Ref(HERE, "vol-120"))
        await pilot.pause()
        line = line_of(table, "vol-120")
        table.set_filter("vol-1 5")
        assert cursor(table) == "vol-125"
        table.set_filter("vol-1 55")
        assert cursor(table) == "vol-155"
        table.set_filter("no such row")
        assert cursor(table) is None
        table.set_filter("vol-11")
        assert cursor(table) == "vol-119"
        table.apply([row(VOLUME, "vol-new", size=1000)], [])
        table.set_filter("")
        await pilot.pause()
        assert cursor(table) == "vol-120"
        assert line_of(table, "vol-120") == line


async def test_a_filtered_cursor_stays_away_once_the_user_moved_on() -> None:
    app = Shown(rows=volumes(200))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        table.move_to(Ref(HERE, "vol-120"))
        table.set_filter("5")
        await pilot.press("down")
        moved_to = cursor(table)
        assert moved_to not in (None, "vol-120")
        table.set_filter("")
        assert cursor(table) == moved_to


async def test_sorting_an_untouched_table_shows_the_top_of_it() -> None:
    app = Shown(rows=volumes(200))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        table.sort_by("size", True)
        await pilot.pause()
        assert cursor(table) == "vol-199"
        assert line_of(table, "vol-199") == 1


async def test_a_smaller_screen_still_shows_the_cursor() -> None:
    app = Shown(rows=volumes(100))
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.pause()
        app.table.move_to(Ref(HERE, "vol-030"))
        await pilot.resize_terminal(60, 12)
        await pilot.pause()
        assert line_of(app.table, "vol-030") > 0
        assert cursor(app.table) == "vol-030"


# Sort


async def test_sorting_round_all_columns_and_back() -> None:
    app = Shown(LOCATION, [row(LOCATION, "b", name=None), row(LOCATION, "a", name="z"), row(LOCATION, "c", name="Y")])
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        ids = [table.rows.ref_at(n).id for n in range(3)]
        for column in LOCATION.columns:
            table.sort_next()
            await pilot.pause()
            assert f"{column.title} ▲" in screen(table)[0]
        table.sort_next()
        await pilot.pause()
        assert [table.rows.ref_at(n).id for n in range(3)] == ids
        assert "▲" not in screen(table)[0]
        table.sort_by("name")
        assert [table.rows.ref_at(n).id for n in range(3)] == ["c", "a", "b"]
        table.sort_reverse()
        assert [table.rows.ref_at(n).id for n in range(3)] == ["a", "c", "b"]  # None stays last
        await pilot.pause()
        last = app.seen[-1]
        assert isinstance(last, ResourceTable.Sorted)
        assert (last.table, last.column, last.reverse) == (table, "name", True)


async def test_a_click_on_a_header_sorts_and_another_reverses() -> None:
    app = Shown(rows=volumes(30))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        x = screen(table)[0].index("Size")
        await pilot.click(table, offset=(x, 0))
        assert (table.rows.column, table.rows.reverse) == ("size", False)
        await pilot.click(table, offset=(x, 0))
        assert (table.rows.column, table.rows.reverse) == ("size", True)
        assert "▼ Size" in screen(table)[0]  # on the left of a title that is aligned to the right
        await pilot.click(table, offset=(3, 0))
        assert (table.rows.column, table.rows.reverse) == ("name", False)


async def test_a_header_click_finds_its_column_when_scrolled_sideways() -> None:
    app = Shown(VM, [row(VM, f"i-{n}") for n in range(5)])
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.table
        await pilot.pause()
        await pilot.press("right", "right", "right")
        header = screen(table)[0]
        assert header.startswith("  Name")
        assert " ID " not in header
        x = header.index("Flavor")
        assert header[x - 2] == "│"  # the column starts right of the fixed part
        await pilot.click(table, offset=(x, 0))
        assert table.rows.column == "flavor"
        await pilot.press("left", "left", "left", "left")
        assert " ID " in screen(table)[0]


# Marks and choice


async def test_marks_survive_all_but_the_end_of_their_row() -> None:
    app = Shown(rows=volumes(20))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        assert selected(table) == ["vol-000"]
        table.move_to(Ref(HERE, "vol-003"))
        table.toggle_mark()
        table.move_to(Ref(HERE, "vol-002"))
        table.toggle_mark()
        assert selected(table) == ["vol-002", "vol-003"]
        table.sort_by("size", True)
        table.set_filter("vol-01")
        table.load(volumes(20))
        table.set_filter("")
        await pilot.pause()
        assert [line.startswith("✓ ") for line in screen(table)].count(True) == 2
        assert screen(table)[line_of(table, "vol-003")].startswith("✓ ")
        app.seen.clear()
        table.apply([], here("vol-003"))
        assert selected(table) == ["vol-002"]
        table.clear_marks()
        table.set_filter("vol-01")
        table.mark_all()
        await pilot.pause()
        assert len(selected(table)) == 10
        assert [type(message) for message in app.seen if not isinstance(message, ResourceTable.Highlighted)] == [
            ResourceTable.MarksChanged
        ] * 3


async def test_two_rows_of_one_id_are_marked_changed_and_removed_each_on_its_own() -> None:
    app = Shown(rows=[row(VOLUME, "vol-1", size=1), row(VOLUME, "vol-1", THERE, size=2)])
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        await pilot.press("down")
        assert table.cursor_ref == Ref(THERE, "vol-1")
        table.toggle_mark()
        await pilot.pause()
        assert [line.startswith("✓ ") for line in screen(table)[1:3]] == [False, True]
        assert ["2 GiB" in line for line in screen(table)[1:3]] == [False, True]
        table.apply([row(VOLUME, "vol-1", size=8)], [])
        assert ["8 GiB" in line for line in screen(table)[1:3]] == [True, False]
        table.apply([], here("vol-1"))
        await pilot.pause()
        assert [VOLUME.ref(one) for one in table.selected_rows] == [Ref(THERE, "vol-1")]
        assert (table.cursor_ref, table.total) == (Ref(THERE, "vol-1"), 1)
        table.expect(Ref(HERE, "vol-1"))
        table.apply([row(VOLUME, "vol-1", THERE, size=3), row(VOLUME, "vol-1", size=1)], [])
        assert table.cursor_ref == Ref(HERE, "vol-1")


async def test_enter_and_a_second_click_choose_a_row() -> None:
    app = Shown(rows=volumes(20))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()

        def chosen() -> list[str]:
            return [message.ref.id for message in app.seen if isinstance(message, ResourceTable.Selected)]

        await pilot.click(table, offset=(20, 5))
        assert (cursor(table), chosen()) == ("vol-004", [])
        await pilot.click(table, offset=(20, 5))
        assert chosen() == ["vol-004"]
        await pilot.press("down", "enter")
        assert chosen() == ["vol-004", "vol-005"]
        await pilot.click(table, offset=(0, 3))
        assert selected(table) == ["vol-002"]
        assert table.rows.marks == 1
        table.load([row(VOLUME, "only")])
        await pilot.click(table, offset=(20, 9))  # below the last row
        assert len(chosen()) == 2


# What stands on the screen


@pytest.mark.parametrize("size", [*SIZES, (20, 5), (5, 3)])
async def test_hostile_and_wide_text_keeps_its_column(size: tuple[int, int]) -> None:
    names = [
        "[/]bad [red]x",
        "\x1b[31mred\x07\n\r\tmore",
        "数据库数据库数据库数据库数据库数据库数据库数据库数据库",
        "🚀👩‍👩‍👧🇩🇪" * 12,
        "e\u0301" * 60,
        "\u202eright to left",
        "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "plain",
        "a" * 300,
        "",
    ]
    app = Shown(rows=[row(VOLUME, f"vol-{n}", name=name, state="available") for n, name in enumerate(names)])
    async with app.run_test(size=size) as pilot:
        table = app.table
        await pilot.pause()
        lines = screen(table)
        assert "\x1b" not in "".join(lines)
        if size[0] < 80:
            return
        assert "[/]bad [red]x" in lines[1]
        assert "␛[31mred" in lines[2]
        assert "数据库" in lines[3]
        assert "…" in lines[9]
        starts = {cell_len(line[: line.index("vol-")]) for line in lines[1 : len(names) + 1]}
        assert len(starts) == 1
        table.set_filter("数 库")
        await pilot.press("right")
        screen(table)


def test_fit_is_exact_in_cells() -> None:
    assert fit("abc", 5) == "abc  "
    assert fit("abc", 5, right=True) == "  abc"
    assert fit("abcdef", 4) == "abc…"
    assert fit("数据库", 4) == "数… "
    assert fit("数据库", 5) == "数据…"
    assert fit("ab cd", 4) == "ab… "
    assert fit("abc", 0) == ""


def test_matches_are_found_whatever_the_case_and_merged() -> None:
    assert list(matches("Ubuntu 22.04 UBUNTU", ("ubuntu", "22"))) == [(0, 6), (7, 9), (13, 19)]
    assert list(matches("abcabc", ("abc", "bca"))) == [(0, 6)]
    assert list(matches("die Straße hier", ("strasse", "hier"))) == [(4, 10), (11, 15)]
    assert list(matches("ß", ("s",))) == [(0, 1)]
    assert list(matches("aaa", ("b",))) == []


async def test_matches_states_and_the_cursor_have_their_own_styles() -> None:
    rows = [row(VM, f"i-{state}", name="Web", state=state) for state in ("running", "stopped", "pending", "error", "?")]
    app = Shown(VM, [row(VM, "i-first"), *rows])
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()

        def style(y: int, text: str) -> Any:
            return next(segment.style for segment in table.render_line(y) if text in segment.text)

        colors = {style(y, text).color for y, text in enumerate(["● run", "○ stop", "◐ pend", "✕ err"], 2)}
        assert len(colors) == 4
        focused = style(1, "i-first")
        assert focused.bold
        assert focused.bgcolor != style(2, "Web").bgcolor
        app.query_one(Button).focus()
        await pilot.pause()
        assert style(1, "i-first").bgcolor not in (focused.bgcolor, style(2, "Web").bgcolor)
        table.set_filter("eB")
        await pilot.pause()
        assert [segment.text for segment in table.render_line(2) if segment.style and segment.style.underline] == ["eb"]


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
async def test_in_sixteen_colours_the_cursor_is_reversed(theme: str) -> None:
    app = Shown(rows=volumes(3))
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = theme
        await pilot.pause()
        reversed_lines = [
            y
            for y in range(1, 4)
            if any(segment.style and segment.style.reverse for segment in app.table.render_line(y))
        ]
        assert reversed_lines == [1]


async def test_numbers_stand_on_the_right_under_their_title() -> None:
    app = Shown(rows=[row(VOLUME, "vol-a", size=8), row(VOLUME, "vol-b", size=2000)])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        header, first, second = screen(app.table)[:3]
        end = header.index("Size") + 4
        assert first[:end].endswith("  8 GiB")
        assert second[:end].endswith(" 2000 GiB")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
async def test_empty_states(kind: Kind) -> None:
    app = Shown(kind)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()

        def said() -> str:
            return " ".join(" ".join(screen(table)[1:]).split())

        assert said() == kind.empty
        table.notice = "Loading [b]…\x1b[1m"
        assert said() == "Loading [b]…␛[1m"
        table.load([row(kind, "some-id", name="some name")])
        assert "some name" in said()
        table.set_filter("xyz [b]")
        assert said() == f"No {kind.noun} matches 'xyz [b]'. Esc clears the filter."
        table.apply([row(kind, "xyz [b]", name="found")], [])
        assert "found" in said()
        await pilot.press("up", "down", "pagedown", "end")
        assert cursor(table) == "xyz [b]"


async def test_the_last_row_of_the_same_id_counts() -> None:
    app = Shown(rows=[row(VOLUME, "vol-1", name="old"), row(VOLUME, "vol-1", name="new")])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.table.total == app.table.visible_count == 1
        assert "new" in screen(app.table)[1]


# Painting


async def test_changed_cells_and_cursor_moves_paint_their_lines_alone(
    painted: Callable[[ResourceTable], list[int]],
) -> None:
    app = Shown(rows=volumes(500))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        ys = painted(table)
        table.apply([row(VOLUME, "vol-004", size=4, state="in-use"), row(VOLUME, "vol-400", size=400)], [])
        await pilot.pause()
        assert ys == [5]
        assert "● in-use" in screen(table)[5]
        ys.clear()
        await pilot.press("down")
        assert sorted(ys) == [1, 2]
        ys.clear()
        table.apply(volumes(100)[50:], [])  # nothing new
        await pilot.pause()
        assert ys == []
        table.apply([], here("vol-001"))
        await pilot.pause()
        assert set(ys) == set(range(table.size.height))


async def test_a_tick_paints_only_rows_in_flight(painted: Callable[[ResourceTable], list[int]]) -> None:
    flight = Flight("stop", NOW - timedelta(seconds=12))
    app = Shown(VM, [row(VM, f"i-{n}", name="vm", flight=flight if n in (2, 500) else None) for n in range(600)])
    async with app.run_test(size=(120, 24)) as pilot:
        table = app.table
        table.tick(NOW)
        await pilot.pause()
        assert "stopping 12 s" in screen(table)[3]
        ys = painted(table)
        table.tick(NOW + timedelta(seconds=5))
        await pilot.pause()
        assert ys == [3]
        assert "stopping 17 s" in screen(table)[3]
        table.apply([row(VM, "i-2")], [])
        await pilot.pause()
        ys.clear()
        table.tick(NOW + timedelta(seconds=6))
        await pilot.pause()
        assert ys == []


async def test_the_mouse_wheel_scrolls_and_leaves_the_cursor() -> None:
    app = Shown(rows=volumes(100))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        for _ in range(5):
            table.post_message(events.MouseScrollDown(table, 5, 5, 0, 1, 0, False, False, False))
        await pilot.pause()
        assert table.scroll_offset.y >= 5
        assert (cursor(table), screen(table)[0].split()[0]) == ("vol-000", "Name")
        await pilot.press("down")
        assert line_of(table, "vol-001") == 1


async def test_a_wide_table_scrolls_sideways_past_its_name() -> None:
    app = Shown(VM, [row(VM, f"i-{n:03}", launched=NOW) for n in range(100)])
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        await pilot.pause()
        assert table.virtual_size.height == 101
        assert table.virtual_size.width > 80
        assert table.scrollbars_enabled == (True, True)
        table.scroll_to(x=9999, animate=False)
        await pilot.pause()
        assert "2026-01-02 03:04" in screen(table)[1]
        assert screen(table)[1].startswith("  name i-000│ ")
        await pilot.resize_terminal(300, 24)
        await pilot.pause()
        assert table.scrollbars_enabled == (True, False)
        assert screen(table)[0].index("ID") < 40  # what no column needs is left at the right


async def test_rows_are_made_ready_for_the_filter_as_they_come_and_found_as_they_are() -> None:
    app = Shown(rows=volumes(12_000))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        table.set_filter("name")  # at once: most rows are not ready, and no letter waits for them
        assert 0 < table.visible_count < 12_000
        while not table.rows.ready:
            await pilot.pause()
        assert table.visible_count == 12_000
        table.apply(volumes(13_000)[12_000:])
        assert table.visible_count == 13_000


async def test_rows_that_the_filter_hides_still_change_what_an_empty_table_says(
    painted: Callable[[ResourceTable], list[int]],
) -> None:
    app = Shown()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.table
        table.set_filter("xyz")
        await pilot.pause()
        ys = painted(table)
        table.apply([row(VOLUME, "v", name="n")], [])  # too short to widen a column
        await pilot.pause()
        assert ys
        assert any("matches 'xyz'" in line for line in screen(table))
