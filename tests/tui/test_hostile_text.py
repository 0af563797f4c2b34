"""What strangers write does nothing, wherever it is shown: every place by itself, then the whole dashboard."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pymongo.database import Database
from textual.app import App, ComposeResult
from textual.events import Paste

from backend.config import Cloud
from tests.hostile import LONG, MARK, PIECES, SAYABLE, Tally, texts
from tests.hostile_places import PLACES
from tests.tui.hostile_dashboard import in_a_terminal, walk, world_of
from tui.widgets.field import Field

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


async def test_a_dashboard_full_of_it_stays_what_it_is(cloud: Cloud, tmp_path: Path) -> None:
    tally = Tally("the dashboard")
    await walk(world_of(cloud, tmp_path, [f"{piece}{MARK}" for piece in (*SAYABLE, *LONG)]), tally)
    assert tally.bad == []


@pytest.mark.skipif(sys.platform != "linux", reason="A pseudo-terminal as Linux has them.")
def test_nothing_of_it_reaches_a_terminal(mongodb: str, database: Database[dict[str, Any]], tmp_path: Path) -> None:
    tally = Tally("a real terminal")
    in_a_terminal(mongodb, database.name, tmp_path, [f"{piece}{MARK}" for piece in SAYABLE], tally)
    assert tally.bad == []


async def test_a_field_takes_nothing_that_steers_or_is_not_seen() -> None:
    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Field()

    async with One().run_test() as pilot:
        field = pilot.app.query_one(Field)
        field.post_message(Paste("a\u202eb\u2066c\u200bd\ufeffe\xadf\x1b[31m\x9bg"))
        await pilot.pause()
        assert field.value == "abcdef[31mg"
        kept = "né 東京 \u0915\u094d\u0937 \xa0\U0001f680 \ue0b0"
        field.value = f"{kept}\u2028\u2029\U000e0041\n"
        assert field.value == kept
