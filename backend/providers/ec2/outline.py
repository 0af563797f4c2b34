"""Looks for the texts directly in one element of EC2's XML, and leaves all else of it as it is written."""

import re
from typing import Any, NamedTuple
from xml.sax.saxutils import unescape

from backend.providers.ec2.cut import CLOSE, OPEN, OTHER_REFERENCE, QUOTES, value


class Outline(NamedTuple):
    """An element of which only the texts directly below it were looked for."""

    texts: dict[str, str]
    xml: str
    """All of the element, as it was written."""

    def get(self, name: str) -> str | None:
        """Return the text of the element `name`, None where there is none."""
        text = self.texts.get(name)
        if not text or text.isspace():
            return None
        return unescape(text, QUOTES) if "&" in text else text


def outline(item: bytes) -> Any:
    """Return the Outline of one element, or its value where that is not written as EC2 writes, or has tags.

    Of 100,000 images nobody looks at more than the columns of most, and the rest of one takes three times as long to
    be taken apart as its columns: that waits until somebody does. Tags are taken apart, because they come in any order.
    Raises Malformed.
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
"""Names of what makes it another element than one of fields: no child, a list's, tags."""


# Possessive quantifiers would be a tenth faster, and are wrong before Python 3.11.5.
_CHILD = re.compile(r"<([A-Za-z_]\w*)(?:/>|>(?:([^<]*)</\1>|\s*(?:<(?!/\1>)[^<]*)+</\1>))\s*|\S[\s\S]*", re.ASCII)
"""A child with its text, which is empty where others are in it; anything else and all after it, without a name."""
