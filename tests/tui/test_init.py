"""`cloudmesh-tui init`: a configuration for the profiles that exist, written after asking, without keys."""

import os
from pathlib import Path

import pytest
import yaml

from backend.catalog import KINDS
from backend.config import load
from backend.discovery import discovered
from tests.tui.shell import Shell, sentence
from tests.tui.terminal import Terminal

CONFIG = """[default]
region = eu-west-1
[profile "my: dev"]
region = us-west-2
aws_access_key_id = AKIASTATIC0001
aws_secret_access_key = secret-of-the-file
[profile bare]
"""


@pytest.fixture
def user(bare: Shell) -> Shell:
    """A user with three profiles."""
    folder = bare.folder / "user" / ".aws"
    folder.mkdir(parents=True)
    (folder / "config").write_text(CONFIG)
    return bare


def test_what_is_written_is_what_is_found_without_it(user: Shell) -> None:
    result = user.run("init", "--yes")
    assert result.returncode == 0
    path = user.home / "cloudmesh.yaml"
    assert result.stderr == f"{path} is written. Run cloudmesh-tui.\n"
    assert path.read_text() == result.stdout.removesuffix("\n")
    assert "secret-of-the-file" not in result.stdout
    assert "AKIA" not in result.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    settings, found = load(path, KINDS, user.environment), discovered(user.environment)
    assert settings.clouds == found.clouds
    assert settings.cloud == found.cloud == "default"
    assert settings.warnings == ()
    assert [cloud.region for cloud in settings.clouds.values()] == ["eu-west-1", "us-west-2", ""]


def test_the_region_of_the_shell_is_not_written(user: Shell) -> None:
    text = user.run("init", "--yes", env=user.environment | {"AWS_REGION": "eu-north-1"}).stdout
    clouds = yaml.safe_load(text)["cloudmesh"]["clouds"]
    assert [one.get("default") for one in clouds.values()] == [
        {"location": "eu-west-1"},
        {"location": "us-west-2"},
        None,
    ]


def test_every_comment_is_a_setting_that_works(user: Shell, tmp_path: Path) -> None:
    text = user.run("init", "--yes", "--config", str(tmp_path / "new.yaml")).stdout
    lines = (line.replace("# ", "", 1) if line.lstrip(" ").startswith("# ") else line for line in text.splitlines()[2:])
    uncommented = "\n".join(lines)
    other = tmp_path / "other.yaml"
    other.write_text(uncommented)
    settings = load(other, KINDS, user.environment)
    assert settings.clouds["bare"].region == "us-east-1"
    assert settings.clouds["bare"].read_only
    assert yaml.safe_load(uncommented)["cloudmesh"]["production"] == ["env=prod*"]


def test_yes_replaces_no_file(user: Shell, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    result = user.run("init", "--yes", "--config", str(path))
    assert result.returncode == 2
    assert sentence(result).startswith(f"{path} exists, and --yes replaces no file.")
    assert path.read_text() == "mine"


def test_without_a_terminal_nothing_is_written(user: Shell) -> None:
    result = user.run("init")
    assert result.returncode == 2
    assert "There is no terminal to ask on" in sentence(result)
    assert not user.home.exists()


@pytest.mark.parametrize(("answer", "status", "kept"), [("y", 0, False), ("n", 1, True), ("", 1, True)])
def test_it_asks_before_it_replaces_a_file(user: Shell, answer: str, status: int, kept: bool) -> None:
    user.home.mkdir()
    path = user.home / "cloudmesh.yaml"
    path.write_text("mine")
    home = Path(user.environment["HOME"])
    with Terminal(home, "init", CLOUDMESH_HOME=str(user.home), AWS_EC2_METADATA_DISABLED="true") as terminal:
        terminal.sees("cloudmesh.yaml exists. Replace it? [y/N]")
        terminal.type(f"{answer}\n")
        assert terminal.ends() == status
    assert (path.read_text() == "mine") is kept
    assert os.listdir(user.home) == ["cloudmesh.yaml"]


def test_without_any_account_there_is_nothing_to_write(bare: Shell) -> None:
    result = bare.run("init", "--yes")
    assert result.returncode == 2
    assert sentence(result).startswith("There is nothing to write: ")
    assert not bare.home.exists()
