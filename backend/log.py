"""The log file: what was run and how it ended, for a maintainer; never a secret, and never a word on the screen."""

import errno
import fcntl
import logging
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from backend.errors import Cancelled, ConfigError
from backend.folders import is_trusted
from backend.redact import redacted
from backend.text import safe

Level = Literal["info", "debug"]
LEVELS: tuple[Level, ...] = ("info", "debug")

MOST = 5_000_000
"""Bytes above which a log file is put away as FILE.1, and that one as FILE.2."""
KEPT = 2
"""How many are put away; what is older is dropped."""

logger = logging.getLogger("backend")
"""What the modules of the program log; without a file it goes nowhere, least of all onto the screen."""
logger.addHandler(logging.NullHandler())

_OURS = ("backend", "tui")
"""The loggers whose level is the one asked for. Others only warn: a driver's debug output has whole documents in it."""


def keep_off_screen() -> None:
    """See to it that nothing that any library logs or warns of is written onto the terminal."""
    logging.getLogger().addHandler(logging.NullHandler())  # else Python writes to stderr what nobody handles
    logging.captureWarnings(True)


def write_to(path: Path, level: Level = "info") -> "LogFile":
    """Log to `path` from now on, as much as `level` says.

    Raises ConfigError when it cannot be written, or when others may read it and it is not ours to change.
    """
    try:
        handler = LogFile(path)
    except OSError as error:
        raise ConfigError(f"The log file {path} cannot be written: {error.strerror}.", "Choose another one.") from None
    logging.getLogger().addHandler(handler)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    return handler


class LogFile(logging.Handler):
    """Appends to a file that other processes may append to as well, and puts it away when it is large.

    What cannot be written (a full disk) is lost: a log is no reason to fail, nor to write onto the screen.

    Raises OSError when the file cannot be opened, and PermissionError when others may read it and it is not ours, or
    when it is a link or a pipe that is not.
    """

    def __init__(self, path: Path, most: int = MOST, kept: int = KEPT) -> None:
        super().__init__()
        self._names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1))]
        self._most = most
        self._file = _opened(path)
        self._torn = False
        """The last line is not whole: what comes next begins another."""
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = b"\n" * self._torn + f"{self.format(record)}\n".encode(errors="backslashreplace")
            with suppress(OSError):  # that it cannot be put away is no reason not to write
                self._make_room(len(data))
            self._torn = os.write(self._file, data) < len(data)
        except Cancelled:  # raised by the user's signal, and not for us
            raise
        except Exception:  # noqa: BLE001, S110 - logging's own way is to print a traceback
            pass

    def close(self) -> None:
        self.acquire()
        try:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        finally:
            self.release()
        super().close()

    def _make_room(self, size: int) -> None:
        """Open the file again where another process has rotated it, and rotate it where it is full."""
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):  # /dev/stderr, a pipe
            return
        if not self._in_place(found):
            self._reopen()
        elif found.st_size and found.st_size + size > self._most:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where somebody else is at it
            try:
                if self._in_place(found):
                    for older, newer in zip(self._names[:0:-1], self._names[-2::-1], strict=True):
                        with suppress(FileNotFoundError):
                            newer.replace(older)
                self._reopen()
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)  # where that failed, else it is another file

    def _in_place(self, found: os.stat_result) -> bool:
        try:
            there = self._names[0].stat()
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)

    def _reopen(self) -> None:
        old, self._file = self._file, _opened(self._names[0])
        os.close(old)


def _opened(path: Path) -> int:
    """Open a file to append to; its owner's alone from then on.

    A link or a pipe that somebody else has put there is refused: it may lead to a file of ours, or to a reader.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        file = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        if not is_trusted(path.lstat()):
            raise PermissionError(errno.EPERM, "it is a link that somebody else has made") from None
        file = os.open(path, flags, 0o600)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            if not is_trusted(found) and path.parent not in _DEVICES:
                raise PermissionError(errno.EPERM, "it is no file, and somebody else's")
        elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            os.fchmod(file, 0o600)
    except OSError:
        os.close(file)
        raise
    return file


_DEVICES = (Path("/dev"), Path("/dev/fd"))
"""Where what is opened may be anybody's: /dev/stderr may be a pipe that another user has made for us."""


class _Lines(logging.Formatter):
    """Makes one line of a record, and of its traceback as many as it has, indented.

    Time in UTC, level, process, thread, module, text. Strangers' text can neither forge a line nor steer the terminal
    of whoever reads it, and what is secret is not in it.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s [%(process)d %(threadName)s] %(module)s: %(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [safe(redacted(self.formatMessage(record)))]
        if record.exc_info:
            lines += (f"    {safe(line)}" for line in redacted(self.formatException(record.exc_info)).splitlines())
        return "\n".join(lines)
