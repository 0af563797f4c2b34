"""The notice over every screen of a terminal in which nothing sensible can be shown."""

from textual.geometry import Size
from textual.widgets import Static

SMALLEST = Size(60, 16)
"""Columns and lines below which nothing sensible can be shown, and nothing is done."""


def is_small(size: Size) -> bool:
    """Return whether a terminal is too small."""
    return size.width < SMALLEST.width or size.height < SMALLEST.height


class TooSmall(Static):
    """Says how much is needed; covers the screen that it is on."""

    def __init__(self, size: Size) -> None:
        super().__init__(markup=False)
        self.fit(size)

    def fit(self, size: Size) -> None:
        """Come into sight in a terminal that is too small, and go in one that is not."""
        self.display = is_small(size)
        if self.display:
            needed = f"{SMALLEST.width}×{SMALLEST.height}"
            self.update(f"This terminal has {size.width}×{size.height} cells; {needed} are needed. q quits.")
