"""The model of a table against a slow, obvious one, and where the obvious one would say nothing."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.format import cell, sort_key
from backend.kinds.model import Column, Kind, Row
from backend.lifecycle import Flight
from tui.rows import Rows

START = datetime(2024, 1, 1, tzinfo=UTC)
LOCATION = KINDS["location"]


def location(id: str, name: str | None = None, region: str | None = "eu", state: str | None = "available") -> Row:
    return (name, region, state, None, id)


def ids(rows: Rows) -> list[str]:
    return [rows.id_at(position) for position in range(rows.visible)]


def some_value(column: Column, seed: int) -> Any:
    """Return one of a few values of the column's type, so that ties are common; None now and then."""
    if seed % 5 == 0:
        return None
    number = seed * 7919 % 11
    match column.type:
        case "int" | "mib" | "gib":
            return number
        case "usd":
            return number / 8
        case "time":
            return START + timedelta(hours=number)
        case "flight":
            return Flight("stop", START + timedelta(hours=number))
        case "list":
            return tuple(f"x-{one}" for one in range(1 + number % 3))
        case "tags":
            return (("team", ["core", "Edge", "apple"][number % 3]), ("env", ""))[: 1 + number % 2]
        case "state":
            return ["running", "stopped", "pending", "odd"][number % 4]
    return ["Äpfel", "apple", "Banana", "APPLE", "zed", "straße", "x-1"][number % 7]


def some_row(kind: Kind, id: str, seed: int) -> Row:
    values = [some_value(column, seed + 3 * index) for index, column in enumerate(kind.columns)]
    values[kind.index["id"]] = id
    return tuple(values)


def expected(kind: Kind, rows: dict[str, Row], words: str, column: str | None, reverse: bool) -> list[str]:
    """Return the ids that should be shown, found the slow way."""
    shown = [
        id
        for id, row in rows.items()
        if all(
            any(word in cell(value, each, START).casefold() for value, each in zip(row, kind.columns, strict=True))
            for word in words.casefold().split()
        )
    ]
    if column is None:
        return shown
    by = kind.columns[kind.index[column]]
    full = [id for id in shown if kind.value(rows[id], column) is not None]
    full.sort(key=lambda id: sort_key(kind.value(rows[id], column), by), reverse=reverse)
    return full + [id for id in shown if kind.value(rows[id], column) is None]


@pytest.mark.parametrize(
    ("kind", "column"), [(kind, column.name) for kind in KINDS.values() for column in kind.columns], ids=str
)
def test_sort_of_every_column_of_every_kind(kind: Kind, column: str) -> None:
    given = {f"id-{seed}": some_row(kind, f"id-{seed}", seed * 13 + 1) for seed in range(40)}
    rows = Rows(kind)
    rows.replace(given.values())
    for reverse in (False, True, False):
        rows.sort(column, reverse)
        assert ids(rows) == expected(kind, given, "", column, reverse)
    rows.sort(None)
    assert ids(rows) == list(given)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_in_the_order_of_the_slow_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.rows._FEW", 5)
    chance = random.Random(seed)  # noqa: S311
    kind = KINDS["vm"]
    rows, truth = Rows(kind), dict[str, Row]()
    words, column, reverse = "", None, False
    for step in range(150):
        match chance.randrange(6):
            case 0:
                words = chance.choice(["", "a", "ap", "app", "app run", "run ap", "STRASSE", "ss", "stop", "x-1 od"])
                rows.filter(words)
            case 1:
                column, reverse = chance.choice([None, "name", "state", "launched", "flight"]), chance.random() < 0.5
                rows.sort(column, reverse)
            case 2 if step % 9 == 0:
                given = [some_row(kind, f"i-{n}", chance.randrange(99)) for n in chance.sample(range(40), 15)]
                truth = {str(row[1]): row for row in given}
                rows.replace(given)
            case 3:
                rows.toggle_mark(chance.choice([*truth, "i-none"]))
            case _:
                upserts = [
                    some_row(kind, f"i-{chance.randrange(40)}", chance.randrange(99))
                    for _ in range(chance.randrange(20))
                ]
                removed = [f"i-{chance.randrange(40)}" for _ in range(chance.randrange(4))]
                before = ids(rows)
                applied = rows.apply(upserts, removed)
                for id in removed:
                    truth.pop(id, None)
                old, truth = truth, truth | {str(row[1]): row for row in upserts}
                assert applied.moved or before == ids(rows)
                if not applied.moved:
                    assert {id for id in before if old[id] != truth[id]} <= applied.changed <= set(before)
        assert ids(rows) == expected(kind, truth, words, column, reverse)
        assert rows.total == len(truth)
        assert rows.marks <= truth.keys()
        for position, id in enumerate(ids(rows)):
            assert rows.position(id) == position
            assert rows.row_at(position) == rows.row(id) == truth[id]


def test_of_the_same_id_twice_the_last_counts() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "old"), location("b"), location("a", "new")])
    assert ids(rows) == ["a", "b"]
    assert rows.row("a") == location("a", "new")
    assert rows.total == rows.visible == 2


