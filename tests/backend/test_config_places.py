"""Where cloudmesh.yaml is found, who may read and change it, and what it sends unencrypted."""

import contextlib
import os
from pathlib import Path

import pytest

from backend.catalog import KINDS
from backend.config import expanded, find, home, load
from backend.errors import ConfigError, UsageError
from tests.backend.config_support import document, one, read

TREE = Path(__file__).parents[2]
SECRET = "wJalrXUtnFEMIK7MDENGb"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloudmesh.yaml"


def test_places_in_order(tmp_path: Path) -> None:
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    option, named = tmp_path / "option.yaml", tmp_path / "named.yaml"
    for file in (option, named, here / "cloudmesh.yaml", data / "cloudmesh.yaml"):
        file.touch()
    environ = {"CLOUDMESH_CONFIG": str(named), "CLOUDMESH_HOME": str(data)}
    with contextlib.chdir(here):
        assert find(str(option), environ) == option
        assert find(None, environ) == named
        del environ["CLOUDMESH_CONFIG"]
        assert find(None, environ) == here / "cloudmesh.yaml"
        (here / "cloudmesh.yaml").unlink()
        assert find(None, environ) == data / "cloudmesh.yaml"


@pytest.mark.parametrize(("mode", "owner"), [(0o602, None), (0o606, None), (0o600, 12345)])
def test_a_file_of_others_that_lies_about_is_used_only_when_it_is_named(
    tmp_path: Path, mode: int, owner: int | None
) -> None:
    file = tmp_path / "cloudmesh.yaml"
    file.touch()
    file.chmod(mode)
    if owner is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(file, owner, owner)
    with contextlib.chdir(tmp_path):
        with pytest.raises(ConfigError, match=r"\./cloudmesh\.yaml is not used: others .* where your keys are sent"):
            find(None, {"CLOUDMESH_HOME": str(tmp_path / "data")})
        assert find("cloudmesh.yaml", {}) == file  # absolute from the moment it is read


def test_data_directory() -> None:
    assert home({}) == Path.home() / ".cloudmesh" == home({"CLOUDMESH_HOME": ""})
    assert home({"CLOUDMESH_HOME": "~/elsewhere"}) == Path.home() / "elsewhere"
    assert home({"CLOUDMESH_HOME": "~no-such-user/x"}) == Path.cwd() / "~no-such-user/x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_data_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (tmp_path, link):
        for use in (home, lambda environ: find(None, environ)):
            with pytest.raises(ConfigError, match=f"The data directory {path} belongs to another user"):
                use({"CLOUDMESH_HOME": str(path)})


@pytest.mark.parametrize("name", ["missing.yaml", "~no-such-user/cloudmesh.yaml", "."])
def test_a_named_file_that_is_none_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "cloudmesh.yaml").touch()
    with contextlib.chdir(tmp_path):
        with pytest.raises(ConfigError, match=r"--config names does not exist\. .*--demo"):
            find(name, {})
        with pytest.raises(ConfigError, match=r"\$CLOUDMESH_CONFIG names does not exist"):
            find(None, {"CLOUDMESH_CONFIG": name})


def test_no_file_at_all(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert find(None, {"CLOUDMESH_HOME": str(tmp_path / "data")}) is None


def test_the_present_folder_may_be_gone(tmp_path: Path, path: Path) -> None:
    path.touch()
    environ = {"CLOUDMESH_HOME": str(tmp_path)}
    gone = tmp_path / "gone"
    gone.mkdir()
    with contextlib.chdir(gone):
        gone.rmdir()
        assert find(None, environ) == path == find(str(path), {})
        with pytest.raises(UsageError, match=r"key\.pem names no file: the current folder no longer exists\."):
            expanded("key.pem")


def test_unreadable_files(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, KINDS, {})
    path.write_bytes(b"cloudmesh: \xff")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8 text"):
        load(path, KINDS, {})


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_may_read_is_warned_about(path: Path, mode: int, warned: bool) -> None:
    read(path, one("provider: ec2"))
    path.chmod(mode)
    warnings = load(path, KINDS, {}).warnings
    assert [str(path) in warning and f"chmod 600 {path}" in warning for warning in warnings] == [True] * warned


def test_a_place_in_which_others_may_put_another_is_warned_about(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    file = folder / "cloudmesh.yaml"
    for mode, warned in ((0o777, True), (0o1777, False), (0o775, False)):
        folder.chmod(mode)
        warnings = read(file, one("provider: ec2")).warnings
        assert ["everybody may replace it" in warning for warning in warnings] == [True] * warned
    link = tmp_path / "cloudmesh.yaml"
    link.symlink_to(file)
    folder.chmod(0o777)
    assert len(load(link, KINDS, {}).warnings) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_warned_about(path: Path) -> None:
    read(path, one("provider: ec2"))
    os.chown(path, 12345, 12345)
    (warning,) = load(path, KINDS, {}).warnings
    assert f"{path} belongs to another user" in warning


@pytest.mark.parametrize(
    ("endpoint", "warned"),
    [
        ("http://lab.example:4566/x", "lab.example:4566"),
        ("http://10.0.0.5", "10.0.0.5"),
        ("http://127.0.0.1.example", "127.0.0.1.example"),
        ("https://lab.example", None),
        ("http://127.1.2.3:5000", None),
        ("http://[::1]:5000", None),
        ("http://localhost:5000", None),
    ],
)
def test_an_endpoint_without_tls_on_another_computer_is_warned_about(
    path: Path, endpoint: str, warned: str | None
) -> None:
    warnings = read(path, document("cloudmesh.clouds.aws.endpoint", endpoint)).warnings
    expected = [f"Cloud aws is used without TLS: on the way to {warned} anybody"] if warned else []
    assert [warning.partition(" can read")[0] for warning in warnings] == expected


@pytest.mark.parametrize(
    ("uri", "warned"),
    [
        ("mongodb://me:hunter2-pass@db.example:27017/?authSource=admin", "db.example:27017"),
        ("mongodb://127.0.0.1,db1.example,db2.example/?tls=false", "db1.example, db2.example"),
        ("mongodb+srv://db.example/?ssl=FALSE", "db.example"),
        ("mongodb://db.example/?tls=true", None),
        ("mongodb://db.example/?SSL=true", None),
        ("mongodb+srv://me:hunter2-pass@db.example", None),
        ("mongodb://me:hunter2-pass@localhost:27017,[::1]:27018", None),
        ("mongodb://%2Frun%2Fmongodb-27017.sock", None),
        ("mongodb://[nonsense", None),
        ("embedded", None),
    ],
)
def test_a_cache_without_tls_on_another_computer_is_warned_about(path: Path, uri: str, warned: str | None) -> None:
    warnings = read(path, document("cloudmesh.mongodb.uri", uri)).warnings
    expected = [f"The cache is used without TLS: on the way to {warned} anybody"] if warned else []
    assert [warning.partition(" can read")[0] for warning in warnings] == expected
    assert "hunter2" not in "".join(warnings)
