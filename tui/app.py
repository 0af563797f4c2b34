"""CloudmeshApp: connects the session, the jobs and the screens."""

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual._styles_cache import StylesCache
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Input

from backend.account import ask_by
from backend.catalog import KINDS
from backend.commands.model import Command, Parsed
from backend.commands.run import offered, refusal
from backend.commands.scoping import SCOPE
from backend.commands.table import COMMANDS as ALL_COMMANDS
from backend.errors import CloudmeshError, ConfigError, NoAccountError, bug
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind, Ref
from backend.log import logger
from backend.session import Session, SettingChange
from backend.text import safe
from tui import bugs
from tui.alt import apart
from tui.deciding import Chosen
from tui.driver import TerminalDriver
from tui.ending import ending
from tui.following import Following, Starts
from tui.jobs import Job, JobDelivered, JobEnded, JobMoved, Jobs, JobWaits
from tui.login import ask_code, log_in, open_code
from tui.messages import Asked, CacheChanged, CacheConnection, CodeWanted, Reported
from tui.orderly import Orderly
from tui.palette import Commands, Palette
from tui.screens.confirming import Pace
from tui.screens.main import MainScreen
from tui.screens.ways import WaysScreen
from tui.selection import marks_text
from tui.windows import Windows

TICK = 1.0
"""Seconds between repaints of ages and flights."""

COLLECT_AFTER = 1.0
"""Seconds after the start when garbage collection begins; tui.cli turns it off for the start."""

REOPEN_EVERY = 5.0
"""Seconds between attempts to open a cache that cannot be opened, and to read one that cannot be read."""


def utc_now() -> datetime:
    """Return the present time, for ages and flights."""
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
    tooltip=f"Search commands, and {', '.join(kind.nouns for kind in KINDS.values() if kind.in_palette)} by name",
)


