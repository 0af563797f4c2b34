"""A bug ends in one sentence; its traceback is in the log, and no secret anywhere."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from rich.traceback import Traceback

from backend import log
from tests.planted import Planted
from tests.tui.crashing import KEY, PEM, PLACES, crash
from tests.tui.dashboard import World, driven
from tests.tui.shell import TREE
from tests.tui.terminal import Terminal

PLANTED = Planted({"key": KEY}).with_key(PEM.replace("MIIEplanted", "MIIEplanted+of/a+private+key"))
BUG = "This is a bug in cloudmesh-tui. Run with --log-file FILE and report it."


class Crashing(Terminal):
    module = "tests.tui.crashing"


def crashed(place: str, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.tui.crashing", *options, place]
    return subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def check_log(path: Path) -> None:
    text = path.read_text()
    assert "RuntimeError: *** ***" in text
    assert "in crash" in text
    assert PLANTED.found_in(text) == []
    assert "MIIE" not in text


def test_a_command_that_crashes_ends_with_1_and_a_sentence(tmp_path: Path) -> None:
    result = crashed("headless", "--log-file", str(tmp_path / "log"))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"headless failed: RuntimeError. {BUG}\n"
    check_log(tmp_path / "log")
    assert crashed("headless").stderr == result.stderr  # without a log too


def test_a_thread_that_crashes_is_reported(tmp_path: Path) -> None:
    result = crashed("thread", "--log-file", str(tmp_path / "log"))
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"A part of the program (of a test) failed: RuntimeError. {BUG}\n"
    check_log(tmp_path / "log")


@pytest.mark.parametrize(
    ("place", "said", "ends"),
    [
        ("job", "Opening the cache failed: RuntimeError.", False),
        ("thread of the dashboard", "A part of the program (of a test) failed: RuntimeError.", False),
        ("handler", "The dashboard failed: RuntimeError.", True),
    ],
)
def test_the_dashboard_says_a_sentence(tmp_path: Path, place: str, said: str, ends: bool) -> None:
    assert place in PLACES
    path = tmp_path / "log"
    with Crashing(tmp_path, "--log-file", str(path), place, TERM="xterm-256color") as terminal:
        if ends:
            assert terminal.ends() == 1
        else:
            terminal.until(lambda: said in terminal.output.decode(errors="replace"))
            terminal.type("q")
            assert terminal.ends() == 0
        assert terminal.restored()
        output = terminal.output.decode(errors="replace")
        assert said in output
        assert "Traceback" not in output
        assert "locals" not in output
        assert PLANTED.found_in(output) == []
        assert "MIIE" not in output
        if ends:
            assert f"{said} {BUG}" in " ".join(terminal.text.split())
    check_log(path)


async def test_an_exception_that_the_event_loop_catches_is_reported(world: World, tmp_path: Path) -> None:
    handler = log.write_to(tmp_path / "log")
    try:
        async with driven(world.app()) as user:
            asyncio.get_running_loop().call_soon(crash)
            await user.sees("A part of the dashboard failed: RuntimeError.")
            assert PLANTED.found_in(user.screen) == []
            assert PLANTED.found_in(user.app.export_screenshot()) == []
    finally:
        log.logger.root.removeHandler(handler)
        handler.close()
    check_log(tmp_path / "log")


async def test_a_panic_of_a_textual_thread_is_reported(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = log.write_to(tmp_path / "log")
    try:
        async with driven(world.app()) as user:
            try:
                crash()
            except RuntimeError:
                picture = Traceback(show_locals=True)
            user.app.call_later(user.app.panic, picture)
            async with asyncio.timeout(10):
                while user.app.return_code is None:
                    await asyncio.sleep(0.005)
        assert user.app.return_code == 1
    finally:
        log.logger.root.removeHandler(handler)
        handler.close()
    assert f"The dashboard failed: RuntimeError. {BUG}" in " ".join(capsys.readouterr().err.split())
    check_log(tmp_path / "log")
