"""Runs what the user asks for: opens dialogs where they are due, starts the commands, and tells what came of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.commands import Command, Outcome, Param, Parsed, allowed, command, execute, parse, split
from backend.commands.lookup import MissingKeypairError, find
from backend.commands.model import Call
from backend.errors import Cancelled, CloudmeshError, NotFoundError, RefusedError, UsageError
from backend.kinds import Row
from backend.refresh import Progress
from backend.session import Session
from backend.text import safe
from tui.jobs import Job, JobMoved
from tui.screens.details import DetailsScreen
from tui.screens.dialog import CommandDialog
from tui.widgets.commandline import CommandLine

if TYPE_CHECKING:
    from tui.app import CloudmeshApp

Result = tuple[Parsed, Outcome | CloudmeshError]
"""What came of one command."""

Then = Callable[[Parsed], None]
"""What is done when a command has been done."""

Again = Callable[[Parsed, CloudmeshError], None]
"""What is done when a command was refused before it did anything."""

_NOTHING_DONE = (UsageError, RefusedError, NotFoundError)
"""The errors after which a dialog may be offered again: no other says that the cloud was left as it was."""


class Runner:
    """The commands of one session; another session has another.

    Once `close` is called, what ends still tells its result, but nothing follows from it. All methods are of the event
    loop.
    """

    def __init__(self, app: "CloudmeshApp", session: Session) -> None:
        self._app = app
        self._session = session
        self._closed = False

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True

    def enter(self, line: str) -> None:
        """Run a typed line."""
        try:
            self.asked(parse(split(line)))
        except CloudmeshError as error:
            self._app.show_error(error)

    def asked(self, parsed: Parsed) -> None:
        """Run a command, or open its dialog first when it lacks something or destroys something."""
        session, one = self._session, parsed.command
        if not allowed(one, session):
            self._app.show_error(CloudmeshError(f"This session is read-only: {one.name} is not run."))
        elif one.shows:
            self._app.main.show_tab(one.shows)
        elif one.effect == "destroys" and not parsed.missing(session):
            self._confirm(parsed)
        elif parsed.missing(session) or (one.effect == "changes" and not parsed.given):
            self._dialog(one, given=parsed.given)
        else:
            self.run([parsed])

    def _confirm(self, parsed: Parsed) -> None:
        """Find the one row that a destroying command names, and show it before anything happens."""
        session = self._session
        target = next(param for param in parsed.command.params if param.kind and param.required)
        kind, word = target.kind or "", parsed.given[target.name]

        def show(row: Row) -> None:
            if not self._closed:
                self._dialog(parsed.command, targets=[row], target=target)

        def look(job: Job) -> Row:
            return find(Call(session, parsed.given, job.check), kind, word)

        self._app.start(Job(f"Looking for {safe(word)}", look, show, self._app.show_error))

    def ask(self, one: Command, target: Param, ids: Sequence[str]) -> None:
        """Open the dialog of a command on rows, by a key: no letter changes anything by itself."""
        known = self._app.main.table_of(target.kind or "").rows
        rows = [row for native in ids if (row := known.row(native)) is not None]
        self._dialog(one, targets=rows, target=target)

    def _dialog(
        self,
        one: Command,
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
        then: Then = ignore,
    ) -> None:
        """Open a command's dialog; `then` gets the command when it has been done."""
        dialog = CommandDialog(
            one, self._session, self._app.rows, targets=targets, target=target, given=given, error=error
        )

        def closed(chosen: list[Parsed] | None) -> None:
            if not chosen:
                return
            if self._closed:
                self._app.show_error(CloudmeshError("The cloud was switched meanwhile, so nothing was done."))
            elif one.effect == "destroys" and not targets:
                self._confirm(chosen[0])  # now that it is known what it destroys, show that
            else:
                self._app.main.table.clear_marks()
                self.run(chosen, then=then, again=again)

        def again(parsed: Parsed, failure: CloudmeshError) -> None:
            """Give back what was typed, with the reason why it was refused."""
            self._dialog(one, targets=targets, target=target, given=parsed.given, error=str(failure), then=then)

        self._app.push_screen(dialog, closed)

    def run(
        self,
        commands: Sequence[Parsed],
        *,
        quiet: bool = False,
        then: Then = ignore,
        again: Again | None = None,
    ) -> None:
        """Run commands one after the other as one job; each that fails leaves the others run.

        `then` is called when all are done, `again` when one alone was refused before anything was done.
        """
        session = self._session
        first = commands[0]
        what = first.line if len(commands) == 1 else f"{first.command.name} ×{len(commands)}"
        if first.command.effect != "reads":
            self._app.main.query_one(CommandLine).remember(first.line)

        def work(job: Job) -> list[Result]:
            results: list[Result] = []
            for parsed in commands:
                try:
                    job.check()
                    outcome = execute(parsed, session, check=job.check, progress=lambda done: told(job, done))
                    results.append((parsed, outcome))
                except CloudmeshError as error:
                    results.append((parsed, error))
                except Cancelled:
                    if not results:
                        raise
                    rest = RefusedError(f"{len(commands) - len(results)} more were cancelled and not done.")
                    return [*results, (parsed, rest)]
            return results

        def told(job: Job, progress: Progress) -> None:
            self._app.post_message(JobMoved(job, progress))

        def ended(results: list[Result]) -> None:
            if self._closed:
                self._ended(results, quiet=quiet, then=ignore, again=None)
            else:
                self._ended(results, quiet=quiet, then=then, again=again)

        key = first.command.refreshes and f"refresh {session.scope} {first.command.refreshes}"
        job = Job(safe(what), work, ended, self._app.show_error, quiet=quiet, key=key or "")
        if not self._app.start(job) and not quiet:
            self._app.say(f"{job.title} is under way already.")

    def _ended(
        self,
        results: list[Result],
        *,
        quiet: bool,
        then: Then,
        again: Again | None,
    ) -> None:
        done = [(parsed, outcome) for parsed, outcome in results if isinstance(outcome, Outcome)]
        failed = [(parsed, error) for parsed, error in results if isinstance(error, CloudmeshError)]
        for parsed, outcome in done:
            if outcome.session is not None:
                self._app.switch(outcome.session)
            if outcome.failure:
                failed.append((parsed, CloudmeshError(outcome.failure)))
            if outcome.fields and parsed.command.effect == "reads":
                fields = [(name, "" if value is None else safe(str(value))) for name, value in outcome.fields]
                self._app.push_screen(DetailsScreen(parsed.command.name, fields))
        if done and not quiet:
            self._app.say(done[0][1].message if len(done) == 1 else f"{done[0][0].command.name}: {len(done)} done.")
        if not failed:
            then(results[0][0])
            return
        parsed, error = failed[0]
        if len(results) == 1 and isinstance(error, MissingKeypairError) and parsed.command.name == "vm boot":
            self._offer_keypair(parsed, error)
        elif len(results) == 1 and again and isinstance(error, _NOTHING_DONE):
            again(parsed, error)
        elif len(failed) == 1:
            self._app.show_error(error)
        else:
            reasons = dict.fromkeys(one.message for _, one in failed)
            self._app.show_error(CloudmeshError(f"{len(failed)} of {len(results)} failed: {' '.join(reasons)}"))

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
