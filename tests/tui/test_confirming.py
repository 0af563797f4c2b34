"""What confirms an action, by the times when a key was typed and when the dialog was painted."""

import string
import threading
from time import monotonic
from typing import cast

import pytest
from textual.events import Key
from textual.widgets import Button, Static

from tests.tui.dashboard import DELAY, Clock, User, World, booted, opened
from tui.screens.choice import ChoiceScreen
from tui.screens.confirming import Confirming, Pace, Word
from tui.screens.dialog import CommandDialog

pytestmark = pytest.mark.thorough

READ = 0.9
"""Seconds after which a dialog has been read."""


async def typed(user: User, *keys: tuple[str, float]) -> None:
    """Type keys, each N seconds after the window in front was painted."""
    window = user.app.screen
    assert isinstance(window, Confirming)
    # textual's button takes no second press for 0.2 s by the clock, whatever the times of the keys.
    await user.until(lambda: window.painted is not None and not window.query("Button.-active"))
    assert window.painted is not None
    for key, after in keys:
        character = key if len(key) == 1 else {"enter": "\r"}.get(key)
        event = Key(key, character)
        event.time = window.painted + after
        user.app.post_message(event)
    await user.acted()


async def asked(user: User, key: str, *names: str) -> CommandDialog:
    """Open the dialog of a key on VMs, and wait until it can be read."""
    await user.press("r")
    for name in names:
        await user.go_to(name)
        await user.until(lambda name=name: user.named(name, "state") is not None)  # type: ignore[misc]
        if len(names) > 1:
            await user.press("space")
    await user.press(key)
    await user.until(lambda: isinstance(user.app.screen, CommandDialog) and user.app.screen.painted)
    dialog = user.app.screen
    assert isinstance(dialog, CommandDialog)
    return dialog


def said(user: User) -> str:
    """Return the first line of the dialog in front."""
    line = user.app.screen.query_one("#dialog-error", Static)
    return str(line.content) if line.display else ""


# --- what destroys ----------------------------------------------------------------------------------------------------


async def test_what_destroys_is_confirmed_by_what_was_typed_after_it_was_read(world: World) -> None:
    booted(world, "read")
    async with opened(world, world.app(pace=Pace())) as user:
        await asked(user, "d", "read")
        for early in (-0.1, 0.0, 0.3, 0.79):
            await typed(user, ("y", early))
            assert said(user) == f"Typed {'before' if early < 0 else 'too soon after'} this was shown; press y again."
        assert world.changing == []
        await typed(user, ("y", 0.79 + 0.41))
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"])


@pytest.mark.parametrize("gap", [0.15, 0.25, 0.35])
async def test_a_word_typed_on_the_list_destroys_nothing(world: World, gap: float) -> None:
    booted(world, "word")
    async with opened(world, world.app(pace=Pace())) as user:
        dialog = await asked(user, "d", "word")
        await typed(user, *((letter, number * gap) for number, letter in enumerate("ynamo", 1)))
        assert user.app.screen is dialog  # its n is no answer either, and its o opens nothing
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await typed(user, ("enter", 6 * gap))
        await user.back()
    assert world.changing == []


@pytest.mark.parametrize("gap", [0.41, 0.6, 0.79])
async def test_a_word_typed_slowly_on_the_list_destroys_nothing(world: World, gap: float) -> None:
    booted(world, "slow-word")
    async with opened(world, world.app(pace=Pace())) as user:
        dialog = await asked(user, "d", "slow-word")
        await typed(user, *((letter, number * gap) for number, letter in enumerate("elay", 1)))
        assert user.app.screen is dialog
        assert said(user) == "Typed right after another key; press y again."
        assert world.changing == []
        await typed(user, ("y", 4 * gap + 0.41))  # the same key again is no word
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"])


@pytest.mark.parametrize(("before", "key"), [("f4", "y"), ("f4", "enter"), ("f5", "y")])
async def test_a_burst_destroys_nothing(world: World, before: str, key: str) -> None:
    booted(world, "burst")
    async with opened(world, world.app(pace=Pace())) as user:
        await asked(user, "d", "burst")
        await typed(user, ("right", READ))
        await typed(user, (before, READ + 1), (key, READ + 1.39))
        assert said(user) == f"Typed right after another key; press {'Enter' if key == 'enter' else key} again."
        assert world.changing == []
        await typed(user, (key, READ + 1.8))
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"])


