"""Finds the scope of a command that names its object by a word, where several clouds or regions are shown."""

from collections.abc import Callable
from dataclasses import replace

from backend.callbacks import ignore
from backend.catalog import KINDS
from backend.commands.lookup import is_stale, known
from backend.commands.model import Context, Parsed
from backend.errors import NotFoundError, RefusedError
from backend.kinds.model import Kind, Row, Scope
from backend.providers.registry import is_id, meaning
from backend.refresh import refresh_scopes
from backend.scopes import named
from backend.session import Session
from backend.text import safe


def located(parsed: Parsed, session: Session, check: Callable[[], None] = ignore) -> Parsed:
    """Return the command with the scope that it acts in: that of the object that it names, else the home scope.

    Before a change of an object that is named, and not given by its id, all scopes are listed: another may have one of
    that name. Else those whose listing is stale are listed if none has it. Raises RefusedError if several have it, or
    if one cannot be listed, and NotFoundError if none has it.
    """
    if parsed.scope is not None or parsed.among or parsed.command.everywhere or len(session.scopes) == 1:
        return parsed
    param = parsed.command.object
    word = parsed.given.get(param.name) if param else None
    if param is None or param.kind is None or not word:
        return replace(parsed, scope=session.scope)
    kind = KINDS[param.kind]
    scopes = session.scopes_of(kind)
    found = _found(session, kind, word)
    # Of a vast kind a name is looked for in the home scope alone, see `_found`.
    surely = parsed.command.effect == "reads" or kind.vast or is_id(word)
    failed: list[str] = []
    asked = [scope for scope in scopes if session.at(scope).has(kind.name)]
    if surely:
        asked = [] if found else [scope for scope in asked if is_stale(session.at(scope), kind)]
    if asked and session.cache.refusal is None:
        done = refresh_scopes(
            [(kind, scope) for scope in asked],
            lambda scope, *hooks: session.at(scope).connect(*hooks),
            session.cache,
            check=check,
        )
        failed = [f"{one.cloud} {one.region} cannot be listed: {one.error}" for one in done if one.error]
        found = _found(session, kind, word)
    if len(found) > 1:
        where = ", ".join(f"{kind.value(rows[0], 'id')} in {' '.join(scope)}" for scope, rows in found.items())
        raise RefusedError(
            f"{len(found)} {kind.nouns} are named {safe(word)!r}: {safe(where)}.", "Give the id, or show one region."
        )
    if found and failed and not surely:
        raise RefusedError(
            f"Another {kind.noun} may be named {safe(word)!r}. {' '.join(failed)}", "Give the id, or show one region."
        )
    if not found and kind.missing is None:
        raise NotFoundError(
            " ".join((f"There is no {kind.noun} {safe(word)!r} known in {named(scopes)}.", *failed)),
            f"{kind.name} refresh fetches the list again.",
        )
    return replace(parsed, scope=next(iter(found), session.scope))


def _found(session: Session, kind: Kind, word: str) -> dict[Scope, list[Row]]:
    """Return the cached rows that a word names, by scope; rows whose name is free count only where no others are."""
    # A vast kind is found by its name in the home scope alone: the name has no index, and there may be 1.7 million.
    scopes = session.scopes if is_id(word) else session.scopes_of(kind)
    found = {scope: rows for scope in scopes if (rows := known(Context(session.at(scope), {}), kind, word))}
    taken = {
        scope: rows
        for scope, rows in found.items()
        if any(meaning(str(kind.value(row, "state"))) not in kind.free_in for row in rows)
    } if kind.free_in else found  # fmt: skip
    return taken or found
