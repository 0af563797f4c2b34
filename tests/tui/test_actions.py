"""Actions of the dashboard on clouds: previews, bulk, failures, undo, the journal, what a killed run left."""

import asyncio
import csv
import gc
import threading
from io import StringIO
from typing import Any, cast

import pytest
from textual.widgets import Button, Input

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.run import execute
from backend.commands.table import command
from backend.config import Cloud
from backend.errors import CloudError
from backend.journal.entry import plan
from backend.kinds.model import Scope
from backend.providers import registry
from backend.providers.protocol import Boot, Item, Provider
from backend.session import SettingChange
from tests.faces import Faces
from tests.tui.dashboard import DELAY, Clock, Noting, User, World, opened
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.journal import JournalScreen
from tui.widgets.status import WorkLine
from tui.widgets.tick import Tick

pytestmark = pytest.mark.thorough


def booted(world: World, clock: Clock, *names: str) -> list[str]:
    """Boot VMs without the dashboard, wait until they run, and return their ids."""
    default = world.cloud.default
    made = []
    for name in names:
        boot = Boot(default.image or "", world.cloud.flavor, token=name, keypair=default.keypair, name=name)
        made.append(str(world.provider.of("vm").boot(boot)["id"]))
    clock.now += DELAY
    return made


def states(world: World, ids: list[str]) -> list[str]:
    found = {item["id"]: item["state"] for page in world.provider.of("vm").list(ids) for item in page}
    return [found[native] for native in ids]


async def marked(user: User, *names: str) -> None:
    """Refresh and show the VMs, wait for the message of the refresh, and mark some."""
    await user.press("r")
    await user.until(lambda: user.result.startswith("vms:") or "under way already" in user.result)
    for name in names:
        await user.go_to(name)
        await user.until(lambda name=name: user.named(name, "state") == "running")  # type: ignore[misc]
        await user.press("space")


class Failing(Noting):
    """A provider that refuses to stop some VMs."""

    def __init__(self, provider: Provider, changing: list[str], names: set[str]) -> None:
        super().__init__(provider, changing)
        self._refused = names

    def vm_stop(self, vm: str) -> Any:
        if vm in self._refused:
            raise CloudError(f"Stopping VM {vm} failed: today is Sunday.")
        return self.real.of("vm").stop(vm)


# --- what is confirmed is what is done --------------------------------------------------------------------------------


async def test_protected_vms_are_shown_and_left_out_with_the_reason(world: World, clock: Clock) -> None:
    ids = booted(world, clock, "keep", "drop-1", "drop-2")
    async with opened(world) as user:
        await marked(user, "keep")
        await user.press("p")
        await user.dialog("vm protect")
        await user.press("enter")
        await user.back()
        await user.until(lambda: user.named("keep", "protected"))
        assert "protected" in user.line("keep")
        await marked(user, "keep", "drop-1", "drop-2")
        await user.press("d")
        dialog = await user.dialog("vm delete")
        await user.sees("2 VMs:", "Left out: 1", f"keep ({ids[0]}): it is protected", "Type 2 to confirm:", "Delete 2")
        assert dialog.query_one("#confirm", Input).has_focus
        await user.type("2", "enter")
        await user.back()
        await user.until(lambda: user.result == "vm delete: 2 done.")
    assert states(world, ids) == ["running", "shutting-down", "shutting-down"]
    assert sorted(world.changing) == ["vm delete", "vm delete", "vm protect"]


async def test_a_refresh_behind_a_dialog_changes_nothing_that_is_confirmed(world: World, clock: Clock) -> None:
    shown, other = booted(world, clock, "shown", "other")
    async with opened(world) as user:
        await marked(user)
        await user.go_to("shown")
        await user.press("d")
        await user.dialog("vm delete")
        assert shown in user.window
        # Its row is called otherwise, its neighbour goes, others come, and the cursor moves.
        vm = KINDS["vm"]
        row = {column.name: user.named("shown", column.name) for column in vm.listed}
        world.cache.rows.put(
            vm, world.scope, [{**row, "name": "renamed"}, {"id": "i-new", "name": "shown", "state": "running"}]
        )
        world.cache.rows.remove(vm, world.scope, [other])
        await user.until(lambda: user.named("shown", "id") == "i-new" and not user.named("other", "id"))
        user.app.main.table.move_to(user.ref("i-new"))
        assert shown in user.window
        assert other not in user.window
        await user.press("y")
        await user.back()
        await user.until(lambda: states(world, [shown, other]) == ["shutting-down", "running"])
    assert world.changing == ["vm delete"]


