"""The values that a dialog offers for a field."""

from collections.abc import Iterable, Iterator

from textual._widget_navigation import Direction
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from backend.kinds.model import Kind, Row
from backend.text import safe

_MOST = 50
"""At most N matches are offered; more words find the rest."""


class Picks(OptionList):
    """A list of values. textual's own fails when it moves by a page before it has a layout."""

    def offer(self, values: Iterable[tuple[str, str]]) -> None:
        """Replace the offered (value, text) pairs; hide the list if there are none."""
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
            if value != safe(
                value
            ):  # a field paints its text: no control characters, and no name that looks like another
                value = native
            if value == typed:
                continue
            yield value, safe(native if name in ("", native) else f"{name}  {native}")
            found += 1
            if found == _MOST:
                return
