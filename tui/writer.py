"""Writes to a terminal that may stop reading or hang up."""

import os
import select
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TextIO

from backend.log import logger

GRACE = 0.5
"""Seconds that the dashboard waits at its end for a terminal that does not read."""

_PIECE = 1 << 16
"""At most N characters are collected before they are written."""


def in_front(terminal: int) -> bool:
    """Return whether this process has the terminal now, and no shell or other job has it."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # it is not the controlling terminal: no shell shares it
        return True


class Output:
    """The file that textual's writing thread writes to. After `hurry`, no write blocks for longer than GRACE.

    `on_hang_up` is called once, on that thread, when the terminal is gone; later text is dropped.
    """

    def __init__(self, file: TextIO, on_hang_up: Callable[[], object]) -> None:
        self._encoding, self._errors = file.encoding, file.errors or "strict"
        self._fileno = file.fileno()
        self._on_hang_up = on_hang_up
        self._gone = False
        self._collected: list[str] = []
        self._size = 0
        self.dropped = False
        """Whether text was dropped because the terminal did not read it in time."""
        self._until: float | None = None
        """Until when to wait for a terminal that does not read; None: for ever."""
        self._file = self._fileno
        with suppress(OSError):  # a new open file: other processes share the flags of the old one
            name = f"/proc/self/fd/{self._fileno}" if sys.platform == "linux" else os.ttyname(self._fileno)
            self._file = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the file descriptor of the terminal."""
        return self._fileno

    def isatty(self) -> bool:
        """Return True: it is a terminal."""
        return True

    def write(self, text: str) -> None:
        """Collect text; `flush` writes it."""
        self._collected.append(text)
        self._size += len(text)
        if self._size > _PIECE:
            self.flush()

    def flush(self) -> None:
        """Write what was collected, and wait for the terminal to read."""
        data = memoryview("".join(self._collected).encode(self._encoding, self._errors))
        self._collected.clear()
        self._size = 0
        try:
            while data and not self._gone:
                if self._ready():
                    with suppress(BlockingIOError):
                        data = data[os.write(self._file, data[:4096]) :]
                elif self._until is not None and monotonic() >= self._until:
                    self.dropped = True
                    return
        except OSError as error:
            self._lose(error)

    def hurry(self) -> None:
        """Wait at most GRACE from now, then drop what the terminal has not read. Called on any thread."""
        if self._until is None:
            self._until = monotonic() + GRACE

    def take_time(self) -> None:
        """Wait for ever again."""
        self._until = None
        self.dropped = False

    def insist(self, text: str) -> None:
        """Discard all that the terminal has not read and write `text`, even if the user stopped the output."""
        if in_front(self._fileno):
            with suppress(termios.error):
                termios.tcflush(self._file, termios.TCOFLUSH)
                termios.tcflow(self._file, termios.TCOON)
        self._collected = [text]
        self.flush()

    def _ready(self) -> bool:
        return bool(select.select([], [self._file], [], 0.05 if self._until is None else 0.02)[1])

    def _lose(self, error: OSError) -> None:
        self._gone = True
        logger.info("the terminal has gone away (%s)", error.strerror)
        self._on_hang_up()
