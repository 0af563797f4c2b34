"""Fills the tables: reads snapshots of the cache, applies its changes, and refreshes stale kinds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from backend.cache import Change, RefreshRecord
from backend.cache.keys import EVERYWHERE
from backend.callbacks import ignore
from backend.commands.lookup import cannot
from backend.commands.model import Parsed
from backend.errors import CacheLostError, CloudmeshError
from backend.format import counted, duration
from backend.kinds.model import Kind, Ref, Row, Scope, places
from backend.refresh import CANCELLED
from backend.session import Session
from tui.host import Host, Tables
from tui.jobs import Job
from tui.widgets.keyline import FRAME
from tui.widgets.tabbar import Label

if TYPE_CHECKING:
    from backend.cache.feed import Feed
    from tui.runner import Runner

FEED_WAIT = 5.0
"""At most N seconds the first snapshots wait for the feed; then they are read without it."""

REREAD_REST = 10.0
"""While another dashboard refreshes, a snapshot is read again only after N times the seconds that the last took."""

RETRY_REFRESH = 30.0
"""Seconds after which an automatic refresh that failed is tried again."""


HELD = 200_000
"""At most N rows of a vast kind are held besides those of the home scope, at about 570 bytes each. The rows of further
scopes stay in the cache, and tui/searching.py finds them there."""

EMPTY = 900.0
"""Seconds after which a region without any object of a kind is listed again, if it is one of several that are shown."""

HANGS = 120.0
"""Seconds for which a refresh in one of several regions may wait for an answer before it is tried again."""


class Listings:
    """Fills the tables with the rows of the chosen scopes; a switch to others makes a new one.

    After `close`, what is still being read is not painted. All methods run on the event loop.
    """

    def __init__(
        self,
        host: Host,
        tables: Tables,
        session: Session,
        feed: "Feed",
        runner: "Runner",
        *,
        reread_every: float,
    ) -> None:
        """`reread_every`: seconds until a failed read of the cache is tried again."""
        self._host = host
        self._tables = tables
        self._session = session
        self._runner = runner
        self._feed = feed
        self._reread_every = reread_every
        self._feed_by = monotonic() + FEED_WAIT
        self._closed = False
        self._records: dict[str, dict[Scope, RefreshRecord]] = {}
        """By kind, the record of its last refresh in each scope, once its rows are read."""
        self._counts: dict[str, int] = {}
        self._having: dict[str, list[Scope]] = {}
        """By kind, the scopes whose cloud has it; asked at every change, so it is found out once."""
        self._waiting: list[str] = []
        """Kinds whose snapshot will be read, in this order and one at a time: the shown tab comes first."""
        self._reading = ""
        """The kind whose snapshot is being read; "" when none is."""
        self._meanwhile: list[Change] = []
        """The changes of that kind since the read began."""
        self._stale: set[str] = set()
        """Kinds with rows of another dashboard's refresh that are not read so far."""
        self._rest: dict[str, float] = {}
        """Until when batches of another dashboard's refresh cause no new read, by kind."""
        self._tried: dict[tuple[str, Scope], float] = {}
        """When each kind was last refreshed automatically: a failing refresh is not tried at every tick."""
        self._left: dict[str, frozenset[Scope]] = {}
        """By vast kind, the scopes whose rows are left in the cache because there are too many to hold."""
        self.on_left: Callable[[str], None] = ignore
        """Called with a kind when other scopes of it are left: its filter must search these."""
        self._lacked: dict[str, frozenset[Scope]] = {}
        """The same when its table was last filled: of these it has only what a search has found since."""

    def close(self) -> None:
        """Stop painting."""
        self._closed = True

    def go_on(self, session: Session) -> None:
        """Continue with the same scopes and other settings."""
        self._session = session
        for kind in self._records:
            self._explain(kind)
        self.freshen(self._tables.kind)

    def load_all(self, *, empty: bool = False) -> None:
        """Read the snapshots of all open kinds, the shown one first; `empty`: first remove all rows."""
        shown = self._tables.kind
        kinds = sorted(filter(self._tables.is_open, self._tables.kinds), key=lambda name: name != shown)
        for kind in kinds:
            if empty:
                self._empty(kind)
        self.load(*kinds)

    def load(self, *kinds: str) -> None:
        """Read the snapshots of these kinds into their tables, one after the other."""
        self._waiting += [kind for kind in kinds if kind not in self._waiting]
        if not self._reading and self._waiting and not self._closed:
            self._read(self._waiting.pop(0))

    def shown(self, kind: str) -> None:
        """Read the snapshot of a kind that was just opened; refresh a kind that was open if it is stale."""
        if kind in self._records or kind in (self._reading, *self._waiting):
            self.freshen(kind)
        else:
            self._empty(kind)
            self.load(kind)

    def forget(self, kind: str) -> None:
        """Forget the rows of a kind whose tab was closed."""
        self._tables.table_of(kind).load(())
        for known in (self._records, self._counts, self._rest, self._left, self._lacked):
            known.pop(kind, None)
        self._tried = {key: when for key, when in self._tried.items() if key[0] != kind}
        self._stale.discard(kind)
        self._waiting = [name for name in self._waiting if name != kind]
        self.show_ages()

    def _empty(self, kind: str) -> None:
        table = self._tables.table_of(kind)
        table.load(())
        table.show_places(places(table.kind, self._session.scopes))
        table.notice = "Reading the cache …"

    def _scopes_of(self, kind: str) -> Sequence[Scope]:
        return self._session.scopes_of(self._tables.kinds[kind])

    def _read(self, kind_name: str) -> None:
        session, kind, table = self._session, self._tables.kinds[kind_name], self._tables.table_of(kind_name)
        self._reading, self._meanwhile = kind_name, []

        outgrown = self.left(kind_name)

        def read(job: Job) -> _Snapshot:
            self._feed.wait(max(0.0, self._feed_by - monotonic()))  # it reports all later writes
            began = monotonic()
            rows: list[Row] = []
            held, left = session.scopes, frozenset[Scope]()
            if kind.vast and len(held) > 1:
                held, left = _holdable({scope: session.cache.refreshes.of(kind, scope) for scope in held}, outgrown)
            pages = chain.from_iterable(session.cache.rows.pages(kind, scope) for scope in held)
            for number, page in enumerate(pages):
                if self._closed:
                    break
                if number == 1:  # more than a page: show the first while the others are read
                    job.deliver(rows[:])
                rows += page
            records = {scope: session.cache.refreshes.of(kind, scope) for scope in session.scopes}
            return _Snapshot(rows, records, left, monotonic() - began)

        def begin(page: list[Row]) -> None:
            if not self._closed and not table.total and self._tables.is_open(kind_name):
                table.load(page)

        def show(found: _Snapshot) -> None:
            if self._closed:
                return
            self._reading, meanwhile = "", self._meanwhile
            if self._tables.is_open(kind_name):
                newer = {change.scope: change.record for change in meanwhile if change.record}
                self._records[kind_name] = found.records | newer
                self._rest[kind_name] = monotonic() + REREAD_REST * found.seconds
                before = self._lacked.get(kind_name, frozenset())
                self._left[kind_name] = found.left
                table.tick(self._host.now())
                searched = [row for scope in self._lacked.get(kind_name, ()) for row in table.rows.of(scope)]
                self._lacked[kind_name] = found.left
                rows = found.rows + searched if searched else found.rows
                table.load(_with(kind, rows, [one for one in meanwhile if one.scope not in found.left]))
                self._explain(kind_name)
                self.counted(kind_name)
                if found.left != before:
                    self.on_left(kind_name)
                if kind_name not in self._waiting:
                    self.freshen(kind_name)
            # Paint these rows before others are read. call_after_refresh would be lost when a window closes.
            self._host.later(FRAME, self.load)

        def fail(error: CloudmeshError) -> None:
            if self._closed:
                return
            self._reading = ""
            if self._tables.is_open(kind_name):
                table.notice = "" if self._counts.get(kind_name) else error.message
                # The feed reports a lost cache, and all is read again when it is back.
                if not isinstance(error, CacheLostError):
                    self._host.show_error(error)
                    self._host.later(self._reread_every, lambda: self._reread(kind_name))
            self.load()

        self._host.start(Job("", read, show, fail, on_part=begin))

    def _reread(self, kind: str) -> None:
        if self._tables.is_open(kind):
            self.load(kind)

    def changed(self, change: Change) -> tuple[Row, ...]:
        """Show a change of the cache; return its rows if it concerns these scopes."""
        if change.scope not in (*self._session.scopes, EVERYWHERE):
            return ()
        if change.kind == self._reading:
            self._meanwhile.append(change)
        if not self._tables.is_open(change.kind):
            return change.upserts
        if change.record is not None:
            self._records.setdefault(change.kind, {})[change.scope] = change.record
            self._explain(change.kind)
        record = change.record
        running = record is not None and record.batch > 0
        stale = record is not None and (self._lacks_rows(record) or change.kind in self._stale)
        if change.reread or (stale and not running):
            if running and (change.kind == self._reading or monotonic() < self._rest.get(change.kind, 0)):
                self._stale.add(change.kind)
            else:
                self._stale.discard(change.kind)
                self.load(change.kind)
        elif self._leaves(change):
            self._left[change.kind] = self.left(change.kind) | {change.scope}
            self.load(change.kind)
        elif change.upserts or change.removed:
            table, upserts = self._tables.table_of(change.kind), change.upserts
            if change.scope in self.left(change.kind):  # of these the table has what a search finds
                upserts = tuple(row for row in upserts if table.rows.row(table.kind.ref(row)) or table.rows.finds(row))
            table.apply(upserts, change.removed)
        self.counted(change.kind)
        return change.upserts

    def _leaves(self, change: Change) -> bool:
        """Return whether the rows of a change are more of another scope than are held, so that its rows must go."""
        kind, left = self._tables.kinds[change.kind], self.left(change.kind)
        if not kind.vast or not change.upserts or change.scope in (self._session.scope, *left):
            return False
        rows = self._tables.table_of(kind.name).rows
        return rows.total - rows.count(self._session.scope) + len(change.upserts) > HELD

    def left(self, kind: str) -> frozenset[Scope]:
        """Return the scopes whose rows are left in the cache because there are too many to hold."""
        return self._left.get(kind, frozenset())

    def _lacks_rows(self, record: RefreshRecord) -> bool:
        """Return whether a listing ended with other rows than the table has: two dashboards refreshed at once."""
        kind = self._tables.kinds[record.kind]
        if Scope(record.cloud, record.region) in self.left(kind.name):
            return False
        shown = self._tables.table_of(kind.name).rows.count(Scope(record.cloud, record.region))
        if record.started is None or record.finished is None or record.finished < record.started or record.error:
            return False
        return not kind.by_row and kind.name != self._reading and record.count != shown

    def _explain(self, kind: str) -> None:
        """Show in an empty table that its listing failed, or has not ended."""
        listed_in = self._scopes_of(kind)
        records = [record for scope, record in self._records[kind].items() if scope in listed_in]
        if not self._askable(kind):
            notice = cannot(self._session, self._tables.kinds[kind].nouns).message
        elif any(record.finished is None and record.error is None for record in records) and self._session.fetches:
            notice = f"Fetching the {self._tables.kinds[kind].nouns} …"
        else:
            failed = [record.error for record in records if record.error]
            notice = failed[0] if failed and len(failed) == len(records) else ""
        self._tables.table_of(kind).notice = notice

    def _askable(self, kind: str) -> list[Scope]:
        """Return the scopes in which a kind is listed by itself, where their cloud has it."""
        listed_in = self._scopes_of(kind)
        return [scope for scope in self._having_of(kind) if scope in listed_in]

    def _having_of(self, kind: str) -> list[Scope]:
        """Return the scopes whose cloud has a kind."""
        if kind not in self._having:
            self._having[kind] = [scope for scope in self._session.scopes if self._session.at(scope).has(kind)]
        return self._having[kind]

    def counted(self, kind: str) -> None:
        """Show how many rows of a kind there are: those of its table, and those that are left in the cache."""
        rows, records = self._tables.table_of(kind).rows, self._records.get(kind, {})
        beyond = (records[scope].count - rows.count(scope) for scope in self.left(kind) if scope in records)
        self._counts[kind] = rows.total + sum(beyond)
        self.show_ages()
        self._tables.count(kind)

    def show_ages(self) -> None:
        """Show how many rows each tab has and how old they are."""
        now = self._host.now()
        labels = {}
        for name in filter(self._tables.is_open, self._tables.kinds):
            known = self._records.get(name, {})
            listed = [record for record in known.values() if record.finished is not None]
            filled = [record for record in listed if record.count]  # an empty region is asked rarely
            age = max((record.age(now) or 0.0 for record in filled or listed), default=None)
            stale = age is not None and age > self._session.settings.max_age_of(self._tables.kinds[name])
            count = self._counts.get(name) if age is not None or self._counts.get(name) else None
            labels[name] = Label(count, duration(age) if age is not None else "", stale, self._note(name))
        self._tables.label(labels)
        self._tables.trouble(self._trouble())

    def _note(self, kind: str) -> str:
        """Return how many of several regions a tab shows as they are: "3 of 17 regions"; "" if all, or there is one.

        A vast kind is listed only where the user has asked for it: its tab counts the regions that have been listed.
        """
        if len(self._session.scopes) == 1:
            return ""
        known = self._records.get(kind, {})
        scopes = self._having_of(kind)
        good = [scope for scope in scopes if (one := known.get(scope)) and one.finished and not one.error]
        return "" if len(good) == len(scopes) else f"{len(good)} of {counted(len(scopes), 'region')}"

    def failures(self, kinds: Iterable[str]) -> list[RefreshRecord]:
        """Return the records of these kinds in the scopes where their last refresh failed."""
        found = (record for kind in kinds for record in self._records.get(kind, {}).values())
        return [record for record in found if record.error and record.error != CANCELLED]

    def _trouble(self) -> str:
        """Return one line about the scopes where the shown kind could not be refreshed; "" if one scope is shown."""
        kind = self._tables.kind
        failed = self.failures([kind]) if len(self._session.scopes) > 1 else []
        if not failed:
            return ""
        regions = counted(len(self._session.scopes), "region")
        first = f"{failed[0].cloud} {failed[0].region}: {failed[0].error}"
        return f"{len(failed)} of {regions} failed, and their rows are old. E lists why. {first}"

    def retry(self) -> None:
        """Refresh the shown kind if it is stale, even if that was tried a moment ago."""
        self._tried.clear()
        self.freshen(self._tables.kind)

    def freshen(self, kind: str) -> None:
        """Refresh a kind in the background if refresh is on and its listing is stale.

        A refresh that the user cancelled is not repeated automatically.
        """
        if not self._session.fetches or kind not in self._records:
            return
        refresh = next((one for one in self._host.commands if one.refreshes == kind), None)
        stale = [scope for scope in self._askable(kind) if self._is_stale(kind, scope)]
        if refresh is None or not stale:
            return
        self._tried |= dict.fromkeys([(kind, scope) for scope in stale], monotonic())
        known = all(self._records[kind][scope].finished is not None for scope in stale)
        among = tuple(stale) if len(self._session.scopes) > 1 else ()
        self._runner.run([Parsed(refresh, {}, among=among)], quiet=known, automatic=True)

    def _is_stale(self, kind: str, scope: Scope) -> bool:
        """Return whether a kind is due for an automatic refresh in a scope."""
        record, tried = self._records[kind].get(scope), self._tried.get((kind, scope))
        if record is None:  # it came while the rows were read
            return False
        if tried is not None and record.error == CANCELLED:
            return False
        since = None if tried is None else monotonic() - tried
        several = len(self._session.scopes) > 1
        if several and record.lease and since is not None and since < HANGS:
            return False  # it waits for an answer: the others are refreshed without it
        age = record.age(self._host.now())
        wait = self._session.settings.max_age_of(self._tables.kinds[kind])
        if self._tables.kinds[kind].poll:
            wait = min(wait, self._session.settings.poll.settled)
        if several and record.finished and not record.count and not record.error:
            wait = max(wait, EMPTY)
        return (age is None or age >= wait) and (since is None or since >= min(wait, RETRY_REFRESH))


