"""Keeps private keys: one file each, mode 0600 in a 0700 folder, complete or absent, never overwriting a file."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from backend.errors import CloudmeshError, RefusedError
from backend.folders import close_to_others, make_private
from backend.kinds.model import Scope


def folder(home: Path) -> Path:
    """Return the folder of all private keys, unless the user names another file."""
    return home / "keys"


def path_of(home: Path, scope: Scope, name: str) -> Path:
    """Return the path of the private key of keypair `name`; percent-encoded, so that any name is a file name."""
    return folder(home) / scope.cloud / scope.region / f"{quote(name, safe=' @+=,')}.pem"


@contextmanager
def reserved(path: Path, top: Path | None = None) -> Iterator[IO[str]]:
    """Reserve the key file before the cloud creates the key, so that every key that is created can be saved.

    The file is empty until the block ends; then it holds, at once, all that the block wrote. If the block fails, the
    file is removed. The folders from `top` on are made private.

    Raises RefusedError if the file exists or cannot be created, and CloudmeshError if it cannot be written after the
    cloud has created the key.
    """
    handle, draft = _reserve(path, top)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        with suppress(OSError):  # not every file system supports it
            _write_out(path.parent)
    except OSError as error:  # from the file: failures of the cloud are CloudErrors
        _remove(path, draft)
        raise CloudmeshError(
            f"The private key could not be saved to {path}: {_reason(error)}. The keypair exists nevertheless.",
            "Delete it and create it again.",
        ) from None
    except BaseException:
        _remove(path, draft)
        raise


def is_saved(path: Path) -> bool:
    """Return whether a file holds a private key, and is not only reserved."""
    return _is_file(path) and path.stat().st_size > 0


def give_up(path: Path) -> None:
    """Remove the empty file that a killed process had reserved; keep anything else."""
    with suppress(OSError):
        if _is_file(path) and not path.stat().st_size:
            path.unlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _reserve(path: Path, top: Path | None) -> tuple[int, Path]:
    """Create the empty key file and, next to it, the draft that will replace it; return the open draft and its path."""
    taken = False
    try:
        make_private(path.parent)
        if top is not None:
            close_to_others(path.parent, top)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        taken = True
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".key-")
    except FileExistsError:
        raise _exists(path) from None
    except (OSError, ValueError) as error:
        if taken:
            path.unlink(missing_ok=True)
        raise RefusedError(
            f"The private key cannot be saved to {path}: {_reason(error)}; no keypair was created.",
            "Choose another file with --to FILE.",
        ) from None
    return handle, Path(draft)


def _exists(path: Path) -> RefusedError:
    cure = "Move it, or choose another file with --to FILE."
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            cure = (
                "It is empty: another `keypair create` is running, or was killed before it had the key. "
                "If none is running, remove the file; or choose another file with --to FILE."
            )
    return RefusedError(f"{path} exists already and is not overwritten; no keypair was created.", cure)


def _write_out(parent: Path) -> None:
    """Flush a folder's entries to the disk."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "a file cannot have that name"
