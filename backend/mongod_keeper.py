"""The keeper: a process that keeps the private mongod running while dashboards use it, and stops it after the last one.

It runs as a file with `python -I -S` and imports only the standard library, so that it starts at once and stays small.
backend.mongod explains the three lock files.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

TICK = 0.25
"""Seconds between checks whether any user is left."""
RESTARTS = 3
WINDOW = 60.0
"""A mongod that ends more than RESTARTS times within WINDOW seconds is not restarted."""
GRACE = 10.0
"""Seconds that a mongod gets to shut down before it is killed."""
LOG_BYTES = 8 << 20


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock if the file is not locked; return whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def accepts(path: str) -> bool:
    """Return whether a server listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def command_line(pid: int) -> str:
    """Return the command line of a process; "" if it is gone."""
    if os.path.exists("/proc/self/cmdline"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return os.fsdecode(file.read()).replace("\0", " ")
        except OSError:
            return ""
    words = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return words.stdout


def dies_with(parent: int) -> Callable[[], None]:
    """Return a function for a child to run before exec: the kernel ends it if its keeper is killed (Linux only)."""
    prctl = None
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes  # imported here: some builds of Python lack it

            prctl = ctypes.CDLL(None).prctl  # looked up here: nothing may be loaded between fork and exec

    def before_exec() -> None:
        if prctl is not None:
            prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:  # the keeper was killed before the call
                os._exit(1)

    return before_exec


class Keeper:
    """Runs one mongod, and watches it and its users, in one thread."""

    def __init__(self, folder: str, binary: str, socket_path: str) -> None:
        self._folder = folder
        self._binary = binary
        self._socket = socket_path
        self._log = os.path.join(folder, "mongod.log")
        self._db = os.path.join(folder, "db")
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        # Every signal writes a byte here, so that one select() waits for the child's end, SIGTERM and the next tick.
        self._bell, ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(ring, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._stopping = True

    def _wait(self, seconds: float) -> None:
        if select.select([self._bell], [], [], seconds)[0]:
            os.read(self._bell, 4096)

    def run(self) -> str:
        """Keep mongod running until the last user has left, then hold start.lock. Return why it failed, or ""."""
        users = os.open(os.path.join(self._folder, "users.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        gate = os.open(os.path.join(self._folder, "start.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        ended: list[float] = []
        up = False
        if not self._data_is_free():
            return "another mongod uses the data and does not end"
        child = self._launch()
        while True:
            self._wait(TICK if up else TICK / 5)
            if self._stopping:
                return "its keeper received a signal to stop"
            status = child.poll()
            if status is not None:
                now = time.monotonic()
                ended = [moment for moment in ended if now - moment < WINDOW] + [now]
                how = f"it was ended by signal {-status}" if status < 0 else f"it exited with status {status}"
                if not up:
                    return how
                if len(ended) > RESTARTS:
                    return f"{how}, {len(ended)} times within a minute"
                child = self._launch()
            elif not up:
                up = accepts(self._socket)
            elif not os.path.exists(self._socket):
                self.end_server()  # it is unreachable without its socket: the next round restarts it
            if self._last_has_left(users, gate):
                return ""
            self._limit_log(child)

    def _last_has_left(self, users: int, gate: int) -> bool:
        """Return whether no one uses the server; then hold the gate, so that no dashboard can join."""
        if not try_lock(users):
            return False
        fcntl.flock(users, fcntl.LOCK_UN)
        if not try_lock(gate):  # a dashboard is starting: keep watching the child until that has ended
            return False
        if try_lock(users):
            return True
        fcntl.flock(gate, fcntl.LOCK_UN)
        return False

    def _data_is_free(self) -> bool:
        """Wait for a mongod whose keeper was killed: it may be writing its last checkpoint. Kill it after GRACE."""
        path = os.path.join(self._db, "mongod.lock")
        began = time.monotonic()
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        sent: set[int] = set()
        try:
            while not try_lock(lock):
                waited = time.monotonic() - began
                if waited > GRACE + 5:
                    return False
                number = signal.SIGTERM if waited < GRACE else signal.SIGKILL
                holder = os.pread(lock, 32, 0).strip()
                if number not in sent and holder.isdigit() and self._db in command_line(int(holder)):
                    sent.add(number)
                    with contextlib.suppress(OSError):
                        os.kill(int(holder), number)
                time.sleep(0.05)
        finally:
            os.close(lock)
        return True

    def _launch(self) -> subprocess.Popen[bytes]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket)  # a kill -9 leaves it
        words = [self._binary, "--bind_ip", self._socket, "--nounixsocket", "--replSet", "cm", "--oplogSize", "50"]
        words += ["--wiredTigerCacheSizeGB", "0.25", "--dbpath", self._db, "--logpath", self._log, "--logappend"]
        # By default the journal preallocates 300 MB; this way it takes 16 MB, at the same speed.
        words += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]
        words += ["--quiet", "--logRotate", "reopen", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        # This process has one thread, so a function between fork and exec is safe.
        self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, preexec_fn=dies_with(os.getpid()))  # noqa: PLW1509
        return self._child

    def _limit_log(self, child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            if os.path.getsize(self._log) > LOG_BYTES:
                os.replace(self._log, self._log + ".1")
                child.send_signal(signal.SIGUSR1)  # mongod reopens its log

    def end_server(self) -> None:
        """End mongod: by SIGTERM, then by SIGKILL."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.terminate()
            deadline = time.monotonic() + GRACE
            while self._child.poll() is None and time.monotonic() < deadline:
                self._wait(TICK)
            if self._child.poll() is None:
                self._child.kill()
        self._child.wait()

    def clean_up(self, reason: str) -> None:
        """Remove the socket, and its folder if that is a temporary one; write the reason of a failure."""
        with contextlib.suppress(OSError):
            os.unlink(self._socket)
        if os.path.dirname(self._socket) != self._folder:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self._socket))
        if reason:
            with contextlib.suppress(OSError), open(os.path.join(self._folder, "reason"), "w") as file:
                file.write(reason)


def main(lock: int, folder: str, binary: str, socket_path: str) -> None:
    """Run the keeper; `lock` is keeper.lock, locked by the dashboard that starts us and handed over."""
    if os.fork():
        os._exit(0)  # the dashboard waits for this process, so the keeper never becomes its zombie
    os.umask(0o077)
    os.chdir("/")
    keeper = Keeper(folder, binary, socket_path)
    try:
        reason = keeper.run()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    keeper.end_server()
    keeper.clean_up(reason)
    os.close(lock)  # before start.lock, which the exit releases: a waiting dashboard then finds no keeper


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:5])
