"""Lets one refresh of a kind run at a time, of whatever process: the others wait for what it finds."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from backend.cache import RefreshRecord
from backend.errors import CacheError
from backend.kinds.model import Kind, Scope

if TYPE_CHECKING:
    from backend.cache import Cache

POLL_EVERY = 0.25
"""Seconds between looks at whether the refresh that is waited for has ended."""

_LOST = "Another refresh has taken its place."

_PROCESS = re.compile(r"[1-9][0-9]{0,8}")
"""What may be the number of a process."""

_live: set[str] = set()
"""The leases that this process has and keeps."""


class RestartNeeded(Exception):
    """A refresh cannot rely on what it has done: it lost its lease, or the server may have lost what it wrote."""


class Lease:
    """The right to refresh a kind, which lasts until `end`; a thread keeps it while a page is waited for.

    It runs out by itself when its process is killed or cut off. A refresh that lost it restarts: another may have
    listed since what this one never saw.
    """

    def __init__(self, cache: "Cache", kind: Kind, scope: Scope, record: RefreshRecord) -> None:
        self.record = record
        """As it was when it began, with the figures of the last listing."""
        self._cache, self._kind, self._scope = cache, kind, scope
        self._lost = False
        self._ended = threading.Event()
        self._kept = time.time()
        # Of kinds whose batches do not wait for the disk a server that is killed forgets some that it has confirmed.
        self._server = cache.store.server() if kind.vast else None
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._ended.wait(self._cache.refreshes.lease_seconds / 6) and not self._lost:
            with suppress(CacheError):  # the refresh itself will say so
                self._renew()

    def _renew(self, *, on_disk: bool = False) -> None:
        if not self._cache.refreshes.renew(self._kind, self._scope, self.record.lease, on_disk=on_disk):
            self._lost = True
        self._kept = time.time()

    def hold(self) -> None:
        """Raise RestartNeeded where another has it; it is asked where this process seems to have slept."""
        if (
            abs(time.time() - self._kept) > self._cache.refreshes.lease_seconds / 2
        ):  # the wall's clock: others stop in sleep
            self._renew()
        if self._lost:
            raise RestartNeeded(_LOST)

    def note(self, entry: RefreshRecord) -> None:
        """Write how far the refresh has come. Raises RestartNeeded."""
        if not self._cache.refreshes.write(self._kind, self._scope, entry, self.record.lease):
            raise RestartNeeded(_LOST)
        self._kept = time.time()

    def secure(self) -> None:
        """See to it that all that was written is on disk, and that the lease is still ours. Raises RestartNeeded."""
        self._renew(on_disk=True)
        self.hold()
        if self._server is not None and self._server != self._cache.store.server():
            raise RestartNeeded("The cache's server was restarted, and may have lost some of it.")

    def end(self, entry: RefreshRecord) -> None:
        """Write how it ended, and let others refresh. Raises RestartNeeded."""
        self._ended.set()
        _live.discard(self.record.lease)
        entry = replace(entry, batch=0, lease="", lease_by="")
        if not self._cache.refreshes.write(self._kind, self._scope, entry, self.record.lease):
            raise RestartNeeded(_LOST)


def take(
    cache: "Cache", kind: Kind, scope: Scope, check: Callable[[], None], waits: Callable[[RefreshRecord], object]
) -> Lease | RefreshRecord:
    """Return the lease of a kind, or, where another refresh had it and has ended well, what that has found.

    While another has it `waits` gets its record at each look. Where that fails, is cancelled or is not heard of any
    more, the lease is taken.
    """
    name, by = uuid4().hex, f"{here()}:{os.getpid()}"
    _live.add(name)
    try:
        taken = cache.refreshes.begin(kind, scope, name, by)
        seen = taken or cache.refreshes.of(kind, scope)
        while taken is None:
            waits(seen)
            check()
            threading.Event().wait(POLL_EVERY)
            found = cache.refreshes.of(kind, scope)
            if found.finished != seen.finished:
                _live.discard(name)
                return found
            seen = found
            taken = cache.refreshes.begin(kind, scope, name, by, seen=seen, dead=_is_dead(seen))
        return Lease(cache, kind, scope, taken)
    except BaseException:
        _live.discard(name)
        raise


def here() -> str:
    """Return what names the processes of this machine, since it was started: containers count theirs from 1 each."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # other systems have no containers
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text()[:8], os.readlink("/proc/self/ns/pid")]
    return "/".join(parts)


def _is_dead(record: RefreshRecord) -> bool:
    """Return whether the process that has the lease is known to have ended; wrongly so, it would only list as well."""
    host, _, number = record.lease_by.rpartition(":")
    if host != here() or not _PROCESS.fullmatch(number):
        return False
    if int(number) == os.getpid():
        return record.lease not in _live
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        return False
    return False
