"""Runs what the user asks for: opens dialogs where they are due, starts the commands, and shows their results."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.commands import (
    Command,
    Outcome,
    Param,
    Parsed,
    Result,
    command,
    execute_all,
    losses,
    parse,
    refusal,
    split,
)
from backend.commands.lookup import MissingKeypairError, find
from backend.commands.model import Call
from backend.commands.naming import named
from backend.commands.preview import Preview
from backend.commands.recovery import Recovered, recover
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
from backend.kinds import KINDS, Kind, Row
from backend.providers import Waiting
from backend.refresh import Progress
from backend.session import Session
from backend.text import safe
from tui.jobs import Job, JobMoved, JobWaits
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.dialog import CommandDialog
from tui.widgets.commandline import CommandLine
from tui.widgets.status import MessageBar

if TYPE_CHECKING:
    from tui.app import CloudmeshApp

Then = Callable[[Parsed], None]
"""What is done when a command has been done."""

Again = Callable[[Parsed, CloudmeshError], None]
"""What is done when a command was refused before it did anything."""

_NOTHING_DONE = (UsageError, RefusedError, NotFoundError)
"""The errors after which a dialog may be offered again: no other says that the cloud was left as it was."""


_LONGEST = 400
"""Characters of the reasons why several commands failed; all of them are in the list."""


class Runner:
    """The commands of one cloud's session; another cloud has another.

    Once `close` is called, what ends still tells its result, but nothing follows from it. All methods are of the event
    loop.
    """

    def __init__(self, app: "CloudmeshApp", session: Session) -> None:
        self._app = app
        self.session = session
        """The session with its settings as they are now."""
        self._closed = False
        self._undo: list[Parsed] = []
        """What takes back what was done last."""
        self._lost: list[str] = []
        """What each of them does not give back, "" for nothing."""
        self._results: list[Result] = []
        """The results of the last commands, where there were several or one failed."""
        self._stale: dict[str, CloudmeshError] = {}
        """Why refreshes that nobody asked for have failed, by their line, until the same one is done."""
        self._left: CloudmeshError | None = None
        """The message on what an earlier run has left, until that is seen to."""

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True

    # --- asking ------------------------------------------------------------------------------------------------------

    def enter(self, line: str) -> None:
        """Run a typed line."""
        try:
            self.asked(parse(split(line)), typed=True)
        except CloudmeshError as error:
            self._app.show_error(error)

    def asked(self, parsed: Parsed, *, typed: bool = False) -> None:
        """Run a command, or open its dialog first: when it lacks something, when it destroys something, and when it
        changes something that was picked from a list rather than typed.
        """
        session, one = self.session, parsed.command
        target = one.object
        if why := refusal(one, session):
            self._app.show_error(why)
        elif one.shows:
            self._app.show(one.shows)
        elif parsed.missing(session) or (one.effect == "changes" and not parsed.given):
            self._dialog(one, given=parsed.given)
        elif one.effect == "destroys" or (one.effect == "changes" and not typed):
            if target and target.name in parsed.given:
                self._confirm(parsed, target)
            else:
                self._dialog(one, given=parsed.given)
        elif one.preview and target:
            self._unless_final(parsed, target)
        else:
            self.run([parsed])

    def _confirm(self, parsed: Parsed, target: Param) -> None:
        """Find the one row that a command names, and show it before anything happens."""
        session = self.session
        kind, word = target.kind or "", parsed.given[target.name]
        rest = {name: value for name, value in parsed.given.items() if name != target.name}

        def show(row: Row) -> None:
            if not self._closed:
                self._dialog(parsed.command, targets=[row], target=target, given=rest)

        def look(job: Job) -> Row:
            call = Call(session, parsed.given, job.check)
            with named(parsed, call):
                return find(call, kind, word)

        self._app.start(Job(f"Looking for {safe(word)}", look, show, self._app.show_error, opens=True))

    def _unless_final(self, parsed: Parsed, target: Param) -> None:
        """Run a typed command that changes something; where it loses what nothing brings back, open its dialog."""
        session = self.session

        def then(found: Preview | None) -> None:
            if self._closed:
                return
            if found is not None and found.is_final:
                self._confirm(parsed, target)
            else:
                self.run([parsed])

        title = f"Looking at what {safe(parsed.line)} loses"
        self._app.start(Job(title, lambda job: losses(parsed, session, job.check), then, self._app.show_error))

    def ask(self, one: Command, target: Param, ids: Sequence[str], scope: str) -> None:
        """Open the dialog of a command on rows, by a key: no letter changes anything by itself."""
        known = self._app.main.table_of(target.kind or "").rows
        rows = [row for native in ids if (row := known.row(native)) is not None]
        self._dialog(one, targets=rows, target=target, scope=scope)

    def _dialog(
        self,
        one: Command,
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
        scope: str = "",
        then: Then = ignore,
    ) -> None:
        """Open a command's dialog; `then` gets the command when it has been done."""
        dialog = CommandDialog(
            one,
            self.session,
            self._app.rows,
            targets=targets,
            target=target,
            given=given,
            error=error,
            scope=scope,
            pace=self._app.pace,
        )

        def closed(chosen: list[Parsed] | None) -> None:
            looking.cancel()
            if not chosen:
                return
            if self._closed:
                self._app.show_error(CloudmeshError("The cloud was switched meanwhile, so nothing was done."))
            elif one.preview and not dialog.previewed:
                self.asked(chosen[0])  # now that it is known what it destroys, show that
            else:
                if targets and target and one.effect != "reads":
                    kind = _kind_of(target)  # what has been acted on stays marked no longer
                    self._app.main.table_of(kind.name).unmark(str(kind.value(row, "id")) for row in targets)
                self.run(chosen, then=then, again=again)

        def again(parsed: Parsed, failure: CloudmeshError) -> None:
            """Give back what was typed, with the reason why it was refused."""
            self._dialog(
                one, targets=targets, target=target, given=parsed.given, error=str(failure), scope=scope, then=then
            )

        looking = self._look(dialog, targets, target)
        self._app.push_screen(dialog, closed)
        if dialog.previewed:
            self._app.start(looking)

    def _look(self, dialog: CommandDialog, targets: Sequence[Row], target: Param | None) -> Job:
        """Return the job that finds out what a dialog's command would destroy, and shows it there."""
        session, preview = self.session, dialog.command.preview
        at = 0 if target is None or target.kind is None else _kind_of(target).index["id"]
        ids = [str(row[at]) for row in targets]

        def look(job: Job) -> Preview:
            assert preview is not None  # noqa: S101 - for mypy: asked for by the caller
            return preview(Call(session, dialog.given, job.check, moved, waits), ids)

        def moved(progress: Progress) -> None:
            self._app.call_later(told, progress)

        def waits(waiting: Waiting) -> None:
            self._app.call_later(dialog.waits, waiting)

        def told(progress: Progress) -> None:
            dialog.looked(progress.rows, progress.estimate)

        return Job("", look, dialog.show_preview, dialog.show_no_preview)

    # --- running -----------------------------------------------------------------------------------------------------

    def run(
        self,
        commands: Sequence[Parsed],
        *,
        quiet: bool = False,
        then: Then = ignore,
        again: Again | None = None,
    ) -> None:
        """Run commands as one job, several side by side; each that fails leaves the others run.

        `then` is called when all are done, `again` when one alone was refused before anything was done.
        """
        session = self.session
        first = commands[0]
        what = first.line if len(commands) == 1 else f"{first.command.name} ×{len(commands)}"
        if any(param.many and param.name in first.given for param in first.command.params):
            what = first.command.name  # it may name thousands
        if first.command.effect != "reads":
            self._app.main.query_one(CommandLine).remember(first.line)

        def work(job: Job) -> list[Result]:
            done = 0

            def ended_one(_place: int, _result: Result) -> None:
                nonlocal done
                done += 1
                moved(Progress(first.command.name, done, 0, len(commands), 0))

            def moved(progress: Progress) -> None:
                self._app.post_message(JobMoved(job, progress))

            def waits(waiting: Waiting) -> None:
                self._app.post_message(JobWaits(job, waiting))

            return execute_all(
                commands,
                session,
                check=job.check,
                progress=moved if len(commands) == 1 else ignore,
                waits=waits,
                told=ended_one if len(commands) > 1 else ignore,
            )

        def ended(results: list[Result]) -> None:
            if self._closed:
                self._ended(results, quiet=quiet, then=ignore, again=None)
            else:
                self._ended(results, quiet=quiet, then=then, again=again)

        key = first.command.refreshes and f"refresh {session.scope} {first.command.refreshes}"
        unit = "commands" if len(commands) > 1 else "rows"
        reads = all(parsed.command.effect == "reads" for parsed in commands)
        job = Job(
            safe(what),
            work,
            ended,
            self._app.show_error,
            quiet=quiet,
            unit=unit,
            lets_go=reads,
            key=key or "",
            queue="settings" if first.command.sets else "",
        )
        if not self._app.start(job) and not quiet:
            self._app.say(f"{job.title} is under way already.")

    def _ended(self, results: list[Result], *, quiet: bool, then: Then, again: Again | None) -> None:
        if self._left and results[0].parsed.command.words[0] == "journal":
            self._app.main.query_one(MessageBar).retract(self._left)
            self._left = None
        results = [part for one in results for part in _parts(one)]
        done = [(one.parsed, one.outcome) for one in results if isinstance(one.outcome, Outcome)]
        failed = [(one.parsed, error) for one in results if (error := one.error)]
        for parsed, outcome in done:
            if (error := self._stale.pop(parsed.line, None)) is not None:
                self._app.main.query_one(MessageBar).retract(error)
            if outcome.setting is not None:
                self._app.apply(outcome.setting)
            if outcome.fields and parsed.command.effect == "reads":
                fields = field_texts(outcome.kind, outcome.fields)
                self._app.push_screen(DetailsScreen(parsed.command.name, fields))
        changed = any(one.parsed.command.effect != "reads" for one in results)
        if changed:
            self._undo = [parse(split(outcome.undo)) for _, outcome in done if outcome.undo]
            self._lost = [outcome.lost for _, outcome in done if outcome.undo]
            self._results = results if failed or len(results) > 1 else []
        if done and not quiet:
            said = done[0][1].message if len(done) == 1 else f"{done[0][0].command.name}: {len(done)} done."
            more = "z takes it back." if changed and self._undo else self._go_to_made(done)
            lost = [outcome.lost for _, outcome in done if outcome.lost]
            if len(done) > 1 and lost:
                lost = ["F lists what does not come back."]
            self._app.say(" ".join(filter(None, [said, more, *lost])))
        if not failed:
            then(results[0].parsed)
            return
        parsed, error = failed[0]
        if quiet:
            self._stale[parsed.line] = error
        if len(results) == 1 and isinstance(error, MissingKeypairError) and parsed.command.name == "vm boot":
            self._offer_keypair(parsed, error)
        elif len(results) == 1 and again and isinstance(error, _NOTHING_DONE):
            again(parsed, error)
        elif quiet and isinstance(error, CacheLostError):
            pass  # nobody asked for it, and the feed tells that the cache is lost, and when it is back
        elif len(results) == 1:
            self._app.show_error(error, behind=quiet)
            if parsed.command.effect == "reads" and isinstance(error, CacheLostError):
                self._app.passes(error)
        else:
            reasons = " ".join(dict.fromkeys(one.message for _, one in failed))
            message = f"{parsed.command.name}: {len(failed)} of {len(results)} failed. {reasons}"
            shown = message if len(message) < _LONGEST else f"{message[:_LONGEST]}…"
            self._app.show_error(CloudmeshError(shown, "F lists each, and does them again."))

    def _go_to_made(self, done: Sequence[tuple[Parsed, Outcome]]) -> str:
        """Move the cursor to the first object that was made, and return what to do to see it, "" for nothing."""
        for parsed, outcome in done:
            kind, native = outcome.kind, dict(outcome.fields).get("id")
            if kind and native and parsed.command.effect == "changes" and parsed.command.target(kind.name) is None:
                break
        else:
            return ""
        if self._closed:  # it is of another cloud than the rows
            return ""
        main = self._app.main
        table = main.table_of(kind.name)
        table.expect(str(native))
        if main.kind != kind.name:
            return f"{list(KINDS).index(kind.name) + 1} goes to it."
        known = table.rows.row(str(native)) is not None
        return "The filter hides it." if known and table.cursor_id != native else ""

    # --- what follows ------------------------------------------------------------------------------------------------

    def show_results(self) -> bool:
        """List the result of each of the last commands, and offer to do those that failed again.

        Returns whether there is any.
        """
        if not self._results:
            self._app.say("There are no results to list: J shows the journal.")
            return False
        unsure = [one for one in self._results if isinstance(one.outcome, UnsureError)]
        partly = [one for one in self._results if isinstance(one.outcome, Outcome | InVainError) and one.error]
        failed = [one for one in self._results if one.error and one not in (*unsure, *partly)]
        done = [one for one in self._results if not one.error]
        lines = [("?", one.parsed.line, str(one.error)) for one in unsure]
        lines += [("!", one.parsed.line, str(one.error)) for one in partly]
        lines += [("✕", one.parsed.line, str(one.error)) for one in failed]
        told = [(one.parsed.line, one.outcome) for one in done if isinstance(one.outcome, Outcome)]
        lines += [("●", line, f"{outcome.message} {outcome.lost}".rstrip()) for line, outcome in told]

        def chosen(answer: str | None) -> None:
            if answer != "again" or self._closed:
                return
            commands = [one.parsed for one in failed]
            destroying = [parsed for parsed in commands if parsed.command.effect == "destroys"]
            if destroying:  # a dialog is of one command: what a resume ran may have been several
                self._again([parsed for parsed in destroying if parsed.command is destroying[0].command])
            else:
                self._results = []
                self.run(commands)

        counts = (len(failed), "failed"), (len(unsure), "unsure"), (len(partly), "done in part"), (len(done), "done")
        counted = ", ".join(f"{count} {what}" for count, what in counts if count)
        title = f"{self._results[0].parsed.command.name}: {counted}"
        answers = [("again", f"Again: {len(failed)}")] if failed else []  # the others have been done, or may have been
        self._app.push_screen(ChoiceScreen(title, lines, answers, pace=self._app.pace), chosen)
        return True

    def _again(self, commands: Sequence[Parsed]) -> bool:
        """Open the dialog of a command with a preview once more: what is lost is shown, and confirmed, again."""
        one = commands[0].command
        target = one.object
        if target is None:
            self._dialog(one)
            return True
        kind = _kind_of(target)
        words = {parsed.given[target.name] for parsed in commands}
        rows = [row for row in self._app.rows(kind.name) if words & {kind.called(row), str(kind.value(row, "id"))}]
        if rows:
            self._dialog(one, targets=rows, target=target)
        else:
            self._app.say("None of them is there any more.")
        return bool(rows)

    def undo(self) -> bool:
        """Show what would take back what was done last, and run it on a yes; return whether there is anything."""
        if not self._undo:
            self._app.say("There is nothing to take back.")
            return False
        commands = self._undo
        one = commands[0].command
        if one.preview and all(parsed.command is one for parsed in commands):  # it loses something itself: say what
            return self._again(commands)

        def chosen(answer: str | None) -> None:
            if answer == "undo" and not self._closed:
                self._undo = []
                self.run(commands)

        lines = [
            ("·", parsed.line, " · ".join(filter(None, [self._named(parsed), lost])))
            for parsed, lost in zip(commands, self._lost, strict=True)
        ]
        destroys = any(parsed.command.effect == "destroys" for parsed in commands)
        answers = [("undo", "Take back")]
        screen = ChoiceScreen("Take back", lines, answers, "Cancel", pace=self._app.pace, destroys=destroys)
        self._app.push_screen(screen, chosen)
        return True

    def _named(self, parsed: Parsed) -> str:
        """Return the names of the objects that a command names by id."""
        found = []
        for param in parsed.command.params:
            row = self._app.main.table_of(param.kind).rows.row(parsed.given.get(param.name, "")) if param.kind else None
            if row is not None and (name := KINDS[str(param.kind)].value(row, "name")):
                found.append(str(name))
        return ", ".join(found)

    def recover(self) -> None:
        """Look for the outcome of the commands that an earlier run left unfinished; nothing is sent again unasked."""
        session = self.session

        def told(found: Recovered) -> None:
            if found.messages:
                self._app.say(f"Left unfinished, and found out now: {' '.join(found.messages)}")
            reasons = f"Left unfinished: {' '.join(found.failures)}" if found.failures else ""
            if found.offer:
                self._left = CloudmeshError(
                    f"{reasons} {found.offer}".strip(),
                    ":journal resume shows and runs what is left, :journal drop gives it up.",
                )
                self._app.show_error(self._left)
            elif reasons:
                self._app.show_error(CloudmeshError(reasons, "J shows the journal."))

        job = Job(
            "Looking for what was left unfinished",
            lambda job: recover(session, job.check),
            told,
            self._app.show_error,
            quiet=True,
            lets_go=False,
        )
        self._app.start(job)

    def _offer_keypair(self, boot: Parsed, error: MissingKeypairError) -> None:
        """Offer to create the keypair that a boot lacks, and boot then."""

        def boot_with(created: Parsed) -> None:
            given = {**boot.given, "keypair": created.given["name"]}
            self.run([Parsed(boot.command, given)])

        self._dialog(
            command("keypair create"),
            given={"name": error.name},
            error=f"{error.message} Create it, and the VM is booted then; or cancel, and nothing is booted.",
            then=boot_with,
        )


def _kind_of(target: Param) -> Kind:
    return KINDS[target.kind or ""]


def _parts(one: Result) -> Sequence[Result]:
    """Return the result of each command that a command has run, or of itself."""
    return one.outcome.parts if isinstance(one.outcome, Outcome) and one.outcome.parts else [one]
