"""Runs the commands of one cloud as jobs, and finds out what an earlier run has left unfinished."""

from collections.abc import Callable, Sequence
from typing import Protocol

from backend.callbacks import ignore
from backend.commands.model import Finished, Parsed
from backend.commands.run import execute_all
from backend.errors import CloudmeshError
from backend.journal.recovery import Recovered, recover
from backend.refresh import Progress
from backend.session import Session
from backend.text import safe
from tui.host import Host
from tui.jobs import Job

Then = Callable[[Parsed], None]
"""What is done when a command has been done."""

Again = Callable[[Parsed, CloudmeshError], None]
"""What is done when a command was refused before it did anything."""


class Ended(Protocol):
    """Shows how commands have ended; see tui.results."""

    def __call__(self, results: list[Finished], *, quiet: bool, then: Then, again: Again | None) -> None:
        """Show the results, and call `then` or `again`."""


class Runner:
    """The commands of one cloud's session; another cloud has another.

    Once `close` is called, what ends still shows its result, but nothing follows from it. All methods are of the event
    loop.
    """

    def __init__(self, host: Host, session: Session) -> None:
        self._host = host
        self.session = session
        """The session with its settings as they are now."""
        self.closed = False
        self.on_end: Ended | None = None
        """Shows the results."""
        self._unfinished: CloudmeshError | None = None
        """The message on what an earlier run has left unfinished, until the user sees to that."""

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
            self._host.remember(first.line)

        def work(job: Job) -> list[Finished]:
            done = 0

            def ended_one(_place: int, _result: Finished) -> None:
                nonlocal done
                done += 1
                job.report(Progress(first.command.name, done, 0, len(commands), 0))

            return execute_all(
                commands,
                session,
                check=job.check,
                progress=job.report if len(commands) == 1 else ignore,
                waits=job.waits,
                told=ended_one if len(commands) > 1 else ignore,
            )

        def ended(results: list[Finished]) -> None:
            if self._unfinished and first.command.words[0] == "journal":
                self._host.retract(self._unfinished)
                self._unfinished = None
            if self.on_end is not None:
                closed = self.closed
                self.on_end(results, quiet=quiet, then=ignore if closed else then, again=None if closed else again)

        key = first.command.refreshes and f"refresh {first.scope or session.scope} {first.command.refreshes}"
        unit = "commands" if len(commands) > 1 else "rows"
        reads = all(parsed.command.effect == "reads" for parsed in commands)
        job = Job(
            safe(what),
            work,
            ended,
            quiet=quiet,
            unit=unit,
            lets_go=reads,
            key=key or "",
            queue="settings" if first.command.sets else "",
        )
        if not self._host.start(job) and not quiet:
            self._host.say(f"{job.title} is under way already.")

    def recover(self) -> None:
        """Look for the outcome of the commands that an earlier run left unfinished; nothing is sent again unasked."""
        session = self.session

        def found_out(found: Recovered) -> None:
            if found.messages:
                self._host.say(f"Left unfinished, and found out now: {' '.join(found.messages)}")
            reasons = f"Left unfinished: {' '.join(found.failures)}" if found.failures else ""
            if found.offer:
                self._unfinished = CloudmeshError(
                    f"{reasons} {found.offer}".strip(),
                    ":journal resume shows and runs what is left, :journal drop gives it up.",
                )
                self._host.show_error(self._unfinished)
            elif reasons:
                self._host.show_error(CloudmeshError(reasons, "J shows the journal."))

        job = Job(
            "Looking for what was left unfinished",
            lambda job: recover(session, job.check),
            found_out,
            quiet=True,
            lets_go=False,
        )
        self._host.start(job)
