"""Runs the commands of one cloud as jobs, and finds out what an earlier run has left unfinished."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.commands.model import Finished, Parsed
from backend.commands.run import execute_all
from backend.errors import CloudmeshError
from backend.journal.recovery import Recovered, recover
from backend.providers.protocol import Waiting
from backend.refresh import Progress
from backend.session import Session
from backend.text import safe
from tui.asking import Asking
from tui.jobs import Job, JobMoved, JobWaits
from tui.results import Results
from tui.widgets.commandline import CommandLine
from tui.widgets.status import MessageBar

if TYPE_CHECKING:
    from tui.app import CloudmeshApp

Then = Callable[[Parsed], None]
"""What is done when a command has been done."""

Again = Callable[[Parsed, CloudmeshError], None]
"""What is done when a command was refused before it did anything."""


class Runner:
    """The commands of one cloud's session; another cloud has another.

    Once `close` is called, what ends still shows its result, but nothing follows from it. All methods are of the event
    loop.
    """

    def __init__(self, app: "CloudmeshApp", session: Session) -> None:
        self._app = app
        self.session = session
        """The session with its settings as they are now."""
        self.closed = False
        self.asking = Asking(app, self)
        """What comes before a command is run."""
        self.results = Results(app, self)
        """What comes after."""
        self._left: CloudmeshError | None = None
        """The message on what an earlier run has left, until that is seen to."""

    def close(self) -> None:
        """Start nothing any more."""
        self.closed = True

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

        def work(job: Job) -> list[Finished]:
            done = 0

            def ended_one(_place: int, _result: Finished) -> None:
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

        def ended(results: list[Finished]) -> None:
            if self._left and first.command.words[0] == "journal":
                self._app.main.query_one(MessageBar).retract(self._left)
                self._left = None
            if self.closed:
                self.results.ended(results, quiet=quiet, then=ignore, again=None)
            else:
                self.results.ended(results, quiet=quiet, then=then, again=again)

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
