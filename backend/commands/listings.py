"""What `KIND refresh`, `KIND list`, `KIND export` and `refresh` do."""

from collections.abc import Callable

from backend import export
from backend.catalog import KINDS
from backend.commands.lookup import fetch, find
from backend.commands.model import Context, Result
from backend.config import expanded
from backend.errors import CloudmeshError
from backend.format import counted
from backend.kinds.model import Kind
from backend.refresh import Difference, refresh_many
from backend.session import SettingChange, cloud_named
from backend.state import remember


def refresh_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND refresh`."""

    def run(context: Context) -> Result:
        done = fetch(context, kind)
        return Result(message=summary(done), kind=kind, differences=(done,))

    return run


def list_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND list`: from the cache when refresh is off, fetched first when it is on.

    When fetching fails, the result has the rows of the cache and the failure.
    """

    def run(context: Context) -> Result:
        failure = _fetched(context, kind)
        rows = tuple(context.session.cache.rows.snapshot(kind, context.session.scope))
        return Result(kind=kind, rows=rows, failure=failure)

    return run


def export_kind(kind: Kind) -> Callable[[Context], Result]:
    """Return the function of `KIND export`: all rows, or those that are named, into a file."""

    def run(context: Context) -> Result:
        path = expanded(context.args["file"])
        export.check(path)
        failure = "" if context.args["only"] else _fetched(context, kind)
        if context.args["only"]:
            known = {
                str(kind.value(row, "id")): row
                for row in context.session.cache.rows.snapshot(kind, context.session.scope)
            }
            rows = [known.get(word) or find(context, kind, word) for word in context.args["only"].split(",")]
        else:
            rows = context.session.cache.rows.snapshot(kind, context.session.scope)
        export.write(kind, rows, path)
        what = counted(len(rows), kind.noun, kind.nouns)
        return Result(f"{what} written to {path}.", failure=failure)

    return run


def _fetched(context: Context, kind: Kind) -> str:
    """Fetch a listing if refresh is on, and return why that failed, "" if it did not."""
    if context.session.fetches:
        try:
            fetch(context, kind)
        except CloudmeshError as error:
            return str(error)
    return ""


def refresh_all(context: Context) -> Result:
    """Refresh every kind; one that fails leaves the others refreshed."""
    session = context.session
    done = refresh_many(
        [kind for kind in KINDS.values() if session.has(kind.name)],
        session.connect,
        session.cache,
        session.scope,
        check=context.check,
        progress=context.progress,
        on_wait=context.on_wait,
    )
    failures = [one.error for one in done if one.error]
    message = "; ".join(summary(one) for one in done if not one.error)
    return Result(message, differences=tuple(done), failure=" ".join(failures))


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
    """Switch to another configured cloud, now and in later runs."""
    cloud = cloud_named(context.session.settings, context.args["cloud"])
    remember(context.session.settings, context.session.home, cloud=cloud.name)
    message = f"The default cloud is {cloud.name} ({cloud.provider.name}, {cloud.region})."
    return Result(message, setting=SettingChange(cloud=cloud.name))
