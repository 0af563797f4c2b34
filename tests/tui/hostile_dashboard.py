"""A dashboard over a cache full of hostile text, and a tour of all that it shows."""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from textual.screen import Screen
from textual.widget import Widget
from wcwidth import wcwidth

from backend.cache import Cache, RefreshRecord, open_cache
from backend.catalog import KINDS
from backend.config import Cloud, MongoDB, Settings
from backend.errors import CloudmeshError
from backend.kinds.model import Kind, Scope
from backend.providers.protocol import Item
from backend.secret import Secret
from backend.text import safe
from tests.hostile import MARK, Tally, sent
from tests.tui.dashboard import TABS, World, _strips, driven, palette
from tests.tui.terminal import COLUMNS, LINES, Terminal
from tui.screens.dialog import CommandDialog

SIZE = (COLUMNS, LINES)
IDS = {
    "image": "ami",
    "vm": "i",
    "keypair": "key",
    "volume": "vol",
    "flavor": "type",
    "location": "zone",
    "secgroup": "sg",
}


def fill(cache: Cache, scope: Scope, texts: Sequence[str]) -> None:
    """Write an object of every kind for each of the texts, and a journal entry; all are listed a moment ago."""
    now = datetime.now(UTC)
    others = cycle([*texts[1:], *texts[:1]])
    for kind in KINDS.values():
        items = [_item(kind, number, text, lambda: next(others)) for number, text in enumerate(texts)]
        cache.rows.put(kind, scope, items)
        cache.refreshes.write(kind, scope, RefreshRecord(scope.cloud, scope.region, kind.name, now, now, len(items)))
    cache.journal.add(
        [
            {
                "_id": f"{number:032x}", "at": now - timedelta(seconds=number), "place": 0, "user": text, "host": text,
                "cloud": scope.cloud, "region": scope.region, "command": text, "given": {"tag": text},
                "objects": [text, text], "outcome": text, "error": text, "seconds": 1.0, "settled": True,
            }
            for number, text in enumerate(texts)
        ]
    )  # fmt: skip


def _item(kind: Kind, number: int, text: str, other: Callable[[], str]) -> Item:
    plain: dict[str, Any] = {
        "int": number, "mib": number, "gib": number, "usd": 0.5, "time": datetime(2026, 1, 1, tzinfo=UTC),
        "list": [text, other()],
    }  # fmt: skip
    said = {column.name: plain.get(column.type, text) for column in kind.listed}
    if kind.name == "vm":
        said["state"] = ["running", "stopped", text][number % 3]
    tags = {text: other(), "$set": text, "a.b": text}
    extra = {"nested": [{"deeper": [text]}, text], "empty": {}}
    return {**said, "id": f"{IDS[kind.name]}-{number:017x}", "tags": tags, "extra": extra}


def world_of(cloud: Cloud, home: Path, texts: Sequence[str]) -> World:
    """Return a world whose cache, in memory, is filled with these texts, and whose cloud has nothing of it."""
    settings = Settings({cloud.name: cloud}, cloud.name, refresh=False, mongodb=MongoDB(Secret("memory")))
    cache = open_cache(settings.mongodb, home, KINDS.values())
    fill(cache, Scope(cloud.name, cloud.region), texts)
    return World(settings, cache, home)


def look(screen: Screen[Any], tally: Tally) -> None:
    """Look at all that is painted, and at the frame of the window in front."""
    strips = _strips(screen)
    width = screen.size.width
    for strip in strips:
        tally.segments(strip, width)
    for window in screen.query(".window"):
        region = window.region
        for y in range(region.y + 1, region.bottom - 1):
            sides = strips[y].crop(region.x, region.x + 1).text, strips[y].crop(region.right - 1, region.right).text
            if sides != ("│", "│"):
                tally.widths.append(f"{sides} where the frame should be: {strips[y].text}")


