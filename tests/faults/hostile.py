"""Hostile text and malformed items: what got through, and what it cost."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from hypothesis import strategies as st

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.mongod import EmbeddedServer
from backend.secret import Secret
from tests.brittle import DAMAGES, Report, damaged, every_damage, listed
from tests.faults.model import Ground, Section
from tests.hostile import LONG, MARK, PIECES, SAYABLE, Tally, sayable, texts, tried
from tests.hostile_places import PLACES
from tests.tui.hostile_dashboard import in_a_terminal, walk, world_of


def sections(ground: Ground) -> Iterator[Section]:
    """Yield the results for hostile text and for damaged items."""
    yield _text(ground)
    yield _decoding(ground)


def _text(ground: Ground) -> Section:
    section = Section(
        "Hostile text",
        "Escape sequences, markup, formulas, line ends, bidi overrides, invisible characters, stacked marks, emoji "
        "and letters of many scripts, in many orders, as every text of every kind. Widths are those of wcwidth's "
        "table.",
        ("where it was shown", "strings tried", "escapes got through", "markup acted", "widths wrong", "else wrong"),
    )
    tallies = [_in_one_place(place, ground) for place in PLACES]
    said = [*SAYABLE, *LONG] if ground.long else SAYABLE[::8]
    if ground.long:
        tried(sayable, 300, said.append)
    said = [f"{text}{MARK}" for text in said]
    dashboard = Tally("the dashboard: tables, details, dialogs, palette, journal, messages")
    asyncio.run(walk(world_of(ground.cloud(), _folder(ground, "dashboard"), said), dashboard))
    tallies.append(dashboard)
    if ground.long:
        terminal = Tally("the dashboard in a real terminal, by the bytes that it was sent")
        with EmbeddedServer(ground.server_home) as server:
            uri, database = server.start(), f"hostile-{uuid4().hex[:12]}"
            in_a_terminal(uri, database, _folder(ground, "terminal"), said, terminal)
        tallies.append(terminal)
    for tally in tallies:
        found = (tally.escapes, tally.markup, tally.widths, tally.others)
        section.rows.append((tally.where, f"{tally.strings:,}", *(str(len(some)) for some in found)))
        section.bad += tally.bad
    return section


def _folder(ground: Ground, name: str) -> Path:
    folder = ground.folder / name
    folder.mkdir()
    return folder


def _in_one_place(place: str, ground: Ground) -> Tally:
    tally = Tally(place)

    def show(text: str) -> None:
        tally.strings += 1
        PLACES[place](text, tally)

    if ground.long:
        for piece in PIECES:
            show(piece)
    tried(texts, 400 if ground.long else 10, show)
    return tally


def _decoding(ground: Ground) -> Section:
    section = Section(
        "Brittle decoding",
        "In an item of each kind, every element was removed, renamed, doubled, wrapped, emptied, or replaced by a "
        "number, another word, a list or a structure; then several of them at once. Each damaged item was listed "
        "among good ones, through the provider into the cache, whose schema refuses wrong types.",
        ("kind", "items damaged", "rows of others wrong", "rows missing"),
    )
    for kind in KINDS.values():
        report = Report(kind.name)
        with _cached(ground) as cache:
            listed(kind, cache, list(every_damage(kind.name, 100)), report)
            for number, some in enumerate(_several(800) if ground.long else ()):
                items = [damaged(kind.name, 1_000 + 50 * number + at, *done) for at, done in enumerate(some)]
                listed(kind, cache, items, report)
        wrong, missing = report.others_wrong, report.missing
        section.rows.append((kind.plural, f"{report.damaged:,}", str(len(wrong)), str(len(missing))))
        section.bad += [f"{kind.plural}: {one}" for one in (*wrong[:1], *missing[:1])]
    return section


def _several(count: int) -> list[list[list[tuple[int, str]]]]:
    """Return a number of lists of damages to one item, in chunks of 50 items."""
    made: list[list[tuple[int, str]]] = []
    done = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(sorted(DAMAGES))), min_size=2, max_size=4)
    tried(done, count, made.append)
    return [made[start : start + 50] for start in range(0, len(made), 50)]


@contextmanager
def _cached(ground: Ground) -> Iterator[Cache]:
    """Yield an empty cache on the real server."""
    cache = open_cache(MongoDB(Secret("embedded"), f"hostile-{uuid4().hex[:12]}"), ground.server_home, KINDS.values())
    try:
        yield cache
        cache.store.client.drop_database(cache.store.database.name)
    finally:
        cache.close()
