"""What the changing commands share: labels, looking at one object in the cloud, writing down what was done."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from backend.commands.lookup import find
from backend.commands.model import Call, Outcome
from backend.errors import CacheError, NotFoundError, RefusedError
from backend.journal import Entry
from backend.kinds import KINDS, Kind
from backend.providers import Item, Page, Provider
from backend.text import safe

REPEATED_FOR = 3_600.0
"""Seconds for which a request with a token is sent again when nothing came of it: EC2 knows a token for a day."""


def may_repeat(entry: Entry) -> bool:
    """Return whether a request of which nothing came is sent again: it is ours, nobody was told, EC2 knows it yet."""
    return entry.vouched and not entry.told and (datetime.now(UTC) - entry.at).total_seconds() < REPEATED_FOR


def label(name: str | None, native: str) -> str:
    """Return an object's name and id, fit for a sentence."""
    return f"{safe(name)} ({native})" if name else native


def attachment(volume: Item, vm: str) -> dict[str, Any]:
    """Return what EC2 says of a volume's attachment to one VM (device, status …), nothing where it has none."""
    found = volume["extra"].get("attachmentSet")
    entries = found if isinstance(found, list) else []
    return next((one for one in entries if isinstance(one, dict) and one.get("instanceId") == vm), {})


def only(pages: Iterator[Page]) -> Item | None:
    """Return the one item of a listing that is of one object, None when it no longer exists."""
    return next((item for page in pages for item in page), None)


def listed(provider: Provider, kind: Kind, native: str) -> Item | None:
    """Return a VM or a volume as the cloud lists it at this moment, None when it no longer exists."""
    return only((provider.vms if kind.name == "vm" else provider.volumes)([native]))


def present(call: Call, kind: Kind, word: str, *, fresh: bool = False) -> tuple[Provider, Item]:
    """Return a provider and the VM or volume that `word` names as the cloud lists it now; the cache has it then too.

    `fresh` is as in `find`. Raises NotFoundError, and takes it out of the cache, when it no longer exists, and
    RefusedError when it has another name by now.
    """
    session = call.session
    native = str(kind.value(find(call, kind.name, word, fresh=fresh), "id"))
    provider = call.connect()
    item = listed(provider, kind, native)
    if item is None:
        session.cache.remove(kind, session.scope, [native])
        raise NotFoundError(
            f"{kind.noun} {native} no longer exists in cloud {session.cloud.name}, region {session.cloud.region}."
        )
    session.cache.put(kind, session.scope, [item])
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


def zone(call: Call, location: str | None) -> str | None:
    """Return the availability zone that `location` names; None for the cloud's region itself, where EC2 chooses."""
    if not location or location == call.session.cloud.region:
        return None
    return str(KINDS["location"].value(find(call, "location", location), "name"))


def written(outcome: Outcome, write: Callable[[], object]) -> Outcome:
    """Write what was done in the cloud to the cache; where that fails, tell both: it was done all the same."""
    try:
        write()
    except CacheError as error:
        return replace(outcome, failure=f"{outcome.message} But the cache does not have it yet: {error}")
    return outcome


def with_row(call: Call, kind: Kind, native: str, outcome: Outcome, write: Callable[[], object]) -> Outcome:
    """Return the outcome of what was done to an object, with its row as it is in the cache after `write`."""
    fields: list[tuple[str, object]] = [("id", native)]

    def write_and_read() -> None:
        write()
        for row in call.session.cache.named(kind, call.session.scope, native):
            fields[:] = [(column.name, value) for column, value in zip(kind.columns, row, strict=True)]

    return replace(written(outcome, write_and_read), kind=kind, fields=tuple(fields))
