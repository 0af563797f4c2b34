"""The lines below the table: the message bar, the work line, and the status bar."""

import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from backend.errors import CloudmeshError, LoginNeededError
from backend.format import duration
from backend.text import safe
from tui.jobs import Job

_BAR = 24
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class MessageBar(Static):
    """The last error: what failed and why, what to do next, and how to dismiss it."""

    def on_mount(self) -> None:
        """Start out of sight."""
        self.display = False

    _error: CloudmeshError | None = None
    """The error on screen."""
    _behind = False
    """Whether the user did not ask for the work that failed."""

    def show(self, error: CloudmeshError, *, behind: bool = False) -> None:
        """Show an error until it is dismissed or another message replaces it.

        `behind`: the user did not ask for the work; such an error replaces only another one of this sort.
        """
        if behind and self.display and not self._behind:
            return
        does = " L does it here." if isinstance(error, LoginNeededError) and error.command else ""
        self._show("✕", error.message, f"{error.cure}{does}")
        self._error, self._behind = error, behind

    def retract(self, error: CloudmeshError) -> None:
        """Remove an error that is no longer true, if it is still on screen."""
        if self._error is error:
            self.dismiss()

    def say(self, text: str, *, done: bool) -> None:
        """Show a message that is too long for the status bar: a result, or why nothing was done."""
        self._show("✓" if done else "·", text, "")

    def _show(self, sign: str, message: str, cure: str) -> None:
        self._error, self._behind = None, False
        text = Text(f"{sign} {safe(message)}", style="bold")
        if cure:
            text.append(f" {safe(cure)}", style="not bold")
        text.append("  Esc dismisses.", style="not bold dim")
        self.set_class(sign != "✕", "result")
        self.update(text)
        self.display = True

    def dismiss(self) -> bool:
        """Remove the message; return whether there was one."""
        shown, self.display = bool(self.display), False
        return shown

    def on_click(self) -> None:
        """Dismiss on a click too."""
        self.dismiss()


class WorkLine(Static):
    """The oldest running job, with a bar if the amount is known; hidden while no job runs."""

    _shown: Text | None = None

    def on_mount(self) -> None:
        """Start out of sight."""
        self.display = False

    def show(self, jobs: Sequence[Job]) -> None:
        """Show the state of the jobs."""
        self.display = bool(jobs)
        if not jobs:
            return
        job = jobs[0]
        elapsed = time.monotonic() - job.began
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{_SPINNER[int(elapsed * 8) % len(_SPINNER)]} {job.title} ", style="bold")
        rows = sum(progress.rows for progress in job.progress.values())
        estimate = sum(max(progress.estimate, progress.rows) for progress in job.progress.values())
        if estimate and all(progress.estimate for progress in job.progress.values()):
            filled = min(_BAR, round(_BAR * rows / estimate))
            text.append("█" * filled + "░" * (_BAR - filled) + f" {rows:,}/{estimate:,} {job.unit} ")
        elif rows:
            text.append(f"{rows:,} {job.unit} ")
        pages = sum(progress.pages for progress in job.progress.values())
        if pages and elapsed > 1:
            text.append(f"· {pages:,} pages · {rows / elapsed:,.0f}/s ")
        text.append(f"· {duration(elapsed)} ")
        if waiting := job.waiting.text(time.monotonic()) if job.waiting else "":
            text.append(f"· {safe(waiting)} ", style="bold")
        if any(progress.elsewhere for progress in job.progress.values()):
            text.append("· being refreshed elsewhere, and its rows appear as they come ")
        if len(jobs) > 1:
            text.append(f"· {len(jobs) - 1} more ")
        text.append(f"· {_how_to_cancel(job)}", style="dim")
        if text != self._shown:
            self._shown = text
            self.update(text, layout=False)


def _how_to_cancel(job: Job) -> str:
    return "what was sent is waited for …" if job.cancelled else "x cancels"


class StatusBar(Static):
    """Cloud, region, cache and modes at the left; the last result at the right."""

    location: reactive[str] = reactive("")
    result: reactive[str] = reactive("")
    elsewhere: reactive[bool] = reactive(False)
    """Whether the message bar shows the result, and this bar does not."""

    def watch_location(self) -> None:
        """Show another location."""
        self._show()

    def watch_result(self) -> None:
        """Show another result."""
        self._show()

    def watch_elsewhere(self) -> None:
        """Show or hide the result."""
        self._show()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._show()

    def fits(self, result: str) -> bool:
        """Return whether a result can be read in full beside the location."""
        return cell_len(safe(self.location)) + cell_len(safe(result)) + 2 <= self.content_size.width

    def _show(self) -> None:
        result = "" if self.elsewhere else safe(self.result)
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right", overflow="ellipsis", ratio=1)
        grid.add_row(Text(safe(self.location), overflow="ellipsis"), Text(result, overflow="ellipsis"))
        self.update(grid, layout=False)
