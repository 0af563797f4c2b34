"""Keeps private keys: one file each, mode 0600 in a 0700 folder, written once and never over another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from backend.cache import Scope
from backend.errors import CloudmeshError, RefusedError
from backend.folders import make_private


def place(home: Path, scope: Scope, name: str) -> Path:
    """Return where the private key of keypair `name` is kept; percent-encoded, so that any name is one file."""
    return home / "keys" / scope.cloud / scope.region / f"{quote(name, safe=' @+=,')}.pem"


@contextmanager
def reserved(path: Path) -> Iterator[IO[str]]:
    """Create the empty key file before the cloud makes the key, so that a key is never made that cannot be saved.

    The file is removed again when the block fails. Raises RefusedError when the file exists or cannot be made, and
    CloudmeshError when it cannot be written after the cloud has made the key.
    """
    try:
        make_private(path.parent)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise RefusedError(
            f"{path} exists already and is not overwritten; no keypair was created.",
            "Move it away, or choose another file with --to FILE.",
        ) from None
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"The private key cannot be saved to {path}: {_reason(error)}; no keypair was created.",
            "Choose another file with --to FILE.",
        ) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of the file: the cloud's failures are CloudErrors
        path.unlink(missing_ok=True)
        raise CloudmeshError(
            f"The private key could not be saved to {path}: {_reason(error)}. The keypair was created all the same.",
            "Delete it and create it again.",
        ) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "no file can be called that"
