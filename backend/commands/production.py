"""The production guard: what is tagged as production is destroyed only when its name or id was given to confirm it."""

import shlex
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from backend.commands.common import label
from backend.commands.model import Context
from backend.errors import UsageError
from backend.kinds.model import Kind
from backend.providers.protocol import Item
from backend.text import safe


def production_tag(tags: Mapping[str, str], rules: Iterable[str]) -> str:
    """Return the first tag, as TAG=VALUE, that marks an object as production; "" if none does."""
    pairs = [f"{key}={value}" for key, value in tags.items()]
    marking = (one for rule in rules for one in pairs if fnmatchcase(one.casefold(), rule.casefold()))
    return next(marking, "")


def tags_of(item: Item) -> Mapping[str, str]:
    """Return the tags of an object as the cloud lists it."""
    tags: Mapping[str, str] = item.get("tags") or {}
    return tags


def is_production(item: Item, rules: Iterable[str]) -> bool:
    """Return whether an object is tagged as production."""
    return bool(production_tag(tags_of(item), rules))


def check_production(context: Context, kind: Kind, *items: Item, goes_with: Item | None = None) -> None:
    """Raise UsageError if the tags that the cloud lists now mark an item as production and it was not confirmed.

    The name of `goes_with`, the object that the items are deleted with, confirms them too. Every command that destroys
    calls this right before it sends a request.
    """
    for item in items:
        tag = production_tag(tags_of(item), context.session.settings.production)
        name, native = str(item.get("name") or ""), str(item["id"])
        if tag and not context.production & (_words(item) | (_words(goes_with) if goes_with else set())):
            word = name if name and safe(name) == name else native
            because = f"goes with {label(goes_with.get('name'), goes_with['id'])}, " if goes_with else ""
            raise UsageError(
                f"The {kind.noun} {label(name, native)} {because}is tagged as production ({safe(tag)}), and its name "
                "was not given to confirm it; nothing was done.",
                f"Without a screen, --production {shlex.quote(word)} confirms it.",
            )


def _words(item: Item) -> set[str]:
    """Return the words that confirm an object: its name, its name with control characters escaped, and its id."""
    name = str(item.get("name") or "")
    return {name, safe(name), str(item["id"])} - {""}
