"""Windows that are opened again and again leave no objects behind."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from textual.command import CommandPalette
from textual.screen import Screen

from backend.catalog import KINDS
from backend.providers.protocol import Provider
from tests.backend.cache_support import FakeCloud, items
from tests.tui.dashboard import User, World, opened
from tui.screens.details import DetailsScreen
from tui.screens.dialog import CommandDialog
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.text import TextScreen

pytestmark = pytest.mark.thorough

ROUNDS = 30
SIZE = (100, 24)
"""Each line that is painted is made of many objects that live shortly: a small terminal shows what stays as well."""

WARM = 6
"""Rounds before the first count: what is made once has been made then."""

VALUES = {
    "Color",
    "Style",
    "Region",
    "Size",
    "Offset",
    "Spacing",
    "BoxModel",
    "ANSIToTruecolor",
    "FIFOCache",
    "ColorTriplet",
}
"""What textual remembers results by, in caches that hold a fixed number of them; a strip has seven such caches."""


def alive() -> Counter[str]:
    """Return how many objects of each of textual's, rich's and our own types are alive."""
    gc.collect()
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(
        name
        for name in names
        if name.split(".")[0] in ("textual", "rich", "tui", "backend") and name.rpartition(".")[2] not in VALUES
    )


async def over(user: User, kind: type[Screen[Any]], *keys: str) -> None:
    """Open a screen by keys, wait until it is there, leave it and wait until it is gone."""
    await user.press(*keys)
    await user.until(lambda: isinstance(user.app.screen, kind) and user.app.screen.focused is not None)
    await user.press("escape")
    await user.back()


async def deleting(user: User) -> None:
    await user.press("d")
    await user.dialog("vm delete")
    await user.press("escape")
    await user.back()


async def refreshing(user: User) -> None:
    await user.press("R")
    await user.until(lambda: user.app.main.query_one("#message").display)
    await user.press("escape")
    await user.loses("Esc dismisses")


async def searching(user: User) -> None:
    await user.press("ctrl+p")
    await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
    await user.type("vm", "escape")
    await user.back()


async def filtering(user: User) -> None:
    await user.press("slash")
    await user.type("web")
    await user.until(lambda: user.table.filter_text == "web")
    await user.press("escape")
    await user.until(lambda: not user.table.filter_text)


async def changing_tabs(user: User) -> None:
    for kind in ("image", "keypair", "vm"):
        await user.show(kind)


async def an_extra_tab(user: User) -> None:
    await user.run("secgroups")
    await user.until(lambda: user.app.main.kind == "secgroup")
    await user.press("escape")
    await user.until(lambda: user.app.main.kind == "vm")


async def reading(user: User) -> None:
    user.app.open(TextScreen("vm console web-1", "a line\n" * 1_000))
    await user.until(lambda: isinstance(user.app.screen, TextScreen))
    await user.press("escape")
    await user.back()


ROUND: dict[str, Callable[[User], Awaitable[None]]] = {
    "help": lambda user: over(user, HelpScreen, "question_mark"),
    "details": lambda user: over(user, DetailsScreen, "enter"),
    "journal": lambda user: over(user, JournalScreen, "J"),
    "a dialog with fields": lambda user: over(user, CommandDialog, "b"),
    "a dialog with a preview": deleting,
    "the palette": searching,
    "the filter": filtering,
    "other tabs": changing_tabs,
    "a tab without a number key": an_extra_tab,
    "a text": reading,
    "a refresh of all": refreshing,
}


@pytest.mark.parametrize("what", ROUND)
async def test_many_rounds_cost_nothing_lasting(what: str, world: World) -> None:
    cloud = FakeCloud(**{kind.plural: [items(kind, "x-1", "x-2", state="running")] for kind in KINDS.values()})
    quick = world.app(lambda *_: cast(Provider, cloud), refresh=False) if what == "a refresh of all" else None
    async with opened(world, quick or world.app(refresh=False), SIZE) as user:

        async def rounds(times: int) -> None:
            for _ in range(times):
                await ROUND[what](user)
            await user.show("vm")
            await user.until(lambda: not user.app._jobs._running)

        def lasting() -> dict[str, int]:
            # Less than four in five rounds counts as none: what is on screen just now differs a little.
            return {name: more for name, more in (alive() - before).items() if more >= ROUNDS * 4 // 5}

        await rounds(WARM)
        before = alive()
        await rounds(ROUNDS)
        left: dict[str, int] = {}

        def all_is_gone() -> bool:
            # What the last round left goes with a tick. To count takes seconds in a process that has run many tests.
            user.app._tick()
            left.clear()
            left.update(lasting())
            return not left

        with suppress(AssertionError):
            await user.until(all_is_gone, seconds=20)
        assert left == {}
