"""What every window that confirms something shares: no key typed before it could be read confirms anything."""

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
"""Letters of a name or an id that are enough to recognize it."""


@dataclass(frozen=True)
class Pace:
    """How slowly something is confirmed, in seconds."""

    stands: float = 0.8
    """From when the dialog was painted to the key that destroys something."""
    apart: float = 0.4
    """From the key before to that key: neither a burst nor a word confirms anything. From a letter that is not the one
    which confirms it is `stands`: words are typed slowly, too.
    """


class Shown(Static):
    """What must be read before anything is confirmed; knows whether it has been drawn as it is now."""

    drawn = False

    def show(self, content: VisualType) -> None:
        """Show something else."""
        self.drawn = False
        self.update(content)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw it."""
        self.drawn = True
        return super().render_lines(crop)


class Word(Field):
    """Takes a word that must be typed to confirm; knows when its first letter was typed."""

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

    A subclass lays out `shown`, and asks `refusal` before it gives such an answer; cancelling is never refused. What
    counts is when a key was typed (its event has the time, made as it is read) against when the window was painted, not
    when either is handled: a slow machine must confirm nothing by itself.
    """

    def __init__(self, pace: Pace, content: VisualType, *, destroys: bool) -> None:
        super().__init__()
        self.shown = Shown(content, id="question", markup=False)
        self.pace = pace
        self.destroys = destroys
        """Whether what it confirms cannot be undone: that wants more time to be read."""
        self.painted: float | None = None
        """When it was painted with all that it waits for."""
        self._framed = False
        """Whether it was painted since then, its names in sight or not."""
        self._input: Key | MouseDown | None = None
        """The last key or press of the mouse that no field has taken for text."""
        self._before: Key | MouseDown | None = None
        """The one before that."""
        self._goes_on: bool | None = None
        """Whether the last key goes on with a word whose first letter has opened the window; None before any key."""

    # --- for subclasses ----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it shows all that it waits for."""
        return True

    @property
    def names(self) -> Sequence[str]:
        """Names and ids of what it acts on, of which one must be in sight; none where there is nothing to name."""
        return ()

    def renew(self) -> None:
        """Begin again, because it shows something else now: what was typed until now is no answer to that."""
        self.painted = None
        self._framed = False
        self.shown.drawn = False
        self.shown.refresh()

    def refusal(self, word_since: float | None = None) -> str:
        """Return why what was typed last does not confirm it, "" where it does.

        `word_since` is when the first letter of the word was typed that must be typed; such a word may be typed fast.
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
        """Say in its first line why nothing is done."""
        complaint = self.query_one("#dialog-error", Static)
        complaint.update(safe(words))
        complaint.display = True
        complaint.scroll_visible(animate=False)

    @property
    def is_in_word(self) -> bool:
        """Whether what was typed last followed a letter so fast that both are of a word meant for something else."""
        return bool(self._goes_on) or (self._follows_letter and self._since_key < self.pace.apart)

    @property
    def _is_hurried(self) -> bool:
        """Whether what was typed last followed another key so fast that both are of a burst, or of a word.

        Words may be typed slowly; a second press of the same key is none.
        """
        is_new = isinstance(self._before, Key) and isinstance(self._input, Key) and self._before.key != self._input.key
        return self._since_key < (self.pace.stands if self._follows_letter and is_new else self.pace.apart)

    @property
    def _follows_letter(self) -> bool:
        return isinstance(self._before, Key) and self._before.is_printable

    @property
    def _since_key(self) -> float:
        """Seconds between the key before what was typed last, and that."""
        if self._input is None or not isinstance(self._before, Key):
            return inf
        return self._input.time - self._before.time

    # --- what is seen ------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> bool:
        """Whether what is typed from now on can confirm it."""
        return self.painted is not None and monotonic() >= self.painted + self._stands

    def displayed(self) -> None:
        """Note that a frame has gone to the terminal; called by the app."""
        if self.painted is None and self.ready:
            self._framed = True
            if self.shown.drawn and self._in_sight():
                self.painted = monotonic()

    def on_resize(self) -> None:
        """Begin again: its lines have moved."""
        self.renew()

    def on_screen_resume(self) -> None:
        """Begin again: another window was over it."""
        self.renew()

    @property
    def _stands(self) -> float:
        return self.pace.stands if self.destroys else 0.0

    def _in_sight(self) -> bool:
        """Return whether a name or an id of what it acts on can be read."""
        names = ["".join(safe(name).split())[:_LETTERS] for name in self.names]
        if not names:
            return True
        try:
            place = self.find_widget(self.shown)
        except NoWidget:
            return False
        seen = place.region.intersection(place.clip)
        lines = (self.shown.render_line(y - place.region.y).text for y in range(seen.y, seen.bottom))
        text = "".join("".join(lines).split())
        return any(name in text for name in names)

    # --- what is typed -----------------------------------------------------------------------------------------------

    def follow(self, event: Key, before: Key) -> None:
        """Note whether a key and the one before it are of one word; called by the app before the key is handled.

        A word that was meant for a filter opens a window with one letter and answers it with the next ones, in a field
        too. A pause ends it.
        """
        of_one_word = before.is_printable and event.time - before.time < self.pace.apart
        self._goes_on = of_one_word and self._goes_on is not False

    def on_key(self, event: Key) -> None:
        """Note a key that no field has taken for text; what is bound to it runs after this."""
        self._before, self._input = self._input, event

    def on_mouse_down(self, event: MouseDown) -> None:
        """Note a press of the mouse: the click that it may become is made later."""
        self._before, self._input, self._goes_on = None, event, False


def _early(at: float, painted: float) -> str:
    return f"Typed {'before' if at < painted else 'too soon after'} this was shown"


def _again(typed: Key | MouseDown | None) -> str:
    if isinstance(typed, MouseDown):
        return "click again"
    if typed is None or typed.key == "enter":
        return "press Enter again"
    return f"press {typed.character or typed.key} again"
