"""Remembers, between runs, what the user chose (clouds, refresh) and what clouds said of their regions."""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from backend.config import EVERY, Settings
from backend.errors import ConfigError
from backend.providers.protocol import Region

_FILE = "state.json"
LOCK = "state.lock"
"""Locked while the file is read and written, so that two simultaneous changes are both kept."""


def recall(settings: Settings, home: Path) -> dict[str, Any]:
    """Return {"cloud": selection, "refresh": bool}, with the settings that are remembered and still valid.

    A remembered setting is valid until the configuration changes its own value. An unreadable file counts as empty: it
    holds nothing that must not be lost.
    """
    found = _read(home).get(_key(settings), {})
    return {
        name: found[name]["chosen"]
        for name, (configured, valid) in _choices(settings).items()
        if isinstance(found.get(name), dict)
        and found[name].get("configured") == configured
        and valid(found[name].get("chosen"))
    }


def remember(settings: Settings, home: Path, **values: str | bool) -> None:
    """Remember `values` for this configuration; the file is replaced atomically.

    Threads and processes that write at the same time wait for each other. Raises ConfigError if the data directory
    cannot be written.
    """
    choices = _choices(settings)
    entries = {name: {"chosen": value, "configured": choices[name][0]} for name, value in values.items()}
    try:
        _change(settings, home, lambda known: known | entries)
    except OSError as error:
        raise ConfigError(f"The setting cannot be remembered in {home}: {error.strerror}.") from None


def recall_regions(settings: Settings, home: Path, cloud: str) -> list[Region]:
    """Return the regions of a cloud as it said last; none if it never did."""
    by_cloud = _read(home).get(_key(settings), {}).get(_REGIONS)
    found = by_cloud.get(cloud) if isinstance(by_cloud, dict) else None
    if not isinstance(found, list):
        return []
    return [Region(*one) for one in found if isinstance(one, list) and list(map(type, one)) == [str, bool, str]]


def remember_regions(settings: Settings, home: Path, cloud: str, regions: Sequence[Region]) -> None:
    """Remember the regions of a cloud: a later start does not wait for them. Without a data directory it does."""

    def changed(known: dict[str, Any]) -> dict[str, Any]:
        by_cloud = known.get(_REGIONS)
        return known | {_REGIONS: (by_cloud if isinstance(by_cloud, dict) else {}) | {cloud: list(map(list, regions))}}

    with suppress(OSError):
        _change(settings, home, changed)


def recall_choices(settings: Settings, home: Path) -> list[str]:
    """Return the selections that were shown lately, the last one first."""
    found = _read(home).get(_key(settings), {}).get(_RECENT)
    valid = _choices(settings)["cloud"][1]
    return [text for text in found if valid(text)] if isinstance(found, list) else []


def remember_choice(settings: Settings, home: Path, now: str, before: str) -> None:
    """Remember that the selection `now` took the place of `before`. Without a data directory nothing is remembered."""

    def changed(known: dict[str, Any]) -> dict[str, Any]:
        old = known.get(_RECENT)
        recent = [now, before, *(old if isinstance(old, list) else [])]
        return known | {_RECENT: list(dict.fromkeys(text for text in recent if isinstance(text, str)))[:_KEPT]}

    with suppress(OSError):
        _change(settings, home, changed)


_REGIONS, _RECENT = "regions", "recent"

_KEPT = 8
"""The last N selections are remembered."""


def _change(settings: Settings, home: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what is known of this configuration; the file is replaced atomically."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(home):
        state = _read(home)
        state[_key(settings)] = change(state.get(_key(settings), {}))
        _write(home, state)


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


def _choices(settings: Settings) -> dict[str, tuple[Any, Callable[[Any], bool]]]:
    """Return, by setting, the configured value and whether a value is valid."""
    known = {*settings.clouds, EVERY}

    def is_selection(value: Any) -> bool:
        return isinstance(value, str) and {word.partition("/")[0].strip() for word in value.split(",")} <= known

    return {
        "cloud": (settings.cloud, is_selection),
        "refresh": (settings.refresh, lambda value: value in (True, False)),
    }


def _key(settings: Settings) -> str:
    return str(settings.path.resolve()) if settings.path else "-"
