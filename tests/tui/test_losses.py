"""The dashboard shows what a stop, an undo or a deletion loses before it is done, and guards production."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from textual.widgets import Button, Input

from backend.commands.grammar import parse
from backend.commands.run import execute
from backend.config import Cloud
from backend.errors import CloudError
from backend.journal.entry import plan
from backend.kinds.vm import VM
from backend.providers import registry
from backend.providers.protocol import Page, Provider
from tests.tui.dashboard import DELAY, Clock, Noting, User, World, booted, opened
from tui.screens.choice import ChoiceScreen
from tui.screens.dialog import CommandDialog

pytestmark = pytest.mark.thorough


def item(world: World, native: str) -> dict[str, Any]:
    found: dict[str, Any]
    ((found,),) = world.provider.of("vm").list([native])
    return found


async def choosing(user: User) -> None:
    await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.focused is not None)


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_a_plain_stop_says_what_goes_and_a_start_what_does_not_come_back(world: World, clock: Clock) -> None:
    async with opened(world) as user:
        native = await user.go_to("web-2")
        address = item(world, native)["public_ip"]
        await user.press("t")
        dialog = await user.dialog("vm stop")
        await user.sees(
            f"public address {address} is not elastic: it is lost",
            "its volume, 8 GiB, still billed",
        )
        assert dialog.focused is dialog.query_one("#run", Button)
        await user.press("enter")
        await user.back()
        await user.sees(f"Its public address {address} is gone")
        assert world.changing == ["vm stop"]
        clock.now += DELAY
        await user.until(lambda: user.named("web-2", "state") == "stopped")
        await user.press("escape", "z")
        await choosing(user)
        await user.sees(f"vm start {native}", f"Its public address {address} is gone")
        await user.press("right", "enter")
        await user.back()
        await user.sees(f"Its public address {address} of before the stop does not come back")
        clock.now += DELAY
        await user.until(lambda: user.named("web-2", "state") == "running")
        await user.press("escape", "z")  # a stop undoes a start, and loses something again
        await user.dialog("vm stop")
        await user.sees(f"public address {item(world, native)['public_ip']} is not elastic")
        await user.press("escape")
        await user.back()
    assert world.changing == ["vm stop", "vm start"]


def left_unfinished(world: World, clock: Clock, name: str, flavor: str = "") -> tuple[str, str]:
    """Leave a stop and a start in the journal; return the ids of the VM that runs and of the one that rests."""
    runs, rests = booted(world, f"{name} runs"), booted(world, f"{name} rests", flavor)
    clock.now += DELAY
    world.provider.of("vm").stop(rests)
    clock.now += DELAY
    execute(parse(["vm", "refresh"]), world.session())
    for entry in plan(world.cache, world.home, [(world.scope, f"vm start {rests}"), (world.scope, f"vm stop {runs}")]):
        world.cache.journal.set(entry.token, {"owner": ""})  # as a process that was killed leaves it
    return runs, rests


async def resume_both(user: User, world: World, clock: Clock, runs: str, rests: str) -> None:
    """Carry out what is left in the journal, and wait until both VMs have settled."""
    await user.run("journal resume")
    await user.dialog("journal resume")
    await user.type("2", "enter")
    await user.back()
    await user.until(lambda: sorted(world.changing) == ["vm start", "vm stop"])
    await user.sees("2 done.")
    clock.now += DELAY
    settled = {(runs, "stopped"), (rests, "running")}
    await user.until(lambda: settled <= {(VM.value(row, "id"), VM.value(row, "state")) for row in user.rows("vm")})
    await user.press("escape")


@pytest.mark.parametrize(("flavor", "store"), [("", ""), ("g5.2xlarge", "instance store of g5.2xlarge, 450 GB")])
async def test_an_undo_of_several_commands_undoes_each_and_says_what_each_loses(
    world: World, clock: Clock, flavor: str, store: str
) -> None:
    """What a resume has run may be undone by a stop and a start: no dialog of one does the other."""
    runs, rests = left_unfinished(world, clock, flavor or "plain", flavor)
    before = item(world, runs)["public_ip"]
    async with opened(world) as user:
        await resume_both(user, world, clock, runs, rests)
        await user.press("z")
        await choosing(user)
        await user.sees(f"vm stop {rests}", f"vm start {runs}")
        shown = " ".join(user.body.split())
        assert f"Its public address {before} is gone" in shown
        assert f"public address {item(world, rests)['public_ip']} is not elastic: it is lost" in shown
        assert store in shown
        assert isinstance(user.app.screen, ChoiceScreen)
        assert user.app.screen.destroys == bool(store)
        await user.press("escape")
        await user.back()
    assert sorted(world.changing) == ["vm start", "vm stop"]


class Silent(Noting):
    """A provider that lists no single VM while the test says so."""

    def __init__(self, provider: Provider, changing: list[str], silent: threading.Event) -> None:
        super().__init__(provider, changing)
        self._silent = silent

    def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        if ids and self._silent.is_set():
            raise CloudError("The cloud lists no VM.", "Try again.")
        pages: Iterator[Page] = self.real.of("vm").list(ids, keypair)
        return pages


async def test_an_undo_is_not_offered_while_it_is_not_known_what_it_loses(world: World, clock: Clock) -> None:
    runs, rests = left_unfinished(world, clock, "silent")
    silent = threading.Event()

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Silent(registry.connect(cloud, *hooks), world.changing, silent))

    async with opened(world, world.app(connect)) as user:
        await resume_both(user, world, clock, runs, rests)
        silent.set()
        await user.press("z")
        await user.sees(f"vm stop {rests} was not run, because it is not known what it would lose")
        assert user.app.screen is user.app.main
        silent.clear()
        await user.press("escape", "z")
        await choosing(user)
        await user.press("escape")
        await user.back()
    assert sorted(world.changing) == ["vm start", "vm stop"]


@pytest.mark.parametrize("asked", ["key", "line"])
async def test_a_stop_that_loses_data_is_not_confirmed_by_enter(world: World, asked: str) -> None:
    async with opened(world) as user:
        await user.go_to("gpu-train-01")
        if asked == "key":
            await user.press("t")
        else:
            await user.run("vm stop gpu-train-01")
        dialog = await user.dialog("vm stop")
        await user.sees("Is lost", "instance store of g5.2xlarge, 450 GB, and all that is on it")
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await user.press("enter")
        await user.back()
    assert world.changing == []


async def test_a_stop_in_an_auto_scaling_group_says_that_the_vm_is_deleted(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to("worker")
        await user.run(f"vm stop {native}")
        await user.dialog("vm stop")
        await user.sees("Auto Scaling group workers deletes a stopped VM and boots another.")
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_deleting_names_the_instance_store(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("gpu-train-01")
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees("Goes with it", "instance store of g5.2xlarge, 450 GB")
        await user.press("escape")
        await user.back()
    assert world.changing == []


# --- confirmed by what is typed ---------------------------------------------------------------------------------------


async def confirm(user: User, dialog: CommandDialog, text: str) -> None:
    """Type what confirms a deletion, and Enter."""
    field = dialog.query_one("#confirm", Input)
    field.focus()
    await user.until(lambda: field.has_focus)
    field.clear()
    await user.type(text, "enter")


async def test_several_production_vms_want_each_name(world: World) -> None:
    async with opened(world) as user:
        for name in ("web-2", "db-replica", "ci-runner-1"):
            await user.go_to(name)
            await user.press("space")
        await user.press("d")
        dialog = await user.dialog("vm delete")
        words = "3 " + " ".join(one for one in user.column() if one in ("web-2", "db-replica"))
        await user.sees(f"To confirm, type: {words}", f"Type {words} to confirm:")
        for wrong in ("3", "3 web-2", words.removeprefix("3 ")):
            await confirm(user, dialog, wrong)
            await user.sees(f"Type {words} to confirm it; Esc cancels.")
            assert world.changing == []
        await confirm(user, dialog, words)
        await user.back()
        await user.until(lambda: len(world.changing) == 3)
    assert world.changing == ["vm delete"] * 3


async def test_more_names_than_the_line_has_room_for_stand_above_it(world: World, clock: Clock) -> None:
    names = ["production-database-primary-eu", "production-database-replica-eu"]
    for name in names:
        world.provider.of("vm").tag(booted(world, name), "env", "prod")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        for name in names:
            await user.go_to(name)
            await user.press("space")
        await user.press("d")
        dialog = await user.dialog("vm delete")
        first, second = (one for one in user.column() if one in names)
        await user.sees("To confirm, type: 2 production-database-", "Type 2 and the 2 names, as above, to confirm:")
        await confirm(user, dialog, f"2 {first} {second}")
        await user.back()
        await user.until(lambda: len(world.changing) == 2)
    assert world.changing == ["vm delete"] * 2


async def test_what_became_production_while_its_dialog_stood_open_wants_its_name(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to("class-student-07")
        await user.press("d")
        await user.dialog("vm delete")
        world.provider.of("vm").tag(native, "env", "prod")
        await user.press("y")
        await user.sees("class-student-07", "is tagged as production (env=prod)", "nothing was done")
        await user.dialog("vm delete")
        await user.sees("Type class-student-07 to confirm:")
        await user.press("escape")
        await user.back()
        world.provider.of("vm").untag(native, "env")
    assert world.changing == []


async def test_a_volume_that_may_hold_data_wants_its_name(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        native = await user.go_to("scratch")
        await user.press("d")
        dialog = await user.dialog("volume delete")
        await user.sees("Type scratch to confirm:")
        await user.press("y")
        await confirm(user, dialog, "y")
        await user.sees("Type scratch to confirm it; Esc cancels.")
        assert world.changing == []
        await confirm(user, dialog, native)
        await user.back()
        await user.until(lambda: user.named("scratch", "id", "volume") is None)
    assert world.changing == ["volume delete"]
