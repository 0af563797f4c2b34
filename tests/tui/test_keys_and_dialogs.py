"""Keys that change a cloud, and their dialogs: nothing is done before a yes."""

import re
import string

import pytest
from textual.widgets import Button, OptionList

from backend.catalog import KINDS
from backend.commands.table import COMMANDS
from tests.tui.dashboard import DELAY, Clock, World, booted, opened
from tui.screens.details import DetailsScreen
from tui.screens.journal import JournalScreen
from tui.screens.text import TextScreen
from tui.widgets.status import WorkLine

pytestmark = pytest.mark.thorough

# --- VMs by key -------------------------------------------------------------------------------------------------------


def listed_state(world: World, vm: str) -> str | None:
    """Return a VM as it is in the cloud."""
    items = [item for page in world.provider.of("vm").list([vm]) for item in page]
    return items[0]["state"] if items else None


async def test_boot_by_key_with_a_name_then_pending_then_running(world: World, clock: Clock) -> None:
    async with opened(world) as user:
        await user.press("b")
        dialog = await user.dialog("vm boot")
        assert dialog.focused is user.field("name")  # image and the others come from the configuration
        assert user.field("image").value == world.cloud.default.image
        assert user.field("keypair").value == "demo"
        await user.type("fresh one", "enter")
        await user.back()
        await user.until(lambda: user.named("fresh one", "state") == "pending")
        await user.until(lambda: re.search(r"◐ pending +pending \d s", user.line("fresh one")))
        await user.until(lambda: re.search(r"pending [1-9] s", user.line("fresh one")))  # the seconds go on
        await user.until(lambda: "fresh one" in user.result)
        clock.now += DELAY
        await user.until(lambda: user.named("fresh one", "state") == "running")
        await user.until(lambda: user.named("fresh one", "flight") is None)
        await user.until(lambda: user.result == "fresh one is running.")
        assert re.search(r"● running +t3\.micro", user.line("fresh one"))
        native = user.named("fresh one", "id")
    assert world.changing == ["vm boot"]
    [entry] = world.cache.journal.newest()
    assert (entry["outcome"], entry["objects"]) == ("done", [native])


@pytest.mark.parametrize(
    ("name", "key", "before", "call", "between", "after"),
    [
        ("stop", "t", "running", "vm stop", "stopping", "stopped"),
        ("start", "u", "stopped", "vm start", "pending", "running"),
        ("reboot", "o", "running", "vm reboot", "rebooting", None),  # its flight lasts four seconds, whatever EC2 says
    ],
)
async def test_stop_start_and_reboot_by_key_and_dialog(  # noqa: PLR0917
    world: World, clock: Clock, name: str, key: str, before: str, call: str, between: str, after: str | None
) -> None:
    native = booted(world, f"to {name}")
    clock.now += DELAY
    if before == "stopped":
        world.provider.of("vm").stop(native)
        clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.go_to(f"to {name}")
        await user.until(lambda: user.named(f"to {name}", "state") == before)
        await user.press(key)
        dialog = await user.dialog(f"vm {name}")
        await user.sees(f"to {name}", native, "Cancel", name.capitalize())
        await user.press("left")
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await user.press("enter")
        await user.back()
        assert world.changing == []
        await user.press(key)
        await user.dialog(f"vm {name}")
        await user.press("escape")
        await user.back()
        assert world.changing == []
        await user.press(key)
        dialog = await user.dialog(f"vm {name}")
        assert dialog.focused is dialog.query_one("#run", Button)
        await user.press("enter")
        await user.back()
        state = between if after else before  # EC2 says `running` all through a reboot
        await user.until(lambda: re.search(rf"{state} +{before} → {between} \d s", user.line(f"to {name}")))
        assert user.named(f"to {name}", "state") == state
        if after:
            clock.now += DELAY
            await user.until(lambda: user.named(f"to {name}", "state") == after)
            await user.until(lambda: user.result == f"to {name} is {after}.")
            assert listed_state(world, native) == after
    assert world.changing == [call]


