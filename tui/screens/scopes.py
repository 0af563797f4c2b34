"""A window that offers clouds and regions: type to search, space marks several, Enter chooses."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from backend.commands.scoping import Choice
from backend.text import safe
from tui.screens.window import Window
from tui.widgets.field import Field
from tui.widgets.lines import MARK
from tui.widgets.picks import Picks

_SHOWN = "●"
"""The sign of what is shown now."""


class Search(Field):
    """The field of the search. Its keys act after the letters before them are in it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.choose", "choose"),
        Binding("up", "screen.move(-1)", show=False),
        Binding("down", "screen.move(1)", show=False),
    ]

    async def on_key(self, event: events.Key) -> None:
        """Mark by a blank: it is no text of the search."""
        if event.key == "space":
            event.stop()
            event.prevent_default()
            await self.run_action("screen.mark")


class ScopesScreen(Window[str | None]):
    """Dismisses with the selection, as `set default cloud=` takes it; None for none.

    The cursor begins on the last choice before the present one, so that Enter alone goes back to it.
    """

    AUTO_FOCUS: ClassVar[str | None] = "#search"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
    ]

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._choices = list(choices)
        self._marked: dict[str, None] = {}
        self._searched: str | None = None
        """What the choices on screen were searched by."""

    def compose(self) -> ComposeResult:
        """Lay out the search, the choices and what is wrong with one."""
        with Vertical(classes="window dialog") as window:
            window.border_title = "Clouds and regions"
            window.border_subtitle = "Enter chooses · space marks several · Esc back"
            yield Search(placeholder="type to search", id="search")
            yield Picks(id="scopes", markup=False)
            yield Static("", id="scopes-error", markup=False)

    def on_mount(self) -> None:
        """Show all choices."""
        self._offer()

    def show(self, choices: Sequence[Choice]) -> None:
        """Show other choices, if the window is still open; the cursor stays on its choice."""
        self._choices = list(choices)
        if self.query("#scopes"):
            self._offer()

    @on(Input.Changed, "#search")
    def _offer(self) -> None:
        before, picks = self._at, self.query_one(Picks)
        self._searched = self.query_one(Field).value
        words = self._searched.casefold().split()
        found = [one for one in self._choices if all(word in f"{one.label} {one.text}".casefold() for word in words)]
        picks.clear_options()
        picks.add_options(Option(self._line(one), id=one.text) for one in found)
        ids = [one.text for one in found]
        first = next((place for place, one in enumerate(found) if not one.shown), 0)
        picks.highlighted = (ids.index(before) if before in ids else first) if found else None

    def _line(self, one: Choice) -> Text:
        sign = MARK if one.text in self._marked else _SHOWN if one.shown else " "
        text = Text(f"{sign} {safe(one.label)}", style="" if one.enabled else "dim", no_wrap=True, overflow="ellipsis")
        return text.append(f"  {safe(one.remark)}", style="dim") if one.remark else text

    @property
    def _at(self) -> str | None:
        """The choice under the cursor."""
        picks = self.query_one(Picks)
        return None if picks.highlighted is None else picks.get_option_at_index(picks.highlighted).id

    def _settled(self) -> str | None:
        """Return the choice under the cursor, after all letters typed before this key have been searched."""
        if self._searched != self.query_one(Field).value:
            self._offer()
        return self._at

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        picks = self.query_one(Picks)
        if picks.option_count:
            picks.highlighted = ((picks.highlighted or 0) + lines) % picks.option_count

    def action_mark(self) -> None:
        """Mark the choice, or remove its mark, and go down; what was searched is found, so the search is emptied."""
        if (text := self._settled()) is None or not self._may(text):
            return
        if text in self._marked:
            del self._marked[text]
        else:
            self._marked[text] = None
        search = self.query_one(Field)
        if search.value:
            search.value = ""
        else:
            self._offer()
            self.action_move(1)

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    def action_choose(self) -> None:
        """Choose what is marked, else the choice under the cursor."""
        if self._marked:
            self.dismiss(",".join(self._marked))
        elif (text := self._settled()) is not None and self._may(text):
            self.dismiss(text)

    @on(OptionList.OptionSelected)
    def _clicked(self) -> None:
        self.action_choose()

    def _may(self, text: str) -> bool:
        """Return whether a choice can be made; if not, say why."""
        one = next(choice for choice in self._choices if choice.text == text)
        why = "" if one.enabled else f"{one.label} is not enabled: {one.remark}. Enable it in the account's settings."
        self.query_one("#scopes-error", Static).update(safe(why))
        return one.enabled
