"""MongoDB servers of a test, and their faults: killed, frozen, stepped down, out of disk space."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from backend.mongod import find_binary
from tests.backend.cache_support import eventually

DISK_FULL = 14031
"""The reply of a server without disk space."""


def processes(home: Path) -> dict[int, str]:
    """The mongods and keepers of a home by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = entry.joinpath("cmdline").read_bytes().decode(errors="replace")
                if str(home) in words and ("--dbpath" in words or "mongod_keeper" in words):
                    found[int(entry.name)] = words
    return found


def mongod_of(home: Path) -> int | None:
    return next((number for number, words in processes(home).items() if "--dbpath" in words), None)


def keeper_of(home: Path) -> int | None:
    return next((number for number, words in processes(home).items() if "mongod_keeper" in words), None)


def kill(number: int | None) -> None:
    assert number is not None
    os.kill(number, signal.SIGKILL)


@contextmanager
def frozen(number: int | None) -> Iterator[None]:
    """Stop a process while the block runs; its sockets keep listening."""
    assert number is not None
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


class Server:
    """A mongod of a test: a replica set of one, with faults on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = str(folder / "s.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"mongodb://{quote(self._socket, safe='')}/?replicaSet=rs"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it takes writes."""
        binary = find_binary()
        assert binary is not None
        words = [binary, "--bind_ip", self._socket, "--nounixsocket", "--replSet", "rs", "--oplogSize", "50"]
        words += [
            "--wiredTigerCacheSizeGB",
            "0.25",
            "--dbpath",
            str(self.folder),
            "--setParameter",
            "enableTestCommands=1",
        ]
        words += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]
        words += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", str(self.folder / "log")]
        Path(self._socket).unlink(missing_ok=True)
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        eventually(self._is_primary, 40)

    def _is_primary(self) -> bool:
        with contextlib.suppress(PyMongoError):
            if self.ask("hello").get("isWritablePrimary"):
                return True
            member = {"_id": 0, "host": f"{self._socket}:27017"}
            self.ask({"replSetInitiate": {"_id": "rs", "members": [member]}})
        return False

    def ask(self, command: str | dict[str, Any]) -> dict[str, Any]:
        """Run an administrator's command."""
        uri = f"mongodb://{quote(self._socket, safe='')}/?directConnection=true"
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=500) as client:
            return client.admin.command(command)

    @property
    def number(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def step_down(self, seconds: int = 1) -> None:
        """Make the primary step down; after some seconds it elects itself again."""
        eventually(lambda: self.ask({"hello": 1})["isWritablePrimary"])
        self.ask({"replSetStepDown": seconds, "force": True})

    @contextmanager
    def failing(self, *commands: str, code: int = DISK_FULL, unconfirmed: bool = False) -> Iterator[None]:
        """Let it reply to some commands with an error while the block runs.

        `unconfirmed`: they are carried out, and the error is that other members have not written it in time.
        """
        late = {"code": code, "errmsg": "waiting for replication timed out"}
        how = {"writeConcernError": late} if unconfirmed else {"errorCode": code}
        data = {"failCommands": list(commands), **how}
        self.ask({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
        try:
            yield
        finally:
            self.ask({"configureFailPoint": "failCommand", "mode": "off"})


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path | None]:
    """Mount a small disk in memory until no process uses it; None if that needs root."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    root = os.geteuid() == 0 and shutil.which("mount")
    if not root or subprocess.run(words, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        eventually(lambda: not processes(folder))
        # An ending process loses its command line before it closes its files.
        eventually(lambda: not subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode)


def fill_up(folder: Path) -> Path:
    """Fill the disk of a folder; return the file to remove."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return ballast
