"""Ends the dashboard within two seconds of a signal, or of the loss of its terminal, even while it hangs."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.log import logger

GRACE = 1.3
"""Seconds that the dashboard has to end normally."""

CLOSING = 0.4
"""Seconds after that to close the cache and the embedded server."""

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def status(number: int) -> int:
    """Return the exit status of a process that a signal ends."""
    return 128 + number


HUNG_UP = status(signal.SIGHUP)


@contextmanager
def ending(
    leave: Callable[[int], object], abandon: Callable[[], object], let_go: Callable[[], object]
) -> Iterator[None]:
    """Watch for signals and a hang-up of the terminal while the block runs; then call `leave` on a thread.

    `leave` takes the exit status. If the block does not end in time, `abandon` restores the terminal, then `let_go`
    closes what was opened. The process ends even if these hang.
    """
    ended = threading.Event()
    arrived, noting = os.pipe()
    os.set_blocking(noting, False)

    def note(number: int, _frame: object) -> None:  # it may interrupt any code, so it takes no lock
        os.write(noting, bytes([number]))

    def watch() -> None:
        assert sys.__stdin__ is not None  # noqa: S101 - for mypy: tui.cli has checked
        poll = select.poll()
        poll.register(arrived, select.POLLIN)
        poll.register(sys.__stdin__.fileno(), 0)  # 0: it wakes only for a hang-up or an error
        while True:
            found = dict(poll.poll())
            if ended.is_set():
                return
            if arrived in found:
                number = signal.Signals(os.read(arrived, 1)[0])
                logger.info("ended by %s", number.name)
                _end(status(number))
                return
            if found.get(sys.__stdin__.fileno(), 0) & select.POLLHUP:
                logger.info("the terminal has gone away")
                nowhere = os.open(os.devnull, os.O_RDWR)
                for file in (0, 1, 2):  # later writes of textual must not fail
                    os.dup2(nowhere, file)
                _end(HUNG_UP)
                return
            poll.unregister(sys.__stdin__.fileno())

    def _end(with_status: int) -> None:
        leave(with_status)
        if ended.wait(GRACE):
            return
        abandon()
        closing = threading.Thread(target=let_go, name="closing", daemon=True)
        closing.start()
        closing.join(CLOSING)
        os._exit(with_status)

    before = [(number, signal.signal(number, note)) for number in _SIGNALS]
    watching = threading.Thread(target=watch, name="ending", daemon=True)
    watching.start()
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        ended.set()
        os.write(noting, b"\0")
        watching.join()
        os.close(arrived)
        os.close(noting)
