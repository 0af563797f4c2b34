"""A list to pick from that takes keys even before it is laid out."""

from textual._widget_navigation import Direction
from textual.widgets import OptionList


class Picks(OptionList):
    """textual's own fails when it is to move by a page before it knows how high one is."""

    def _move_page(self, direction: Direction) -> None:
        if self.scrollable_content_region:
            super()._move_page(direction)
