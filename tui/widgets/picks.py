"""The values that a field of a dialog offers to pick from."""

from collections.abc import Iterable, Iterator

from textual._widget_navigation import Direction
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from backend.kinds.model import Kind, Row
from backend.text import safe

_MOST = 50
"""At most so many matches are offered: more words find the rest."""


class Picks(OptionList):
    """A list of values. textual's own fails when it moves by a page before it knows how high one is."""

    def offer(self, values: Iterable[tuple[str, str]]) -> None:
        """Offer (value, text) instead of what was offered before; nothing is in sight where there are none."""
        self.clear_options()
        self.add_options(Option(Content(text), id=value) for value, text in values)
        self.display = bool(self.option_count)

    def _move_page(self, direction: Direction) -> None:
        if self.scrollable_content_region:
            super()._move_page(direction)


def matches(kind: Kind, rows: Iterable[Row], typed: str) -> Iterator[tuple[str, str]]:
    """Yield (value, text) of the rows that hold every typed word in their name or id."""
    words = typed.casefold().split()
    id_at, name_at = kind.index["id"], kind.index["name"]
    found = 0
    for row in rows:
        native, name = str(row[id_at]), str(row[name_at] or "")
        text = f"{native} {name}".casefold()
        if all(word in text for word in words):
            value = kind.called(row)
            if value != safe(value):  # a field shows what is in it: not what steers a terminal, or reads as another
                value = native
            if value == typed:
                continue
            yield value, safe(native if name in ("", native) else f"{name}  {native}")
            found += 1
            if found == _MOST:
                return
