"""A terminal that is too small: a notice covers every screen, and no key acts."""

from collections.abc import Sequence

import pytest
from textual.command import CommandPalette

from backend.catalog import KINDS
from tests.tui.dashboard import SIZE, World, driven, opened
from tui.screens.dialog import CommandDialog
from tui.widgets.toosmall import TooSmall

pytestmark = pytest.mark.thorough

NOTICE = "q quits."


@pytest.mark.parametrize(
    ("keys", "confirms", "size"),
    [
        ("t", "enter", (40, 10)),
        ("t", "y", (59, 40)),
        ("d", "y", (160, 15)),
        ("b", "enter", (40, 10)),
        ("z", "enter", (40, 10)),
        (["ctrl+p", *"stop"], "enter", (40, 10)),
        ("J", "enter", (40, 10)),
        ("?", "escape", (40, 10)),
        (["enter"], "escape", (40, 10)),
        (":vm stop web-2", "enter", (40, 10)),
        ("", "d", (40, 10)),
    ],
)
async def test_nothing_is_done_in_a_terminal_that_is_too_small(
    world: World, keys: Sequence[str], confirms: str, size: tuple[int, int]
) -> None:
    async with opened(world) as user:
        await user.go_to("gpu-train-01")
        user.send(keys)
        await user.acted()
        before = list(user.app.screen_stack)
        await user.pilot.resize_terminal(*size)
        await user.sees(f"This terminal has {size[0]}×{size[1]} cells", "needed", "q quits.")
        for word in ("gpu-train", "Cancel", "Stop", "Search", "Help", "Journal"):
            assert word not in user.screen
        await user.press(confirms, "y", "n", "d", "enter", ":", "escape", "ctrl+p")
        await user.pilot.click(offset=(5, 5))
        assert user.app.screen_stack == before
        await user.pilot.resize_terminal(*SIZE)
        await user.loses("q quits.")
        assert user.app.screen_stack == before
    assert world.changing == []


async def test_it_goes_on_when_the_terminal_is_large_enough_again(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("web-2")
        await user.press("t")
        dialog = await user.dialog("vm stop")
        await user.pilot.resize_terminal(40, 10)
        await user.sees(NOTICE)
        assert not dialog.seen
        await user.pilot.resize_terminal(*SIZE)
        await user.dialog("vm stop")
        assert user.app.screen is dialog
        await user.press("y")
        await user.back()
        await user.until(lambda: world.changing == ["vm stop"])


async def test_what_opens_in_a_terminal_that_is_too_small_is_covered_as_well(world: World) -> None:
    async with opened(world) as user:
        await user.pilot.resize_terminal(40, 10)
        user.app.action_command_palette()
        await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.query(TooSmall))
        await user.sees(NOTICE)
        await user.pilot.resize_terminal(*SIZE)
        await user.loses(NOTICE)


async def test_it_can_be_left_in_a_terminal_of_any_size(world: World) -> None:
    async with driven(world.app(), (30, 5)) as user:
        await user.until(lambda: "needed" in user.screen)
        await user.press("q")
        await user.until(lambda: not user.app.is_running)
    assert user.app.return_code == 0


async def test_objects_that_look_the_same_are_not_confirmed(world: World) -> None:
    """The reason for asking again is so long that it pushes what is acted on out of sight."""
    async with opened(world, size=(60, 16)) as user:
        native = await user.go_to("web-1")
        row = user.table.rows.row(user.ref(native))
        assert row is not None
        await user.press("o")
        shown = await user.dialog("vm reboot")
        await user.press("escape")
        await user.back()
        dialog = CommandDialog(
            shown.command,
            world.session(),
            KINDS,
            lambda _: (),
            targets=[row],
            target=shown.command.target("vm"),
            error="It was refused, for reasons that are many. " * 20,
            pace=shown.pace,
        )
        await user.app.push_screen(dialog)
        await user.sees("It was refused")
        assert "web-1" not in user.window
        await user.press("y")
        assert user.app.screen is dialog
        await user.sees("What this acts on is not in sight: scroll to it", "press y again.")
        await user.dialog("vm reboot")  # what was said is shorter, so that it is in sight now
        await user.sees("web-1")
        await user.press("y")
        await user.back()
    assert world.changing == []


@pytest.mark.parametrize("key", ["t", "d", "p", "T"])
@pytest.mark.parametrize("names", [("gpu-train-01",), ("gpu-train-01", "ci-runner-1", "web-2")])
async def test_every_dialog_can_be_confirmed_in_the_smallest_terminal(
    world: World, key: str, names: Sequence[str]
) -> None:
    async with opened(world, size=(60, 16)) as user:
        for name in names:
            await user.go_to(name)
            await user.press("space")
        await user.press(key)
        await user.until(lambda: isinstance(user.app.screen, CommandDialog) and user.app.screen.ready)
        dialog = user.app.screen
        assert isinstance(dialog, CommandDialog)
        while not dialog.seen:  # what several lose is summed up first, and their names stand below
            await user.press("pagedown")
    assert world.changing == []
