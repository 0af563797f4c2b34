"""Makes text that strangers wrote safe to show on a terminal.

What is left takes as many cells on a terminal as `rich.cells.cell_len` says, so that borders and the columns at its
right stay where they are. Terminals disagree on what some sequences of characters take: those are shown by characters
that all of them count alike, as near to the text as there are. And two safe texts, one after the other, stay what they
are: none begins with anything that joins what stands before it.

One disagreement stays, because whatever would end it makes Hindi, Tamil or Burmese unreadable: their spacing marks
(category Mc) take no cell by rich, wcwidth and pyte, and one by xterm. There such a text moves what stands right of it
in its own line.
"""

import re
import unicodedata
from functools import cache

_MOST_MARKS = 4
"""So many combining marks stay on one letter: Burmese and Vietnamese need them; more only climb into other lines."""


def safe(text: str) -> str:
    """Return `text` with all that could steer a terminal, hide, or move what stands beside it shown as a stand-in.

    C0 controls (newlines and tabs too) become their Unicode control pictures; C1 controls, bidi overrides, characters
    that nobody sees and unassigned ones become U+FFFD, and odd spaces become spaces. A combining mark that has nothing
    to stand on gets a dotted circle, and of a pile of them the first few stay. Flags become their two letters in
    circles, and an emoji stays without its colour of skin. Markup is not touched: nothing here or on screen reads it.
    """
    # Nearly every name is printable, which leaves out all of Cc, Cf, Cs, Co, Cn and the odd spaces, and in scripts
    # that have nothing else that is to be looked for.
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
    """Return lines of `text`, ended by LF or CR LF, each of them `safe`; tabs become spaces."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return "\n".join(safe(line.expandtabs()) for line in lines)


def printable(text: str) -> str:
    """Return `text` with every character that steers, or that is none, shown as a stand-in, and all else as it is.

    That is enough for a file, in which nothing stands beside it.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else _stand_in(char) for char in text)


def _stand_in(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return " " if unicodedata.category(char) == "Zs" else "\ufffd"  # no-break space and its kin: a space to the eye


@cache  # it takes 3 ms to compile, and where all text is ASCII none of it is needed
def _else() -> re.Pattern[str]:
    """Return what finds a character beside those of scripts without marks, of symbols and of pictures."""
    return re.compile(
        "[^ -~\u00a1-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u20cf\u2100-\u27ff\u2801-\u2bff\u3001-\u3029\u3030-\u3098"
        "\u309b-\u3163\u3165-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff9f\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa"
        "\U0001f400-\U0001faff\U00020000-\U0003ffff]"
    )


_JAMO = re.compile("[\u1100-\u1112\uac00-\ud7a3][\u1161-\u1175\u11a8-\u11c2]+")
"""A Korean syllable in parts, as macOS writes them."""


def _syllable(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", found[0])


_MARK = frozenset({"Mn", "Mc", "Me"})

_STYLES = frozenset("\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""What says how the character before it is drawn: as text, as a picture, with a colour of skin.

Half of the terminals draw the picture over two cells where they would draw the text over one, and a colour after its
picture or in it; the character alone is the same to all.
"""

_STYLED = frozenset({"So", "Sm", "Po", "Pd", "Nd"})
"""The categories of what they are for: ☁ ↔ ‼ 〰 1. After a letter they say nothing, and may hide there."""

_UNSEEN = (
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x180E), 0x180F, 0x3164, *range(0xFE00, 0xFE0E), 0xFFA0,
    0x1D159, *range(0xE0100, 0xE01F0),
    *range(0x1161, 0x1200), *range(0xD7B0, 0xD800),
)  # fmt: skip
"""What is printable by Python and not to be seen: fillers, joiners, variation selectors; and the later parts of Korean
syllables, which join what stands before them."""

_STAND_INS: dict[int, str] = {
    **dict.fromkeys(_UNSEEN, "\ufffd"),
    0x2800: " ",  # braille's blank
    # The letters of flags: two of them are a flag of two cells, or of four; one alone may join the next text's.
    **{0x1F1E6 + letter: chr(0x24B6 + letter) for letter in range(26)},
}
