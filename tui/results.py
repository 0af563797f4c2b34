"""Shows how commands have ended, and offers what follows from it: undo, the list of results, once more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.commands.grammar import parse, split
from backend.commands.model import Finished, Parsed, Result
from backend.errors import (
    CacheLostError,
    CloudmeshError,
    InVainError,
    NotFoundError,
    RefusedError,
    UnsureError,
    UsageError,
)
from backend.format import field_texts
from backend.kinds.keypair import MissingKeypairError
from backend.kinds.model import Ref, Scope
from tui.host import Host, Tables
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.text import TextScreen

if TYPE_CHECKING:
    from tui.asking import Asking
    from tui.runner import Again, Runner, Then

_NOTHING_DONE = (UsageError, RefusedError, NotFoundError)
"""The errors after which a dialog may be offered again: no other says that the cloud was left as it was."""

_LONGEST = 400
"""Characters of the reasons why several commands failed; all of them are in the list."""


class Results:
    """The results of the commands of one cloud. All methods are of the event loop."""

    def __init__(self, host: Host, tables: Tables, runner: "Runner", asking: "Asking") -> None:
        self._host = host
        self._tables = tables
        self._runner = runner
        self._asking = asking
        self.last: list[Finished] = []
        """The results of the last commands, where there were several or one failed."""
        self._undo: list[Parsed] = []
        """The commands that undo what was done last."""
        self._lost: list[str] = []
        """What stays lost after each of them, "" for nothing."""
        self._failed_refreshes: dict[str, CloudmeshError] = {}
        """Why refreshes that nobody asked for have failed, by their line, until the same one is done."""

    def ended(self, results: list[Finished], *, quiet: bool, then: "Then", again: "Again | None") -> None:
        """Show how commands have ended; `then` is called where all are done, `again` where one was refused."""
        results = [part for one in results for part in _parts(one)]
        done = [(one.parsed, one.outcome) for one in results if isinstance(one.outcome, Result)]
        failed = [(one.parsed, error) for one in results if (error := one.error)]
        for parsed, outcome in done:
            if (error := self._failed_refreshes.pop(parsed.line, None)) is not None:
                self._host.retract(error)
            if outcome.setting is not None:
                self._host.apply(outcome.setting)
            if outcome.fields and parsed.command.effect == "reads":
                fields = field_texts(outcome.kind, outcome.fields)
                self._host.open(DetailsScreen(parsed.command.name, fields))
            if outcome.text:
                self._host.open(TextScreen(parsed.line, outcome.text))
        changed = any(one.parsed.command.effect != "reads" for one in results)
        if changed:
            undone = [(parsed, outcome) for parsed, outcome in done if outcome.undo]
            self._undo = [replace(parse(split(one.undo)), scope=self._scope(parsed)) for parsed, one in undone]
            self._lost = [outcome.lost for _, outcome in undone]
            self.last = results if failed or len(results) > 1 else []
        if done and not quiet:
            said = done[0][1].message if len(done) == 1 else f"{done[0][0].command.name}: {len(done)} done."
            more = "z undoes it." if changed and self._undo else self._go_to_made(done)
            lost = [outcome.lost for _, outcome in done if outcome.lost]
            if len(done) > 1 and lost:
                lost = ["F lists what does not come back."]
            self._host.say(" ".join(filter(None, [said, more, *lost])))
        if not failed:
            then(results[0].parsed)
            return
        parsed, error = failed[0]
        if quiet:
            self._failed_refreshes[parsed.line] = error
        if len(results) == 1 and isinstance(error, MissingKeypairError) and parsed.command.name == "vm boot":
            self._asking.offer_keypair(parsed, error)
        elif len(results) == 1 and again and isinstance(error, _NOTHING_DONE):
            again(parsed, error)
        elif quiet and isinstance(error, CacheLostError):
            pass  # nobody asked for it, and the feed reports that the cache is lost, and when it is back
        elif len(results) == 1:
            until_back = parsed.command.effect == "reads" and isinstance(error, CacheLostError)
            self._host.show_error(error, behind=quiet, until_back=until_back)
        else:
            reasons = " ".join(dict.fromkeys(one.message for _, one in failed))
            message = f"{parsed.command.name}: {len(failed)} of {len(results)} failed. {reasons}"
            shown = message if len(message) < _LONGEST else f"{message[:_LONGEST]}…"
            self._host.show_error(CloudmeshError(shown, "F lists each, and does them again."))

    def _go_to_made(self, done: Sequence[tuple[Parsed, Result]]) -> str:
        """Move the cursor to the first object that was made, and return what to do to see it, "" for nothing."""
        for parsed, outcome in done:
            kind, native = outcome.kind, dict(outcome.fields).get("id")
            if kind and native and parsed.command.effect == "changes" and parsed.command.target(kind.name) is None:
                break
        else:
            return ""
        if self._runner.closed:  # it is of another cloud than the rows
            return ""
        table = self._tables.table_of(kind.name)
        made = Ref(self._scope(parsed), str(native))
        table.expect(made)
        if self._tables.kind != kind.name:
            return f"{kind.tab or f':{kind.plural}'} goes to it."
        known = table.rows.row(made) is not None
        return "The filter hides it." if known and table.cursor_ref != made else ""

    def show(self) -> bool:
        """List the result of each of the last commands, and offer to do those that failed again.

        Returns whether there are any.
        """
        if not self.last:
            self._host.say("There are no results to list: J shows the journal.")
            return False
        unsure = [one for one in self.last if isinstance(one.outcome, UnsureError)]
        partly = [one for one in self.last if isinstance(one.outcome, Result | InVainError) and one.error]
        failed = [one for one in self.last if one.error and one not in (*unsure, *partly)]
        done = [one for one in self.last if not one.error]
        lines = [("?", one.parsed.line, str(one.error)) for one in unsure]
        lines += [("!", one.parsed.line, str(one.error)) for one in partly]
        lines += [("✕", one.parsed.line, str(one.error)) for one in failed]
        said = [(one.parsed.line, one.outcome) for one in done if isinstance(one.outcome, Result)]
        lines += [("●", line, f"{outcome.message} {outcome.lost}".rstrip()) for line, outcome in said]

        def chosen(answer: str | None) -> None:
            if answer != "again" or self._runner.closed:
                return
            commands = [one.parsed for one in failed]
            destroying = [parsed for parsed in commands if parsed.command.effect == "destroys"]
            if destroying:  # a dialog is of one command: what a resume ran may have been several
                self._asking.again([parsed for parsed in destroying if parsed.command is destroying[0].command])
            else:
                self.last = []
                self._runner.run(commands)

        counts = (len(failed), "failed"), (len(unsure), "unsure"), (len(partly), "done in part"), (len(done), "done")
        counted = ", ".join(f"{count} {what}" for count, what in counts if count)
        title = f"{self.last[0].parsed.command.name}: {counted}"
        answers = [("again", f"Again: {len(failed)}")] if failed else []  # the others have been done, or may have been
        self._host.open(ChoiceScreen(title, lines, answers, pace=self._host.pace), chosen)
        return True

    def undo(self) -> bool:
        """Show what would undo what was done last, and run it on a yes; return whether there is anything."""
        if not self._undo:
            self._host.say("There is nothing to undo.")
            return False
        commands = self._undo
        one = commands[0].command
        if one.preview and all(parsed.command is one for parsed in commands):  # it loses something itself: say what
            return self._asking.again(commands)

        def chosen(answer: str | None) -> None:
            if answer == "undo" and not self._runner.closed:
                self._undo = []
                self._runner.run(commands)

        lines = [
            ("·", parsed.line, " · ".join(filter(None, [self._named(parsed), lost])))
            for parsed, lost in zip(commands, self._lost, strict=True)
        ]
        destroys = any(parsed.command.effect == "destroys" for parsed in commands)
        answers = [("undo", "Undo")]
        screen = ChoiceScreen("Undo", lines, answers, "Cancel", pace=self._host.pace, destroys=destroys)
        self._host.open(screen, chosen)
        return True

    def _named(self, parsed: Parsed) -> str:
        """Return the names of the objects that a command names by id."""
        found = []
        for param in parsed.command.params:
            ref = Ref(self._scope(parsed), parsed.given.get(param.name, ""))
            row = self._tables.table_of(param.kind).rows.row(ref) if param.kind else None
            if row is not None and (name := self._tables.kinds[str(param.kind)].value(row, "name")):
                found.append(str(name))
        return ", ".join(found)

    def _scope(self, parsed: Parsed) -> Scope:
        """Return the cloud and region that a command has acted in."""
        return parsed.scope or self._runner.session.scope


def _parts(one: Finished) -> Sequence[Finished]:
    """Return the result of each command that a command has run, or of itself."""
    return one.outcome.parts if isinstance(one.outcome, Result) and one.outcome.parts else [one]
