"""The tab line: one tab a kind with its number key, count and age, in as many words as the width allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from backend.kinds import KINDS, Kind


@dataclass(frozen=True)
class Label:
    """What a tab says beside its name: how many rows (None: not known yet) and how old ("": never listed)."""

    count: int | None = None
    age: str = ""
    stale: bool = False


class TabBar(Widget):
    """One line of tabs; clicking one asks for it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tabbar--active", "tabbar--tab", "tabbar--muted", "tabbar--stale"}

    active: reactive[str] = reactive(next(iter(KINDS)))
    labels: reactive[Mapping[str, Label]] = reactive(dict)

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        kind: str

    def render(self) -> Text:
        """Return the longest form of the tabs that fits: with ages, with the active one's age, or with counts only."""
        shortest = Text()
        for form, pad in ((_long, " "), (_medium, " "), (_medium, ""), (_counts, ""), (_bare, " ")):
            shortest = self._line(form, pad)
            if shortest.cell_len <= self.size.width:
                break
        shortest.truncate(self.size.width)
        return shortest

    def _line(self, form: "Form", pad: str) -> Text:
        line = Text(no_wrap=True, end="")
        for number, kind in enumerate(KINDS.values(), 1):
            label = self.labels.get(kind.name, Label())
            active = kind.name == self.active
            base = self.get_component_rich_style("tabbar--active" if active else "tabbar--tab")
            target = Style(meta={"kind": kind.name})
            line.append(f"{pad}{number} ", base + target if active else self._look("muted") + target)
            for words, look in form(kind, label, active):
                style = base if active or not look else self._look(look)
                line.append(words, style + target)
            line.append(" ", base + target)
        return line

    def _look(self, name: str) -> Style:
        return self.get_component_rich_style(f"tabbar--{name}")

    def on_click(self, event: events.Click) -> None:
        """Ask for the tab under the pointer."""
        if (kind := event.style.meta.get("kind")) is not None:
            self.post_message(self.Chosen(kind))


Form = Callable[[Kind, Label, bool], list[tuple[str, str]]]
"""What a tab says, as (words, look), given its kind, its label and whether it is the active one."""


def _long(kind: Kind, label: Label, _active: bool) -> list[tuple[str, str]]:
    age = [(f" · {label.age}", "stale" if label.stale else "muted")] if label.age else []
    return [(kind.plural, ""), ("" if label.count is None else f" {label.count:,}", "muted"), *age]


def _medium(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    return _long(kind, label if active else Label(label.count), active)


def _counts(kind: Kind, label: Label, _active: bool) -> list[tuple[str, str]]:
    return _long(kind, Label(label.count), False)


def _bare(kind: Kind, label: Label, active: bool) -> list[tuple[str, str]]:
    return _long(kind, label if active else Label(), active)
