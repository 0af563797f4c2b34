"""The bytes of a terminal become events, or nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from tui.keyboard import BURST, PASTE_MOST, Keyboard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sent(*chunks: bytes, apart: float = 0.0) -> list[str]:
    """Return the keys and pastes that some bytes are, which come some seconds apart."""
    clock = Clock()
    keyboard = Keyboard(clock)
    found: list[Message] = []
    for chunk in chunks:
        found += keyboard.feed(chunk)
        clock.now += apart
        found += keyboard.tick()
    clock.now += 1
    found += keyboard.tick()
    return [_name(one) for one in found]


def _name(event: Message) -> str:
    if isinstance(event, events.Key):
        return event.key
    return f"paste {event.text!r}" if isinstance(event, events.Paste) else type(event).__name__


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"ab\r", ["a", "b", "enter"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A\x1bOP\x1b[3~", ["up", "f1", "delete"]),
        (b"\x1b[122;5u\x1b[105;;105u", ["ctrl+z", "i"]),
        ("né日".encode(), ["n", "é", "日"]),
        (b"\x1by", ["alt+y"]),
        (b"\x1b3\x1b\r", ["alt+3", "escape", "enter"]),
        (b"\x1b[<0;5;5M", ["MouseDown"]),
        (b"\x1b[200~a\x1b[Bb\ny\x1b[201~q", ["paste 'a[Bb\\ny'", "q"]),
    ],
)
def test_a_sequence_with_a_meaning_becomes_an_event(data: bytes, keys: list[str]) -> None:
    assert sent(data) == keys
    assert sent(*(bytes([one]) for one in data)) == keys  # in whatever pieces


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"\xe9d", ["replacement_character", "d"]),  # é of Latin-1
        (b"\x1b[1114112u", []),
        (b"\x1b[55296u\x1b[97;;55296u\x1b[97;;27u\x1b[97:65;5u\x1b[97;5:3u", []),
        (b"\x1b[100~", []),  # textual: d
        (b"\x1b[999;5X\x1b[48;1;1;0;0t\x1b[?2048;1$y\x1b[5;5R", []),
        (b"\x1b[M \xc3\xa9\x1b[M d\xe9\x1b[M dyq", ["q"]),  # mouse reports of X10
        (b"\x1b[M d\x1b[A", ["up"]),
        (b"\x1b]11;rgb:dd/yy\x07\x1bP>|y\x1b\\q", ["q"]),
    ],
)
def test_a_sequence_without_a_meaning_is_dropped(data: bytes, keys: list[str]) -> None:
    assert sent(data) == keys


@pytest.mark.parametrize("data", [b"\x1b[1;5", b"\x1b[<0;1", b"\x1b[M d", b"\x1b]11;dy", b"\x1b[" + b"1" * 9999])
def test_what_is_cut_off_is_given_up(data: bytes) -> None:
    assert sent(data, b"q", apart=0.4) == ["q"]


def test_a_paste_without_its_end_ends_by_itself() -> None:
    assert sent(b"\x1b[200~dy", b"q", apart=0.6) == ["paste 'dy'", "q"]
    assert sent(b"\x1b[200~dy", b"\x1b[201~q", apart=0.6) == ["paste 'dy'", "q"]


def test_the_rest_of_a_paste_that_was_late_is_not_typed() -> None:
    late = b"dy" * BURST
    assert sent(b"\x1b[200~a", late, b"\x1b[201~q", apart=0.6) == ["paste 'a'", f"paste {late.decode()!r}", "q"]


def test_the_mouse_and_held_keys_go_on_after_a_paste_without_its_end() -> None:
    moves, downs = b"".join(b"\x1b[<35;%d;9M" % column for column in range(1, 9)), b"\x1b[B" * BURST
    assert sent(b"\x1b[200~a", moves, downs, apart=0.6) == ["paste 'a'", *["MouseMove"] * 8, *["down"] * BURST]


def test_the_end_of_a_paste_that_was_late_is_not_typed_however_short_it_is() -> None:
    assert sent(b"\x1b[200~a", b"dy\x1b[201~q", apart=0.6) == ["paste 'a'", "paste 'dy'", "q"]


def test_a_paste_is_kept_to_a_size() -> None:
    assert sent(b"\x1b[200~" + b"a" * 2 * PASTE_MOST + b"\x1b[201~q") == [f"paste {'a' * PASTE_MOST!r}", "q"]


_PIECES = [
    b"\x1b",
    b"\x1b[",
    b"\x1bO",
    b"\x1b]",
    b"200~",
    b"201~",
    b"M",
    b"<",
    b"u",
    b"~",
    b";",
    b":",
    b"1114112",
    b"\xe9",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=3)).map(b"".join)), st.sampled_from([0, 0.2, 0.6])
)
def test_no_sequence_of_bytes_stops_the_reader(chunks: list[bytes], apart: float) -> None:
    assert sent(*chunks, b"\x07\x1b[201~", b"q", apart=apart)[-1:] == ["q"]
