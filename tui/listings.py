"""Fills the tables: reads the cache's snapshots, applies what changes, and refreshes what is stale."""

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from backend.cache import Change, RefreshRecord
from backend.cache.documents import CHUNK, EVERYWHERE
from backend.commands import Parsed, command
from backend.errors import CloudmeshError
from backend.format import duration
from backend.kinds import KINDS, Row
from backend.refresh import CANCELLED
from backend.session import Session
from tui.jobs import Job
from tui.widgets.tabbar import Label, TabBar

if TYPE_CHECKING:
    from backend.cache.feed import Feed
    from tui.app import CloudmeshApp
    from tui.runner import Runner

FEED_WAIT = 5.0
"""Seconds that a snapshot waits for the feed, at most: without one it is still a snapshot."""

PAGE = CHUNK
"""Rows that are shown before the rest of their snapshot has been read."""

REREAD_REST = 10.0
"""Times as long as reading a snapshot took, none is read again because another dashboard's refresh goes on."""

RETRY_REFRESH = 30.0
"""Seconds after which a refresh that failed by itself is tried again by itself."""


class Listings:
    """The rows of one session's cloud on the app's tables; another session has another.

    Once `close` is called nothing that is still being read is painted. All methods are of the event loop.
    """

    def __init__(self, app: "CloudmeshApp", session: Session, feed: "Feed", runner: "Runner") -> None:
        self._app = app
        self._session = session
        self._runner = runner
        self._feed = feed
        self._closed = False
        self._records: dict[str, RefreshRecord] = {}
        self._counts: dict[str, int] = {}
        self._loading: dict[str, list[Change]] = {}
        """Kinds whose snapshot is being read, each with the changes told of meanwhile."""
        self._again: set[str] = set()
        """Kinds to be read once more when that is done."""
        self._reading = Lock()
        """Held while a snapshot is read: that of the shown tab is read first, and none waits for a share of it."""
        self._owed: set[str] = set()
        """Kinds of which another dashboard's refresh has written rows that are not read yet."""
        self._rest: dict[str, float] = {}
        """Until when the batches of another dashboard's refresh do not have each kind read again."""
        self._tried: dict[str, float] = {}
        """When each kind was last refreshed by itself: a failing one is not tried at every tick."""

    def close(self) -> None:
        """Paint nothing any more."""
        self._closed = True

    def load_all(self, *, empty: bool = False) -> None:
        """Read every snapshot, that of the shown tab first; `empty` takes away the rows of another cloud at once."""
        shown = self._app.main.kind
        for kind in sorted(KINDS, key=lambda name: name != shown):
            if empty:
                table = self._app.main.table_of(kind)
                table.load(())
                table.notice = "Reading the cache …"
            self.load(kind)

    def load(self, kind_name: str) -> None:
        """Read the snapshot of a kind into its table."""
        session = self._session
        if kind_name in self._loading:
            self._again.add(kind_name)
            return
        self._loading[kind_name] = []
        kind = KINDS[kind_name]

        def read(_job: Job) -> tuple[list[Row], RefreshRecord, float]:
            self._feed.wait(FEED_WAIT)  # what is written after the snapshot must be told of
            rows: list[Row] = []
            with self._reading:
                began = monotonic()
                for page in session.cache.pages(kind, session.scope):
                    rows += page
                    if len(rows) == PAGE:  # more will follow; these are on screen meanwhile
                        self._app.call_later(begin, page)
                return rows, session.cache.refreshed(kind, session.scope), monotonic() - began

        def begin(page: list[Row]) -> None:
            table = self._app.main.table_of(kind_name)
            if not self._closed and not table.total:
                table.load(page)

        def show(found: tuple[list[Row], RefreshRecord, float]) -> None:
            if self._closed:
                return
            rows, self._records[kind_name], seconds = found
            self._rest[kind_name] = monotonic() + REREAD_REST * seconds
            table = self._app.main.table_of(kind_name)
            table.tick(self._app.now())
            table.load(rows)
            self._explain(kind_name)
            for change in self._loading.pop(kind_name, []):
                table.apply(change.upserts, change.removed)
            self._counted(kind_name)
            if kind_name in self._again:
                self._again.discard(kind_name)
                self.load(kind_name)
            else:
                self.freshen(kind_name)

        def fail(error: CloudmeshError) -> None:
            if not self._closed:
                self._loading.pop(kind_name, None)
                self._again.discard(kind_name)
                self._app.main.table_of(kind_name).notice = "" if self._counts.get(kind_name) else error.message
                self._app.show_error(error)

        self._app.start(Job("", read, show, fail))

    def changed(self, change: Change) -> tuple[Row, ...]:
        """Show a change of the cache and return the rows that it brought, where it concerns this cloud."""
        if change.scope not in (self._session.scope, EVERYWHERE):
            return ()
        if change.record is not None:
            self._records[change.kind] = change.record
            self._explain(change.kind)
        record = change.record
        running = record is not None and record.batch > 0
        lacking = record is not None and (self._lacks_rows(record) or change.kind in self._owed)
        if change.reread or (lacking and not running):
            if running and (change.kind in self._loading or monotonic() < self._rest.get(change.kind, 0)):
                self._owed.add(change.kind)
            else:
                self._owed.discard(change.kind)
                self.load(change.kind)
        elif change.upserts or change.removed:
            if change.kind in self._loading:
                self._loading[change.kind].append(change)
            self._app.main.table_of(change.kind).apply(change.upserts, change.removed)
        self._counted(change.kind)
        return change.upserts

    def _lacks_rows(self, record: RefreshRecord) -> bool:
        """Return whether a listing ended with other rows than are shown: two dashboards refreshed at once."""
        kind = KINDS[record.kind]
        shown = self._app.main.table_of(kind.name).total
        if record.started is None or record.finished is None or record.finished < record.started or record.error:
            return False
        return not kind.by_row and kind.name not in self._loading and record.count != shown

    def _explain(self, kind: str) -> None:
        """Where a table is empty because its listing failed, or has not come yet, say so there too."""
        record = self._records[kind]
        if record.finished is None and record.error is None and self._session.refresh:
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
            stale = age is not None and age > self._session.settings.max_age[name]
            count = self._counts.get(name) if age is not None or self._counts.get(name) else None
            labels[name] = Label(count, duration(age) if age is not None else "", stale)
        self._app.main.query_one(TabBar).labels = labels

    def freshen(self, kind: str) -> None:
        """Refresh a kind behind what is shown, when refresh is on and its listing is stale.

        What the user has cancelled since is left until it is asked for.
        """
        session = self._session
        if not session.refresh or kind not in self._records:
            return
        if kind in self._tried and self._records[kind].error == CANCELLED:
            return
        age = self._records[kind].age(self._app.now())
        wait = session.settings.max_age[kind]
        if kind == "vm":
            wait = min(wait, session.settings.poll.settled)
        tried = self._tried.get(kind)
        if (age is None or age >= wait) and (tried is None or monotonic() - tried >= min(wait, RETRY_REFRESH)):
            self._tried[kind] = monotonic()
            self._runner.run([Parsed(command(f"{kind} refresh"), {})], quiet=age is not None)