async def test_nothing_can_be_confirmed_before_the_preview_is_there(world: World, clock: Clock) -> None:
    booted(world, clock, "slow")
    gate = threading.Event()

    async with opened(world, world.app(world.held(gate))) as user:
        await marked(user)
        await user.go_to("slow")
        await user.press("d")
        await user.sees("Looking at what would be lost", "slow")
        assert user.app.screen.query_one("#run", Button).disabled
        await user.press("y", "enter")  # Enter is Cancel
        await user.back()
        await user.press("d")
        await user.sees("Looking at what would be lost")
        await user.press("y", "y")
        gate.set()
        await user.dialog("vm delete")
        await user.sees("Goes with it")
        assert world.changing == []
        await user.press("y")
        await user.back()
        await user.until(lambda: world.changing == ["vm delete"])


async def test_without_a_preview_nothing_can_be_destroyed(world: World, clock: Clock) -> None:
    booted(world, clock, "unseen")

    class Blind(Noting):
        def vm_list(self, ids: Any = (), keypair: str = "") -> Any:
            if ids:
                raise CloudError("Listing VMs failed: no.")
            return self.real.of("vm").list(ids, keypair)

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Blind(registry.connect(cloud, *hooks), world.changing))

    async with opened(world, world.app(connect)) as user:
        await marked(user)
        await user.go_to("unseen")
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees("It cannot be shown what would be lost, so nothing can be done. Listing VMs failed: no.")
        await user.press("y")
        assert user.app.screen.query_one("#run", Button).disabled
        await user.press("escape")
        await user.back()
    assert world.changing == []


async def test_a_dialog_open_while_the_cloud_is_switched_does_nothing(world: World, clock: Clock) -> None:
    booted(world, clock, "elsewhere")
    async with opened(world) as user:
        await marked(user)
        await user.go_to("elsewhere")
        await user.press("d")
        await user.dialog("vm delete")
        session = user.app.session
        assert session is not None
        user.app.apply(SettingChange(scopes=(Scope("demo-west", "us-west-2"),)))
        await user.press("y")
        await user.back()
        await user.sees("The cloud was switched meanwhile, so nothing was done.")
    assert world.changing == []


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_partial_failures_are_reported_listed_and_repeated_alone(world: World, clock: Clock) -> None:
    ids = booted(world, clock, "sun-1", "sun-2", "sun-3")
    refused = set(ids[:2])

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        return cast(Provider, Failing(registry.connect(cloud, *hooks), world.changing, refused))

    async with opened(world, world.app(connect)) as user:
        await marked(user, "sun-1", "sun-2", "sun-3")
        await user.press("t")
        await user.dialog("vm stop")
        await user.press("enter")
        await user.back()
        await user.sees("vm stop: 2 of 3 failed.", "today is Sunday", "F lists each")
        assert [user.named(name, "flight") is None for name in ("sun-1", "sun-2", "sun-3")] == [True, True, False]
        await user.press("F")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.sees("vm stop: 2 failed, 1 done", f"vm stop {ids[0]}", f"vm stop {ids[1]}", f"vm stop {ids[2]}")
        await user.press("enter")  # Close
        await user.back()
        refused.clear()
        await user.press("F")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.press("right", "enter")
        await user.back()
        await user.until(lambda: user.result.startswith("vm stop: 2 done."))
        clock.now += DELAY
    assert states(world, ids) == ["stopped"] * 3


async def test_a_key_and_a_yes_undo_the_last_command(world: World, clock: Clock) -> None:
    ids = booted(world, clock, "back-1", "back-2")
    async with opened(world) as user:
        await user.press("z")
        await user.until(lambda: user.result == "There is nothing to undo.")
        await user.press("escape")  # what is typed right after it is not taken for something else then
        await marked(user, "back-1", "back-2")
        await user.press("T")
        await user.dialog("vm tag")
        await user.type("owner=ann", "enter")
        await user.back()
        await user.until(lambda: user.result == "vm tag: 2 done. z undoes it.")
        assert tags(world, ids) == [{"owner": "ann"}] * 2
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.sees(f"vm untag {ids[0]} owner", "back-1", "back-2")
        await user.press("enter")  # Cancel
        await user.back()
        assert tags(world, ids) == [{"owner": "ann"}] * 2
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)
        await user.press("right", "enter")
        await user.back()
        await user.until(lambda: tags(world, ids) == [{}, {}])


def tags(world: World, ids: list[str]) -> list[dict[str, str]]:
    """Return the tags of VMs, but for their names."""
    found = {item["id"]: item["tags"] for page in world.provider.of("vm").list(ids) for item in page}
    return [{key: value for key, value in found[native].items() if key != "Name"} for native in ids]


