"""The log file: what was run and how it ended, for maintainers. It holds no secrets; nothing goes to the screen."""

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
"""Bytes above which a log file is rotated: FILE becomes FILE.1, and FILE.1 becomes FILE.2."""
KEPT = 2
"""The number of rotated files to keep; older ones are deleted."""

logger = logging.getLogger("backend")
"""The logger of the program's modules. Without a log file its records go nowhere, never to the screen."""
logger.addHandler(logging.NullHandler())

_OURS = ("backend", "tui")
"""The loggers with the requested level. Others only warn: a driver's debug output contains whole documents."""


def keep_off_screen() -> None:
    """Prevent all libraries from logging or warning on the terminal."""
    logging.getLogger().addHandler(logging.NullHandler())  # else Python writes unhandled records to stderr
    logging.captureWarnings(True)


def write_to(path: Path, level: Level = "info") -> "LogFile":
    """Log to `path` from now on, at `level`.

    Raises ConfigError if the file cannot be written, or if others may read it and we may not change that.
    """
    try:
        handler = LogFile(path)
    except OSError as error:
        raise ConfigError(f"The log file {path} cannot be written: {error.strerror}.", "Choose another file.") from None
    logging.getLogger().addHandler(handler)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    return handler


class LogFile(logging.Handler):
    """Appends to a file that several processes may share, and rotates it when it is large.

    A record that cannot be written (full disk) is lost: a log must not stop the program or write on the screen.

    Raises OSError if the file cannot be opened, and PermissionError if it is another user's: a file that others may
    read, a link or a pipe.
    """

    def __init__(self, path: Path, most: int = MOST, kept: int = KEPT) -> None:
        super().__init__()
        self._names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1))]
        self._most = most
        self._file = _opened(path)
        self._torn = False
        """The last line is incomplete: the next record begins a new line."""
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = b"\n" * self._torn + f"{self.format(record)}\n".encode(errors="backslashreplace")
            with suppress(OSError):  # write even if the rotation failed
                self._make_room(len(data))
            self._torn = os.write(self._file, data) < len(data)
        except Cancelled:  # raised by the user's signal
            raise
        except Exception:  # noqa: BLE001, S110 - logging itself would print a traceback
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
        """Open the file again if another process has rotated it, and rotate it if it is full."""
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):  # /dev/stderr, a pipe
            return
        if not self._in_place(found):
            self._reopen()
        elif found.st_size and found.st_size + size > self._most:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if another process is rotating
            try:
                if self._in_place(found):
                    for older, newer in zip(self._names[:0:-1], self._names[-2::-1], strict=True):
                        with suppress(FileNotFoundError):
                            newer.replace(older)
                self._reopen()
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)  # needed if the reopening failed; else the old file is closed

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
    """Open a file to append to, and make it private.

    A link or a pipe of another user is refused: it may lead to a file of ours, or to a reader.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        file = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        if not is_trusted(path.lstat()):
            raise PermissionError(errno.EPERM, "it is a link that another user made") from None
        file = os.open(path, flags, 0o600)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            if not is_trusted(found) and path.parent not in _DEVICES:
                raise PermissionError(errno.EPERM, "it is not a regular file and belongs to another user")
        elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            os.fchmod(file, 0o600)
    except OSError:
        os.close(file)
        raise
    return file


_DEVICES = (Path("/dev"), Path("/dev/fd"))
"""Folders whose files may belong to anybody: /dev/stderr may be a pipe that another user made for us."""


class _Lines(logging.Formatter):
    """Formats a record as one line, followed by the indented lines of its traceback.

    The line has the time in UTC, level, process, thread, module and text. It is redacted and escaped: text from outside
    can neither forge a line nor control the reader's terminal.
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
