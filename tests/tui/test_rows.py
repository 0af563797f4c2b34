"""The rows of a table against a slow, obvious model, and cases that the model does not cover."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.format import cell, sort_key
from backend.kinds.model import PLACES, Column, Kind, Ref, Row, Scope
from backend.lifecycle import Flight
from tui.rows import Rows

START = datetime(2024, 1, 1, tzinfo=UTC)
LOCATION = KINDS["location"]
HERE, THERE = Scope("aws", "us-east-1"), Scope("aws", "us-west-2")


def location(
    id: str, name: str | None = None, region: str | None = "eu", state: str | None = "available", scope: Scope = HERE
) -> Row:
    return (name, region, state, None, id, scope.text)


def here(id: str) -> Ref:
    return Ref(HERE, id)


def refs(rows: Rows) -> list[Ref]:
    return [rows.ref_at(position) for position in range(rows.visible)]


def ids(rows: Rows) -> list[str]:
    return [id for _, id in refs(rows)]


def marked(rows: Rows, *, shown: bool = False) -> list[Ref]:
    return [rows.kind.ref(row) for row in rows.marked(shown=shown)]


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


def some_row(kind: Kind, ref: Ref, seed: int) -> Row:
    values = [some_value(column, seed + 3 * index) for index, column in enumerate(kind.columns)]
    values[kind.index["id"]] = ref.id
    return (*values, ref.scope.text)


def expected(kind: Kind, rows: dict[Ref, Row], words: str, column: str | None, reverse: bool) -> list[Ref]:
    """Return the names of the rows that should be shown, found the slow way."""
    shown = [
        ref
        for ref, row in rows.items()
        if all(
            any(word in cell(value, each, START).casefold() for each, value in kind.cells(row))
            for word in words.casefold().split()
        )
    ]
    if column is None:
        return shown
    by = kind.columns[kind.index[column]]
    full = [ref for ref in shown if kind.value(rows[ref], column) is not None]
    full.sort(key=lambda ref: sort_key(kind.value(rows[ref], column), by), reverse=reverse)
    return full + [ref for ref in shown if kind.value(rows[ref], column) is None]


@pytest.mark.parametrize(
    ("name", "column"), [(kind.name, column.name) for kind in KINDS.values() for column in kind.columns]
)
def test_sort_of_every_column_of_every_kind(name: str, column: str) -> None:
    kind = KINDS[name]
    names = [Ref(scope, f"id-{number}") for number in range(20) for scope in (HERE, THERE)]
    given = {ref: some_row(kind, ref, seed * 13 + 1) for seed, ref in enumerate(names)}
    rows = Rows(kind)
    rows.replace(given.values())
    for reverse in (False, True, False):
        rows.sort(column, reverse)
        assert refs(rows) == expected(kind, given, "", column, reverse)
    rows.sort(None)
    assert refs(rows) == list(given)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_in_the_order_of_the_slow_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.rows._FEW", 5)
    chance = random.Random(seed)  # noqa: S311
    kind = KINDS["vm"]
    names = [Ref(scope, f"i-{number}") for scope in (HERE, THERE) for number in range(20)]
    rows, truth, marks = Rows(kind), dict[Ref, Row](), set[Ref]()
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
                given = [some_row(kind, ref, chance.randrange(99)) for ref in chance.sample(names, 15)]
                truth = {kind.ref(row): row for row in given}
                rows.replace(given)
                marks &= truth.keys()
            case 3:
                toggled = chance.choice([*truth, here("i-none")])
                rows.toggle_mark(toggled)
                marks ^= {toggled} & truth.keys()
            case _:
                upserts = [
                    some_row(kind, chance.choice(names), chance.randrange(99)) for _ in range(chance.randrange(20))
                ]
                removed = [chance.choice(names) for _ in range(chance.randrange(4))]
                before = refs(rows)
                applied = rows.apply(upserts, removed)
                for ref in removed:
                    truth.pop(ref, None)
                marks.difference_update(removed)
                old, truth = truth, truth | {kind.ref(row): row for row in upserts}
                assert applied.moved or before == refs(rows)
                if not applied.moved:
                    assert {ref for ref in before if old[ref] != truth[ref]} <= applied.changed <= set(before)
        assert refs(rows) == expected(kind, truth, words, column, reverse)
        assert rows.total == len(truth)
        assert (set(marked(rows)), rows.marks) == (marks, len(marks))
        assert set(marked(rows, shown=True)) == marks & set(refs(rows))
        assert rows.hidden_marks == len(marks - set(refs(rows)))
        for position, ref in enumerate(refs(rows)):
            assert rows.position(ref) == position
            assert rows.is_marked(position) is (ref in marks)
            assert rows.row_at(position) == rows.row(ref) == truth[ref]


def test_the_last_row_of_the_same_id_counts() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "old"), location("b"), location("a", "new")])
    assert ids(rows) == ["a", "b"]
    assert rows.row(here("a")) == location("a", "new")
    assert rows.total == rows.visible == 2


def test_the_same_id_in_two_scopes_is_two_rows() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "east"), location("b"), location("a", "west", scope=THERE), location("a", "East")])
    assert refs(rows) == [here("a"), here("b"), Ref(THERE, "a")]
    assert rows.row(Ref(THERE, "a")) == location("a", "west", scope=THERE)
    rows.toggle_mark(Ref(THERE, "a"))
    assert marked(rows) == [Ref(THERE, "a")]
    changed = location("a", "changed", scope=THERE)
    assert rows.apply([changed]) == (frozenset({Ref(THERE, "a")}), False)
    assert (rows.row(here("a")), rows.row(Ref(THERE, "a"))) == (location("a", "East"), changed)
    rows.filter("east")
    assert refs(rows) == [here("a")]
    rows.filter("")
    rows.apply([], [here("a")])
    assert (refs(rows), marked(rows)) == ([here("b"), Ref(THERE, "a")], [Ref(THERE, "a")])
    rows.apply([location("c", scope=Scope("other", "us-east-1"))], [Ref(THERE, "a"), here("c")])
    assert (refs(rows), rows.marks) == ([here("b"), Ref(Scope("other", "us-east-1"), "c")], 0)


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
    rows.apply([location("id-3", "changed"), location("id-late", "late")], [here("id-4")])
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


def test_apply_distinguishes_changed_rows_from_moved_ones() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "1"), location("b", "2"), location("c", "3")])
    assert rows.apply([location("b", "2", state="impaired")]) == (frozenset({here("b")}), False)
    assert rows.apply([location("b", "2", state="impaired")]) == (frozenset(), False)
    rows.sort("name")
    assert rows.apply([location("b", "2")]) == (frozenset({here("b")}), False)
    assert rows.apply([location("b", "2a")]) == (frozenset({here("b")}), False)  # other key, same place
    assert rows.apply([location("b", "9")]).moved
    rows.filter("9")
    assert rows.apply([location("c", "3", "ap")]) == (frozenset(), False)  # hidden before and after
    assert rows.apply([location("c", "9")]).moved
    assert ids(rows) == ["b", "c"]
    assert rows.apply([], [here("b")]).moved
    assert rows.apply([], [here("b"), here("unknown")]) == (frozenset(), False)


def test_marks_go_with_their_rows_and_outlive_filters() -> None:
    rows = Rows(LOCATION)
    rows.replace([location("a", "x"), location("b", "x"), location("c", "y")])
    rows.filter("x")
    rows.mark_all_visible()
    rows.filter("y")
    rows.toggle_mark(here("c"))
    rows.toggle_mark(here("nobody"))
    assert marked(rows) == [here("a"), here("b"), here("c")]
    assert marked(rows, shown=True) == [here("c")]
    rows.toggle_mark(here("c"))
    rows.apply([], [here("a")])
    assert marked(rows) == [here("b")]
    rows.replace([location("c")])
    assert not rows.marks
    rows.mark_all_visible()
    assert not rows.marks  # the filter shows none
    rows.filter("")
    rows.mark_all_visible()
    rows.unmark([here("a"), here("c")])
    assert not rows.marks
    rows.mark_all_visible()
    rows.unmark_all()
    assert not rows.marks


TAGGED = [kind for kind in KINDS.values() if "tags" in kind.index]


@pytest.mark.parametrize("kind", TAGGED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("words", ["team=core", "core", "CORE", "team= env=", "web core"])
def test_a_filter_finds_tags(kind: Kind, words: str) -> None:
    def tagged(id: str, *tags: tuple[str, str]) -> Row:
        said = {"id": id, "name": "web", "tags": tags or None}
        return (*(said.get(column.name) for column in kind.columns), HERE.text)

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
        rows.replace([(*(said.get(column.name) for column in kind.columns), HERE.text)])
        rows.filter(word)
        assert ids(rows) == ["a"]
        rows.sort("ipv6" if kind is vm else "vm")
        assert ids(rows) == ["a"]


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(KeyError):
        Rows(LOCATION).sort("colour")


def test_words_of_the_scope_are_searched_in_the_scope_alone() -> None:
    kind = KINDS["vm"]
    scopes = [Scope("aws", "us-east-1"), Scope("aws", "eu-west-1"), Scope("lab", "eu-west-1")]

    def row(scope: Scope, name: str) -> Row:
        values = {"id": f"i-{name}", "name": name}
        return (*(values.get(column.name) for column in kind.columns), scope.text)

    rows = Rows(kind)
    rows.replace([row(scope, f"vm{n}") for n, scope in enumerate(scopes)] + [row(scopes[0], "region:eu-west-1")])

    def shown(text: str) -> list[str]:
        rows.filter(text)
        return [kind.value(rows.row_at(n), "name") for n in range(rows.visible)]

    for places in ((), PLACES):
        rows.show_places(places)
        assert shown("region:eu-west-1") == ["vm1", "vm2"], "what is called so elsewhere is not shown"
        assert shown("region:eu-west-1 cloud:l") == ["vm2"]
        assert shown("regi") == (["region:eu-west-1"])
        assert shown("region:e") == ["vm0", "vm1", "vm2", "region:eu-west-1"], "hidden by the word before it"
        assert shown("region:us") == ["vm0", "region:eu-west-1"]
        rows.apply([row(scopes[2], "vm9")], [Ref(scopes[0], "i-vm0")])
        assert shown("cloud:lab") == ["vm2", "vm9"]
        rows.apply([row(scopes[0], "vm0")], [Ref(scopes[2], "i-vm9")])
        rows.replace([row(scope, f"vm{n}") for n, scope in enumerate(scopes)] + [row(scopes[0], "region:eu-west-1")])
    assert shown("lab eu") == ["vm2"], "the columns of the scope are searched while they are shown"
    rows.filter("")
    rows.sort("region", reverse=True)
    assert [kind.scope(rows.row_at(n)).region for n in range(2)] == ["us-east-1"] * 2
    rows.apply([row(scopes[1], "vm7")])
    assert kind.scope(rows.row_at(4)).region == "eu-west-1"
    rows.show_places(())
    assert rows.column is None