async def test_the_button_is_clicked_after_it_was_read(world: World) -> None:
    booted(world, "clicked")
    async with opened(world, world.app(pace=Pace())) as user:
        dialog = await asked(user, "d", "clicked")
        await user.pilot.click("#run")
        assert said(user) == "Typed too soon after this was shown; click again."
        assert world.changing == []
        await user.until(lambda: dialog.seen)
        await user.pilot.click("#run")
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"])


async def test_a_word_that_must_be_typed_may_be_typed_fast(world: World) -> None:
    for name in ("two-1", "two-2"):
        booted(world, name)
    async with opened(world, world.app(pace=Pace())) as user:
        dialog = await asked(user, "d", "two-1", "two-2")
        await typed(user, ("2", 0.5), ("enter", 1.5))
        assert said(user) == "Typed too soon after this was shown; type it again."
        assert dialog.query_one(Word).value == ""
        assert world.changing == []
        await typed(user, ("2", 2.0), ("enter", 2.05))
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"] * 2)


@pytest.mark.parametrize(("key", "keys", "confirms"), [("t", 150, "enter"), ("d", 3_000, "y"), ("o", 150, "y")])
async def test_what_was_typed_ahead_confirms_nothing_however_slow_the_screen_is(
    world: World, key: str, keys: int, confirms: str
) -> None:
    async with opened(world) as user:
        await user.go_to("ci-runner-1")
        user.send([key, *["k"] * keys, confirms])
        await user.acted(60)
        await user.sees("press Enter again." if confirms == "enter" else "press y again.")
        await user.press("escape")
        await user.back()
    assert world.changing == []


# --- what only changes ------------------------------------------------------------------------------------------------


async def test_what_changes_is_confirmed_by_what_was_typed_after_it_was_painted(world: World) -> None:
    async with opened(world, world.app(pace=Pace())) as user:
        await asked(user, "o", "web-1")
        await typed(user, ("enter", -0.01))
        assert said(user) == "Typed before this was shown; press Enter again."
        assert world.changing == []
        await typed(user, ("enter", 0.41))  # of the key that has opened it, which was typed before it was painted
        await user.back()
        await user.until(lambda: world.changing == ["vm reboot"])


async def word(user: User, text: str, gap: float) -> None:
    """Type the letters of a word at equal intervals: the first opens a window, painted before the second."""
    began = monotonic() + 3
    for number, char in enumerate(text):
        key = Key({"\r": "enter"}.get(char, char), char)
        key.time = began + number * gap
        user.app.post_message(key)
        await user.acted()
        if number == 0:
            window = user.app.screen
            assert isinstance(window, Confirming)
            await user.until(lambda: cast(Confirming[object], user.app.screen).painted is not None)
            assert window.painted is not None
            assert window.painted < began


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("web-1", "oyster"),
        ("web-1", "o\r"),
        ("db-primary", "Pyramid"),
        ("web-1", "pyramid"),
        ("class-student-07", "uyb"),
        ("class-student-07", "u\r"),
        ("ci-runner-1", "tyler"),
        ("ci-runner-1", "t\r"),
        ("web-1", "bye\r"),
    ],
)
async def test_a_word_typed_on_the_list_changes_nothing(world: World, name: str, text: str) -> None:
    async with opened(world, world.app(pace=Pace())) as user:
        await user.press("r")
        answer = "Enter" if text.endswith("\r") else "y"
        for gap in (0.05, 0.12, 0.3, 0.39):
            await user.go_to(name)
            await word(user, text, gap)
            await user.until(lambda: said(user) == f"Typed right after another key; press {answer} again.")
            assert isinstance(user.app.screen, CommandDialog)
            await user.press("escape")
            await user.back()
    assert world.changing == []


@pytest.mark.parametrize("key", ["P", "t"])
async def test_what_takes_a_guard_away_or_loses_an_address_is_read_first(world: World, clock: Clock, key: str) -> None:
    native = booted(world, f"read-{key}")
    clock.now += DELAY
    if key == "P":
        world.provider.of("vm").protect(native, True)
    async with opened(world, world.app(pace=Pace())) as user:
        await asked(user, key, f"read-{key}")
        await typed(user, ("y", 0.79))
        assert said(user) == "Typed too soon after this was shown; press y again."
        assert world.changing == []
        await typed(user, ("y", 0.81 + 0.41))
        await user.back()
        await user.until(lambda: world.changing == ["vm protect" if key == "P" else "vm stop"])


