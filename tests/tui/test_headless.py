"""The program without a screen, run as a process: a simulated EC2 behind a proxy, a real MongoDB, real signals."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from wcwidth import wcswidth

from backend import __version__
from backend.config import Cloud
from backend.kinds import KINDS
from backend.mongod import EmbeddedServer, find_binary
from backend.providers import Boot
from backend.providers.ec2 import EC2Provider
from tests.backend.ec2_faults import every, refusal
from tests.ec2_proxy import FLAVORS, Proxy

TREE = Path(__file__).parents[2]
SECRET = "planted-secret/abcdefghijklmnop"
TOKEN = "planted-token/qrstuvwxyz"
LINE = ["cloud", "region", "kind", "count", "added", "changed", "removed", "seconds", "error"]
"""The members of a line of `--refresh --json`, as the design has them."""

Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Shell:
    """A user with an empty home, in a folder with a configuration."""

    folder: Path
    home: Path
    """The data directory."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "CLOUDMESH_HOME": str(self.home),
            "PYTHONPATH": str(TREE),
            "LANG": "C.UTF-8",
        }

    @property
    def config(self) -> Path:
        return self.folder / "work" / "cloudmesh.yaml"

    def configure(self, endpoint: str, mongodb: str, database: str = "cloudmesh", mode: int = 0o600) -> None:
        keys = f"{{EC2_ACCESS_KEY: AKIATESTING, EC2_SECRET_KEY: {SECRET}, EC2_SESSION_TOKEN: {TOKEN}}}"
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(
            f"""
cloudmesh:
  default: {{cloud: east}}
  mongodb: {{uri: "{mongodb}", database: {database}}}
  clouds:
    east: {{endpoint: "{endpoint}", images: self, credentials: {keys}, default: {{location: us-east-1}}}}
    west: {{endpoint: "{endpoint}", images: self, credentials: {keys}, default: {{location: us-west-2a}}}}
"""
        )
        self.config.chmod(mode)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        self.config.parent.mkdir(exist_ok=True)
        settings: dict[str, Any] = {
            "cwd": self.config.parent,
            "env": self.environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen([sys.executable, "-m", "tui", *words], **(settings | options))

    def run(self, *words: str, **options: Any) -> Result:
        with self.start(*words, **options) as process:
            try:
                out, error = process.communicate(timeout=60)
            finally:
                process.kill()
        return Result(process.args, process.returncode, out, error)

    def done(self, *words: str) -> str:
        """Run what must work without a word of complaint, and return what it prints."""
        result = self.run(*words)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    def lines(self, *words: str) -> dict[str, dict[str, Any]]:
        """Return the lines of a `--refresh … --json` that works, by kind."""
        return by_kind(self.done("--refresh", *words, "--json"))


def by_kind(out: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in out.splitlines()]
    assert len({line["kind"] for line in lines}) == len(lines)
    return {line["kind"]: line for line in lines}


def sentence(result: Result) -> str:
    """Return the one line that a run complained with."""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.strip() != ""
    return result.stderr


def control_characters(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} - {"\n"}


@pytest.fixture(scope="session")
def mongodb(server_home: Path) -> Iterator[str]:
    """The address of a real MongoDB server on a Unix socket."""
    with EmbeddedServer(server_home) as share:
        yield share.start()


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    assert cloud.endpoint is not None
    with Proxy(cloud.endpoint) as proxy:
        yield proxy


@pytest.fixture
def provider(cloud: Cloud) -> EC2Provider:
    """A way to the same cloud that is not the program's."""
    return EC2Provider(replace(cloud, images=("self",)))


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A shell without a configuration."""
    return Shell(tmp_path, tmp_path / "data")


@pytest.fixture
def database(mongodb: str) -> Iterator[Database[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb, tz_aware=True) as client:
        name = f"shell-{uuid4().hex[:12]}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def shell(bare: Shell, proxy: Proxy, mongodb: str, database: Database[dict[str, Any]]) -> Shell:
    """A shell whose cache is on a server that outlives each run."""
    bare.configure(proxy.endpoint, mongodb, database.name)
    return bare


@pytest.fixture
def forgetful(bare: Shell, proxy: Proxy) -> Shell:
    """A shell whose cache is in memory: for what a single run shows."""
    bare.configure(proxy.endpoint, "memory")
    return bare


def register(cloud: Cloud, name: str) -> str:
    """Make an image of our own, which only the cloud's own API can."""
    answer = EC2Provider(cloud)._driver.send("RegisterImage", {"Name": name, "Architecture": "x86_64"})
    found = re.search(r"<imageId>(ami-\w+)<", b"".join(answer.chunks()).decode())
    assert found is not None
    return found[1]


def booted(cloud: Cloud, provider: EC2Provider, name: str) -> str:
    image = register(cloud, f"image of {len(name)}")
    return str(provider.boot(Boot(image, FLAVORS[0], uuid4().hex, name=name))["id"])


# --- --refresh -------------------------------------------------------------------------------------------------------


def test_a_refresh_fills_the_cache_and_tells_the_difference_a_line_a_kind(
    shell: Shell, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    vm = booted(cloud, provider, "web")
    keypair, _ = provider.create_keypair("mine")
    lines = shell.lines()
    assert set(lines) == set(KINDS)
    assert all(list(line) == LINE for line in lines.values())
    for kind in KINDS.values():
        line, expected = lines[kind.name], len(every(getattr(provider, kind.plural)()))
        if kind.name == "flavor":
            expected = len(FLAVORS)
        assert line["count"] == line["added"] == expected == database[kind.plural].count_documents({})
        assert (line["cloud"], line["region"], line["error"]) == ("east", "us-east-1", None)
        assert (line["changed"], line["removed"]) == (0, 0)
        assert isinstance(line["seconds"], float)
        for document in database[kind.plural].find():
            assert document["_id"] == f"east/us-east-1/{document['id']}"
            assert (document["cloud"], document["region"]) == ("east", "us-east-1")
            assert set(document) >= {*kind.index, "extra", "refreshed"} - {"flight"}
        record = database.refreshes.find_one({"kind": kind.name})
        assert record is not None
        assert {name: record[name] for name in LINE if name != "seconds"} == {
            name: line[name] for name in LINE if name != "seconds"
        }
    found = database.vms.find_one({"id": vm})
    assert found is not None
    assert (found["name"], found["flavor"], found["state"]) == ("web", FLAVORS[0], "running")

    before = [list(database[kind.plural].find(sort=[("_id", 1)])) for kind in KINDS.values()]
    again = shell.lines()
    assert all((line["added"], line["changed"], line["removed"]) == (0, 0, 0) for line in again.values())
    assert [line["count"] for line in again.values()] != [0] * 6
    assert [list(database[kind.plural].find(sort=[("_id", 1)])) for kind in KINDS.values()] == before

    provider.delete_keypair("mine")
    provider.create_keypair("other")
    provider.stop(vm)
    changed = shell.lines("vm", "keypair")
    assert [changed["keypair"][name] for name in LINE[3:7]] == [1, 1, 0, 1]
    assert [changed["vm"][name] for name in LINE[3:7]] == [1, 0, 1, 0]
    assert database.keypairs.count_documents({"id": keypair["id"]}) == 0


def test_the_summary_has_the_named_kinds_only_and_nothing_else_is_asked(
    shell: Shell, proxy: Proxy, cloud: Cloud, provider: EC2Provider
) -> None:
    booted(cloud, provider, "web")
    first = [re.split(r"  +", line) for line in shell.done("--refresh", "vms", "images", "vm").splitlines()]
    assert first[0] == ["Kind", "Rows", "New", "Changed", "Gone", "Seconds", "Result"]
    assert [line[:5] + line[6:] for line in first[1:]] == [
        ["vms", "1", "1", "0", "0", "refreshed"],
        ["images", "1", "1", "0", "0", "refreshed"],
    ]
    # Of the one VM it is asked whether it is protected: once, and not again for an hour.
    assert sorted(proxy.asked) == ["DescribeImages", "DescribeInstanceAttribute", "DescribeInstances"]
    proxy.asked.clear()
    second = [line.split() for line in shell.done("--refresh", "vms", "images").splitlines()]
    assert [line[:5] for line in second[1:]] == [["vms", "1", "0", "0", "0"], ["images", "1", "0", "0", "0"]]
    assert sorted(proxy.asked) == ["DescribeImages", "DescribeInstances"]


def test_one_kind_that_fails_leaves_the_others_refreshed_and_its_own_old_rows(
    shell: Shell, proxy: Proxy, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    provider.create_volume("old", 1, "us-east-1a", "token")
    shell.done("--refresh", "volumes")
    provider.create_keypair("mine")
    proxy.answers["DescribeVolumes"] = refusal(403, "UnauthorizedOperation", "You are not authorized.")

    result = shell.run("--refresh", "volumes", "keypairs", "vms")
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["Kind", "volumes", "keypairs", "vms"]
    assert "may not do ec2:DescribeVolumes" in lines[1]
    assert lines[2].split()[:3] == ["keypairs", "1", "1"]
    assert all(line.endswith("refreshed") for line in lines[2:])
    assert [found["name"] for found in database.volumes.find()] == ["old"]

    result = shell.run("--refresh", "volumes", "vms", "--json")
    assert (result.returncode, result.stderr) == (1, "")
    found = by_kind(result.stdout)
    assert list(found["volume"]) == LINE
    assert "ec2:DescribeVolumes" in found["volume"]["error"]
    assert found["vm"]["error"] is None
    assert (record := database.refreshes.find_one({"kind": "volume"})) is not None
    assert (record["count"], record["error"]) == (1, found["volume"]["error"])


@pytest.mark.skipif(find_binary() is None, reason="needs a mongod")
def test_two_refreshes_at_once_share_one_embedded_cache(
    bare: Shell, proxy: Proxy, cloud: Cloud, provider: EC2Provider
) -> None:
    home = Path(tempfile.mkdtemp(prefix="cm", dir="/tmp"))  # short enough for a socket
    try:
        shell = Shell(bare.folder, home)
        shell.configure(proxy.endpoint, "embedded")
        vm = booted(cloud, provider, "web")
        provider.create_keypair("mine")
        words = ("--refresh", "vms", "keypairs", "--json")
        with shell.start(*words) as one, shell.start(*words) as two:
            results = [process.communicate(timeout=60) for process in (one, two)]
        assert [(one.returncode, results[0][1]), (two.returncode, results[1][1])] == [(0, "")] * 2
        for out, _ in results:
            assert {kind: line["count"] for kind, line in by_kind(out).items()} == {"vm": 1, "keypair": 1}
        assert shell.done("refresh", "off")
        [row] = json.loads(shell.done("vm", "list", "--json"))
        assert row["id"] == vm
        ended(home)
    finally:
        shutil.rmtree(home)


def ended(home: Path) -> None:
    """Wait until the server under `home` has ended; its keeper holds a lock as long."""
    with open(home / "mongod" / "keeper.lock") as lock:
        thread = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "the embedded server did not end"


def test_progress_is_drawn_on_a_terminal_and_leaves_stdout_alone(forgetful: Shell) -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        with forgetful.start("--refresh", "locations", stderr=theirs) as process:
            os.close(theirs)
            drawn = b""
            with contextlib.suppress(OSError):  # EIO: the program has ended
                while part := screen.read(65536):
                    drawn += part
            assert process.stdout is not None
            out = process.stdout.read()
        assert process.returncode == 0
    assert b"locations" in drawn
    assert b"\x1b[" in drawn
    assert control_characters(out) == set()
    assert out.splitlines()[1].startswith("locations")


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_list_is_an_array_of_objects_with_the_columns_as_members(
    shell: Shell, cloud: Cloud, provider: EC2Provider
) -> None:
    assert json.loads(shell.done("vm", "list", "--json")) == []
    assert shell.done("vm", "list") == "No VMs.\n"
    ids = {booted(cloud, provider, name) for name in ("web", "db-東京")}
    rows = json.loads(shell.done("vm", "list", "--json"))
    assert all(list(row) == list(KINDS["vm"].index) for row in rows)
    assert {row["id"] for row in rows} == ids
    assert {(row["name"], row["state"], row["flight"]) for row in rows} == {
        ("web", "running", None),
        ("db-東京", "running", None),
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["launched"]) for row in rows)
    assert json.loads(shell.done("aws", "vm", "list", "--json")) == rows
    assert json.loads(shell.done("--json", "instances", "list")) == rows


def test_a_list_is_aligned_by_cells_and_comes_from_the_cache_when_refresh_is_off(
    shell: Shell, proxy: Proxy, cloud: Cloud
) -> None:
    names = ["plain", "東京-バックアップ", "e\u0301clair", "[bold]x[/]"]
    ids = [register(cloud, name) for name in names]
    shell.done("image", "refresh")
    assert shell.done("refresh", "off").startswith("refresh is off")
    proxy.asked.clear()
    lines = shell.done("image", "list").splitlines()
    assert proxy.asked == []
    assert {line.split()[1]: line.split()[0] for line in lines[1:]} == dict(zip(ids, names, strict=True))
    at = [wcswidth(re.split(r"\bID\b|ami-", line)[0]) for line in lines]
    assert at == [max(map(wcswidth, names)) + 2] * len(lines)

    register(cloud, "new")
    assert shell.done("image", "list").splitlines() == lines
    shell.done("refresh", "on")
    assert len(shell.done("image", "list").splitlines()) == len(lines) + 1
    assert "DescribeImages" in proxy.asked


def test_a_vm_is_booted_shown_and_deleted(
    shell: Shell, proxy: Proxy, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    image = register(cloud, "ours")
    booting = json.loads(shell.done("vm", "boot", image, "--name", "web", "--json"))
    vm = booting["id"]
    assert booting["message"] == f"web ({vm}) is booting from {image}."
    assert list(booting) == ["message", *KINDS["vm"].index]
    assert (booting["name"], booting["image"], booting["flavor"]) == ("web", image, "t2.micro")
    assert set(booting["flight"]) == {"action", "since", "overdue", "before"}
    assert booting["flight"]["action"] == "boot"
    assert [(row["id"], row["name"]) for row in every(provider.vms())] == [(vm, "web")]

    proxy.asked.clear()
    refused = shell.run("vm", "delete", "web")
    assert (refused.returncode, refused.stdout, proxy.asked) == (2, "", [])
    assert "--yes" in sentence(refused)
    assert every(provider.vms())[0]["state"] == "running"
    assert shell.run("--read-only", "--yes", "vm", "delete", "web").returncode == 1
    assert every(provider.vms())[0]["state"] == "running"

    assert shell.done("--yes", "vm", "delete", "web") == f"web ({vm}) is being deleted.\n"
    assert every(provider.vms())[0]["state"] == "terminated"
    journal = list(database.journal.find(sort=[("at", 1)]))
    assert [(entry["command"], entry["objects"], entry["outcome"]) for entry in journal] == [
        (f"vm boot {image} --name web", [vm], "done"),
        ("vm delete web", [vm], "done"),
    ]


def test_a_volume_and_a_keypair_are_made_and_deleted(shell: Shell, provider: EC2Provider) -> None:
    made = json.loads(shell.done("volume", "create", "data", "--size=8", "--json"))
    assert (made["size"], made["location"]) == (8, "us-east-1a")
    key = json.loads(shell.done("keypair", "create", "mine", "--json"))["private_key"]
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert "PRIVATE KEY" in Path(key).read_text()
    assert f"private_key  {key}\n" in shell.done("keypair", "get", "mine")
    assert shell.run("volume", "delete", "data").returncode == shell.run("keypair", "delete", "mine").returncode == 2
    assert len(every(provider.volumes())) == len(every(provider.keypairs())) == 1
    assert "deleted" in shell.done("volume", "delete", "data", "--yes")
    assert f"stays in {key}" in shell.done("keypair", "delete", "mine", "--yes")
    assert every(provider.volumes()) == every(provider.keypairs()) == []


@pytest.mark.parametrize(
    "words", [("vm", "delete", "web", "--yes"), ("keypair", "create", "new"), ("volume", "create", "data")]
)
def test_read_only_refuses_what_changes_something(forgetful: Shell, proxy: Proxy, words: tuple[str, ...]) -> None:
    result = forgetful.run("--read-only", *words)
    assert (result.returncode, result.stdout, proxy.asked) == (1, "", [])
    assert "read-only" in sentence(result)


def test_the_default_cloud_is_remembered_and_one_run_may_take_another(shell: Shell) -> None:
    def region(*words: str) -> tuple[str, str]:
        line = shell.lines("locations", *words)["location"]
        return line["cloud"], line["region"]

    east, west = ("east", "us-east-1"), ("west", "us-west-2")
    assert [region("--cloud", "west"), region()] == [west, east]
    assert "west" in shell.done("set", "default", "cloud=west")
    assert [region("--cloud", "east"), region()] == [east, west]
    wrong = shell.run("set", "default", "cloud=eats")
    assert wrong.returncode == 2
    assert "Did you mean 'east'?" in sentence(wrong)


# --- wrong words and configurations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--refresh", "imagse"], "Did you mean 'image"),
        (["--refresh", "vms", "zzz"], "There is no kind 'zzz'. Known: image"),
        (["vm", "boott"], "Did you mean 'vm boot'?"),
        (["volum", "list"], "Did you mean 'volume'?"),
        (["vm", "list", "more"], "Usage: vm list"),
        (["vm", "boot", "--flavour", "t2.micro"], "Did you mean '--flavor'?"),
        (["--jsn", "vm", "list"], "There is no option '--jsn'. Did you mean '--json'?"),
        (["--ref"], "There is no option '--ref'."),
        (["vm", "start"], "vm start needs VM."),
        (["volume", "create", "data", "--size", "0"], "at least 1"),
        (["--json"], "--json needs --refresh or a command."),
        (["--refresh", "--json", "vmss"], "There is no kind 'vmss'. Did you mean 'vms'?"),
        (["--cloud", "wst", "vm", "list"], "Did you mean 'west'?"),
        (["--config", "no.yaml", "vm", "list"], "The configuration no.yaml that --config names does not exist."),
        (["vm", "list", "--config"], "expected one argument"),
        (["--log-file", "/nonexistent/log", "vm", "list"], "The log file /nonexistent/log cannot be written"),
        ([], "needs a terminal"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_wrong_words_end_with_2_and_a_sentence(forgetful: Shell, proxy: Proxy, words: list[str], said: str) -> None:
    result = forgetful.run(*words)
    assert (result.returncode, result.stdout, proxy.asked) == (2, "", [])
    assert said in sentence(result)


def test_without_a_configuration_the_demo_is_offered(bare: Shell) -> None:
    for words in ((), ("vm", "list")):
        result = bare.run(*words)
        assert (result.returncode, result.stdout) == (2, "")
        assert "There is no configuration" in sentence(result)
        assert "cloudmesh-tui --demo" in result.stderr
    assert not bare.home.exists()


def test_a_broken_configuration_is_pointed_to_and_not_quoted(forgetful: Shell) -> None:
    text = forgetful.config.read_text()
    forgetful.config.write_text(f"{text}  - {{ {SECRET}")
    result = forgetful.run("vm", "list")
    assert (result.returncode, result.stdout) == (2, "")
    assert re.search(r"cloudmesh\.yaml is not valid YAML in line \d+, column \d+", sentence(result))
    assert SECRET not in result.stderr
    forgetful.config.write_text(text.replace("mongodb:", "mongdb:"))
    result = forgetful.run("vm", "list")
    assert result.returncode == 2
    assert "cloudmesh.yaml: cloudmesh.mongdb is not a known key. Did you mean 'mongodb'?" in sentence(result)


def test_a_configuration_that_others_may_read_is_warned_about(bare: Shell, proxy: Proxy) -> None:
    bare.configure(proxy.endpoint, "memory", mode=0o644)
    result = bare.run("location", "list", "--json")
    assert result.returncode == 0
    assert f"chmod 600 {bare.config.name}" in result.stderr
    assert len(json.loads(result.stdout)) > 0


# --- clouds and caches that do not answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("vm", "list"), ("--refresh", "vms", "volumes"), ("volume", "create", "data")])
def test_an_endpoint_that_nobody_listens_on(bare: Shell, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    bare.configure(f"http://{host}", "memory")
    result = bare.run(*words)
    assert result.returncode == 1
    said = result.stdout if "--refresh" in words else sentence(result)
    assert f"{host} cannot be reached. Check the network and `endpoint` of cloud east" in said
    assert "Traceback" not in result.stdout + result.stderr


def test_wrong_keys_leave_the_old_rows_and_are_repeated_nowhere(
    shell: Shell, proxy: Proxy, provider: EC2Provider
) -> None:
    provider.create_keypair("mine")
    shell.done("--refresh", "keypairs")
    proxy.answers["*"] = refusal(401, "AuthFailure", f"AWS was not able to validate {SECRET} {TOKEN}")
    log = shell.folder / "log"
    result = shell.run("keypair", "list", "--log-file", str(log))
    assert result.returncode == 1
    assert "mine" in result.stdout
    assert "does not know these keys" in sentence(result)
    assert "EC2_ACCESS_KEY" in result.stderr

    proxy.answers["*"] = refusal(400, "Strange", f"You sent {SECRET} and {TOKEN}")
    strange = shell.run("--refresh", "keypairs", "vms", "--log-file", str(log))
    assert strange.returncode == 1
    assert strange.stdout.count("You sent *** and ***") == 2
    logged = log.read_text()
    assert "does not know these keys" in logged
    assert "You sent *** and ***" in logged
    for text in (result.stdout, result.stderr, strange.stdout, strange.stderr, logged):
        assert SECRET not in text
        assert TOKEN not in text


def test_the_log_is_its_owners_and_says_what_was_run_and_how_it_ended(forgetful: Shell) -> None:
    log = forgetful.folder / "log"
    everything = 0o000
    old = os.umask(everything)  # the program inherits it, and must not follow it
    try:
        forgetful.done("--log-file", str(log), "keypair", "create", "mine")
    finally:
        os.umask(old)
    forgetful.run("--log-file", str(log), "vm", "stop", "nothing")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert "INFO MainThread keypair create mine: Keypair mine created" in text
    assert "ERROR MainThread There is no VM 'nothing'" in text
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


def test_a_cache_that_nobody_serves(bare: Shell, proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    bare.configure(proxy.endpoint, f"mongodb://me:{TOKEN.replace('/', '%2F')}@{host}/?serverSelectionTimeoutMS=100")
    result = bare.run("vm", "list")
    assert (result.returncode, result.stdout, proxy.asked) == (1, "", [])
    assert f"The cache (MongoDB at {host}) cannot be reached" in sentence(result)
    assert "planted" not in result.stderr


# --- interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("--refresh", "keypairs", "vms"), signal.SIGINT),
        (("--refresh", "keypairs", "--json"), signal.SIGTERM),
        (("keypair", "list"), signal.SIGINT),
    ],
)
def test_an_interrupted_listing_ends_at_once_and_leaves_the_old_rows(  # noqa: PLR0917 - parts and parameters
    shell: Shell,
    proxy: Proxy,
    provider: EC2Provider,
    database: Database[dict[str, Any]],
    words: tuple[str, ...],
    number: signal.Signals,
) -> None:
    keypair, _ = provider.create_keypair("mine")
    shell.done("--refresh", "keypairs")
    proxy.held.add("DescribeKeyPairs")
    with shell.start(*words) as process:
        assert proxy.reached.wait(30)
        began = time.monotonic()
        assert process.stderr is not None
        process.send_signal(number)
        said = process.stderr.readline()
        took = time.monotonic() - began
        # Half a second more goes to pymongo's threads; waiting for the cloud would take twenty.
        out, more = process.communicate(timeout=10)
    assert (process.returncode, said, more) == (130, "Interrupted.\n", "")
    assert took < 2
    assert "keypair" not in out
    assert [row["id"] for row in database.keypairs.find()] == [keypair["id"]]
    record = database.refreshes.find_one({"kind": "keypair"})
    assert record is not None
    assert record["count"] == 1


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_an_interrupted_change_waits_for_the_answer_unless_it_is_interrupted_again(
    shell: Shell, proxy: Proxy, database: Database[dict[str, Any]], again: bool
) -> None:
    proxy.held.add("CreateKeyPair")
    key = shell.folder / "mine.pem"
    with shell.start("keypair", "create", "mine", "--to", str(key)) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert proxy.reached.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("Stopping when the cloud has answered.")
        if again:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        proxy.released.set()
        out, error = process.communicate(timeout=30)
    [entry] = database.journal.find()
    if again:
        assert (out, error, key.exists(), entry["outcome"]) == ("", "Interrupted.\n", False, "unknown")
    else:
        assert (process.returncode, error, entry["outcome"]) == (0, "", "done")
        assert "PRIVATE KEY" in key.read_text()


def test_a_change_that_was_not_sent_yet_is_not_sent_when_interrupted(
    shell: Shell, proxy: Proxy, cloud: Cloud, provider: EC2Provider
) -> None:
    image = register(cloud, "ours")
    proxy.held.add("DescribeImages")
    with shell.start("vm", "boot", image) as process:
        assert process.stderr is not None
        assert proxy.reached.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("Stopping when")
        proxy.released.set()
        assert process.wait(30) == 130
    assert "RunInstances" not in proxy.asked
    assert every(provider.vms()) == []


@pytest.mark.parametrize("words", ["--demo image list", "--demo image list --json", "--demo vm list", "--help"])
def test_a_reader_that_has_seen_enough_is_no_error(bare: Shell, words: str) -> None:
    process = bare.start(*words.split())
    assert process.stdout is not None
    process.stdout.close()  # before anything can have been written
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (1, "")


def test_head_gets_its_line(bare: Shell) -> None:
    bare.config.parent.mkdir()
    piped = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m tui --demo image list | head -1', sys.executable],
        cwd=bare.config.parent,
        env=bare.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert piped.stderr == ""
    assert piped.stdout.split()[:3] == ["Name", "ID", "Arch"]
    assert piped.stdout.count("\n") == 1


# --- what is printed -------------------------------------------------------------------------------------------------


def test_no_name_steers_the_terminal(
    shell: Shell, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    evil = "a\x9b31mb\x7fc\u202ed\x85e"  # what XML can carry: C1 controls, DEL, bidi
    vm = booted(cloud, provider, evil)
    provider.create_keypair(evil)
    shell.done("--refresh", "vms", "keypairs")
    database.vms.insert_one(
        {**(database.vms.find_one() or {}), "_id": "east/us-east-1/i-evil", "id": "i-evil", "name": "\x1b]0;evil\x07"}
    )
    shell.done("refresh", "off")
    runs = [
        shell.run(*words)
        for words in (
            ("vm", "list"),
            ("vm", "list", "--json"),
            ("keypair", "get", evil),
            ("keypair", "get", evil, "--json"),
            ("vm", "delete", evil),
            ("vm", "delete", "\x1b[31mgone", "--yes"),
            ("--refresh", "\x1b[31m"),
            ("--cloud", "\x1b[31m", "vm", "list"),
            ("--config", "\x1b[31m", "vm", "list"),
            ("\x1b[31m", "list"),
            ("vm", "stop", evil),
        )
    ]
    assert [run.returncode for run in runs] == [0, 0, 0, 0, 2, 1, 2, 2, 2, 2, 0]
    assert [control_characters(run.stdout + run.stderr) for run in runs] == [set()] * len(runs)
    assert {row["name"] for row in json.loads(runs[1].stdout)} == {evil, "\x1b]0;evil\x07"}
    assert json.loads(runs[3].stdout)["name"] == evil
    assert "a\ufffd31mb\u2421c\ufffdd\ufffde" in runs[0].stdout
    assert "␛]0;evil␇" in runs[0].stdout
    assert every(provider.vms([vm]))[0]["state"] == "stopped"


def test_an_ascii_terminal_and_a_closed_output_are_no_error(forgetful: Shell) -> None:
    result = forgetful.run("location", "list", env=forgetful.environment | {"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "? available" in result.stdout
    with forgetful.start("location", "list", "--json", preexec_fn=lambda: os.close(1)) as process:
        assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0


def test_version_and_help(bare: Shell) -> None:
    assert bare.done("--version") == f"cloudmesh-tui {__version__}\n"
    assert bare.done("--help").startswith("usage: cloudmesh-tui [options] [--refresh [KIND ...] | COMMAND ...]\n")


def test_the_demo_needs_and_leaves_nothing(bare: Shell) -> None:
    lines = by_kind(bare.done("--demo", "--refresh", "--json"))
    assert set(lines) == set(KINDS)
    assert all(line["error"] is None and line["count"] == line["added"] > 0 for line in lines.values())
    table = bare.done("--demo", "vm", "list").splitlines()
    assert table[0].split()[:3] == ["Name", "ID", "State"]
    assert len(table) == lines["vm"]["count"] + 1
    assert "is booting from" in bare.done("--demo", "vm", "boot", "--name", "mine")
    assert not bare.home.exists()
    assert not Path(bare.environment["HOME"]).exists()
    assert list(bare.config.parent.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], ["vm", "list"], ["--refresh", "locations"]])
def test_no_screen_is_loaded(forgetful: Shell, words: list[str]) -> None:
    program = """
import sys
from tui.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as done:
    status = done.code
print(status, sorted({name.partition(".")[0] for name in sys.modules} & {"textual", "moto", "rich"}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=forgetful.config.parent,
        env=forgetful.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.splitlines()[-1] == ("0 []" if words == ["--help"] else "0 ['rich']")
