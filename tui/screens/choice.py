"""A window with a list of lines and buttons for what to do with them."""

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from backend.text import safe
from tui.screens.confirming import Confirming, Pace


class ChoiceScreen(Confirming[str]):
    """Shows lines as (sign, text, remark) and dismisses with the chosen answer; "" for none.

    `answers` are (answer, label of its button). The button that does nothing comes first and has the focus.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "none", "Back"),
        Binding("q,n", "no", "Back", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(
        self,
        title: str,
        lines: Sequence[tuple[str, str, str]],
        answers: Sequence[tuple[str, str]],
        nothing: str = "Close",
        *,
        pace: Pace,
        destroys: bool = False,
    ) -> None:
        super().__init__(pace, _table(lines), destroys=destroys)
        self._title = title
        self._lines = lines
        self._answers = answers
        self._nothing = nothing

    def compose(self) -> ComposeResult:
        """Lay out the lines and the buttons."""
        with Vertical(classes="window dialog") as window:
            window.border_title = Text(safe(self._title))  # a str would be taken for markup
            with VerticalScroll(classes="window--body", can_focus=False):
                yield Static("", id="dialog-error", markup=False)
                yield self.shown
            with Horizontal(classes="buttons"):
                yield Button(self._nothing, id="nothing")
                for answer, words in self._answers:
                    yield Button(words, id=answer, variant="primary")

    def on_mount(self) -> None:
        """Focus the button that does nothing."""
        self.query_one("#dialog-error").display = False
        self.set_focus(self.query_one("#nothing"))

    def on_resize(self) -> None:
        """Keep the buttons in sight."""
        self.query_one(".window").styles.max_height = max(10, self.size.height - 2)
        self.query_one(".window--body").styles.max_height = max(4, self.size.height - 8)

    @on(Button.Pressed)
    def choose(self, event: Button.Pressed) -> None:
        """Dismiss with the chosen answer."""
        if event.button.id == "nothing":
            self.dismiss("")
        elif refusal := self.refusal():
            self.complain(refusal)
        else:
            self.dismiss(str(event.button.id))

    @property
    def names(self) -> Sequence[str]:
        """The lines; one of them must be in sight."""
        return [line for _, line, _ in self._lines]

    def action_none(self) -> None:
        """Choose nothing."""
        self.dismiss("")

    def action_no(self) -> None:
        """Choose nothing by a letter, unless the letter belongs to a word that is being typed."""
        if not self.is_in_word:
            self.dismiss("")

    def action_scroll(self, lines: int) -> None:
        """Scroll the lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def _table(lines: Sequence[tuple[str, str, str]]) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(overflow="fold", ratio=1)
    for sign, line, words in lines:
        text = Text(safe(line), style="bold")
        if words:
            text.append(f"\n{safe(words)}", style="not bold")
        grid.add_row(Text(sign), text)
    return grid
