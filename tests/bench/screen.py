"""The real dashboard on a terminal that notes when it is written to, and somebody who presses its keys.

The dashboard is started as its users start it, with one thing replaced, its driver: what is painted is made up to
the last escape sequence and handed over as to any terminal, which only notes when. What a key costs is reckoned from
the moment in which the driver hands it to the dashboard to the last write of the paint that shows its result.
"""

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, ClassVar, cast

from textual.drivers.headless_driver import HeadlessDriver
from textual.events import Key
from textual.keys import _character_to_key
from textual.message_pump import MessagePump

from tui.app import CloudmeshApp
from tui.widgets.table import ResourceTable

SIZE = (160, 50)

PATIENCE = 120.0
"""Seconds after which what was waited for is taken not to come."""

PAUSE = 0.03
"""Seconds between two keys: nobody types faster, and a key within textual's frame of 1/60 s would wait for the next."""

TICK = 0.005

IMAGE = re.compile(r"\bami-[0-9a-f]{17}\b")

Shown = Callable[[str], bool]
"""Says of the text of one paint whether it shows what is waited for."""


class Missing(Exception):
    """The dashboard does not show what it should."""


class Terminal(HeadlessDriver):
    """A terminal of 160 by 50 cells that takes everything and shows it to nobody."""

    scene: ClassVar[Callable[["Dashboard"], Awaitable[dict[str, Any]]]]
    """What is done at it: set before the dashboard is started."""
    result: ClassVar[dict[str, Any] | BaseException | None] = None

    def __init__(self, app: CloudmeshApp, **options: Any) -> None:
        super().__init__(app, **{**options, "size": SIZE})
        self.began = 0.0
        """When the first key was handed over since `forget`; 0 before that."""
        self.writes: list[tuple[float, str]] = []
        """All that was written since, each with the time at which it was complete."""
        self.written = asyncio.Event()

    @property
    def is_headless(self) -> bool:
        """It is not: textual makes no escape sequences for a terminal that is."""
        return False

    def write(self, data: str) -> None:
        self.writes.append((perf_counter(), data))
        self.written.set()

    def forget(self) -> None:
        """Forget all that was written."""
        self.began = 0.0
        self.writes.clear()
        self.written.clear()

    def start_application_mode(self) -> None:
        super().start_application_mode()
        self._acting = asyncio.get_running_loop().create_task(self._act())

    async def _act(self) -> None:
        app = cast(CloudmeshApp, self._app)
        try:
            Terminal.result = await Terminal.scene(Dashboard(app, self))
        except BaseException as error:  # noqa: BLE001 - it is raised where the dashboard has ended
            Terminal.result = error
        app.exit()


