"""The program without a screen: its commands and their output, run as a process."""

import json
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from wcwidth import wcswidth

from backend import __version__
from backend.catalog import KINDS
from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.backend.ec2_faults import every
from tests.ec2_proxy import Proxy
from tests.tui.shell import TREE, Shell, booted, by_kind, control_characters, register, sentence

# --- commands ---------------------------------------------------------------------------------------------------------


def test_a_list_is_an_array_of_objects_with_the_columns_and_the_scope_as_members(
    shell: Shell, cloud: Cloud, provider: EC2Provider
) -> None:
    assert json.loads(shell.done("vm", "list", "--json")) == []
    assert shell.done("vm", "list") == "No VMs.\n"
    ids = {booted(cloud, provider, name) for name in ("web", "db-東京")}
    rows = json.loads(shell.done("vm", "list", "--json"))
    assert all(list(row) == [*KINDS["vm"].index, "cloud", "region"] for row in rows)
    assert {(row["cloud"], row["region"]) for row in rows} == {("east", "us-east-1")}
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
    assert [(row["id"], row["name"]) for row in every(provider.of("vm").list())] == [(vm, "web")]

    proxy.asked.clear()
    refused = shell.run("vm", "delete", "web")
    assert (refused.returncode, refused.stdout, proxy.asked) == (2, "", [])
    assert "--yes" in sentence(refused)
    assert every(provider.of("vm").list())[0]["state"] == "running"
    assert shell.run("--read-only", "--yes", "vm", "delete", "web").returncode == 1
    assert every(provider.of("vm").list())[0]["state"] == "running"

    assert shell.done("--yes", "vm", "delete", "web") == f"web ({vm}) is being deleted.\n"
    assert every(provider.of("vm").list())[0]["state"] == "terminated"
    journal = list(database.journal.find(sort=[("at", 1)]))
    assert [(entry["command"], entry["objects"], entry["outcome"]) for entry in journal] == [
        (f"vm boot {image} --name web", [vm], "done"),
        ("vm delete web", [vm], "done"),
    ]


def test_production_is_deleted_only_with_its_name(
    shell: Shell, proxy: Proxy, cloud: Cloud, provider: EC2Provider
) -> None:
    ids = {name: booted(cloud, provider, name) for name in ("core, 1", "other")}
    for native in ids.values():
        provider.of("vm").tag(native, "env", "prod")
    shell.done("vm", "refresh")
    proxy.asked.clear()
    for words in ((), ("--production", "web"), ("--production", "core"), ("--production=",)):
        refused = shell.run("--yes", *words, "vm", "delete", "core, 1")
        assert (refused.returncode, refused.stdout) == (2, "")
        said = sentence(refused)
        assert f"The VM core, 1 ({ids['core, 1']}) is tagged as production (env=prod)" in said
        assert "--production 'core, 1' confirms it" in said
    assert "TerminateInstances" not in proxy.asked
    for harmless in (("vm", "stop", "other"), ("vm", "list"), ("--refresh", "vms")):
        unneeded = shell.run("--production", "other", *harmless)
        assert (unneeded.returncode, unneeded.stdout) == (2, "")
        assert "destroys nothing, so --production confirms nothing" in sentence(unneeded)
    assert "deleted" in shell.done("--yes", "--production", "core, 1", "vm", "delete", "core, 1")
    assert "deleted" in shell.done("vm", "delete", ids["other"], "--yes", f"--production=x, {ids['other']}")
    assert {vm["state"] for vm in every(provider.of("vm").list())} == {"terminated"}


def test_a_stop_says_on_stderr_what_it_loses_before_and_after(
    shell: Shell, cloud: Cloud, provider: EC2Provider
) -> None:
    native = booted(cloud, provider, "web")
    address = every(provider.of("vm").list())[0]["public_ip"]
    stopped = shell.run("vm", "stop", "web")
    named = f"web ({native})"
    assert stopped.returncode == 0
    assert stopped.stdout == f"{named} is stopping.\nTo undo it: vm start {native}\n"
    assert stopped.stderr.splitlines() == [
        f"{named}: public address {address} is not elastic: it is lost.",
        f"{named}: its volume, 8 GiB, still billed.",
        f"Its public address {address} is gone: it is not elastic, and a start gives another. "
        "Its volume is still billed.",
    ]
    started = shell.run("vm", "start", "web", "--json")
    assert json.loads(started.stdout)["message"] == f"{named} is starting."
    assert started.stderr == f"Its public address {address} of before the stop does not come back: it gets another.\n"


def test_a_volume_and_a_keypair_are_made_and_deleted(shell: Shell, provider: EC2Provider) -> None:
    made = json.loads(shell.done("volume", "create", "data", "--size=8", "--json"))
    assert (made["size"], made["location"]) == (8, "us-east-1a")
    key = json.loads(shell.done("keypair", "create", "mine", "--json"))["private_key"]
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert "PRIVATE KEY" in Path(key).read_text()
    assert f"private_key  {key}\n" in shell.done("keypair", "get", "mine")
    assert shell.run("volume", "delete", "data").returncode == shell.run("keypair", "delete", "mine").returncode == 2
    assert len(every(provider.of("volume").list())) == len(every(provider.of("keypair").list())) == 1
    assert "deleted" in shell.done("volume", "delete", "data", "--yes")
    assert f"stays in {key}" in shell.done("keypair", "delete", "mine", "--yes")
    assert every(provider.of("volume").list()) == every(provider.of("keypair").list()) == []


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


# --- what is printed --------------------------------------------------------------------------------------------------


def test_no_name_steers_the_terminal(
    shell: Shell, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    evil = "a\x9b31mb\x7fc\u202ed\x85e"  # what XML can carry: C1 controls, DEL, bidi
    vm = booted(cloud, provider, evil)
    provider.of("keypair").create(evil)
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
    assert every(provider.of("vm").list([vm]))[0]["state"] == "stopped"


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


def test_the_demo_has_another_account_and_a_region_that_fails(bare: Shell) -> None:
    assert "shop-db" in bare.done("--demo", "--demo-fault", "demo-west", "--cloud", "shop", "vm", "list")
    failed = bare.run("--demo", "--demo-fault", "us-east-1", "--cloud", "shop-us", "keypair", "list")
    assert failed.returncode == 1
    assert "cloud shop-us, region us-east-1: 127.0.0.1" in sentence(failed)
    refused = bare.run("--demo", "--cloud", "shop-us", "vm", "stop", "us-shop-web", "--yes")
    assert (refused.returncode, "read-only" in sentence(refused)) == (1, True)


def test_no_core_dump_holds_the_keys() -> None:
    limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if limit == 0:
        pytest.skip("core dumps are off here, and only root can turn them on")
    program = f"""
import resource
from tui.cli import main
resource.setrlimit(resource.RLIMIT_CORE, ({limit}, {limit}))
main([], lambda *_: print(resource.getrlimit(resource.RLIMIT_CORE)[0]) or 0)
"""
    words = [sys.executable, "-c", program]
    result = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "0\n"


def test_a_start_loads_no_library_that_only_a_failure_needs() -> None:
    program = "import sys, tui.app; print({'pygments', 'rich.traceback', 'libcloud', 'pymongo'} & {*sys.modules})"
    words = [sys.executable, "-c", program]
    result = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "set()\n"


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
