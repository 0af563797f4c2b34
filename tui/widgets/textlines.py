"""TextLines: a text of any length, folded to the width of the widget; only the lines on screen are drawn."""

from collections.abc import Iterator

from rich.text import Text
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from backend.text import safe_lines
from tui.widgets.cells import width_of


class TextLines(ScrollView, can_focus=True):
    """Shows the end of a text first, which has its newest lines; control characters in it are escaped."""

    def __init__(self, text: str, *, classes: str) -> None:
        super().__init__(classes=classes)
        self._text = safe_lines(text).split("\n")
        self._folded: list[str] = []

    @property
    def allow_select(self) -> bool:
        """The mouse selects text in it."""
        return True

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """Return the selected text, and what comes after it."""
        return selection.extract("\n".join(self._folded)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Paint the selection."""
        self.refresh()

    def on_resize(self) -> None:
        """Fold the text to the new width; where its end was shown, it is shown again."""
        at_end, room = self.is_vertical_scroll_end, self.content_size
        self._folded = list(self._fold(room.width))
        if len(self._folded) > room.height:
            self._folded = list(self._fold(room.width - self.styles.scrollbar_size_vertical))
        self.virtual_size = Size(0, len(self._folded))
        if at_end:
            self.scroll_to(y=len(self._folded), animate=False, force=True)
        self.refresh()

    def _fold(self, width: int) -> Iterator[str]:
        for line in self._text:
            if width_of(line) <= width:
                yield line
            else:
                yield from (part.plain for part in Text(line).wrap(self.app.console, max(width, 1), overflow="fold"))

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the screen."""
        number, width, style = self.scroll_offset.y + y, self.size.width, self.rich_style
        if number >= len(self._folded):
            return Strip.blank(width, style)
        text = Text(self._folded[number])
        if (selection := self.text_selection) and (span := selection.get_span(number)):
            start, end = span
            text.stylize(self.screen.get_component_rich_style("screen--selection"), start, None if end < 0 else end)
        line = Strip(text.render(self.app.console)).apply_style(
            style
        )  # rich leaves out the style of a text without spans
        return line.crop_extend(0, width, style).apply_offsets(0, number)
