"""What strangers write does nothing, wherever it is shown: every place by itself, then the whole dashboard."""

import pytest
from hypothesis import given

from tests.hostile import PIECES, Tally, texts
from tests.hostile_places import PLACES

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
