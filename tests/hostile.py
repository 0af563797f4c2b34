"""Hostile text of every sort, and checks that it does no harm."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from wcwidth import wcwidth

from backend.kinds.model import Kind, Row, Scope
from backend.lifecycle import Flight

_T = TypeVar("_T")

MARK = "PWN7"
"""Stands in every escape sequence, link and markup tag below, so that what is seen of them can only be from here."""

ESCAPES = [
    f"\x1b]52;c;{MARK}\x07", f"\x1b]8;;http://{MARK}\x1b\\", f"\x1b]0;{MARK}\x07", f"\x1bP{MARK}\x1b\\",
    f"\x1b[2J{MARK}", f"\x1b[31m{MARK}", f"\x1b[?1049l{MARK}", f"\x1bc{MARK}", f"\x9b2J{MARK}", f"\x9d0;{MARK}\x9c",
    "\x1b", "\x9b", "\x00", "\x07", "\b\b\b\b", "\x7f", "\x0e", "\x85",
]  # fmt: skip
MARKUP = [
    f"[@click=app.quit]{MARK}[/]", f"[@click=app.exit({MARK})]", f"[link=http://{MARK}]x[/link]", f"[on red]{MARK}[/]",
    f"[@click=app.bell]{MARK}[/@click]", "[/]", "[bold", "[[", "]", "\\[", "$text", "[$primary]", ":smile:", "%s{0}",
]  # fmt: skip
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "\t=1", " =1", ";=1", '";-1', "|", "',", '"', "\u2800=1"]
LINES = ["\n", "\r", "\r\n", "\v", "\f", "\u2028", "\u2029", "\t", "a\nb"]
UNSEEN = [
    *"\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202d\u202e\u202c\u2066\u2067\u2069\u2060\ufeff\u00ad\u061c\u180e",
    *"\u115f\u1160\u3164\uffa0\u2800\u034f\ufe00\ufe0e\ufe0f\U000e0041\U000e0101\u00a0\u3000\u17b4",
]  # fmt: skip
JOINING = [
    *"\u0301\u0489\u20dd\u20e3\u093f\u094d\u0e31\u05b7🏽🇩🇪\u1161\u11a8\u1100\uac00", "\u0301" * 40, "🇩🇪", "🇺🇸",
    "👩\u200d👩\u200d👧", "👍🏽", "☁\ufe0f", "1\ufe0f\u20e3", "🏴\U000e0067\U000e0062\U000e007f",
]  # fmt: skip
WORLD = [
    "web-1", "café", "データ", "漢字", "한국어", "مرحبا", "שלום", "ไทยที่", "हिन्दी", "தமிழ்", "🚀", "Straße", "ŉ", "İ",
    "ﬁ", "﷽",
]  # fmt: skip
SURROGATES = ["\ud800-", "\udfff", "\udc1b"]  # never two that make a character
LONG = ["x" * 10_000, "漢" * 10_000, "\u0301" * 10_000, "\u202e" * 10_000, " " * 10_000, "[" * 10_000]

SAYABLE = [*ESCAPES, *MARKUP, *FORMULAS, *LINES, *UNSEEN, *JOINING, *WORLD]
"""What a database and a wire can carry."""

PIECES = [*SAYABLE, *SURROGATES, *LONG]
"""All of it, piece by piece."""

_characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def _joined(*pieces: Iterable[str]) -> st.SearchStrategy[str]:
    known = st.sampled_from([piece for some in pieces for piece in some])
    return st.lists(known | _characters, min_size=1, max_size=6).map("".join)


sayable = _joined(SAYABLE)
texts = _joined(PIECES)
"""Pieces of all of it one after the other, and characters at random; also what no cloud can say."""


def tried(strategy: st.SearchStrategy[_T], count: int, use: Callable[[_T], None]) -> None:
    """Call `use` with `count` values of a strategy, always the same ones."""
    checks = list(HealthCheck)

    @settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=checks)
    @given(strategy)
    def once(value: _T) -> None:
        use(value)

    once()


# --- rows of it -------------------------------------------------------------------------------------------------------


def row_of(kind: Kind, text: Callable[[], str]) -> Row:
    """Return a row whose every text is what `text` returns next; the rest is as odd as its types allow."""
    odd: dict[str, Any] = {
        "int": -(2**40), "mib": 0.001, "gib": 10**15, "usd": -1e-9, "seconds": 1e12, "flag": True,
        "time": datetime(1, 1, 1, tzinfo=UTC),
    }  # fmt: skip

    def value(type_: str) -> Any:
        if type_ == "flight":
            return Flight(text(), datetime(2026, 1, 1, tzinfo=UTC), before=text())
        if type_ == "list":
            return text(), text()
        if type_ == "tags":
            return (text(), text()), ("", text())
        return odd[type_] if type_ in odd else text()

    return (*(value(column.type) for column in kind.columns), Scope("aws", "us-east-1").text)


def rows_of(kind: Kind, strategy: st.SearchStrategy[str] = texts) -> st.SearchStrategy[Row]:
    """Return a strategy of such rows."""
    return st.lists(strategy, min_size=3, max_size=3).map(lambda some: row_of(kind, _in_turn(some)))


def _in_turn(some: list[str]) -> Callable[[], str]:
    said = 0

    def following() -> str:
        nonlocal said
        said += 1
        return some[said % len(some)]

    return following


# --- what must not have come of it ------------------------------------------------------------------------------------


def spaced(text: str) -> bool:
    """Return whether terminals do not agree on the cells of a text, because it has Indic spacing marks or conjuncts.

    U+1171E is one since Unicode 16; viramas have the combining class 9.
    """
    return any(
        unicodedata.category(char) == "Mc" or char == "\U0001171e" or unicodedata.combining(char) == 9 for char in text
    )


def cells(text: str) -> int:
    """Return the cells that a terminal gives a text, character by character; a control character takes none."""
    return sum(max(wcwidth(char), 0) for char in text)


_SENT = re.compile(
    rf"\x1b\](?:52|8|0);|\x1bc|\x1bP{MARK}|\x1b\[[\d;?]*[A-Za-z]{MARK}|\xc2[\x80-\x9f]".encode("latin-1")
)


def sent(output: bytes) -> list[bytes]:
    """Return the escape sequences that are none of the program's in what was written to a terminal."""
    return [found for found in _SENT.findall(output) if not found.startswith(b"\x1b[") or found in _OURS]


