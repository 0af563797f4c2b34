"""Faults of the cache under an idle dashboard: what it shows, and how it recovers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.secret import Secret
from tests.backend.server_support import Server, fill_up, frozen, keeper_of, kill, mongod_of, small_disk
from tests.faults.model import Ground, Section
from tests.faults.scene import Scene, staged
from tests.tui.dashboard import Launch, User, driven
from tui.app import CloudmeshApp
from tui.widgets.status import MessageBar

PROMPT = 2.0
"""Seconds within which a key must be acted on, whatever the cache does: other tests may keep the machine busy."""

QUITS = 2.0
"""Seconds within which quitting must be done, likewise; the suite of the cloud times it by the clock on the wall."""

Hurt = Callable[[], AbstractContextManager[object]]
"""Makes something go wrong; it is undone when the block ends, or mends itself."""

Place = Callable[[Path], AbstractContextManager[tuple[Callable[[], Cache], Hurt] | None]]


@dataclass
class Fault:
    """Something that befalls the server of a dashboard."""

    name: str
    place: Place
    """Yields a function that opens the cache and one that breaks its server; None if this machine cannot try it."""
    long: bool = False
    """It takes too long for the short form."""
    reported: bool = True
    """The screen must report it. The driver may wait out a shorter fault, and then the user sees nothing."""
    report_within: float = 45.0
    """Seconds to wait until the screen reports it."""


def _embedded(hurt: Callable[[Path], AbstractContextManager[object]]) -> Place:
    @contextmanager
    def place(folder: Path) -> Iterator[tuple[Callable[[], Cache], Hurt] | None]:
        home = folder / "home"
        home.mkdir()
        yield lambda: open_cache(MongoDB(Secret("embedded")), home, KINDS.values()), lambda: hurt(home)

    return place


def _server(hurt: Callable[[Server], AbstractContextManager[object]]) -> Place:
    @contextmanager
    def place(folder: Path) -> Iterator[tuple[Callable[[], Cache], Hurt] | None]:
        with Server(folder) as server:
            server.start()
            yield lambda: open_cache(MongoDB(Secret(server.uri)), folder, KINDS.values()), lambda: hurt(server)

    return place


@contextmanager
def _once(act: Callable[[], object]) -> Iterator[None]:
    act()
    yield


@contextmanager
def _away(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def _full(home: Path) -> Iterator[None]:
    ballast = fill_up(home)
    yield
    ballast.unlink()


@contextmanager
def _small(folder: Path) -> Iterator[tuple[Callable[[], Cache], Hurt] | None]:
    with small_disk(folder / "disk", "size=150m") as disk:
        yield (
            (lambda: open_cache(MongoDB(Secret("embedded")), disk, KINDS.values()), lambda: _full(disk))
            if disk
            else None
        )


_WRITES = ("insert", "update", "delete", "findAndModify")

FAULTS = (
    Fault("kill -9 of the embedded mongod", _embedded(lambda home: _once(lambda: kill(mongod_of(home))))),
    Fault("kill -9 of its keeper", _embedded(lambda home: _once(lambda: kill(keeper_of(home)))), long=True),
    # It lives on until it needs another file, and then it ends.
    Fault("The disk of the embedded server is full", _small, long=True, reported=False, report_within=15),
    Fault("A server is killed, and started again", _server(_away), long=True),
    Fault("A server is frozen until it is noticed", _server(lambda server: frozen(server.number)), long=True),
    Fault(
        "The primary steps down for a second",
        _server(lambda server: _once(server.step_down)),
        reported=False,
        report_within=1.5,
    ),
    Fault(
        "The primary steps down for ten seconds", _server(lambda server: _once(lambda: server.step_down(10))), long=True
    ),
    Fault("A server has no disk space left", _server(lambda server: server.failing(*_WRITES))),
)


async def _tried(scene: Scene, fault: Fault, folder: Path, start: Callable[[], Cache], hurt: Hurt) -> Section:
    """Let the fault befall a dashboard, and return its row and what was bad as a section."""
    found = Section("", "", ())
    cache = await asyncio.to_thread(start)
    found.bad += await asyncio.to_thread(scene.refreshed, cache)
    app = scene.world(cache, folder).app()
    async with driven(app) as user:
        await user.show("volume")
        await user.until(lambda: len(user.rows("volume")) == scene.volumes)
        harm = hurt()
        await asyncio.to_thread(harm.__enter__)
        name, made = f"away-{scene.volumes}", f"made-{scene.volumes}"
        await asyncio.to_thread(scene.volume, name)
        await user.run(f"volume create {made} --size 1")
        said, slowest = await _watched(user, fault)
        await asyncio.to_thread(harm.__exit__, None, None, None)
        began = time.monotonic()
        await user.until(lambda: user.named(name, "id", "volume") and "CACHE LOST" not in user.screen, 90)
        seconds = time.monotonic() - began
        end = time.monotonic() + 30
        # The command may still be looking for its answer.
        while lost := await asyncio.to_thread(scene.lost, cache, [made]):
            if time.monotonic() > end:
                break
            await user.pilot.pause(0.2)
        scene.volumes = len(scene.listed("volume"))
        await user.until(lambda: len(user.rows("volume")) == scene.volumes, 30)
        asked = app.following.parts.results.last if app.following.parts else ()
        left = _said(user) if not any(one.error for one in asked) else ""  # why a command failed stays to be read
        began = time.monotonic()
    cache.close()
    quits = time.monotonic() - began
    again = await asyncio.to_thread(start)
    try:
        wrong = [*scene.refreshed(again), *scene.wrong(again)]
    finally:
        again.close()
    found.rows.append(
        (fault.name, str(len(lost)), str(len(wrong)), f"{seconds:.1f}", said.replace(str(folder), "…") or "nothing")
    )
    found.bad += [f"{fault.name}: {one}" for one in (*lost, *wrong)]
    if slowest > PROMPT:
        found.bad.append(f"{fault.name}: a key was acted on after {slowest:.1f} s")
    if quits > QUITS:
        found.bad.append(f"{fault.name}: quitting took {quits:.1f} s")
    if fault.reported and not said:
        found.bad.append(f"{fault.name}: the screen said nothing")
    if left:
        found.bad.append(f"{fault.name}: when it was over, the screen still said {left}")
    return found


async def _watched(user: User, fault: Fault) -> tuple[str, float]:
    """Press keys until the screen reports the fault; return what it says, and the longest time of a key."""
    slowest, end = 0.0, time.monotonic() + fault.report_within
    while time.monotonic() < end:
        began = time.monotonic()
        await user.press("down", "up")
        slowest = max(slowest, (time.monotonic() - began) / 2)
        if said := _said(user):
            return said, slowest
        await user.pilot.pause(0.05)
    return "", slowest


def _said(user: User) -> str:
    bar = user.app.main.query_one(MessageBar)
    text = str(bar.render()).removeprefix("✕ ").partition("  Esc")[0] if bar.display else ""
    return text if "cache" in text else ""


async def _down_at_start(scene: Scene, folder: Path) -> Section:
    """Open a dashboard on a server that is not there, and start it when the screen has said so."""
    found = Section("", "", ())
    with Server(folder) as server:
        opened: list[Cache] = []

        def start() -> Cache:
            opened.append(open_cache(MongoDB(Secret(server.uri)), folder, KINDS.values()))
            return opened[-1]

        app = CloudmeshApp(Launch(lambda: scene.world(start(), folder).session()), reopen_every=0.2)
        name = "MongoDB is down at the start"
        async with driven(app) as user:
            said, slowest = await _watched(user, Fault(name, _server(_away)))
            await asyncio.to_thread(server.start)
            began = time.monotonic()
            await user.show("volume")
            await user.until(lambda: len(user.rows("volume")) == scene.volumes, 30)
            seconds = time.monotonic() - began
            if "cannot be reached" in user.screen:
                found.bad.append(f"{name}: it is still said to be lost:\n{user.screen}")
        opened[-1].close()
        again = start()
        wrong = [*scene.refreshed(again), *scene.wrong(again)]
        again.close()
    found.rows.append((name, "0", str(len(wrong)), f"{seconds:.1f}", said.replace(str(folder), "…")))
    found.bad += [f"{name}: {one}" for one in wrong]
    if slowest > PROMPT:
        found.bad.append(f"{name}: a key was acted on after {slowest:.1f} s")
    return found


def quitting(folder: Path, gone: bool) -> float:
    """Return the seconds that closing a cache takes whose server is frozen, or gone, and was just used."""
    with Server(folder) as server:
        server.start()
        cache = open_cache(MongoDB(Secret(server.uri)), folder, KINDS.values())
        cache.journal.newest()
        with _once(server.kill) if gone else frozen(server.number):
            began = time.monotonic()
            cache.close()
            return time.monotonic() - began


def sections(ground: Ground) -> Iterator[Section]:
    """Try each fault on a dashboard of its own."""
    table = Section(
        "Faults of the cache",
        "A dashboard shows the volumes of a simulated EC2. Its cache's server fails. Meanwhile one volume is created "
        "directly in the cloud, and another by a command in the dashboard. No key is pressed until the dashboard "
        "shows both. Then it quits, and after one more refresh cache, cloud and journal are compared. Seconds count "
        "from when the screen has reported the fault, and the server works again, until the new volume is on screen.",
        ("Fault", "Lost", "Wrong", "Seconds to recover", "What the screen said"),
    )
    with staged(ground) as scene:
        tried = [_folder(ground, "start")]
        _add(table, asyncio.run(_down_at_start(scene, tried[0])))
        for number, fault in enumerate(FAULTS):
            if fault.long and not ground.long:
                continue
            folder = _folder(ground, str(number))
            with fault.place(folder) as place:
                if place is not None:
                    _add(table, asyncio.run(_tried(scene, fault, folder, *place)))
    for what, gone in (("frozen", False), ("gone", True)):
        seconds = quitting(_folder(ground, what), gone)
        table.rows.append((f"Quitting while the server is {what}", "0", "0", f"{seconds:.1f}", ""))
        if seconds > QUITS:
            table.bad.append(f"Quitting took {seconds:.1f} s while the server is {what}")
    yield table


def _folder(ground: Ground, name: str) -> Path:
    folder = ground.folder / name
    folder.mkdir()
    return folder


def _add(table: Section, found: Section) -> None:
    table.rows += found.rows
    table.bad += found.bad
