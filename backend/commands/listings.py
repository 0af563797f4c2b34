"""What `KIND refresh`, `KIND list`, `KIND export` and `refresh` do."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from backend import export
from backend.catalog import KINDS
from backend.commands.lookup import fetch, find
from backend.commands.model import Context, Result
from backend.config import expanded
from backend.errors import CloudmeshError
from backend.format import counted
from backend.kinds.model import Kind, Row, places
from backend.refresh import Difference, Wanted, refresh_scopes
from backend.scopes import account_numbers, known_regions, named, scopes_named, selected, text_of
from backend.session import Session, SettingChange
from backend.state import remember, remember_choice


def refresh_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND refresh`."""

    def run(context: Context) -> Result:
        session = context.session
        named = context.args.get("region")
        scopes = scopes_named(session.scopes, named) if named else session.scopes_of(kind)
        if len(scopes) == 1:
            done = fetch(replace(context, session=session.at(scopes[0])), kind)
            return Result(message=summary(done), kind=kind, differences=(done,))
        return replace(_refreshed(context, [(kind, scope) for scope in scopes]), kind=kind)

    return run


def list_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND list`: from the cache when refresh is off, fetched first when it is on.

    When fetching fails, the result has the rows of the cache and the failure.
    """

    def run(context: Context) -> Result:
        failure = _fetched(context, kind)
        return Result(kind=kind, rows=tuple(_rows(context.session, kind)), failure=failure)

    return run


def export_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND export`: all rows, or those that are named, into a file."""

    def run(context: Context) -> Result:
        path = expanded(context.args["file"])
        export.check(path)
        failure = "" if context.args["only"] else _fetched(context, kind)
        if context.args["only"]:
            known = {str(kind.value(row, "id")): row for row in _rows(context.session, kind)}
            rows = [known.get(word) or find(context, kind, word) for word in context.args["only"].split(",")]
        else:
            rows = _rows(context.session, kind)
        export.write(kind, rows, path, places(kind, context.session.scopes))
        what = counted(len(rows), kind.noun, kind.nouns)
        return Result(f"{what} written to {path}.", failure=failure)

    return run


def _fetched(context: Context, kind: Kind) -> str:
    """Fetch a listing if refresh is on, and return why that failed, "" if it did not."""
    if not context.session.fetches:
        return ""
    if len(context.session.scopes_of(kind)) > 1:
        return _refreshed(context, _wanted(context.session, [kind])).failure
    try:
        fetch(context, kind)
    except CloudmeshError as error:
        return str(error)
    return ""


def _rows(session: Session, kind: Kind) -> list[Row]:
    """Return the cached rows of a kind in all scopes of the session, one after the other."""
    return [row for scope in session.scopes for row in session.cache.rows.snapshot(kind, scope)]


def refresh_all(context: Context) -> Result:
    """Refresh every kind; one that fails leaves the others refreshed."""
    return _refreshed(context, _wanted(context.session, KINDS.values()))


def _wanted(session: Session, kinds: Iterable[Kind]) -> list[Wanted]:
    """Return each kind with the scopes in which it is listed when nobody names one."""
    return [(kind, scope) for kind in kinds for scope in session.scopes_of(kind)]


def _refreshed(context: Context, wanted: Iterable[Wanted]) -> Result:
    """Refresh kinds in the scopes that have them; one that fails leaves the others refreshed."""
    session = context.session
    done = refresh_scopes(
        [(kind, scope) for kind, scope in wanted if session.at(scope).has(kind.name)],
        lambda scope, *hooks: session.at(scope).connect(*hooks),
        session.cache,
        check=context.check,
        progress=context.progress,
        on_wait=context.on_wait,
    )
    several = len({(one.cloud, one.region) for one in done}) > 1
    failed = [one for one in done if one.error]
    good = [one for one in done if not one.error]
    return Result(
        _summary_of_scopes(good) if several else "; ".join(map(summary, good)),
        differences=tuple(done),
        failure=" ".join(failures_of(failed) if several else (str(one.error) for one in failed)),
    )


def failures_of(failed: Sequence[Difference]) -> list[str]:
    """Return a sentence for each scope and reason: "aws eu-west-1: vms, volumes: the keys are not accepted."."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for one in failed:
        kinds.setdefault((one.cloud, one.region, str(one.error)), []).append(KINDS[one.kind].plural)
    return [f"{cloud} {region}: {', '.join(plurals)}: {why}" for (cloud, region, why), plurals in kinds.items()]


def _summary_of_scopes(done: Sequence[Difference]) -> str:
    """Return one line about refreshes in several scopes: each kind with its sum."""
    parts = []
    for kind in dict.fromkeys(one.kind for one in done):
        of_kind = [one for one in done if one.kind == kind]
        parts.append(
            f"{KINDS[kind].plural}: {sum(one.count for one in of_kind):,} in {counted(len(of_kind), 'region')}"
        )
    return "; ".join(parts)


def summary(done: Difference) -> str:
    """Return one line about a refresh: "images: 1,177 (12 new, 3 changed, 1 gone) in 2.1 s, refreshed elsewhere"."""
    parts = [
        f"{count:,} {word}"
        for count, word in ((done.added, "new"), (done.changed, "changed"), (done.removed, "gone"))
        if count
    ]
    found = f"{KINDS[done.kind].plural}: {done.count:,} ({', '.join(parts) or 'unchanged'}) in {done.seconds:.1f} s"
    return f"{found}, refreshed elsewhere" if done.shared else found


def switch_refresh(on: bool) -> Callable[[Context], Result]:
    """Return the function of `refresh on` or `refresh off`."""

    def run(context: Context) -> Result:
        remember(context.session.settings, context.session.home, refresh=on)
        message = (
            "refresh is on: what is stale is fetched when it is shown or listed."
            if on
            else "refresh is off: the cache is shown until you ask for a refresh."
        )
        return Result(message, setting=SettingChange(refresh=on))

    return run


def set_default(context: Context) -> Result:
    """Show other clouds and regions, now and in later runs."""
    session, text = context.session, context.args["cloud"]
    known = known_regions(session.settings, session.home, session.connector, context.check)
    found = selected(session.settings, text, known, account_numbers)
    remember(session.settings, session.home, cloud=text)
    remember_choice(session.settings, session.home, text_of(found.scopes), text_of(session.scopes))
    home = session.at(found.scopes[0]).cloud
    message = f"The default cloud is {home.name} ({home.provider.name}, {home.region})."
    if len(found.scopes) > 1:
        message = f"Shown from now on: {named(found.scopes)}."
    return Result(" ".join([message, *found.notes]), setting=SettingChange(scopes=found.scopes))
