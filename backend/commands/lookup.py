"""Finds the object that a word of a command names: by its id, or by its name if that is unique."""

from backend.commands.model import Context
from backend.errors import NotFoundError, RefusedError
from backend.format import duration
from backend.kinds.model import Kind, Row
from backend.names import closest
from backend.providers.registry import is_id, meaning
from backend.refresh import Difference, refresh
from backend.session import Session
from backend.text import safe


def find(context: Context, kind: Kind, word: str, *, fresh: bool = False) -> Row:
    """Return the row that `word` names.

    If the cache does not have the object and its listing is stale, refresh the kind first. With `fresh`, also refresh a
    stale kind if `word` is a name: another object may have that name now.

    Raises NotFoundError, with the closest match; RefusedError, with the ids, if several objects share the name.
    """
    rows = known(context, kind, word)
    named = fresh and not is_id(word)
    if (named or not rows) and is_stale(context.session, kind):
        fetch(context, kind)
        rows = known(context, kind, word)
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise _missing(context, kind, word)
    ids = ", ".join(sorted(safe(kind.value(row, "id")) for row in rows))
    raise RefusedError(f"{len(rows)} {kind.nouns} share the name {safe(word)!r}: {ids}.", "Give the id instead.")


def fetch(context: Context, kind: Kind) -> Difference:
    """Refresh one kind of the current cloud. Raises RefusedError where the cloud has no such kind."""
    session = context.session
    if not session.has(kind.name):
        raise cannot(session, kind.nouns)
    provider = context.connect()
    return refresh(kind, provider, session.cache, session.scope, check=context.check, progress=context.progress)


def cannot(session: Session, what: str) -> RefusedError:
    """Return the error for what the cloud of a session has not."""
    return RefusedError(f"Cloud {session.cloud.name} ({session.cloud.provider.title}) has no {what}.")


def known(context: Context, kind: Kind, word: str) -> list[Row]:
    """Return the cached rows that `word` names; there are several if they share the name."""
    rows = context.session.cache.rows.named(kind, context.session.scope, word)
    if is_id(word):  # an id must never find another object that has it as its name
        rows = [row for row in rows if kind.value(row, "id") == word]
    if len(rows) > 1 and kind.free_in:
        rows = [row for row in rows if meaning(str(kind.value(row, "state"))) not in kind.free_in] or rows
    return rows


def id_of(context: Context, kind: Kind, word: str) -> str:
    """Return the id of the object that a word names; the word itself if the cache has no such object, or several."""
    rows = known(context, kind, word)
    return str(kind.value(rows[0], "id")) if len(rows) == 1 else word


def is_stale(session: Session, kind: Kind) -> bool:
    """Return whether a listing of a kind in the home scope is stale, or has never been."""
    age = session.cache.refreshes.of(kind, session.scope).age()
    never = age is None and session.cache.refusal is None
    return never or (session.fetches and age is not None and age > session.settings.max_age_of(kind))


def _missing(context: Context, kind: Kind, word: str) -> NotFoundError:
    session = context.session
    age = session.cache.refreshes.of(kind, session.scope).age()
    where = f"cloud {session.cloud.name}, region {session.cloud.region}"
    when = f", as listed {duration(age)} ago" if age is not None else ""
    message = f"There is no {kind.noun} {safe(word)!r} in {where}{when}."
    rows = session.cache.rows.snapshot(kind, session.scope)
    names = {value for row in rows for value in (kind.value(row, "id"), kind.value(row, "name")) if value}
    # Comparing with 100,000 names takes seconds, and a mistyped ami id has no meaningful neighbour.
    match = closest(word, names) if len(names) < 5_000 else None
    if match is not None and safe(match) != match:  # what can be read of it is not its name
        match = next((kind.value(row, "id") for row in rows if kind.value(row, "name") == match), None)
    if kind.missing:
        return kind.missing(word, message, match)
    cure = f"Did you mean {safe(match)!r}?" if match else f"{kind.name} refresh fetches the list again."
    return NotFoundError(message, cure)
