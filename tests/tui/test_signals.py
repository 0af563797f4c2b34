"""The dashboard in a real terminal when a signal comes: it ends, or stops and comes back."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="It looks into /proc for what is left running.")

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENTERS = b"\x1b[?1049h"
"""What the dashboard writes when it takes the terminal, before it sets its modes and paints."""

SOON = 2.0
"""Seconds within which a signal is obeyed, on a machine that has nothing else to do; see `ends_within`."""


def queued(folder: Path) -> dict[str, float]:
    """Return the seconds that each thread below a folder of /proc has waited for a processor."""
    found = {}
    for file in folder.glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            found[file.parent.name] = int(file.read_text().split()[1]) / 1e9
    return found


def ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> int:
    """Wait for the end of a process and return its exit status; fail where it takes longer.

    The time for which other processes kept it, or this test, from running does not count.
    """
    folders = [Path(f"/proc/{process.pid}/task"), Path("/proc/self/task")]
    before = [queued(folder) for folder in folders]
    latest, began = before, time.monotonic()
    while process.poll() is None:
        latest = [queued(folder) or old for folder, old in zip(folders, latest, strict=True)]
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    took = time.monotonic() - began
    for old, new in zip(before, latest, strict=True):
        took -= max(waited - old.get(thread, 0.0) for thread, waited in new.items())
    assert took < seconds
    return process.returncode


class Shell(Terminal):
    """An interactive shell that controls jobs."""

    controls = True

    def command(self) -> list[str]:
        return ["/bin/bash", "--norc", "--noprofile", "-i"]


def opened(terminal: Terminal) -> None:
    terminal.sees("images", "demo · us-east-1 · memory")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it_with_its_own_status(tmp_path: Path, number: signal.Signals) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        opened(terminal)
        terminal.process.send_signal(number)
        assert terminal.ends() == 128 + number
        assert terminal.restored()
        assert terminal.processes() == []
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_it_before_anything_is_painted(tmp_path: Path) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.until(lambda: terminal.output)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == 143
        assert b"bug" not in terminal.output


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("how", ["nobody reads", "Ctrl-S"])
def test_a_signal_is_obeyed_while_the_terminal_does_not_read(tmp_path: Path, number: signal.Signals, how: str) -> None:
    log = tmp_path / "log"
    with Terminal(tmp_path, "--demo", "--log-file", str(log), TERM="xterm-256color") as terminal:
        opened(terminal)
        if how == "Ctrl-S":
            terminal.flow(on=False)
        terminal.stall()
        terminal.process.send_signal(number)
        assert ends_within(terminal.process, SOON) == 128 + number
        assert terminal.modes()
        terminal.settles()
        assert terminal.restored()  # what it had not read is dropped, and this is not
    assert "ERROR" not in log.read_text()


def test_a_terminal_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Terminal(tmp_path, "--demo", "--log-file", str(log), TERM="xterm-256color") as terminal:
        opened(terminal)
        terminal.stall(0.3)
        terminal.hang_up()
        assert terminal.process.wait(10) == 129
    assert "the terminal has gone away" in log.read_text()
    assert "ERROR" not in log.read_text()


@pytest.mark.parametrize("how", ["key", "SIGTSTP", "SIGSTOP"])
def test_it_stops_and_comes_back_with_the_screen_repainted(tmp_path: Path, how: str) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        terminal.sees("images", "ami-")
        terminal.type("b")
        terminal.sees("Boot a VM from an image.")
        terminal.type("half-typed")
        terminal.sees("half-typed")
        for _ in range(2):
            if how == "key":
                terminal.type("\x1a")
            else:
                terminal.process.send_signal(signal.Signals[how])
            terminal.until(lambda: terminal.state == "T")
            if how != "SIGSTOP":  # which nothing can prepare for
                terminal.settles(0.1)
                assert terminal.restored()
            since = len(terminal.output)
            terminal.process.send_signal(signal.SIGCONT)
            # What was painted before the stop may come late: only what follows the entry counts.
            terminal.until(lambda since=since: ENTERS in terminal.output[since:])  # type: ignore[misc]
            entered = terminal.output.rindex(ENTERS)
            for text in ("half-typed", "Boot a VM from an image."):
                terminal.until(lambda text=text, entered=entered: text in terminal.repainted(entered))  # type: ignore[misc]
            assert not terminal.modes()
        terminal.type("\x1b")
        terminal.until(lambda: "half-typed" not in terminal.text)
        terminal.type("q")
        assert terminal.ends() == 0
        assert terminal.restored()


def test_a_signal_that_comes_while_it_is_stopped_ends_it_when_it_goes_on(tmp_path: Path) -> None:
    with Terminal(tmp_path, TERM="xterm-256color") as terminal:
        opened(terminal)
        terminal.type("\x1a")
        terminal.until(lambda: terminal.state == "T")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.process.send_signal(signal.SIGCONT)
        assert terminal.ends() == 143
        assert terminal.restored()


def test_a_shell_suspends_it_and_brings_it_back(tmp_path: Path) -> None:
    """A shell that controls jobs: Ctrl-Z gives its prompt, `bg` leaves the dashboard stopped, `fg` shows it again."""
    with Shell(tmp_path, TERM="xterm-256color", PYTHON=sys.executable) as terminal:
        terminal.type("$PYTHON -m tui --demo\n")
        opened(terminal)
        terminal.type("\x1a")
        terminal.until(lambda: b"Stopped" in terminal.output)
        terminal.type("echo here-$((40 + 2))\n")
        terminal.until(lambda: b"here-42" in terminal.output)
        terminal.type("bg; sleep 0.5; jobs; echo there-$((40 + 2))\n")
        terminal.until(lambda: b"there-42" in terminal.output)
        since = len(terminal.output)
        terminal.type("fg\n")
        terminal.until(lambda: "demo · us-east-1 · memory" in terminal.repainted(since))
        terminal.type("?")
        terminal.sees("Suspend: back to the shell")
        terminal.type("q")
        terminal.until(lambda: "Suspend: back" not in terminal.text)
        terminal.type("q")
        terminal.insist("echo over-$((40 + 2))\n", lambda: b"over-42" in terminal.output)
        terminal.type("exit\n")
        assert terminal.ends() == 0
