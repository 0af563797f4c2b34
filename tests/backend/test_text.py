"""Untrusted text and column values on a terminal, in JSON and in a sort."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from rich.cells import cell_len
from wcwidth import wcswidth

from backend.catalog import KINDS, kind_named
from backend.errors import UsageError
from backend.format import RIGHT_ALIGNED, STATE_SYMBOLS, as_object, cell, duration, flight_text, plain, sort_key
from backend.journal.model import JOURNAL
from backend.kinds.model import Column, Kind, Row, Scope, Type
from backend.lifecycle import ACTIONS, Flight
from backend.names import closest, nearest
from backend.text import safe
from tests.hostile import cells, spaced, texts

NOW = datetime(2026, 11, 23, 12, 30, 59, tzinfo=UTC)

# --- safe -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
def test_c0_controls_become_their_pictures(code: int) -> None:
    shown = safe(f"a{chr(code)}b")
    assert (len(shown), shown[0], shown[2]) == (3, "a", "b")
    assert shown[1] == ("␡" if code == 0x7F else chr(0x2400 + code))


@pytest.mark.parametrize(
    "char",
    [
        *map(chr, range(0x80, 0xA0)),  # C1: CSI in one character among them
        *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",  # bidi
        *"\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e",  # of no width
        *"\u2028\u2029",  # line and paragraph ends
        "\ufff9", "\U000e0001", "\U000e0041",  # annotations and tags
        *map(chr, (0xD800, 0xDCFF, 0xDFFF)),  # no characters at all
        "\ue000", "\U000f0000", "\u0378", "\uffff", "\U0010ffff",  # private and unassigned
    ],
)  # fmt: skip
def test_what_steers_or_hides_becomes_the_replacement(char: str) -> None:
    assert safe(f"a{char}b") == "a\ufffdb"


@pytest.mark.parametrize("char", "\u00a0\u1680\u2000\u2003\u2007\u202f\u205f\u3000")
def test_odd_spaces_become_spaces(char: str) -> None:
    assert safe(f"a{char}b") == "a b"


@pytest.mark.parametrize(
    "text",
    [
        "", "web-1", "a b", "café", "cafe\u0301", "データ 漢字", "한국어", "ㅎㅎ", "مرحبا", "مُحَمَّد", "שָׁלוֹם", "ไทยที่นี่",
        "नमस्ते हिन्दी", "தமிழ்", "ကျောင်းသား", "Việt", "Vie\u0323\u0302t", "☁ 🚀", "👍", "™ © ½ →", "1\u20e3", "﷽", "⠓⠑⠇",
    ],
)  # fmt: skip
def test_letters_of_the_world_are_left_alone(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("☁\ufe0f 🚀", "☁ 🚀"), ("❤\ufe0f\ufe0f", "❤"), ("👍\ufe0e", "👍"), ("‼\ufe0f", "‼"),
        ("1\ufe0f\u20e3", "1\u20e3"),
        ("👍🏽", "👍"), ("☝\ufe0f🏿", "☝"),
        ("🇩🇪", "ⒹⒺ"), ("🇦🇿🇩", "ⒶⓏⒹ"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"), ("\uac00\u11a8", "각"),
        ("a\u2800b", "a b"),
    ],
)  # fmt: skip
def test_what_terminals_count_differently_is_shown_by_what_they_count_alike(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    "char",
    [
        *"\u115f\u1160\u3164\uffa0",  # fillers of Hangul
        *"\u034f\u17b4\u17b5\u180b\u180f\U0001d159",
        *"\ufe00\ufe0d\U000e0100\U000e01ef", *"\ufe0e\ufe0f🏽",  # say how a picture before them is drawn
        *"\u1161\u11a8\u11ff\ud7b0\ud7fb",  # later parts of syllables
    ],
)  # fmt: skip
def test_what_is_printable_and_yet_not_seen_becomes_the_replacement(char: str) -> None:
    assert safe(char) == "\ufffd"
    assert safe(f"a{char}b") == "a\ufffdb"


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\u0e31", "\u093f", "\u05b7"])  # Mn, Me, Mn, Mc, Mn
def test_marks_stand_on_something_and_in_no_pile(mark: str) -> None:
    assert safe(f"{mark}a") == f"\u25cc{mark}a"
    assert safe(f"a{mark * 4}b") == f"a{mark * 4}b"
    assert safe(f"a{mark * 1000}b{mark}") == f"a{mark * 4}b{mark}"
    assert safe(mark * 1000) == f"\u25cc{mark * 4}"


@pytest.mark.parametrize("text", ["[/]bad", "[bold]x[/bold]", "[@click=app.quit]x", "&lt;", "$(x)", "`x`", "%s{0}"])
def test_markup_is_left_alone(text: str) -> None:
    assert safe(text) == text


def test_joined_emoji_come_apart() -> None:
    """The joiner has no width and would hide in any name; what it joins is still seen."""
    assert safe("👩\u200d🚀") == "👩\ufffd🚀"


def test_no_escape_sequence_survives() -> None:
    assert safe("\x1b[2J\x1b]52;c;cm0=\x07\r\n\tx\x9b1m") == "␛[2J␛]52;c;cm0=␇␍␊␉x\ufffd1m"


@pytest.mark.thorough
@pytest.mark.parametrize("plane", range(0, 0x110000, 0x10000))
def test_every_character_takes_the_cells_that_it_is_given_whatever_stands_before_it(plane: int) -> None:
    """By rich, by wcwidth a character (as xterm and pyte count) and by wcwidth a sequence (as kitty counts)."""
    checked = set()
    for char in map(chr, range(plane, plane + 0x10000)):
        shown = safe(char)
        if shown in checked:  # most are replaced by the same one
            continue
        checked.add(shown)
        assert shown.isprintable()
        assert safe(shown) == shown
        shown.encode()
        assert cell_len(shown) in (1, 2)
        for before in ("", *"│a漢👍☁"):
            text = before + shown
            assert cell_len(text) == cell_len(before) + cell_len(shown) == cells(text), hex(ord(char))
            assert spaced(text) or wcswidth(text) == cell_len(text), hex(ord(char))


@given(texts, texts)
def test_safe_texts_stay_what_they_are_side_by_side(one: str, other: str) -> None:
    both = safe(one) + safe(other)
    assert both.isprintable()
    assert safe(both) == both
    assert cell_len(both) == cell_len(safe(one)) + cell_len(safe(other)) == cells(both)
    assert spaced(both) or wcswidth(both) == cell_len(both)


@given(texts)
def test_ascii_is_shown_character_for_character(text: str) -> None:
    plain = text.encode("ascii", "ignore").decode()
    assert safe(plain) == "".join(map(safe, plain))
    assert len(safe(plain)) == len(plain)


# --- cell -------------------------------------------------------------------------------------------------------------


def column(kind: Type) -> Column:
    return Column("x", "X", kind)


FLIGHT = Flight("stop", NOW - timedelta(seconds=12))

CELLS: list[tuple[Type, Any, str]] = [
    ("text", "", ""),
    ("text", "a\x1bb", "a␛b"),
    ("text", "[red]x", "[red]x"),
    ("state", "running", "● running"),
    ("state", "stopped", "○ stopped"),
    ("state", "shutting-down", "◐ shutting-down"),
    ("state", "terminated", "✕ terminated"),
    ("state", "odd\n", "? odd␊"),
    ("int", 0, "0"),
    ("int", 1234567, "1234567"),
    ("mib", 512, "512 MiB"),
    ("mib", 0.5, "0.5 MiB"),
    ("mib", 1024, "1 GiB"),
    ("mib", 1536, "1.5 GiB"),
    ("mib", 25165824, "24576 GiB"),
    ("gib", 0, "0 GiB"),
    ("gib", 8, "8 GiB"),
    ("gib", 1.5, "1.5 GiB"),
    ("gib", 1000, "1000 GiB"),
    ("gib", 1024, "1 TiB"),
    ("gib", 1900, "1900 GiB"),
    ("gib", 65536, "64 TiB"),
    ("usd", 0.0104, "0.0104"),
    ("usd", 1, "1.0000"),
    ("time", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02 03:04"),
    ("time", "yester\x00day", "yester␀day"),
    ("flag", True, "x"),  # the column's name: a word that a filter finds
    ("flag", False, "no"),
    ("list", ("i-1",), "i-1"),
    ("list", ("i-1", "a\x1b"), "i-1, a␛"),
    ("tags", (("team", "core"), ("env", "a\x1b")), "team=core, env=a␛"),
    ("tags", (("spot", ""),), "spot="),
    ("seconds", 0, "0.0"),
    ("seconds", 12.345, "12.3"),
    ("seconds", 3600, "3600.0"),
    ("flight", FLIGHT, "stopping 12 s"),
    ("flight", FLIGHT._replace(overdue=True), "! stopping 12 s"),
    ("flight", FLIGHT._replace(before="running"), "running → stopping 12 s"),
    ("flight", FLIGHT._replace(before="running", overdue=True), "! running → stopping 12 s"),
    ("flight", FLIGHT._replace(before="\x1b"), "␛ → stopping 12 s"),
    ("flight", FLIGHT._replace(action="boot"), "pending 12 s"),
    ("flight", FLIGHT._replace(action="start"), "pending 12 s"),
    ("flight", FLIGHT._replace(action="reboot"), "rebooting 12 s"),
    ("flight", FLIGHT._replace(action="delete"), "shutting-down 12 s"),
    ("flight", FLIGHT._replace(action="\x1b"), "␛ 12 s"),
]


@pytest.mark.parametrize(("kind", "value", "text"), CELLS)
def test_cell(kind: Type, value: Any, text: str) -> None:
    assert cell(value, column(kind), NOW) == text


@pytest.mark.parametrize("kind", get_args(Type))
def test_cell_of_nothing_is_empty_but_a_price_is_unknown(kind: Type) -> None:
    assert cell(None, column(kind), NOW) == ("unknown" if kind == "usd" else "")


def test_every_type_is_covered() -> None:
    assert {kind for kind, _, _ in CELLS} == set(get_args(Type))
    assert {column.type for kind in (*KINDS.values(), JOURNAL) for column in kind.columns} <= set(get_args(Type))
    assert set(get_args(Type)) > RIGHT_ALIGNED


def test_every_action_has_a_way_and_an_end() -> None:
    assert all({action.during, action.to} <= STATE_SYMBOLS.keys() for action in ACTIONS.values())


def test_a_flight_is_timed_by_the_clock_when_no_time_is_given() -> None:
    assert flight_text(Flight("boot", datetime.now(UTC) - timedelta(hours=3, minutes=1))) == "pending 3 h"


def test_state_symbols_are_one_cell_each() -> None:
    assert {len(symbol) for symbol in STATE_SYMBOLS.values()} == {1}
    assert "?" not in STATE_SYMBOLS.values()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (0.9, "0 s"), (59, "59 s"), (59.7, "59 s"), (60, "1 min"), (3599.9, "59 min"),
        (3600, "1 h"), (86_399, "23 h"), (86_400, "1 d"), (8_640_000, "100 d"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- plain, as_object, sort_key ---------------------------------------------------------------------------------------


def test_plain_is_what_json_has() -> None:
    assert plain("a\x1b[b]") == "a\x1b[b]"  # exact: JSON escapes by itself
    assert plain(1.5) == 1.5
    assert plain(None) is None
    assert plain(NOW) == "2026-11-23T12:30:59Z"
    assert plain(NOW.astimezone(timezone(timedelta(hours=5)))) == "2026-11-23T12:30:59Z"
    said = {"action": "stop", "since": "2026-11-23T12:30:47Z", "overdue": False, "before": None}
    assert plain(FLIGHT) == said
    assert plain(FLIGHT._replace(before="running")) == said | {"before": "running"}


def row_of(kind: Kind) -> Row:
    values = {
        "int": 2, "mib": 1024, "gib": 8, "usd": 0.5, "time": NOW, "flag": False, "flight": FLIGHT, "seconds": 0.25,
        "list": ("a\x1b", "b"), "tags": (("a\x1b", "b"),),
    }  # fmt: skip
    return (*(values.get(column.type, "a\x1b") for column in kind.columns), Scope("aws", "us-east-1").text)


@pytest.mark.parametrize("kind", [*KINDS.values(), JOURNAL], ids=lambda kind: kind.name)
def test_as_object_keys_by_column_and_is_json(kind: Kind) -> None:
    found = json.loads(json.dumps(as_object(kind, row_of(kind))))
    assert list(found) == [column.name for column in kind.columns]
    assert found["id"] == "a\x1b"
    nothing: dict[str, Any] = {"list": [], "tags": {}}
    empty = as_object(kind, (*[None] * len(kind.columns), Scope("aws", "us-east-1").text))
    assert empty == {column.name: nothing.get(column.type) for column in kind.columns}


def test_as_object_wants_a_whole_row() -> None:
    with pytest.raises(ValueError, match="shorter"):
        as_object(KINDS["vm"], ("web",))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["alpha", "Beta", "gamma", "Straße", "STRASSEN"]),
        ("state", ["pending", "Running", "stopped"]),
        ("int", [-1, 2, 10]),
        ("mib", [512, 1024.5, 2048]),
        ("gib", [1, 8, 1000]),
        ("usd", [0.001, 0.5, 12]),
        ("time", [NOW - timedelta(1), NOW]),
        ("flag", [False, True]),
        ("seconds", [0, 0.5, 12]),
        ("flight", [Flight("z", NOW - timedelta(1)), Flight("a", NOW)]),
        ("list", [("a", "z"), ("B",), ("b", "a")]),
        ("tags", [(("a", "1"),), (("A", "2"), ("c", "1")), (("b", ""),)]),
    ],
)
def test_sort_key_orders_each_type(kind: Type, values: list[Any]) -> None:
    shuffled = values[::-1]
    assert sorted(shuffled, key=lambda value: sort_key(value, column(kind))) == values


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "candidates", "match"),
    [
        ("imgae", ["image", "vm"], "image"),
        ("AWS2", ["aws", "chameleon"], "aws"),
        ("ec2_acces_key", ["EC2_SECRET_KEY", "EC2_ACCESS_KEY"], "EC2_ACCESS_KEY"),
        ("WEB", ["Web", "db"], "Web"),
        ("zzz", ["image", "vm"], None),
        ("", ["image"], None),
        ("image", [], None),
    ],
)
def test_closest(word: str, candidates: list[str], match: str | None) -> None:
    assert closest(word, candidates) == match


def test_nearest_shows_the_word_safely() -> None:
    assert str(nearest("vn\x1b", ["vm"], what="kind", known=["vm"])) == "There is no kind 'vn␛'. Known: vm."


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_kinds_by_every_word(kind: Kind) -> None:
    for word in (kind.name, kind.plural, *kind.aliases):
        assert kind_named(word) is kind
        assert kind_named(word.upper()) is kind


def test_an_unknown_kind() -> None:
    with pytest.raises(UsageError, match=r"There is no kind 'volums'\. Did you mean 'volumes'\?"):
        kind_named("volums")
    with pytest.raises(UsageError, match=r"Known: image, flavor, vm, keypair, location, volume, secgroup\."):
        kind_named("qqq")
