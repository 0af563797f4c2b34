"""Filled fields: typing replaces the text, arrow keys and clicks edit it."""

import pytest
from textual.widgets import Input

from backend.catalog import KINDS
from backend.commands.table import COMMANDS
from tests.tui.dashboard import AT_ONCE, World, opened
from tui.screens.dialog import CommandDialog
from tui.widgets.commandline import CommandLine
from tui.widgets.field import Field

pytestmark = pytest.mark.thorough

ASKING = [one for one in COMMANDS if any(param.style != "switch" for param in one.params)]


async def test_typing_into_a_filled_field_replaces_what_is_in_it(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        for command in ASKING:
            filled = {param.name: "old" for param in command.params if param.style != "switch"}
            dialog = CommandDialog(command, world.session(), KINDS, lambda _: (), given=filled, pace=AT_ONCE)
            await user.app.push_screen(dialog)
            for name in filled:
                for field in dialog.query(f"#param-{name}").results(Input):
                    dialog.set_focus(None)
                    dialog.set_focus(field)
                    await user.type("7")
                    assert field.value == "7", command.name
            await user.press("escape")
            await user.back()


async def test_a_volume_has_the_size_that_was_typed(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        await user.press("c")
        await user.dialog("volume create")
        await user.type("sized", "tab")
        assert user.field("size").has_focus
        assert user.field("size").selected_text == user.field("size").value != ""
        await user.type("20")
        await user.press("enter")
        await user.until(lambda: user.named("sized", "size", "volume") == 20)
    assert world.changing == ["volume create"]


async def test_a_filled_field_can_be_edited(world: World) -> None:
    async with opened(world) as user:
        await user.press("b")
        await user.dialog("vm boot")
        field = user.field("keypair")
        await user.press("tab", "tab", "tab")
        assert user.app.screen.focused is field
        assert field.value == "demo"
        await user.press("end")
        await user.type("2")
        assert field.value == "demo2"
        await user.press("home", "delete")
        assert field.value == "emo2"
        assert await user.pilot.click("#param-flavor", offset=(3, 0))
        await user.type("X")
        assert user.field("flavor").value == "t3X.micro"
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_typing_into_a_filter_that_is_opened_again_replaces_it(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await user.type("/web-", "enter", "/")
        await user.type("db", "enter")
        assert user.table.filter_text == "db"
        await user.press("J")
        await user.type("/one", "enter", "/")
        await user.type("two")
        assert user.app.screen.query_one("#filter", Input).value == "two"


async def test_typing_into_a_line_that_is_offered_replaces_it(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        user.app.main.open_command_line("vm list")
        await user.type("k")
        assert user.app.main.query_one(CommandLine).value == "k"


def test_no_field_keeps_what_is_in_it() -> None:
    assert Field().select_on_focus
