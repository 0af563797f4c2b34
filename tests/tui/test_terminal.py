"""The whole program in a real terminal, with keys as its only input."""

import re
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="It looks into /proc for what is left running.")


def test_a_vm_from_boot_to_deletion_by_keys_alone(tmp_path: Path) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.sees("images", "vms", "volumes", "? help")
        terminal.type("3")
        terminal.sees("db-primary", "demo · us-east-1 · memory")
        [port] = terminal.ports()
        assert terminal.process.pid in terminal.processes()
        assert not terminal.restored()
        terminal.type("b")
        terminal.sees("Boot a VM from an image.", "Cancel")
        terminal.type("by-hand")
        terminal.sees("by-hand")
        terminal.insist("\r", lambda: "Boot a VM" not in terminal.text)
        terminal.until(lambda: re.search(r"◐ pending +pending \d+ s", terminal.line("by-hand")))
        terminal.until(lambda: re.search(r"● running +t3\.micro", terminal.line("by-hand")))
        terminal.type("/by-hand\r")
        terminal.until(lambda: "1 of 16" in terminal.text)
        terminal.type("d")
        terminal.sees("Terminate a VM", "by-hand", "Cancel")
        terminal.insist("y", lambda: "Terminate a VM" not in terminal.text)
        terminal.until(lambda: re.search(r"◐ shutting-down +running → shutting-down \d+ s", terminal.line("i-")))
        terminal.until(lambda: "✕ terminated" in terminal.line("i-"))
        terminal.type("q")
        assert terminal.ends() == 0
        assert terminal.restored()
        assert terminal.processes() == []
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))
    assert list(tmp_path.iterdir()) == []  # the demo keeps nothing


def test_a_fault_of_the_demo_is_that_of_its_cloud_alone(tmp_path: Path) -> None:
    with Terminal(tmp_path, "--demo", "--demo-fault", "demo-west", TERM="xterm-256color") as terminal:
        terminal.sees("images", "demo · us-east-1 · memory")
        terminal.type("3")
        terminal.sees("db-primary")
        terminal.type(":set default cloud=demo-west\r")
        terminal.sees("demo-west · us-west-2", "Listing VMs failed on cloud demo-west, region us-west-2")
        terminal.type(":set default cloud=shop\r")
        terminal.sees("shop · eu-central-1", "shop-db")
        terminal.type("q")
        assert terminal.ends() == 0


def test_sixteen_colours_are_enough(tmp_path: Path) -> None:
    with Terminal(tmp_path, TERM="xterm") as terminal:
        terminal.sees("images", "vms")
        terminal.type("3")
        terminal.sees("● running", "○ stopped", "✕ terminated", "db-primary")
        terminal.type("q")
        assert terminal.ends() == 0
        assert terminal.restored()
        assert not re.search(rb"\x1b\[[\d;]*[34]8;[25];", terminal.output)  # no colour beyond the sixteen
        assert re.search(rb"\x1b\[[\d;]*[39][0-7]", terminal.output)  # but some of them


@pytest.mark.parametrize("keys", ["", "3b", "J", ":", "\x10"])
def test_a_window_that_is_closed_ends_the_program_without_a_signal(tmp_path: Path, keys: str) -> None:
    """As under `make`, or in a tmux whose server is killed: the signal goes to another process."""
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.sees("images", "demo · us-east-1 · memory")
        terminal.type(keys)
        terminal.hang_up()
        assert terminal.process.wait(10) != 0
        assert terminal.processes() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gap", [0.06, 0.15, 0.25])
def test_a_word_typed_on_the_list_deletes_nothing(tmp_path: Path, gap: float) -> None:
    """The `/` before it is missing: d opens the dialog of delete, and y does not answer it."""
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.sees("images", "demo · us-east-1 · memory")
        terminal.type("3")
        terminal.sees("ci-runner-1")
        terminal.type("/ci-runner-1\r")
        terminal.sees("1 of 15")
        for key in "dynamo":
            terminal.type(key)
            next_key = time.monotonic() + gap
            while (left := next_key - time.monotonic()) > 0:  # what is tested is a hand at this speed
                terminal.read(left)
        terminal.sees("Terminate a VM", "Goes with it", "Delete  y")
        terminal.type("\x1b")
        terminal.until(lambda: "Terminate a VM" not in terminal.text)
        terminal.type("J")
        terminal.sees("Nothing has been done yet")
        terminal.type("\x1b")
        terminal.until(lambda: "Nothing has been done yet" not in terminal.text)
        terminal.until(lambda: "ci-runner-1" in terminal.line("● running"))
        terminal.type("q")
        assert terminal.ends() == 0


def test_keys_sent_in_one_write_act_in_their_order(tmp_path: Path) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.sees("images", "demo · us-east-1 · memory")
        terminal.type("3")
        terminal.sees("gpu-train-01")
        terminal.type(":volume list\r/scratch\r:keypair list\r3t" + "k" * 150 + "\r")
        terminal.sees("Stop a running VM", "Typed before this was shown; press Enter again.")
        terminal.type("\x1b")
        terminal.until(lambda: "Stop a running VM" not in terminal.text)
        terminal.type("6")
        terminal.sees("1 of 22")
        terminal.type("J")
        terminal.sees("Nothing has been done yet")
