"""A full disk behind the output: one sentence, exit status 1, and no traceback."""

import json
import os
import resource
from typing import Any

import pytest
from pymongo.database import Database

from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.backend.cloud_support import states
from tests.tui.shell import Shell, booted, sentence

FULL = "The output could not be written: No space left on device."


def run_full(shell: Shell, *words: str) -> str:
    """Run with stdout on a full disk and return the one sentence on stderr."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = shell.run(*words, stdout=full)
    assert result.returncode == 1
    return sentence(result)


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_what_argparse_prints(bare: Shell, words: tuple[str, ...]) -> None:
    assert run_full(bare, *words).startswith(FULL)


@pytest.mark.parametrize(
    "words",
    [
        ("location", "list"),
        ("location", "list", "--json"),
        ("--refresh", "locations", "keypairs"),
        ("--refresh", "locations", "keypairs", "--json"),
        ("location", "refresh"),
        ("journal", "list"),
        ("journal", "list", "--json"),
    ],
)
def test_every_face(forgetful: Shell, words: tuple[str, ...]) -> None:
    assert run_full(forgetful, *words).startswith(FULL)


def test_an_array_that_is_longer_than_any_buffer(forgetful: Shell, provider: EC2Provider) -> None:
    for number in range(120):
        provider.of("keypair").create(f"keypair-{number}")
    for words in (("keypair", "list"), ("keypair", "list", "--json")):
        assert run_full(forgetful, *words).startswith(FULL)


def test_what_was_done_is_done_and_in_the_journal(
    shell: Shell, cloud: Cloud, provider: EC2Provider, database: Database[dict[str, Any]]
) -> None:
    vm = booted(cloud, provider, "web")
    said = run_full(shell, "--yes", "vm", "delete", vm)
    assert said.startswith(FULL)
    assert "journal list" in said
    assert states(cloud)[vm] == "terminated"
    assert [entry["outcome"] for entry in database.journal.find()] == ["done"]


def test_an_output_that_was_closed_before_the_start(forgetful: Shell) -> None:
    for words in (
        ("location", "list"),
        ("location", "list", "--json"),
        ("--refresh", "locations"),
        ("keypair", "list"),
    ):
        result = forgetful.run(*words, preexec_fn=lambda: os.close(1))
        assert (result.returncode, result.stderr) == (0, ""), words


def test_a_full_disk_behind_the_log_or_stderr_is_no_matter(forgetful: Shell) -> None:
    assert json.loads(forgetful.done("--log-file", "/dev/full", "--log-level", "debug", "location", "list", "--json"))
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert forgetful.run("vm", "lisst", stderr=full).returncode == 2
        result = forgetful.run("vm", "start", "gone", stderr=full)
    assert (result.returncode, result.stdout) == (1, "")


def test_a_full_disk_behind_an_export(forgetful: Shell) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    result = forgetful.run("location", "export", "out.csv", preexec_fn=full)
    assert (result.returncode, result.stdout) == (1, "")
    path = forgetful.config.parent / "out.csv"
    assert sentence(result).startswith(f"The locations could not be written to {path}: File too large.")
    assert "out.csv" not in os.listdir(forgetful.config.parent)
