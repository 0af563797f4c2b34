"""Runs the dashboard in tests: opens it, presses keys, and waits for what the screen shows."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from textual.command import CommandList, CommandPalette
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input, Static

from backend.cache import Cache
from backend.catalog import KINDS
from backend.config import Cloud, Settings
from backend.kinds.model import Ref, Row, Scope
from backend.providers import registry
from backend.providers.entry import Connect
from backend.providers.protocol import Boot, Provider
from backend.session import Session
from tests.faces import READS, Faces
from tui.app import CloudmeshApp
from tui.screens.confirming import Pace
from tui.screens.dialog import CommandDialog
from tui.widgets.status import StatusBar
from tui.widgets.tabbar import TabBar
from tui.widgets.table import ResourceTable

SIZE = (160, 40)

AT_ONCE = Pace(stands=0, apart=0)
"""A dialog can be confirmed as soon as it is painted, by keys of any speed."""

DELAY = 4.0
"""Seconds of the demo's clock for which a VM is pending, stopping or shutting down."""

TABS = {name: kind for name, kind in KINDS.items() if kind.tab}
"""The kinds that always have a tab."""


class Clock:
    """The clock of a demo: a VM changes its state when the test moves the clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Launch:
    """Starts the dashboard in tests."""

    opening: Callable[[], Session]
    read_only: bool = False

    def open(self) -> Session:
        return self.opening()


class Noting(Faces):
    """A provider that records each changing call before it is made, such as "vm delete"."""

    def __init__(self, provider: Provider, changing: list[str]) -> None:
        super().__init__(provider)
        self._changing = changing

    def passes(self, kind: str, verb: str) -> None:
        if verb not in READS:
            self._changing.append(f"{kind} {verb}")


class Held(Noting):
    """A provider that waits for a gate before it lists elastic IPs, so that no preview is complete before."""

    def __init__(self, provider: Provider, changing: list[str], gate: threading.Event) -> None:
        super().__init__(provider, changing)
        self._gate = gate

    def vm_addresses(self, vms: Sequence[str]) -> Any:
        assert self._gate.wait(30)
        return self.real.of("vm").addresses(vms)


class World:
    """The surroundings of a dashboard in a test: a demo's clouds, a cache and a data directory."""

    def __init__(self, settings: Settings, cache: Cache, home: Path) -> None:
        self.settings = settings
        self.cache = cache
        self.home = home
        self.changing: list[str] = []
        """Names of the calls that changed the cloud."""

    @property
    def cloud(self) -> Cloud:
        """The first cloud of the dashboard."""
        return self.settings.clouds[self.settings.cloud]

    @property
    def scope(self) -> Scope:
        """The scope of that cloud's rows."""
        return Scope(self.cloud.name, self.cloud.region)

    def connect(self, cloud: Cloud, *hooks: Any) -> Provider:
        """Return the real provider; its changing calls are recorded."""
        return cast(Provider, Noting(registry.connect(cloud, *hooks), self.changing))

    def held(self, gate: threading.Event) -> Connect:
        """Return a connect function whose providers complete no preview before the gate is open."""
        return lambda cloud, *hooks: cast(Provider, Held(registry.connect(cloud, *hooks), self.changing, gate))

    @property
    def provider(self) -> Provider:
        """Another client of the same cloud; its calls are not recorded."""
        return registry.connect(self.cloud)

    def session(self, connector: Connect | None = None, *, refresh: bool = True, read_only: bool = False) -> Session:
        """Return a session on these."""
        connector = connector or self.connect
        return Session(self.settings, self.cloud, self.cache, self.home, refresh, read_only, connector)

    def app(
        self,
        connector: Connect | None = None,
        *,
        refresh: bool = True,
        read_only: bool = False,
        pace: Pace = AT_ONCE,
    ) -> CloudmeshApp:
        """Return a dashboard on these."""
        session = self.session(connector, refresh=refresh, read_only=read_only)
        return CloudmeshApp(Launch(lambda: session, read_only), pace=pace)

    def with_cache(self, cache: Cache) -> "World":
        """Return the same with another cache."""
        return World(self.settings, cache, self.home)

    def with_cloud(self, **changes: Any) -> "World":
        """Return the same with its cloud changed."""
        cloud = replace(self.cloud, **changes)
        settings = replace(self.settings, clouds={**self.settings.clouds, cloud.name: cloud})
        return World(settings, self.cache, self.home)


