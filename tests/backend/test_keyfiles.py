"""The files of private keys, and the settings that are kept between runs."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE

import pytest

from backend.config import Cloud, Settings
from backend.errors import CloudError, CloudmeshError, ConfigError
from backend.keyfiles import folder, path_of, reserved
from backend.kinds.model import Scope
from backend.state import recall, remember

SCOPE = Scope("aws", "us-west-1")
TREE = Path(__file__).parents[2]

# --- private keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("me", "me.pem"),
        ("me@host +1=2,3", "me@host +1=2,3.pem"),
        ("../../x", "..%2F..%2Fx.pem"),
        ("a/b", "a%2Fb.pem"),
        (".", "..pem"),
        ("..", "...pem"),
        ("%2F", "%252F.pem"),
        ("a\0\n\x1b", "a%00%0A%1B.pem"),
        ("é", "%C3%A9.pem"),
        ("~", "~.pem"),
        ("", ".pem"),
    ],
)
def test_any_name_is_one_file(tmp_path: Path, name: str, file: str) -> None:
    path = path_of(tmp_path, SCOPE, name)
    assert path == tmp_path / "keys" / "aws" / "us-west-1" / file
    assert path.resolve().parent == (tmp_path / "keys" / "aws" / "us-west-1").resolve()
    with reserved(path) as opened:
        opened.write("pem")
    assert path.read_text() == "pem"


def test_no_two_names_share_a_file(tmp_path: Path) -> None:
    names = ["", "_", "%", "%25", "%2F", "/", "a/b", "a%2Fb", ".", "..", "a", "A", " ", "+", "%20"]
    assert len({path_of(tmp_path, SCOPE, name) for name in names}) == len(names)
    assert path_of(tmp_path, Scope("other", "us-west-1"), "a") != path_of(tmp_path, SCOPE, "a")


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    home = tmp_path / "home"
    before = os.umask(umask)
    try:
        with reserved(path_of(home, SCOPE, "me")) as file:
            assert S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600  # before anything is written
            file.write("pem")
    finally:
        os.umask(before)
    found = {str(path.relative_to(tmp_path)): S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    folders = ("home", "home/keys", "home/keys/aws", "home/keys/aws/us-west-1")
    assert found == {**dict.fromkeys(folders, 0o700), "home/keys/aws/us-west-1/me.pem": 0o600}


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with reserved(tmp_path / "me.pem"):
        pass
    assert S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_what_exists_is_neither_opened_nor_removed(tmp_path: Path) -> None:
    file, folder, link, dangling = (tmp_path / name for name in ("file", "folder", "link", "dangling"))
    file.write_text("old")
    folder.mkdir()
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "nothing")
    for path in (file, folder, link, dangling):
        with pytest.raises(CloudmeshError, match="exists already and is not overwritten; no keypair"), reserved(path):
            pytest.fail("the cloud would be asked")
    assert file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "folder", "link"]


@pytest.mark.parametrize("name", ["file/me.pem", "file/a/me.pem", "n" * 300, "n" * 300 + "/me", "nul\0", "\ud800"])
def test_what_cannot_be_made_is_said_before_the_cloud_is_asked(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CloudmeshError, match="no keypair was created") as caught, reserved(tmp_path / name):
        pytest.fail("the cloud would be asked")
    assert "--to FILE" in caught.value.cure
    assert "None" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [CloudError("no"), KeyboardInterrupt(), ValueError("odd")])
def test_a_block_that_fails_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "keys" / "me.pem"

    def create() -> None:
        with reserved(path) as file:
            file.write("half a ke")
            raise error

    with pytest.raises(type(error)):
        create()
    assert not path.exists()


def test_the_file_is_empty_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "me.pem"
    with reserved(path) as file:
        file.write("pem")
        file.flush()
        assert path.read_bytes() == b""
        assert [S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()] == [0o600, 0o600]
    assert path.read_text() == "pem"
    assert [one.name for one in tmp_path.iterdir()] == ["me.pem"]


KILLED = """
import os, signal, sys
from pathlib import Path
from backend.keyfiles import reserved
with reserved(Path(sys.argv[1])) as file:
    file.write("half a ke")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_leaves_is_empty_and_the_next_says_so(tmp_path: Path) -> None:
    path = tmp_path / "me.pem"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=TREE, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b""
    with pytest.raises(CloudmeshError, match="exists already and is not overwritten") as caught, reserved(path):
        pytest.fail("the cloud would be asked")
    assert "It is empty" in caught.value.cure
    assert "remove the file" in caught.value.cure
    path.unlink()
    with reserved(path) as file:
        file.write("pem")
    assert path.read_text() == "pem"


