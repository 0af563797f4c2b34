"""`KIND tag` and `KIND untag`, for every kind that has tags."""

import shlex
from collections.abc import Callable

from backend.commands.common import label, present, with_row
from backend.commands.model import Command, Context, Param, Result, one_of
from backend.kinds.model import Kind
from backend.providers.protocol import Item, Tagged
from backend.text import safe


def tag_commands(kind: Kind) -> tuple[Command, ...]:
    """Return `KIND tag` and `KIND untag`."""
    one = one_of(kind)
    return (
        Command(
            (kind.name, "tag"),
            f"Set a tag of a {kind.noun}",
            tag(kind),
            params=(one, Param("tag", "The tag and its value", type="tag", required=True)),
            effect="changes",
            key="T",
            minor=True,
            on=(kind.name,),
            needs=f"tags of {kind.nouns}",
            probe=probe_tag(kind),
        ),
        Command(
            (kind.name, "untag"),
            f"Remove a tag of a {kind.noun}",
            untag(kind),
            params=(one, Param("key", "The tag's key", required=True)),
            effect="changes",
            needs=f"tags of {kind.nouns}",
            probe=probe_tag(kind),
        ),
    )


def tag(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND tag`; the command that undoes it has the earlier value."""

    def run(context: Context) -> Result:
        key, _, value = context.args["tag"].partition("=")
        return _set(context, kind, key, value)

    return run


def untag(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND untag`."""

    def run(context: Context) -> Result:
        return _set(context, kind, context.args["key"], None)

    return run


def probe_tag(kind: Kind) -> Callable[[Context], Result | None]:
    """Return what probes for the outcome of `KIND tag` and `KIND untag`."""

    def look(context: Context) -> Result | None:
        sent = context.journal.request
        provider, item = present(context, kind, context.journal.objects[0])
        if _tags(item).get(sent["key"]) != sent["value"]:
            return None
        return _done(context, kind, item, provider.of(kind.name))

    return look


def _set(context: Context, kind: Kind, key: str, value: str | None) -> Result:
    provider, item = present(context, kind, context.args[kind.name])
    native, before = str(item["id"]), _tags(item).get(key)
    if before == value:
        has = f"has the tag {safe(key)}={safe(value)} already" if value is not None else f"has no tag {safe(key)}"
        return Result(f"{label(item.get('name'), native)} {has}; nothing was done.", kind=kind)
    context.check()
    context.journal.sending(native, key=key, value=value, before=before)
    face: Tagged = provider.of(kind.name)
    if value is None:
        face.untag(native, key)
    else:
        face.tag(native, key, value)
    return _done(context, kind, item, face)


def _done(context: Context, kind: Kind, item: Item, face: Tagged) -> Result:
    native = str(item["id"])
    key, value, before = (context.journal.request[name] for name in ("key", "value", "before"))
    tags = {name: text for name, text in _tags(item).items() if name != key}
    if value is not None:
        tags[key] = value
    # As it is now, not as a listing says it, which may lag behind: the next one does.
    now = item | {"tags": tags} | ({"name": value} if key == face.name_tag else {})
    done = f"is tagged {safe(key)}={safe(value)}" if value is not None else f"has no tag {safe(key)} any more"
    undo = ["untag", native, "--", key] if before is None else ["tag", native, "--", f"{key}={before}"]
    if before is not None and "=" in key:  # a cloud has such keys, the grammar cannot write them with a value
        undo = []
    return with_row(
        context,
        kind,
        native,
        Result(f"{label(item.get('name'), native)} {done}.", undo=shlex.join([kind.name, *undo]) if undo else ""),
        lambda: context.session.cache.rows.put(kind, context.session.scope, [now]),
    )


def _tags(item: Item) -> dict[str, str]:
    tags: dict[str, str] = item.get("tags") or {}
    return tags
