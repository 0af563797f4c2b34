"""Says whether the process that began a command still runs: each process holds a lock on a file until it ends."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from backend.folders import make_private

_FOLDER = "running"

_KEPT_FOR = 86_400.0
"""Seconds for which the file of a process that has ended is kept."""

_held: dict[Path, tuple[str, int]] = {}
"""By data directory, the name that this process has there and the descriptor that holds its lock."""


def sign(home: Path) -> str:
    """Return the name of this process in the data directory; its lock is taken at the first call. Raises OSError."""
    if home not in _held:
        folder = home / _FOLDER
        make_private(folder)
        name = uuid4().hex
        # Python opens files as not inheritable: a server that this process starts does not keep the lock.
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        _held[home] = name, handle
        _sweep(folder)
    return _held[home][0]


def lives(home: Path, name: str) -> bool | None:
    """Return whether the process of that name still runs, None when it is not of this data directory."""
    if _held.get(home, ("",))[0] == name:
        return True
    try:
        return _is_locked(home / _FOLDER / name)
    except OSError:
        return None


def _is_locked(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two processes may test it at once
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _sweep(folder: Path) -> None:
    """Remove what processes that ended long ago left behind; without these files they still count as ended."""
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_FOR and not _is_locked(path):
                path.unlink()
