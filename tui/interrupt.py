"""Handles Ctrl-C and SIGTERM while the program has no screen."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import Cancelled
from tui.ending import status


class Interrupt:
    """The handler of SIGINT and SIGTERM: raises Cancelled, but not in the middle of a change.

    During a change the first signal only makes `check` raise, so that the reply of the cloud, such as a new private
    key, is not lost.
    """

    def __init__(self) -> None:
        self._changing = self._wanted = False
        self._number = signal.SIGINT

    def __call__(self, number: int, _frame: object) -> None:
        self._number = signal.Signals(number)
        if self._wanted and self._changing:
            raise KeyboardInterrupt  # not Cancelled: that means that nothing was done
        if not self._changing:
            raise Cancelled
        self._wanted = True
        os.write(
            2, b"Stopping when the cloud has answered. Ctrl-C again stops now; the change may happen all the same.\n"
        )

    def listen(self) -> None:
        """Handle the signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    @property
    def exit_status(self) -> int:
        """The exit status of a program that the last signal ended."""
        return status(self._number)

    def check(self) -> None:
        """Raise Cancelled after a signal."""
        if self._wanted:
            raise Cancelled

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark the block as a change."""
        self._changing = True
        try:
            yield
        finally:
            self._changing = False
