"""The program without a screen when it is interrupted, or when its pipe is closed."""

import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from pymongo.database import Database

from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.backend.ec2_faults import every
from tests.ec2_proxy import Proxy
from tests.tui.shell import Shell, register


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
    keypair, _ = provider.of("keypair").create("mine")
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
    assert (process.returncode, said, more) == (128 + number, "Interrupted.\n", "")
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
    assert every(provider.of("vm").list()) == []


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
