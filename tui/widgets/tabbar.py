"""The tab line: one tab for each kind, with its number key, count and age, as far as the width allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from backend.kinds.model import Kind


@dataclass(frozen=True)
class Label:
    """What a tab shows beside its name: the number of rows (None: unknown) and their age ("": never listed)."""

    count: int | None = None
    age: str = ""
    stale: bool = False
    note: str = ""
    """What else it says: how many of several regions it shows."""


class TabBar(Widget):
    """One line of tabs; a click on one posts Chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tabbar--active", "tabbar--tab", "tabbar--muted", "tabbar--stale"}

    kinds: reactive[Sequence[Kind]] = reactive(())
    active: reactive[str] = reactive("")
    labels: reactive[Mapping[str, Label]] = reactive(dict, repaint=False)

    _shown: "Words" = ()
    """What was painted last."""

    def __init__(self, kinds: Sequence[Kind], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.kinds = kinds
        self.active = kinds[0].name

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        kind: str

    def watch_labels(self) -> None:
        """Repaint only if the text differs: ages are set once a second, and few of them are shown."""
        if self._words() != self._shown:
            self.refresh()

    def render(self) -> Text:
        """Return the longest form of the tabs that fits: from names, counts and ages down to number keys."""
        line = Text.assemble(*((text, style or "") for text, style, _ in self._segments()), no_wrap=True, end="")
        line.truncate(self.size.width)
        return line

    def render_line(self, y: int) -> Strip:
        """Return the line directly: it is painted every second, and making a Text costs several times as much."""
        if y:
            return super().render_line(y)
        return Strip(self._segments()).adjust_cell_length(self.size.width, self.rich_style.background_style)

    def _segments(self) -> list[Segment]:
        self._shown = self._words()
        styles = {style: self.get_component_rich_style(f"tabbar--{style}") for style in _STYLES}
        segments, at = [], 0
        for kind, style, text in self._shown:
            if text:
                # textual asks for the offset too, if text is selected.
                segments.append(Segment(text, styles[style] + Style(meta={"kind": kind, "offset": (at, 0)})))
                at += len(text)
        return segments

    def _words(self) -> "Words":
        """Return the words of the longest form that fits, else of the shortest."""
        words: Words = ()
        for form, pad in _FORMS:
            words = tuple(self._line(form, pad))
            if sum(len(text) for _, _, text in words) <= self.size.width:  # every letter has one cell
                break
        return words

    def _line(self, form: "Form", pad: str) -> Iterator[tuple[str, str, str]]:
        for kind in self.kinds:
            label = self.labels.get(kind.name, Label())
            active = kind.name == self.active
            base = "active" if active else "tab"
            yield kind.name, "active" if active else "muted", f"{pad}{kind.tab} " if kind.tab else pad
            for text, style in form(kind, label, active):
                yield kind.name, base if active or not style else style, text
            yield kind.name, base, " "

    def on_click(self, event: events.Click) -> None:
        """Ask for the tab under the pointer."""
        if (kind := event.style.meta.get("kind")) is not None:
            self.post_message(self.Chosen(kind))


_STYLES = ("active", "tab", "muted", "stale")

Words = tuple[tuple[str, str, str], ...]
"""A line of tabs in parts: the kind of each, its style and its text."""

Form = Callable[[Kind, Label, bool], list[tuple[str, str]]]
"""Returns what a tab shows, as (text, style), from its kind, its label and whether it is active."""


def _long(kind: Kind, label: Label, _active: bool) -> list[tuple[str, str]]:
    age = [(f" · {label.age}", "stale" if label.stale else "muted")] if label.age else []
    note = [(f" · {label.note}", "muted")] if label.note else []
    return [(kind.plural, ""), ("" if label.count is None else f" {label.count:,}", "muted"), *age, *note]


def _medium(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    return _long(kind, label if active else Label(label.count), active)


def _counts(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    return _long(kind, Label(label.count, note=label.note if active else ""), False)


def _bare(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    return _long(kind, label if active else Label(), active)


def _keys(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    if active:
        return _long(kind, Label(label.count, note=label.note), active)
    return [] if kind.tab else [(kind.plural, "")]


_FORMS: tuple[tuple[Form, str], ...] = (
    (_long, " "),
    (_medium, " "),
    (_medium, ""),
    (_counts, ""),
    (_bare, " "),
    (_keys, " "),
)
"""From the longest to the shortest, each with the blanks before a tab. In the last only the active tab has its name."""
