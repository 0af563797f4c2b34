"""The log file: its lines, its owner, its rotation; it never harms the program."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from backend import log
from backend.errors import Cancelled, ConfigError
from backend.log import LogFile
from backend.secret import Secret

TREE = Path(__file__).parents[2]
KEY = "a-key/that+nobody-has"
Secret(KEY)

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) \[[^]]+\] [\w<>]+: .*")

Open = Callable[..., LogFile]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open a log file whose logger is "backend"; it is closed after the test."""
    handlers: list[LogFile] = []

    def open_one(path: Path, **options: int) -> LogFile:
        handlers.append(LogFile(path, **options))
        log.logger.addHandler(handlers[-1])
        return handlers[-1]

    before = log.logger.level
    log.logger.setLevel(logging.DEBUG)
    yield open_one
    log.logger.setLevel(before)
    for handler in handlers:
        log.logger.removeHandler(handler)
        handler.close()


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_line_says_when_how_grave_which_thread_and_module_and_what(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path / "log")
    log.logger.info("booted %s", "i-1")
    logging.getLogger("backend.providers.ec2").debug("DescribeVolumes")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [LINE.fullmatch(line) is not None for line in lines] == [True, True]
    assert lines[0].endswith(f" INFO [{os.getpid()} MainThread] test_log: booted i-1")
    assert lines[1].endswith(f" DEBUG [{os.getpid()} MainThread] test_log: DescribeVolumes")


def test_strangers_text_forges_no_line_and_steers_no_terminal(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path / "log")
    hostile = "x\n2026-01-01T00:00:00.000Z ERROR [MainThread] cli: forged\r\x1b[2J\x9b1m\u202e\u2028y"
    log.logger.info("named %s", hostile)
    try:
        raise RuntimeError(hostile)
    except RuntimeError:
        log.logger.exception("it failed")
    text = (tmp_path / "log").read_text()
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text) is None
    head = [line for line in text.split("\n") if not line.startswith("    ")]
    assert len(head) == 3  # two records and what follows the last line end
    assert "named x␊2026-01-01" in head[0]
    assert "RuntimeError: x\n    2026-01-01T" in text


def test_no_secret_is_in_a_line_nor_in_a_traceback(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path / "log")
    try:
        try:
            raise ValueError(f"first {KEY}")
        except ValueError as error:
            raise RuntimeError(f"then {KEY}\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n") from error
    except RuntimeError:
        log.logger.exception("failed with %s", KEY)
    text = (tmp_path / "log").read_text()
    assert KEY not in text
    assert "MIIE" not in text
    assert "failed with ***" in text
    assert "ValueError: first ***" in text
    assert "RuntimeError: then ***" in text


def test_libraries_only_warn(tmp_path: Path) -> None:
    """pymongo's debug output has the documents in it, urllib3's the addresses."""
    script = """
import logging, sys, warnings
from pathlib import Path
from backend import log
log.keep_off_screen()
log.write_to(Path(sys.argv[1]), sys.argv[2])
for name in ("backend.providers.ec2", "tui", "pymongo.command", "urllib3.connectionpool", "asyncio", "werkzeug"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "%s %d", name, level)
warnings.warn("careful", stacklevel=1)
"""
    for level, ours in (("debug", (10, 20, 30)), ("info", (20, 30))):
        path = tmp_path / level
        words = [sys.executable, "-c", script, str(path), level]
        result = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=True)
        assert (result.stdout, result.stderr) == ("", "")
        said = [line.split(": ", 1)[1] for line in path.read_text().splitlines() if "careful" not in line]
        assert [line for line in said if line.startswith(("backend", "tui"))] == [
            f"{name} {number}" for name in ("backend.providers.ec2", "tui") for number in ours
        ]
        others = ("pymongo.command", "urllib3.connectionpool", "asyncio", "werkzeug")
        assert [line for line in said if line.startswith(others)] == [f"{name} 30" for name in others]
        assert "careful" in path.read_text()


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_file_is_its_owners_alone_and_is_added_to(opened: Open, tmp_path: Path, umask: int) -> None:
    path = tmp_path / "log"
    before = os.umask(umask)
    try:
        opened(path)
    finally:
        os.umask(before)
    assert S_IMODE(path.stat().st_mode) == 0o600
    log.logger.info("first")
    opened(path).close()
    log.logger.info("second")
    assert [line.rpartition(" ")[2] for line in path.read_text().splitlines()] == ["first", "second"]


