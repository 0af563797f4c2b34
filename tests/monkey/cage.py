"""A dashboard under the monkey test: sends it groups of input, and records its screen."""

import fcntl
import os
import select
import signal
import struct
import termios
import time
from pathlib import Path
from typing import Any

from tests.monkey.groups import SIZES, Group
from tests.monkey.judge import Sent, Shown, window_on
from tests.tui.terminal import Terminal

REST = 1.0
"""Seconds without a window and without input, after which what is sent is sent in a calm."""

CHUNK = 4096
"""At most N bytes are written at once: a terminal's input buffer takes these without blocking."""


class Caged(Terminal):
    """A program in a terminal of changing size. Its output is always read, also while another gets input."""

    def __init__(self, home: Path, *words: str, **options: Any) -> None:
        self.log = home / f"log-{time.monotonic_ns()}"
        """The program's own."""
        super().__init__(home, *words, "--log-file", str(self.log), **options)
        self.sent: list[Sent] = []
        self.shown: Shown | None = None
        self.size = SIZES[0]
        self.memory: list[tuple[int, int]] = []
        """(groups so far, MB of resident memory)."""
        self._empty = self._input = time.time()
        """When nothing was there to read, and when something was last typed, or a window last seen."""
        self._pending: list[Sent] = []
        self._absent = 0.0
        """When there surely was no window last."""

    def cells(self) -> list[list[str]]:
        screen = self._screen
        return [[screen.buffer[y][x].data for x in range(screen.columns)] for y in range(screen.lines)]

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def waiting(self) -> int:
        """The number of typed bytes that the program has not read."""
        return int(struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4))[0])

    def look(self, seconds: float = 0.0) -> None:
        """Read what is painted within some seconds, and all that is there by then; note what stands there."""
        until = time.time() + seconds
        while True:
            began = time.time()
            if self._pending and not self.waiting:
                for one in self._pending:
                    one.read_by = time.time()
                self._pending.clear()
            try:
                more = self.read(max(0.0, min(until - began, 0.05)))
            except OSError:  # it has ended, and the terminal with it
                return
            if not more:
                self._empty = began
                self._note()
                if began >= until:
                    return
            elif not select.select([self._master], [], [], 0)[0]:
                self._note()

    def _note(self) -> None:
        window = window_on(self.cells())
        if window is None:
            self.shown, self._absent = None, self._empty
        elif self.shown is None or self.shown.window.title != window.title:
            self.shown = Shown(window, self._absent if self.shown is None else self._empty)
            for one in self.sent[-20:]:
                if one.next is None and one.shown is None:
                    one.next = self.shown
        else:
            self.shown.window = window
            self._input = time.time()

    def play(self, group: Group, data: bytes) -> None:
        """Do what a group says."""
        if group.how == "resize":
            self.resize(*group.size)
        elif group.how == "freeze":
            self._frozen(data)
        elif data:
            self._write(data, calm=group.calm)
        if group.how == "suspend":
            self.look(0.2)
            os.kill(self.process.pid, signal.SIGCONT)
        if group.how == "stall":
            time.sleep(group.wait)
        self.look(group.wait)

    def resize(self, columns: int, lines: int) -> None:
        self.size = (columns, lines)
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.process.pid, signal.SIGWINCH)

    def _frozen(self, data: bytes) -> None:
        """Type while the program is stopped, as it is on a machine that swaps."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self._write(data)
        time.sleep(0.2)
        os.kill(self.process.pid, signal.SIGCONT)

    def _write(self, data: bytes, *, calm: bool = False) -> None:
        if calm:  # else what was typed before may open what this confirms
            end = time.time() + 3 * REST
            while time.time() < end and not self._rests():
                self.look(0.1)
        self.look()
        rests = calm and self._rests()
        line = next((row[3:] for row in map("".join, self.cells()) if row.startswith(" : ")), "")
        one = Sent(data, time.time(), 0.0, self.shown, self.size, line.strip(), rests)
        for start in range(0, len(data), CHUNK):
            os.write(self._master, data[start : start + CHUNK])
        one.ended = self._input = time.time()
        self.sent.append(one)
        self._pending.append(one)

    def _rests(self) -> bool:
        return self.shown is None and not self._pending and time.time() - self._input > REST

    def resident(self) -> int:
        """Return the MB of memory that the program has in use, 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)

    def owner(self, running: Path) -> str:
        """Return the name of the process in the journal; "" if it has sent nothing."""
        for entry in Path(f"/proc/{self.process.pid}/fd").glob("*"):
            try:
                if entry.readlink().parent == running:
                    return entry.readlink().name
            except OSError:  # closed meanwhile
                continue
        return ""
