"""Reads an EC2 answer as its bytes arrive, and returns each item of its set as soon as it is complete."""

from typing import Any
from xml.parsers import expat

from backend.providers.failures import Malformed
from backend.redact import redacted

DEEPEST = 64
"""The deepest nesting of elements: EC2 uses 12, and recursive functions process the result."""
LONGEST = 16 << 20
"""The most bytes without a complete item: enough for a reservation of 1,000 VMs with all their tags."""
TOO_DEEP, ENDLESS = "its elements are nested too deeply", "it does not end"


class Reader:
    """An incremental parser of one answer: feed() it bytes, then close() it.

    An element becomes None (empty), str (text), list (all its children are `item`) or dict (anything else). In a dict,
    "item" is the list of all children with that name, for sets that contain other elements too.
    Namespaces and prefixes are ignored: moto, LocalStack, Eucalyptus and EC2 disagree about them. Bytes without a
    declaration are UTF-8. `root` is the required name of the outermost element, "" for any; Eucalyptus may append
    "Type" to it. `collections` are the possible names of the set whose items feed() returns: one for each form of the
    answer, none if there is no set. All else is in `rest` after close().
    """

    def __init__(self, root: str = "", *collections: str) -> None:
        self.rest: dict[str, Any] = {}
        self._root = root
        self._collections = collections
        self._stack: list[tuple[str, list[tuple[str, Any]]]] = []
        self._text = ""
        self._items: list[Any] = []
        self._unfinished = 0
        """Bytes since the last complete item."""
        self._found = not collections
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes) -> list[Any]:
        """Return the items that `data` completes. Raises Malformed."""
        return self._parse(data, last=False)

    def close(self) -> list[Any]:
        """Check that the answer is complete and return the remaining items. Raises Malformed."""
        items = self._parse(b"", last=True)  # expat 2.6 may defer small pieces until now
        if not self._found:
            raise Malformed(f"it has no {' or '.join(self._collections)}")
        return items

    @property
    def request(self) -> str:
        """EC2's id of the request, or ""; after close()."""
        said = self.rest.get("requestId")
        return said if isinstance(said, str) else ""

    @property
    def collecting(self) -> bool:
        """Whether the parser is in the set, but not in an item."""
        return len(self._stack) == 2 and self._stack[1][0] in self._collections

    def _parse(self, data: bytes, last: bool) -> list[Any]:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise Malformed(f"it is not complete XML: {expat.ErrorString(error.code)}") from None
        except (LookupError, ValueError):  # raised by Python for an encoding that it or expat does not know
            raise Malformed("it is in an unknown encoding") from None
        items, self._items = self._items, []
        self._unfinished = 0 if items else self._unfinished + len(data)
        if self._unfinished > LONGEST:
            raise Malformed(ENDLESS)
        return items

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        depth = len(self._stack)
        if depth == 0 and self._root and name.removesuffix("Type") != self._root:
            raise Malformed(f"it begins with <{redacted(name)[:40]}>, not <{self._root}>")
        if depth == 1 and name in self._collections:
            self._found = True
        if depth == DEEPEST:
            raise Malformed(TOO_DEEP)
        self._stack.append((name, []))
        self._text = ""

    def _data(self, data: str) -> None:
        self._text += data

    def _end(self, _name: str) -> None:
        name, children = self._stack.pop()
        text = None if not self._text or self._text.isspace() else self._text
        value: Any = composed(children) if children else text
        self._text = ""
        stack = self._stack
        if not stack:
            self.rest = value if isinstance(value, dict) else {}
        elif len(stack) == 2 and name == "item" and stack[1][0] in self._collections:
            self._items.append(value)
        else:
            stack[-1][1].append((name, value))

    def _doctype(self, *_declaration: object) -> None:
        raise Malformed("it is HTML or declares a document type")  # EC2 never does; entities could be an attack


def composed(children: list[tuple[str, Any]]) -> list[Any] | dict[str, Any]:
    """Return the value of an element with these children."""
    if children[0][0] == "item" and all(name == "item" for name, _ in children):
        return [child for _, child in children]
    value: dict[str, Any] = dict(children)
    if "item" in value:
        value["item"] = [child for name, child in children if name == "item"]
    return value


def whole(data: bytes) -> dict[str, Any]:
    """Return a whole small answer, with any root. Raises Malformed."""
    reader = Reader()
    reader.feed(data)
    reader.close()
    return reader.rest
