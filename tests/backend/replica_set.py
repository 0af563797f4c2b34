"""A MongoDB replica set of three members on ports of this machine; a test kills one."""

import os
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from backend.mongod import find_binary
from tests.backend.cache_support import eventually

ELECTION_MS = 500
"""How long the members miss their primary before they elect another: MongoDB's own is 10 s."""


class Member:
    """One mongod, which may be killed and started again on its data."""

    def __init__(self, folder: Path, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self._folder, self._port = folder, port
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it may take a moment until it answers."""
        binary = find_binary()
        assert binary is not None
        words = [binary, "--bind_ip", "127.0.0.1", "--port", str(self._port), "--nounixsocket", "--replSet", "rs"]
        words += ["--oplogSize", "50", "--wiredTigerCacheSizeGB", "0.25", "--dbpath", str(self._folder)]
        words += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]
        words += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", str(self._folder / "log")]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})

    def kill(self) -> None:
        """Let it end as by a power failure of its machine."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def ask(self, command: str | dict[str, Any]) -> dict[str, Any]:
        """Run an administrator's command on this member; {} if it does not answer."""
        uri = f"mongodb://{self.host}/?directConnection=true"
        with suppress(PyMongoError), MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=1_000) as client:
            return client.admin.command(command)
        return {}


class ReplicaSet:
    """Three members; `with` starts them and ends them."""

    def __init__(self, folder: Path) -> None:
        with ExitStack() as taken:
            sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            ports = [one.getsockname()[1] for one in sockets]
        self.members = [Member(folder / str(port), port) for port in ports]
        hosts = ",".join(member.host for member in self.members)
        self.uri = f"mongodb://{hosts}/?replicaSet=rs"

    def __enter__(self) -> Self:
        for member in self.members:
            member.start()
        config = {
            "_id": "rs",
            "members": [{"_id": number, "host": member.host} for number, member in enumerate(self.members)],
            "settings": {"electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": ELECTION_MS // 5},
        }
        try:
            eventually(lambda: self.members[0].ask({"replSetInitiate": config}), 40)
            self.whole()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Kill all members."""
        for member in self.members:
            member.kill()

    def whole(self) -> None:
        """Start what was killed, and wait until there are a primary and two secondaries, all up to date."""
        for member in self.members:
            if not member.runs:
                member.start()
        eventually(lambda: sorted(self._states()) == ["PRIMARY", "SECONDARY", "SECONDARY"], 60)

    def _states(self) -> list[str]:
        """Return what each member says of itself: of another it may be late."""
        said = [member.ask("replSetGetStatus").get("members", []) for member in self.members]
        return [str(one["stateStr"]) for members in said for one in members if one.get("self")]

    def kill_primary(self) -> Member:
        """Kill the primary and return it."""
        primary: Member = eventually(self._primary)
        primary.kill()
        return primary

    def _primary(self) -> Member | None:
        return next((one for one in self.members if one.runs and one.ask("hello").get("isWritablePrimary")), None)
