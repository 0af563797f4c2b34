"""The facts of an image that are read at once, and those that are read when needed."""

from typing import Any

import pytest

from backend.catalog import KINDS
from backend.providers.ec2 import rows
from backend.providers.ec2.cut import value
from backend.providers.ec2.entry import EC2
from backend.providers.ec2.outline import Outline, outline
from backend.providers.failures import Malformed
from tests.backend.test_ec2_cut import Writer
from tests.bench import content

IMAGE = KINDS["image"]
PLAIN = "<imageId>ami-1</imageId>\n  <name>a &amp; b</name><empty/><list>\n<item><name>no</name></item></list>"


def element(inside: str) -> bytes:
    return f"<item>{inside}</item>".encode()


def outlined(inside: str) -> Outline:
    found = outline(element(inside))
    assert isinstance(found, Outline)
    return found


def agree(raw: bytes) -> bool:
    """Whether an outline is made of this element; what it says is what the whole value says."""
    try:
        whole = value(raw)
    except Malformed:
        return False
    found = outline(raw)
    if not isinstance(found, Outline):
        assert found == whole
        return False
    assert found.xml == raw.decode()
    assert isinstance(whole, dict) or (whole is None and not found.texts)
    for name, inside in (whole or {}).items():
        assert found.get(name) == (inside if isinstance(inside, str) else None), (raw, name)
    assert set(found.texts) == set(whole or {})
    return True


@pytest.mark.parametrize("seed", range(10))
def test_it_says_of_any_element_what_the_whole_value_says(seed: int) -> None:
    made = [agree(Writer(number)._element("item", 0).encode()) for number in range(seed * 200, seed * 200 + 200)]
    assert 20 < sum(made) < 180


def test_it_looks_no_deeper_than_the_texts() -> None:
    found = outlined(PLAIN)
    assert [found.get(name) for name in ("imageId", "name", "empty", "list", "item", "other")] == [
        "ami-1", "a & b", None, None, None, None,
    ]  # fmt: skip
    assert found.xml == element(PLAIN).decode()


@pytest.mark.parametrize(
    ("inside", "whole"),
    [
        ("", {}),
        ("text", "text"),
        ("stray<a>x</a>", {"a": "x"}),
        ("<a>x</a>stray", {"a": "x"}),
        ("<a>stray<b/></a>", {"a": {"b": None}}),
        ("<a>x</a><a>y</a>", {"a": "y"}),
        ("<a>x</a><a/>", {"a": None}),
        ("<a><a>x</a></a>", {"a": {"a": "x"}}),
        ('<a b="c">x</a>', {"a": "x"}),
        ("<a>&#65;</a>", {"a": "A"}),
        ("<a>x\r\ny</a>", {"a": "x\ny"}),
        ("<a><?b </a>?></a>", {"a": None}),
        ("<tagSet><item><key>k</key><value>v</value></item></tagSet>", {"tagSet": [{"key": "k", "value": "v"}]}),
    ],
)
def test_what_is_written_in_another_way_is_taken_apart(inside: str, whole: Any) -> None:
    found = outline(element(inside))
    assert found == whole or (isinstance(found, Outline) and {name: found.get(name) for name in found.texts} == whole)


@pytest.mark.parametrize("inside", ["<a>x</b>", "<a>", "</a>", "<1>x</1>", "<a>]]></a>", "<a>&unknown;</a>"])
def test_what_is_wrong_directly_in_it_is_malformed(inside: str) -> None:
    with pytest.raises(Malformed):
        outline(element(inside))


def test_the_rows_of_images_are_the_same_as_if_all_had_been_taken_apart() -> None:
    outlines = 0
    for index in range(500):
        raw = content.images(index, index + 1).strip()
        (item,), (whole,) = rows.IMAGE.item(outline(raw)), rows.IMAGE.item(value(raw))
        outlines += rows.AS_WRITTEN in item["extra"]
        assert {"tags": {}, **item, "extra": None} == {**whole, "extra": None}
        assert EC2.opened("image", item["extra"]) == whole["extra"]
    assert 400 < outlines < 500


def test_what_cannot_be_taken_apart_is_shown_as_it_was_written() -> None:
    (item,) = rows.IMAGE.item(outlined("<imageId>ami-1</imageId><a><b>x</c></a>"))
    assert item["id"] == "ami-1"
    assert EC2.opened("image", item["extra"]) == {
        rows.AS_WRITTEN: "<item><imageId>ami-1</imageId><a><b>x</c></a></item>"
    }
    hostile = {rows.AS_WRITTEN: "\ud800"}
    assert EC2.opened("image", hostile) == hostile


def test_other_kinds_are_not_touched() -> None:
    extra = {rows.AS_WRITTEN: "<item><a>x</a></item>"}
    assert EC2.opened("vm", extra) is extra
