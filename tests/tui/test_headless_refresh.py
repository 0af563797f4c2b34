"""`--refresh` without a screen: what it fetches, prints and leaves in the cache."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from backend.catalog import KINDS
from backend.config import Cloud
from backend.mongod import find_binary
from backend.providers.ec2.provider import EC2Provider
from tests.backend.ec2_faults import every, refusal
from tests.ec2_proxy import FLAVORS, Proxy
from tests.tui.shell import Shell, booted, by_kind, control_characters

LINE = ["cloud", "region", "kind", "count", "added", "changed", "removed", "seconds", "error"]
"""The members of a line of `--refresh --json`, as the design has them."""


def test_a_refresh_fills_the_cache_and_tells_the_difference_a_line_a_kind(
    shell: Shell, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    vm = booted(cloud, provider, "web")
    keypair, _ = provider.of("keypair").create("mine")
    lines = shell.lines()
    assert set(lines) == set(KINDS)
    assert all(list(line) == LINE for line in lines.values())
    for kind in KINDS.values():
        line, expected = lines[kind.name], len(every(provider.of(kind.name).list()))
        if kind.name == "flavor":
            expected = len(FLAVORS)
        assert line["count"] == line["added"] == expected == database[kind.plural].count_documents({})
        assert (line["cloud"], line["region"], line["error"]) == ("east", "us-east-1", None)
        assert (line["changed"], line["removed"]) == (0, 0)
        assert isinstance(line["seconds"], float)
        for document in database[kind.plural].find():
            assert document["_id"] == f"east/us-east-1/{document['id']}"
            assert (document["cloud"], document["region"]) == ("east", "us-east-1")
            assert set(document) >= {*kind.index, "extra", "refreshed"} - {"flight", "protected"}
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

    provider.of("keypair").delete("mine", keypair["id"])
    provider.of("keypair").create("other")
    provider.of("vm").stop(vm)
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
    assert sorted(proxy.asked) == ["DescribeImages", "DescribeInstances"]
    proxy.asked.clear()
    second = [line.split() for line in shell.done("--refresh", "vms", "images").splitlines()]
    assert [line[:5] for line in second[1:]] == [["vms", "1", "0", "0", "0"], ["images", "1", "0", "0", "0"]]
    assert sorted(proxy.asked) == ["DescribeImages", "DescribeInstances"]


def test_one_kind_that_fails_leaves_the_others_refreshed_and_its_own_old_rows(
    shell: Shell, proxy: Proxy, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    provider.of("volume").create("old", 1, "us-east-1a", "token")
    shell.done("--refresh", "volumes")
    provider.of("keypair").create("mine")
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
        provider.of("keypair").create("mine")
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


def test_progress_is_drawn_on_a_terminal_and_leaves_stdout_alone(forgetful: Shell, proxy: Proxy) -> None:
    proxy.cut("DescribeAvailabilityZones")
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
    assert b"Listing locations: cut off, retrying in 1 s" in drawn
    assert b"\x1b[" in drawn
    assert control_characters(out) == set()
    assert out.splitlines()[1].startswith("locations")
