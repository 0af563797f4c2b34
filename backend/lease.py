"""Lets one refresh of a kind run at a time, across all processes; the others wait for its result."""

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
"""Seconds between polls for the end of another process's refresh."""

_LOST = "Another refresh has taken the lease."

_PROCESS = re.compile(r"[1-9][0-9]{0,8}")
"""The pattern of a process id."""

_live: set[str] = set()
"""The leases that this process holds and renews."""


class RestartNeeded(Exception):
    """A refresh must restart: it lost its lease, or the server may have lost what it wrote."""


class Lease:
    """The right to refresh a kind until `end`. A thread renews it while the refresh waits for a page.

    It expires if its process is killed or cut off. A refresh that lost its lease restarts: another refresh may have
    written a newer listing.
    """

    def __init__(self, cache: "Cache", kind: Kind, scope: Scope, record: RefreshRecord) -> None:
        self.record = record
        """The record at the start of the refresh, with the figures of the last listing."""
        self._cache, self._kind, self._scope = cache, kind, scope
        self._lost = False
        self._ended = threading.Event()
        self._kept = time.time()
        # Vast kinds do not wait for the disk: a killed server loses some of the batches that it acknowledged.
        self._server = cache.store.server() if kind.vast else None
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._ended.wait(self._cache.refreshes.lease_seconds / 6) and not self._lost:
            with suppress(CacheError):  # the refresh itself will report it
                self._renew()

    def _renew(self, *, on_disk: bool = False) -> None:
        if not self._cache.refreshes.renew(self._kind, self._scope, self.record.lease, on_disk=on_disk):
            self._lost = True
        self._kept = time.time()

    def hold(self) -> None:
        """Raise RestartNeeded if another refresh has the lease; ask the server only if this process may have slept."""
        # By the wall clock: a monotonic clock stops while the computer sleeps.
        if abs(time.time() - self._kept) > self._cache.refreshes.lease_seconds / 2:
            self._renew()
        if self._lost:
            raise RestartNeeded(_LOST)

    def note(self, entry: RefreshRecord) -> None:
        """Write the progress of the refresh. Raises RestartNeeded."""
        if not self._cache.refreshes.write(self._kind, self._scope, entry, self.record.lease):
            raise RestartNeeded(_LOST)
        self._kept = time.time()

    def secure(self) -> None:
        """Wait until all writes are on disk, and check that the lease is still ours. Raises RestartNeeded."""
        self._renew(on_disk=True)
        self.hold()
        if self._server is not None and self._server != self._cache.store.server():
            raise RestartNeeded("The cache's server was restarted and may have lost some rows.")

    def end(self, entry: RefreshRecord) -> None:
        """Write how the refresh ended, and release the lease. Raises RestartNeeded."""
        self._ended.set()
        _live.discard(self.record.lease)
        entry = replace(entry, batch=0, lease="", lease_by="")
        if not self._cache.refreshes.write(self._kind, self._scope, entry, self.record.lease):
            raise RestartNeeded(_LOST)


def take(
    cache: "Cache", kind: Kind, scope: Scope, check: Callable[[], None], on_wait: Callable[[RefreshRecord], object]
) -> Lease | RefreshRecord:
    """Return the lease of a kind; or, if another refresh held it and succeeded, the record of that refresh.

    While another refresh holds the lease, `on_wait` gets its record at each poll. If that refresh fails, is cancelled
    or stops renewing the lease, this call takes it.
    """
    name, by = uuid4().hex, f"{here()}:{os.getpid()}"
    _live.add(name)
    try:
        taken = cache.refreshes.begin(kind, scope, name, by)
        seen = taken or cache.refreshes.of(kind, scope)
        while taken is None:
            on_wait(seen)
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
    """Return the name of this machine, boot and container: each container has process ids of its own."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # other systems have no containers
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text()[:8], os.readlink("/proc/self/ns/pid")]
    return "/".join(parts)


def _is_dead(record: RefreshRecord) -> bool:
    """Return whether the process that holds the lease has surely ended. A wrong answer only costs a second listing."""
    host, _, number = record.lease_by.rpartition(":")
    if host != here() or not _PROCESS.fullmatch(number):
        return False
    if int(number) == os.getpid():
        return record.lease not in _live
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it belongs to another user
        return False
    return False
