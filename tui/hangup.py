"""Ends the dashboard when its terminal goes away: textual alone would go on reading and writing what is not there."""

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 2.0
"""Seconds that the dashboard has to end by itself; a thread of textual's may have died writing, and be waited for."""

HUNG_UP = 129
"""The exit status of what SIGHUP ends."""


@contextmanager
def ending_with_terminal(leave: Callable[[], object], let_go: Callable[[], object]) -> Iterator[None]:
    """Watch the terminal as long as the block runs: when it goes away, call `leave`, on a thread.

    When that does not end the block in time, `let_go` is called, and the process ended whatever it hangs on.
    """
    ended = threading.Event()

    def watch() -> None:
        assert sys.__stdin__ is not None  # noqa: S101 - for mypy: tui.cli has looked
        terminal = select.poll()
        terminal.register(sys.__stdin__.fileno(), 0)  # 0: it wakes for a hang-up alone, or where it cannot tell
        [(_, told)] = terminal.poll()
        if ended.is_set() or not told & select.POLLHUP:
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # what is still drawn must not fail, and what is still read must not be read for ever
            os.dup2(nowhere, number)
        leave()
        if not ended.wait(GRACE):
            let_go()
            os._exit(HUNG_UP)

    threading.Thread(target=watch, name="hang-up", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
