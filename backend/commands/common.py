"""What the changing commands share: labels, one object as the cloud lists it now, the result in the cache."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backend.commands.lookup import find, known
from backend.commands.model import Context, Result
from backend.commands.preview import Target
from backend.errors import CacheError, NotFoundError, NotListedError, RefusedError
from backend.kinds.model import Kind
from backend.providers.protocol import Item, Page, Provider
from backend.refresh import LISTING_DELAY
from backend.session import Session
from backend.text import safe


def label(name: str | None, native: str) -> str:
    """Return an object's name and id, fit for a sentence."""
    return f"{safe(name)} ({native})" if name else native


def only(pages: Iterator[Page]) -> Item | None:
    """Return the one item of a listing that is of one object, None when it no longer exists."""
    return next((item for page in pages for item in page), None)


def listed(provider: Provider, kind: Kind, native: str) -> Item | None:
    """Return an object as the cloud lists it at this moment, None when it does not; its kind can be listed by id."""
    return only(provider.of(kind.name).list(ids=[native]))


def not_yet(session: Session, kind: Kind, native: str) -> NotListedError | None:
    """Return why an object is not listed where a command made it a moment ago, None where it is gone."""
    if native not in session.cache.rows.unlisted(
        kind, session.scope, datetime.now(UTC) - timedelta(seconds=LISTING_DELAY)
    ):
        return None
    title = session.cloud.provider.title
    return NotListedError(
        f"{kind.titled} {safe(native)} was made a moment ago, and {title} does not list it yet in cloud "
        f"{session.cloud.name}, region {session.cloud.region}.",
        "Try again in a moment.",
    )


def present(context: Context, kind: Kind, word: str, *, fresh: bool = False) -> tuple[Provider, Item]:
    """Return a provider and the VM or volume that `word` names as the cloud lists it now; the cache has it then too.

    `fresh` is as in `find`. Raises NotListedError when it was made a moment ago and is not listed yet; NotFoundError,
    and takes it out of the cache, when it no longer exists; RefusedError when it has another name by now.
    """
    session = context.session
    native = str(kind.value(find(context, kind, word, fresh=fresh), "id"))
    provider = context.connect()
    item = listed(provider, kind, native)
    if item is None:
        if early := not_yet(session, kind, native):
            raise early
        session.cache.rows.remove(kind, session.scope, [native])
        raise NotFoundError(
            f"{kind.titled} {native} no longer exists in cloud {session.cloud.name}, region {session.cloud.region}."
        )
    session.cache.rows.put(kind, session.scope, [item])
    check_name(kind, word, item)
    return provider, item


def check_name(kind: Kind, word: str, item: Item) -> None:
    """Raise RefusedError where an object was meant by a name that it no longer has."""
    if word not in (item["id"], item.get("name")):
        now = f"is called {safe(item['name'])} now" if item.get("name") else "has no name now"
        raise RefusedError(
            f"The {kind.noun} that was listed as {safe(word)} ({item['id']}) {now}; nothing was done.",
            "Look at it again, and give its id if it is meant.",
        )


def absent(context: Context, kind: Kind, word: str) -> Target:
    """Return the target for a word that names nothing the cloud lists."""
    rows = known(context, kind, word)
    why = f"{len(rows)} {kind.nouns} share that name" if len(rows) > 1 else "it no longer exists"
    if len(rows) == 1 and not_yet(context.session, kind, word):
        why = f"{context.session.cloud.provider.title} does not list it yet; try again in a moment"
    name = kind.value(rows[0], "name") if len(rows) == 1 else None
    return Target(word, safe(str(name or word)), left_out=why)


def written(outcome: Result, write: Callable[[], object]) -> Result:
    """Write a change of the cloud to the cache; where that fails, the result says both: the change was made."""
    try:
        write()
    except CacheError as error:
        return replace(outcome, failure=f"{outcome.message} But the cache does not have it yet: {error}")
    return outcome


def with_row(context: Context, kind: Kind, native: str, outcome: Result, write: Callable[[], object]) -> Result:
    """Return the outcome of what was done to an object, with its row as it is in the cache after `write`."""
    fields: list[tuple[str, object]] = [("id", native)]

    def write_and_read() -> None:
        write()
        for row in context.session.cache.rows.named(kind, context.session.scope, native):
            fields[:] = [(column.name, value) for column, value in kind.cells(row)]

    return replace(written(outcome, write_and_read), kind=kind, fields=tuple(fields))