async def test_marked_rows_are_exported_into_one_file(world: World) -> None:
    async with opened(world) as user:
        for name in ("web-1", "web-2"):
            await user.go_to(name)
            await user.press("space")
        await user.press("e")
        await user.dialog("vm export")
        path = world.home / "rows.csv"
        await user.type(str(path), "enter")
        await user.back()
        await user.until(lambda: user.result == f"2 VMs written to {path}." or path.exists())
        await user.until(lambda: path.exists() and len(path.read_text().splitlines()) == 3)
    assert [row["name"] for row in csv.DictReader(StringIO(path.read_text()))] == ["web-1", "web-2"]
    assert world.changing == []
    assert world.cache.journal.newest() == []


async def test_500_vms_are_acted_on_while_the_screen_stays_alive(world: World) -> None:
    """With a fake cloud instead of moto: the longest wait of the loop is caused by the dashboard."""
    vm = KINDS["vm"]
    items = [{"id": f"i-{number:04}", "name": f"many-{number:04}", "state": "running"} for number in range(500)]
    world.cache.rows.put(vm, world.scope, items)
    cloud = Many({item["id"]: {**item, "extra": {}} for item in items})
    async with opened(world, world.app(lambda *_: cast(Provider, cloud), refresh=False)) as user:
        await user.type("/many-", "enter")
        await user.press("asterisk")
        await user.sees("500 marked")
        await user.press("t")
        await user.dialog("vm stop")
        gaps: list[float] = []
        stop = asyncio.Event()
        gc.collect()
        gc.freeze()  # as the program does at its start: what thousands of tests have left is not the dashboard's heap

        async def ticking() -> None:
            loop = asyncio.get_running_loop()
            while not stop.is_set():
                before = loop.time()
                await asyncio.sleep(0.005)
                gaps.append(loop.time() - before)

        ticker = asyncio.create_task(ticking())
        await user.press("enter")
        await user.back()
        await user.until(lambda: len(cloud.stopped) == 500, seconds=60)
        await user.until(lambda: not user.app.main.query_one(WorkLine).display)
        stop.set()
        await ticker
        gc.unfreeze()
        # Frozen is what a user would call a second; the figure itself is of the machine that tests run on.
        assert max(gaps) < 1.0
    assert sorted(cloud.stopped) == sorted(cloud.items)
    assert [entry["outcome"] for entry in world.cache.journal.newest(500)] == ["done"] * 500


class Many(Faces):
    """A cloud of running VMs that can be stopped."""

    def __init__(self, items: dict[str, Item]) -> None:
        super().__init__()
        self.items = items
        self.stopped: list[str] = []

    def vm_list(self, ids: Any = (), keypair: str = "") -> Any:  # noqa: ARG002
        yield [self.items[native] for native in ids or self.items if native in self.items]

    def vm_stop(self, vm: str) -> str:
        self.stopped.append(vm)
        self.items[vm] = {**self.items[vm], "state": "stopped"}
        return "stopping"


# --- in flight --------------------------------------------------------------------------------------------------------


async def test_a_vm_in_flight_says_what_and_refuses_the_same_and_explains_others(world: World, clock: Clock) -> None:
    (native,) = booted(world, clock, "flying")
    async with opened(world) as user:
        await marked(user)
        await user.until(lambda: user.named("flying", "state") == "running")
        await user.run("vm stop flying")
        await user.sees("running → stopping")
        await user.run("vm stop flying")
        await user.sees(f"flying ({native}) is stopping already (running → stopping")
        await user.press("escape")
        await user.run("vm start flying")
        await user.sees(f"flying ({native}) cannot be started now: its stop is under way")
        await user.press("escape")
    assert world.changing == ["vm stop"]


