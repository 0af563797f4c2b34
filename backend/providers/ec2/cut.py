"""Reads a large EC2 answer by cutting its bytes into items. Known items are skipped, the others parsed one by one."""

import re
from collections.abc import Callable, Container, Iterable, Sequence
from hashlib import blake2b
from typing import Any
from xml.sax.saxutils import unescape

from backend.providers.ec2.xml import DEEPEST, ENDLESS, LONGEST, TOO_DEEP, Reader, composed, whole
from backend.providers.failures import Malformed

FORMAT = b"2"
"""Part of every digest. Change it when the same bytes give different items: then all items are read again."""

OPEN, CLOSE = b"<item>", b"</item>"
_OTHER_ENCODING = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]*encoding\s*=\s*['\"](?!utf-?8\b)", re.IGNORECASE)


class Cutter:
    """A Reader for listings in which most items may be known. Its feed() returns (digest, item) pairs.

    The digest is a signed 64-bit hash of the item's bytes. For a digest in `known`, the item is None and is not parsed:
    comparing bytes takes a fraction of the time. `make` makes the other items.

    Everything around the items goes through an ordinary Reader, which checks it. If the answer is not written as EC2
    writes (prefixes, comments, CDATA, another encoding, a set with one of the `other` names), all of it goes there.
    """

    def __init__(
        self,
        root: str,
        collection: str,
        known: Container[int] = (),
        make: Callable[[bytes], Any] | None = None,
        other: Sequence[str] = (),
    ) -> None:
        self._reader = Reader(root, collection, *other)
        self._begin = f"<{collection}>".encode()
        self._known = known
        self._make = make or value
        self._parts: list[bytes] = []
        """The pieces of an incomplete item; the first piece has been searched for its end."""
        self._size = self._enough = 0
        """The bytes in `_parts`, and how many they must be before the next search."""
        self._cutting: bool | None = None  # None: the set has not begun; False: all goes to the reader

    @property
    def rest(self) -> dict[str, Any]:
        """Everything except the items; after close()."""
        return self._reader.rest

    @property
    def request(self) -> str:
        """EC2's id of the request; see Reader."""
        return self._reader.request

    def feed(self, data: bytes) -> list[tuple[int | None, Any]]:
        """Return the items that `data` completes; items without a digest came from the Reader. Raises Malformed."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._enough:
            return []
        data = self._kept()
        pairs: list[tuple[int | None, Any]] = []
        if self._cutting is None:
            data = self._head(data, pairs)
        if self._cutting and b"<!" in data:
            self._cutting = False
        if self._cutting:
            pairs.extend(self._cut(data))
        elif data:
            pairs += _uncut(self._reader.feed(data))
        return pairs

    def close(self) -> list[tuple[int | None, Any]]:
        """Return the remaining items, and check that the answer is complete. Raises Malformed."""
        items = self._reader.feed(self._kept())
        return _uncut([*items, *self._reader.close()])

    def _kept(self) -> bytes:
        """Return the kept pieces, and clear them."""
        kept = b"".join(self._parts)
        self._parts, self._size, self._enough = [], 0, 0
        return kept

    def _keep(self, rest: bytes) -> None:
        """Keep an incomplete item. If it is long, search again only after it has grown by half, not at each piece.

        Raises Malformed if it is too long to be an item.
        """
        self._parts, self._size = [rest], len(rest)
        if self._size > _LONG:
            self._enough = self._size * 3 // 2
            if self._size > LONGEST:
                raise Malformed(ENDLESS)

    def _head(self, data: bytes, pairs: list[tuple[int | None, Any]]) -> bytes:
        """Pass on what is before the first item and return the rest; b"" until the set begins."""
        begin = data.find(self._begin)
        if begin < 0:
            if len(data) > _LONGEST_HEAD:
                self._cutting = False
                return data
            self._keep(data)
            return b""
        end = begin + len(self._begin)
        head = data[:end]
        plain = b"<!" not in head and not _OTHER_ENCODING.match(head)
        pairs += _uncut(self._reader.feed(data[:begin]))
        within = self._reader.collecting  # then it is within an item, or not a tag
        pairs += _uncut(self._reader.feed(self._begin))
        self._cutting = plain and not within and self._reader.collecting
        return data[end:]

    def _cut(self, data: bytes) -> list[tuple[int | None, Any]]:
        pairs: list[tuple[int | None, Any]] = []
        known, make = self._known, self._make
        position = 0
        while data.startswith(OPEN, start := position) or data.startswith(OPEN, start := _past_blanks(data, position)):
            end = _end(data, start)
            if end < 0:
                break
            item = data[start:end]
            digest = int.from_bytes(blake2b(item, digest_size=8, key=FORMAT).digest(), "little", signed=True)
            try:
                pairs.append((digest, None if digest in known else make(item) or {}))
            except Malformed:  # cut at a wrong position, or really malformed: the reader decides
                self._cutting = False
                break
            position = end
        if not self._cutting or (len(data) - start >= len(OPEN) and not data.startswith(OPEN, start)):
            self._cutting = False  # the set has ended, or continues in another form
            pairs += _uncut(self._reader.feed(data[position:]))
        else:
            self._keep(data[position:])
        return pairs


def _uncut(items: Iterable[Any]) -> list[tuple[int | None, Any]]:
    """Return items from the Reader as pairs. An empty item becomes {}, because None means known."""
    return [(None, {} if item is None else item) for item in items]


_LONGEST_HEAD = 65_536
"""Bytes within which the set must begin; EC2 needs 200."""
_LONG = 65_536
"""Bytes from which searching an item again takes long."""


_BLANKS = re.compile(rb"[ \t\r\n]*")


def _past_blanks(data: bytes, position: int) -> int:
    blanks = _BLANKS.match(data, position)
    return blanks.end() if blanks else position


def _end(data: bytes, start: int) -> int:
    """Return where the item at `start` ends, or -1 if its end has not arrived; items may contain items."""
    depth, position = 1, start + len(OPEN)
    while depth:
        close = data.find(CLOSE, position)
        if close < 0:
            return -1
        depth += data.count(OPEN, position, close) - 1
        position = close + len(CLOSE)
    return position


def value(item: bytes) -> Any:
    """Return the value of one element as Reader does: None (empty), str, list (all its children are `item`) or dict.

    An element written as EC2 writes (without attributes, numeric references and carriage returns) is split at its tags.
    That is faster than expat, and not slower than lxml, whose events or nodes are handled in Python. Any other element,
    or one whose tags do not match, goes to the parser. Raises Malformed.
    """
    try:
        text = item.decode()
    except UnicodeDecodeError:
        return _parsed(item)
    referring = "&" in text
    if "\r" in text or "]]>" in text or (referring and OTHER_REFERENCE.search(text)):
        return _parsed(item)
    outer: list[tuple[str, list[tuple[str, Any]]]] = []
    children: list[tuple[str, Any]] = []
    tokens = _TOKEN.findall(text)
    tags = 2 * len(tokens)
    for name, inside, tag in tokens:
        if name:
            if referring and "&" in inside:
                inside = unescape(inside, QUOTES)  # noqa: PLW2901 - the same text, decoded
            children.append((name, None if not inside or inside.isspace() else inside))
            continue
        tags -= 1
        if tag[-1] == "/":
            children.append((tag[:-1], None))
        elif tag[0] != "/":
            outer.append((tag, children))
            children = []
            if len(outer) == _DEEPEST:
                raise Malformed(TOO_DEEP)
        elif outer and outer[-1][0] == tag[1:]:
            opened, siblings = outer.pop()
            siblings.append((opened, composed(children) if children else None))
            children = siblings
        else:
            return _parsed(item)
    if outer or len(children) != 1 or tags != text.count("<"):
        return _parsed(item)
    return children[0][1]


_DEEPEST = DEEPEST - 2
"""DEEPEST without the root and the set that contain the element."""

_TOKEN = re.compile(r"<([A-Za-z_]\w*)>([^<]*)</\1>|<(/?[A-Za-z_]\w*|[A-Za-z_]\w*/)>", re.ASCII)
"""An element that has only text, or one tag."""


def _parsed(item: bytes) -> Any:
    inside = whole(b"<x><x>" + item + b"</x></x>")["x"]  # whole() alone would return {} for a text or a list
    if len(inside) != 1:
        raise Malformed("it is not one element")
    return inside[0] if isinstance(inside, list) else next(iter(inside.values()))


OTHER_REFERENCE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)")
"""A reference other than the five predefined ones."""
QUOTES = {"&quot;": '"', "&apos;": "'"}
"""The predefined references that `unescape` does not know by itself."""
