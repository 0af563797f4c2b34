"""Runs the whole program in a pseudo-terminal, with pyte as its screen and keys as its only input."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

ROOT = Path(__file__).parents[2]
COLUMNS, LINES = 120, 36
LISTENING = "0A"


class Terminal:
    """`python -m tui`, with `--demo` or other words, in a terminal of 120 by 36 cells."""

    module = "tui"
    controls = False
    """Whether it is the controlling terminal of its processes, as that of a shell is."""

    def __init__(self, home: Path, *words: str, cwd: Path = ROOT, **environment: str) -> None:
        self.output = b""
        """All that was written so far."""
        self._words, self._cwd = words or ("--demo",), cwd
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._mark = f"CLOUDMESH_TEST={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
        self._environment = {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", name: value, **environment}

    def __enter__(self) -> Self:
        self._master, self._slave = os.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            self.command(), cwd=self._cwd, env=self._environment, start_new_session=not self.controls,
            preexec_fn=self._take_terminal if self.controls else None,  # noqa: PLW1509 - no thread forks here
            stdin=self._slave, stdout=self._slave, stderr=self._slave,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def command(self) -> list[str]:
        """Return the command that runs in it."""
        return [sys.executable, "-m", self.module, *self._words]

    def _take_terminal(self) -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    @property
    def text(self) -> str:
        """The lines of the screen."""
        return "\n".join("".join(row).rstrip() for row in self.cells())

    def line(self, text: str) -> str:
        """Return the first line with `text` in it."""
        return next((line for line in map("".join, self.cells()) if text in line), "")

    def cells(self) -> list[list[str]]:
        """Return what is in each cell of each line; the second one of a wide character is empty.

        pyte's own `display` cannot read a line in which the first half of a wide character was written over.
        """
        return [[self._screen.buffer[y][x].data for x in range(COLUMNS)] for y in range(LINES)]

    def settles(self, seconds: float = 0.3) -> None:
        """Read until nothing is written for a while."""
        while self.read(seconds):
            pass

    def type(self, keys: str | bytes) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def read(self, seconds: float) -> bool:
        """Read for some seconds; return whether anything was written."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        data = os.read(self._master, 1 << 16)
        self.output += data
        # pyte shows the sequences of the kitty keyboard protocol; other terminals ignore them.
        self._stream.feed(re.sub(rb"\x1b\[[<>=]\d*u", b"", data))
        return True

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds:g} s:\n{self.text}"
            assert self.process.poll() is None or self.read(0), f"It has ended:\n{self.text}"
            self.read(0.05)

    def sees(self, *texts: str, seconds: float = 20.0) -> None:
        self.until(lambda: all(text in self.text for text in texts), seconds)

    def insist(self, key: str, condition: Callable[[], object]) -> None:
        """Press a key until the condition holds and lasts: a dialog takes no yes at the moment when it is painted.

        Half of a repaint may lack a text that the other half brings.
        """

        def lasts() -> bool:
            if condition():
                self.settles()
            return bool(condition())

        end = time.monotonic() + 20
        while not lasts():
            assert time.monotonic() < end, f"{key!r} does nothing:\n{self.text}"
            self.type(key)
            again = time.monotonic() + 1
            while not condition() and time.monotonic() < again:
                self.read(0.05)

    def ends(self) -> int:
        """Read until the program ends, and return its exit status."""
        end = time.monotonic() + 10
        while self.process.poll() is None:
            assert time.monotonic() < end, f"It does not end:\n{self.text}"
            self.read(0.05)
        while self.read(0):
            pass
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    @property
    def state(self) -> str:
        """The state of the process: T when it is stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def repainted(self, since: int) -> str:
        """Return what a terminal shows that was empty when `since` bytes had been written."""
        screen = pyte.Screen(COLUMNS, LINES)
        pyte.ByteStream(screen).feed(re.sub(rb"\x1b\[[<>=]\d*u", b"", self.output[since:]))
        return "\n".join(screen.display)

    def stall(self, seconds: float = 1.0) -> None:
        """Make the program write, without reading it, until its writes block."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.type("jjjjkkkk4444")
            time.sleep(0.005)

    def modes(self) -> bool:
        """Return whether the modes of the terminal are as they were."""
        return bool(termios.tcgetattr(self._slave) == self._before)

    def flow(self, *, on: bool) -> None:
        """Stop the output, as Ctrl-S does, or let it go on."""
        termios.tcflow(self._slave, termios.TCOON if on else termios.TCOOFF)

    def restored(self) -> bool:
        """Return whether the terminal is as it was: its modes, the main screen, the cursor, no mouse, no pastes."""
        modes = {1049: False, 25: True, 1000: False, 1003: False, 1006: False, 2004: False}
        for number, on in modes.items():
            switched = re.findall(rb"\x1b\[\?%d([hl])" % number, self.output)
            assert switched, number
            if (switched[-1] == b"h") is not on:
                return False
        return self.modes()

    def ports(self) -> set[int]:
        """Return the TCP ports that the program listens on."""
        sockets = set()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                sockets.add(str(entry.readlink()))
            except OSError:  # closed meanwhile
                continue
        found = set()
        for table in ("tcp", "tcp6"):
            for row in Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                    found.add(int(fields[1].rpartition(":")[2], 16))
        return found

    def processes(self) -> list[int]:
        """Return the program's process and those that it has started, found by their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:  # somebody else's, or gone
                continue
        return found