class Ticker:
    """Asks every 5 ms to be called, and notes by how many milliseconds each call came later than that."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            slept = perf_counter()
            await asyncio.sleep(TICK)
            self._late.append((perf_counter() - slept - TICK) * 1_000)

    def stop(self) -> dict[str, float]:
        """Return the median, the 99th percentile and the longest of the gaps."""
        self._task.cancel()
        return {"p50": percentile(self._late, 50), "p99": percentile(self._late, 99), "max": max(self._late)}


class Dashboard:
    """The running dashboard, for its user."""

    def __init__(self, app: CloudmeshApp, terminal: Terminal) -> None:
        self.app = app
        self.terminal = terminal

    @property
    def table(self) -> ResourceTable:
        """The table that is shown."""
        return self.app.main.table

    @property
    def count(self) -> str:
        """What the filter's line says when it says the truth."""
        return f"{self.table.visible_count:,} of {self.table.total:,}"

    def full(self, text: str) -> bool:
        """Return whether a paint shows as many images as fit on the screen."""
        return len(IMAGE.findall(text)) >= self.table.scrollable_content_region.height - 1

    async def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Let the dashboard work until the condition holds. Raises Missing."""
        end = perf_counter() + patience
        while not condition():
            if perf_counter() > end:
                raise Missing("what was waited for does not come")
            await asyncio.sleep(0.01)

    async def quiet(self) -> None:
        """Wait until the dashboard has acted on everything: until it goes three times round writing nothing."""
        still = 0
        while still < 3:
            before = len(self.terminal.writes)
            for node in (self.app, self.app.screen, self.table, self.app.screen.focused or self.table):
                await _painted(node)
            still = still + 1 if len(self.terminal.writes) == before else 0

    async def press(self, key: str, shown: Shown | None = None) -> float:
        """Press a key; return the milliseconds to the first paint that shows what is wanted, else to the last one."""
        await self.quiet()
        await asyncio.sleep(PAUSE)
        self.terminal.forget()
        self.send(key)
        return await self.seen(shown, key)

    def send(self, key: str) -> None:
        """Hand over a key; what is painted from here on is reckoned from the first one since `Terminal.forget`."""
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        self.terminal.began = self.terminal.began or perf_counter()
        self.terminal.process_message(Key(name, key if len(key) == 1 else None))

    async def seen(self, shown: Shown | None, key: str) -> float:
        """Wait until a key has had its effect and return what `when` says.

        Nothing is asked of the dashboard before it has painted something, and no text is looked at before it is quiet.
        """
        end = perf_counter() + PATIENCE
        while True:
            async with asyncio.timeout(PATIENCE):
                await self.terminal.written.wait()
            self.terminal.written.clear()
            await self.quiet()
            with suppress(Missing):
                return self.when(shown, key)
            if perf_counter() > end:
                raise Missing(f"{key} shows nothing of what it should")

    def when(self, shown: Shown | None, key: str) -> float:
        """Return the milliseconds from the key to the first paint that shows what is wanted, else to the last one."""
        for at, data in self.terminal.writes if shown else self.terminal.writes[-1:]:
            if shown is None or shown(plain(data)):
                return (at - self.terminal.began) * 1_000
        raise Missing(f"{key} shows nothing of what it should")

    async def filter(self, key: str) -> float:
        """Press a key in the filter and return the milliseconds until the rows and their count are painted."""
        before = self.count
        await self.press(key)
        if self.count != before:
            return self.when(lambda text: self.count in text, key)
        with suppress(Missing):  # the same rows: at most, more or less is set off in them
            return self.when(lambda text: bool(IMAGE.search(text)), key)
        return self.when(lambda _text: True, key)

    async def move(self, key: str) -> float:
        """Press a key that moves the cursor and return the milliseconds until its new row is painted."""
        return await self.press(
            key, lambda text: self.table.cursor_ref is not None and self.table.cursor_ref.id in text
        )

    async def sort(self) -> float:
        """Sort by the next column and return the milliseconds until that is painted."""

        def shown(text: str) -> bool:
            column = self.table.rows.column
            title = next((one.title for one in self.table.rows.columns if one.name == column), "")
            return not column or f"{title} ▲" in text or f"▲ {title}" in text

        return await self.press("s", shown)


async def _painted(node: MessagePump) -> None:
    done = asyncio.Event()
    if node.call_after_refresh(done.set):
        await done.wait()


def plain(data: str) -> str:
    """Return the text of a paint without its escape sequences."""
    return re.sub(r"\x1b(?:\[[0-9;:?<>=]*[A-Za-z]|\][^\x07]*\x07)", "", data)


def percentile(values: list[float], percent: float) -> float:
    """Return the percentile of `values`: the smallest one that this many per cent do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -int(-len(ranked) * percent // 100) - 1)]


def resident() -> float:
    """Return the megabytes of memory that this process has now."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1_024 / 1e6


def collector() -> str:
    """Return how the garbage collector of the dashboard is set."""
    return f"threshold {gc.get_threshold()}, {gc.get_freeze_count():,} frozen" if gc.isenabled() else "disabled"
