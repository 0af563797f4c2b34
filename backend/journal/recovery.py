"""Recovery: finds the outcome of commands whose process ended too early, and runs those that had not started."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backend.callbacks import ignore
from backend.catalog import KINDS
from backend.commands.lookup import id_of
from backend.commands.model import Command, Context, Finished, Param, Parsed, Result
from backend.commands.preview import Preview, Target
from backend.commands.production import check_production
from backend.commands.run import allowed, execute_all, is_journalled, is_outcome, may_resend
from backend.errors import (
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
from backend.kinds.model import Kind
from backend.log import logger
from backend.providers.protocol import Item, Provider
from backend.session import Session
from backend.text import safe

FOREIGN = 3_600.0
"""Seconds after which a command of another machine or data directory counts as abandoned."""

ASKED_FOR = 86_400.0
"""Seconds for which the outcome of a command is probed: EC2 lists a deleted object for at most an hour."""


@dataclass(frozen=True)
class Recovered:
    """The result of a recovery."""

    messages: tuple[str, ...] = ()
    """The outcomes of those that had been sent."""
    failures: tuple[str, ...] = ()
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

    Only one process takes over each command. Recovery changes nothing in a cloud: a command that was not done waits to
    be resumed. With `resend`, a request with a token is sent again; use it only in a command that changes something, or
    with the user's consent. An outcome that stays unknown is probed again at the next start. Raises CacheError and
    Cancelled.
    """
    if session.cache.refusal:  # the outcomes could not be written
        return Recovered()
    messages: list[str] = []
    failures: list[str] = []
    for entry in _abandoned(session, ("unfinished", "unknown")):
        if not entry.taken():
            continue
        try:
            outcome = _probe(entry, session, check, resend=resend and not session.locked)
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
        except CloudmeshError:  # of the cache or the configuration: the others would fail too
            raise
        except Exception:  # noqa: BLE001 - written by another version: the other entries go on
            logger.exception("the journal entry %s cannot be understood", entry.token)
            entry.end("unknown", "Its journal entry cannot be understood.", settled=True)
            failures.append(f"The outcome of {entry.command} is unknown: its journal entry cannot be understood.")
        else:
            if outcome is None and _may_resend(entry, session):
                entry.give_back()
                failures.append(f"No effect of {entry.command} is seen; it is not sent again unasked.")
            elif outcome is None:
                entry.release()
            else:
                entry.end("done")
                messages.append(f"{entry.command}: {outcome.message}")
    return Recovered(tuple(messages), tuple(failures), len(left(session)))


def _probe(entry: Entry, session: Session, check: Callable[[], None], *, resend: bool) -> Result | None:
    parsed = _parsed(entry)
    command = parsed.command
    if command.probe is None:
        raise UnknowableError("The command has no probe.")
    context = Context(session, parsed.given, check, entry=entry)
    outcome = command.probe(context)
    if outcome is None and resend and command.resend and may_resend(command, entry, session):
        again = command.resend(context)
        return replace(again, message=f"{again.message} No effect of it was seen, so it was sent again.")
    return outcome


def _may_resend(entry: Entry, session: Session) -> bool:
    """Return whether a request that was sent but not done may be sent again with the user's consent."""
    return entry.was_sent and may_resend(_parsed(entry).command, entry, session)


def _parsed(entry: Entry) -> Parsed:
    """Return the command of an entry. It names its objects by id, because other objects may have their names now.

    Raises UsageError if it is no command, or no command that is journalled: a user who can write to the journal must
    not be able to run anything else.
    """
    from backend.commands.grammar import parse, split  # imported here: it needs the table that has these commands

    parsed = parse(split(entry.command))
    if not is_journalled(parsed.command, parsed.given):
        raise UsageError(f"{parsed.command.name} is never journalled.")
    named = [param.name for param in parsed.command.params if param.acted_on]
    given = {**parsed.given, **dict(zip(named, entry.objects, strict=False))}
    return Parsed(parsed.command, given, scope=entry.scope)


def left(session: Session) -> list[Entry]:
    """Return the commands of this cloud that are not done and whose processes have ended, oldest first.

    They were planned but not started, or sent with a token and can be sent again. Not the commands of other data
    directories: any user of the cache could have written them.
    """
    return [entry for entry in _not_done(session) if entry.vouched]


def _not_done(session: Session) -> list[Entry]:
    found = _abandoned(session, ("waiting", "unfinished"))
    return [entry for entry in found if entry.outcome == "waiting" or _is_resendable(entry, session)]


def _is_resendable(entry: Entry, session: Session) -> bool:
    try:
        return _may_resend(entry, session)
    except UsageError:  # of another version
        return False


def _abandoned(session: Session, outcomes: Sequence[str]) -> list[Entry]:
    entries = (
        Entry(session.cache, session.home, document) for document in session.cache.journal.unsettled(session.scope)
    )
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


def resume(context: Context) -> Result:
    """Run the commands that are left, under their journal entries; first probe those that may have been done."""
    session = context.session
    ready, failures = _ready(context)
    _check_production(context, [parsed for _, parsed in ready])
    taken = [(entry, parsed) for entry, parsed in ready if entry.taken()]
    if not taken:
        return Result(
            "Nothing was resumed." if failures else "Nothing waits to be resumed.", failure=" ".join(failures)
        )
    try:
        results = execute_all(
            [replace(parsed, production=context.production) for _, parsed in taken],
            session,
            check=context.check,
            entries=[entry for entry, _ in taken],
        )
    except CloudmeshError:
        for entry, _ in taken:
            entry.give_back()
        raise
    done = gathered(results)
    return replace(done, failure=" ".join(filter(None, [done.failure, *failures])))