class CloudmeshApp(Orderly):
    """The dashboard. Threads post messages; only the handlers here, on the event loop, touch widgets."""

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
        kinds: Mapping[str, Kind] = KINDS,
        commands: Sequence[Command] = ALL_COMMANDS,
        driver: type[Driver] = TerminalDriver,
    ) -> None:
        super().__init__(driver)
        self.now = now
        self.pace = pace
        self.commands = commands
        self.main = MainScreen(self, kinds)
        self._windows = Windows(self, self.main)
        self._jobs = Jobs(self.post_message)
        self.following = Following(
            launch,
            self,
            self.main,
            self.post_message,
            reopen_every=reopen_every,
            on_unusable=self._unusable,
            on_change=self._session_changed,
        )

    @property
    def session(self) -> Session | None:
        """The session on screen; None before the cache is open."""
        return self.following.session

    def opening(self) -> float | None:
        """Return when the job started that opens a window at its end; None if there is none."""
        return self._jobs.opening()

    def get_default_screen(self) -> Screen[None]:
        """Return our screen: pushed onto textual's empty screen, it would be laid out only after that."""
        return self.main

    def on_mount(self) -> None:
        """Show the screen at once; a job opens the cache."""
        if self.console.color_system in ("standard", None) and not self.is_headless:
            self.theme = "ansi-dark"  # the terminal's own sixteen colours, not the nearest to ours
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._loop_failed(context))
        if not gc.isenabled():
            self.set_timer(COLLECT_AFTER, _collect)
        self.set_interval(TICK, self._tick)

    async def on_event(self, event: Event) -> None:
        """Separate Esc from a key typed right after it; see tui.alt."""
        for each in apart(event, lambda: isinstance(self.focused, Input)):
            await super().on_event(each)

    def on_unmount(self) -> None:
        """Cancel and close everything; wait for no thread."""
        self._jobs.close()
        self.following.close()

    # --- the session and its cache ------------------------------------------------------------------------------------

    @on(MainScreen.Painted)
    def _painted(self) -> None:
        """Open the cache. Before this, the imports of the job would delay the first frame."""
        self.following.open()

    def _unusable(self, error: ConfigError) -> None:
        """End: only the user can correct this error. Without any account, the user may look again."""
        if isinstance(error, NoAccountError):
            self.open(WaysScreen(error.message, error.ways), partial(self._look_again, error))
            return
        self.exit(error.exit_status, message=Text(safe(str(error))))

    def _look_again(self, error: NoAccountError, again: bool | None) -> None:
        if again:
            self.following.open()
        else:
            self.exit(error.exit_status, message=Text(safe(error.message)))

    def _session_changed(self) -> None:
        self.show_location()
        self.main.refresh_bindings()

    def apply(self, change: SettingChange) -> None:
        """Change a setting of the current session."""
        self.following.apply(change)

    def show_location(self) -> None:
        """Show cloud, region, cache and modes, and how many rows are marked."""
        if words := self.following.location:
            self.main.locate(" · ".join(filter(None, [*words, marks_text(self.main.table)])))

    @on(CacheChanged)
    def _cache_changed(self, message: CacheChanged) -> None:
        if message.change.kind == JOURNAL.name:
            self._windows.journal_changed(self.session, message.change)
        else:
            self.following.changed(message.change)

    @on(CacheConnection)
    def _cache_connection(self, message: CacheConnection) -> None:
        self.following.connection(message.lost)

    @on(MainScreen.TabShown)
    def _tab_shown(self, message: MainScreen.TabShown) -> None:
        self.following.shown(message.kind)

    @on(MainScreen.TabClosed)
    def _tab_closed(self, message: MainScreen.TabClosed) -> None:
        self.following.closed(message.kind)

    def _tick(self) -> None:
        StylesCache.get_inner_outer.cache_clear()  # it keeps the lines of every widget ever painted
        self.main.table.tick(self.now())
        self._show_work()
        self.following.tick()

    # --- commands -----------------------------------------------------------------------------------------------------

    def offered(self) -> list[Command]:
        """Return the commands that can be run now."""
        return [one for one in self.commands if not self.refusal(one)]

    def refusal(self, one: Command) -> str:
        """Return why a command cannot run now on any object; "" if it can."""
        if self.session is None:
            return "The cache is not open yet: try again in a moment."
        why = refusal(one, self.session)
        return why.message if why else ""

    def completions(self, line: str) -> list[str]:
        """Return the completions of a typed line."""
        parts = self.following.parts
        return parts.asking.completions(line) if parts else []

    def show(self, what: str) -> None:
        """Show the tab of a kind, the journal, or the choice of clouds and regions."""
        if what in self.main.kinds:
            self.main.show_tab(what)
        elif what == SCOPE.name:
            self._choose_scopes()
        elif self.session is not None:
            self._windows.journal(self.session)

    def _choose_scopes(self) -> None:
        if parts := self.following.ready():
            parts.asking.choose_scopes()

    def undo(self) -> bool:
        """Offer to undo the last commands; return whether there is anything to undo."""
        parts = self.following.ready()
        return parts is not None and parts.results.undo()

    def show_results(self) -> bool:
        """List the results of the last commands, and offer to repeat what failed; return whether there are any."""
        parts = self.following.ready()
        return parts is not None and parts.results.show()

    def enter(self, line: str) -> bool:
        """Run a typed line; return False if it is refused at once.

        Before the cache is open this returns True: keys typed after the line can do no harm then.
        """
        parts = self.following.ready()
        return parts is None or parts.asking.enter(line)

    def ask(self, one: Command, chosen: Chosen | None) -> None:
        """Ask for a command by its key, on the rows that are chosen, if it acts on rows."""
        if parts := self.following.ready():
            parts.asking.ask(Parsed(one, {}), "key", chosen)

    @on(Asked)
    def _asked(self, message: Asked) -> None:
        if parts := self.following.ready():
            parts.asking.ask(message.parsed, "palette")

    def filtered(self, kind: str) -> None:
        """Search the rows that the table of a kind does not hold, because its filter has changed."""
        self.following.filtered(kind)

    def remember(self, line: str) -> None:
        """Put a command into the history of the `:` line."""
        self.main.remember(line)

    def log_in(self) -> None:
        """Log in to the first account that needs it, first those shown; the rows stay, and are refreshed afterwards."""
        clouds = self.session.settings.clouds if self.session else {}
        shown = [scope.cloud for scope in self.session.scopes] if self.session else []
        every = (clouds[name] for name in dict.fromkeys([*shown, *clouds]))
        log_in(self, self._driver, every, self.following.logged_in)

    @on(CodeWanted)
    def _code_wanted(self, message: CodeWanted) -> None:
        open_code(self, message)

    # --- jobs and messages --------------------------------------------------------------------------------------------

    def start(self, job: Job) -> bool:
        """Start a job; return False when a job with the same key is running."""
        started = self._jobs.start(job)
        self._show_work()
        return started

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after `seconds`."""
        self.set_timer(seconds, act)

    @on(JobMoved)
    def _job_moved(self, message: JobMoved) -> None:
        message.job.progress[message.progress.kind, message.progress.scope] = message.progress
        message.job.on_progress(message.progress)
        self._show_work()

    @on(JobWaits)
    def _job_waits(self, message: JobWaits) -> None:
        message.job.waiting = message.waiting
        message.job.on_wait(message.waiting)
        self._show_work()

    @on(JobDelivered)
    def _job_delivered(self, message: JobDelivered) -> None:
        message.job.on_part(message.part)

    @on(JobEnded)
    def _job_ended(self, message: JobEnded) -> None:
        job = message.job
        if not self._jobs.ended(job):  # it was cancelled, and its end was reported then
            return
        self._show_work()
        if message.cancelled:
            if job.title:
                self.say(f"{job.title} was cancelled.")
            if self.session is None:
                self.following.notice("The cache is not open. Any command, such as :vm list, opens it.")
        elif message.error is not None:
            if job.opens:
                self.main.lost_keys.begin(job.began)
            (job.failed or self.show_error)(message.error)
        else:
            job.then(message.result)

    @on(Reported)
    def _reported(self, message: Reported) -> None:
        if message.trouble:
            self.show_error(CloudmeshError(message.text))
        else:
            self.say(message.text)

    def show_failures(self) -> None:
        """List the scopes whose last refresh failed, and why."""
        parts = self.following.parts
        failed = parts.listings.failures(filter(self.main.is_open, self.main.kinds)) if parts else []
        if failed:
            self._windows.failures(failed)
        else:
            self.say("No region has failed.")

    def cancel_work(self) -> None:
        """Cancel the running jobs; the work line shows it."""
        if not self._jobs.cancel():
            self.say("Nothing is under way.")
        self._show_work()

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or the reason why nothing was done."""
        self.main.show_text(safe(text), done=done)

    def warn(self, text: str) -> None:
        """Show a warning for a while."""
        self.notify(safe(text), severity="warning", timeout=15, markup=False)

    def show_error(self, error: CloudmeshError, *, behind: bool = False, until_back: bool = False) -> None:
        """Show an error until it is dismissed; see Host."""
        logger.error("%s", error)
        self.main.show_error(error, behind=behind)
        if until_back:
            self.following.retract_when_back(error)

    def retract(self, error: CloudmeshError) -> None:
        """Remove an error that is no longer true, if it is still on screen."""
        self.main.retract(error)

    # --- windows ------------------------------------------------------------------------------------------------------

    def open(self, window: Screen[Any], then: Callable[[Any], None] | None = None) -> None:
        """Open a window; `then` gets its answer."""
        self.push_screen(window, then)

    def show_details(self, kind: Kind, ref: Ref) -> None:
        """Show all fields of an object, from the cache."""
        if self.session is not None:
            self._windows.details(self.session, kind, ref)

    def show_help(self) -> None:
        """Show every key and command."""
        self._windows.help((PALETTE, SUSPEND), offered(self.commands, self.session) if self.session else [])

    # --- ending and suspending ----------------------------------------------------------------------------------------

    def leave(self, status: int) -> None:
        """End with an exit status, also while the terminal does not read. Called on any thread."""
        self.call_later(self.exit, status)  # not at once: textual fails when it ends before it has composed
        if isinstance(self._driver, TerminalDriver):
            self._driver.end()

    def abandon(self) -> None:
        """Give the terminal back while the dashboard hangs. Called on any thread."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.abandon()

    def action_command_palette(self) -> None:
        """Open the palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_suspend_process(self) -> None:
        """Give the terminal to the shell; `fg` brings the screen back as it was."""
        if not isinstance(self._driver, TerminalDriver) or not self._driver.suspend(by_key=True):
            self.say("The dashboard is not suspended: no shell could bring it back.")

    # --- bugs ---------------------------------------------------------------------------------------------------------

    def _loop_failed(self, context: dict[str, Any]) -> None:
        """Show an exception that the event loop has caught; asyncio would only log it."""
        error = context.get("exception")
        logger.error("the event loop: %s", context.get("message"), exc_info=error)
        if isinstance(error, Exception) and self.main.is_mounted:
            self.show_error(bug("A part of the dashboard", error))

    def _show_work(self) -> None:
        self.main.show_work(self._jobs.visible)


def _collect() -> None:
    gc.freeze()  # modules, classes and styles live until the end: no later collection examines them
    gc.enable()


SWITCH_INTERVAL = 0.001
"""Seconds after which a busy thread yields to the event loop; Python's default is 0.005."""


def run(launch: Starts, let_go: Callable[[], object], driver: type[Driver] = TerminalDriver) -> int:
    """Open the dashboard and return the exit status; `let_go` closes what `launch` opened if the dashboard hangs."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    app = CloudmeshApp(launch, driver=driver)
    ask_by(partial(ask_code, app.post_message))
    bugs.report_to(lambda error: app.post_message(Reported(str(error), trouble=True)))
    with ending(app.leave, app.abandon, let_go):
        return app.run() or app.return_code or 0  # return_code: textual ended it because of a bug
