"""Hostile text does nothing: on each function that shows text, then on the whole dashboard."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pymongo.database import Database
from textual.app import App, ComposeResult
from textual.events import Paste
from textual.widgets import Input

from backend.catalog import KINDS
from backend.config import Cloud
from backend.kinds.model import Scope
from tests.hostile import ESCAPES, LONG, MARK, PIECES, SAYABLE, Tally, texts
from tests.hostile_places import PLACES
from tests.tui.dashboard import driven
from tests.tui.hostile_dashboard import in_a_terminal, walk, world_of
from tests.tui.shell import control_characters
from tui.rows import Rows
from tui.widgets.field import Field
from tui.widgets.picks import matches

pytestmark = pytest.mark.thorough

every_place = pytest.mark.parametrize("place", PLACES)


@every_place
def test_no_piece_steers_hides_or_moves_anything(place: str) -> None:
    tally = Tally(place)
    for piece in PIECES:
        PLACES[place](piece, tally)
        PLACES[place](f"a{piece}z", tally)
    assert tally.bad == []


@every_place
@given(text=texts)
def test_no_text_steers_hides_or_moves_anything(place: str, text: str) -> None:
    tally = Tally(place)
    PLACES[place](text, tally)
    assert tally.bad == []


async def test_a_dashboard_full_of_hostile_text_works(cloud: Cloud, tmp_path: Path) -> None:
    tally = Tally("the dashboard")
    await walk(world_of(cloud, tmp_path, [f"{piece}{MARK}" for piece in (*SAYABLE, *LONG)]), tally)
    assert tally.bad == []


@pytest.mark.skipif(sys.platform != "linux", reason="A pseudo-terminal as Linux has them.")
def test_nothing_of_it_reaches_a_terminal(mongodb: str, database: Database[dict[str, Any]], tmp_path: Path) -> None:
    tally = Tally("a real terminal")
    in_a_terminal(mongodb, database.name, tmp_path, [f"{piece}{MARK}" for piece in SAYABLE], tally)
    assert tally.bad == []


async def test_what_is_pasted_into_a_field_holds_nothing_that_steers(cloud: Cloud, tmp_path: Path) -> None:
    """So nothing of that kind is painted, nor copied from there."""
    app = world_of(cloud, tmp_path, ["web"]).app(refresh=False)
    async with driven(app) as user:
        await user.until(lambda: app.session is not None)
        await user.press("slash")
        app.post_message(Paste(f"名 -1\u200d{''.join(ESCAPES)}"))
        field = app.main.query_one("#filter", Input)
        await user.until(lambda: field.value)
        assert field.value.startswith("名 -1\u200d")  # what a keyboard types is kept to the letter
        assert control_characters(field.value) == {"\u200d"}
        await user.sees("名 -1")
        assert control_characters(user.screen) == {"\u200d"}


def test_an_offer_that_a_field_must_not_hold_is_taken_by_its_id() -> None:
    kind = KINDS["keypair"]
    rows = [("tame", "key-1", *(None,) * 4), ("\x1b[2J", "key-2", *(None,) * 4), ("🇩🇪", "key-3", *(None,) * 4)]
    assert list(matches(kind, rows, "")) == [
        ("tame", "tame  key-1"),
        ("key-2", "␛[2J  key-2"),
        ("key-3", "ⒹⒺ  key-3"),
    ]


def test_a_filter_finds_what_is_shown_and_what_it_was_shown_for() -> None:
    rows = Rows(KINDS["keypair"])
    rest = (*(None,) * (len(rows.kind.columns) - 2), Scope("aws", "us-east-1").text)
    rows.replace([("🇩🇪 👍🏽", "key-1", *rest), ("other", "key-2", *rest)])
    for words in ("🇩🇪", "ⓓ", "👍🏽", "👍", "👍🏿 🇩🇪"):
        rows.filter(words)
        assert rows.visible == 1, words


async def test_a_field_takes_nothing_that_steers_or_is_not_seen() -> None:
    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Field()

    async with One().run_test() as pilot:
        field = pilot.app.query_one(Field)
        field.post_message(Paste("a\u202eb\u2066c\u200bd\ufeffe\xadf\x1b[31m\x9bg"))
        await pilot.pause()
        assert field.value == "abcdef[31mg"
        kept = "né 東京 \u0915\u094d\u200d\u0937 \u200c\xa0\U0001f680 \ue0b0"
        field.value = f"{kept}\u2028\u2029\U000e0041\n"
        assert field.value == kept


@pytest.mark.parametrize(
    ("pasted", "taken", "said"),
    [
        ("vm list", "vm list", ""),
        ("vm list\n", "vm list", ""),
        ("\nvm list\r\n\r\n", "vm list", ""),
        ("vm list\nvm stop web", "vm list", "Only the first line was taken; 1 more line was left out."),
        ("a\n\nb\nc\n", "a", "Only the first line was taken; 2 more lines were left out."),
        ("\n", "", ""),
    ],
)
async def test_pasted_lines_that_are_left_out_are_reported(pasted: str, taken: str, said: str) -> None:
    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Field()

    async with One().run_test(notifications=True) as pilot:
        field = pilot.app.query_one(Field)
        field.post_message(Paste(pasted))
        await pilot.pause()
        assert field.value == taken
        assert [one.message for one in pilot.app._notifications] == ([said] if said else [])


async def test_the_dashboard_says_that_only_the_first_pasted_line_was_taken(cloud: Cloud, tmp_path: Path) -> None:
    app = world_of(cloud, tmp_path, ["web"]).app(refresh=False)
    async with driven(app) as user:
        await user.until(lambda: app.session is not None)
        for key, field in (("slash", "#filter"), ("colon", "#command")):
            await user.press(key)
            app.post_message(Paste("web\nother"))
            await user.until(lambda field=field: app.main.query_one(field, Input).value == "web")  # type: ignore[misc]
            await user.sees("Only the first line was taken")
            app.clear_notifications()
            await user.loses("Only the first line")
            await user.press("escape")
