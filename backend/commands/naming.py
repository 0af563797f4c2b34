"""Names what a command does and to what, so that each failure says which action has failed."""

from collections.abc import Iterator
from contextlib import contextmanager

from backend.commands.common import label
from backend.commands.lookup import known
from backend.commands.model import Call, Command, Parsed
from backend.errors import CacheError, CloudError, InVainError, NotFoundError
from backend.kinds import KINDS, Kind
from backend.text import safe


@contextmanager
def named(parsed: Parsed, call: Call) -> Iterator[None]:
    """Have what fails in the block say which action has failed, and on what; a listing, for example, says neither.

    Usage errors, refusals and what does not exist name it themselves.
    """
    try:
        yield
    except (CloudError, CacheError) as error:
        about(error, parsed, call)
        raise


def about(error: CloudError | CacheError, parsed: Parsed, call: Call) -> None:
    """Put into an error which action has failed, and on what, where it does not say so itself."""
    if isinstance(error, (NotFoundError, InVainError)) and not error.doing:
        return
    error.name_action(*_subject(parsed, call, cached=not isinstance(error, CacheError)))
    if call.entry is not None and call.entry.outcome == "waiting":
        error.message = f"{error.message} Nothing was done."


def _subject(parsed: Parsed, call: Call, *, cached: bool) -> tuple[str, str]:
    """Return "stop of web-1 (i-0abc)" or "create of volume data", and how its object is called in it.

    Where the cache does not answer, it is called as the command calls it.
    """
    command = parsed.command
    if command.words[0] not in KINDS:
        return command.name, command.name
    kind = KINDS[command.words[0]]
    called = _object(command, kind, parsed, call if cached else None)
    noun = "" if kind.name == "vm" and called else f"{kind.noun} "
    return f"{command.words[-1]} of {noun}{called}".rstrip(), called


def _object(command: Command, kind: Kind, parsed: Parsed, call: Call | None) -> str:
    target = command.target(kind.name)
    word = parsed.given.get(target.name if target else "name", "")
    if target is None or not word or call is None:
        return safe(word)
    try:
        rows = known(call, kind, word)
    except CacheError:
        rows = []
    if len(rows) != 1:
        return safe(word)
    return label(kind.value(rows[0], "name"), str(kind.value(rows[0], "id")))
