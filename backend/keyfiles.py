"""Keeps private keys: one file each, mode 0600 in a 0700 folder, there whole or not at all, never over another."""

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
    """Return where all private keys are kept, unless the user names another place."""
    return home / "keys"


def path_of(home: Path, scope: Scope, name: str) -> Path:
    """Return where the private key of keypair `name` is kept; percent-encoded, so that any name is one file."""
    return folder(home) / scope.cloud / scope.region / f"{quote(name, safe=' @+=,')}.pem"


@contextmanager
def reserved(path: Path, top: Path | None = None) -> Iterator[IO[str]]:
    """Take the name of the key file before the cloud makes the key, so that a key is never made that cannot be saved.

    What the block writes is in the file when the block has ended, all at once; until then the file is empty, and when
    the block fails it is removed again. The folders from `top` on are closed to everybody else.

    Raises RefusedError when the file exists or cannot be made, and CloudmeshError when it cannot be written after the
    cloud has made the key.
    """
    handle, draft = _reserve(path, top)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        with suppress(OSError):  # not every disk can
            _write_out(path.parent)
    except OSError as error:  # of the file: the cloud's failures are CloudErrors
        _remove(path, draft)
        raise CloudmeshError(
            f"The private key could not be saved to {path}: {_reason(error)}. The keypair was created all the same.",
            "Delete it and create it again.",
        ) from None
    except BaseException:
        _remove(path, draft)
        raise


def is_saved(path: Path) -> bool:
    """Return whether a private key is in a file, not only its name reserved."""
    return _is_file(path) and path.stat().st_size > 0


def give_up(path: Path) -> None:
    """Remove the empty file that a process which was killed had reserved; anything else stays."""
    with suppress(OSError):
        if _is_file(path) and not path.stat().st_size:
            path.unlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _reserve(path: Path, top: Path | None) -> tuple[int, Path]:
    """Create the empty key file, and beside it the one that will take its place; return that, open, and its path."""
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
    cure = "Move it away, or choose another file with --to FILE."
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            cure = (
                "It is empty: another keypair create runs now, or was killed before it had the key. "
                "Remove it if none runs, or choose another file with --to FILE."
            )
    return RefusedError(f"{path} exists already and is not overwritten; no keypair was created.", cure)


def _write_out(parent: Path) -> None:
    """Have the names in a folder written to the disk."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "no file can be called that"
