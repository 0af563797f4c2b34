"""The base of all windows that confirm something: a key typed before the window could be read confirms nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic

from textual.errors import NoWidget
from textual.events import Key, MouseDown, Paste
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import VisualType
from textual.widgets import Static

from backend.text import safe
from tui.screens.steady import Answer
from tui.screens.window import Window
from tui.widgets.field import Field

_LETTERS = 6
"""N letters are enough to recognize a name or an id."""


@dataclass(frozen=True)
class Pace:
    """The least times before a key confirms something, in seconds."""

    stands: float = 0.8
    """Between the painting of the dialog and the key that destroys something."""
    apart: float = 0.4
    """Between the previous key and that key, so that neither a burst nor a word confirms anything. If the previous
    key is another letter, it is `stands`: words are typed slowly too.
    """


class Shown(Static):
    """What the user must read first; knows whether its present content was drawn."""

    drawn = False

    def show(self, content: VisualType) -> None:
        """Show other content."""
        self.drawn = False
        self.update(content)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw it."""
        self.drawn = True
        return super().render_lines(crop)


class Word(Field):
    """The field for the word that confirms; knows when its first letter was typed."""

    since: float | None = None

    def on_key(self, event: Key) -> None:
        """Note the first letter."""
        if event.is_printable and not self.value:
            self.since = event.time

    def on_paste(self, event: Paste) -> None:
        """Note a paste as the first letter."""
        if not self.value:
            self.since = event.time


class Confirming(Window[Answer]):
    """A window whose answer may change something.

    A subclass lays out `shown` and calls `refusal` before it gives such an answer; cancelling is never refused. The
    time when a key was typed (its event has it) is compared with the time when the window was painted. The times when
    these are handled do not count: a slow machine must confirm nothing by itself.
    """

    def __init__(self, pace: Pace, content: VisualType, *, destroys: bool) -> None:
        super().__init__()
        self.shown = Shown(content, id="question", markup=False)
        self.pace = pace
        self.destroys = destroys
        """Whether what it confirms cannot be undone: the user needs more time to read it."""
        self.painted: float | None = None
        """When it was painted with its complete content."""
        self._framed = False
        """Whether its complete content was painted, with the names in sight or not."""
        self._input: Key | MouseDown | None = None
        """The last key or mouse press that was not typed into a field."""
        self._before: Key | MouseDown | None = None
        """The one before `_input`."""
        self._goes_on: bool | None = None
        """Whether the last key continues the word whose first letter opened the window; None before any key."""

    # --- for subclasses -----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether its content is complete."""
        return True

    @property
    def names(self) -> Sequence[str]:
        """Names and ids of the objects that it acts on; one must be in sight. Empty: there is nothing to name."""
        return ()

    def renew(self) -> None:
        """Start the times again, because the content changed: what was typed before is no answer to it."""
        self.painted = None
        self._framed = False
        self.shown.drawn = False
        self.shown.refresh()

    def refusal(self, word_since: float | None = None) -> str:
        """Return why the last key does not confirm; "" if it does.

        `word_since`: when the first letter of the confirming word was typed. Such a word may be typed fast.
        """
        again = _again(self._input)
        if self.painted is None:
            if self._framed and not self._in_sight():
                return f"What this acts on is not in sight: scroll to it or enlarge the terminal, then {again}."
            return f"Typed before this was shown; {again}."
        readable = self.painted + self._stands
        if word_since is not None and word_since < readable:
            return f"{_early(word_since, self.painted)}; type it again."
        at = self._input.time if self._input else monotonic()
        if at < readable:
            return f"{_early(at, self.painted)}; {again}."
        if word_since is None and (self.is_in_word or (self.destroys and self._is_hurried)):
            return f"Typed right after another key; {again}."
        return ""

    def complain(self, words: str) -> None:
        """Show in the first line why nothing is done."""
        complaint = self.query_one("#dialog-error", Static)
        complaint.update(safe(words))
        complaint.display = True
        complaint.scroll_visible(animate=False)

    @property
    def is_in_word(self) -> bool:
        """Whether the last key followed a letter so fast that both belong to a word meant for something else."""
        return bool(self._goes_on) or (self._follows_letter and self._since_key < self.pace.apart)

    @property
    def _is_hurried(self) -> bool:
        """Whether the last key followed another so fast that both belong to a burst or a word.

        Words may be typed slowly. The same key twice is no word.
        """
        is_new = isinstance(self._before, Key) and isinstance(self._input, Key) and self._before.key != self._input.key
        return self._since_key < (self.pace.stands if self._follows_letter and is_new else self.pace.apart)

    @property
    def _follows_letter(self) -> bool:
        return isinstance(self._before, Key) and self._before.is_printable

    @property
    def _since_key(self) -> float:
        """Seconds between the previous key and the last input."""
        if self._input is None or not isinstance(self._before, Key):
            return inf
        return self._input.time - self._before.time

    # --- what is seen -------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> bool:
        """Whether a key typed now can confirm it."""
        return self.painted is not None and monotonic() >= self.painted + self._stands

    def displayed(self) -> None:
        """Note that a frame was sent to the terminal; called by the app."""
        if self.painted is None and self.ready:
            self._framed = True
            if self.shown.drawn and self._in_sight():
                self.painted = monotonic()

    def on_resize(self) -> None:
        """Start the times again: the lines have moved."""
        self.renew()

    def on_screen_resume(self) -> None:
        """Start the times again: another window was over it."""
        self.renew()

    @property
    def _stands(self) -> float:
        return self.pace.stands if self.destroys else 0.0

    def _in_sight(self) -> bool:
        """Return whether a name or an id of the objects can be read."""
        names = ["".join(safe(name).split())[:_LETTERS] for name in self.names]
        if not names:
            return True
        try:
            found = self.find_widget(self.shown)
        except NoWidget:
            return False
        seen = found.region.intersection(found.clip)
        lines = (self.shown.render_line(y - found.region.y).text for y in range(seen.y, seen.bottom))
        text = "".join("".join(lines).split())
        return any(name in text for name in names)

    # --- what is typed ------------------------------------------------------------------------------------------------

    def follow(self, event: Key, before: Key) -> None:
        """Note whether a key and the one before belong to one word; called by the app before the key is handled.

        If a word was meant for a filter, one of its letters opens a window and the next ones answer it, also in a
        field. A pause ends the word.
        """
        of_one_word = before.is_printable and event.time - before.time < self.pace.apart
        self._goes_on = of_one_word and self._goes_on is not False

    def on_key(self, event: Key) -> None:
        """Note a key that was not typed into a field; its binding runs after this."""
        self._before, self._input = self._input, event

    def on_mouse_down(self, event: MouseDown) -> None:
        """Note a mouse press: the click comes later."""
        self._before, self._input, self._goes_on = None, event, False


def _early(at: float, painted: float) -> str:
    return f"Typed {'before' if at < painted else 'too soon after'} this was shown"


def _again(typed: Key | MouseDown | None) -> str:
    if isinstance(typed, MouseDown):
        return "click again"
    if typed is None or typed.key == "enter":
        return "press Enter again"
    return f"press {typed.character or typed.key} again"
