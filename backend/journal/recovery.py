"""Recovery: finds the outcome of commands whose process ended too early, and those that are left."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backend.callbacks import ignore
from backend.commands.model import Context, Parsed, Result
from backend.commands.run import is_journalled, is_outcome, may_resend
from backend.errors import (
    CacheError,
    Cancelled,
    CloudError,
    CloudmeshError,
    RefusedError,
    UnknowableError,
    UsageError,
)
from backend.format import counted
from backend.journal import owner
from backend.journal.entry import Entry, here
from backend.log import logger
from backend.session import Session
from backend.text import safe

FOREIGN_AFTER = 3_600.0
"""Seconds after which a command of another machine or data directory counts as abandoned."""

PROBED_FOR = 86_400.0
"""Seconds after sending for which an unknown outcome is probed at each start. Later, nobody waits for it."""


@dataclass(frozen=True)
class Recovered:
    """The result of a recovery."""

    messages: tuple[str, ...] = ()
    """One sentence for each command that was done."""
    failures: tuple[str, ...] = ()
    """One sentence for each command that failed, is unknown or had no visible effect."""
    left: int = 0
    """Commands that are not done: `journal resume` runs them, `journal drop` gives them up."""

    @property
    def offer(self) -> str:
        """A sentence that says how many are left, "" if none is."""
        if not self.left:
            return ""
        are = "is" if self.left == 1 else "are"
        return f"{counted(self.left, 'command')} {are} left from a run that ended, and not done."


def recover(session: Session, check: Callable[[], None] = ignore, *, resend: bool = False) -> Recovered:
    """Probe for the outcome of every command that was sent and whose process has ended.

    Only one process takes over each command. Without `resend`, recovery only reads from the cloud, and a command that
    was not done waits for `journal resume`. A command of another account than that of the keys of now is reported, not
    probed. With `resend`, a request with a token that had no effect is sent again; use
    it only if the user has started a change. An unknown outcome is probed again at each start for PROBED_FOR seconds,
    unless no probe can find it. Raises CacheError, ConfigError and Cancelled.
    """
    if session.cache.refusal:  # no outcome could be written
        return Recovered()
    messages: list[str] = []
    failures: list[str] = []
    for entry in _abandoned(session, ("unfinished", "unknown")):
        if not entry.taken():
            continue
        try:
            outcome = _probe(entry, session, check, resend=resend)
        except (CloudError, RefusedError, UsageError) as error:
            if is_outcome(error):
                entry.end("failed", str(error))
                failures.append(f"{entry.command}: {error}")
                continue
            entry.end("unknown", str(error), settled=isinstance(error, UnknowableError))
            failures.append(f"The outcome of {entry.command} is unknown: {error}")
        except Cancelled:
            entry.end("unknown", "The check of its outcome was cancelled.")
            raise
        except CloudmeshError:  # of the cache or the configuration: the other entries would fail too
            with suppress(CacheError):
                entry.give_back()
            raise
        except Exception:  # noqa: BLE001 - written by another version: the other entries go on
            logger.exception("the journal entry %s cannot be understood", entry.token)
            entry.end("unknown", "Its journal entry cannot be understood.", settled=True)
            failures.append(f"The outcome of {entry.command} is unknown: its journal entry cannot be understood.")
        else:
            if outcome is not None:
                entry.end("done")
                messages.append(f"{entry.command}: {outcome.message}")
            elif _may_resend(entry, session):
                entry.give_back()  # it stays `unfinished`: only then may `journal resume` send the same token again
                failures.append(f"No effect of {entry.command} is seen; it is not sent again unasked.")
            else:
                entry.release()
    return Recovered(tuple(messages), tuple(failures), len(left(session)))


def _probe(entry: Entry, session: Session, check: Callable[[], None], *, resend: bool) -> Result | None:
    parsed, session = parsed_of(entry), session.at(entry.scope)
    check_account(entry, session, check)
    command = parsed.command
    if command.probe is None:
        raise UnknowableError("The command has no probe.")
    context = Context(session, parsed.given, check, entry=entry)
    outcome = command.probe(context)
    if outcome is None and resend and not session.locked and command.resend and may_resend(command, entry, session):
        again = command.resend(context)
        return replace(again, message=f"{again.message} No effect of it was seen, so it was sent again.")
    return outcome


def check_account(entry: Entry, session: Session, check: Callable[[], None]) -> None:
    """Raise RefusedError if the keys of the session's cloud are known to be of another account than the entry's.

    There a probe would see no effect, and the request would be sent to the wrong account.
    """
    who = session.identity(check) if entry.account else None
    if who is not None and who.account != entry.account:
        raise RefusedError(
            f"It is of account {safe(entry.account)}, and the keys of cloud {entry.scope.cloud} are now of account "
            f"{safe(who.account)}.",
            f"Start again with the keys of account {safe(entry.account)}.",
        )


def _may_resend(entry: Entry, session: Session) -> bool:
    """Return whether a request that was sent but not done may be sent again with the user's consent."""
    return entry.was_sent and may_resend(parsed_of(entry).command, entry, session.at(entry.scope))


def parsed_of(entry: Entry) -> Parsed:
    """Return the command of an entry. It names its objects by id, because other objects may have their names now.

    Raises UsageError if it is no command, or no command that is journalled: a user who can write to the journal must
    not be able to run anything else.
    """
    from backend.commands.grammar import parse, split  # imported here: it needs the table, which imports this module

    parsed = parse(split(entry.command))
    if not is_journalled(parsed.command, parsed.given):
        raise UsageError(f"{parsed.command.name} is never journalled.")
    named = [param.name for param in parsed.command.params if param.acted_on]
    given = {**parsed.given, **dict(zip(named, entry.objects, strict=False))}
    return Parsed(parsed.command, given, scope=entry.scope)


def left(session: Session) -> list[Entry]:
    """Return the commands of the session's scopes that are not done and whose processes have ended, oldest first.

    They never started, or a probe saw no effect, or their token allows sending them again. Not the commands of other
    data directories: any user of the cache could have written them.
    """
    return [entry for entry in not_done(session) if entry.vouched]


def not_done(session: Session) -> list[Entry]:
    """Return the commands that are not done and whose processes have ended, those of other data directories too."""
    found = _abandoned(session, ("waiting", "unfinished"))
    return [entry for entry in found if entry.outcome == "waiting" or _is_resendable(entry, session)]


def _is_resendable(entry: Entry, session: Session) -> bool:
    try:
        return _may_resend(entry, session)
    except UsageError:  # of another version
        return False


def _abandoned(session: Session, outcomes: Sequence[str]) -> list[Entry]:
    entries = (
        Entry(session.cache, session.home, document)
        for scope in session.scopes
        for document in reversed(session.cache.journal.unsettled(scope))
    )
    return [entry for entry in entries if entry.outcome in outcomes and _is_abandoned(entry, session)]


def _is_abandoned(entry: Entry, session: Session) -> bool:
    """Return whether no process works on an entry any more, and a probe may still find its outcome."""
    age = (datetime.now(UTC) - entry.at).total_seconds()
    if entry.outcome == "unknown":  # its process has reported that, and does no more
        return age < PROBED_FOR
    if not entry.owner:  # released
        return True
    lives = owner.lives(session.home, entry.owner) if here(entry) else None
    if lives is None:  # of another machine or data directory: the lock of its process cannot be tried
        return age > FOREIGN_AFTER
    return not lives
