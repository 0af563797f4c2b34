"""The one rule for what happens first when a command is asked for: it runs, or a dialog opens, or a tab is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from backend.commands.model import Param, Parsed
from backend.kinds.model import Ref
from backend.session import Session

Way = Literal["key", "palette", "line"]
"""How a command is asked for. A dialog whose fields were filled counts as the palette: its command was picked."""


class Step(Enum):
    """What happens first."""

    SHOW = "show the tab that has the same, or the journal"
    ASK_ON_ROWS = "open its dialog on the chosen rows"
    ASK = "open its dialog with what was given filled in"
    CONFIRM = "find the object that is named, and open its dialog on it"
    WEIGH = "find out what it loses: open its dialog where nothing brings that back, else run it"
    RUN = "run it"


@dataclass(frozen=True)
class Chosen:
    """The rows that a key acts on."""

    target: Param
    """The parameter that they fill."""
    refs: Sequence[Ref]
    which: str = ""
    """Which rows these are, as a dialog says it; "" where that is plain to see."""


@dataclass(frozen=True)
class Request:
    """A command that is asked for."""

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
        """Whether it says what it acts on."""
        target = self.parsed.command.object
        return target is not None and target.name in self.parsed.given


RULES: tuple[tuple[str, Callable[[Request, Session], bool], Step], ...] = (
    ("shows what a tab shows", lambda one, _: one.parsed.command.shows is not None, Step.SHOW),
    (
        "a key, on rows, for more than a look at one",
        lambda one, _: one.chosen is not None and (not one.reads or one.parsed.command.asks),
        Step.ASK_ON_ROWS,
    ),
    ("lacks something", lambda one, session: bool(one.parsed.missing(session)), Step.ASK),
    ("changes something, with nothing given", lambda one, _: one.changes and not one.parsed.given, Step.ASK),
    ("destroys what it names", lambda one, _: one.destroys and one.names_object, Step.CONFIRM),
    ("destroys what it finds by itself", lambda one, _: one.destroys, Step.ASK),
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
    """Return what happens first when a command is asked for that the session may run."""
    return next(step for _, holds, step in RULES if holds(request, session))
