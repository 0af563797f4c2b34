"""Measures the parsers that turn an item of EC2's XML into nested Python values, which is why ours is what it is."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from backend.providers.ec2.cut import Cutter
from backend.providers.ec2.xml import Reader
from tests.bench.content import images
from tests.bench.report import Figure, median, spread

COUNT = 2_000
CHUNK = 65_536

_ROOT, _SET = "DescribeImagesResponse", "imagesSet"


def measure(runs: int) -> Iterator[Figure]:
    """Yield one figure: microseconds an image of each way, in turn, in this process."""
    page = f"<{_ROOT}><{_SET}>".encode() + images(0, COUNT) + f"</{_SET}></{_ROOT}>".encode()
    known = {digest for digest, _ in _cut(page, set()) if digest is not None}
    ways: dict[str, Callable[[], object]] = {
        "expat with handlers in Python": lambda: _read(page),
        "lxml with its nodes walked in Python": lambda: _walked(page),
        "cut, then taken apart at the tags (ours)": lambda: _cut(page, set()),
        "cut, and known by its digest (ours)": lambda: _cut(page, known),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, parse in ways.items():
            began = time.process_time()
            parse()
            took[way].append((time.process_time() - began) / COUNT * 1e6)
    typical = [median(values) for values in took.values()]
    yield Figure(
        "parsing an image into nested values",
        "no parser is faster",
        "; ".join(f"{way}: {spread(values, ' µs', 0)}" for way, values in took.items()),
        typical[2] == min(typical[:3]),
        f"Processor time in one thread, {COUNT:,} images in pieces of {CHUNK:,} bytes.",
    )


def _read(page: bytes) -> int:
    reader = Reader(_ROOT, _SET)
    return sum(len(reader.feed(page[start : start + CHUNK])) for start in range(0, len(page), CHUNK))


def _cut(page: bytes, known: set[int]) -> list[tuple[int | None, Any]]:
    cutter = Cutter(_ROOT, _SET, known)
    return [pair for start in range(0, len(page), CHUNK) for pair in cutter.feed(page[start : start + CHUNK])]


def _walked(page: bytes) -> int:
    from lxml import etree

    parser = etree.XMLPullParser(("end",), tag="item")
    found = 0
    for start in range(0, len(page), CHUNK):
        parser.feed(page[start : start + CHUNK])
        for _, element in parser.read_events():
            if element.getparent().tag == _SET:  # a disk and a tag are items too
                _value(element)
                element.clear()
                found += 1
    return found


def _value(element: Any) -> Any:
    children = [(child.tag, _value(child)) for child in element]
    if not children:
        return element.text
    return [child for _, child in children] if children[0][0] == "item" else dict(children)