async def walk(world: World, tally: Tally, *, pages: int = 2) -> None:
    """Look at every table, at details, dialogs, the palette, the journal, messages and what is typed."""
    app = world.app(refresh=False)
    async with driven(app, SIZE) as user:
        await user.until(lambda: app.session is not None)
        texts = [str(row[KINDS["vm"].index["name"]]) for row in world.cache.rows.snapshot(KINDS["vm"], world.scope)]
        tally.strings += len(texts)

        def painted() -> bool:
            """Return whether textual would paint now: not while widgets are replaced, nor before a layout."""
            return not app._batch_count and not any(one._layout_required for one in app.screen.walk_children(Widget))

        async def seen(*keys: str) -> None:
            for key in keys:
                await user.press(key)
                await user.until(painted)
                look(app.screen, tally)

        for kind in KINDS:
            await user.show(kind)
            await user.until(lambda kind=kind: app.main.table_of(kind).total == len(texts))  # type: ignore[misc]
            await seen(*["pagedown"] * pages, "right", "right", "right", "left", "s", "S", "s", "home")
            for _ in range(2):
                await user.press("down", "enter")
                await user.until(lambda: app.screen is not app.main)
                await seen("pagedown", "pagedown", "end", "home", "escape")
                await user.back()
        await user.press("slash")
        await user.type(f"[/]{MARK}")
        await seen("escape")

        await user.show("vm")
        await seen("space", "down", "space", "down")
        for key in ("d", "b", "T"):
            await user.press(key)
            await user.until(lambda: isinstance(app.screen, CommandDialog))
            dialog = app.screen
            assert isinstance(dialog, CommandDialog)
            await user.until(lambda dialog=dialog: dialog.ready)  # type: ignore[misc]
            await user.pilot.pause()
            await user.until(painted)
            look(app.screen, tally)
            await seen("down", *["pagedown"] * pages, "end", "tab", "tab", "pagedown", "escape")
            await user.back()
        await palette(user, f"vm stop {MARK}", MARK)
        await seen("down", "down", "escape")
        await user.back()

        await user.press("J")
        await user.until(lambda: app.screen is not app.main and len(app.screen.query("ResourceTable")) > 0)
        await user.sees(MARK)
        await seen("pagedown", "right", "right", "right", "right", "enter")
        await seen("pagedown", "escape", "escape")
        await user.back()

        await user.type(":vm stop ")
        await seen("tab", "tab", "escape")
        for text in texts:
            app.say(text)
            app.show_error(CloudmeshError(text, text))
            await user.pilot.pause(0)
            await user.until(painted)
            look(app.screen, tally)
        await seen("escape")
        if app.return_code is not None or not app.is_running:
            tally.markup.append("the program was ended")


def in_a_terminal(uri: str, database: str, folder: Path, texts: Sequence[str], tally: Tally) -> None:
    """Look at tables, details and the journal in a real terminal, whose cache is on a real server.

    pyte drops the rest of a line behind a mark that has no combining class (Thai's, Hindi's): those are left out.
    """
    texts = [text for text in texts if all(wcwidth(char) or unicodedata.combining(char) for char in safe(text))]
    cache = open_cache(MongoDB(Secret(uri), database), folder, KINDS.values())
    try:
        fill(cache, Scope("here", "us-east-1"), texts)
    finally:
        cache.close()
    config = folder / "cloudmesh.yaml"
    keys = "{EC2_ACCESS_KEY: a, EC2_SECRET_KEY: b}"
    cloud = f"{{endpoint: 'http://127.0.0.1:9', credentials: {keys}, default: {{location: us-east-1}}}}"
    mongodb = f"{{uri: '{uri}', database: {database}}}"
    config.write_text(
        f"cloudmesh: {{refresh: off, default: {{cloud: here}}, mongodb: {mongodb}, clouds: {{here: {cloud}}}}}\n"
    )
    config.chmod(0o600)
    tally.strings += len(texts)
    with Terminal(folder, "--config", str(config), TERM="xterm-256color") as terminal:
        terminal.sees("images", "here · us-east-1")
        for number, kind in enumerate(TABS.values(), 1):
            terminal.type(str(number))
            terminal.sees(f"{IDS[kind.name]}-0000000")
            # All of it on the first tab; on the others the columns are others, and the text is the same.
            for page in range(1 if number > 1 else 1 + len(texts) // (LINES - 5)):
                terminal.settles(0.15)
                at = {_at(row, f"{IDS[kind.name]}-0000000"): "".join(row) for row in terminal.cells()}
                at.pop(-1, None)
                if len(at) != 1:
                    tally.widths.append(f"page {page} of {kind.plural}: the ids are not in one column: {at}")
                terminal.type("\x1b[6~")
            terminal.type("\r")
            terminal.sees("Esc back")
            terminal.settles(0.15)
            tally.widths += _broken(terminal.cells())
            terminal.type("q")
            terminal.sees(f"{IDS[kind.name]}-0000000")
        terminal.type("J")
        terminal.sees("Journal")
        terminal.settles(0.15)
        tally.widths += _broken(terminal.cells())
        terminal.type("q")
        terminal.type("q")
        if terminal.ends() != 0:
            tally.others.append("the program failed")
        if not terminal.restored():
            tally.others.append("the terminal is not as it was")
        tally.escapes += [repr(one) for one in sent(terminal.output)]


def _at(row: Sequence[str], text: str) -> int:
    """Return the first cell of `text` in a line, -1 if it is not."""
    return next((x for x in range(len(row)) if "".join(row[x : x + len(text)]) == text), -1)


def _broken(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a window whose frame is at another position than in the first line."""
    top = next(y for y, row in enumerate(rows) if "╭" in row)
    bottom = next(y for y, row in enumerate(rows) if "╰" in row)
    left, right = rows[top].index("╭"), rows[top].index("╮")
    inside = rows[top + 1 : bottom]
    return ["".join(row) for row in inside if (row[left], row[right]) != ("│", "│")]
