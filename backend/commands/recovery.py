"""Finds out what came of commands whose process ended before they did, and goes on with those not begun."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backend import owner
from backend.callbacks import ignore
from backend.commands.lookup import id_of
from backend.commands.model import Call, Outcome, Parsed, Result
from backend.commands.preview import Preview, Target
from backend.commands.run import execute_all, is_journalled
from backend.errors import (
    Cancelled,
    CloudError,
    CloudmeshError,
    InVainError,
    NotFoundError,
    RefusedError,
    UntoldError,
    UsageError,
)
from backend.journal import Entry, here
from backend.kinds import KINDS
from backend.log import logger
from backend.session import Session
from backend.text import safe

FOREIGN = 3_600.0
"""Seconds after which a command begun on another machine, or in another data directory, counts as abandoned."""

ASKED_FOR = 86_400.0
"""Seconds for which it is looked for what came of a command: EC2 tells of what is gone for an hour at most."""


@dataclass(frozen=True)
class Recovered:
    """What was found out about commands that were left unfinished."""

    messages: tuple[str, ...] = ()
    """What came of those that had been sent."""
    failures: tuple[str, ...] = ()
    left: int = 0
    """Commands that were planned and not begun: `journal resume` runs them, `journal drop` gives them up."""


def recover(session: Session, check: Callable[[], None] = ignore) -> Recovered:
    """Find out what came of every command that was sent and whose process has ended since.

    Each is taken over by one process alone. A command that was not carried out waits to be resumed; what cannot be
    found out now is looked for again at the next start. Raises CacheError and Cancelled.
    """
    if session.cache.refusal:  # what is found could not be written down
        return Recovered()
    messages: list[str] = []
    failures: list[str] = []
    for entry in _abandoned(session, ("unfinished", "unknown")):
        if not entry.taken():
            continue
        try:
            outcome = _look(entry, session, check)
        except (NotFoundError, InVainError) as error:
            entry.end("failed", str(error))
            failures.append(f"{entry.command}: {error}")
        except (CloudError, RefusedError, UsageError) as error:
            if isinstance(error, RefusedError) and session.locked:  # nothing came of it, and it would be repeated
                entry.give_back()
                failures.append(f"Nothing is seen of {entry.command}, and it is not repeated now: {error}")
                continue
            entry.end("unknown", str(error), settled=isinstance(error, UntoldError))
            failures.append(f"It is not known what came of {entry.command}: {error}")
        except Cancelled:
            entry.end("unknown", "Looking for what came of it was cancelled.")
            raise
        except CloudmeshError:  # of the cache or the configuration: the others would fare no better
            raise
        except Exception:  # noqa: BLE001 - written by another version: it keeps no other from being looked for
            logger.exception("the journal entry %s cannot be understood", entry.token)
            entry.end("unknown", "Its journal entry cannot be understood.", settled=True)
            failures.append(f"It is not known what came of {entry.command}: its journal entry cannot be understood.")
        else:
            if outcome is None:
                entry.release()
            else:
                entry.end("done")
                messages.append(f"{entry.command}: {outcome.message}")
    return Recovered(tuple(messages), tuple(failures), len(left(session)))


def _look(entry: Entry, session: Session, check: Callable[[], None]) -> Outcome | None:
    parsed = _parsed(entry)
    if parsed.command.look is None:
        raise UntoldError("Nothing tells.")
    return parsed.command.look(Call(session, parsed.given, check, entry=entry))


_ACTED_ON = ("vm", "volume", "keypair")


def _parsed(entry: Entry) -> Parsed:
    """Return the command of an entry; what it has acted on before it names by id, for names may be others' now.

    Raises UsageError when it is none, or none that would be in the journal: who writes there has no more run.
    """
    from backend.commands.grammar import parse, split  # which is made from the table that these commands are in

    parsed = parse(split(entry.command))
    if not is_journalled(parsed.command, parsed.given):
        raise UsageError(f"{parsed.command.name} is no command that the journal has.")
    named = [param.name for param in parsed.command.params if param.kind in _ACTED_ON and param.required]
    return Parsed(parsed.command, {**parsed.given, **dict(zip(named, entry.objects, strict=False))})


def left(session: Session) -> list[Entry]:
    """Return the commands of this cloud that were planned and not begun by processes that have ended, oldest first.

    Not those of other data directories: whoever may write to the cache could have written them.
    """
    return [entry for entry in _abandoned(session, ("waiting",)) if entry.vouched]


def _abandoned(session: Session, outcomes: Sequence[str]) -> list[Entry]:
    entries = (Entry(session.cache, session.home, document) for document in session.cache.unsettled(session.scope))
    return [entry for entry in entries if entry.outcome in outcomes and _is_abandoned(entry, session)][::-1]


def _is_abandoned(entry: Entry, session: Session) -> bool:
    age = (datetime.now(UTC) - entry.at).total_seconds()
    if entry.outcome == "unknown":
        return age < ASKED_FOR
    if not entry.owner:
        return True
    lives = owner.lives(session.home, entry.owner) if here(entry) else None
    return age > FOREIGN if lives is None else not lives


# --- journal resume, journal drop ------------------------------------------------------------------------------------


def resume(call: Call) -> Outcome:
    """Run what was planned and not begun, under the entries that it has in the journal."""
    session = call.session
    ready, failures = _ready(call)
    taken = [(entry, parsed) for entry, parsed in ready if entry.taken()]
    if not taken:
        return Outcome(
            "Nothing was resumed." if failures else "Nothing waits to be resumed.", failure=" ".join(failures)
        )
    try:
        results = execute_all(
            [parsed for _, parsed in taken], session, check=call.check, entries=[entry for entry, _ in taken]
        )
    except CloudmeshError:
        for entry, _ in taken:
            entry.release()
        raise
    done = gathered(results)
    return replace(done, failure=" ".join(filter(None, [done.failure, *failures])))


def _ready(call: Call) -> tuple[list[tuple[Entry, Parsed]], list[str]]:
    """Return what is to be resumed, and why some of it cannot be: the others need not wait for that."""
    ready: list[tuple[Entry, Parsed]] = []
    failures: list[str] = []
    for entry in _chosen(call):
        try:
            parsed = _parsed(entry)
            parsed.bind(call.session)
        except UsageError as error:  # of another version, or the configuration has changed
            failures.append(f"{entry.command}: {error}")
        else:
            ready.append((entry, parsed))
    return ready, failures


def _chosen(call: Call) -> list[Entry]:
    """Return what is left, or what is named of it."""
    only = call.args.get("only")
    return [entry for entry in left(call.session) if not only or entry.token in only.split(",")]


def drop(call: Call) -> Outcome:
    """Give up what was planned and not begun."""
    entries = [entry for entry in _abandoned(call.session, ("waiting",)) if entry.taken()]
    for entry in entries:
        entry.end("cancelled", "It was not begun when its program ended, and given up later.")
    what = "1 command" if len(entries) == 1 else f"{len(entries)} commands"
    return Outcome(f"{what} that had not been begun {'was' if len(entries) == 1 else 'were'} given up.")


def gathered(results: Sequence[Result]) -> Outcome:
    """Return what came of several commands as one outcome."""
    failed = [error for one in results if (error := one.error)]
    done = len(results) - len(failed)
    message = f"{done} of {len(results)} done." if failed else f"{done} done."
    failure = f"{len(failed)} of {len(results)} failed: {' '.join(dict.fromkeys(map(str, failed)))}" if failed else ""
    return Outcome(message, parts=tuple(results), failure=failure)


def preview(call: Call, _ids: Sequence[str]) -> Preview:
    """Show what `journal resume` would do: all that its commands would."""
    targets: list[Target] = []
    totals: list[str] = []
    tokens: list[str] = []
    groups: dict[str, list[tuple[Entry, Parsed]]] = {}
    ready, notes = _ready(call)
    for entry, parsed in ready:
        groups.setdefault(parsed.command.name, []).append((entry, parsed))
    for name, group in groups.items():
        notes.append(f"{name}: {len(group)}.")
        one = group[0][1].command
        if one.preview is None:
            shown = Preview(tuple(Target(parsed.line, safe(parsed.line)) for _, parsed in group))
            tokens += [entry.token for entry, _ in group]
        else:
            words = [_target(call, parsed) for _, parsed in group]
            shown = one.preview(call, words)
            left_out = {target.id for target in shown.left_out}
            tokens += [entry.token for (entry, _), word in zip(group, words, strict=True) if word not in left_out]
        targets += shown.targets
        totals += shown.totals
        notes += shown.notes
    return Preview(tuple(targets), tuple(totals), {"only": ",".join(tokens)}, tuple(notes))


def _target(call: Call, parsed: Parsed) -> str:
    """Return the id of what a command acts on, its name where nothing has it, or several."""
    param = next(param for param in parsed.command.params if param.kind and param.required)
    return id_of(call, KINDS[str(param.kind)], parsed.given[param.name])
