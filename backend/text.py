"""Makes text from outside safe to show on a terminal.

Safe text takes as many cells as `rich.cells.cell_len` says, so that borders and columns to its right stay in place.
Terminals disagree about the width of some character sequences; these are replaced by similar characters with the same
width everywhere. Two safe texts can follow each other: none begins with a character that joins the one before it.

One disagreement remains, because any fix would make Hindi, Tamil or Burmese unreadable: spacing marks (category Mc)
have no width in rich, wcwidth and pyte, but one cell in xterm. There such a text shifts the rest of its line.
"""

import re
import unicodedata
from functools import cache

_MOST_MARKS = 4
"""The most combining marks on one letter: Burmese and Vietnamese need four; more only overlap other lines."""


def safe(text: str) -> str:
    """Return `text` with a replacement for every character that could control a terminal, hide, or shift other text.

    C0 controls, including newlines and tabs, become their Unicode control pictures. C1 controls, bidi overrides,
    invisible and unassigned characters become U+FFFD. Unusual spaces become spaces. A combining mark without a base
    gets a dotted circle; only the first few marks on a letter stay. Flags become their two letters in circles, and
    emoji lose their skin tone. Markup stays: nothing interprets it.
    """
    # Fast path: nearly every name is printable (no Cc, Cf, Cs, Co, Cn, unusual spaces) and in a script without marks.
    if text.isprintable() and (text.isascii() or not _else().search(text)):
        return text
    shown = ""
    marks = 0
    for char in _JAMO.sub(_syllable, printable(text)).translate(_STAND_INS):
        category = unicodedata.category(char)
        if char in _STYLES:
            shown += "" if shown and unicodedata.category(shown[-1]) in _STYLED else "\ufffd"
        elif category in _MARK:
            marks = marks + 1 if shown and unicodedata.category(shown[-1]) in _MARK else 1
            shown += "" if marks > _MOST_MARKS else char if shown else f"\u25cc{char}"
        else:
            shown += char
    return shown


def safe_lines(text: str) -> str:
    """Return `text` with each of its lines (ended by LF or CR LF) `safe`; tabs become spaces."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return "\n".join(safe(line.expandtabs()) for line in lines)


def printable(text: str) -> str:
    """Return `text` with a replacement for every control or unassigned character, and all else unchanged.

    That is enough for a file, where width does not matter.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else _stand_in(char) for char in text)


def _stand_in(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return " " if unicodedata.category(char) == "Zs" else "\ufffd"  # no-break space and similar ones


@cache  # compiling takes 3 ms, and ASCII text does not need it
def _else() -> re.Pattern[str]:
    """Return the pattern of characters outside scripts without marks, symbols and pictures."""
    return re.compile(
        "[^ -~\u00a1-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u20cf\u2100-\u27ff\u2801-\u2bff\u3001-\u3029\u3030-\u3098"
        "\u309b-\u3163\u3165-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff9f\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa"
        "\U0001f400-\U0001faff\U00020000-\U0003ffff]"
    )


_JAMO = re.compile("[\u1100-\u1112\uac00-\ud7a3][\u1161-\u1175\u11a8-\u11c2]+")
"""A decomposed Korean syllable, as macOS writes them."""


def _syllable(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", found[0])


_MARK = frozenset({"Mn", "Mc", "Me"})

_STYLES = frozenset("\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""Characters that select how the one before is drawn: as text, as a picture, with a skin tone.

Some terminals draw the picture on two cells and the text on one, and some draw a skin tone as a character of its own.
All terminals agree on the character alone.
"""

_STYLED = frozenset({"So", "Sm", "Po", "Pd", "Nd"})
"""The categories of characters that they apply to: ☁ ↔ ‼ 〰 1. After a letter they are invisible."""

_UNSEEN = (
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x180E), 0x180F, 0x3164, *range(0xFE00, 0xFE0E), 0xFFA0,
    0x1D159, *range(0xE0100, 0xE01F0),
    *range(0x1161, 0x1200), *range(0xD7B0, 0xD800),
)  # fmt: skip
"""Characters that Python calls printable but that are invisible: fillers, joiners, variation selectors. Also the later
parts of Korean syllables, which join the character before them."""

_STAND_INS: dict[int, str] = {
    **dict.fromkeys(_UNSEEN, "\ufffd"),
    0x2800: " ",  # the blank of braille
    # The letters of flags: a pair is two or four cells wide; one at the end may join the next text.
    **{0x1F1E6 + letter: chr(0x24B6 + letter) for letter in range(26)},
}
