"""What a command is, what it is called with, and what comes out of it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backend.callbacks import ignore
from backend.commands.preview import Preview
from backend.config import expanded
from backend.errors import CloudmeshError, UsageError
from backend.journal.entry import Entry
from backend.kinds.model import Kind, Ref, Row, Scope
from backend.providers.protocol import Provider, Waiting
from backend.refresh import Difference, Progress
from backend.session import Session, SettingChange
from backend.text import safe

Effect = Literal["reads", "changes", "destroys"]
"""What a command does to the cloud. Changing ones are journalled; destroying ones are confirmed."""


@dataclass(frozen=True)
class Param:
    """One parameter: NAME in its place, --name VALUE, name=VALUE, or --name alone."""

    name: str
    help: str
    style: Literal["positional", "option", "assignment", "switch"] = "positional"
    type: Literal["text", "int", "path", "cloud", "region", "tag"] = "text"
    kind: str | None = None
    """The kind of resource that the value names, for completion, pickers and keys on a row."""
    required: bool = False
    default: Callable[[Session], str | None] = lambda _session: None
    """The configured default."""
    minimum: int | None = None
    word: str = ""
    """The value in a usage line, if that is not the name of the parameter."""
    needs: str = ""
    """The capability that the cloud must have; see Command."""
    dry: bool = False
    """With it, the command is a dry run: it only checks whether the cloud would allow it."""
    acted_on: bool = False
    """It names the object that the command acts on; the journal records the object's id."""
    many: bool = False
    """It takes several values, joined by commas: one command acts on all marked rows."""
    offer: tuple[str, str] | None = None
    """The command that creates a missing object, and the sentence that offers it."""
    known: tuple[str, ...] = ()
    """Words that complete it and that the dialog offers; it may take others too."""
    asked: Callable[[Row], bool] | None = None
    """Whether the dialog for a row has a field for it; None: always."""

    @property
    def usage(self) -> str:
        """How the parameter is written in a usage line."""
        word = self.metavar
        text = {
            "positional": word,
            "option": f"--{self.name} {word}",
            "assignment": f"{self.name}={word}",
            "switch": f"--{self.name}",
        }[self.style]
        return text if self.required else f"[{text}]"

    @property
    def metavar(self) -> str:
        """The parameter's value in capitals."""
        words = {"int": "N", "path": "FILE", "cloud": "NAME", "tag": "KEY=VALUE"}
        return self.word or words.get(self.type, self.name.upper())


def one_of(kind: Kind) -> Param:
    """Return the parameter that names the object of `kind` that a command acts on."""
    words = "Name" if kind.handle == "name" else "Id or unique name"
    return Param(kind.name, f"{words} of the {kind.noun}", kind=kind.name, required=True, acted_on=True)


@dataclass(frozen=True)
class Context:
    """What one run of a command works with: the session, the arguments, and the callbacks."""

    session: Session
    args: Mapping[str, Any]
    check: Callable[[], None] = ignore
    """Raises Cancelled when the user has cancelled."""
    progress: Callable[[Progress], None] = ignore
    on_wait: Callable[[Waiting], None] = ignore
    """Called when a request to the cloud waits to be sent again."""
    entry: Entry | None = None
    """Its entry in the journal; None if it changes nothing."""
    production: frozenset[str] = frozenset()
    """Names or ids of production objects that may be destroyed; see Parsed."""

    def connect(self) -> Provider:
        """Return a new provider for the cloud, for the calling thread alone."""
        return self.session.connect(self.check, self.on_wait)

    @property
    def journal(self) -> Entry:
        """The entry of a command that changes something, to be written before it is sent."""
        if self.entry is None:
            raise RuntimeError("a command that changes something has no journal entry")
        return self.entry


@dataclass(frozen=True)
class Result:
    """What a command returns: one sentence and, depending on the command, rows, fields, differences or text."""

    message: str = ""
    kind: Kind | None = None
    rows: tuple[Row, ...] | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    differences: tuple[Difference, ...] = ()
    text: str = ""
    """Lines to read as they are, such as a console's output; a terminal is never sent them unescaped."""
    setting: SettingChange | None = None
    """What the command has set, for the session that there is when this is applied."""
    failure: str = ""
    """A sentence, if the command was done only in part; it then counts as failed."""
    shows_fields: bool = False
    """The shell prints the fields too, not the message alone."""
    undo: str = ""
    """The command that reverses what was done, as it would be typed, if there is one."""
    lost: str = ""
    """What is lost for good, or still billed, though it is undone; sentences."""
    parts: tuple["Finished", ...] = ()
    """The result of each of the commands that it ran."""


@dataclass(frozen=True)
class Finished:
    """A command that has run, and its result or error."""

    parsed: "Parsed"
    outcome: Result | CloudmeshError

    @property
    def error(self) -> CloudmeshError | None:
        """Why it failed, None when it did not."""
        if isinstance(self.outcome, CloudmeshError):
            return self.outcome
        return CloudmeshError(self.outcome.failure) if self.outcome.failure else None


