"""Reads only the texts directly below one XML element of EC2, and keeps the rest as written."""

import re
from typing import Any, NamedTuple
from xml.sax.saxutils import unescape

from backend.providers.ec2.cut import CLOSE, OPEN, OTHER_REFERENCE, QUOTES, value


class Outline(NamedTuple):
    """An element; only the texts directly below it are parsed."""

    texts: dict[str, str]
    xml: str
    """The whole element, as written."""

    def get(self, name: str) -> str | None:
        """Return the text of the child `name`, or None."""
        text = self.texts.get(name)
        if not text or text.isspace():
            return None
        return unescape(text, QUOTES) if "&" in text else text


def outline(item: bytes) -> Any:
    """Return the Outline of one element; or its value, if it is not written as EC2 writes or has tags.

    Of most of 100,000 images, users only see the columns. To parse the rest takes three times as long, so that waits
    until a user opens the details. Tags are parsed at once, because they come in any order. Raises Malformed.
    """
    try:
        text = item.decode()
    except UnicodeDecodeError:
        return value(item)
    if "\r" in text or ("]" in text and "]]>" in text) or ("&" in text and OTHER_REFERENCE.search(text)):
        return value(item)
    children = _CHILD.findall(text, len(OPEN), len(text) - len(CLOSE))
    texts = dict(children)
    return Outline(texts, text) if len(texts) == len(children) and _OTHER.isdisjoint(texts) else value(item)


_OTHER = frozenset({"", "item", "tagSet"})
"""Names of children that need a full parse: "" (not a child), list items, tags."""


# Possessive quantifiers would be 10 % faster, but are broken before Python 3.11.5.
_CHILD = re.compile(r"<([A-Za-z_]\w*)(?:/>|>(?:([^<]*)</\1>|\s*(?:<(?!/\1>)[^<]*)+</\1>))\s*|\S[\s\S]*", re.ASCII)
"""A child and its text ("" if it has children); or anything else up to the end, without a name."""
