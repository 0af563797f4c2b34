"""Cutting an EC2 reply into items always agrees with the parser."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backend.providers.ec2.cut import Cutter, value
from backend.providers.ec2.outline import outline
from backend.providers.ec2.xml import DEEPEST, LONGEST, Reader
from backend.providers.failures import Malformed

TREE = Path(__file__).parents[2]
ROOT, SET = "DescribeImagesResponse", "imagesSet"
HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<{ROOT} xmlns="http://x/"><requestId>r</requestId><{SET}>'.encode()
TAIL = f"</{SET}><nextToken>next</nextToken></{ROOT}>".encode()

T = TypeVar("T")
Pairs = list[tuple[int | None, Any]]


def read(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """What the parser makes of an answer."""
    reader = Reader(ROOT, SET)
    found = reader.feed(data) + reader.close()
    return found, reader.rest


def cut(chunks: list[bytes], known: Container[int] = ()) -> tuple[Pairs, dict[str, Any]]:
    """What cutting makes of an answer that arrives in these pieces."""
    cutter = Cutter(ROOT, SET, known)
    pairs = [pair for chunk in chunks for pair in cutter.feed(chunk)]
    return pairs + cutter.close(), cutter.rest


def values(pairs: Pairs) -> list[Any]:
    return [item for _, item in pairs]


def digests(data: bytes) -> list[int]:
    """The digests of an answer whose items are all cut."""
    pairs, _ = cut([data])
    made = [digest for digest, _ in pairs if digest is not None]
    assert len(made) == len(pairs)
    return made


def full(items: list[Any]) -> list[Any]:
    """An empty item is {} when it was cut, as None says that it is known."""
    return [{} if item is None else item for item in items]


def by(size: int, data: bytes) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def torn(dice: random.Random, data: bytes) -> list[bytes]:
    """Pieces of any size, some of them empty."""
    most = dice.choice([1, 3, 10, 100, 1000])
    pieces, position = [], 0
    while position < len(data):
        size = dice.randint(0, most)
        pieces.append(data[position : position + size])
        position += size
    return pieces


def answer(*items: str, tail: bytes = TAIL) -> bytes:
    return HEAD + "".join(f"<item>{item}</item>" for item in items).encode() + tail


# --- against the parser -----------------------------------------------------------------------------------------------

WORDS = (
    "ami-0a1b",
    "a b",
    "né",
    "東京 イメージ",
    "\U0001f680",
    ">",
    "'\"",
    "]]",
    "/",
    "=",
    " \t ",
    "\u00a0",
    "%s",
    "\\1",
)
ODD_WORDS = ("&amp;", "&lt;item&gt;", "&#233;", "&#x1F680;", "&#13;", "\r\n", "\r", "&quot;", "&apos;&gt;")
FOREIGN = (
    "<!-- </item><item> -->", "<![CDATA[</item><item>&]]>", "<!---->", "<?pi </item>?>", "<?pi <item>?>", "<?item?>",
    f"<?x <{SET}>?>",
)  # fmt: skip
NAMES = ("name", "item", "imageId", "tagSet", "item", "a_1", SET, "Ünï", "a-b", "a.b", "items", "_item")


class Writer:
    """Writes random answers; `odd` is how often a thing is written as EC2 does not write it."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = random.Random(seed)  # noqa: S311 - a test's dice
        self._odd = dice.choice([0.0, 0.0, 0.02, 0.2])
        self._indented = dice.random() < 0.3
        self._prefixed = dice.random() < 0.5 * self._odd

    def answer(self) -> bytes:
        """One whole answer in any encoding."""
        encoding = self._pick(("UTF-8", "utf-8"), ("ISO-8859-1", "UTF-16", "US-ASCII"))
        quote = self._pick(('"',), ("'",))
        equals = self._pick(("=",), (" = ", "=\n"))
        declared = f"<?xml version={quote}1.0{quote} encoding{equals}{quote}{encoding}{quote}?>"
        if encoding.lower() == "utf-8" and self._dice.random() < 0.3:
            declared = self._pick(("",), ("\ufeff", "\ufeff" + declared))
        sets = [self._set() for _ in range(self._pick((1,), (0, 2)))]
        around = [self._element(name, 2) for name in ("requestId", "nextToken", self._pick(("x",), ("item", "set")))]
        inside = "".join(around[:1] + sets + around[1:])
        text = f'{declared}{self._gap()}<{ROOT} xmlns="http://x/">{self._gap()}{inside}</{ROOT}>{self._gap(text=False)}'
        return text.encode(encoding, "xmlcharrefreplace")

    def _set(self) -> str:
        items = "".join(self._gap() + self._element("item", 0) for _ in range(self._dice.choice([0, 1, 2, 7])))
        return self._tagged(SET, items + self._gap())

    def _element(self, name: str, depth: int) -> str:
        return self._tagged(name, self._inside(depth))

    def _inside(self, depth: int) -> str:
        shape = self._dice.choice(["text", "text", "empty", "items", "fields", "fields"] if depth < 4 else ["text"])
        if shape == "text":
            return self._text()
        if shape == "empty":
            return self._pick(("",), (" \n ",))
        names = ("item",) if shape == "items" else NAMES[:4]
        count = self._dice.choice([1, 2, 5])
        parts = (self._gap() + self._element(self._pick(names, NAMES), depth + 1) for _ in range(count))
        return "".join(parts) + self._gap()

    def _tagged(self, name: str, inside: str) -> str:
        if self._prefixed:
            name = f"e:{name}"
        given = self._pick(("",), (" ", "\n", ' a="1"', " a='/item>'", ' a="&lt;item>"'))
        if not inside and self._dice.random() < 0.5:
            return f"<{name}{given}/>"
        return f"<{name}{given}>{inside}</{name}{self._pick(('',), (' ',))}>"

    def _text(self) -> str:
        words = (self._pick(WORDS, (*ODD_WORDS, *FOREIGN)) for _ in range(self._dice.choice([1, 1, 2, 6])))
        return "x".join(words) if self._dice.random() < 0.9 else ""

    def _gap(self, *, text: bool = True) -> str:
        gap = self._dice.choice(["\n", "\n    ", "\t", "\r\n"]) if self._indented else ""
        odd: tuple[str, ...] = ("<!-- - -->", "<?pi?>", *((*ODD_WORDS, *FOREIGN, "stray", "x" * 9) if text else ()))
        return gap + self._pick(("",), odd)

    def _pick(self, usual: tuple[T, ...], odd: tuple[T, ...]) -> T:
        return self._dice.choice(odd if self._dice.random() < self._odd else usual)


