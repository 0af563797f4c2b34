"""The content of an exported file, and files that cannot be written."""

import csv
import errno
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.errors import Cancelled, CloudmeshError, RefusedError, UsageError
from backend.export import write
from backend.format import as_object
from backend.journal.model import JOURNAL
from backend.kinds.model import Column, Kind, Row, Type
from backend.lifecycle import Flight
from tests.backend.cache_support import HERE

NOW = datetime(2026, 11, 23, 12, 30, 59, tzinfo=UTC)
VM = KINDS["vm"]

VALUES: dict[Type, Any] = {
    "int": 2**40,
    "mib": 512,
    "gib": 1.5,
    "usd": 0.0116,
    "seconds": 0.1,
    "time": NOW.astimezone(timezone(timedelta(hours=5))),
    "flag": False,
    "flight": Flight("stop", NOW, before="running"),
    "list": ("i-1", "i-2"),
    "tags": (("team", "core"), ("spot", "")),
}

TAME = [
    "web-1", "a b", "", "'quoted'", "5", "1-2", "a=b", 'say "hi"', '"', "a,b", "a;b",
    "café", "データ 漢字", "🚀 👍🏽",
]  # fmt: skip
"""Texts that stand in a CSV file as they are."""

WILD = [
    ("=1+1", "'=1+1"),
    ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
    ("+1", "'+1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("＝1", "'＝1"),
    ("＋1", "'＋1"),
    ("－1", "'－1"),
    ("＠x", "'＠x"),
    ("  =1", "'  =1"),
    ("\u00a0=1", "' =1"),
    ("\u3000＝1", "' ＝1"),
    ("\0=1", "'␀=1"),
    ("\x1b\x9b-1", "'␛\ufffd-1"),
    ("\x7f@", "'␡@"),
    ("\t", "'␉"),
    ("\tx", "'␉x"),
    ("\rx", "'␍x"),
    ("\n", "'␊"),
    ("\r\n=1", "'␍␊=1"),
    ("a\r\nb\n=1", "a␍␊b␊=1"),
    ("a\x1b[2J\0", "a␛[2J␀"),
    ("a\x85b\u2028c", "a\ufffdb\ufffdc"),
    ("user\u202etxt.exe", "user\ufffdtxt.exe"),
    ("\u200b=1", "\ufffd=1"),
    ("\ud800", "\ufffd"),
    ("\udcff=", "\ufffd="),
]
"""Texts that must not stand in a CSV file as they are, and what does instead."""

every_kind = pytest.mark.parametrize("kind", [*KINDS.values(), JOURNAL], ids=lambda kind: kind.name)


def row_of(kind: Kind, text: str) -> Row:
    """A row with every column filled, each text with `text`."""
    return (*(VALUES.get(column.type, text) for column in kind.columns), HERE.text)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def as_csv(column: Column, value: Any, text: Callable[[str], str] = str) -> str:
    """What the cell of a value of `as_object` is to be."""
    if value is None:
        return ""
    if column.type == "flight":
        return f"{value['action']} since {value['since']}"
    if column.type == "flag":
        return {True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{key}={said}" for key, said in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return text(value) if isinstance(value, str) else repr(value)


# --- what is in it ----------------------------------------------------------------------------------------------------


@every_kind
def test_csv_says_the_same_as_json(tmp_path: Path, kind: Kind) -> None:
    rows = [*(row_of(kind, text) for text in TAME), (*[None] * len(kind.columns), HERE.text)]
    write(kind, rows, tmp_path / "x.csv")
    objects = [as_object(kind, row) for row in rows]
    assert read_csv(tmp_path / "x.csv") == [
        {column.name: as_csv(column, one[column.name]) for column in kind.columns} for one in objects
    ]


@pytest.mark.parametrize(
    ("tags", "shown"),
    [
        ((("=1+1", "x"),), "'=1+1=x"),
        ((("a", "b;=1"), ("c", "@x")), "a=b;'=1, c=@x"),
        ((("a\x1b", "x\ny"),), "a␛=x␊y"),
    ],
)
def test_no_tag_is_a_formula_or_a_second_line_in_csv(
    tmp_path: Path, tags: tuple[tuple[str, str], ...], shown: str
) -> None:
    row = [*[None] * len(VM.columns), HERE.text]
    write(VM, [(*row[: VM.index["tags"]], tags, *row[VM.index["tags"] + 1 :])], tmp_path / "x.csv")
    assert [one["tags"] for one in read_csv(tmp_path / "x.csv")] == [shown]
    write(VM, [(*row[: VM.index["tags"]], tags, *row[VM.index["tags"] + 1 :])], tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())[0]["tags"] == dict(tags)


@every_kind
def test_no_text_is_a_formula_or_a_second_line_in_csv(tmp_path: Path, kind: Kind) -> None:
    rows = [row_of(kind, text) for text, _ in WILD]
    write(kind, rows, tmp_path / "x.csv")
    changed = dict(WILD)
    assert read_csv(tmp_path / "x.csv") == [
        {column.name: as_csv(column, one[column.name], lambda text: changed.get(text, text)) for column in kind.columns}
        for one in (as_object(kind, row) for row in rows)
    ]
    lines = (tmp_path / "x.csv").read_bytes().decode("utf-8").split("\r\n")
    assert len(lines) == 1 + len(rows) + 1
    assert all(line.isprintable() for line in lines)


@every_kind
def test_json_is_exact(tmp_path: Path, kind: Kind) -> None:
    rows = [*(row_of(kind, text) for text in (*TAME, *dict(WILD))), (*[None] * len(kind.columns), HERE.text)]
    write(kind, rows, tmp_path / "x.json")
    text = (tmp_path / "x.json").read_bytes().decode("ascii")
    assert json.loads(text) == [as_object(kind, row) for row in rows]
    begin, *lines, end, after = text.split("\n")
    assert (begin, end, after) == ("[", "]", "")
    assert [json.loads(line.removesuffix(",")) for line in lines] == json.loads(text)
    assert all(line.isprintable() for line in lines)


@every_kind
def test_no_rows_are_a_header_or_an_empty_array(tmp_path: Path, kind: Kind) -> None:
    write(kind, [], tmp_path / "x.csv")
    write(kind, (), tmp_path / "x.json")
    assert (tmp_path / "x.csv").read_bytes() == b",".join(column.name.encode() for column in kind.columns) + b"\r\n"
    assert (tmp_path / "x.json").read_bytes() == b"[]\n"


def test_a_file_by_its_bytes(tmp_path: Path) -> None:
    kind = Kind("x", "xs", (Column("id", "ID"), Column("size", "Size", "gib")), 1, False, "")
    rows: list[Row] = [('a"é,', -1, HERE.text), ("=\x7f", None, HERE.text)]
    write(kind, rows, tmp_path / "x.csv")
    write(kind, rows, tmp_path / "x.json")
    assert (tmp_path / "x.csv").read_bytes() == 'id,size\r\n"a""é,",-1\r\n\'=␡,\r\n'.encode()
    assert (tmp_path / "x.json").read_bytes() == (
        b'[\n{"id": "a\\"\\u00e9,", "size": -1},\n{"id": "=\\u007f", "size": null}\n]\n'
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("protected", True, "true"),
        ("launched", NOW + timedelta(microseconds=5), "2026-11-23T12:30:59.000005Z"),
        ("launched", "=yesterday", "'=yesterday"),
        ("flight", Flight("stop", NOW, overdue=True), "stop since 2026-11-23T12:30:59Z, overdue"),
        ("flight", Flight("=\x1b", NOW), "'=␛ since 2026-11-23T12:30:59Z"),
        ("name", -0.5, "-0.5"),
        ("name", ["=1"], "['=1']"),
    ],
)
def test_odd_values_in_csv(tmp_path: Path, name: str, value: Any, text: str) -> None:
    write(VM, [(*(value if column.name == name else None for column in VM.columns), HERE.text)], tmp_path / "x.csv")
    assert read_csv(tmp_path / "x.csv")[0][name] == text


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_many_rows_are_never_held_at_once(tmp_path: Path, suffix: str) -> None:
    rows = [row_of(VM, "x" * 50)] * 5000
    path = tmp_path / f"x{suffix}"
    tracemalloc.start()
    try:
        write(VM, rows, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 2_500_000
    assert peak < 500_000


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.CSV", "x.Json", "a.json.csv", " é=.csv"])
def test_the_suffix_says_the_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(VM, [row_of(VM, "web")], path)
    if name.lower().endswith("json"):
        assert json.loads(path.read_text()) == [as_object(VM, row_of(VM, "web"))]
    else:
        assert read_csv(path)[0]["name"] == "web"


@pytest.mark.parametrize("name", ["x", "x.txt", "x.csv.gz", "x.json ", "x.jsonl", "csv", ".csv", "", "nowhere/x.tsv"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"neither a \.csv nor a \.json file\."):
        write(VM, [], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_it_is_its_owner_s_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for name in ("x.csv", "x.json"):
            write(VM, [], tmp_path / name)
    finally:
        os.umask(before)
    assert [S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600, 0o600]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_what_exists_is_neither_written_nor_removed(tmp_path: Path, suffix: str) -> None:
    file, folder, link, dangling = (tmp_path / f"{name}{suffix}" for name in ("file", "folder", "link", "dangling"))
    file.write_text("old")
    folder.mkdir()
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "nothing")
    for path in (file, folder, link, dangling):
        with pytest.raises(RefusedError) as caught:
            write(VM, [row_of(VM, "web")], path)
        assert caught.value.message == f"{path} exists already and is not overwritten."
        assert caught.value.cure == "Move it, or choose another file."
    assert file.read_text() == "old"
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["dangling", "file", "folder", "link"]


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.csv"
    with pytest.raises(RefusedError) as caught:
        write(VM, [], path)
    assert caught.value.message == f"{path} cannot be written: there is no folder {path.parent}."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/x.csv", "Not a directory"),
        ("n" * 300 + ".csv", "File name too long"),
        ("nul\0.csv", "a file cannot have that name"),
        ("\ud800.json", "a file cannot have that name"),
    ],
)
def test_what_cannot_be_made_is_told(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError) as caught:
        write(VM, [], tmp_path / name)
    assert caught.value.message == f"{tmp_path / name} cannot be written: {reason}."
    assert caught.value.cure == "Choose another file."
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- when it fails ----------------------------------------------------------------------------------------------------


class Breaking(list[Row]):
    """Yield rows, and fail at the last one: by then a part of the file is on the disk."""

    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__([row_of(VM, "x" * 100)] * 100)
        self.path, self.error = path, error
        self.written = 0

    def __iter__(self) -> Iterator[Row]:
        yield from super().__iter__()
        self.written = self.path.stat().st_size
        raise self.error


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_half_a_file_is_removed_and_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    rows = Breaking(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(CloudmeshError) as caught:
        write(VM, rows, path)
    assert type(caught.value) is CloudmeshError  # not refused: something was done
    assert caught.value.message == f"The VMs could not be written to {path}: No space left on device."
    assert rows.written > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("error", [Cancelled(), KeyboardInterrupt(), ValueError("odd")], ids=repr)
def test_half_a_file_is_removed_whatever_stops_it(tmp_path: Path, suffix: str, error: BaseException) -> None:
    path = tmp_path / f"x{suffix}"
    rows = Breaking(path, error)
    with pytest.raises(type(error)) as caught:
        write(VM, rows, path)
    assert caught.value is error
    assert rows.written > 0
    assert list(tmp_path.iterdir()) == []


class Filling(list[Row]):
    """Fill the disk, then yield a few rows: the open file is /dev/full from then on."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__([row_of(VM, "x" * 100)] * count)
        self.path = path

    def __iter__(self) -> Iterator[Row]:
        wanted = self.path.stat()
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            for name in os.listdir("/dev/fd"):
                try:
                    found = os.fstat(int(name))
                except OSError:  # the listing's own
                    continue
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    os.dup2(full, int(name))
        finally:
            os.close(full)
        return super().__iter__()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("count", [1, 1000])  # the error comes when the file is closed, and while it is written
def test_a_full_disk_leaves_no_file(tmp_path: Path, suffix: str, count: int) -> None:
    path = tmp_path / f"x{suffix}"
    with pytest.raises(CloudmeshError, match=f"could not be written to {path}: No space left on device"):
        write(VM, Filling(path, count), path)
    assert list(tmp_path.iterdir()) == []
