"""Narrow protocols between the parts of the dashboard, so that no part knows the app or the screen."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from textual.screen import Screen

from backend.commands.model import Command
from backend.errors import CloudmeshError
from backend.kinds.model import Kind, Ref
from backend.session import SettingChange
from tui.deciding import Chosen
from tui.jobs import Job
from tui.screens.confirming import Pace
from tui.widgets.tabbar import Label
from tui.widgets.table import ResourceTable


class Host(Protocol):
    """Runs jobs, shows messages and opens windows. All methods run on the event loop."""

    @property
    def commands(self) -> Iterable[Command]:
        """Every command."""

    @property
    def pace(self) -> Pace:
        """The least times before a key confirms a window."""

    def now(self) -> datetime:
        """Return the present time, for ages."""

    def start(self, job: Job) -> bool:
        """Start a job; return False when a job with the same key is running."""

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after `seconds`."""

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done."""

    def warn(self, text: str) -> None:
        """Show a warning for a while."""

    def show_error(self, error: CloudmeshError, *, behind: bool = False, until_back: bool = False) -> None:
        """Show an error until it is dismissed.

        One that is `behind` does not replace a message on screen. `until_back`: it goes when the lost cache is back.
        """

    def retract(self, error: CloudmeshError) -> None:
        """Remove an error that is no longer true, if it is still on screen."""

    def open(self, window: Screen[Any], then: Callable[[Any], None] | None = None) -> None:
        """Open a window; `then` gets its answer."""

    def show(self, what: str) -> None:
        """Show the tab of a kind, the journal, or the choice of clouds and regions."""

    def remember(self, line: str) -> None:
        """Put a command into the history of the `:` line."""

    def apply(self, change: SettingChange) -> None:
        """Change a setting of the session."""


class Tables(Protocol):
    """The tables of the dashboard, one for each kind; a kind with a tab is open."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Every kind, by its name."""

    @property
    def kind(self) -> str:
        """The name of the kind whose tab is shown."""

    def is_open(self, kind: str) -> bool:
        """Return whether a kind has a tab now."""

    def table_of(self, kind: str) -> ResourceTable:
        """Return the table of a kind; it has no rows if the kind is not open."""

    def count(self, kind: str) -> None:
        """Show how many rows the filter of a kind leaves, if that kind is on screen."""

    def label(self, labels: Mapping[str, Label]) -> None:
        """Set the labels of the tabs."""

    def trouble(self, text: str) -> None:
        """Show one line about the scopes that failed; "" hides it."""


class Owner(Protocol):
    """What the screen calls when a key is pressed or a line is typed; the app implements it."""

    def refusal(self, one: Command) -> str:
        """Return why a command cannot run now on any object; "" if it can."""

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done."""

    def ask(self, one: Command, chosen: Chosen | None) -> None:
        """Ask for a command by its key, on the rows that are chosen, if it acts on rows."""

    def enter(self, line: str) -> bool:
        """Run a typed line; return False if it is refused at once."""

    def completions(self, line: str) -> list[str]:
        """Return the completions of a typed line."""

    def filtered(self, kind: str) -> None:
        """Search the rows that the table of a kind does not hold, because its filter has changed."""

    def show_details(self, kind: Kind, ref: Ref) -> None:
        """Show all fields of an object."""

    def show_help(self) -> None:
        """Show the help."""

    def undo(self) -> bool:
        """Offer to undo the last commands; return whether there is anything to undo."""

    def show_results(self) -> bool:
        """List the results of the last commands; return whether there are any."""

    def show_failures(self) -> None:
        """List the scopes whose last refresh failed, and why."""

    def cancel_work(self) -> None:
        """Cancel the running jobs."""

    def log_in(self) -> None:
        """Log in to the first account that needs it."""

    def show_location(self) -> None:
        """Show the location, and how many rows are marked."""