async def test_delete_has_cancel_focused_and_y_deletes(world: World, clock: Clock) -> None:
    native = booted(world, "doomed")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.go_to("doomed")
        await user.until(lambda: user.named("doomed", "state") == "running")
        for no in ("enter", "escape", "n"):
            await user.press("d")
            dialog = await user.dialog("vm delete")
            assert dialog.focused is dialog.query_one("#cancel", Button)
            await user.sees("doomed", native, "Terminate a VM; it cannot be brought back.")
            await user.press(no)
            await user.back()
        assert world.changing == []
        assert listed_state(world, native) == "running"
        await user.press("d")
        await user.dialog("vm delete")
        await user.press("y")
        await user.back()
        await user.until(lambda: user.named("doomed", "state") == "shutting-down")
        clock.now += DELAY
        await user.until(lambda: user.named("doomed", "state") == "terminated")
        await user.sees("✕ terminated")
    assert world.changing == ["vm delete"]


async def test_delete_of_several_marked_rows_shows_them_all_and_their_volumes(world: World, clock: Clock) -> None:
    natives = {name: booted(world, name) for name in ("pair-1", "pair-2")}
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        for name in natives:
            await user.go_to(name)
            await user.press("space")
        await user.go_to("db-primary")  # marks count, not the cursor
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees(
            "pair-1", "pair-2", *natives.values(), "2 VMs: 0.0208 USD/hour", "Type 2 to confirm:", "Delete 2"
        )
        assert "db-primary" not in user.window
        for wrong in ("enter", "1"):  # nothing typed, or something else: nothing is done
            await user.press(wrong, "enter")
            await user.sees("Type 2 to confirm it; Esc cancels.")
        assert world.changing == []
        await user.press("backspace")
        await user.type("2", "enter")
        await user.back()
        await user.until(lambda: user.result == "vm delete: 2 done.")
        assert {user.named(name, "state") for name in natives} == {"shutting-down"}
        assert user.named("db-primary", "state") == "running"
    assert world.changing == ["vm delete", "vm delete"]