def agree(data: bytes, dice: random.Random) -> bool:
    """Check that it reads an answer as the parser does, however the answer is split."""
    ways = ([data], by(1, data), torn(dice, data), torn(dice, data))
    try:
        expected = read(data)
    except Malformed:
        for chunks in ways:
            with pytest.raises(Malformed):
                cut(chunks)
        return False
    for chunks in ways:
        pairs, rest = cut(chunks)
        assert (full(values(pairs)), rest) == (full(expected[0]), expected[1]), data
    return True


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(20))
def test_it_makes_of_any_answer_what_the_parser_makes(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    whole = [agree(Writer(number).answer(), dice) for number in range(seed * 40, seed * 40 + 40)]
    assert sum(whole) > 20


SMALL = answer(
    "<imageId>ami-1</imageId><n>né 東京</n><empty/><tagSet><item><key>a</key><value>\U0001f680</value></item></tagSet>",
    "<imageId>ami-2</imageId><n>x &amp; y</n><list>\n <item>a</item><item/>\n</list>",
    "",
    "text",
)
PIECES = (
    b"<", b">", b"/", b"</", b"&", b";", b"&amp;", b"&x;", b"]]>", b"item", b"<item>", b"</item>", b"<item/>", b" ",
    b"\n", b"\r", b"=", b"'", b'"', b"0", b"-", b"\xc3", b"\xa9", b"\xff", b"<!", b"<!--", b"-->", b"<?", b"?>",
    b"<![CDATA[", b"<0>x</0>", "<\u00b2>x</\u00b2>".encode(), b"<a b>", b"<a:b>", b"<!DOCTYPE a>", b"\xed\xa0\x80",
    HEAD, TAIL,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_what_the_parser_refuses_it_refuses(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    whole = 0
    for _ in range(100):
        data = SMALL
        for _ in range(dice.choice([1, 1, 2])):
            at, length = dice.randrange(len(data)), dice.choice([0, 0, 1, 3])
            data = data[:at] + dice.choice(PIECES) + data[at + length :]
        whole += agree(data, dice)
    assert 0 < whole < 90


def test_an_answer_cut_short_at_any_byte_is_malformed() -> None:
    assert agree(SMALL, random.Random(0))  # noqa: S311 - a test's dice
    known = set(digests(SMALL))
    for end in range(len(SMALL)):
        for chunks, there in (([SMALL[:end]], set()), (by(5, SMALL[:end]), set()), (by(5, SMALL[:end]), known)):
            with pytest.raises(Malformed):
                cut(chunks, there)


BOMB = "".join(f'<!ENTITY {one} "{f"&{other};" * 10}">' for other, one in zip("abcdefgh", "bcdefghi", strict=True))

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \n ",
    "text": b"Please log in",
    "HTML": b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "long HTML": b"<html><body>" + b"<p>Please log in</p>" * 500 + b"</body></html>",
    "an entity bomb": f'<!DOCTYPE x [<!ENTITY a "a">{BOMB}]><{ROOT}><{SET}><item>&i;</item></{SET}></{ROOT}>'.encode(),
    "a bomb in the set": answer("x", tail=f"<!DOCTYPE x [{BOMB}]><item>&i;</item>".encode() + TAIL),
    "an entity of its own": answer("&i;"),
    "another root": SMALL.replace(ROOT.encode(), b"DescribeVolumesResponse"),
    "another set": SMALL.replace(SET.encode(), b"volumeSet"),
    "mismatched tags": answer("<a><b>x</a></b>"),
    "mismatched in text": answer("<a>x</b>"),
    "an end too many": answer("<a>x</a></a>"),
    "an item's end too many": answer("x</item>"),
    "an item's end too few": answer("<item>x"),
    "a name that begins with a digit": answer("<1a>x</1a>"),
    "two attributes of one name": answer('<a b="1" b="2">x</a>'),
    "not UTF-8": answer("x", tail=b"<item>\xff</item>" + TAIL),
    "not UTF-8 around": answer("x", tail=b"\xff" + TAIL),
    "an unknown encoding": b'<?xml version="1.0" encoding="of-tomorrow"?>' + SMALL[SMALL.index(b"<Desc") :],
    "an encoding that is no text": b'<?xml version="1.0" encoding="rot13"?>' + SMALL[SMALL.index(b"<Desc") :],
    "an encoding that expat cannot": b'<?xml version="1.0" encoding="shift_jis"?>' + SMALL[SMALL.index(b"<Desc") :],
    "two answers": SMALL + SMALL,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_senseless_answer_is_malformed(data: bytes) -> None:
    assert not agree(data, random.Random(0))  # noqa: S311 - a test's dice


def test_what_lies_too_deep_is_malformed() -> None:
    whole = []
    for depth in range(1, 100):
        for inside in ("x", "<empty/>", "<item>x</item>"):
            data = answer("<a>" * depth + inside + "</a>" * depth)
            whole.append((depth, agree(data, random.Random(0))))  # noqa: S311 - a test's dice
    assert {depth for depth, good in whole if good} == set(range(1, DEEPEST - 2))
    with pytest.raises(Malformed, match="too deep"):
        value(b"<item>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</item>")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("first", "piece"), [("<item>", "x"), ("", " "), ("<item>", "<item></item>")], ids=["text", "blanks", "items"]
)
def test_what_never_ends_is_malformed_in_the_end_and_soon(first: str, piece: str) -> None:
    chunk = (piece * (65_536 // len(piece))).encode()

    def read_on(reader: Cutter | Reader) -> None:
        reader.feed(HEAD + first.encode())
        for _ in range(2 * LONGEST // len(chunk)):
            reader.feed(chunk)

    for reader in Cutter(ROOT, SET), Reader(ROOT, SET), Reader():
        began = time.process_time()
        with pytest.raises(Malformed, match="does not end"):
            read_on(reader)
        assert time.process_time() - began < 20


def test_a_long_item_is_whole() -> None:
    long = answer("".join(f"<item>{number:0>100}</item>" for number in range(30_000)), "y")
    pairs, _ = cut(by(65_536, long))
    assert [len(item) for item in values(pairs)] == [30_000, 1]
    assert values(pairs) == read(long)[0]


@pytest.mark.parametrize(
    ("make", "hostile"),
    [
        (outline, HEAD + b"<item>" + b"<a>" * 20_000 + b"</item>"),
        (outline, HEAD + b"<item>" + b"<a><a>x</b>" * 6_000 + b"</item>"),
        (value, b"<?xml " * 20_000 + HEAD),
    ],
    ids=["children without an end", "children with another's end", "declarations without an end"],
)
def test_hostile_bytes_do_not_take_long(make: Callable[[bytes], Any], hostile: bytes) -> None:
    cutter = Cutter(ROOT, SET, make=make)
    began = time.process_time()
    with pytest.raises(Malformed):
        cutter.feed(hostile)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x0b", "\x1b", "\ufffe", "\uffff"])
def test_characters_that_xml_forbids_pass_where_they_do_no_harm(character: str) -> None:
    # An item that is not parsed by expat keeps them; where they are shown or written they are made safe.
    data = answer(f"<name>a{character}b</name>")
    with pytest.raises(Malformed):
        read(data)
    assert values(cut([data])[0]) == [{"name": f"a{character}b"}]
    for refused in (answer(f"<na{character}me>x</na{character}me>"), answer("x", tail=character.encode() + TAIL)):
        with pytest.raises(Malformed):
            cut([refused])


# --- another way of writing -------------------------------------------------------------------------------------------


WAYS: dict[str, tuple[bytes, list[Any]]] = {
    "attributes on a nested item": (answer('<a><item b="1">x</item></a>', "y"), [{"a": ["x"]}, "y"]),
    "a blank in a nested item": (answer("<a><item >x</item ></a>", "y"), [{"a": ["x"]}, "y"]),
    "an item's end in a PI": (answer("<a>x<?b </item>?></a>", "y"), [{"a": "x"}, "y"]),
    "an item in CDATA": (answer("<a><![CDATA[</item>]]></a>", "y"), [{"a": "</item>"}, "y"]),
    "an item's end in a comment": (answer("y", "<a>x<!-- </item> --></a>"), ["y", {"a": "x"}]),
    "a text with a reference": (answer("x&amp;y"), ["x&y"]),
    "a list with a carriage return": (answer("<item>x</item>\r\n<item>y</item>"), [["x", "y"]]),
    "a bracket reference": (answer("<a>]]&gt;</a>"), [{"a": "]]>"}]),
    "a set within something else": (
        f"<{ROOT}><a><{SET}><item>no</item></{SET}></a><{SET}><item>yes</item></{SET}></{ROOT}>".encode(), ["yes"],
    ),
    "a set in a PI": (
        f"<{ROOT}><?a <{SET}><item>no</item>?><{SET}><item>yes</item></{SET}></{ROOT}>".encode(), ["yes"],
    ),
    "two sets": (
        f'<{ROOT}><{SET} a="1"><item>x</item></{SET}><{SET}><item>y</item></{SET}></{ROOT}>'.encode(), ["x", "y"],
    ),
    "a set in an item": (
        f'<{ROOT}><{SET} a="1"><item><{SET}><item>x</item></{SET}></item></{SET}></{ROOT}>'.encode(), [{SET: ["x"]}],
    ),
    "another encoding": (
        f"<?xml version='1.0' encoding = 'ISO-8859-1'?><{ROOT}><{SET}><item>né</item></{SET}></{ROOT}>".encode("l1"),
        ["né"],
    ),
    "UTF-16": (f"<{ROOT}><{SET}><item>né</item></{SET}></{ROOT}>".encode("utf-16"), ["né"]),
}  # fmt: skip
"""What is not written as EC2 writes, and the items in it."""


@pytest.mark.parametrize(("data", "items"), WAYS.values(), ids=WAYS)
def test_another_way_of_writing_says_the_same(data: bytes, items: list[Any]) -> None:
    assert agree(data, random.Random(0))  # noqa: S311 - a test's dice
    assert values(cut([data])[0]) == items


def test_a_long_head_is_not_kept_for_ever() -> None:
    head = f"<{ROOT}><a>{'x' * 70_000}</a>".encode()
    cutter = Cutter(ROOT, SET)
    assert cutter.feed(head) == []
    assert values(cutter.feed(f"<{SET}><item>x</item>".encode())) == ["x"]
    data = head + f"<{SET}><item>x</item></{SET}></{ROOT}>".encode()
    for size in (1_000, 65_536, 69_999, 100_000):
        pairs, rest = cut(by(size, data))
        assert (values(pairs), rest) == read(data)


def test_an_item_is_there_as_soon_as_it_is_complete() -> None:
    cutter = Cutter(ROOT, SET)
    assert cutter.feed(HEAD + b"<item>x</ite") == []
    assert values(cutter.feed(b"m>\n<item><item>y</item>")) == ["x"]
    assert values(cutter.feed(b"</item><")) == [["y"]]
    assert cutter.feed(TAIL[1:]) + cutter.close() == []
    assert cutter.rest["nextToken"] == "next"


# --- what is known ----------------------------------------------------------------------------------------------------

THREE = ("<imageId>ami-1</imageId>", "<imageId>ami-2</imageId><t><item>é</item></t>", "<imageId>ami-3</imageId>")


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_a_known_item_is_none_and_the_others_are_whole(size: int) -> None:
    one, two, three = digests(answer(*THREE))
    pairs, rest = cut(by(size, answer(*THREE)), {two})
    assert pairs == [(one, {"imageId": "ami-1"}), (two, None), (three, {"imageId": "ami-3"})]
    assert rest == read(answer(*THREE))[1]
    pairs, _ = cut(by(size, answer(*THREE)), {one, three})
    assert pairs == [(one, None), (two, {"imageId": "ami-2", "t": ["é"]}), (three, None)]


def test_nothing_of_what_is_known_is_parsed() -> None:
    # What would be refused if anything looked into it; its digests are those of what differs in nothing.
    broken = answer("&unknown;", "<a></b>")
    with pytest.raises(Malformed):
        cut([broken])
    known = Everything()
    pairs, rest = cut([broken], known)
    assert pairs == [(digest, None) for digest in known.asked]
    assert len(set(known.asked)) == 2
    assert rest["nextToken"] == "next"


class Everything:
    """A container that has whatever it is asked for, and keeps that."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __contains__(self, digest: object) -> bool:
        self.asked.append(digest)
        return True


def test_a_digest_is_of_all_bytes_of_the_item_and_of_nothing_else() -> None:
    data = f"<item>{THREE[1]}</item>".encode()
    (basis,) = digests(HEAD + data + TAIL)
    assert -(2**63) <= basis < 2**63
    assert digests(HEAD + data + b"\n " + data + TAIL.replace(b"next", b"last")) == [basis, basis]
    assert digests(f"<{ROOT}><{SET}>\r\n".encode() + data + f"</{SET}></{ROOT}>".encode()) == [basis]
    found = {basis}
    text = data.decode()
    for at in range(text.index("ami"), text.index("</")):
        found.add(*digests(HEAD + (text[:at] + "\u00e8" + text[at + 1 :]).encode() + TAIL))
    assert len(found) == 1 + len("ami-2")
    (longer,) = digests(HEAD + data.replace(b"</imageId>", b" </imageId>") + TAIL)
    assert longer not in found


ASKED = """
from tests.backend.test_ec2_cut import THREE, answer, digests
print(*digests(answer(*THREE)))
"""


def test_a_digest_is_the_same_in_every_process() -> None:
    for seed in ("1", "2"):
        words = [sys.executable, "-c", ASKED]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(words, cwd=TREE, env=environment, check=True, capture_output=True, text=True, timeout=60)
        assert [int(word) for word in ran.stdout.split()] == digests(answer(*THREE))


def test_what_is_not_cut_has_no_digest() -> None:
    pairs, _ = cut([answer("x", tail=b"<!-- as EC2 never writes --><item>y</item>" + TAIL)])
    assert pairs == [(None, "x"), (None, "y")]


# --- one element ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<a/>", None),
        ("<a></a>", None),
        ("<a> \n\t</a>", None),
        ("<a> x </a>", " x "),
        ("<a>né &amp; co</a>", "né & co"),
        ("<a>&amp;lt;&lt;&gt;&quot;&apos;&amp;quot;&amp;amp;&amp;#65;</a>", "&lt;<>\"'&quot;&amp;&#65;"),
        ("<a>x\r\ny</a>", "x\ny"),
        ("<a>&#65;</a>", "A"),
        ("<a><item>x</item></a>", ["x"]),
        ("<a>\n<item/><item>\n</item></a>", [None, None]),
        ("<a><item>x</item><b>y</b></a>", {"item": ["x"], "b": "y"}),
        ("<a><b>x</b><b>y</b></a>", {"b": "y"}),
        ("<a>stray<b>x</b>stray</a>", {"b": "x"}),
        ('<a b="c"><d e="f">x</d></a>', {"d": "x"}),
        ("<p:a xmlns:p='y'><p:b>x</p:b></p:a>", {"b": "x"}),
        ("<a><b.c>x</b.c><é>y</é></a>", {"b.c": "x", "é": "y"}),
        ("<a><![CDATA[<b>&amp;</b>]]></a>", "<b>&amp;</b>"),
        ("<a><a><a>x</a></a></a>", {"a": {"a": "x"}}),
        ("<item><item><item>x</item></item><item/></item>", [["x"], None]),
    ],
)
def test_what_an_element_is(element: str, expected: Any) -> None:
    assert value(element.encode()) == expected
    assert read(answer(element))[0][0] == ([expected] if element.startswith("<item") else {"a": expected})


@pytest.mark.parametrize(
    "element", ["<a>", "</a>", "<a></b>", "<item/><item/>", "<a>&b;</a>", "<a>]]></a>", "<a><</a>", "<1/>"]
)
def test_what_is_no_element(element: str) -> None:
    with pytest.raises(Malformed):
        value(element.encode())
