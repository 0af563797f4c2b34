"""Fits text to terminal cells, finds matches in it, and shares the width of a line among columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GUTTER = 2
"""Cells before the first column, for the mark."""
GAP = 2
"""Cells between two columns."""
ARROW = 2
"""Cells that every title reserves for the sort arrow, so that sorting moves no column."""
NAME_LEAST = 16


@dataclass(frozen=True)
class Wish:
    """The widths of a column: of its title, of its content, and its limit while other columns need room."""

    title: int
    content: int
    limit: int


def width_of(text: str) -> int:
    """Return the cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, right: bool = False, middle: bool = False) -> str:
    """Return `text` cut (with an ellipsis at its end, or in its middle) or padded to exactly `width` cells."""
    size = width_of(text)
    if size > width:
        if width < 1:
            return ""
        # The end of a long name says more: a thousand begin with ubuntu/images/hvm-ssd-gp3/.
        tail = _end(text, (width - 1) * 2 // 3) if middle else ""
        text = _start(text, width - 1 - width_of(tail)).rstrip(" ") + "…" + tail
        size = width_of(text)
    pad = " " * (width - size)
    return pad + text if right else text + pad


def _start(text: str, width: int) -> str:
    return text[:width] if text.isascii() else set_cell_size(text, width)


def _end(text: str, width: int) -> str:
    """Return as many characters from the end of `text` as `width` cells hold."""
    if text.isascii():
        return text[-width:] if width else ""
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= width:
        start -= 1
    while start < len(text) and not cell_len(text[start]):  # keep a combining mark with its letter, or drop both
        start += 1
    return text[start:]


def matches(text: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) where any of the casefolded `words` occurs in `text`: sorted, adjacent ones merged."""
    folded = text.casefold()
    hits = sorted((start, start + len(word)) for word in words for start in _finds(folded, word))
    if hits and len(folded) != len(text):  # "ß" folds to "ss": map folded positions back to real ones
        real = [index for index, char in enumerate(text) for _ in char.casefold()]
        hits = [(real[start], real[end - 1] + 1) for start, end in hits]
    begin = stop = -1
    for start, end in hits:
        if start > stop:
            if stop > 0:
                yield begin, stop
            begin = start
        stop = max(stop, end)
    if stop > 0:
        yield begin, stop


def _finds(text: str, word: str) -> Iterator[int]:
    start = text.find(word)
    while start >= 0:
        yield start
        start = text.find(word, start + 1)


def share(room: int, wishes: Sequence[Wish]) -> list[int]:
    """Return the width of each column in a table of `room` cells; spare cells stay at the right.

    If the columns do not fit, the name shrinks, at most to two fifths of the room; the others are reached by
    scrolling.
    """
    needs = [max(wish.title + ARROW, wish.content) for wish in wishes]
    widths = [min(need, max(wish.title + ARROW, wish.limit)) for need, wish in zip(needs, wishes, strict=True)]
    spare = room - GUTTER - GAP * len(widths) - sum(widths)
    if spare < 0:
        least = min(widths[0], max(wishes[0].title + ARROW, NAME_LEAST, room * 2 // 5))
        widths[0] = max(widths[0] + spare, least)
        return widths
    for index, need in enumerate(needs):  # from the left, to columns that their limit cuts
        more = min(spare, need - widths[index])
        widths[index] += more
        spare -= more
    return widths