def _check_production(context: Context, ready: Sequence[Parsed]) -> None:
    """Raise UsageError if a command would destroy an unconfirmed production object; then none of them starts.

    Each command checks its own object again before it sends anything.
    """
    words: dict[str, list[str]] = {}
    for parsed in ready:
        if parsed.command.effect == "destroys" and allowed(
            parsed.command, context.session
        ):  # else it is refused unasked
            words.setdefault(_object_of(parsed)[0].name, []).append(_target(context, parsed))
    for kind, ids in words.items():
        check_production(context, KINDS[kind], *_items(context.connect(), kind, ids))


def _items(provider: Provider, kind: str, ids: Sequence[str]) -> list[Item]:
    """Return those of the objects that the cloud lists now."""
    return [item for page in provider.of(kind).list(ids=ids) for item in page if item["id"] in ids]


def _ready(context: Context) -> tuple[list[tuple[Entry, Parsed]], list[str]]:
    """Return the commands that can be resumed, and for each of the others why it cannot."""
    ready: list[tuple[Entry, Parsed]] = []
    failures: list[str] = []
    for entry in _chosen(context):
        try:
            parsed = _parsed(entry)
            parsed.bind(context.session)
            _check_paths(parsed)
        except UsageError as error:  # of another version, or the configuration has changed
            failures.append(f"{entry.command}: {error}")
        else:
            ready.append((entry, parsed))
    return ready, failures


def _check_paths(parsed: Parsed) -> None:
    """Raise UsageError for a relative path: an earlier version did not record its folder."""
    for param in parsed.command.params:
        value = parsed.given.get(param.name)
        if param.type == "path" and value and not value.startswith(("/", "~")):
            raise UsageError(
                f"It names {safe(value)}, a path in the folder where it was run, and that folder is not recorded.",
                "Run it again with a full path, and drop this one: journal drop.",
            )


def _chosen(context: Context) -> list[Entry]:
    """Return the commands that are left, or those of them that the user named."""
    only = context.args.get("only")
    return [entry for entry in left(context.session) if not only or entry.token in only.split(",")]


def drop(context: Context) -> Result:
    """Give up the commands that are left."""
    entries = [entry for entry in _not_done(context.session) if entry.taken()]
    for entry in entries:
        if entry.outcome == "waiting":
            entry.end("cancelled", "It was not done when its process ended, and was given up later.")
        else:
            entry.end("unknown", "It was sent, no effect was seen, and it was given up.", settled=True)
    what = counted(len(entries), "command")
    return Result(f"{what} that had not been done {'was' if len(entries) == 1 else 'were'} given up.")


def gathered(results: Sequence[Finished]) -> Result:
    """Return the results of several commands as one result."""
    failed = [error for one in results if (error := one.error)]
    done = len(results) - len(failed)
    message = f"{done} of {len(results)} done." if failed else f"{done} done."
    failure = f"{len(failed)} of {len(results)} failed: {' '.join(dict.fromkeys(map(str, failed)))}" if failed else ""
    return Result(message, parts=tuple(results), failure=failure)


def preview(context: Context, _ids: Sequence[str]) -> Preview:
    """Return what `journal resume` would do: the previews of all its commands."""
    targets: list[Target] = []
    totals: list[str] = []
    tokens: list[str] = []
    groups: dict[str, list[tuple[Entry, Parsed]]] = {}
    ready, notes = _ready(context)
    for entry, parsed in ready:
        groups.setdefault(parsed.command.name, []).append((entry, parsed))
    for name, group in groups.items():
        notes.append(f"{name}: {len(group)}.")
        one = group[0][1].command
        if one.effect == "destroys" and one.preview is not None:
            words = [_target(context, parsed) for _, parsed in group]
            shown = one.preview(context, words)
            left_out = {target.id for target in shown.left_out}
            tokens += [entry.token for (entry, _), word in zip(group, words, strict=True) if word not in left_out]
        else:
            shown = _changes(context, one, [parsed for _, parsed in group])
            tokens += [entry.token for entry, _ in group]
        targets += shown.targets
        totals += shown.totals
        notes += shown.notes
    return Preview(tuple(targets), tuple(totals), {"only": ",".join(tokens)}, tuple(notes))


def _changes(context: Context, one: Command, group: Sequence[Parsed]) -> Preview:
    """Return a preview of commands that destroy nothing: the line of each, and what it would lose."""
    if one.preview is None:
        return Preview(tuple(Target(parsed.line, safe(parsed.line)) for parsed in group))
    words = [_target(context, parsed) for parsed in group]
    seen = {target.id: target for target in one.preview(context, words).targets}
    return Preview(
        tuple(
            replace(seen[word], id=parsed.line, name=safe(parsed.line), left_out="", final=False)
            for word, parsed in zip(words, group, strict=True)
        )
    )


def _target(context: Context, parsed: Parsed) -> str:
    """Return the id of the object that a command acts on; its name if no object, or several, have that name."""
    kind, param = _object_of(parsed)
    return id_of(context, kind, parsed.given[param.name])


def _object_of(parsed: Parsed) -> tuple[Kind, Param]:
    param = parsed.command.object
    if param is None or param.kind is None:
        raise UsageError(f"{parsed.command.name} names no object.")
    return KINDS[param.kind], param
