"""Decides what happens first when the user asks for a command: it runs, a dialog opens, or a tab is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from backend.commands.model import Param, Parsed
from backend.kinds.model import Ref
from backend.session import Session

Way = Literal["key", "palette", "line"]
"""How the user asks for a command. A dialog with its fields filled counts as the palette: the command was picked."""


class Step(Enum):
    """The first step towards a command."""

    SHOW = "show the tab that has its rows, or the journal"
    ASK_ON_ROWS = "open its dialog on the chosen rows"
    ASK = "open its dialog with the given arguments filled in"
    CONFIRM = "find the object by its name, and open the dialog on it"
    WEIGH = "find out what it loses: open its dialog if the loss is final, else run it"
    RUN = "run it"


@dataclass(frozen=True)
class Chosen:
    """The rows that a key acts on."""

    target: Param
    """The parameter that gets the rows."""
    refs: Sequence[Ref]
    which: str = ""
    """Which rows these are, for a dialog; "" if that is obvious."""


@dataclass(frozen=True)
class Request:
    """A command that the user asks for."""

    parsed: Parsed
    way: Way
    chosen: Chosen | None = None

    @property
    def reads(self) -> bool:
        """Whether it changes nothing in a cloud."""
        return self.parsed.command.effect == "reads"

    @property
    def destroys(self) -> bool:
        """Whether it destroys something."""
        return self.parsed.command.effect == "destroys"

    @property
    def changes(self) -> bool:
        """Whether it changes something and destroys nothing."""
        return self.parsed.command.effect == "changes"

    @property
    def names_object(self) -> bool:
        """Whether it names the object that it acts on."""
        target = self.parsed.command.object
        return target is not None and target.name in self.parsed.given


RULES: tuple[tuple[str, Callable[[Request, Session], bool], Step], ...] = (
    ("shows what a tab shows", lambda one, _: one.parsed.command.shows is not None, Step.SHOW),
    (
        "a key, on rows, of a command that does more than show one",
        lambda one, _: one.chosen is not None and (not one.reads or one.parsed.command.asks),
        Step.ASK_ON_ROWS,
    ),
    ("needs more arguments", lambda one, session: bool(one.parsed.missing(session)), Step.ASK),
    ("changes something, with nothing given", lambda one, _: one.changes and not one.parsed.given, Step.ASK),
    ("destroys what it names", lambda one, _: one.destroys and one.names_object, Step.CONFIRM),
    ("destroys something and names nothing", lambda one, _: one.destroys, Step.ASK),
    (
        "changes what it names, but was not typed",
        lambda one, _: one.changes and one.way != "line" and one.names_object,
        Step.CONFIRM,
    ),
    ("changes something, but was not typed", lambda one, _: one.changes and one.way != "line", Step.ASK),
    (
        "typed in full, and may lose something",
        lambda one, _: one.parsed.command.preview is not None and one.parsed.command.object is not None,
        Step.WEIGH,
    ),
    ("anything else: it only reads, or was typed in full", lambda _one, _: True, Step.RUN),
)
"""The first rule that holds decides."""


def first_step(request: Request, session: Session) -> Step:
    """Return the first step towards a command that the session may run."""
    return next(step for _, holds, step in RULES if holds(request, session))
