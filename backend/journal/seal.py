"""Seals the journal entries of this data directory: other users may write to the journal too."""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from backend.folders import make_private

_NAME = "journal.key"
_BYTES = 32

_known: dict[Path, bytes] = {}
"""By data directory, the key that its seals are made with."""


def seal(home: Path, parts: Sequence[object]) -> str:
    """Return the seal of these values, which must fit JSON. Only a user of this data directory can make it.

    Raises OSError if the key can neither be read nor created.
    """
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hmac.new(_key(home), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def fits(home: Path, parts: Sequence[object], found: object) -> bool:
    """Return whether `found` is the seal of these values."""
    try:
        return isinstance(found, str) and hmac.compare_digest(seal(home, parts).encode(), found.encode())
    except OSError:
        return False


def _key(home: Path) -> bytes:
    if home not in _known:
        path = home / _NAME
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            _make(path)
            found = path.read_bytes()
        if len(found) != _BYTES:
            raise OSError(f"{path} is not a key of ours")
        _known[home] = found
    return _known[home]


def _make(path: Path) -> None:
    """Create a key atomically; if another process is quicker, keep its key."""
    make_private(path.parent)
    handle, draft = tempfile.mkstemp(prefix=f".{_NAME}-", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
