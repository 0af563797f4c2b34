"""Adds the action and its object to errors, so that each failure says which action has failed."""

from collections.abc import Iterator
from contextlib import contextmanager

from backend.catalog import KINDS
from backend.commands.common import label
from backend.commands.lookup import known
from backend.commands.model import Context, Parsed
from backend.errors import CacheError, CloudError, NotFoundError, UnusableError
from backend.kinds.model import Kind
from backend.text import safe


@contextmanager
def named(parsed: Parsed, context: Context) -> Iterator[None]:
    """Add the action and its object to errors of the block: an error of a listing, for example, names neither.

    Usage errors, refusals and errors about missing objects name them already.
    """
    try:
        yield
    except (CloudError, CacheError) as error:
        about(error, parsed, context)
        raise


def about(error: CloudError | CacheError, parsed: Parsed, context: Context) -> None:
    """Add to an error which action has failed, and on which object, if it does not say so itself."""
    if isinstance(error, (NotFoundError, UnusableError)) and not error.doing:
        return
    if context.entry is None and not error.reading:  # a dry run; its error names the action
        return
    command = parsed.command
    kind = KINDS.get(command.words[0])
    name, called = _object(parsed, kind, None if isinstance(error, CacheError) else context)
    noun = f"{kind.noun} " if kind and not (kind.bare and called) else ""
    action = f"{command.words[-1]} of {noun}{called}".rstrip() if kind else command.name
    error.name_action(action, called, name, undone=context.entry is None or context.entry.outcome == "waiting")


def _object(parsed: Parsed, kind: Kind | None, context: Context | None) -> tuple[str, str]:
    """Return the name of the object of a command, and its label for a sentence; if unknown, both as given.

    Without a context the cache is not read, because it may be the part that failed.
    """
    target = parsed.command.target(kind.name) if kind else None
    word = parsed.given.get(target.name if target else "name", "")
    if kind is None or target is None or not word or context is None:
        return word, safe(word)
    try:
        rows = known(context, kind, word)
    except CacheError:
        rows = []
    if len(rows) != 1:
        return word, safe(word)
    name, native = kind.value(rows[0], "name"), str(kind.value(rows[0], "id"))
    return str(name or native), label(name, native)
