"""The process that keeps the private mongod running while a dashboard uses it, and stops it after the last one.

It is run as a file with `python -I -S`, and imports the standard library alone, so that it starts at once and stays
small. How the three lock files work together is told in backend.mongod.
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
"""Seconds between two looks at whether anybody is left."""
RESTARTS = 3
WINDOW = 60.0
"""A mongod that ends more than RESTARTS times within WINDOW seconds is left alone."""
GRACE = 10.0
"""Seconds a mongod gets to end by itself before it is killed."""
LOG_BYTES = 8 << 20


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock if nobody holds one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def accepts(path: str) -> bool:
    """Tell whether a server listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def command_line(pid: int) -> str:
    """The words a process was started with; empty where it is gone."""
    if os.path.exists("/proc/self/cmdline"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return os.fsdecode(file.read()).replace("\0", " ")
        except OSError:
            return ""
    words = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return words.stdout


def dies_with(parent: int) -> Callable[[], None]:
    """Make what a child runs before exec: the kernel ends it when its keeper is killed (Linux only)."""
    prctl = None
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes  # here: a Python may have been built without it

            prctl = ctypes.CDLL(None).prctl  # looked up here: nothing may be loaded between fork and exec

    def before_exec() -> None:
        if prctl is not None:
            prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:  # killed before the call
                os._exit(1)

    return before_exec


class Keeper:
    """Runs one mongod and watches it and its users, in one thread."""

    def __init__(self, folder: str, binary: str, socket_path: str) -> None:
        self._folder = folder
        self._binary = binary
        self._socket = socket_path
        self._log = os.path.join(folder, "mongod.log")
        self._db = os.path.join(folder, "db")
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        # Every signal writes a byte here, so one select() waits for a child's end, for SIGTERM and for the next tick.
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
        """Keep mongod running until the last user has left, then hold start.lock; answer why it failed, if it did."""
        users = os.open(os.path.join(self._folder, "users.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        gate = os.open(os.path.join(self._folder, "start.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        ended: list[float] = []
        up = False
        if not self._data_is_free():
            return "another mongod holds the data and does not end"
        child = self._launch()
        while True:
            self._wait(TICK if up else TICK / 5)
            if self._stopping:
                return "its keeper was told to stop"
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
                self.end_server()  # nobody can reach it any more: the next round starts another
            if self._last_has_left(users, gate):
                return ""
            self._limit_log(child)

    def _last_has_left(self, users: int, gate: int) -> bool:
        """Tell whether nobody uses the server; then the gate is shut, and no dashboard can come in between."""
        if not try_lock(users):
            return False
        fcntl.flock(users, fcntl.LOCK_UN)
        if not try_lock(gate):  # somebody is about to start: wait for the outcome, and watch the child meanwhile
            return False
        if try_lock(users):
            return True
        fcntl.flock(gate, fcntl.LOCK_UN)
        return False

    def _data_is_free(self) -> bool:
        """Wait for a mongod whose keeper was killed: it may be writing its last checkpoint. In the end kill it."""
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
            os.unlink(self._socket)  # left by a kill -9
        words = [self._binary, "--bind_ip", self._socket, "--nounixsocket", "--replSet", "cm", "--oplogSize", "50"]
        words += ["--wiredTigerCacheSizeGB", "0.25", "--dbpath", self._db, "--logpath", self._log, "--logappend"]
        # The journal takes 300 MB by default, and 16 this way, at the same speed: most of it is room set aside.
        words += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]
        words += ["--quiet", "--logRotate", "reopen", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        # This process has one thread, so a function between fork and exec is safe.
        self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, preexec_fn=dies_with(os.getpid()))  # noqa: PLW1509
        return self._child

    def _limit_log(self, child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            if os.path.getsize(self._log) > LOG_BYTES:
                os.replace(self._log, self._log + ".1")
                child.send_signal(signal.SIGUSR1)  # mongod opens its log again

    def end_server(self) -> None:
        """End mongod: politely, then not."""
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
        """Leave no socket behind, nor its folder where that is a temporary one; leave a reason if there is one."""
        with contextlib.suppress(OSError):
            os.unlink(self._socket)
        if os.path.dirname(self._socket) != self._folder:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self._socket))
        if reason:
            with contextlib.suppress(OSError), open(os.path.join(self._folder, "reason"), "w") as file:
                file.write(reason)


def main(lock: int, folder: str, binary: str, socket_path: str) -> None:
    """Keep the server; `lock` is keeper.lock, already held, handed over by the dashboard that starts us."""
    if os.fork():
        os._exit(0)  # the dashboard reaps this one at once, so the keeper is never a zombie of it
    os.umask(0o077)
    os.chdir("/")
    keeper = Keeper(folder, binary, socket_path)
    try:
        reason = keeper.run()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    keeper.end_server()
    keeper.clean_up(reason)
    os.close(lock)  # before start.lock, which ends with the process: whoever waits for that one then finds no keeper


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:5])