def test_folders_of_ours_are_closed_to_others_and_those_above_are_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = path_of(home, SCOPE, "me")
    path.parent.mkdir(parents=True)
    for one in (home, home / "keys", home / "keys" / "aws", path.parent):
        one.chmod(0o755)
    with reserved(path, folder(home)) as file:
        file.write("pem")
    modes = {str(one.relative_to(tmp_path)): S_IMODE(one.stat().st_mode) for one in (home, *home.rglob("*"))}
    folders = ("home/keys", "home/keys/aws", "home/keys/aws/us-west-1")
    assert modes == {"home": 0o755, **dict.fromkeys(folders, 0o700), "home/keys/aws/us-west-1/me.pem": 0o600}


def test_a_folder_of_keys_may_be_a_link_to_one_of_ours(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "stick"
    home.mkdir()
    elsewhere.mkdir(mode=0o755)
    folder(home).symlink_to(elsewhere)
    path = path_of(home, SCOPE, "me")
    with reserved(path, folder(home)) as file:
        file.write("pem")
    assert path.read_text() == "pem"
    assert S_IMODE(elsewhere.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("theirs", ["home/keys", "home"])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, theirs: str) -> None:
    home = tmp_path / "home"
    path = path_of(home, SCOPE, "me")
    folder(home).mkdir(parents=True)
    os.chown(tmp_path / theirs, 12345, 12345)
    with (
        pytest.raises(CloudmeshError, match=rf"{theirs} belongs to another user; no keypair was created") as caught,
        reserved(path, folder(home)),
    ):
        pytest.fail("the cloud would be asked")
    assert "--to FILE" in caught.value.cure
    assert not path.exists()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may have any content: what a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_key_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "me.pem"
    with pytest.raises(CloudmeshError) as caught, full_disk(), reserved(path) as file:
        file.write("pem")
    assert f"could not be saved to {path}: File too large. The keypair exists nevertheless." in str(caught.value)
    assert caught.value.cure == "Delete it and create it again."
    assert not path.exists()


def test_of_two_at_once_one_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "me.pem"
    barrier = threading.Barrier(8)
    ended: list[str] = []

    def create(number: int) -> None:
        barrier.wait()
        try:
            with reserved(path) as file:
                file.write(str(number))
            ended.append(str(number))
        except CloudmeshError as error:
            ended.append("refused" if "exists already" in error.message else str(error))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended)[1:] == ["refused"] * 7
    assert path.read_text() == sorted(ended)[0]


# --- what is remembered -----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    clouds = {name: Cloud(name) for name in ("aws", "other")}
    return Settings(clouds, "aws", tmp_path / "cloudmesh.yaml")


def test_nothing_is_remembered_at_first(settings: Settings, tmp_path: Path) -> None:
    assert recall(settings, tmp_path / "nowhere") == {}