_OURS = [piece.encode() for piece in ESCAPES if piece.startswith("\x1b[")]


def acting(segments: Iterable[Segment]) -> list[Any]:
    """Return what markup of ours has become: actions and links."""
    styles = [segment.style for segment in segments if segment.style]
    return [found for style in styles for found in (style.link, *style.meta.values()) if MARK in str(found)]


@dataclass
class Tally:
    """The result for a text that was shown in one place."""

    where: str
    strings: int = 0
    escapes: list[str] = field(default_factory=list)
    """What held a character that steers a terminal, breaks a line or is not to be seen."""
    markup: list[Any] = field(default_factory=list)
    """Styles, links and actions that are none of the program's."""
    widths: list[str] = field(default_factory=list)
    """What was wider or narrower than it should be, or stood elsewhere."""
    others: list[str] = field(default_factory=list)

    @property
    def bad(self) -> list[str]:
        """A sentence for each sort of what went wrong."""
        found = {
            "an escape or an unseen character got through": self.escapes,
            "markup acted": self.markup,
            "a line has a wrong width": self.widths,
            "it is not as it should be": self.others,
        }
        return [f"{self.where}: {what}: {some[0]!r}" for what, some in found.items() if some]

    def text(self, text: str, width: int | None = None) -> None:
        """Look at a line of text, which is to take `width` cells."""
        if not text.isprintable() or (not text.isascii() and UNSAFE.search(text)):
            self.escapes.append(text[:200])
        if width is not None and cells(text) != width:
            self.widths.append(f"{cells(text)}, not {width}: {text[:200]}")

    def segments(self, segments: Iterable[Segment], width: int | None = None) -> None:
        """Look at a painted line."""
        line = list(segments)
        self.text("".join(one.text for one in line), width)
        self.markup += acting(line)


UNSAFE = re.compile(
    "[\u115f\u1160\u3164\uffa0\u2800\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff]"
    "|\u0301{5}"
)
"""What Python calls printable, and no screen should be given."""
