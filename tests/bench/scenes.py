"""What is done at the dashboard while it is measured: `python -m tests.bench.scenes SCENE JSON` does it, prints JSON.

Each runs in a process of its own, so that its memory and its garbage are the dashboard's alone.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui.cli import Launch, tune

tune()  # as the program does, before textual is imported

# ruff: noqa: E402
from backend.catalog import KINDS
from backend.config import Cloud, Defaults, MongoDB, Poll, Settings
from backend.providers.ec2.entry import EC2, ec2_keys
from backend.secret import Secret
from backend.session import Session
from tests.bench.endpoint import counts
from tests.bench.screen import IMAGE, Dashboard, Missing, Terminal, Ticker, collector, resident
from tui.app import run
from tui.widgets.status import StatusBar

REGION = "us-east-1"
WORDS = "ubuntu 22 arm64"
VM_WORDS = "worker run"
ALWAYS = 1e9
"""Seconds: a listing of that age at most is never stale."""

Given = dict[str, Any]
Scene = Callable[[Dashboard, Given], Awaitable[Given]]


def cloud(endpoint: str, regions: int = 1) -> Cloud:
    """Return the cloud of an endpoint of ours; it lists the same in each of its regions."""
    credentials = ec2_keys(Secret("bench"), Secret("bench"))
    names = (REGION, *(f"{REGION[:-1]}{number}" for number in range(2, regions + 1)))
    return Cloud("bench", EC2, endpoint, ("all",), credentials, Defaults(location=REGION), regions=names)


@dataclass
class Gated(Launch):
    """Opens the cache when the gate is open: until then the dashboard waits with empty tables."""

    gate: threading.Event = field(default_factory=threading.Event)

    def open(self) -> Session:
        session = super().open()
        self.gate.wait()
        return session


def launch(given: Given) -> Gated:
    """Return what the dashboard is started with."""
    ages = {kind: given.get("max_age", {}).get(kind, ALWAYS) for kind in KINDS}
    settings = Settings(
        {"bench": cloud(given["endpoint"], given.get("regions", 1))},
        "bench",
        refresh=given.get("refresh", False),
        poll=Poll(settled=given.get("settled", 30.0)),
        max_age=ages,
        mongodb=MongoDB(database=given["database"]),
    )
    return Gated(settings, Path(given["home"]))


# --- the scenes -------------------------------------------------------------------------------------------------------


async def refreshing(dashboard: Dashboard, given: Given) -> Given:
    """Refresh the images for the first time, from the key to the end."""
    await dashboard.until(lambda: dashboard.app.session is not None)
    await dashboard.quiet()
    ticker = Ticker()
    dashboard.terminal.forget()
    dashboard.send("r")
    began = dashboard.terminal.began
    with suppress(Missing):  # how far it came is a figure too
        await dashboard.until(lambda: dashboard.table.total == given["rows"], given["patience"])
    found = {"seconds": time.perf_counter() - began, "lag": ticker.stop(), "rows": dashboard.table.total}
    first = dashboard.when(lambda text: bool(IMAGE.search(text)), "r")
    return found | {"first": first, "gc": collector()}


async def browsing(dashboard: Dashboard, given: Given) -> Given:
    """Open the images tab before and after its rows are read; filter, sort and move in it."""
    app, rows, found = dashboard.app, given["rows"], Given()
    await dashboard.until(lambda: app.main.is_mounted)
    await dashboard.press("3")
    await asyncio.sleep(1)  # until the cache is open behind its gate
    given["gate"].set()
    ticker = Ticker()
    found["cold"] = await dashboard.press("1", dashboard.full)
    await dashboard.until(lambda: dashboard.table.total == rows)
    dashboard.terminal.forget()
    dashboard.send("/")
    dashboard.send("7")  # not in every row, as most letters are: the count must change
    found["searchable"] = await dashboard.seen(
        lambda text: dashboard.table.visible_count < rows and dashboard.count in text, "7"
    )
    await dashboard.until(lambda: dashboard.table.rows.prepare(0))
    await dashboard.quiet()
    found["reading"] = ticker.stop()
    dashboard.terminal.forget()
    found["memory"] = resident()
    await dashboard.press("escape")
    found["warm"] = []
    for _ in range(given["rounds"]):
        await dashboard.press("3")
        found["warm"].append(await dashboard.press("1", dashboard.full))
    found["letters"], found["letters settled"] = [], []
    for _ in range(given["rounds"]):
        await dashboard.press("/")
        for key in (*WORDS, *["backspace"] * len(WORDS)):
            found["letters"].append(await dashboard.filter(key))
            found["letters settled"].append(dashboard.when(None, key))
        await dashboard.press("escape")
    columns = [column.name for column in dashboard.table.kind.columns]
    for turn in ("first", "again"):
        found[turn] = {column: await dashboard.sort() for column in columns}
        await dashboard.sort()  # back in order of arrival
    found["page"] = [await dashboard.move("pagedown") for _ in range(20 * given["rounds"])]
    found["row"], found["row settled"] = [], []
    for _ in range(40 * given["rounds"]):
        found["row"].append(await dashboard.move("down"))
        found["row settled"].append(dashboard.when(None, "down"))
    return found | {"memory after all": resident(), "gc": collector()}


async def roaming(dashboard: Dashboard, given: Given) -> Given:
    """Open the images of many regions, of which the table holds some, and filter them."""
    app, found = dashboard.app, Given()
    await dashboard.until(lambda: app.main.is_mounted)
    await dashboard.press("3")
    await asyncio.sleep(1)  # until the cache is open behind its gate
    given["gate"].set()
    found["cold"] = await dashboard.press("1", dashboard.full)
    await dashboard.until(lambda: app.main._tabs.labels["image"].count == given["rows"])
    await dashboard.until(lambda: dashboard.table.rows.prepare(0))
    await dashboard.quiet()
    found["held"], found["memory"] = dashboard.table.total, resident()
    found["warm"] = []
    for _ in range(given["rounds"]):
        await dashboard.press("3")
        found["warm"].append(await dashboard.press("1", dashboard.full))
    found["letters"] = []
    for _ in range(given["rounds"]):
        await dashboard.press("/")
        for key in (*WORDS, *["backspace"] * len(WORDS)):
            found["letters"].append(await dashboard.filter(key))
        await dashboard.press("escape")
    found["beyond"] = {}
    for words in given["searches"]:
        app.say("")
        await dashboard.press("/")
        for key in words:
            dashboard.send(key)
        began = time.perf_counter()
        await dashboard.until(lambda: "beyond" in app.main.query_one(StatusBar).result)
        found["beyond"][words] = time.perf_counter() - began
        await dashboard.press("escape")
    return found | {"memory after all": resident(), "gc": collector()}


async def watching(dashboard: Dashboard, given: Given) -> Given:
    """Show the VMs for a while without a key."""
    await dashboard.until(lambda: dashboard.app.session is not None)
    await dashboard.press("3")
    await dashboard.until(lambda: dashboard.table.total == given["rows"])
    await asyncio.sleep(given["settling"])  # libcloud is loaded and the first listings are in
    calls = counts(given["endpoint"])
    dashboard.terminal.forget()
    processor, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(given["seconds"])
    share = (time.process_time() - processor) / (time.perf_counter() - began)
    writes = len(dashboard.terminal.writes)
    now = counts(given["endpoint"])
    called = {action: count - calls.get(action, 0) for action, count in now.items() if count != calls.get(action, 0)}
    ticker = Ticker()  # only now: it would be what works most
    await asyncio.sleep(given["ticking"])
    return {"share": share, "lag": ticker.stop(), "writes": writes, "calls": called, "gc": collector()}


async def scattered(dashboard: Dashboard, given: Given) -> Given:
    """Refresh the VMs of all regions for the first time, from the key to the end; then filter and sort them."""
    await dashboard.until(lambda: dashboard.app.session is not None)
    await dashboard.press("3")
    await dashboard.quiet()
    ticker = Ticker()
    dashboard.terminal.forget()
    dashboard.send("r")
    began = dashboard.terminal.began
    await dashboard.until(lambda: dashboard.table.total)
    first = time.perf_counter() - began
    with suppress(Missing):  # how far it came is a figure too
        await dashboard.until(lambda: dashboard.table.total == given["rows"])
    found: Given = {"first": first, "seconds": time.perf_counter() - began, "lag": ticker.stop()}
    found["rows"] = dashboard.table.total
    dashboard.table.rows.prepare()
    found["letters"], found["sorts"] = [], []
    for _ in range(given["rounds"]):
        await dashboard.press("/")
        for key in (*VM_WORDS, *["backspace"] * len(VM_WORDS)):
            found["letters"].append(await dashboard.filter(key))
        await dashboard.press("escape")
    for _ in dashboard.table.rows.columns if given["rounds"] else ():
        found["sorts"].append(await dashboard.press("s"))  # the arrow may be out of sight
    return found


SCENES: dict[str, Scene] = {
    "refreshing": refreshing,
    "browsing": browsing,
    "roaming": roaming,
    "watching": watching,
    "scattered": scattered,
}


def main(name: str, given: Given) -> None:
    """Open the dashboard, run the scene, and print its figures."""
    scene = SCENES[name]
    started = launch(given)
    if name in ("browsing", "roaming"):
        given["gate"] = started.gate
    else:
        started.gate.set()
    Terminal.scene = lambda dashboard: scene(dashboard, given)
    try:
        run(started, started.closing.close, Terminal)
    finally:
        started.closing.close()
    if isinstance(Terminal.result, BaseException):
        raise Terminal.result
    print(json.dumps(Terminal.result))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
