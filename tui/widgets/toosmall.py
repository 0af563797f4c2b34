"""The notice that covers every screen while the terminal is too small."""

from textual.geometry import Size
from textual.widgets import Static

SMALLEST = Size(60, 16)
"""The least columns and lines; in a smaller terminal nothing is shown or done."""


def is_small(size: Size) -> bool:
    """Return whether a terminal is too small."""
    return size.width < SMALLEST.width or size.height < SMALLEST.height


class TooSmall(Static):
    """Shows the size that is needed; covers its screen."""

    def __init__(self, size: Size) -> None:
        super().__init__(markup=False)
        self.fit(size)

    def fit(self, size: Size) -> None:
        """Appear if the terminal is too small, else hide."""
        self.display = is_small(size)
        if self.display:
            needed = f"{SMALLEST.width}×{SMALLEST.height}"
            self.update(f"This terminal has {size.width}×{size.height} cells; {needed} are needed. q quits.")
