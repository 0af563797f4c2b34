"""Fills the tables: reads the cache's snapshots, applies what changes, and refreshes what is stale."""

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING

from backend.cache import Change, RefreshRecord
from backend.cache.places import EVERYWHERE
from backend.catalog import KINDS
from backend.commands.model import Parsed
from backend.commands.run import cannot
from backend.commands.table import command
from backend.errors import CacheLostError, CloudmeshError
from backend.format import duration
from backend.kinds.model import Kind, Row
from backend.refresh import CANCELLED
from backend.session import Session
from tui.jobs import Job
from tui.widgets.keyline import FRAME
from tui.widgets.tabbar import Label, TabBar

if TYPE_CHECKING:
    from backend.cache.feed import Feed
    from tui.app import CloudmeshApp
    from tui.runner import Runner

FEED_WAIT = 5.0
"""Seconds that the first snapshots wait for the feed, at most: without one they are still snapshots."""

REREAD_REST = 10.0
"""Times as long as reading a snapshot took, none is read again because another dashboard's refresh goes on."""

RETRY_REFRESH = 30.0
"""Seconds after which a refresh that failed by itself is tried again by itself."""


class Listings:
    """The rows of one cloud on the app's tables; another cloud has another.

    Once `close` is called nothing that is still being read is painted. All methods are of the event loop.
    """

    def __init__(self, app: "CloudmeshApp", session: Session, feed: "Feed", runner: "Runner") -> None:
        self._app = app
        self._session = session
        self._runner = runner
        self._feed = feed
        self._feed_by = monotonic() + FEED_WAIT
        self._closed = False
        self._records: dict[str, RefreshRecord] = {}
        self._counts: dict[str, int] = {}
        self._waiting: list[str] = []
        """Kinds whose snapshot is to be read, in this order: one at a time, so that the shown tab's comes first."""
        self._reading = ""
        """The kind whose snapshot is being read; "" when none is."""
        self._told: list[Change] = []
        """The changes of its rows and record that were told of since that began."""
        self._owed: set[str] = set()
        """Kinds of which another dashboard's refresh has written rows that are not read yet."""
        self._rest: dict[str, float] = {}
        """Until when the batches of another dashboard's refresh do not have each kind read again."""
        self._tried: dict[str, float] = {}
        """When each kind was last refreshed by itself: a failing one is not tried at every tick."""

    def close(self) -> None:
        """Paint nothing any more."""
        self._closed = True

    def go_on(self, session: Session) -> None:
        """Go on with the same cloud and other settings."""
        self._session = session
        for kind in self._records:
            self._explain(kind)
        self.freshen(self._app.main.kind)

    def load_all(self, *, empty: bool = False) -> None:
        """Read every snapshot, that of the shown tab first; `empty` takes away the rows of another cloud at once."""
        shown = self._app.main.kind
        kinds = sorted(KINDS, key=lambda name: name != shown)
        for kind in kinds:
            if empty:
                table = self._app.main.table_of(kind)
                table.load(())
                table.notice = "Reading the cache …"
        self.load(*kinds)

    def load(self, *kinds: str) -> None:
        """Read the snapshots of these kinds into their tables, one after the other."""
        self._waiting += [kind for kind in kinds if kind not in self._waiting]
        if not self._reading and self._waiting and not self._closed:
            self._read(self._waiting.pop(0))

    def _read(self, kind_name: str) -> None:
        session, kind, table = self._session, KINDS[kind_name], self._app.main.table_of(kind_name)
        self._reading, self._told = kind_name, []

        def read(_job: Job) -> tuple[list[Row], RefreshRecord, float]:
            self._feed.wait(max(0.0, self._feed_by - monotonic()))  # what is written after this must be told of
            began = monotonic()
            rows: list[Row] = []
            for number, page in enumerate(session.cache.rows.pages(kind, session.scope)):
                if self._closed:
                    break
                if number == 1:  # there is more than a page: the first is on screen while the others come
                    self._app.call_later(begin, rows[:])
                rows += page
            return rows, session.cache.refreshes.of(kind, session.scope), monotonic() - began

        def begin(page: list[Row]) -> None:
            if not self._closed and not table.total:
                table.load(page)

        def show(found: tuple[list[Row], RefreshRecord, float]) -> None:
            if self._closed:
                return
            rows, record, seconds = found
            self._reading, told = "", self._told
            if not any(change.record for change in told):
                self._records[kind_name] = record
            self._rest[kind_name] = monotonic() + REREAD_REST * seconds
            table.tick(self._app.now())
            table.load(_with(kind, rows, told))
            self._explain(kind_name)
            self._counted(kind_name)
            if kind_name not in self._waiting:
                self.freshen(kind_name)
            # These rows are painted before others are read; call_after_refresh would be lost with a window that closes.
            self._app.set_timer(FRAME, self.load)

        def fail(error: CloudmeshError) -> None:
            if self._closed:
                return
            self._reading = ""
            table.notice = "" if self._counts.get(kind_name) else error.message
            if not isinstance(error, CacheLostError):  # the feed tells of that, and all is read again when it is back
                self._app.show_error(error)
                self._app.set_timer(self._app.reopen_every, lambda: self.load(kind_name))
            self.load()

        self._app.start(Job("", read, show, fail))

    def changed(self, change: Change) -> tuple[Row, ...]:
        """Show a change of the cache and return the rows that it brought, where it concerns this cloud."""
        if change.scope not in (self._session.scope, EVERYWHERE):
            return ()
        if change.record is not None:
            self._records[change.kind] = change.record
            self._explain(change.kind)
        if change.kind == self._reading:
            self._told.append(change)
        record = change.record
        running = record is not None and record.batch > 0
        lacking = record is not None and (self._lacks_rows(record) or change.kind in self._owed)
        if change.reread or (lacking and not running):
            if running and (change.kind == self._reading or monotonic() < self._rest.get(change.kind, 0)):
                self._owed.add(change.kind)
            else:
                self._owed.discard(change.kind)
                self.load(change.kind)
        elif change.upserts or change.removed:
            self._app.main.table_of(change.kind).apply(change.upserts, change.removed)
        self._counted(change.kind)
        return change.upserts

    def _lacks_rows(self, record: RefreshRecord) -> bool:
        """Return whether a listing ended with other rows than are shown: two dashboards refreshed at once."""
        kind = KINDS[record.kind]
        shown = self._app.main.table_of(kind.name).total
        if record.started is None or record.finished is None or record.finished < record.started or record.error:
            return False
        return not kind.by_row and kind.name != self._reading and record.count != shown

    def _explain(self, kind: str) -> None:
        """Where a table is empty because its listing failed, or has not come yet, say so there too."""
        record = self._records[kind]
        if not self._session.has(kind):
            notice = cannot(self._session, KINDS[kind].nouns).message
        elif record.finished is None and record.error is None and self._session.fetches:
            notice = f"Fetching the {KINDS[kind].nouns} …"
        else:
            notice = record.error or ""
        self._app.main.table_of(kind).notice = notice

    def _counted(self, kind: str) -> None:
        self._counts[kind] = self._app.main.table_of(kind).total
        self.show_ages()
        if kind == self._app.main.kind:
            self._app.main.show_count()

    def show_ages(self) -> None:
        """Show how many rows each tab has and how old they are."""
        now = self._app.now()
        labels = {}
        for name in KINDS:
            age = self._records[name].age(now) if name in self._records else None
            stale = age is not None and age > self._session.settings.max_age_of(KINDS[name])
            count = self._counts.get(name) if age is not None or self._counts.get(name) else None
            labels[name] = Label(count, duration(age) if age is not None else "", stale)
        self._app.main.query_one(TabBar).labels = labels

    def freshen(self, kind: str) -> None:
        """Refresh a kind behind what is shown, when refresh is on and its listing is stale.

        What the user has cancelled since is left until it is asked for.
        """
        session = self._session
        if not session.fetches or kind not in self._records or not session.has(kind):
            return
        if kind in self._tried and self._records[kind].error == CANCELLED:
            return
        age = self._records[kind].age(self._app.now())
        wait = session.settings.max_age_of(KINDS[kind])
        if KINDS[kind].poll:
            wait = min(wait, session.settings.poll.settled)
        tried = self._tried.get(kind)
        if (age is None or age >= wait) and (tried is None or monotonic() - tried >= min(wait, RETRY_REFRESH)):
            self._tried[kind] = monotonic()
            self._runner.run([Parsed(command(f"{kind} refresh"), {})], quiet=age is not None)


def _with(kind: Kind, rows: list[Row], changes: Iterable[Change]) -> list[Row]:
    """Return the rows of a snapshot as they are after what was told while it was read."""
    index = kind.index["id"]
    latest: dict[str, Row | None] = {}
    for change in changes:
        latest |= dict.fromkeys(change.removed)
        latest |= {row[index]: row for row in change.upserts}
    if not latest:
        return rows
    found = {row[index]: row for row in rows} | latest
    return [row for row in found.values() if row is not None]
