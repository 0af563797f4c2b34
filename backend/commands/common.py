"""Shared by commands that change a cloud: label an object, read it from the cloud, write its change to the cache."""

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
    """Return an object's name and id, safe to print in a sentence."""
    return f"{safe(name)} ({native})" if name else native


def only(pages: Iterator[Page]) -> Item | None:
    """Return the item of a listing of one object, or None if the object no longer exists."""
    return next((item for page in pages for item in page), None)


def listed(provider: Provider, kind: Kind, native: str) -> Item | None:
    """Return an object as the cloud lists it now, or None if it does not. The kind must support listing by id."""
    return only(provider.of(kind.name).list(ids=[native]))


def not_listed_yet(session: Session, kind: Kind, native: str) -> NotListedError | None:
    """Return an error if a command has just created the unlisted object; return None if the object is gone."""
    if native not in session.cache.rows.unlisted(
        kind, session.scope, datetime.now(UTC) - timedelta(seconds=LISTING_DELAY)
    ):
        return None
    title = session.cloud.provider.title
    return NotListedError(
        f"{kind.titled} {safe(native)} was created a moment ago, and {title} does not list it yet in cloud "
        f"{session.cloud.name}, region {session.cloud.region}.",
        "Try again in a moment.",
    )


def present(context: Context, kind: Kind, word: str, *, fresh: bool = False) -> tuple[Provider, Item]:
    """Read the object that `word` names from the cloud and write it to the cache; return a provider and the object.

    `fresh` is as in `find`. Raises NotListedError if the object has just been created and is not listed yet. Raises
    NotFoundError if it no longer exists, and removes it from the cache. Raises RefusedError if its name has changed.
    """
    session = context.session
    native = str(kind.value(find(context, kind, word, fresh=fresh), "id"))
    provider = context.connect()
    item = listed(provider, kind, native)
    if item is None:
        if error := not_listed_yet(session, kind, native):
            raise error
        session.cache.rows.remove(kind, session.scope, [native])
        raise NotFoundError(
            f"{kind.titled} {native} no longer exists in cloud {session.cloud.name}, region {session.cloud.region}."
        )
    session.cache.rows.put(kind, session.scope, [item])
    check_name(kind, word, item)
    return provider, item


def check_name(kind: Kind, word: str, item: Item) -> None:
    """Raise RefusedError if the user named an object by a name that it no longer has."""
    if word not in (item["id"], item.get("name")):
        now = f"is called {safe(item['name'])} now" if item.get("name") else "has no name now"
        raise RefusedError(
            f"The {kind.noun} that was listed as {safe(word)} ({item['id']}) {now}; nothing was done.",
            "Check whether it is the one you mean; if so, give its id.",
        )


def absent(context: Context, kind: Kind, word: str) -> Target:
    """Return a target for a word that names no listed object; the preview leaves it out and says why."""
    rows = known(context, kind, word)
    why = f"{len(rows)} {kind.nouns} share that name" if len(rows) > 1 else "it no longer exists"
    if len(rows) == 1 and not_listed_yet(context.session, kind, word):
        why = f"{context.session.cloud.provider.title} does not list it yet; try again in a moment"
    name = kind.value(rows[0], "name") if len(rows) == 1 else None
    return Target(word, safe(str(name or word)), left_out=why)


def written(result: Result, write: Callable[[], object]) -> Result:
    """Write a change that was made in the cloud to the cache; if that fails, return a result that says both."""
    try:
        write()
    except CacheError as error:
        return replace(result, failure=f"{result.message} But the cache does not have it yet: {error}")
    return result


def with_row(context: Context, kind: Kind, native: str, result: Result, write: Callable[[], object]) -> Result:
    """Call `write`, and return `result` with the row that the object then has in the cache."""
    fields: list[tuple[str, object]] = [("id", native)]

    def write_and_read() -> None:
        write()
        for row in context.session.cache.rows.named(kind, context.session.scope, native):
            fields[:] = [(column.name, value) for column, value in kind.cells(row)]

    return replace(written(result, write_and_read), kind=kind, fields=tuple(fields))
