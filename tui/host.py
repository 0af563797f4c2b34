"""What the parts of the dashboard use of each other: narrow protocols, so that no part knows the app or the screen."""

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
    """Runs jobs, shows sentences and opens windows. All methods are of the event loop."""

    @property
    def commands(self) -> Iterable[Command]:
        """Every command."""

    @property
    def pace(self) -> Pace:
        """How slowly a window is confirmed."""

    def now(self) -> datetime:
        """Return the time that ages are reckoned to."""

    def start(self, job: Job) -> bool:
        """Start a job; return False when one of the same key is running."""

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after a while."""

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done."""

    def warn(self, text: str) -> None:
        """Show a warning for a while."""

    def show_error(self, error: CloudmeshError, *, behind: bool = False, until_back: bool = False) -> None:
        """Show an error until it is dismissed.

        One `behind` what is shown does not take its place. One `until_back` goes when a lost cache is back.
        """

    def retract(self, error: CloudmeshError) -> None:
        """Take an error away that is no longer true, if it is still the one shown."""

    def open(self, window: Screen[Any], then: Callable[[Any], None] | None = None) -> None:
        """Open a window; `then` gets its answer."""

    def show(self, what: str) -> None:
        """Show the tab of a kind, or the journal."""

    def remember(self, line: str) -> None:
        """Put a command into the history of the `:` line."""

    def apply(self, change: SettingChange) -> None:
        """Change a setting of the session."""


class Tables(Protocol):
    """The tables of the dashboard, a kind each; those with a tab are open."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Every kind, by its name."""

    @property
    def kind(self) -> str:
        """The name of the kind whose tab is shown."""

    def is_open(self, kind: str) -> bool:
        """Return whether a kind has a tab now."""

    def table_of(self, kind: str) -> ResourceTable:
        """Return the table of a kind; it has no rows where the kind is not open."""

    def count(self, kind: str) -> None:
        """Say how many rows the filter of a kind shows, where that kind is shown."""

    def label(self, labels: Mapping[str, Label]) -> None:
        """Show what the tabs say of their kinds."""


class Owner(Protocol):
    """What the screen has done for its keys and lines, by the app."""

    def refusal(self, one: Command) -> str:
        """Return why a command cannot be run now, whatever it is to act on; "" where it can."""

    def say(self, text: str, *, done: bool = True) -> None:
        """Show a result, or why nothing was done."""

    def ask(self, one: Command, chosen: Chosen | None) -> None:
        """Ask for a command by its key, on the rows that are chosen, if it acts on rows."""

    def enter(self, line: str) -> bool:
        """Run a typed line; return False where it is refused at once."""

    def completions(self, line: str) -> list[str]:
        """Return what a typed line may become."""

    def show_details(self, kind: Kind, ref: Ref) -> None:
        """Show all fields of an object."""

    def show_help(self) -> None:
        """Show the help."""

    def undo(self) -> bool:
        """Offer to undo what was done last; return whether there is anything."""

    def show_results(self) -> bool:
        """List the results of the last commands; return whether there is anything."""

    def cancel_work(self) -> None:
        """Cancel what is under way."""

    def show_location(self) -> None:
        """Show where we are, and how many rows are marked."""
