"""What `journal resume` and `journal drop` do with the commands that are left, and the preview of resuming."""

from collections.abc import Sequence
from dataclasses import replace

from backend.catalog import KINDS
from backend.commands.lookup import id_of
from backend.commands.model import Command, Context, Finished, Param, Parsed, Result
from backend.commands.preview import Preview, Target
from backend.commands.production import check_production
from backend.commands.run import allowed, execute_all
from backend.errors import CloudmeshError, RefusedError, UsageError
from backend.format import counted
from backend.journal.entry import Entry
from backend.journal.recovery import check_account, left, not_done, parsed_of
from backend.kinds.model import Kind, Scope
from backend.providers.protocol import Item, Provider
from backend.text import safe


def resume(context: Context) -> Result:
    """Run the commands that are left, under their journal entries; first probe those that may have been done."""
    session = context.session
    ready, failures = _ready(context)
    _check_production(context, [parsed for _, parsed in ready])
    taken = [(entry, parsed) for entry, parsed in ready if entry.taken()]
    if not taken:
        return Result(
            "Nothing was resumed." if failures else "Nothing waits to be resumed.", failure=" ".join(failures)
        )
    try:
        results = execute_all(
            [replace(parsed, production=context.production) for _, parsed in taken],
            session,
            check=context.check,
            entries=[entry for entry, _ in taken],
        )
    except CloudmeshError:
        for entry, _ in taken:
            entry.give_back()
        raise
    done = _gathered(results)
    return replace(done, failure=" ".join(filter(None, [done.failure, *failures])))


def _check_production(context: Context, ready: Sequence[Parsed]) -> None:
    """Raise UsageError if a command would destroy an unconfirmed production object; then none of them starts.

    Each command checks its own object again before it sends anything.
    """
    words: dict[tuple[Scope, str], list[str]] = {}
    for parsed in ready:
        session = parsed.at(context.session)
        if parsed.command.effect == "destroys" and allowed(parsed.command, session):  # else it is refused unasked
            words.setdefault((session.scope, _object_of(parsed)[0].name), []).append(_target(context, parsed))
    for (scope, kind), ids in words.items():
        there = _at(context, scope)
        check_production(there, KINDS[kind], *_items(there.connect(), kind, ids))


def _items(provider: Provider, kind: str, ids: Sequence[str]) -> list[Item]:
    """Return those of the objects that the cloud lists now."""
    return [item for page in provider.of(kind).list(ids=ids) for item in page if item["id"] in ids]


def _ready(context: Context) -> tuple[list[tuple[Entry, Parsed]], list[str]]:
    """Return the commands that can be resumed, and for each of the others why it cannot."""
    ready: list[tuple[Entry, Parsed]] = []
    failures: list[str] = []
    for entry in _chosen(context):
        try:
            parsed = parsed_of(entry)
            there = parsed.at(context.session)
            parsed.bind(there)
            _check_paths(parsed)
            check_account(entry, there, context.check)
        except (UsageError, RefusedError) as error:  # of another version, configuration or account
            failures.append(f"{entry.command}: {error}")
        else:
            ready.append((entry, parsed))
    return ready, failures


def _check_paths(parsed: Parsed) -> None:
    """Raise UsageError for a relative path: an earlier version did not record its folder."""
    for param in parsed.command.params:
        value = parsed.given.get(param.name)
        if param.type == "path" and value and not value.startswith(("/", "~")):
            raise UsageError(
                f"It names {safe(value)}, a path in the folder where it was run, and that folder is not recorded.",
                "Run it again with a full path, and drop this one: journal drop.",
            )


def _chosen(context: Context) -> list[Entry]:
    """Return the commands that are left, or those of them that the user named."""
    only = context.args.get("only")
    return [entry for entry in left(context.session) if not only or entry.token in only.split(",")]


def drop(context: Context) -> Result:
    """Give up the commands that are left."""
    entries = [entry for entry in not_done(context.session) if entry.taken()]
    for entry in entries:
        if entry.outcome == "waiting":
            entry.end("cancelled", "It was not done when its process ended, and was given up later.")
        else:
            entry.end("unknown", "It was sent, no effect was seen, and it was given up.", settled=True)
    what = counted(len(entries), "command")
    return Result(f"{what} that had not been done {'was' if len(entries) == 1 else 'were'} given up.")


def _gathered(results: Sequence[Finished]) -> Result:
    """Return the results of several commands as one result."""
    failed = [error for one in results if (error := one.error)]
    done = len(results) - len(failed)
    message = f"{done} of {len(results)} done." if failed else f"{done} done."
    failure = f"{len(failed)} of {len(results)} failed: {' '.join(dict.fromkeys(map(str, failed)))}" if failed else ""
    return Result(message, parts=tuple(results), failure=failure)


def preview(context: Context, _ids: Sequence[str]) -> Preview:
    """Return what `journal resume` would do: the previews of all its commands."""
    targets: list[Target] = []
    totals: list[str] = []
    tokens: list[str] = []
    groups: dict[tuple[Scope, str], list[tuple[Entry, Parsed]]] = {}
    ready, notes = _ready(context)
    for entry, parsed in ready:
        groups.setdefault((entry.scope, parsed.command.name), []).append((entry, parsed))
    for (scope, name), group in groups.items():
        there = _at(context, scope)
        notes.append(f"{name}: {len(group)}.")
        one = group[0][1].command
        if one.effect == "destroys" and one.preview is not None:
            words = [_target(there, parsed) for _, parsed in group]
            shown = one.preview(there, words)
            left_out = {target.id for target in shown.left_out}
            tokens += [entry.token for (entry, _), word in zip(group, words, strict=True) if word not in left_out]
        else:
            shown = _changes(there, one, [parsed for _, parsed in group])
            tokens += [entry.token for entry, _ in group]
        targets += shown.targets
        totals += shown.totals
        notes += shown.notes
    return Preview(tuple(targets), tuple(totals), {"only": ",".join(tokens)}, tuple(notes))


def _changes(context: Context, one: Command, group: Sequence[Parsed]) -> Preview:
    """Return a preview of commands that destroy nothing: the line of each, and what it would lose."""
    if one.preview is None:
        return Preview(tuple(Target(parsed.line, safe(parsed.line)) for parsed in group))
    words = [_target(context, parsed) for parsed in group]
    seen = {target.id: target for target in one.preview(context, words).targets}
    return Preview(
        tuple(
            replace(seen[word], id=parsed.line, name=safe(parsed.line), left_out="", final=False)
            for word, parsed in zip(words, group, strict=True)
        )
    )


def _target(context: Context, parsed: Parsed) -> str:
    """Return the id of the object that a command acts on; its name if no object, or several, have that name."""
    kind, param = _object_of(parsed)
    there = context if parsed.scope is None else _at(context, parsed.scope)
    return id_of(there, kind, parsed.given[param.name])


def _at(context: Context, scope: Scope) -> Context:
    """Return the context in another scope."""
    return replace(context, session=context.session.at(scope))


def _object_of(parsed: Parsed) -> tuple[Kind, Param]:
    param = parsed.command.object
    if param is None or param.kind is None:
        raise UsageError(f"{parsed.command.name} names no object.")
    return KINDS[param.kind], param