async def test_a_dialog_names_the_volumes_that_hang_on_what_is_deleted(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("db-replica")
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees(
            "Goes with it", "50 GiB", "Stays", "volume db-replica-data", "500 GiB", "Type db-replica to confirm"
        )
        await user.press("escape")
        await user.back()
    assert world.changing == []


# --- no letter changes anything ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_only_reads_or_opens_a_dialog_and_no_letter_changes_the_cloud(world: World, kind: str) -> None:
    index = KINDS[kind].index
    async with opened(world) as user:
        await user.show(kind)
        keyed = [one for one in COMMANDS if one.key and (not one.on or kind in one.on)]
        for one in keyed:
            fits = (row for row in user.rows(kind) if not one.impossible_in & {row[index.get("state", 0)]})
            user.table.move_to(KINDS[kind].ref(next(fits)))
            await user.pilot.pause(0)
            await user.press(one.key)
            if one.effect != "reads" or one.asks:
                await user.dialog(one.name)
            elif one.shows == "journal":
                await user.until(lambda: isinstance(user.app.screen, JournalScreen))
            elif one.opens:
                await user.until(lambda: isinstance(user.app.screen, DetailsScreen | TextScreen))
            elif kind != "image" or one.refreshes:  # once is enough for the long one
                await user.until(lambda: user.result)
            if user.app.screen is not user.app.main:
                await user.press("escape")
                await user.back()
        for letter in set(string.ascii_letters) - {"q", *(one.key for one in keyed)}:
            await user.press(letter)
            if user.app.screen is not user.app.main:
                await user.press("escape")
                await user.back()
        assert user.app.main.kind == kind
        await user.press("x")
        await user.until(lambda: not user.app.main.query_one(WorkLine).display)
    assert world.changing == []


@pytest.mark.parametrize(("keys", "name"), [("ty", "vm stop"), ("dy", "vm delete"), ("ody", "vm reboot")])
async def test_keys_typed_before_a_dialog_is_seen_say_yes_to_nothing(world: World, keys: str, name: str) -> None:
    async with opened(world) as user:
        await user.go_to("db-primary")
        user.send(keys)
        await user.dialog(name)
        await user.press("escape")
        await user.back()
        await user.press("x")  # after all that was typed
        await user.until(lambda: user.result)
    assert world.changing == []


# --- dialogs ----------------------------------------------------------------------------------------------------------


async def test_what_a_field_names_can_be_picked(world: World) -> None:
    image = KINDS["image"]
    async with opened(world) as user:
        wanted = next(row for row in user.rows("image") if str(image.value(row, "name")).startswith("gpu-lab-cuda13"))
        await user.press("b")
        dialog = await user.dialog("vm boot")
        await user.press("up")
        await user.until(lambda: user.field("image").has_focus)
        await user.press("ctrl+u")
        await user.type("CUDA13 gpu")
        picks = dialog.query_one("#picks", OptionList)
        await user.until(lambda: picks.display and picks.option_count == 2)
        await user.sees(str(image.value(wanted, "id")))
        await user.press("down")
        await user.until(lambda: picks.has_focus)
        await user.press("enter")
        await user.until(lambda: user.field("image").value == image.value(wanted, "id"))
        await user.until(lambda: user.field("image").has_focus)
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_a_dialog_says_what_is_wrong_with_a_field(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        await user.press("c")
        await user.dialog("volume create")
        await user.press("enter")
        await user.sees("volume create needs NAME.")
        await user.type("half", "down", "ctrl+u", "0", "enter")
        await user.sees("size must be at least 1, not 0.")
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_a_boot_without_its_keypair_offers_to_create_it_and_boots_then(world: World) -> None:
    async with opened(world) as user:
        await user.press("b")
        await user.dialog("vm boot")
        await user.type("keyless")
        user.field("keypair").focus()
        await user.press("ctrl+u")
        await user.type("brand-new", "enter")
        await user.until(lambda: "keypair create" in user.screen and "There is no keypair 'brand-new'" in user.screen)
        assert world.changing == []
        await user.dialog("keypair create")
        assert user.field("name").value == "brand-new"
        await user.press("enter")
        await user.until(lambda: user.named("keyless", "keypair") == "brand-new")
        assert user.named("brand-new", "id", "keypair")
        key = world.home / "keys" / "demo" / "us-east-1" / "brand-new.pem"
        assert key.stat().st_mode & 0o777 == 0o600
    assert world.changing == ["keypair create", "vm boot"]


async def test_a_boot_whose_keypair_is_not_created_boots_nothing(world: World) -> None:
    async with opened(world) as user:
        await user.run(f"vm boot {world.cloud.default.image} --keypair missing")
        await user.dialog("keypair create")
        await user.press("escape")
        await user.back()
        await user.until(lambda: not user.app.main.query_one(WorkLine).display)
    assert world.changing == []


@pytest.mark.parametrize("times", [2, 6])
@pytest.mark.parametrize(
    ("kind", "key", "call"),
    [("vm", "b", "vm boot"), ("keypair", "c", "keypair create"), ("volume", "c", "volume create")],
)
async def test_enter_pressed_more_than_once_in_a_field_does_it_once(
    world: World, kind: str, key: str, call: str, times: int
) -> None:
    name = f"{kind} {times} times"  # the disk of a VM has the name of the VM
    async with opened(world) as user:
        await user.show(kind)
        await user.press(key)
        await user.dialog(f"{kind} {'boot' if kind == 'vm' else 'create'}")
        await user.type(name)
        user.send(["enter"] * times)
        await user.until(lambda: user.named(name, "id", kind) is not None)
        await user.until(lambda: name in user.result or name in user.screen)
        assert user.app.is_running
    assert world.changing == [call]
    assert [entry["outcome"] for entry in world.cache.journal.newest()] == ["done"]


async def test_a_count_confirmed_twice_deletes_once(world: World) -> None:
    names = ("pair-1", "pair-2")
    natives = {booted(world, name) for name in names}
    async with opened(world) as user:
        await user.press("r")
        for name in names:
            await user.go_to(name)
            await user.press("space")
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees("Type 2 to confirm")
        await user.type("2")
        user.send(["enter", "enter"])
        await user.until(lambda: {listed_state(world, native) for native in natives} <= {"shutting-down", "terminated"})
        await user.until(lambda: "2 done" in user.result)
        assert user.app.screen is user.app.main
    assert world.changing == ["vm delete"] * 2


async def test_a_bug_that_ends_the_dashboard_is_not_a_success(world: World) -> None:
    app = world.app()

    async def fails() -> None:
        async with opened(world, app) as user:
            app.call_later(lambda: 1 / 0)
            await user.until(lambda: app.return_code is not None)

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert app.return_code == 1
