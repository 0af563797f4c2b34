"""Runs commands, one or many: everything that changes a cloud goes through here."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

from backend.callbacks import ignore
from backend.catalog import KINDS
from backend.commands.locating import located
from backend.commands.lookup import cannot, find, id_of
from backend.commands.model import Command, Context, Finished, Param, Parsed, Result
from backend.commands.naming import named
from backend.commands.preview import Preview
from backend.config import Cloud
from backend.errors import (
    CacheError,
    Cancelled,
    CloudError,
    CloudmeshError,
    NotFoundError,
    NotListedError,
    OutcomeUnknownError,
    RefusedError,
    UnusableError,
    bug,
)
from backend.journal.entry import Entry, plan
from backend.kinds.model import Scope
from backend.log import logger
from backend.providers.entry import Connect
from backend.providers.protocol import Provider, Waiting
from backend.refresh import LISTING_DELAY, Progress
from backend.session import Session
from backend.text import safe

OnFinished = Callable[[int, Finished], object]
"""Called with the index of a command among the others and with its result."""

RESENT_FOR = 3_600.0
"""Seconds for which a request with a token is sent again if it did nothing: clouds forget tokens, after a day or so."""

AT_ONCE = 4
"""Commands run side by side: a cloud accepts a few changes a second, so that more would only wait."""


def allowed(command: Command, session: Session) -> bool:
    """Return whether the session may run the command; see `refusal`."""
    return refusal(command, session) is None


def refusal(command: Command, session: Session) -> CloudmeshError | None:
    """Return why the session may not run the command, None if it may.

    A read-only session runs what changes nothing in a cloud. One whose cache cannot be written refreshes nothing, too.
    """
    if len(session.scopes) > 1:  # one of them that allows it is enough: the others are left out
        why = None
        for scope in session.scopes:
            if (why := refusal(command, session.at(scope))) is None:
                break
        return why
    if what := missing_capability(command, session):
        return cannot(session, what)
    changes = command.effect != "reads"
    if changes and (session.read_only or session.cloud.read_only):
        what, cure = "This session", "Start without --read-only."
        if not session.read_only:
            what, cure = f"Cloud {session.cloud.name}", "Remove read_only from cloudmesh.yaml."
        return RefusedError(f"{what} is read-only: {command.name} is not run.", cure)
    if (changes or command.refreshes) and (why := session.cache.refusal):
        return RefusedError(f"{command.name} is not run. {why.message}", why.cure)
    return None


def missing_capability(command: Command, session: Session, args: Mapping[str, Any] | None = None) -> str:
    """Return the first capability that a command or its arguments need and the cloud lacks; "" if there is none."""
    kind = KINDS.get(command.words[0])
    if kind and not session.has(kind.name):
        return kind.nouns
    needs = (command.needs, *(param.needs for param in command.params if args and args.get(param.name)))
    return next((need for need in needs if need and not session.has(need)), "")


def offered(commands: Iterable[Command], session: Session) -> list[Command]:
    """Return the commands that the session may run, without the parameters that the cloud does not support."""
    return [
        replace(one, params=tuple(param for param in one.params if is_possible(param, session)))
        for one in commands
        if allowed(one, session)
    ]


def is_possible(param: Param, session: Session) -> bool:
    """Return whether the cloud of the session has what a parameter needs, and the kind that it names."""
    return all(session.has(what) for what in (param.needs, param.kind) if what)


def _checked(parsed: Parsed, session: Session) -> dict[str, Any]:
    """Return the arguments of a command that the session may run. Raises RefusedError and UsageError."""
    if why := refusal(parsed.command, session):
        raise why
    args = parsed.bind(session)
    if what := missing_capability(parsed.command, session, args):
        raise cannot(session, what)
    return args


def is_journalled(command: Command, args: Mapping[str, Any]) -> bool:
    """Return whether a run of the command has a journal entry: it changes something and is no dry run."""
    dry = any(param.dry and args.get(param.name) for param in command.params)
    return command.effect != "reads" and command.journalled and not dry


def losses(parsed: Parsed, session: Session, check: Callable[[], None] = ignore) -> Preview | None:
    """Return what a command that does not destroy would still lose, None if it loses nothing.

    The object is looked up as the command does; if that fails, the result is None and the command itself says why.
    Raises RefusedError if the cloud does not say what would be lost: the user could not decide.
    """
    try:
        parsed = located(parsed, session, check)
    except (NotFoundError, RefusedError):
        return None
    command, session = parsed.command, parsed.at(session)
    if command.preview is None or command.effect == "destroys" or not allowed(command, session):
        return None
    if not (param := command.object) or not param.kind:
        return None
    context = Context(session, parsed.bind(session), check)
    try:
        kind = KINDS[param.kind]
        row = find(context, kind, context.args[param.name])
        return command.preview(context, [str(kind.value(row, "id"))])
    except (NotFoundError, RefusedError):
        return None
    except CloudError as error:
        raise RefusedError(
            f"{safe(parsed.line)} was not run, because it is not known what it would lose: {error.message}",
            error.cure,
        ) from error


def execute(
    parsed: Parsed,
    session: Session,
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
    on_wait: Callable[[Waiting], None] = ignore,
    entry: Entry | None = None,
) -> Result:
    """Run a parsed command on the calling thread and return its result; journal it if it changes a cloud.

    `entry` is its entry in the journal, if it has one already. If the cloud's answer is lost, the cloud is probed for
    the outcome. A command on an object that was created a moment ago waits until the cloud lists the object.

    Raises UsageError for missing or wrong arguments, Cancelled, and CloudmeshError if the command failed.
    """
    parsed = located(parsed, session, check)
    command, session = parsed.command, parsed.at(session)
    args = _checked(parsed, session)
    if not is_journalled(command, args):
        context = Context(session, args, check, progress, on_wait, production=parsed.production)
        with named(parsed, context) if command.effect != "reads" else nullcontext():
            return _run(command, context)
    if entry is None:
        commands = [(session.scope, parsed.lasting)]
        (entry,) = plan(session.cache, session.home, commands, partial(_account, session, check))
    context = Context(session, args, check, progress, on_wait, entry, parsed.production)
    with entry.recorded(), named(parsed, context):
        try:
            return _sent_before(command, context) or _run(command, context)
        except OutcomeUnknownError as error:
            lost = error
        except (CloudmeshError, Cancelled):
            raise
        except Exception as error:
            if entry.outcome != "unfinished":  # nothing was sent
                raise
            logger.exception("%s failed after it was sent", safe(parsed.line))
            lost = OutcomeUnknownError(
                f"The outcome of {safe(parsed.line)} was not understood: {type(error).__name__}. "
                "This is a bug in cloudmesh-tui.",
                "Run with --log-file FILE and report it; refresh before you repeat it.",
            )
        return _found_out(command, context, lost)


def _account(session: Session, check: Callable[[], None], scope: Scope) -> str:
    """Return the account and the role that act in a scope, or ""; asked once a session."""
    found = session.at(scope).identity(check)
    return found.lasting if found else ""


def _run(command: Command, context: Context) -> Result:
    """Run a command; while the cloud does not list a new object yet, wait a moment and run it again."""
    delays = iter(context.session.backoff)
    while True:
        try:
            return command.run(context)
        except NotListedError as error:
            not_listed = error
        except NotFoundError as error:
            if (found := _just_created(command, context, error)) is None:
                raise
            not_listed = found
            logger.info("%s: %s", command.name, safe(str(error)))
        if (seconds := next(delays, None)) is None:
            raise not_listed
        context.on_wait(Waiting(command.name, "not listed yet", monotonic() + seconds))
        _pause(seconds, context.check)


def _just_created(command: Command, context: Context, error: NotFoundError) -> NotListedError | None:
    """Return an error if the object that was not found was created a moment ago, None for any other object.

    A listing may have a new object before the rest of the cloud knows it.
    """
    since = datetime.now(UTC) - timedelta(seconds=LISTING_DELAY)
    given = [
        (KINDS[param.kind], str(word))
        for param in command.params
        if param.kind and not param.many and (word := context.args.get(param.name))
    ]
    objects = [(kind, word, id_of(context, kind, word)) for kind, word in given]
    meant = [one for one in objects if one[1] in error.message or one[2] in error.message]
    for kind, _, native in meant or objects:  # the cloud may not say which
        if context.session.cache.rows.made_since(kind, context.session.scope, native, since):
            title = context.session.cloud.provider.title
            why = f"{kind.titled} {safe(native)} was created a moment ago, and {title} may not know it everywhere yet."
            return NotListedError(f"{error.message} {why}", "Try again in a moment.")
    return None


def is_outcome(error: CloudmeshError) -> bool:
    """Return whether the error of a probe is the outcome: the object is gone, or what was done is of no use."""
    return isinstance(error, NotFoundError | UnusableError) and not isinstance(error, NotListedError)


def may_resend(command: Command, entry: Entry, session: Session) -> bool:
    """Return whether a request that has done nothing is sent again.

    It is, if this data directory sent it, the cloud still knows its token, and no user has read that its outcome is
    unknown: that user may have repeated it.
    """
    young = (datetime.now(UTC) - entry.at).total_seconds() < RESENT_FOR
    known = session.has("request tokens")
    return command.resend is not None and known and entry.vouched and not entry.reported_unknown and young


def _sent_before(command: Command, context: Context) -> Result | None:
    """Return the result of a command that an earlier run has sent; None if it was not sent, or not done.

    A request with a token is sent again unchanged: the cloud does its work only once.
    """
    entry = context.journal
    if not entry.was_sent or command.probe is None:
        return None
    entry.sending(*entry.objects, **entry.request)
    try:
        outcome = command.probe(context)
    except OutcomeUnknownError:
        raise
    except (CloudError, CacheError, Cancelled) as error:
        if isinstance(error, CloudError) and is_outcome(error):
            raise
        why = str(error) or "The check of its outcome was cancelled."
        raise OutcomeUnknownError(
            f"An earlier run has sent {safe(entry.command)}, and its outcome is unknown. {why}"
        ) from None
    if outcome is None and command.resend and context.session.has("request tokens"):
        return command.resend(context)
    return outcome


def _found_out(command: Command, context: Context, lost: OutcomeUnknownError) -> Result:
    """Return the outcome of a command whose answer was lost; raise why it failed, or `lost` if it stays unknown."""
    undone, why = False, ""
    for seconds in context.session.backoff:
        try:
            _pause(seconds, context.check)
            outcome = command.probe(context) if command.probe else None
            if outcome is None and command.resend and may_resend(command, context.journal, context.session):
                outcome = command.resend(context)
        except (CloudError, CacheError) as error:
            if is_outcome(error):
                raise
            # A failed probe says nothing about the command.
            undone, why = False, _why_unknown(lost, error)
            continue
        except Cancelled:  # the listing may lag: what was not seen so far may have been done
            undone, why = False, " The check of its outcome was cancelled; the next start checks again."
            break
        except CloudmeshError:
            raise
        except Exception:  # noqa: BLE001 - a bug in the probe says nothing about the outcome
            logger.exception("the probe of %s failed", command.name)
            raise lost from None
        if outcome is not None:
            title = context.session.cloud.provider.title
            return replace(outcome, message=f"{outcome.message} The answer was lost, so {title} was asked again.")
        undone = command.probe is not None
    ended = (
        CloudError(f"{lost.message} A check of the cloud shows that it was not done.", "You can run it again.")
        if undone
        else OutcomeUnknownError(f"{lost.message}{why}", lost.cure)
    )
    ended.doing = lost.doing  # its message begins with that
    raise ended


def _why_unknown(lost: OutcomeUnknownError, error: CloudmeshError) -> str:
    """Return why the outcome of a command is unknown, without what `lost` says of it already."""
    if error.message == lost.message:  # it was sent once more, with its token
        return " It was sent again, and that answer was lost too."
    said = error.message if error.cure == lost.cure else str(error)
    return f" The outcome could not be found out: {said}"


def _pause(seconds: float, check: Callable[[], None]) -> None:
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0:
        check()
        sleep(min(left, 0.1))


def execute_all(
    commands: Sequence[Parsed],
    session: Session,
    *,
    check: Callable[[], None] = ignore,
    progress: Callable[[Progress], None] = ignore,
    on_wait: Callable[[Waiting], None] = ignore,
    on_finished: OnFinished = ignore,
    entries: Sequence[Entry] | None = None,
) -> list[Finished]:
    """Run commands side by side and return their results, in order; if one fails, the others still run.

    All are journalled before the first one starts. `on_finished` and `on_wait` are called on other threads. If `check`
    raises, the commands that have not started are cancelled; a single command raises Cancelled instead. Only a single
    command calls `progress`.

    Raises CacheError if the journal cannot be written; then nothing was done.
    """
    if len(commands) == 1 and entries is None:
        # One command alone: that it was cancelled, or that it is a bug, is raised at once.
        (parsed,) = commands
        try:
            parsed = located(parsed, session, check)
            return [Finished(parsed, execute(parsed, session, check=check, progress=progress, on_wait=on_wait))]
        except CloudmeshError as error:
            return [Finished(parsed, error)]
    commands = [located(parsed, session, check) for parsed in commands]
    written: dict[int, tuple[Scope, str]] = {}
    for place, parsed in enumerate(commands):  # all, before any is written down as one that will be done
        at = parsed.at(session)
        if is_journalled(parsed.command, _checked(parsed, at)):
            written[place] = at.scope, parsed.lasting
    if entries is None:
        entries = plan(session.cache, session.home, [*written.values()], partial(_account, session, check))
    entry_of = dict(zip(written, entries, strict=True))
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(len(commands)):
        waiting.put(place)
    found: dict[int, Finished] = {}

    def work() -> None:
        mine = replace(session, connector=_Kept(session.connector))
        while True:
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return
            found[place] = _result(commands[place], mine, check, on_wait, entry_of.get(place))
            on_finished(place, found[place])

    threads = [threading.Thread(target=work, name="commands", daemon=True) for _ in range(min(AT_ONCE, len(commands)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(commands))]


def _result(
    parsed: Parsed,
    session: Session,
    check: Callable[[], None],
    on_wait: Callable[[Waiting], None],
    entry: Entry | None,
) -> Finished:
    try:
        return Finished(parsed, execute(parsed, session, check=check, on_wait=on_wait, entry=entry))
    except CloudmeshError as error:
        return Finished(parsed, error)
    except Cancelled:
        return Finished(parsed, RefusedError(f"{parsed.line} was cancelled and not done."))
    except Exception as error:  # noqa: BLE001 - a bug costs its own command, not those that wait behind it
        logger.exception("%s failed", safe(parsed.line))
        return Finished(parsed, bug(parsed.line, error))


class _Kept:
    """The connections of one thread: many commands share one TLS handshake for each thread."""

    def __init__(self, connector: Connect) -> None:
        self._connector = connector
        self._providers: dict[tuple[str, str], Provider] = {}

    def __call__(self, cloud: Cloud, check: Callable[[], None], on_wait: Callable[[Waiting], None]) -> Provider:
        scope = cloud.name, cloud.region
        if scope not in self._providers:  # all commands of a bulk share one check
            self._providers[scope] = self._connector(cloud, check, on_wait)
        return self._providers[scope]