@dataclass(frozen=True)
class Command:
    """One verb of the grammar; every face of the program is made from these."""

    words: tuple[str, ...]
    help: str
    run: Callable[[Context], Result]
    params: tuple[Param, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = ignore
    """Checks the arguments together, before anything is journalled or sent. Raises UsageError."""
    effect: Effect = "reads"
    key: str = ""
    """Its key in the dashboard, as textual names keys; "" for none."""
    minor: bool = False
    """Only the help shows its key: the line of keys has no room for all."""
    on: tuple[str, ...] = ()
    """The kinds on whose tabs the key applies; empty: everywhere."""
    impossible_in: frozenset[str] = frozenset()
    """The states of the cursor's row in which the command cannot work; in all others the cloud decides."""
    hindrance: Callable[[Row, Callable[[str, Ref], str]], str] | None = None
    """Says why the command cannot act on a row, "" if only the row's state says so: "is in use by web".

    Takes the row and what returns the name of an object for its kind, and its scope and id.
    """
    needs: str = ""
    """What the cloud must be able to do beyond having its kind, as ProviderEntry.capabilities has it."""
    asks: bool = False
    """Whether its key opens its dialog though it changes nothing in a cloud."""
    opens: bool = False
    """Whether the dashboard shows the text or the fields of its result in a window."""
    shows: str | None = None
    """What shows the same in the dashboard: the tab of a kind, "journal", or "scope" for the choice of regions."""
    lifts_guard: bool = False
    """It removes what protects an object from being destroyed: it is confirmed like a destroying command."""
    button: str = ""
    """The label of the dialog's button, if that is not the last word."""
    refreshes: str | None = None
    """The kind that it refreshes, or "all"."""
    everywhere: bool = False
    """It works on all clouds and regions that are shown, not on those of one row or the home scope alone."""
    sets: bool = False
    """It changes a setting: the dashboard runs such commands one by one, in order."""
    preview: Callable[[Context, Sequence[str]], Preview] | None = None
    """Shows what it would destroy or lose, given the ids of what it is to act on; only reads."""
    probe: Callable[[Context], Result | None] | None = None
    """Finds the outcome when the answer was lost: returns a result if it was done, None if it was not.

    It changes nothing, and raises OutcomeUnknownError if the outcome stays unknown.
    """
    resend: Callable[[Context], Result] | None = None
    """Sends the request of its journal entry again; only for requests with a token, which the cloud does only once."""
    journalled: bool = True
    """A change has an entry of its own; False if the command only continues others."""

    @property
    def name(self) -> str:
        """The words as they are typed."""
        return " ".join(self.words)

    @property
    def usage(self) -> str:
        """The words and the parameters."""
        return " ".join([self.name, *(param.usage for param in self.params)])

    @property
    def object(self) -> Param | None:
        """The parameter that names what it acts on."""
        return next((param for param in self.params if param.kind and param.required), None)

    def target(self, kind: str) -> Param | None:
        """Return the parameter that the cursor's row of `kind` fills, if there is one."""
        return next((param for param in self.params if param.kind == kind), None)


@dataclass(frozen=True)
class Parsed:
    """A command and the arguments that were given, as they were written."""

    command: Command
    given: Mapping[str, str]
    production: frozenset[str] = frozenset()
    """Names or ids of production objects that were typed to confirm that they are destroyed; never journalled."""
    scope: Scope | None = None
    """The cloud and region that it acts in, which are those of its row; None: those of the session."""
    among: tuple[Scope, ...] = ()
    """The scopes that a command on several works on; empty: all of the session."""

    def at(self, session: Session) -> Session:
        """Return the session for the scope of the command. Raises ConfigError if that is no longer configured."""
        if self.among:
            return session.among(self.among)
        return session if self.scope is None else session.at(self.scope)

    def missing(self, session: Session) -> list[Param]:
        """Return the required parameters that neither the user nor the configuration gives."""
        return [param for param in self.command.params if param.required and not self._value(param, session)]

    def bind(self, session: Session) -> dict[str, Any]:
        """Return all arguments, converted to their types: what was given, else the configured default, else None.

        Raises UsageError if a required argument is missing, has the wrong type, or fails the command's check.
        """
        if missing := self.missing(session):
            raise UsageError(
                f"{self.command.name} needs {' and '.join(param.metavar for param in missing)}.",
                f"Usage: {self.command.usage}",
            )
        args = {param.name: _typed(param, self._value(param, session)) for param in self.command.params}
        self.command.check(args)
        return args

    def _value(self, param: Param, session: Session) -> str | None:
        """Return the given value, None for an empty word, else the configured default."""
        return self.given[param.name] or None if param.name in self.given else param.default(session)

    @property
    def lasting(self) -> str:
        """The command with absolute paths, as the journal keeps it: it means the same in every folder."""
        paths = {param.name for param in self.command.params if param.type == "path"}
        given = {name: str(expanded(value)) if name in paths and value else value for name, value in self.given.items()}
        return Parsed(self.command, given).line

    @property
    def line(self) -> str:
        """The command as it would be typed."""
        places: list[str] = []
        others: list[str] = []
        for param in self.command.params:
            value = self.given.get(param.name)
            if value is not None:
                if param.style == "positional":
                    places.append(value)
                elif param.style == "switch":
                    others += [f"--{param.name}"] if value else []
                else:
                    others += [f"--{param.name}", value] if param.style == "option" else [f"{param.name}={value}"]
        literal = any(value.startswith("--") for value in places)
        return shlex.join([*self.command.words, *([*others, "--", *places] if literal else [*places, *others])])


ON = "on"
"""What a switch that is given has as its value; one that is not has none."""


def _typed(param: Param, value: str | None) -> str | int | None:
    if param.type == "tag" and value is not None and value.find("=") < 1:
        raise UsageError(f"{safe(value)!r} is no tag.", "Write it as KEY=VALUE.")
    if value is None or param.type != "int":
        return value
    try:
        number = int(value)
    except ValueError:
        raise UsageError(f"{param.name} must be a whole number, not {safe(value)!r}.") from None
    if param.minimum is not None and number < param.minimum:
        raise UsageError(f"{param.name} must be at least {param.minimum}, not {number}.")
    if number > _MOST:
        raise UsageError(f"{param.name} must be at most {_MOST}, not {number}.")
    return number


_MOST = 2**31 - 1
"""The largest integer of 32 bits, as the APIs of clouds have."""