def test_values_are_added_up(settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    remember(settings, home, cloud="other")
    assert recall(settings, home) == {"cloud": "other"}
    remember(settings, home, refresh=False)
    remember(settings, home, cloud="aws")
    assert recall(settings, home) == {"cloud": "aws", "refresh": False}
    assert sorted(path.name for path in home.iterdir()) == ["state.json", "state.lock"]
    assert S_IMODE(home.stat().st_mode) == 0o700
    assert S_IMODE((home / "state.json").stat().st_mode) == 0o600


def test_each_configuration_has_its_own(settings: Settings, tmp_path: Path) -> None:
    others = [replace(settings, path=path) for path in (tmp_path / "two.yaml", None)]
    for number, one in enumerate((settings, *others)):
        remember(one, tmp_path, refresh=number == 1)
    assert [recall(one, tmp_path)["refresh"] for one in (settings, *others)] == [False, True, False]


def test_one_file_by_two_paths_is_one_configuration(settings: Settings, tmp_path: Path) -> None:
    remember(settings, tmp_path, cloud="other")
    (tmp_path / "sub").mkdir()
    roundabout = replace(settings, path=tmp_path / "sub" / ".." / "cloudmesh.yaml")
    assert recall(roundabout, tmp_path) == {"cloud": "other"}
    with contextlib.chdir(tmp_path):
        assert recall(replace(settings, path=Path("cloudmesh.yaml")), tmp_path) == {"cloud": "other"}


def test_a_cloud_that_is_no_longer_configured_is_forgotten(settings: Settings, tmp_path: Path) -> None:
    remember(settings, tmp_path, cloud="other", refresh=True)
    less = replace(settings, clouds={"aws": Cloud("aws")})
    assert recall(less, tmp_path) == {"refresh": True}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "5", "\udcff", "{KEY: []}", "{KEY: 5}", "{KEY: null}", '{KEY: {"cloud": ["aws"]}}',
        '{KEY: {"cloud": {}, "refresh": 1}}', '{KEY: {"refresh": "on", "cloud": null}}', '{KEY: {"cloud": "gone"}}',
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_counts_as_empty(settings: Settings, tmp_path: Path, text: str) -> None:
    key = json.dumps(str(settings.path))
    (tmp_path / "state.json").write_bytes(text.replace("KEY", key).encode("utf-8", "surrogateescape"))
    assert recall(settings, tmp_path) == {}
    remember(settings, tmp_path, cloud="other")
    assert recall(settings, tmp_path)["cloud"] == "other"


def test_a_home_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ConfigError, match=f"cannot be remembered in {home}: "):
            remember(settings, home, cloud="other")
        assert recall(settings, home) == {}


def test_what_cannot_be_written_leaves_what_was(settings: Settings, tmp_path: Path) -> None:
    remember(settings, tmp_path, cloud="other")
    with pytest.raises(ConfigError, match="File too large"), full_disk():
        remember(settings, tmp_path, cloud="aws")
    assert recall(settings, tmp_path) == {"cloud": "other"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.lock"]


CHOOSER = """
import sys
from pathlib import Path
from backend.config import Cloud, Settings
from backend.state import remember
number = int(sys.argv[1])
for round in range(40):
    remember(Settings({"aws": Cloud("aws")}, "aws", Path(f"{number}-{round}.yaml")), Path(sys.argv[2]), refresh=False)
"""


def test_choices_of_processes_at_once_are_all_remembered(tmp_path: Path) -> None:
    (home := tmp_path / "home").mkdir()
    words = [[sys.executable, "-c", CHOOSER, str(number), str(home)] for number in range(3)]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    choosers = [subprocess.Popen(each, cwd=tmp_path, env=environment) for each in words]
    assert [chooser.wait(30) for chooser in choosers] == [0, 0, 0]
    assert len(json.loads((home / "state.json").read_text())) == 120


def test_two_settings_made_by_threads_at_once_are_both_remembered(settings: Settings, tmp_path: Path) -> None:
    for _ in range(50):
        start = threading.Barrier(2)

        def choose(start: threading.Barrier = start, **value: str | bool) -> None:
            start.wait()
            remember(settings, tmp_path, **value)

        threads = [
            threading.Thread(target=choose, kwargs={"cloud": "other"}),
            threading.Thread(target=choose, kwargs={"refresh": False}),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recall(settings, tmp_path) == {"cloud": "other", "refresh": False}
        (tmp_path / "state.json").unlink()


def test_a_choice_stands_until_the_configuration_says_something_else(settings: Settings, tmp_path: Path) -> None:
    remember(settings, tmp_path, refresh=True, cloud="other")
    same = replace(settings, warnings=("another run",))
    assert recall(same, tmp_path) == {"refresh": True, "cloud": "other"}
    edited = replace(settings, refresh=not settings.refresh)
    assert recall(edited, tmp_path) == {"cloud": "other"}
