"""Opens the cache and follows its changes: one session, with its tables, watchers and runner."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from textual.message import Message

from backend.account import Identity
from backend.callbacks import ignore
from backend.errors import CacheLostError, CloudmeshError, ConfigError
from backend.format import in_words
from backend.kinds.model import Kind, Scope
from backend.log import logger
from backend.session import Session, SettingChange
from backend.watch import Watcher, Watchers
from tui.asking import Asking
from tui.host import Host, Tables
from tui.jobs import Job
from tui.listings import Listings
from tui.messages import CacheChanged, CacheConnection, Reported
from tui.results import Results
from tui.runner import Runner
from tui.searching import Searching

if TYPE_CHECKING:
    from backend.cache import Change
    from backend.cache.feed import Feed


class Starts(Protocol):
    """Opens the session; see tui.cli.Launch."""

    def open(self) -> Session:
        """Open the cache and return the session; blocks."""


@dataclass(frozen=True)
class Parts:
    """The parts that work on one session; a switch to another cloud makes new ones."""

    watchers: dict[str, Watchers]
    """By kind, for each kind that has flights."""
    listings: Listings
    searching: Searching
    runner: Runner
    asking: Asking
    results: Results

    def close(self) -> None:
        """Stop all parts."""
        for watchers in self.watchers.values():
            watchers.close()
        self.listings.close()
        self.searching.close()
        self.runner.close()


class Following:
    """The session on screen, and the feed of its cache; a switch to another cloud makes a new session.

    All methods run on the event loop; `post` sends it a message from any thread.
    """

    def __init__(
        self,
        launch: Starts,
        host: Host,
        tables: Tables,
        post: Callable[[Message], object],
        *,
        reopen_every: float,
        on_unusable: Callable[[ConfigError], None],
        on_change: Callable[[], None],
    ) -> None:
        """`on_unusable` gets an error that only the user can fix; `on_change` is called when `location` may differ."""
        self._launch = launch
        self._host = host
        self._tables = tables
        self._post = post
        self._reopen_every = reopen_every
        self._on_unusable = on_unusable
        self._on_change = on_change
        self._closing = ExitStack()
        self._feed: Feed | None = None
        self.session: Session | None = None
        self.parts: Parts | None = None
        self.lost: CloudmeshError | None = None
        """Why the cache is unreachable now; None if it is not."""
        self._identities: dict[str, Identity | None] = {}
        """Who you are, by cloud, as far as it is known."""
        self._until_back: CloudmeshError | None = None
        """The last error that becomes untrue when the cache is back."""

    def close(self) -> None:
        """Close the feed and all parts, without waiting for a thread."""
        if self.parts:
            self.parts.close()
        self._closing.close()

    @property
    def location(self) -> list[str]:
        """Clouds, regions, cache and modes; nothing before the cache is open."""
        session = self.session
        if session is None:
            return []
        lasting = " (will not last)" if session.cache.mode == "memory" else ""
        words = [*in_words(session.scopes), session.cache.mode + lasting]
        one_cloud = all(scope.cloud == session.cloud.name for scope in session.scopes)
        if one_cloud and (who := self._identities.get(session.cloud.name)):
            words.insert(-1, who.text)
        if not session.refresh:
            words.append("refresh off")
        if session.cache.refusal:
            words.append("cache read-only")
        elif locked := [scope for scope in session.scopes if session.at(scope).locked]:
            words.append("read-only" if len(locked) == len(session.scopes) else f"{len(locked)} read-only")
        return [*words, "CACHE LOST"] if self.lost else words

    def retract_when_back(self, error: CloudmeshError) -> None:
        """Retract an error when the cache is back, because everything is then read again."""
        self._until_back = error

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the cache in a job; do nothing while that job runs."""

        def opened(_job: Job) -> Session:
            return self._launch.open()

        self._host.start(Job("Opening the cache", opened, self._opened, self._not_opened, key="open"))

    def ready(self) -> Parts | None:
        """Return the parts of the session; if the cache is not open, show an error, open it and return None."""
        if self.parts is None:
            self.open()  # the user may have cancelled the job
            self._host.show_error(CloudmeshError("The cache is not open yet.", "Try again in a moment."))
        return self.parts

    def _not_opened(self, error: CloudmeshError) -> None:
        if isinstance(error, ConfigError):
            self._on_unusable(error)
            return
        self.lost = error
        self._host.show_error(error)
        again = isinstance(error, CacheLostError)
        self.notice(f"{error.message} Trying again …" if again else str(error))
        if again:
            self._host.later(self._reopen_every, self.open)

    def notice(self, text: str) -> None:
        """Show `text` in every table that has no rows."""
        for kind in self._tables.kinds:
            self._tables.table_of(kind).notice = text

    def _opened(self, session: Session) -> None:
        if self.lost:
            self._host.retract(self.lost)
            self.lost = None
        from backend.cache.feed import Feed

        self._feed = Feed(
            session.cache,
            self._tables.kinds.values(),
            lambda change: self._post(CacheChanged(change)),
            lambda lost: self._post(CacheConnection(lost)),
        )
        self._closing.callback(self._feed.close)
        for text in (*session.settings.warnings, session.cache.note):
            if text:
                logger.warning("%s", text)
                self._host.warn(text)
        self._switch(session, self._feed)

    # --- one session, then another ------------------------------------------------------------------------------------

    def _switch(self, session: Session, feed: "Feed") -> None:
        if self.parts:
            self.parts.close()
        self.session, self.parts = session, self._new_parts(session, feed)
        if session.cache.refusal is None:  # watchers write to the cache
            for watchers in self.parts.watchers.values():
                watchers.start()
        self.parts.listings.load_all(empty=True)
        self.parts.runner.recover()
        self._on_change()
        self._identify(session)

    def _identify(self, session: Session) -> None:
        """Find out, in a job, who the keys of the current cloud make you, and show it."""

        def found(who: Identity | None) -> None:
            self._identities[session.cloud.name] = who
            self._on_change()

        key = f"identity of {session.cloud.name}"
        self._host.start(Job("", lambda job: session.identity(job.check), found, failed=ignore, key=key))

    def _new_watcher(self, session: Session, kind: Kind, scope: Scope) -> Watcher:
        return Watcher(
            session.cache,
            kind,
            scope,
            session.at(scope).connect,
            session.settings.poll,
            report=lambda text: self._post(Reported(text)),
            trouble=lambda text: self._post(Reported(text, trouble=True)),
        )

    def _new_parts(self, session: Session, feed: "Feed") -> Parts:
        watchers = {
            kind.name: Watchers(session.cache, kind, session.scopes_of(kind), partial(self._new_watcher, session, kind))
            for kind in self._tables.kinds.values()
            if kind.has_flights
        }
        runner = Runner(self._host, session)
        asking = Asking(self._host, self._tables, runner)
        results = Results(self._host, self._tables, runner, asking)
        runner.on_end = results.ended
        listings = Listings(self._host, self._tables, session, feed, runner, reread_every=self._reopen_every)
        searching = Searching(self._host, self._tables, session, listings.counted)
        listings.on_left = self.filtered
        return Parts(watchers, listings, searching, runner, asking, results)

    def logged_in(self) -> None:
        """Refresh what is shown, and find out who you are, with other keys."""
        if self.session is not None and self.parts is not None:
            self._identify(self.session)
            self.parts.listings.retry()

    def apply(self, change: SettingChange) -> None:
        """Change a setting of the current session."""
        if self.session is None or self.parts is None or self._feed is None:
            return
        session = self.session.changed(change)
        if session.scopes != self.session.scopes:
            self._switch(session, self._feed)
            return
        self.session = self.parts.runner.session = session  # same scopes: the rows and the undo stay
        self.parts.listings.go_on(session)
        self._on_change()

    # --- the cache ----------------------------------------------------------------------------------------------------

    def changed(self, change: "Change") -> None:
        """Show a change in the cache, and watch the flights of its rows."""
        if self.parts is None:
            return
        rows = self.parts.listings.changed(change)
        self.parts.searching.outdate()
        if watchers := self.parts.watchers.get(change.kind):
            for row in rows:
                watchers.saw(row)

    def connection(self, lost: str | None) -> None:
        """Show why the cache was lost; None: show that it is back, and read it again."""
        before, self.lost = self.lost, CacheLostError(lost) if lost else None
        self._on_change()
        if self.lost:
            self._host.show_error(self.lost)
            return
        for error in filter(None, (before, self._until_back)):
            self._host.retract(error)
        self._host.say("The cache is back.")
        if self.parts:
            self.parts.listings.load_all()

    def shown(self, kind: str) -> None:
        """Read the kind that is now shown if its rows are not read yet, and refresh it if it is stale."""
        if self.parts:
            self.parts.listings.shown(kind)

    def filtered(self, kind: str) -> None:
        """Search the rows of a kind that its table does not hold, because the filter has changed."""
        if self.parts:
            self.parts.searching.search(kind, self.parts.listings.left(kind))

    def closed(self, kind: str) -> None:
        """Forget the rows of a kind whose tab was closed."""
        if self.parts:
            self.parts.listings.forget(kind)

    def tick(self) -> None:
        """Update the ages, and refresh the shown kind if it is stale."""
        if self.parts:
            self.parts.listings.show_ages()
            self.parts.listings.freshen(self._tables.kind)
