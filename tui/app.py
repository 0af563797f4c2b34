"""CloudmeshApp: wires session, cache feed, jobs and screens together."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rich.text import Text
from textual import on
from textual._styles_cache import StylesCache
from textual.app import App
from textual.binding import Binding, BindingType
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Input

from backend.catalog import KINDS
from backend.commands.grammar import complete
from backend.commands.model import Command, Param
from backend.commands.run import offered, refusal
from backend.commands.table import COMMANDS
from backend.errors import CacheLostError, CloudmeshError, ConfigError, bug
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind, Row
from backend.log import logger
from backend.session import Session, SettingChange
from backend.text import safe
from backend.watch import Watcher
from tui import mistakes
from tui.alt import apart
from tui.driver import TerminalDriver
from tui.ending import ending
from tui.jobs import Job, JobEnded, JobMoved, Jobs, JobWaits
from tui.listings import Listings
from tui.messages import Asked, CacheChanged, CacheConnection, Reported
from tui.orderly import Orderly
from tui.palette import Commands, Palette
from tui.runner import Runner
from tui.screens.confirming import Pace
from tui.screens.main import MainScreen
from tui.selection import marks_text
from tui.widgets.status import MessageBar, StatusBar, WorkLine
from tui.windows import Windows

if TYPE_CHECKING:
    from backend.cache.feed import Feed

TICK = 1.0
"""Seconds between repaints of ages and flights."""

COLLECT_AFTER = 1.0
"""Seconds after which garbage is collected, where tui.cli has put that off for the start."""

REOPEN_EVERY = 5.0
"""Seconds between attempts to open a cache that cannot be opened, and to read one that cannot be read."""


def utc_now() -> datetime:
    """Return the time that ages and flights are reckoned to."""
    return datetime.now(UTC)


SUSPEND = Binding(
    "ctrl+z",
    "suspend_process",
    "suspend",
    show=False,
    priority=True,
    tooltip="Suspend: back to the shell, whose fg comes back here",
)

PALETTE = Binding(
    "ctrl+p",
    "command_palette",
    "palette",
    show=False,
    priority=True,
    tooltip="Search commands, and VMs by name",
)


class Starts(Protocol):
    """What opens the session; see tui.cli.Launch."""

    def open(self) -> Session:
        """Open the cache and return the session; blocks."""


class CloudmeshApp(Orderly):
    """The dashboard. Threads post messages; the handlers here, on the event loop, are all that touches widgets."""

    TITLE = "cloudmesh"
    CSS_PATH: ClassVar = ["../styles/app.tcss", "../styles/table.tcss", "../styles/dialogs.tcss"]
    COMMANDS = App.COMMANDS | {Commands}
    BINDINGS: ClassVar[list[BindingType]] = [PALETTE, SUSPEND]

    def __init__(
        self,
        launch: Starts,
        *,
        now: Callable[[], datetime] = utc_now,
        reopen_every: float = REOPEN_EVERY,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__()
        self._launch = launch
        self.now = now
        self.reopen_every = reopen_every
        self.pace = pace
        self.session: Session | None = None
        self.main = MainScreen(self)
        self._windows = Windows(self)
        self._jobs = Jobs(self.post_message)
        self._following = ExitStack()
        self._feed: Feed | None = None
        self._watchers: dict[str, Watcher] = {}
        """By kind, of all that have flights."""
        self._listings: Listings | None = None
        self.runner: Runner | None = None
        """These three are of one session: another cloud has others."""
        self._lost: CloudmeshError | None = None
        """Why the cache cannot be reached now."""
        self._passing: CloudmeshError | None = None
        """The last error that is no longer true when the cache is back."""

    def opening(self) -> float | None:
        """Return when a job began that ends with a window, None where there is none."""
        return self._jobs.opening()

    def get_default_screen(self) -> Screen[None]:
        """Return our screen: pushed onto textual's empty one, it would be the second to be laid out."""
        return self.main

    def on_mount(self) -> None:
        """Show the screen at once; the cache is opened behind it."""
        if self.console.color_system in ("standard", None) and not self.is_headless:
            self.theme = "ansi-dark"  # the terminal's own sixteen colours, rather than the nearest to ours
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._strayed(context))
        if not gc.isenabled():
            self.set_timer(COLLECT_AFTER, _collect)
        self.set_interval(TICK, self._tick)

    async def on_event(self, event: Event) -> None:
        """Take a key typed right after Esc for what it is; see tui.alt."""
        for each in apart(event, lambda: isinstance(self.focused, Input)):
            await super().on_event(each)

    def on_unmount(self) -> None:
        """Let go of everything; no thread is waited for."""
        self._jobs.close()
        self._part()
        self._following.close()

    @on(MainScreen.Painted)
    def _painted(self) -> None:
        """Open the cache: not before, because what the worker imports would hold the first frame up."""
        self._open()

    # --- opening -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        def opened(_job: Job) -> Session:
            return self._launch.open()

        self.start(Job("Opening the cache", opened, self._opened, self._not_opened, key="open"))

    def _not_opened(self, error: CloudmeshError) -> None:
        if isinstance(error, ConfigError):  # only the user can mend that, and what was read stays read
            self.exit(error.exit_status, message=Text(safe(str(error))))
            return
        self._lost = error
        self.show_error(error)
        again = isinstance(error, CacheLostError)
        for kind in KINDS:
            self.main.table_of(kind).notice = f"{error.message} Trying again …" if again else str(error)
        if again:
            self.set_timer(self.reopen_every, self._open)

    def _opened(self, session: Session) -> None:
        if self._lost:
            self.main.query_one(MessageBar).retract(self._lost)
            self._lost = None
        from backend.cache.feed import Feed

        feed = Feed(
            session.cache,
            KINDS.values(),
            lambda change: self.post_message(CacheChanged(change)),
            lambda lost: self.post_message(CacheConnection(lost)),
        )
        self._following.callback(feed.close)
        for text in (*session.settings.warnings, session.cache.note):
            if text:
                logger.warning("%s", text)
                self.notify(safe(text), severity="warning", timeout=15, markup=False)
        self._feed = feed
        self.switch(session)

    def _part(self) -> None:
        """Let go of the session: nothing of it is followed, painted or started any more."""
        for part in (*self._watchers.values(), self._listings, self.runner):
            if part:
                part.close()

    def switch(self, session: Session) -> None:
        """Go on with another session, which may be of another cloud."""
        if self._feed is None:
            return
        moved = self.session is None or session.scope != self.session.scope
        self._part()
        self.session = session
        self._watchers = {
            kind.name: Watcher(
                session.cache,
                kind,
                session.scope,
                session.connect,
                session.settings.poll,
                report=lambda text: self.post_message(Reported(text)),
                trouble=lambda text: self.post_message(Reported(text, trouble=True)),
            )
            for kind in KINDS.values()
            if kind.has_flights
        }
        for watcher in self._watchers.values() if session.cache.refusal is None else ():  # it writes what it sees
            watcher.start()
        self.runner = Runner(self, session)
        self._listings = Listings(self, session, self._feed, self.runner)
        self._listings.load_all(empty=moved)
        if moved:
            self.runner.recover()
        self.show_place()
        self.main.refresh_bindings()

    def apply(self, change: SettingChange) -> None:
        """Change a setting of the session that there is now."""
        if self.session is None or self.runner is None or self._listings is None:
            return
        session = self.session.changed(change)
        if session.scope != self.session.scope:
            self.switch(session)
            return
        self.session = self.runner.session = session  # the same rows, and what can be undone stays
        self._listings.go_on(session)
        self.show_place()

    def show_place(self) -> None:
        """Show cloud, region, cache and modes, and how many rows are marked."""
        session = self.session
        if session is None:
            return
        lasting = " (will not last)" if session.cache.mode == "memory" else ""
        parts = [session.cloud.name, session.cloud.region, session.cache.mode + lasting]
        if not session.refresh:
            parts.append("refresh off")
        if session.cache.refusal:
            parts.append("cache read-only")
        elif session.locked:
            parts.append("read-only")
        if self._lost:
            parts.append("CACHE LOST")
        if marks := marks_text(self.main.table):
            parts.append(marks)
        self._status.place = " · ".join(parts)

    # --- rows --------------------------------------------------------------------------------------------------------

    def rows(self, kind: str) -> Iterable[Row]:
        """Return all rows of a kind that are on its table, shown or filtered away."""
        return self.main.table_of(kind).rows.all()

    @on(CacheChanged)
    def _cache_changed(self, message: CacheChanged) -> None:
        if message.change.kind == JOURNAL.name:
            self._windows.journal_changed(self.session, message.change)
            return
        rows = self._listings.changed(message.change) if self._listings else ()
        if watcher := self._watchers.get(message.change.kind):
            for row in rows:
                watcher.saw(row)

    @on(CacheConnection)
    def _cache_connection(self, message: CacheConnection) -> None:
        before, self._lost = self._lost, CacheLostError(message.lost) if message.lost else None
        self.show_place()
        if self._lost:
            self.show_error(self._lost)
        else:
            for error in filter(None, (before, self._passing)):
                self.main.query_one(MessageBar).retract(error)
            self.say("The cache is back.")
            if self._listings:
                self._listings.load_all()

    @on(MainScreen.TabShown)
    def _tab_shown(self, message: MainScreen.TabShown) -> None:
        if self._listings:
            self._listings.freshen(message.kind)

    def _tick(self) -> None:
        StylesCache.get_inner_outer.cache_clear()  # it keeps the lines of every widget that was ever painted
        self.main.table.tick(self.now())
        self._show_work()
        if self._listings:
            self._listings.show_ages()
            self._listings.freshen(self.main.kind)

    # --- commands ----------------------------------------------------------------------------------------------------

    def may(self, one: Command) -> bool:
        """Return whether a command can be run now."""
        return not self.refusal(one)

    def refusal(self, one: Command) -> str:
        """Return why a command cannot be run now, whatever it is to act on; "" where it can."""
        if self.session is None:
            return "The cache is not open yet: try again in a moment."
        why = refusal(one, self.session)
        return why.message if why else ""

    def completions(self, line: str) -> list[str]:
        """Return what a typed line may become."""
        return complete(line, self._names, offered(COMMANDS, self.session) if self.session else [])

    def _names(self, param: Param) -> Iterable[str]:
        session = self.session
        if session is not None and param.type == "cloud":
            return list(session.settings.clouds)
        if param.kind is None:
            return []
        kind = KINDS[param.kind]
        columns = dict.fromkeys(("name", kind.handle))
        return (str(value) for row in self.rows(kind.name) for name in columns if (value := kind.value(row, name)))

    def show(self, what: str) -> None:
        """Show the tab of a kind, or the journal."""
        if what in KINDS:
            self.main.show_tab(what)
        elif self.session is not None:
            self._windows.journal(self.session)

    def undo(self) -> bool:
        """Offer to take back what was done last; return whether there is anything."""
        runner = self._runner_or_error()
        return runner is not None and runner.results.undo()

    def show_results(self) -> bool:
        """List the results of the last commands, and offer to do again what failed; return whether there are any."""
        runner = self._runner_or_error()
        return runner is not None and runner.results.show()

    def enter(self, line: str) -> bool:
        """Run a typed line; return False where it is refused at once.

        Before the cache is open nothing that is typed can do harm, so that counts as taken.
        """
        runner = self._runner_or_error()
        return runner is None or runner.asking.enter(line)

    def ask(self, one: Command, target: Param, ids: Sequence[str], scope: str) -> None:
        """Open the dialog of a command on rows, by a key: no letter changes anything by itself."""
        if runner := self._runner_or_error():
            runner.asking.ask(one, target, ids, scope)

    @on(Asked)
    def _asked(self, message: Asked) -> None:
        if runner := self._runner_or_error():
            runner.asking.asked(message.parsed)

    def _runner_or_error(self) -> Runner | None:
        if self.runner is None:
            self._open()  # where the user has cancelled that; two at once there never are
            self.show_error(CloudmeshError("The cache is not open yet.", "Try again in a moment."))
        return self.runner

    # --- work and words ----------------------------------------------------------------------------------------------

    def start(self, job: Job) -> bool:
        """Start a job; returns False when one of the same key is running."""
        started = self._jobs.start(job)
        self._show_work()
        return started

    @on(JobMoved)
    def _job_moved(self, message: JobMoved) -> None:
        message.job.progress[message.progress.kind] = message.progress
        self._show_work()

    @on(JobWaits)
    def _job_waits(self, message: JobWaits) -> None:
        message.job.waiting = message.waiting
        self._show_work()

    @on(JobEnded)
    def _job_ended(self, message: JobEnded) -> None:
        job = message.job
        if not self._jobs.ended(job):  # it was cancelled, and nobody waits for it any more
            return
        self._show_work()
        if message.cancelled:
            if job.title:
                self.say(f"{job.title} was cancelled.")
            if self.session is None:
                for kind in KINDS:
                    self.main.table_of(kind).notice = "The cache is not open. Any command, such as :vm list, opens it."
        elif message.error is not None:
            if job.opens:
                self.main.lost_keys.begin(job.began)
            job.failed(message.error)
        else:
            job.then(message.result)

    @on(Reported)
    def _reported(self, message: Reported) -> None:
        if message.trouble:
            self.show_error(CloudmeshError(message.text))
        else:
            self.say(message.text)

    def cancel_work(self) -> None:
        """Cancel what is under way and says so in its line."""
        if not self._jobs.cancel():
            self.say("Nothing is under way.")
        self._show_work()

    def show_details(self, kind: Kind, native: str) -> None:
        """Show all fields of an object, from the cache."""
        if self.session is not None:
            self._windows.details(self.session, kind, native)

    def show_help(self) -> None:
        """Show every key and command."""
        self._windows.help(PALETTE, SUSPEND)

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done: in the status bar, or above it where it does not fit there."""
        status = self._status
        status.result, status.elsewhere = safe(text), not status.fits(text)
        if status.elsewhere:
            self.main.query_one(MessageBar).tell(text, done=done)

    def show_error(self, error: CloudmeshError, *, behind: bool = False) -> None:
        """Show an error until it is dismissed; one `behind` what is shown does not take its place."""
        logger.error("%s", error)
        self.main.query_one(MessageBar).show(error, behind=behind)

    def passes(self, error: CloudmeshError) -> None:
        """Take an error that is shown away when the cache is back: it was of something that is read again then."""
        self._passing = error

    # --- ending and suspending ---------------------------------------------------------------------------------------

    def leave(self, status: int) -> None:
        """End with an exit status, also while the terminal does not read. Of any thread."""
        self.call_later(self.exit, status)  # not at once: textual fails where it is to end before it has composed
        if isinstance(self._driver, TerminalDriver):
            self._driver.end()

    def abandon(self) -> None:
        """Give the terminal back while the dashboard hangs. Of any thread."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.abandon()

    def action_command_palette(self) -> None:
        """Open the palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_suspend_process(self) -> None:
        """Give the terminal to the shell; its `fg` comes back to the screen as it was."""
        if not isinstance(self._driver, TerminalDriver) or not self._driver.suspend(by_key=True):
            self.say("The dashboard is not suspended: no shell could bring it back.")

    # --- bugs --------------------------------------------------------------------------------------------------------

    def _strayed(self, context: dict[str, Any]) -> None:
        """Tell of an exception that the event loop has caught: asyncio would only log it."""
        error = context.get("exception")
        logger.error("the event loop: %s", context.get("message"), exc_info=error)
        if isinstance(error, Exception) and self.main.is_mounted:
            self.show_error(bug("A part of the dashboard", error))

    def _show_work(self) -> None:
        if self.main.is_mounted:
            self.main.query_one(WorkLine).show(self._jobs.visible)

    @property
    def _status(self) -> StatusBar:
        return self.main.query_one(StatusBar)


def _collect() -> None:
    gc.freeze()  # modules, classes and styles: they stay, and need not be looked through again
    gc.enable()


TURN = 0.001
"""Seconds after which a working thread lets the event loop go on, in place of Python's 0.005."""


def run(launch: Starts, let_go: Callable[[], object]) -> int:
    """Open the dashboard and return the exit status; `let_go` closes what was opened where it cannot end by itself."""
    sys.setswitchinterval(TURN)
    app = CloudmeshApp(launch)
    mistakes.told_to(lambda error: app.post_message(Reported(str(error), trouble=True)))
    with ending(app.leave, app.abandon, let_go):
        return app.run() or app.return_code or 0  # the last where textual had to end it: that is a bug
