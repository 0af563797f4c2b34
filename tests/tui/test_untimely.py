"""Keys and clicks before a screen is laid out, or after it has closed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.command import CommandList, CommandPalette
from textual.events import MouseDown, MouseMove, MouseUp
from textual.screen import Screen
from textual.widgets import Label

from backend.catalog import KINDS
from backend.commands.table import command
from tests.tui.dashboard import User, World, opened, palette
from tui.app import CloudmeshApp
from tui.palette import Palette
from tui.screens.choice import ChoiceScreen
from tui.screens.confirming import Pace
from tui.screens.details import DetailsScreen
from tui.screens.dialog import CommandDialog
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.main import MainScreen
from tui.screens.steady import Steady
from tui.screens.window import Window
from tui.widgets.picks import Picks

pytestmark = pytest.mark.thorough


def press(user: User, x: int, y: int) -> None:
    """Press and release the mouse faster than the dashboard can handle it."""
    for kind in (MouseMove, MouseDown, MouseUp):
        user.app.post_message(kind(None, x, y, 0, 0, 1, False, False, False, x, y))


async def test_enter_pressed_again_on_the_palette_runs_its_command_once(world: World) -> None:
    async with opened(world) as user:
        await palette(user, "volume create", "volume create")
        user.send(["enter", "enter", "enter"])
        await user.dialog("volume create")
        assert [type(one) for one in user.app.screen_stack[1:]] == [CommandDialog]
        await user.press("escape")
        await user.back()
        assert world.changing == []


async def test_two_clicks_beside_the_palette_close_it(world: World) -> None:
    async with opened(world) as user:
        await palette(user, "vm", "vm")
        for _ in range(3):
            press(user, 2, user.app.size.height - 2)
        await user.back()
        await user.press("question_mark")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))


@pytest.mark.parametrize("burst", [("question_mark", "escape"), ("enter", "escape"), ("J", "escape")])
async def test_the_line_of_keys_follows_after_a_window_that_was_closed_at_once(
    world: World, burst: tuple[str, ...]
) -> None:
    """A callback that waits at a window is lost with it."""
    async with opened(world) as user:
        for _ in range(3):
            user.send(burst)
            await user.acted()
            await user.back()
        await user.press("6")
        await user.until(lambda: "detach" in user.screen.splitlines()[-1])
        await user.press("3")
        await user.until(lambda: "reboot" in user.screen.splitlines()[-1])


@pytest.mark.parametrize("action", ["page_up", "page_down"])
async def test_a_list_that_is_not_laid_out_has_no_page(world: World, action: str) -> None:
    async with opened(world) as user:
        user.app.action_command_palette()
        shown = user.app.screen
        assert isinstance(shown, CommandPalette)
        await user.until(lambda: shown.query(CommandList) and shown.query_one(CommandList).option_count)
        listed = shown.query_one(CommandList)
        listed.display = False
        await user.until(lambda: not listed.scrollable_content_region)
        listed.clear_options().add_options([*listed.options, "one", "two"])
        listed.highlighted = 0
        shown._action_command_list(action)
        picks = Picks("one", "two")
        picks.highlighted = 0
        getattr(picks, f"action_{action}")()
        assert picks.highlighted == 0


@pytest.mark.parametrize("key", ["pageup", "pagedown"])
async def test_the_palette_may_be_paged_as_soon_as_it_is_asked_for(world: World, key: str) -> None:
    async with opened(world) as user:
        for _ in range(5):
            user.send(["ctrl+p"])
            await user.until(lambda: user.app.screen.query(CommandList))
            listed = user.app.screen.query_one(CommandList)
            while not listed.scrollable_content_region:  # its list fills before it is laid out
                user.send([key])
                await user.pilot.pause(0)
            user.send(["escape"])
            await user.back()


SCREENS: dict[str, Callable[[CloudmeshApp], Screen[Any]]] = {
    "details": lambda _app: DetailsScreen("vm web", [("id", "i-1")]),
    "help": lambda _app: HelpScreen([], [], []),
    "journal": lambda _app: JournalScreen(lambda _key: None),
    "choice": lambda _app: ChoiceScreen("Undo", [], [], pace=Pace()),
    "dialog": lambda app: CommandDialog(command("volume create"), app.session, KINDS, lambda _: (), pace=Pace()),  # type: ignore[arg-type]
    "palette": lambda _app: Palette(),
}


@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_may_be_left_before_it_has_composed(world: World, name: str) -> None:
    async with opened(world) as user:
        for turns in range(12):
            screen, gone = SCREENS[name](user.app), asyncio.Event()

            async def come_and_go(turns: int = turns, screen: Screen[Any] = screen, gone: asyncio.Event = gone) -> None:
                user.app.push_screen(screen)
                for _ in range(turns):  # of the event loop
                    await asyncio.sleep(0)
                screen.dismiss(None)
                gone.set()

            user.app.call_later(come_and_go)
            await gone.wait()
            await user.back()
        await user.press("question_mark")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))


@pytest.mark.parametrize("name", SCREENS)
async def test_the_dashboard_may_be_left_before_a_screen_has_composed(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level("INFO")
    async with opened(world) as user:
        screen = SCREENS[name](user.app)

        def come_and_go() -> None:
            user.app.push_screen(screen)
            user.app.exit()

        user.app.call_later(come_and_go)
        async with asyncio.timeout(10):
            while user.app.return_code is None:
                await asyncio.sleep(0.005)
    assert "failed" not in caplog.text


def test_every_screen_is_of_the_one_kind() -> None:
    assert all(issubclass(one, Steady) for one in (MainScreen, Window, Palette))


async def test_the_mouse_may_be_pressed_where_something_has_just_gone(world: World) -> None:
    """As on the text of a window that has closed: the selected widget has no parent."""
    async with opened(world) as user:
        await user.run("volume create")
        screen = await user.dialog("volume create")
        label = screen.query(".field Label").first(Label)
        await user.until(lambda: screen.get_widget_and_offset_at(*label.region.offset)[1] is not None)
        x, y = label.region.offset
        await label.remove()
        assert screen.get_widget_at(x, y)[0] is label  # the screen still has the layout with it
        for kind in (MouseDown, MouseMove, MouseUp):
            screen._forward_event(kind(None, x, y, 0, 0, 1, False, False, False, x, y))
        await user.press("escape")
        await user.back()
