"""Typed commands: on the `:` line, with its history and completion, and in the palette."""

import re

import pytest
from textual.command import CommandList
from textual.widgets import Button, Input

from tests.tui.dashboard import DELAY, Clock, World, booted, opened, palette
from tui.screens.details import DetailsScreen
from tui.widgets.commandline import CommandLine
from tui.widgets.status import MessageBar

# --- the command line -------------------------------------------------------------------------------------------------


async def test_a_typed_command_runs_and_up_brings_it_back(world: World) -> None:
    async with opened(world) as user:
        await user.run("volume list")
        await user.until(lambda: user.app.main.kind == "volume")
        await user.run("keypair list")
        await user.until(lambda: user.app.main.kind == "keypair")
        line = user.app.main.query_one(CommandLine)
        assert not line.display
        await user.type(":vm", "up")
        assert line.value == "keypair list"
        await user.press("up")
        assert line.value == "volume list"
        await user.press("down", "down")
        assert line.value == "vm"
        await user.press("escape")
        assert not line.display
        assert user.app.main.focused is user.table


async def test_tab_completes_words_names_and_ids(world: World) -> None:
    async with opened(world) as user:
        line = user.app.main.query_one(CommandLine)
        await user.type(":vol", "tab")
        assert line.value == "volume "
        await user.type("del", "tab")
        assert line.value == "volume delete "
        await user.type("scr", "tab")
        assert line.value == "volume delete scratch "
        await user.press("ctrl+u")
        await user.type("vm st", "tab")
        assert line.value == "vm start"
        await user.press("tab")
        assert line.value == "vm stop"
        await user.press("shift+tab")
        assert line.value == "vm start"
        await user.press("ctrl+u")
        await user.type("set default cl", "tab")
        assert line.value == "set default cloud=demo"
        await user.press("escape")
        assert user.app.main.focused is user.table


async def test_an_unknown_command_is_answered_with_the_nearest_and_escape_dismisses(world: World) -> None:
    async with opened(world) as user:
        bar = user.app.main.query_one(MessageBar)
        await user.run("vm bott")
        await user.sees("There is no command 'vm bott'. Did you mean 'vm boot'?", "Esc dismisses.")
        await user.press("escape")
        assert not bar.display
        await user.loses("vm bott")
        await user.run("vm stop 'no such vm'")
        await user.sees("There is no vm 'no such vm' in cloud demo, region us-east-1".replace("no vm", "no VM"))
        await user.pilot.click(MessageBar)
        await user.until(lambda: not bar.display)
    assert world.changing == []


@pytest.mark.parametrize("how", ["pilot", "burst"])
async def test_letters_typed_right_after_the_colon_are_in_the_line(world: World, how: str) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        line, at, order = user.app.main.query_one(CommandLine), user.at, user.column()
        if how == "pilot":
            await user.pilot.press(*":vm stop db-replica")
        else:
            user.send(":vm stop db-replica")
        await user.until(lambda: line.value == "vm stop db-replica")
        assert user.app.screen is user.app.main
        assert (user.at, user.column(), user.table.rows.marks) == (at, order, 0)
        await user.press("escape")
    assert world.changing == []


async def test_letters_typed_right_after_the_slash_are_in_the_filter(world: World) -> None:
    async with opened(world) as user:
        user.send("/db s")
        await user.until(lambda: user.app.main.query_one("#filter", Input).value == "db s")
        assert user.app.screen is user.app.main
        assert user.table.rows.column is None


async def test_keypair_and_volume_by_the_command_line(world: World) -> None:
    async with opened(world) as user:
        await user.run("keypair create laptop")
        await user.until(lambda: user.named("laptop", "id", "keypair"))
        keypair = user.named("laptop", "id", "keypair")
        path = world.home / "keys" / "demo" / "us-east-1" / "laptop.pem"
        await user.until(lambda: user.result == f"Keypair laptop created; its private key is {path}. 4 goes to it.")
        assert "PRIVATE KEY" in path.read_text()
        await user.run("keypair get laptop")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees("private_key", "laptop.pem")
        await user.press("escape")
        await user.run("keypair delete laptop")
        dialog = await user.dialog("keypair delete")
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await user.press("y")
        await user.until(lambda: user.named("laptop", "id", "keypair") is None)
        await user.run("volume create 'my data' --size 7")
        await user.until(lambda: user.named("my data", "size", "volume") == 7)
        native = user.named("my data", "id", "volume")
        await user.run(f"volume delete {native}")
        await user.dialog("volume delete")
        await user.press("y")
        await user.until(lambda: user.named("my data", "id", "volume") is None)
    assert world.changing == ["keypair create", "keypair delete", "volume create", "volume delete"]
    outcomes = [(entry["command"], entry["outcome"]) for entry in reversed(world.cache.journal.newest())]
    assert outcomes == [
        ("keypair create laptop", "done"),
        (f"keypair delete {keypair}", "done"),
        ("volume create 'my data' --size 7", "done"),
        (f"volume delete {native}", "done"),
    ]


# --- the palette ------------------------------------------------------------------------------------------------------


async def test_the_palette_finds_a_vm_by_name_and_stops_it(world: World, clock: Clock) -> None:
    booted(world, "palette-vm")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.until(lambda: user.named("palette-vm", "state") == "running")
        await palette(user, "vm stop palette-vm", "vm stop palette-vm")
        await user.press("enter")
        await user.dialog("vm stop")  # what changes something shows it first, if it was picked and not typed
        await user.sees("palette-vm")
        assert world.changing == []
        await user.press("enter")
        await user.back()
        await user.until(lambda: user.named("palette-vm", "state") == "stopping")
        assert world.changing == ["vm stop"]
        clock.now += DELAY
        await user.until(lambda: user.named("palette-vm", "state") == "stopped")
        await palette(user, "delete palette-vm", "vm delete palette-vm")
        await user.press("enter")
        await user.dialog("vm delete")  # what destroys asks, however it was chosen
        await user.press("enter")
        await user.back()
    assert world.changing == ["vm stop"]


async def test_the_palette_offers_only_what_fits_the_state_of_a_vm(world: World) -> None:
    async with opened(world) as user:
        await palette(user, "gpu-train-02", "gpu-train-02")
        found = user.app.screen.query_one(CommandList)
        entries = [str(found.get_option_at_index(index).prompt) for index in range(found.option_count)]
        verbs = {verb for entry in entries for verb in re.findall(r"vm (\w+)", entry)}
        assert verbs == {"start", "delete", "protect", "unprotect", "tag", "console"}
        await user.press("escape")


async def test_the_palette_does_not_offer_an_action_in_flight(world: World, clock: Clock) -> None:
    native = booted(world, "palette-vm")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.until(lambda: user.named("palette-vm", "state") == "running")
        await user.run(f"vm reboot {native}")
        await user.until(lambda: user.named("palette-vm", "flight"))
        await palette(user, "palette-vm", "palette-vm")
        found = user.app.screen.query_one(CommandList)
        entries = [str(found.get_option_at_index(index).prompt) for index in range(found.option_count)]
        assert any("vm stop palette-vm" in entry for entry in entries)
        assert not any("vm reboot palette-vm" in entry for entry in entries)
        await user.press("escape")
