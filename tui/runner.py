"""Runs the commands of one cloud as jobs, and recovers what an earlier run left unfinished."""

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
"""Called after a command has succeeded."""

Again = Callable[[Parsed, CloudmeshError], None]
"""Called after a command was refused before it did anything."""


class Ended(Protocol):
    """Shows the results of commands; see tui.results."""

    def __call__(self, results: list[Finished], *, quiet: bool, then: Then, again: Again | None) -> None:
        """Show the results, and call `then` or `again`."""


class Runner:
    """Runs the commands of one session; a switch to another cloud makes a new runner.

    After `close`, a command that ends still shows its result, but nothing follows from it. All methods run on the event
    loop.
    """

    def __init__(self, host: Host, session: Session) -> None:
        self._host = host
        self.session = session
        """The session with its current settings."""
        self.closed = False
        self.on_end: Ended | None = None
        """Shows the results."""
        self._unfinished: CloudmeshError | None = None
        """The message about what an earlier run left unfinished, until the user handles it."""

    def close(self) -> None:
        """Start nothing more."""
        self.closed = True

    def run(
        self,
        commands: Sequence[Parsed],
        *,
        quiet: bool = False,
        automatic: bool = False,
        then: Then = ignore,
        again: Again | None = None,
    ) -> None:
        """Run commands as one job, several at the same time; a failure does not stop the others.

        `quiet`: the job is shown only when it takes long, and its success is not reported. `automatic`: the user did
        not ask for it, so nothing is said if it is under way already.
        `then` is called after all have succeeded, `again` after a single one was refused before it did anything.
        """
        session = self.session
        first = commands[0]
        what = first.line if len(commands) == 1 else f"{first.command.name} ×{len(commands)}"
        if any(param.many and param.name in first.given for param in first.command.params):
            what = first.command.name  # the line may have thousands of names
        if first.command.effect != "reads":
            self._host.remember(first.line)

        def work(job: Job) -> list[Finished]:
            done = 0

            def ended_one(_position: int, _result: Finished) -> None:
                nonlocal done
                done += 1
                job.report(Progress(first.command.name, done, 0, len(commands), 0))

            return execute_all(
                commands,
                session,
                check=job.check,
                progress=job.report if len(commands) == 1 else ignore,
                on_wait=job.waits,
                on_finished=ended_one if len(commands) > 1 else ignore,
            )

        def ended(results: list[Finished]) -> None:
            if self._unfinished and first.command.words[0] == "journal":
                self._host.retract(self._unfinished)
                self._unfinished = None
            if self.on_end is not None:
                closed = self.closed
                self.on_end(results, quiet=quiet, then=ignore if closed else then, again=None if closed else again)

        key = first.command.refreshes and f"refresh {first.among or first.scope or session.scopes} {first.line}"
        unit = "commands" if len(commands) > 1 else "rows"
        reads = all(parsed.command.effect == "reads" for parsed in commands)
        job = Job(
            safe(what),
            work,
            ended,
            quiet=quiet,
            unit=unit,
            lets_go=reads,
            opens=any(parsed.command.opens for parsed in commands),
            key=key or "",
            queue="settings" if first.command.sets else "",
        )
        if not self._host.start(job) and not automatic:
            self._host.say(f"{job.title} is under way already.")

    def recover(self) -> None:
        """Find the outcome of commands that an earlier run left unfinished; send nothing again without the user."""
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
            "Checking unfinished commands",
            lambda job: recover(session, job.check),
            found_out,
            quiet=True,
            lets_go=False,
        )
        self._host.start(job)
