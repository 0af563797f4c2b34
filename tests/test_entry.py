"""The messages when the program cannot start: on Windows, or if a foreign package hides ours."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloudmesh_tui import PACKAGES, foreign, unsupported

TREE = Path(__file__).parents[1]
UNIX_ONLY = ("fcntl", "grp", "pwd", "readline", "resource", "termios", "tty")


def run(*words: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run this Python with an empty environment but for PYTHONPATH."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={"HOME": str(cwd), "LANG": "C.UTF-8", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence that a start was refused with."""
    assert (result.returncode, result.stdout) == (2, ""), result
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("platform", "runs"), [("linux", True), ("darwin", True), ("freebsd14", True), ("win32", False)]
)
def test_the_platforms_it_runs_on(platform: str, runs: bool) -> None:
    assert (unsupported(platform) is None) is runs


def test_windows_gets_a_sentence_before_anything_that_it_lacks_is_imported(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys({UNIX_ONLY!r}))  # importing one of them fails from here on
import cloudmesh_tui
cloudmesh_tui.program("win32")
"""
    said = refused(run("-c", program, cwd=tmp_path, path=str(TREE)))
    assert "does not run on Windows" in said
    assert "WSL" in said


def test_the_modules_that_windows_lacks_are_needed_later(tmp_path: Path) -> None:
    program = f"import sys; sys.modules.update(dict.fromkeys({UNIX_ONLY!r})); import tui.cli"
    assert "ModuleNotFoundError" in run("-c", program, cwd=tmp_path, path=str(TREE)).stderr


def test_our_own_packages_are_not_foreign(tmp_path: Path) -> None:
    assert foreign() is None
    linked = tmp_path / "linked"
    linked.symlink_to(TREE)
    for words in (["-m", "tui", "--version"], ["-m", "cloudmesh_tui", "--version"]):
        assert run(*words, cwd=tmp_path, path=str(linked)).stdout.startswith("cloudmesh-tui ")


@pytest.mark.parametrize("file", ["backend/__init__.py", "backend.py"])
def test_a_foreign_backend_in_the_current_folder_is_named(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('it was imported')\n")
    said = refused(run("-m", "tui", "--version", cwd=tmp_path, path=str(TREE)))
    assert f"another project's `backend` ({tmp_path / Path(file).parts[0]})" in said
    assert f"take {tmp_path} out of PYTHONPATH" in said


@pytest.mark.parametrize("name", PACKAGES)
def test_a_foreign_package_on_the_path_is_named(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    (other / name).mkdir(parents=True)
    (other / name / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    start = "from cloudmesh_tui import program; program()"  # as the installed script does
    said = refused(run("-c", start, cwd=tmp_path, path=f"{other}:{TREE}"))
    assert f"another project's `{name}` ({other / name})" in said


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "notes.txt").write_text("no package")
    assert run("-m", "tui", "--version", cwd=tmp_path, path=str(TREE)).stdout.startswith("cloudmesh-tui ")


def test_an_incomplete_installation_says_so(tmp_path: Path) -> None:
    (tmp_path / "cloudmesh_tui.py").write_bytes((TREE / "cloudmesh_tui.py").read_bytes())
    # -S: without the folder in which this tree is installed.
    said = refused(run("-S", "-m", "cloudmesh_tui", cwd=tmp_path))
    assert "has no package `tui`" in said
