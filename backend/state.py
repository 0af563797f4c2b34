"""Remembers, between runs, the settings that the user changed: the current cloud and whether refresh is on."""

import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.config import Settings
from backend.errors import ConfigError

_FILE = "state.json"
LOCK = "state.lock"
"""Locked while the file is read and written, so that two simultaneous changes are both kept."""


def recall(settings: Settings, home: Path) -> dict[str, Any]:
    """Return {"cloud": name, "refresh": bool}, with the settings that are remembered and still valid.

    A remembered setting is valid until the configuration changes its own value. An unreadable file counts as empty: it
    holds nothing that must not be lost.
    """
    found = _read(home).get(_key(settings), {})
    return {
        name: found[name]["chosen"]
        for name, (configured, valid) in _choices(settings).items()
        if isinstance(found.get(name), dict)
        and found[name].get("configured") == configured
        and found[name].get("chosen") in valid
    }


def remember(settings: Settings, home: Path, **values: str | bool) -> None:
    """Remember `values` for this configuration; the file is replaced atomically.

    Threads and processes that write at the same time wait for each other. Raises ConfigError if the data directory
    cannot be written.
    """
    choices = _choices(settings)
    entries = {name: {"chosen": value, "configured": choices[name][0]} for name, value in values.items()}
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(home):
            state = _read(home)
            state.setdefault(_key(settings), {}).update(entries)
            _write(home, state)
    except OSError as error:
        raise ConfigError(f"The setting cannot be remembered in {home}: {error.strerror}.") from None


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Keep other writers out, by a lock file of its own: replacing the state file would drop a lock on it."""
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(home: Path, state: dict[str, dict[str, Any]]) -> None:
    handle, name = tempfile.mkstemp(dir=home, prefix=_FILE)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        Path(name).replace(home / _FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(home: Path) -> dict[str, dict[str, Any]]:
    try:
        state = json.loads((home / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = state.items() if isinstance(state, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, dict)}


def _choices(settings: Settings) -> dict[str, tuple[Any, Collection[Any]]]:
    """Return, by setting, the configured value and the valid values."""
    return {"cloud": (settings.cloud, list(settings.clouds)), "refresh": (settings.refresh, (True, False))}


def _key(settings: Settings) -> str:
    return str(settings.path.resolve()) if settings.path else "-"
