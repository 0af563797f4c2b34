"""Bursts of keys, as over a slow ssh or from a macro: each key acts after the one before it."""

import asyncio
import re
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.events import Callback, Paste

from tests.tui.dashboard import User, World, opened
from tui.inputs import queued
from tui.lostkeys import PAUSE
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.text import TextScreen
from tui.screens.window import Window
from tui.widgets.commandline import CommandLine

pytestmark = pytest.mark.thorough


async def sent(user: User, *keys: str) -> None:
    """Send words and named keys in one burst, and wait until they are handled."""
    for key in keys:
        user.send([key] if key in ("enter", "escape", "down", "tab", "ctrl+p") else key)
    await user.acted()


async def test_what_follows_a_command_goes_to_what_it_opens(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await sent(user, ":volume list", "enter", "3d")
        dialog = await user.dialog("vm delete")
        assert user.app.main.kind == "vm"
        assert user.app.main.query_one(CommandLine).history == ["volume list"]
        assert dialog.focused is not None
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_two_commands_at_once_are_two(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await sent(user, ":volume list", "enter", ":keypair list", "enter")
        assert user.app.main.kind == "keypair"
        assert user.app.main.query_one(CommandLine).history == ["volume list", "keypair list"]
        assert user.app.main.focused is user.table


async def test_what_follows_a_filter_goes_to_the_rows(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await sent(user, "/web-", "enter", " ", ":keypair list", "enter")
        assert user.app.main.kind == "keypair"
        vms = user.app.main.table_of("vm")
        assert vms.filter_text == "web-"
        assert vms.rows.marks == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [("vm delete nosuch", "There is no VM 'nosuch'"), ("vm delet web-2", "Did you mean 'vm delete'?")],
)
async def test_what_follows_a_command_whose_dialog_does_not_open_runs_nothing(
    world: World, line: str, said: str
) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await sent(user, f":{line}", "enter", "dy6")
        await user.sees(said)
        assert user.app.screen is user.app.main
        assert user.app.main.kind == "vm"
        await asyncio.sleep(PAUSE)
        await user.press("6")
        assert user.app.main.kind == "volume"


async def test_what_follows_a_command_that_loses_something_goes_to_its_dialog(world: World) -> None:
    async with opened(world) as user:
        await sent(user, ":vm stop gpu-train-01", "enter", "6")
        await user.dialog("vm stop")
        assert user.app.main.kind == "vm"
        await user.press("escape")
        await user.back()
    assert world.changing == []


@pytest.mark.parametrize(
    ("line", "window"), [("vm console web-2", TextScreen), ("keypair get class-2026", DetailsScreen)]
)
async def test_what_follows_a_command_that_reads_goes_to_the_window_of_its_result(
    world: World, line: str, window: type[Window[None]]
) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await sent(user, f":{line}", "enter", "6")
        assert isinstance(user.app.screen, window)
        assert user.app.main.kind == "vm"
        await user.press("escape")
        await user.back()


async def test_what_follows_the_key_of_a_dialog_goes_to_its_field(world: World) -> None:
    async with opened(world) as user:
        await sent(user, "bnyx y")  # n and y are letters here, and no answers
        await user.dialog("vm boot")
        assert user.field("name").value == "nyx y"
        await sent(user, "escape", "4", "c", "key-1", "escape", "6")
        assert user.app.screen is user.app.main
        assert user.app.main.kind == "volume"
    assert world.changing == []


async def test_what_follows_enter_in_a_dialog_goes_to_the_next_screen(world: World) -> None:
    async with opened(world) as user:
        await user.show("keypair")
        await user.press("c")
        await user.dialog("keypair create")
        await sent(user, "burst", "enter", "6/scratch", "enter")
        await user.until(lambda: user.named("burst", "id", "keypair"))
        assert user.app.main.kind == "volume"
        assert user.table.filter_text == "scratch"
    assert world.changing == ["keypair create"]


async def test_windows_open_and_close_in_the_order_of_their_keys(world: World) -> None:
    async with opened(world) as user:
        await sent(user, "J", "/vm", "enter", "escape", "escape", "?")
        assert isinstance(user.app.screen, HelpScreen)
        await sent(user, "q", "enter", "escape", "J")  # the details are read before Esc closes them
        assert isinstance(user.app.screen, JournalScreen)
        assert not any(isinstance(screen, DetailsScreen) for screen in user.app.screen_stack)
        await sent(user, "q")
        await user.back()


async def test_the_palette_runs_what_was_typed_and_not_what_it_showed_before(world: World) -> None:
    async with opened(world) as user:
        await sent(user, "ctrl+p", "keypair create", "enter", "enter")
        dialog = await user.dialog("keypair create")
        await user.sees("Typed before this was shown; press Enter again.")
        assert dialog.focused is user.field("name")
        await user.press("escape")
        await user.back()
        assert not any(isinstance(screen, CommandPalette) for screen in user.app.screen_stack)
    assert world.changing == []


async def test_a_paste_waits_its_turn_as_well(world: World) -> None:
    async with opened(world) as user:
        user.send(":")
        user.app.post_message(Paste("volume list"))
        await sent(user, "enter", "/")
        user.app.post_message(Paste("scratch\nsecond line"))
        await sent(user, "enter")
        assert user.app.main.kind == "volume"
        assert user.table.filter_text == "scratch"


def test_no_focus_is_moved_later_than_at_once() -> None:
    sources = (Path(__file__).parents[2] / "tui").rglob("*.py")
    # Widget.focus() waits its turn, and takes the focus from what the next key opens.
    assert [source.name for source in sources if re.search(r"\.focus\(\)", source.read_text())] == []


async def test_a_message_that_textual_has_taken_out_of_the_queue_still_counts(world: World) -> None:
    """Else a key would overtake the one before it, and be lost with the window that this closes."""
    async with opened(world, world.app(refresh=False)) as user:
        app, seen = user.app, list[tuple[int, bool]]()

        async def look() -> None:
            seen.append((app.message_queue_size, queued(app)))

        for callback in (look, lambda: None):
            app.post_message(Callback(callback=callback))
        while not seen:  # a pause of the pilot's would post messages of its own
            await asyncio.sleep(0)
        assert seen == [(0, True)]
