"""A dashboard on several clouds and regions: one table, columns that tell, failures, names, read-only scopes."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from backend.cache import Change, RefreshRecord
from backend.catalog import KINDS
from backend.commands.locating import located
from backend.commands.model import Parsed
from backend.commands.table import command
from backend.config import Cloud
from backend.errors import CloudError, NotFoundError
from backend.journal.model import JOURNAL
from backend.kinds.model import Ref, Scope
from backend.providers import registry
from backend.providers.entry import Connect
from backend.providers.protocol import Provider, Region
from backend.session import SettingChange
from backend.state import recall_regions, remember_regions
from tests.tui.dashboard import AT_ONCE, Launch, Noting, User, World, driven, opened
from tui.app import CloudmeshApp
from tui.listings import HELD, _holdable
from tui.screens.choice import ChoiceScreen
from tui.screens.scopes import ScopesScreen

pytestmark = pytest.mark.thorough

VM, IMAGE = KINDS["vm"], KINDS["image"]
WEST = Scope("demo-west", "us-west-2")


@pytest.fixture
def world(world: World) -> World:
    """A world of two clouds alone."""
    clouds = {name: world.settings.clouds[name] for name in ("demo", WEST.cloud)}
    return World(replace(world.settings, clouds=clouds), world.cache, world.home)


def both(world: World, connector: Connect | None = None, *, refresh: bool = True) -> CloudmeshApp:
    """Return a dashboard that shows both clouds of the demo."""
    session = world.session(connector, refresh=refresh).among((world.scope, WEST))
    return CloudmeshApp(Launch(lambda: session), pace=AT_ONCE)


def image_id(number: int) -> str:
    """Return the id of a made image."""
    return f"ami-{number:017x}"


def put_images(world: World, scope: Scope, count: int) -> None:
    """Put images into the cache as a listing of the scope would, and images of the home scope beside them."""
    for where, made in ((world.scope, [image_id(1_000)]), (scope, [image_id(number) for number in range(count)])):
        items = [
            {"id": id, "name": f"{where.region}-{number}", "state": "available", "extra": {"note": "made for a test"}}
            for number, id in enumerate(made)
        ]
        world.cache.rows.put(IMAGE, where, items)
        now = datetime.now(UTC)
        record = RefreshRecord(*where, "image", started=now, finished=now, count=len(items))
        world.cache.refreshes.write(IMAGE, where, record)


class Broken(Noting):
    """A provider whose listings of VMs fail while `broken` says so."""

    def __init__(self, provider: Provider, changing: list[str], broken: Callable[[], bool]) -> None:
        super().__init__(provider, changing)
        self._broken = broken

    def vm_list(self, ids: Any = (), keypair: str = "") -> Any:
        if self._broken():
            raise CloudError("Listing VMs failed: the keys are not accepted.", "Check the keys.")
        return self.real.of("vm").list(ids=ids, keypair=keypair)


def note_of(user: User, kind: str) -> str:
    """Return how many regions the tab of a kind tells: "1 of 2 regions"."""
    return user.app.main._tabs.labels[kind].note


async def everything(user: User, world: World) -> None:
    """Wait until the VMs of both clouds are shown."""
    await user.show("vm")
    await user.until(lambda: {VM.scope(row) for row in user.rows("vm")} == {world.scope, WEST})


async def test_the_rows_of_all_scopes_are_one_table(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        await user.sees("2 clouds · 2 regions", "demo-west", "us-west-2", "us-east-1")
        header = user.line("Flavor")
        assert header.split()[:3] == ["Name", "Cloud", "Region"]
        total = sum(world.cache.rows.count(VM, scope) for scope in (world.scope, WEST))
        assert user.table.total == total
        await user.sees(f"vms {total:,} · ")
        await user.until(lambda: not note_of(user, "vm"))
        await user.type("/region:us-west-2", "enter")
        assert set(user.column()) == {"bastion", "dr-db", "render-01"}
        await user.press("escape")
        await user.type("/cloud:demo-w db", "enter")
        assert set(user.column()) == {"dr-db"}
        await user.press("escape")
        await user.type("/us-west", "enter")
        assert {"bastion", "dr-db", "render-01"} <= set(user.column())
        await user.press("escape")
        await user.press("s", "s", "S")
        await user.sees("▼")
        assert next(VM.scope(row).cloud for row in user.table.shown_rows) == "demo-west"
        assert sorted((VM.scope(row).cloud for row in user.table.shown_rows), reverse=True) == [
            VM.scope(row).cloud for row in user.table.shown_rows
        ]


async def test_the_columns_go_when_one_scope_is_shown(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        await user.press("s", "s")
        await user.run("set default cloud=demo")
        await user.sees("demo · us-east-1 · memory")
        await user.until(lambda: {VM.scope(row) for row in user.rows("vm")} == {world.scope})
        assert user.line("Flavor").split()[:2] != ["Name", "Cloud"]
        assert user.table.rows.column is None
        await user.run("set default cloud=all")
        await user.sees("2 clouds · 2 regions")
        await everything(user, world)


def images_of(user: User) -> set[Scope]:
    """Return the scopes whose images the table has."""
    return {IMAGE.scope(row) for row in user.rows("image")}


async def test_images_are_listed_in_the_home_scope_until_somebody_looks_elsewhere(world: World) -> None:
    async with driven(both(world)) as user:
        await user.show("image")
        await user.until(lambda: user.table.total)
        await user.sees(" · 1 of 2 regions")
        assert images_of(user) == {world.scope}
        assert not world.cache.rows.count(IMAGE, WEST)
        await user.type("/region:us-west-2", "enter")
        await user.sees("No image matches 'region:us-west-2'. r lists the images there.")
        await user.press("r")
        await user.until(lambda: images_of(user) == {world.scope, WEST})
        await user.loses("No image matches")
        await user.until(lambda: not note_of(user, "image"))
        assert {IMAGE.scope(row) for row in user.table.shown_rows} == {WEST}


async def test_images_of_a_region_are_listed_by_its_name(world: World) -> None:
    async with driven(both(world)) as user:
        await user.show("image")
        await user.until(lambda: user.table.total)
        await user.run("image refresh --region us-west-3")
        await user.sees("Region 'us-west-3' is not one of those that are shown. Did you mean 'us-west-2'?")
        await user.press("escape")
        await user.run("image refresh --region demo-west/us-west-2")
        await user.until(lambda: images_of(user) == {world.scope, WEST})
        name = next(str(IMAGE.value(row, "name")) for row in user.rows("image") if IMAGE.scope(row) == WEST)
        await user.type("/", *name.split()[0], "enter")
        await user.until(lambda: WEST in {IMAGE.scope(row) for row in user.table.shown_rows})


async def test_an_image_of_another_region_boots_there(world: World) -> None:
    put_images(world, WEST, 3)
    async with driven(both(world, refresh=False)) as user:
        await user.show("image")
        await user.until(lambda: WEST in images_of(user))
        (row, *_) = (row for row in user.rows("image") if IMAGE.scope(row) == WEST)
        user.table.move_to(IMAGE.ref(row))
        await user.press("enter")
        await user.sees(str(IMAGE.value(row, "id")), "made for a test")
        await user.press("escape")
        await user.back()
        await user.press("b")
        await user.dialog("vm boot")
        await user.sees("demo-west · us-west-2", str(IMAGE.value(row, "id")))


def test_an_image_of_another_region_is_found_by_its_id_alone(world: World) -> None:
    put_images(world, WEST, 1)
    session = world.session(refresh=False).among((world.scope, WEST))
    boot = command("vm boot")
    assert located(Parsed(boot, {"image": image_id(0)}), session).scope == WEST
    with pytest.raises(NotFoundError, match="There is no image 'us-west-2-0' known in demo us-east-1"):
        located(Parsed(boot, {"image": "us-west-2-0"}), session)


def test_images_of_regions_beyond_what_is_held_stay_in_the_cache(world: World) -> None:
    records = {
        scope: RefreshRecord(*scope, "image", count=count)
        for scope, count in (
            (world.scope, 2 * HELD),
            (Scope("demo", "a"), HELD - 5),
            (Scope("demo", "b"), 6),
            (WEST, 5),
        )
    }
    held, left = _holdable(records)
    assert held == (world.scope, Scope("demo", "a"), WEST)
    assert left == {Scope("demo", "b")}


def leave_in_the_cache(user: User) -> None:
    """Tell of more images of WEST than the table holds."""
    row = user.table.rows.row(Ref(WEST, image_id(0)))
    assert row is not None
    many = tuple((row[0], image_id(number), *row[2:]) for number in range(HELD + 1))
    user.app.following.changed(Change("image", WEST, upserts=many))


async def beyond(user: User, world: World) -> None:
    """Open the images of both scopes and leave those of WEST in the cache, as if there were too many."""
    await user.show("image")
    await user.until(lambda: images_of(user) == {world.scope, WEST})
    leave_in_the_cache(user)
    await user.until(lambda: images_of(user) == {world.scope})


async def test_images_that_are_not_held_are_searched_in_the_cache(world: World) -> None:
    put_images(world, WEST, 12)
    async with driven(both(world, refresh=False)) as user:
        await beyond(user, world)
        assert user.app.main._tabs.labels["image"].count == user.table.total + 12
        await user.type("/WEST-2-1", "enter")
        await user.until(lambda: user.column() == ["us-west-2-1", "us-west-2-10", "us-west-2-11"])
        await user.sees("3 images found in 1 region beyond those held.")
        await user.press("space", "enter")  # marks the first, shows the second
        await user.sees(image_id(10), "made for a test")
        await user.press("escape")
        await user.back()
        await user.press("escape")
        assert user.table.cursor_ref == Ref(WEST, image_id(10))
        await user.type("/west-2-7", "enter")
        await user.until(lambda: user.column() == ["us-west-2-7"])
        assert [row[-1] for row in user.table.rows.marked()] == [WEST.text]
        await user.press("escape")
        assert {IMAGE.value(row, "name") for row in user.table.rows.of(WEST)} == {"us-west-2-1", "us-west-2-7"}
        user.table.clear_marks()
        await user.press("b")
        await user.dialog("vm boot")
        await user.sees("demo-west · us-west-2", image_id(7))
        await user.press("escape")
        await user.back()
        await user.type("/region:us-west-2", "enter")
        await user.until(lambda: user.table.rows.count(WEST) == 12)
        await user.press("s")
        assert user.column() == sorted(f"us-west-2-{number}" for number in range(12))
        await user.press("escape")
        await user.type("/region:us-west-2 west-2-3", "enter")
        assert user.column() == ["us-west-2-3"]  # the last search has it


async def test_a_filter_searches_what_leaves_the_table(world: World) -> None:
    put_images(world, WEST, 12)
    async with driven(both(world, refresh=False)) as user:
        await user.show("image")
        await user.until(lambda: images_of(user) == {world.scope, WEST})
        await user.type("/west-2-7", "enter")
        leave_in_the_cache(user)
        await user.until(lambda: user.table.rows.count(WEST) == 1)
        assert user.column() == ["us-west-2-7"]
        world.cache.rows.put(IMAGE, WEST, [{"id": image_id(70), "name": "us-west-2-70", "extra": {}}])
        await user.type("/west-2-70", "enter")
        await user.until(lambda: user.column() == ["us-west-2-70"])


async def test_a_scope_that_fails_hides_no_other_and_is_explained(world: World) -> None:
    broken = [True]

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        west = cloud.name == WEST.cloud
        provider = Broken(registry.connect(cloud, *hooks), world.changing, lambda: west and broken[0])
        return cast(Provider, provider)

    async with driven(both(world, connect)) as user:
        await user.show("vm")
        await user.sees("1 of 2 regions failed", "E lists why. demo-west us-west-2: Listing VMs failed")
        await user.sees("· 1 of 2 regions", "web-1")
        await user.press("E")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen))
        await user.sees("1 listing failed", "demo-west us-west-2: vms", "never listed", "Check the keys.")
        await user.press("escape")
        await user.back()
        broken[0] = False
        await user.press("r")
        await everything(user, world)
        await user.loses("failed")
        await user.until(lambda: not note_of(user, "vm"))
        await user.until(lambda: user.result.startswith("vms: "))
        await user.press("E")
        await user.sees("No region has failed.")


async def test_a_small_terminal_shows_how_many_regions_failed_in_one_line(world: World) -> None:
    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        west = cloud.name == WEST.cloud
        return cast(Provider, Broken(registry.connect(cloud, *hooks), world.changing, lambda: west))

    async with driven(both(world, connect), (80, 24)) as user:
        await user.show("vm")
        await user.sees("1 of 2 regions failed, and their rows are old. E lists why.", "vms 15 · 1 of 2 regions")
        assert user.app.main.query_one("#trouble").size.height == 1


async def test_a_name_in_two_scopes_is_refused_and_an_only_one_is_found(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        await user.run("vm reboot bastion")
        await user.until(lambda: world.changing)
        assert world.changing == ["vm reboot"]
        (entry,) = world.cache.journal.rows(1)
        assert JOURNAL.scope(entry) == WEST
        (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == "dr-db")
        there = registry.connect(world.settings.clouds[WEST.cloud]).of("vm")
        there.tag(VM.value(row, "id"), "Name", "web-1")  # the cache does not know of it
        await user.run("vm reboot web-1")
        await user.sees("2 VMs are named 'web-1': ", "in demo us-east-1", "in demo-west us-west-2")
        assert world.changing == ["vm reboot"]
        there.tag(VM.value(row, "id"), "Name", "dr-db")


async def test_marked_rows_of_a_read_only_scope_are_left_out_with_the_reason(world: World) -> None:
    west = replace(world.settings.clouds["demo-west"], read_only=True)
    world.settings = replace(world.settings, clouds={**world.settings.clouds, "demo-west": west})
    async with driven(both(world)) as user:
        await everything(user, world)
        await user.sees("1 read-only")
        for name in ("web-1", "bastion"):
            (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == name)
            user.table.move_to(VM.ref(row))
            await user.press("space")
        await user.press("o")
        await user.dialog("vm reboot")
        await user.sees("Left out: 1 in demo-west us-west-2.", "read-only")
        await user.press("y")
        await user.back()
        await user.until(lambda: world.changing == ["vm reboot"])
        (entry,) = world.cache.journal.rows(9)
        assert JOURNAL.scope(entry) == world.scope
        user.table.clear_marks()
        (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == "bastion")
        user.table.move_to(VM.ref(row))
        await user.press("o")
        await user.sees("read-only: vm reboot is not run")


async def test_keys_that_are_revoked_in_the_middle_of_a_bulk_action(world: World) -> None:
    class Revoked(Noting):
        def vm_reboot(self, vm: str) -> Any:
            raise CloudError(f"Rebooting VM {vm} failed: the keys are not accepted.", "Check the keys.")

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        kind = Revoked if cloud.name == WEST.cloud else Noting
        return cast(Provider, kind(registry.connect(cloud, *hooks), world.changing))

    async with driven(both(world, connect)) as user:
        await everything(user, world)
        for name in ("web-1", "web-2", "bastion"):
            (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == name)
            user.table.move_to(VM.ref(row))
            await user.press("space")
        await user.press("o")
        await user.dialog("vm reboot")
        await user.press("y")
        await user.sees("vm reboot: 1 of 3 failed.")
        await user.press("F")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen))
        await user.sees("1 failed", "2 done", "the keys are not accepted")
        entries = world.cache.journal.rows(9)
        outcomes = sorted((JOURNAL.scope(entry), JOURNAL.value(entry, "outcome")) for entry in entries)
        assert outcomes == sorted([(world.scope, "done"), (world.scope, "done"), (WEST, "failed")])


async def test_a_dialog_about_several_regions_names_that_of_each_object_and_sum(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        for name in ("web-1", "bastion"):
            (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == name)
            user.table.move_to(VM.ref(row))
            await user.press("space")
        await user.press("t")
        await user.dialog("vm stop")
        await user.sees("is lost")
        here, west = " ".join(world.scope), " ".join(WEST)
        assert re.search(rf"web-1 \(i-\w+\) · {here} · running", user.body)
        assert re.search(rf"bastion \(i-\w+\) · {west} · running", user.body)
        assert re.search(rf"{west}: 1 VM: ", user.body)
        assert "2 clouds · 2 regions" in user.window.splitlines()[-1]
        await user.press("escape", "o")
        await user.dialog("vm reboot")
        assert re.search(rf"bastion +{WEST.cloud} +{WEST.region} +i-", user.body)


async def test_an_empty_region_is_asked_rarely(world: World) -> None:
    asked: list[str] = []

    class Counting(Noting):
        def volume_list(self) -> Any:
            asked.append("volume")
            yield []

    def connect(cloud: Cloud, *hooks: Any) -> Provider:
        kind = Counting if cloud.name == WEST.cloud else Noting
        return cast(Provider, kind(registry.connect(cloud, *hooks), world.changing))

    world.settings = replace(world.settings, max_age={"volume": 0.01})
    async with driven(both(world, connect)) as user:
        await user.show("volume")
        record = partial(world.cache.refreshes.of, KINDS["volume"], WEST)
        await user.until(lambda: record().finished and not any(WEST.region in job.key for job in user.app._jobs.titled))
        parts = user.app.following.parts
        assert parts is not None
        parts.listings._tried.clear()
        await user.until(lambda: parts.listings._is_stale("volume", world.scope))
        assert not parts.listings._is_stale("volume", WEST)
        assert asked == ["volume"]
        await user.press("r")
        await user.until(lambda: asked == ["volume"] * 2)


async def test_a_flight_is_followed_in_its_scope(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        assert user.app.following.parts is not None
        watchers = user.app.following.parts.watchers["vm"]
        (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == "bastion")
        user.table.move_to(VM.ref(row))
        await user.press("o")
        await user.dialog("vm reboot")
        await user.press("y")
        await user.until(lambda: WEST in watchers._running)


# --- the choice of clouds and regions ---------------------------------------------------------------------------------


async def picking(user: User) -> ScopesScreen:
    """Press g and wait for the window."""
    await user.press("g")
    await user.until(lambda: isinstance(user.app.screen, ScopesScreen) and user.app.screen.focused is not None)
    screen = user.app.screen
    assert isinstance(screen, ScopesScreen)
    return screen


async def test_g_and_enter_go_to_the_last_choice_and_back(world: World) -> None:
    async with opened(world) as user:
        await picking(user)
        await user.sees("Clouds and regions", "demo-west us-west-2", "● demo us-east-1")
        await user.type("west-2", "enter")
        await user.sees("demo-west · us-west-2 · memory")
        for place in ("demo · us-east-1 · ", "demo-west · us-west-2 · ", "demo · us-east-1 · "):
            user.send(["g", "enter"])
            await user.sees(place)


async def test_several_are_marked_and_a_region_that_is_not_enabled_is_refused(world: World) -> None:
    off = Region("ap-east-1", False, "not-opted-in")
    remember_regions(world.settings, world.home, "demo", [Region("us-east-1"), Region("eu-west-1"), off])
    async with opened(world, world.app(refresh=False)) as user:
        await picking(user)
        await user.sees("demo ap-east-1  not-opted-in", "demo eu-west-1")
        await user.type("ap-east", "enter")
        await user.sees("demo ap-east-1 is not enabled: not-opted-in.")
        for _ in "ap-east":
            await user.press("backspace")
        await user.type("us-east-1", "space")
        await user.sees("type to search", "✓ demo us-east-1")
        await user.type("eu-west-1", "space", "enter")
        await user.sees("demo · 2 regions")
        assert user.app.session is not None
        assert user.app.session.scopes == (world.scope, Scope("demo", "eu-west-1"))
        await picking(user)
        await user.press("escape")
        await user.back()
        assert user.app.session.scopes == (world.scope, Scope("demo", "eu-west-1"))


async def test_the_regions_are_asked_for_while_the_window_is_open(world: World) -> None:
    async with opened(world) as user:
        await picking(user)
        await user.type("eu-central-1")
        await user.sees("demo eu-central-1")
        assert recall_regions(world.settings, world.home, "demo")


async def test_a_dialog_keeps_its_scope_when_another_is_shown_behind_it(world: World) -> None:
    async with driven(both(world)) as user:
        await everything(user, world)
        (row,) = (row for row in user.rows("vm") if VM.value(row, "name") == "render-01")
        user.table.move_to(VM.ref(row))
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees("cloud demo-west · us-west-2")
        user.app.apply(SettingChange(scopes=(world.scope,)))
        await user.sees("cloud demo-west · us-west-2")
        await user.press("y")
        await user.back()
        await user.sees("The cloud was switched meanwhile, so nothing was done.")
    assert world.changing == []
