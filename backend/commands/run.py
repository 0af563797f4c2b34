"""Runs a command: the one way by which any face changes anything."""

from collections.abc import Callable

from backend.callbacks import ignore
from backend.commands.grammar import Parsed
from backend.commands.model import Call, Command, Outcome
from backend.errors import RefusedError
from backend.journal import recorded
from backend.refresh import Progress
from backend.session import Session


def allowed(command: Command, session: Session) -> bool:
    """Return whether the session may run the command: a read-only one runs those that change nothing in a cloud."""
    return command.effect == "reads" or not session.read_only


def execute(
    parsed: Parsed,
    session: Session,
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
) -> Outcome:
    """Run a parsed command on the calling thread and return its outcome; what changes a cloud is journalled.

    Raises UsageError for missing or wrong arguments, Cancelled, and CloudmeshError when it failed.
    """
    command = parsed.command
    if not allowed(command, session):
        raise RefusedError(f"This session is read-only: {command.name} is not run.", "Start without --read-only.")
    call = Call(session, parsed.bind(session), check, progress)
    if command.effect == "reads":
        return command.run(call)
    with recorded(session.cache, session.scope, parsed.line, call.objects):
        return command.run(call)
