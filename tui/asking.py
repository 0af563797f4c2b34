"""Asks before a command is run: opens its dialog where one is due, with what it would destroy or lose."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.lookup import find
from backend.commands.model import Command, Context, Param, Parsed
from backend.commands.naming import named
from backend.commands.preview import Preview
from backend.commands.run import losses, refusal
from backend.commands.table import command
from backend.errors import CloudmeshError
from backend.kinds.keypair import MissingKeypairError
from backend.kinds.model import Kind, Row
from backend.providers.protocol import Waiting
from backend.refresh import Progress
from backend.text import safe
from tui.jobs import Job
from tui.screens.dialog import CommandDialog

if TYPE_CHECKING:
    from tui.app import CloudmeshApp
    from tui.runner import Runner, Then


class Asking:
    """What is asked of the user before the runner of one cloud runs a command. All methods are of the event loop."""

    def __init__(self, app: "CloudmeshApp", runner: "Runner") -> None:
        self._app = app
        self._runner = runner

    def enter(self, line: str) -> bool:
        """Run a typed line; return False where it is refused at once."""
        try:
            parsed = parse(split(line))
        except CloudmeshError as error:
            self._app.show_error(error)
            return False
        return self.asked(parsed, typed=True)

    def asked(self, parsed: Parsed, *, typed: bool = False) -> bool:
        """Run a command, or open its dialog first: when it lacks something, when it destroys something, and when it
        changes something that was picked from a list rather than typed. Return False where it is refused at once.
        """
        session, one = self._runner.session, parsed.command
        target = one.object
        if why := refusal(one, session):
            self._app.show_error(why)
            return False
        if one.shows:
            self._app.show(one.shows)
        elif parsed.missing(session) or (one.effect == "changes" and not parsed.given):
            self.dialog(one, given=parsed.given)
        elif one.effect == "destroys" or (one.effect == "changes" and not typed):
            if target and target.name in parsed.given:
                self._confirm(parsed, target)
            else:
                self.dialog(one, given=parsed.given)
        elif one.preview and target:
            self._unless_final(parsed, target)
        else:
            self._runner.run([parsed])
        return True

    def _confirm(self, parsed: Parsed, target: Param) -> None:
        """Find the one row that a command names, and show it before anything happens."""
        session = self._runner.session
        kind, word = target.kind or "", parsed.given[target.name]
        rest = {name: value for name, value in parsed.given.items() if name != target.name}

        def show(row: Row) -> None:
            if not self._runner.closed:
                self.dialog(parsed.command, targets=[row], target=target, given=rest)

        def look(job: Job) -> Row:
            context = Context(session, parsed.given, job.check)
            with named(parsed, context):
                return find(context, KINDS[kind], word)

        self._app.start(Job(f"Looking for {safe(word)}", look, show, self._app.show_error, opens=True))

    def _unless_final(self, parsed: Parsed, target: Param) -> None:
        """Run a typed command that changes something; where it loses what nothing brings back, open its dialog."""
        session = self._runner.session

        def then(found: Preview | None) -> None:
            if self._runner.closed:
                return
            if found is not None and found.is_final:
                self._confirm(parsed, target)
            else:
                self._runner.run([parsed])

        title = f"Looking at what {safe(parsed.line)} loses"
        work = Job(title, lambda job: losses(parsed, session, job.check), then, self._app.show_error, opens=True)
        self._app.start(work)

    def ask(self, one: Command, target: Param, ids: Sequence[str], scope: str) -> None:
        """Open the dialog of a command on rows, by a key: no letter changes anything by itself."""
        known = self._app.main.table_of(target.kind or "").rows
        rows = [row for native in ids if (row := known.row(native)) is not None]
        self.dialog(one, targets=rows, target=target, scope=scope)

    def dialog(
        self,
        one: Command,
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
        scope: str = "",
        then: "Then" = ignore,
    ) -> None:
        """Open a command's dialog; `then` gets the command when it has been done."""
        dialog = CommandDialog(
            one,
            self._runner.session,
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
            if self._runner.closed:
                self._app.show_error(CloudmeshError("The cloud was switched meanwhile, so nothing was done."))
            elif one.preview and not dialog.previewed:
                self.asked(chosen[0])  # now that it is known what it destroys, show that
            else:
                if targets and target and one.effect != "reads":
                    kind = _kind_of(target)  # what has been acted on stays marked no longer
                    self._app.main.table_of(kind.name).unmark(str(kind.value(row, "id")) for row in targets)
                self._runner.run(chosen, then=then, again=again)

        def again(parsed: Parsed, failure: CloudmeshError) -> None:
            """Give back what was typed, with the reason why it was refused."""
            self.dialog(
                one, targets=targets, target=target, given=parsed.given, error=str(failure), scope=scope, then=then
            )

        looking = self._look(dialog, targets, target)
        self._app.push_screen(dialog, closed)
        if dialog.previewed:
            self._app.start(looking)

    def _look(self, dialog: CommandDialog, targets: Sequence[Row], target: Param | None) -> Job:
        """Return the job that finds out what a dialog's command would destroy, and shows it there."""
        session, preview = self._runner.session, dialog.command.preview
        at = 0 if target is None or target.kind is None else _kind_of(target).index["id"]
        ids = [str(row[at]) for row in targets]

        def look(job: Job) -> Preview:
            assert preview is not None  # noqa: S101 - for mypy: asked for by the caller
            return preview(Context(session, dialog.given, job.check, moved, waits), ids)

        def moved(progress: Progress) -> None:
            self._app.call_later(told, progress)

        def waits(waiting: Waiting) -> None:
            self._app.call_later(dialog.waits, waiting)

        def told(progress: Progress) -> None:
            dialog.looked(progress.rows, progress.estimate)

        return Job("", look, dialog.show_preview, dialog.show_no_preview)

    def again(self, commands: Sequence[Parsed]) -> bool:
        """Open the dialog of a command with a preview once more: what is lost is shown, and confirmed, again."""
        one = commands[0].command
        target = one.object
        if target is None:
            self.dialog(one)
            return True
        kind = _kind_of(target)
        words = {parsed.given[target.name] for parsed in commands}
        rows = [row for row in self._app.rows(kind.name) if words & {kind.called(row), str(kind.value(row, "id"))}]
        if rows:
            self.dialog(one, targets=rows, target=target)
        else:
            self._app.say("None of them is there any more.")
        return bool(rows)

    def offer_keypair(self, boot: Parsed, error: MissingKeypairError) -> None:
        """Offer to create the keypair that a boot lacks, and boot then."""

        def boot_with(created: Parsed) -> None:
            given = {**boot.given, "keypair": created.given["name"]}
            self._runner.run([Parsed(boot.command, given)])

        self.dialog(
            command("keypair create"),
            given={"name": error.name},
            error=f"{error.message} Create it, and the VM is booted then; or cancel, and nothing is booted.",
            then=boot_with,
        )


def _kind_of(target: Param) -> Kind:
    return KINDS[target.kind or ""]