def test_a_file_that_others_may_read_is_closed_to_them(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    path.chmod(0o664)
    opened(path)
    log.logger.info("new")
    assert S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("old\n")


def test_a_link_of_ours_is_followed(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    opened(tmp_path / "log")
    log.logger.info("said")
    assert (tmp_path / "elsewhere").read_text().endswith(": said\n")
    opened(Path("/dev/null"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_or_a_pipe_of_somebody_else_is_refused(tmp_path: Path) -> None:
    ours, link, pipe = (tmp_path / name for name in ("ours", "link", "pipe"))
    ours.touch(mode=0o644)
    link.symlink_to(ours)
    os.mkfifo(pipe)
    for path in (link, pipe):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    with pytest.raises(ConfigError, match=r"link cannot be written: it is a link that another user made\."):
        log.write_to(link)
    assert S_IMODE(ours.stat().st_mode) == 0o644
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # else the log would wait for one
    try:
        with pytest.raises(
            ConfigError, match=r"pipe cannot be written: it is not a regular file and belongs to another user\."
        ):
            log.write_to(pipe)
    finally:
        os.close(reader)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=r"The log file .* cannot be written: Not a directory\. Choose another file\."
    ):
        log.write_to(tmp_path / "file" / "deeper")
    with pytest.raises(ConfigError, match="Is a directory"):
        log.write_to(tmp_path)


def test_a_full_file_is_put_away_and_the_oldest_dropped(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    opened(path, most=1000, kept=2)
    for number in range(60):
        log.logger.info("%s number %03d", "x" * 50, number)
    files = [tmp_path / name for name in ("log.2", "log.1", "log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert {S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert all(file.stat().st_size <= 1000 for file in files)
    numbers = [int(line[-3:]) for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 60))
    assert len(numbers) >= 20


def test_a_line_longer_than_a_file_is_written_all_the_same(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path / "log", most=100)
    for letter in "ab":
        log.logger.info("%s", letter * 1000)
    assert (tmp_path / "log").read_text().count("b") >= 1000
    assert (tmp_path / "log.1").read_text().count("a") >= 1000


def test_a_moved_or_removed_log_file_is_made_again(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    opened(path)
    log.logger.info("one")
    path.rename(tmp_path / "moved")
    log.logger.info("two")
    path.unlink()
    log.logger.info("three")
    assert (tmp_path / "moved").read_text().endswith("one\n")
    assert path.read_text().endswith("three\n")
    assert path.read_text().count("\n") == 1


def test_where_it_cannot_be_put_away_it_goes_on(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.1").mkdir()
    opened(path, most=200, kept=1)
    for number in range(10):
        log.logger.info("number %d", number)
    assert [line[-1] for line in path.read_text().splitlines()] == list("0123456789")


WRITER = """
import sys
from pathlib import Path
from backend.log import LogFile, logger
logger.addHandler(LogFile(Path(sys.argv[1]), most=20_000, kept=200))
logger.setLevel("INFO")
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    logger.info("%s %d %s", sys.argv[2], number, "x" * 40)
"""


def test_processes_share_a_file_and_put_it_away_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    count, names = 1500, "abcd"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(count)],
            cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
        assert writer.returncode == 0
    files = sorted(tmp_path.iterdir(), key=lambda file: -int(file.suffix[1:] or 0))
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert all(LINE.fullmatch(line) for line in lines)
    found = [tuple(line.split(": ", 1)[1].split()[:2]) for line in lines]
    assert sorted(found) == sorted((name, str(number)) for name in names for number in range(count))
    for name in names:
        mine = [int(number) for who, number in found if who == name]
        assert mine == sorted(mine)  # nobody's lines are out of their order
    # One process rotates at a time: a half empty rotated file would be one that another has rotated again.
    assert min(file.stat().st_size for file in files[:-1]) > 19_000


# --- failures of the log that must not stop the program ---------------------------------------------------------------


def test_a_full_disk_neither_raises_nor_prints(opened: Open, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    handler = opened(path)
    log.logger.info("lost")
    try:
        raise RuntimeError("no")
    except RuntimeError:
        log.logger.exception("lost too")
    handler.handle(logging.LogRecord("backend", logging.INFO, __file__, 1, "%d", ("no number",), None))
    assert capfd.readouterr() == ("", "")


def test_after_half_a_line_comes_another(tmp_path: Path) -> None:
    """A disk that fills up in the middle of a line and is cleared again."""
    script = """
import resource, signal, sys
from pathlib import Path
from backend.log import LogFile, logger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
logger.addHandler(LogFile(Path(sys.argv[1])))
logger.setLevel("INFO")
logger.info("first")
size = Path(sys.argv[1]).stat().st_size
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
logger.info("half")
logger.info("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
logger.info("last")
"""
    path = tmp_path / "log"
    result = subprocess.run([sys.executable, "-c", script, str(path)], cwd=TREE, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"", b"")
    first, half, last = path.read_text().splitlines()
    assert first.endswith("first")
    assert len(half) == 10
    assert LINE.fullmatch(last)
    assert last.endswith("last")


def test_what_the_users_signal_raises_goes_on(opened: Open, tmp_path: Path) -> None:
    class Interrupted:
        def __str__(self) -> str:
            raise Cancelled

    opened(tmp_path / "log")
    with pytest.raises(Cancelled):
        log.logger.info("%s", Interrupted())
    log.logger.info("after")
    assert (tmp_path / "log").read_text().endswith("after\n")