Documents = dict[str, list[dict[str, Any]]]
"""What is in a cache, by collection."""


def documents(cache: Cache) -> Documents:
    """Return all rows of a cache in memory, and when they were listed; nothing may change them."""
    return {name: list(cache.store.database[name]._store.documents) for name in _COLLECTIONS}


_COLLECTIONS = (*(kind.plural for kind in KINDS.values()), "refreshes")


def filled(cache: Cache, found: Documents) -> Cache:
    """Return a cache with the documents of another, which was in memory."""
    for name, rows in found.items():
        if rows and cache.store.mode == "memory":
            stored = cache.store.database[name]._store
            for row in rows:  # insert_many takes 40 ms: it copies each value of each document
                stored[row["_id"]] = dict(row)
        elif rows:
            cache.store.database[name].insert_many(rows)
    return cache


def copied(source: Cache, target: Cache) -> Cache:
    """Return `target` with all documents of `source`."""
    return filled(target, documents(source))


def lines(screen: Screen[Any]) -> list[str]:
    """Return the painted lines of a screen."""
    return [strip.text.rstrip() for strip in _strips(screen)]


def _strips(screen: Screen[Any]) -> list[Strip]:
    return screen._compositor.render_strips()


class User:
    """The user of a dashboard."""

    def __init__(self, app: CloudmeshApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    # --- seeing -------------------------------------------------------------------------------------------------------

    @property
    def screen(self) -> str:
        """The text of the screen in front."""
        return "\n".join(lines(self.app.screen))

    @property
    def window(self) -> str:
        """The text of the window in front, without the screen around it."""
        region = self.app.screen.query_one(".window").region
        shown = [strip.crop(region.x, region.right).text for strip in _strips(self.app.screen)]
        return "\n".join(shown[region.y : region.bottom])

    @property
    def body(self) -> str:
        """The text of the window in front, with the part that is scrolled out of sight; "" until it is composed."""
        bodies = self.app.screen.query(".window--body Static").results(Static)
        return "\n".join(body.render_line(y).text for body in bodies for y in range(body.size.height))

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Let the dashboard run until the condition holds; fail with the screen if it does not in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds:g} s:\n{self.screen}"
            await self.pilot.pause(0.01)

    async def sees(self, *texts: str, seconds: float = 10.0) -> None:
        """Wait until all of the texts are on the screen in front."""
        await self.until(lambda: all(text in self.screen for text in texts), seconds)

    async def loses(self, *texts: str, seconds: float = 10.0) -> None:
        """Wait until none of the texts is on the screen in front."""
        await self.until(lambda: not any(text in self.screen for text in texts), seconds)

    @property
    def table(self) -> ResourceTable:
        """The table that is shown."""
        return self.app.main.table

    @property
    def at(self) -> str | None:
        """The name of the cursor's row."""
        row = self.table.cursor_row
        return None if row is None else self.table.kind.value(row, "name")

    @property
    def cursor_id(self) -> str | None:
        """The id of the cursor's row."""
        return self.table.cursor_ref and self.table.cursor_ref.id

    @property
    def marked(self) -> set[str]:
        """The ids of the marked rows of the table that is shown."""
        return {self.table.kind.value(row, "id") for row in self.table.rows.marked()}

    def ref(self, native: str) -> Ref:
        """Return the name of a row of the cloud that is shown."""
        assert self.app.session is not None
        return Ref(self.app.session.scope, native)

    @property
    def result(self) -> str:
        """The last result in the status bar."""
        return self.app.main.query_one(StatusBar).result

    def rows(self, kind: str) -> list[Row]:
        """Return the rows of a kind that are on its table."""
        return list(self.app.main.table_of(kind).rows.all())

    def column(self, column: str = "name") -> list[Any]:
        """Return the values of a column of the table that is shown, from top to bottom."""
        table = self.table
        return [table.kind.value(table.rows.row_at(n), column) for n in range(table.visible_count)]

    def named(self, name: str, column: str, kind: str = "vm") -> Any:
        """Return the value of a column in the newest row of that name; None if there is no such row."""
        found = [row for row in self.rows(kind) if KINDS[kind].value(row, "name") == name]
        return KINDS[kind].value(found[-1], column) if found else None

    def line(self, text: str) -> str:
        """Return the first line of the screen with `text` in it."""
        return next((line for line in lines(self.app.screen) if text in line), "")

    # --- doing --------------------------------------------------------------------------------------------------------

    def send(self, keys: Iterable[str]) -> None:
        """Press keys faster than the dashboard can handle one."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            character = key if len(key) == 1 else {"enter": "\r", "tab": "\t", "space": " "}.get(key)
            self.app.post_message(Key(name, character))

    async def press(self, *keys: str) -> None:
        """Press keys one by one, each after the one before is handled."""
        for key in keys:
            self.send([key])
            await self.acted()

    async def type(self, text: str, *keys: str) -> None:
        """Type text into the focused field at once, then press keys."""
        self.send(text)
        await self.press(*keys) if keys else await self.acted()

    async def acted(self, seconds: float = 10.0) -> None:
        """Wait until all keys, and the messages that they posted, are handled."""
        await self.pilot.pause(0)
        await self.until(lambda: self.app.inputs.idle, seconds)
        await self.pilot.pause(0)

    async def show(self, kind: str) -> None:
        """Go to the tab of a kind by its number key, or by its name if it has none."""
        if (number := KINDS[kind].tab) is not None:
            await self.press(str(number))
        else:
            await self.run(kind)
        await self.until(lambda: self.app.main.kind == kind)

    async def go_to(self, name: str) -> str:
        """Go to the newest row of that name and return its id."""
        await self.until(lambda: self.named(name, "id", self.app.main.kind) is not None)
        native = self.named(name, "id", self.app.main.kind)
        assert self.table.move_to(self.ref(native))
        await self.pilot.pause(0)
        return str(native)

    async def run(self, line: str) -> None:
        """Run a command on the `:` line."""
        await self.type(f":{line}", "enter")

    async def dialog(self, name: str) -> CommandDialog:
        """Wait until the dialog of a command can be used."""

        def usable() -> bool:
            dialog = self.app.screen
            if not isinstance(dialog, CommandDialog) or not dialog.ready or not dialog.seen:
                return False
            return dialog.focused is not None and dialog.focused.has_focus

        await self.until(usable)
        dialog = self.app.screen
        assert isinstance(dialog, CommandDialog)
        assert dialog.command.name == name
        return dialog

    async def back(self) -> None:
        """Wait until no window is open."""
        await self.until(lambda: self.app.screen is self.app.main)

    def field(self, name: str) -> Input:
        """Return a field of the dialog in front."""
        return self.app.screen.query_one(f"#param-{name}", Input)

    async def click_tab(self, word: str) -> None:
        """Click the tab with `word` in it."""
        bar = self.app.main.query_one(TabBar)
        await self.pilot.click(TabBar, offset=(bar.render().plain.index(word), 0))


@asynccontextmanager
async def driven(app: CloudmeshApp, size: tuple[int, int] = SIZE) -> AsyncIterator[User]:
    """Open the dashboard; its cache may not be open."""
    async with app.run_test(size=size, notifications=True) as pilot:
        try:
            yield User(app, pilot)
        finally:
            # Quit as a user does: run_test alone removes the widgets while the app still handles messages.
            if app.return_code is None:
                app.exit()
            async with asyncio.timeout(10):
                while app.is_running:
                    await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(
    world: World, app: CloudmeshApp | None = None, size: tuple[int, int] = SIZE, kinds: Sequence[str] = tuple(TABS)
) -> AsyncIterator[User]:
    """Open the dashboard and wait until it shows the rows of the cache, the VMs first."""
    app = app or world.app()
    counts = {kind: world.cache.rows.count(KINDS[kind], world.scope) for kind in kinds}
    async with driven(app, size) as user:
        await user.until(lambda: all(app.main.table_of(kind).total >= counts[kind] for kind in kinds))
        await user.until(lambda: app.session is not None)
        await user.show("vm")
        yield user


def booted(world: World, name: str, flavor: str = "") -> str:
    """Boot a VM without the dashboard and return its id."""
    default, flavor = world.cloud.default, flavor or world.cloud.flavor
    boot = Boot(image=default.image or "", flavor=flavor, token=name, keypair=default.keypair, name=name)
    return str(world.provider.of("vm").boot(boot)["id"])


async def palette(user: User, query: str, wanted: str) -> None:
    """Search in the palette until the first entry has `wanted` in it."""
    await user.press("ctrl+p")
    await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
    await user.type(query)
    found = user.app.screen.query_one(CommandList)
    await user.until(lambda: found.option_count and wanted in str(found.get_option_at_index(0).prompt))
