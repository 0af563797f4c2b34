"""What `KIND refresh`, `KIND list`, `KIND export` and `refresh` do."""

from collections.abc import Callable

from backend import export
from backend.catalog import KINDS
from backend.commands.lookup import fetch, find
from backend.commands.model import Call, Outcome
from backend.config import expanded
from backend.errors import CloudmeshError
from backend.format import counted
from backend.kinds.model import Kind
from backend.refresh import Difference, refresh_many
from backend.session import SettingChange, cloud_named
from backend.state import remember


def refresh_kind(kind: Kind) -> Callable[[Call], Outcome]:
    """Return the function of `KIND refresh`."""

    def run(call: Call) -> Outcome:
        done = fetch(call, kind)
        return Outcome(message=summary(done), kind=kind, differences=(done,))

    return run


def list_kind(kind: Kind) -> Callable[[Call], Outcome]:
    """Return the function of `KIND list`: from the cache when refresh is off, fetched first when it is on.

    When fetching fails the rows of the cache are listed all the same, and the failure is told.
    """

    def run(call: Call) -> Outcome:
        failure = _fetched(call, kind)
        rows = tuple(call.session.cache.rows.snapshot(kind, call.session.scope))
        return Outcome(kind=kind, rows=rows, failure=failure)

    return run


def export_kind(kind: Kind) -> Callable[[Call], Outcome]:
    """Return the function of `KIND export`: all rows, or those that are named, into a file."""

    def run(call: Call) -> Outcome:
        path = expanded(call.args["file"])
        export.check(path)
        failure = "" if call.args["only"] else _fetched(call, kind)
        if call.args["only"]:
            known = {
                str(kind.value(row, "id")): row for row in call.session.cache.rows.snapshot(kind, call.session.scope)
            }
            rows = [known.get(word) or find(call, kind, word) for word in call.args["only"].split(",")]
        else:
            rows = call.session.cache.rows.snapshot(kind, call.session.scope)
        export.write(kind, rows, path)
        what = counted(len(rows), kind.noun, kind.nouns)
        return Outcome(f"{what} written to {path}.", failure=failure)

    return run


def _fetched(call: Call, kind: Kind) -> str:
    """Fetch a listing where refresh is on, and return why that failed, "" where it did not."""
    if call.session.fetches:
        try:
            fetch(call, kind)
        except CloudmeshError as error:
            return str(error)
    return ""


def refresh_all(call: Call) -> Outcome:
    """Refresh every kind; one that fails leaves the others refreshed."""
    session = call.session
    done = refresh_many(
        [kind for kind in KINDS.values() if session.has(kind.name)],
        session.connect,
        session.cache,
        session.scope,
        check=call.check,
        progress=call.progress,
        waits=call.waits,
    )
    failures = [one.error for one in done if one.error]
    message = "; ".join(summary(one) for one in done if not one.error)
    return Outcome(message, differences=tuple(done), failure=" ".join(failures))


def summary(done: Difference) -> str:
    """Return one line about a refresh: "images: 1,177 (12 new, 3 changed, 1 gone) in 2.1 s, refreshed elsewhere"."""
    parts = [
        f"{count:,} {word}"
        for count, word in ((done.added, "new"), (done.changed, "changed"), (done.removed, "gone"))
        if count
    ]
    found = f"{KINDS[done.kind].plural}: {done.count:,} ({', '.join(parts) or 'unchanged'}) in {done.seconds:.1f} s"
    return f"{found}, refreshed elsewhere" if done.shared else found


def switch_refresh(on: bool) -> Callable[[Call], Outcome]:
    """Return the function of `refresh on` or `refresh off`."""

    def run(call: Call) -> Outcome:
        remember(call.session.settings, call.session.home, refresh=on)
        message = (
            "refresh is on: what is stale is fetched when it is shown or listed."
            if on
            else "refresh is off: the cache is shown until you ask for a refresh."
        )
        return Outcome(message, setting=SettingChange(refresh=on))

    return run


def set_default(call: Call) -> Outcome:
    """Switch to another configured cloud, now and in later runs."""
    cloud = cloud_named(call.session.settings, call.args["cloud"])
    remember(call.session.settings, call.session.home, cloud=cloud.name)
    message = f"The default cloud is {cloud.name} ({cloud.provider.name}, {cloud.region})."
    return Outcome(message, setting=SettingChange(cloud=cloud.name))