async def test_enter_before_the_preview_of_a_stop_gets_an_explanation(world: World) -> None:
    """It does not cancel the dialog silently."""
    gate = threading.Event()

    async with opened(world, world.app(world.held(gate), pace=Pace())) as user:
        await user.go_to("db-replica")
        await user.press("t")
        await user.sees("Looking at what would be lost", "db-replica")
        dialog = cast(CommandDialog, user.app.screen)
        await user.press("enter")
        assert user.app.screen is dialog
        assert said(user) == "Typed before this was shown; press Enter again."
        gate.set()
        await typed(user, ("enter", 0.81))
        await user.back()
        await user.until(lambda: world.changing == ["vm stop"])


async def test_enter_at_the_end_of_a_word_changes_nothing(world: World) -> None:
    async with opened(world, world.app(pace=Pace())) as user:
        await asked(user, "t", "web-1")
        await typed(user, ("o", 0.1), ("p", 0.35), ("enter", 0.6))
        assert said(user) == "Typed right after another key; press Enter again."
        assert world.changing == []
        await typed(user, ("enter", 1.1))
        await user.back()
        await user.until(lambda: world.changing == ["vm stop"])


async def test_undo_is_confirmed_by_what_was_typed_after_it_was_painted(world: World) -> None:
    async with opened(world, world.app(pace=Pace())) as user:
        await user.run("vm tag web-1 a=b")
        await user.until(lambda: "z undoes it." in user.result)
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen))
        await typed(user, ("right", -0.2), ("enter", -0.1))
        assert said(user) == "Typed before this was shown; press Enter again."
        assert world.changing == ["vm tag"]
        await typed(user, ("enter", 0.1))
        await user.back()
        await user.until(lambda: len(world.changing) == 2)


async def test_a_dialog_is_read_again_after_it_was_covered_or_resized(world: World) -> None:
    async with opened(world, world.app(pace=Pace())) as user:
        dialog = await asked(user, "t", "web-2")
        first = dialog.painted
        await user.pilot.resize_terminal(100, 30)
        await user.until(lambda: dialog.painted not in (None, first))
        second = dialog.painted
        await user.press("ctrl+p")
        await user.until(lambda: user.app.screen is not dialog and user.app.screen.focused is not None)
        await user.press("escape")
        await user.until(lambda: user.app.screen is dialog and dialog.painted not in (None, second))
        await typed(user, ("enter", -0.01))
        assert said(user)
    assert world.changing == []


# --- the letter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "button"), [("d", "Delete  y"), ("t", "Stop  y"), ("T", "Tag"), ("b", "Boot")])
async def test_y_stands_on_the_button_that_it_presses(world: World, key: str, button: str) -> None:
    async with opened(world) as user:
        dialog = await asked(user, key, "gpu-train-01")
        assert str(dialog.query_one("#run", Button).label) == button
    assert world.changing == []


async def test_a_button_that_does_nothing_names_no_letter(world: World) -> None:
    async with opened(world) as user:
        dialog = await asked(user, "d", "db-primary")
        assert "There is nothing that this would act on." in user.window
        assert str(dialog.query_one("#run", Button).label) == "Delete"


async def test_no_other_letter_confirms_anything(world: World) -> None:
    letters = [letter for letter in string.ascii_letters + string.digits + " " if letter not in "ynq"]
    async with opened(world, world.app(pace=Pace())) as user:
        for key in ("d", "t", "o"):
            dialog = await asked(user, key, "gpu-train-01")
            await typed(user, *((letter, READ + number) for number, letter in enumerate(letters)))
            assert user.app.screen is dialog
            await user.press("escape")
            await user.back()
        await user.run("vm tag web-1 c=d")
        await user.until(lambda: "z undoes it." in user.result)
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen))
        await typed(user, *((letter, READ + number) for number, letter in enumerate(["y", *letters])))
        assert isinstance(user.app.screen, ChoiceScreen)
    assert world.changing == ["vm tag"]