async def test_two_dashboards_act_on_the_same_vm_once(world: World, clock: Clock) -> None:
    (native,) = booted(world, clock, "shared")
    sessions = [world.session() for _ in range(2)]
    execute(parse(["vm", "refresh"]), sessions[0])
    both = threading.Barrier(2)
    said: list[str] = []

    def act(line: str) -> None:
        both.wait(10)
        try:
            said.append(execute(parse(split(line)), sessions.pop()).message)
        except CloudError as error:
            said.append(str(error))
        except Exception as error:  # noqa: BLE001 - reported below
            said.append(str(error))

    threads = [threading.Thread(target=act, args=(f"vm stop {native}",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.changing == ["vm stop"]
    assert sorted("is stopping." in text for text in said) == [False, True], said


# --- trying -----------------------------------------------------------------------------------------------------------


async def test_a_dry_run_is_a_tick_and_boots_nothing(world: World) -> None:
    async with opened(world) as user:
        await user.press("b")
        dialog = await user.dialog("vm boot")
        box = dialog.query_one("#param-dry-run", Tick)
        assert not box.value
        assert "▐ ▌" in user.window
        box.focus()
        await user.press("space")
        assert "▐✓▌" in user.window
        await user.press("tab", "tab", "enter")
        await user.back()
        await user.until(lambda: user.result.startswith("You may boot a t3.micro VM from"))
    assert world.changing == ["vm try_boot"]
    assert world.cache.journal.newest() == []


async def test_a_read_only_cloud_is_only_read(world: World) -> None:
    locked = world.with_cloud(read_only=True)
    async with opened(locked) as user:
        await user.sees("read-only")
        await user.press("d", "b", "p")
        assert user.app.screen is user.app.main
        await user.run("vm stop web-1")
        await user.sees("Cloud demo is read-only: vm stop is not run.")
        await user.press("escape")
        await user.run("set default cloud=demo-west")
        await user.sees("demo-west")
        await user.loses("read-only")
    assert world.changing == []


# --- the journal ------------------------------------------------------------------------------------------------------


async def test_the_journal_shows_what_is_done_while_it_is_open(world: World, clock: Clock) -> None:
    (native,) = booted(world, clock, "noted")
    async with opened(world) as user:
        await marked(user)
        await user.until(lambda: user.named("noted", "id"))
        await user.press("J")
        await user.until(lambda: isinstance(user.app.screen, JournalScreen))
        await user.sees("Nothing has been done yet")
        execute(parse(split("vm stop noted")), world.session())
        await user.sees("vm stop noted", "● done", native)
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees("request.before", "running", "host")
        await user.press("escape", "escape")
        await user.back()


async def test_what_a_killed_run_left_is_reported_at_the_next_start_and_resumed(world: World, clock: Clock) -> None:
    sent, waiting = booted(world, clock, "sent", "waiting")
    session = world.session()
    execute(parse(["vm", "refresh"]), session)
    done, left = plan(world.cache, world.home, [(world.scope, f"vm delete {vm}") for vm in (sent, waiting)])
    done.sending(sent, before="running")
    world.provider.of("vm").delete(sent)
    for entry in (done, left):  # as a process that was killed leaves it
        world.cache.journal.set(entry.token, {"owner": ""})
    async with opened(world) as user:
        await user.sees("1 command is left from a run that ended, and not done.", ":journal resume")
        await user.until(lambda: outcomes(world.cache) == ["done", "waiting"])
        assert world.changing == []
        await user.press("escape")
        await user.run("journal resume")
        dialog = await user.dialog("journal resume")
        await user.sees("vm delete: 1.", "waiting", waiting, "Goes with it")
        assert dialog.focused is dialog.query_one("#cancel", Button)
        await user.press("y")
        await user.back()
        await user.until(lambda: outcomes(world.cache) == ["done", "done"])
    assert states(world, [sent, waiting]) == ["shutting-down", "shutting-down"]
    assert world.changing == ["vm delete"]


async def test_a_boot_that_was_sent_is_sent_again_only_when_the_user_resumes_it(world: World) -> None:
    image = world.cloud.default.image
    (entry,) = plan(world.cache, world.home, [(world.scope, f"vm boot {image} --name again")])
    entry.sending(image=image, flavor="t3.micro", location=None, keypair=None, name="again")
    world.cache.journal.set(entry.token, {"owner": ""})  # as a process that was killed leaves it
    async with opened(world) as user:
        await user.sees(f"No effect of vm boot {image} --name again", "not sent again unasked", ":journal resume")
        assert world.changing == []
        await user.press("escape")
        await user.run("journal resume")
        await user.dialog("journal resume")
        await user.sees(f"vm boot {image} --name again")
        await user.press("y")
        await user.back()
        await user.until(lambda: outcomes(world.cache) == ["done"])
    assert world.changing == ["vm boot"]


def outcomes(cache: Cache) -> list[str]:
    return [entry["outcome"] for entry in reversed(cache.journal.newest())]


@pytest.mark.parametrize("name", ["vm delete", "volume delete", "keypair delete", "journal resume"])
def test_what_destroys_has_a_preview(name: str) -> None:
    assert command(name).preview is not None


async def test_deleting_a_keypair_and_a_volume_says_what_uses_them(world: World) -> None:
    async with opened(world) as user:
        await user.show("keypair")
        await user.go_to("AWS1")
        await user.press("d")
        await user.dialog("keypair delete")
        await user.sees("Used by", "web-1", "Its private key can still log in")
        await user.press("escape")
        await user.back()
        await user.show("volume")
        await user.go_to("datasets")
        await user.press("d")
        await user.dialog("volume delete")
        await user.sees("Left out: 1", "it is attached to gpu-train-01", "There is nothing that this would act on.")
        assert user.app.screen.query_one("#run", Button).disabled
        await user.press("escape")
        await user.back()
        await user.go_to("scratch")
        await user.press("d")
        await user.dialog("volume delete")
        await user.sees("scratch", "125 GiB", "all that is on it")
        await user.press("escape")
        await user.back()
    assert world.changing == []