def test_words_match_in_any_column_but_never_across_two() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("az-1", "Main", "EU-west"), location("az-2", "spare", "us-east", "impaired")])
    for text, shown in {
        "west main": ["az-1"],
        "  MAIN\t1 ": ["az-1"],
        "impair": ["az-2"],
        "maineu": [],
        "main spare": [],
        "none": [],
        "": ["az-1", "az-2"],
    }.items():
        rows.filter(text)
        assert ids(rows) == shown, text


def test_a_shorter_filter_brings_back_what_a_longer_one_hid() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("x", "alpha"), location("y", "alphabet"), location("z", "beta")])
    for text, shown in [("alphab", ["y"]), ("alpha", ["x", "y"]), ("alpha b", ["x", "y"]), ("bet", ["y", "z"])]:
        rows.filter(text)
        assert ids(rows) == shown, text


def test_texts_made_in_portions_are_the_texts() -> None:
    rows = Rows(LOCATION)
    rows.replace(location(f"id-{n}", f"name {n}") for n in range(25))
    assert [rows.prepare(10) for _ in range(3)] == [False, False, True]
    rows.apply([location("id-3", "changed"), location("id-late", "late")], ["id-4"])
    rows.filter("name")
    assert len(ids(rows)) == 23
    rows.filter("changed")
    assert ids(rows) == ["id-3"]
    rows.filter("late")
    assert ids(rows) == ["id-late"]


def test_a_reload_finds_changed_rows_by_their_new_text() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "one"), location("b", "two")])
    rows.filter("two")
    rows.replace([location("b", "three"), location("a", "two"), location("c", "two")])
    assert ids(rows) == ["a", "c"]


def test_apply_tells_repainting_from_moving() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "1"), location("b", "2"), location("c", "3")])
    assert rows.apply([location("b", "2", state="impaired")]) == (frozenset({"b"}), False)
    assert rows.apply([location("b", "2", state="impaired")]) == (frozenset(), False)
    rows.sort("name")
    assert rows.apply([location("b", "2")]) == (frozenset({"b"}), False)
    assert rows.apply([location("b", "2a")]) == (frozenset({"b"}), False)  # other key, same place
    assert rows.apply([location("b", "9")]).moved
    rows.filter("9")
    assert rows.apply([location("c", "3", "ap")]) == (frozenset(), False)  # hidden before and after
    assert rows.apply([location("c", "9")]).moved
    assert ids(rows) == ["b", "c"]
    assert rows.apply([], ["b"]).moved
    assert rows.apply([], ["b", "unknown"]) == (frozenset(), False)


def test_marks_go_with_their_rows_and_outlive_filters() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "x"), location("b", "x"), location("c", "y")])
    rows.filter("x")
    rows.mark_all_visible()
    rows.filter("y")
    rows.toggle_mark("c")
    rows.toggle_mark("nobody")
    assert rows.marked() == ["a", "b", "c"]
    assert rows.marked(shown=True) == ["c"]
    rows.toggle_mark("c")
    rows.apply([], ["a"])
    assert rows.marked() == ["b"]
    rows.replace([location("c")])
    assert not rows.marks
    rows.mark_all_visible()
    assert not rows.marks  # the filter shows none
    rows.filter("")
    rows.mark_all_visible()
    rows.unmark(tuple(rows.marks))
    assert not rows.marks


TAGGED = [kind for kind in KINDS.values() if "tags" in kind.index]


@pytest.mark.parametrize("kind", TAGGED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("words", ["team=core", "core", "CORE", "team= env=", "web core"])
def test_a_filter_finds_tags(kind: Kind, words: str) -> None:
    def tagged(id: str, *tags: tuple[str, str]) -> Row:
        return tuple({"id": id, "name": "web", "tags": tags or None}.get(column.name) for column in kind.columns)

    rows = Rows(kind)
    rows.replace([tagged("a", ("team", "core"), ("env", "")), tagged("b", ("team", "edge")), tagged("c")])
    rows.filter(words)
    assert ids(rows) == ["a"]
    rows.apply([tagged("a"), tagged("c", ("team", "core"), ("env", "test"))])
    assert ids(rows) == ["c"]


def test_a_filter_finds_any_address_and_any_attachment() -> None:
    vm, volume = KINDS["vm"], KINDS["volume"]
    found = {"id": "a", "ipv6": ("2001:db8::1", "2001:db8::beef")}
    for kind, said, word in ((vm, found, "beef"), (volume, {"id": "a", "vm": ("i-1", "i-2")}, "i-2")):
        rows = Rows(kind)
        rows.replace([tuple(said.get(column.name) for column in kind.columns)])
        rows.filter(word)
        assert ids(rows) == ["a"]
        rows.sort("ipv6" if kind is vm else "vm")
        assert ids(rows) == ["a"]


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(KeyError):
        Rows(LOCATION).sort("colour")
