"""Shows the results of commands, and offers what follows: undo, the list of results, another try."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.commands.grammar import parse, split
from backend.commands.model import Finished, Parsed, Result
from backend.commands.preview import Preview
from backend.commands.run import losses
from backend.errors import (
    CacheLostError,
    CloudmeshError,
    MissingError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
    UnusableError,
    UsageError,
)
from backend.format import field_texts
from backend.kinds.model import Ref, Scope
from tui.host import Host, Tables
from tui.jobs import Job
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.text import TextScreen

if TYPE_CHECKING:
    from tui.asking import Asking
    from tui.runner import Again, Runner, Then

_NOTHING_DONE = (UsageError, RefusedError, NotFoundError)
"""The errors after which a dialog is offered again: only these say that the cloud is unchanged."""

_LONGEST = 400
"""At most N characters of the reasons are shown when several commands failed; the list has all of them."""


class Results:
    """The results of the commands of one cloud. All methods run on the event loop."""

    def __init__(self, host: Host, tables: Tables, runner: "Runner", asking: "Asking") -> None:
        self._host = host
        self._tables = tables
        self._runner = runner
        self._asking = asking
        self.last: list[Finished] = []
        """The results of the last commands, if these were several or one failed."""
        self._undo: list[Parsed] = []
        """The commands that undo the last ones."""
        self._lost: list[str] = []
        """What each of them does not bring back; "" for nothing."""
        self._failed_refreshes: dict[str, CloudmeshError] = {}
        """The errors of automatic refreshes, by their line, until the same refresh succeeds."""

        self._noted: set[str] = set()
        """What refreshes have said that their listings lack: each sentence is shown once."""

    def ended(self, results: list[Finished], *, quiet: bool, then: "Then", again: "Again | None") -> None:
        """Show the results of commands; call `then` if all succeeded, `again` if a single one was refused."""
        results = [part for one in results for part in _parts(one)]
        done = [(one.parsed, one.outcome) for one in results if isinstance(one.outcome, Result)]
        failed = [(one.parsed, error) for one in results if (error := one.error)]
        for parsed, result in done:
            if (error := self._failed_refreshes.pop(parsed.line, None)) is not None:
                self._host.retract(error)
            if result.setting is not None:
                self._host.apply(result.setting)
            for note in {one.note for one in result.differences if one.note} - self._noted:
                self._noted.add(note)
                self._host.warn(note)
            if parsed.command.opens and result.text:
                self._host.open(TextScreen(parsed.line, result.text))
            elif parsed.command.opens and result.fields:
                fields = field_texts(result.kind, result.fields)
                self._host.open(DetailsScreen(parsed.command.name, fields))
        changed = any(one.parsed.command.effect != "reads" for one in results)
        if changed:
            undone = [(parsed, result) for parsed, result in done if result.undo]
            self._undo = [replace(parse(split(one.undo)), scope=self._scope(parsed)) for parsed, one in undone]
            self._lost = [result.lost for _, result in undone]
            self.last = results if failed or len(results) > 1 else []
        if done and not quiet:
            said = done[0][1].message if len(done) == 1 else f"{done[0][0].command.name}: {len(done)} done."
            more = "z undoes it." if changed and self._undo else self._go_to_made(done)
            lost = [result.lost for _, result in done if result.lost]
            if len(done) > 1 and lost:
                lost = ["F lists what does not come back."]
            self._host.say(" ".join(filter(None, [said, more, *lost])))
        if not failed:
            then(results[0].parsed)
            return
        parsed, error = failed[0]
        if quiet:
            self._failed_refreshes[parsed.line] = error
        if len(results) == 1 and isinstance(error, MissingError) and self._asking.offer_missing(parsed, error):
            pass  # its dialog is open
        elif len(results) == 1 and again and isinstance(error, _NOTHING_DONE):
            again(parsed, error)
        elif parsed.among or (quiet and isinstance(error, CacheLostError)):
            pass  # the user did not ask for it: a line says which scopes failed, and the feed reports a lost cache
        elif len(results) == 1:
            until_back = parsed.command.effect == "reads" and isinstance(error, CacheLostError)
            self._host.show_error(error, behind=quiet, until_back=until_back)
        else:
            reasons = " ".join(dict.fromkeys(one.message for _, one in failed))
            message = f"{parsed.command.name}: {len(failed)} of {len(results)} failed. {reasons}"
            shown = message if len(message) < _LONGEST else f"{message[:_LONGEST]}…"
            self._host.show_error(CloudmeshError(shown, "F lists each, and does them again."))

    def _go_to_made(self, done: Sequence[tuple[Parsed, Result]]) -> str:
        """Move the cursor to the first new object; return what the user does to see it, "" for nothing."""
        for parsed, result in done:
            kind, native = result.kind, dict(result.fields).get("id")
            if kind and native and parsed.command.effect == "changes" and parsed.command.target(kind.name) is None:
                break
        else:
            return ""
        if self._runner.closed:  # the cloud was switched: the object is not in these tables
            return ""
        table = self._tables.table_of(kind.name)
        made = Ref(self._scope(parsed), str(native))
        table.expect(made)
        if self._tables.kind != kind.name:
            return f"{kind.tab or f':{kind.plural}'} goes to it."
        known = table.rows.row(made) is not None
        return "The filter hides it." if known and table.cursor_ref != made else ""

    def show(self) -> bool:
        """List the result of each of the last commands, and offer to repeat those that failed.

        Return whether there are any.
        """
        if not self.last:
            self._host.say("There are no results to list: J shows the journal.")
            return False
        unknown = [one for one in self.last if isinstance(one.outcome, OutcomeUnknownError)]
        partly = [one for one in self.last if isinstance(one.outcome, Result | UnusableError) and one.error]
        failed = [one for one in self.last if one.error and one not in (*unknown, *partly)]
        done = [one for one in self.last if not one.error]
        lines = [("?", one.parsed.line, str(one.error)) for one in unknown]
        lines += [("!", one.parsed.line, str(one.error)) for one in partly]
        lines += [("✕", one.parsed.line, str(one.error)) for one in failed]
        said = [(one.parsed.line, one.outcome) for one in done if isinstance(one.outcome, Result)]
        lines += [("●", line, f"{result.message} {result.lost}".rstrip()) for line, result in said]

        def chosen(answer: str | None) -> None:
            if answer != "again" or self._runner.closed:
                return
            commands = [one.parsed for one in failed]
            destroying = [parsed for parsed in commands if parsed.command.effect == "destroys"]
            if destroying:  # a dialog is for one command; a resume may have run several
                self._asking.again([parsed for parsed in destroying if parsed.command is destroying[0].command])
            else:
                self.last = []
                self._runner.run(commands)

        counts = (len(failed), "failed"), (len(unknown), "unknown"), (len(partly), "done in part"), (len(done), "done")
        counted = ", ".join(f"{count} {what}" for count, what in counts if count)
        title = f"{self.last[0].parsed.command.name}: {counted}"
        answers = [("again", f"Again: {len(failed)}")] if failed else []  # not the others: they are done, or may be
        self._host.open(ChoiceScreen(title, lines, answers, pace=self._host.pace), chosen)
        return True

    def undo(self) -> bool:
        """Show the commands that undo the last ones and what each loses, and run them on a yes.

        Return whether there are any.
        """
        if not self._undo:
            self._host.say("There is nothing to undo.")
            return False
        commands = self._undo
        one = commands[0].command
        if one.preview and all(parsed.command is one for parsed in commands):  # it loses something itself: show what
            return self._asking.again(commands)

        session, lost = self._runner.session, self._lost

        def find_out(job: Job) -> list[Preview | None]:
            return [losses(parsed, session, job.check) for parsed in commands]

        def chosen(answer: str | None) -> None:
            if answer == "undo" and not self._runner.closed:
                if self._undo is commands:  # else another command has ended meanwhile: keep its undo
                    self._undo = []
                self._runner.run(commands)

        def show(previews: list[Preview | None]) -> None:
            if self._runner.closed:
                return
            lines = [
                ("·", parsed.line, " · ".join(filter(None, [self._named(parsed), before, *_losses(preview)])))
                for parsed, before, preview in zip(commands, lost, previews, strict=True)
            ]
            destroys = any(parsed.command.effect == "destroys" for parsed in commands)
            final = any(preview.is_final for preview in previews if preview is not None)
            answers = [("undo", "Undo")]
            screen = ChoiceScreen("Undo", lines, answers, "Cancel", pace=self._host.pace, destroys=destroys or final)
            self._host.open(screen, chosen)

        self._host.start(Job("Checking what the undo loses", find_out, show, key="undo", opens=True))
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
        """Return the scope that a command acted in."""
        return parsed.scope or self._runner.session.scope


def _losses(preview: Preview | None) -> list[str]:
    """Return what a command would lose and warns of, and what is not known of that."""
    if preview is None:
        return []
    said = [text for target in preview.acted_on for text in (*target.losses, *target.warnings)]
    return [*preview.notes, *said]


def _parts(one: Finished) -> Sequence[Finished]:
    """Return the results of the commands that a command has run, or else its own."""
    return one.outcome.parts if isinstance(one.outcome, Result) and one.outcome.parts else [one]
