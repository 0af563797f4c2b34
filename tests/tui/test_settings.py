"""Settings made in the dashboard: in order, and none undoes another."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backend.state import LOCK, recall
from tests.tui.dashboard import User, World, opened
from tui.screens.choice import ChoiceScreen

pytestmark = pytest.mark.thorough


@contextmanager
def unremembered(world: World) -> Iterator[None]:
    """Make every choice wait until the block ends, as when another process is making one."""
    handle = os.open(world.home / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def there(world: World) -> str:
    return next(name for name in world.settings.clouds if name != world.cloud.name)


async def ask(user: User, *lines: str) -> None:
    """Ask for commands, each while the one before it runs."""
    for number, line in enumerate(lines, 1):
        await user.run(line)
        await user.until(lambda number=number: len(user.app._jobs.titled) == number)  # type: ignore[misc]
        await user.until(lambda: user.app.main.focused is user.table)


@pytest.mark.parametrize("first", ["refresh off", "set default"])
async def test_a_setting_that_takes_long_undoes_no_other(world: World, first: str) -> None:
    lines = ["refresh off", f"set default cloud={there(world)}"]
    if first == "set default":
        lines.reverse()
    async with opened(world) as user:
        with unremembered(world):
            await ask(user, *lines)
        await user.until(lambda: user.app.session and user.app.session.cloud.name == there(world))
        await user.until(lambda: user.app.session and not user.app.session.refresh)
        await user.sees(f"{there(world)} · ", "· refresh off")
        assert user.app.session is not None
        assert user.app.session.cloud.name == there(world)
    assert recall(world.settings, world.home) == {"cloud": there(world), "refresh": False}


async def test_the_last_of_several_settings_holds(world: World) -> None:
    async with opened(world) as user:
        with unremembered(world):
            await ask(user, *(f"set default cloud={name}" for name in (there(world), world.cloud.name) * 3))
        await user.until(lambda: not user.app._jobs.titled)
        assert user.app.session is not None
        assert user.app.session.cloud.name == world.cloud.name
    assert recall(world.settings, world.home) == {"cloud": world.cloud.name}


async def test_a_setting_that_waits_is_cancelled_with_the_one_before_it(world: World) -> None:
    async with opened(world) as user:
        with unremembered(world):
            await ask(user, "refresh off", f"set default cloud={there(world)}")
            await user.press("x")
            await user.until(lambda: not user.app._jobs.titled)
        await user.run("refresh on")
        await user.until(lambda: "refresh is on" in user.result)
        assert user.app.session is not None
        assert user.app.session.cloud.name == world.cloud.name


async def test_refresh_off_keeps_what_can_be_undone_and_the_results(world: World) -> None:
    async with opened(world) as user:
        for name in ("web-1", "web-2"):
            await user.go_to(name)
            await user.press("space")
        await user.press("T")
        await user.dialog("vm tag")
        await user.type("kept=yes", "enter")
        await user.back()
        await user.until(lambda: user.result.startswith("vm tag: 2 done."))
        for line in ("refresh off", "refresh on"):
            await user.run(line)
            await user.until(lambda line=line: user.result.startswith(f"refresh is {line.split()[1]}"))  # type: ignore[misc]
        await user.press("F")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.sees("vm tag: 2 done")
        await user.press("escape")
        await user.back()
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.sees("web-1", "web-2", "vm untag")
        await user.press("right", "enter")
        await user.back()
        await user.until(lambda: user.result.startswith("vm untag: 2 done."))