class _Snapshot(NamedTuple):
    """What a read of the cache has found."""

    rows: list[Row]
    records: dict[Scope, RefreshRecord]
    left: frozenset[Scope]
    """The scopes whose rows were not read, because there are too many to hold."""
    seconds: float


def _holdable(
    records: Mapping[Scope, RefreshRecord], left: frozenset[Scope] = frozenset()
) -> tuple[tuple[Scope, ...], frozenset[Scope]]:
    """Return the scopes whose rows are held, at most HELD besides those of the first, and those that are left.

    Those in `left` stay there: their listing may be under way, and ahead of its record.
    """
    home, *others = records
    held, room = [home], HELD
    for scope in others:
        rows = max(records[scope].count, records[scope].batch)
        if rows <= room and scope not in left:
            held.append(scope)
            room -= rows
    return tuple(held), frozenset(records).difference(held)


def _with(kind: Kind, rows: list[Row], changes: Iterable[Change]) -> list[Row]:
    """Return the rows of a snapshot with the changes that came while it was read."""
    latest: dict[Ref, Row | None] = {}
    for change in changes:
        latest |= dict.fromkeys(change.removed)
        latest |= {kind.ref(row): row for row in change.upserts}
    if not latest:
        return rows
    # Make a Ref only of rows that may have changed: there may be 200,000.
    index, ids = kind.index["id"], {ref.id for ref in latest}
    there = {kind.ref(row) for row in rows if row[index] in ids}
    found = [latest.get(kind.ref(row), row) if row[index] in ids else row for row in rows]
    found += [row for ref, row in latest.items() if ref not in there]
    return [row for row in found if row is not None]
