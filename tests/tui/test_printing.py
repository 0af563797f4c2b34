"""Tables without a screen: as wide as the terminal; one long name does not widen all lines."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.tui.shell import TREE, Shell, booted
from tui import printing
from tui.printing import Column, fitted

NAME = "n" * 255


def widths(columns: list[Column]) -> list[int]:
    return [column.width for column in columns]


def test_what_fits_stays_as_it_is() -> None:
    columns = [Column(("Name", "web"), cuts=True), Column(("Size", "8 GiB"), right=True), Column(("State", ""))]
    assert fitted(columns, 80) == (columns, [])


def test_the_widest_texts_are_cut_and_never_what_is_of_no_use_in_part() -> None:
    columns = [
        Column(("Name", NAME, "db"), cuts=True),
        Column(("ID", "i-0123456789abcdef0", "i-1")),
        Column(("Keypair", "k" * 30, ""), cuts=True),
    ]
    found, missing = fitted(columns, 60)
    assert sum(widths(found)) + 4 <= 60
    assert missing == []
    assert found[1] == columns[1]
    assert found[0].texts[1].startswith("nn")
    assert "…" in found[0].texts[1]
    assert found[0].texts[2] == "db"
    assert widths(found)[0] == widths(found)[2]  # the widest give way first, to the same width


def test_columns_go_where_cutting_is_not_enough_and_are_named() -> None:
    columns = [
        Column(("Name", NAME), cuts=True, stays=True),
        Column(("Empty", "")),
        Column(("ID", "i" * 19), stays=True),
        Column(("Image", "a" * 21)),
        Column(("Launched", "2026-01-01 10:00")),
    ]
    found, missing = fitted(columns, 60)
    assert [column.texts[0] for column in found] == ["Name", "ID", "Image"]
    assert missing == ["Launched"]
    found, missing = fitted(columns, 10)
    assert [column.texts[0] for column in found] == ["Name", "ID"]
    assert missing == ["Image", "Launched"]


def test_wide_characters_count_twice(capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = fitted([Column(("Name", "東京" * 20), cuts=True), Column(("ID", "i-1"))], 30)
    assert found[0].width <= 25
    printing.write(found)
    assert [line.rindex("i-1") for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_long_text_moves_its_own_line_alone(capsys: pytest.CaptureFixture[str]) -> None:
    printing.write([Column(("Name", NAME, "db")), Column(("GiB", "8", "100"), right=True)])
    assert capsys.readouterr().out.splitlines() == ["Name  GiB", f"{NAME}    8", "db    100"]


# --- the whole program ------------------------------------------------------------------------------------------------


def in_terminal(shell: Shell, columns: int, *words: str) -> list[str]:
    """Run a command on a terminal of `columns` columns, and return the printed lines."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "tui", *words],
        cwd=shell.config.parent, env=shell.environment | {"PYTHONPATH": str(TREE)},
        stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(slave)
        out = b""
        try:
            while part := os.read(master, 65536):
                out += part
        except OSError:  # the other end is closed: Linux's way to say that all was read
            pass
        os.close(master)
        assert process.stderr is not None
        process.stderr.read()
    assert process.returncode == 0
    return out.decode().splitlines()


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_listing_fits_the_terminal(shell: Shell, cloud: Cloud, provider: EC2Provider, columns: int) -> None:
    ids = [booted(cloud, provider, name) for name in (NAME, "db")]
    lines = in_terminal(shell, columns, "vm", "list")
    assert max(map(len, lines)) <= columns
    for native in ids:
        (line,) = [line for line in lines if native in line]
        assert re.search(rf"\b{native}\b", line)
    assert any("…" in line for line in lines)


def test_a_listing_that_is_piped_is_whole(shell: Shell, cloud: Cloud, provider: EC2Provider) -> None:
    for name in (NAME, "db"):
        booted(cloud, provider, name)
    titles, *rows = shell.done("vm", "list").splitlines()
    long, short = sorted(rows, key=len, reverse=True)
    assert NAME in long
    assert len(short) < 255
    assert short.startswith("db  ")
    assert re.split("  +", titles)[:2] == ["Name", "ID"]
