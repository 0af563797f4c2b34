"""What a command is, what it is called with, and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.callbacks import ignore
from backend.kinds import Kind, Row
from backend.refresh import Difference, Progress
from backend.session import Session

Effect = Literal["reads", "changes", "destroys"]
"""What a command does to the cloud. Changing ones are journalled; destroying ones are confirmed."""


@dataclass(frozen=True)
class Param:
    """One parameter: NAME in its place, --name VALUE, or name=VALUE."""

    name: str
    help: str
    style: Literal["positional", "option", "assignment"] = "positional"
    type: Literal["text", "int", "path", "cloud"] = "text"
    kind: str | None = None
    """The kind of resource that the value names, for completion, pickers and keys on a row."""
    required: bool = False
    default: Callable[[Session], str | None] = lambda _session: None
    """What the configuration says where the user says nothing."""
    minimum: int | None = None

    @property
    def usage(self) -> str:
        """How the parameter is written in a usage line."""
        word = self.metavar
        text = {"positional": word, "option": f"--{self.name} {word}", "assignment": f"{self.name}={word}"}[self.style]
        return text if self.required else f"[{text}]"

    @property
    def metavar(self) -> str:
        """The parameter's value in capitals."""
        words = {"int": "N", "path": "FILE", "cloud": "NAME"}
        return words.get(self.type, self.name.upper())


@dataclass(frozen=True)
class Call:
    """One call of a command: what it works on, with what, and whom it tells."""

    session: Session
    args: Mapping[str, Any]
    check: Callable[[], None] = ignore
    """Raises Cancelled when the user has cancelled."""
    progress: Callable[[Progress], None] = ignore
    objects: list[str] = field(default_factory=list)
    """Ids of what the command acts on, for the journal; the command adds to it."""


@dataclass(frozen=True)
class Outcome:
    """What a command has to say: one sentence and, depending on the command, rows, fields or differences."""

    message: str = ""
    kind: Kind | None = None
    rows: tuple[Row, ...] | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    differences: tuple[Difference, ...] = ()
    session: Session | None = None
    """The session to go on with, where the command changed it."""
    failure: str = ""
    """A sentence where the command did something but not all; it then counts as failed."""


@dataclass(frozen=True)
class Command:
    """One verb of the grammar; every face of the program is made from these."""

    words: tuple[str, ...]
    help: str
    run: Callable[[Call], Outcome]
    params: tuple[Param, ...] = ()
    effect: Effect = "reads"
    key: str = ""
    """Its key in the dashboard, as textual names keys; "" for none."""
    on: tuple[str, ...] = ()
    """The kinds on whose tabs the key applies; empty: everywhere."""
    states: frozenset[str] | None = None
    """The states of the cursor's VM in which the command makes sense; None: any."""
    shows: str | None = None
    """The kind whose tab shows the same in the dashboard."""
    button: str = ""
    """What the dialog's button says, where that is not the last word."""
    refreshes: str | None = None
    """The kind that it refreshes."""

    @property
    def name(self) -> str:
        """The words as they are typed."""
        return " ".join(self.words)

    @property
    def usage(self) -> str:
        """The words and the parameters."""
        return " ".join([self.name, *(param.usage for param in self.params)])

    def target(self, kind: str) -> Param | None:
        """Return the parameter that the cursor's row of `kind` fills, if there is one."""
        return next((param for param in self.params if param.kind == kind), None)
