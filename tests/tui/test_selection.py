"""The rows that a key acts on: found by a filter, marked, in sight; and why a key cannot be used."""

import csv
from dataclasses import replace
from typing import Any

import pytest
from textual.events import Key
from textual.widgets import Input
from textual.widgets._footer import FooterKey

from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.config import Cloud
from backend.errors import CloudError
from backend.providers import registry
from backend.providers.protocol import Provider
from tests.tui.dashboard import DELAY, Clock, User, World, booted, opened
from tui.lostkeys import PAUSE
from tui.screens.details import DetailsScreen
from tui.widgets.status import MessageBar

pytestmark = pytest.mark.thorough


def dim(user: User, key: str) -> bool | None:
    """Return whether a key of the line at the foot of the screen is dim, None if it is not there."""
    found = [one for one in user.app.main.query(FooterKey) if one.key == key]
    return found[0].has_class("-disabled") if found else None


def typed(user: User, text: str, pause: float = 0.0) -> None:
    """Type letters, each `pause` seconds after the one before; the first a moment after now."""
    for number, char in enumerate(text, 1):
        key = Key({"\r": "enter", " ": "space"}.get(char, char), char)
        key.time += number * pause
        user.app.post_message(key)


async def filtered(user: User, text: str, *keys: str) -> None:
    await user.press("slash")
    await user.type(text, *keys)
    await user.until(lambda: user.table.filter_text == text or keys)


# --- the row that was found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [["enter", "escape"], ["escape"], ["enter", "escape", "escape", "escape"]])
async def test_the_row_that_a_filter_has_found_stays_the_row(world: World, keys: list[str]) -> None:
    async with opened(world) as user:
        await user.go_to("web-1")
        await filtered(user, "class-student-08")
        found = user.named("class-student-08", "id")
        await user.until(lambda: user.cursor_id == found)
        for key in keys:
            await user.press(key)
            assert user.cursor_id == found
        assert user.table.visible_count == user.table.total
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        await user.sees(str(found))


async def test_a_filter_that_finds_nothing_leaves_the_row_from_before(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("web-2")
        await filtered(user, "no such thing", "escape")
        assert user.at == "web-2"


async def test_escape_drops_one_thing_at_a_time_and_never_the_row(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("web-1")
        await user.press("space")
        assert user.at == "web-2"
        await filtered(user, "web", "enter")
        await user.press("d")
        await user.dialog("vm delete")
        native = user.cursor_id
        user.app.show_error(CloudError("Something is wrong."))
        bar = user.app.main.query_one(MessageBar)
        steps = []
        user.send(["escape"] * 2)  # one closes the dialog, and one more
        await user.back()
        await user.until(lambda: not bar.display)
        while user.table.filter_text or user.table.rows.marks:
            steps.append((bool(user.table.filter_text), user.table.rows.marks, user.cursor_id))
            await user.press("escape")
        assert steps == [(True, 1, native), (False, 1, native)]
        assert user.cursor_id == native
        assert user.result == "1 row is no longer marked."
    assert world.changing == []


async def test_a_row_that_the_filter_hides_for_its_new_state_does_not_take_the_cursor_back(world: World) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        await filtered(user, "running web", "enter")
        (first, second) = (user.table.rows.ref_at(position) for position in (0, 1))
        user.table.move_to(first)
        row = user.table.rows.row(first)
        assert row is not None
        at = KINDS["vm"].index["state"]
        user.table.apply([(*row[:at], "stopped", *row[at + 1 :])])
        assert user.table.cursor_ref == second
        user.table.apply([row])
        assert user.table.rows.position(first) == 0
        assert user.table.cursor_ref == second


@pytest.mark.parametrize(("key", "char"), [("alt+d", "d"), ("alt+shift+t", "T")])
async def test_a_letter_typed_right_after_escape_acts_after_it(world: World, key: str, char: str) -> None:
    """A terminal sends the same for Esc and a letter right after it as for Alt and the letter."""
    async with opened(world) as user:
        await filtered(user, "web-2", "enter")
        user.app.post_message(Key(key, char))
        await user.dialog({"d": "vm delete", "T": "vm tag"}[char])
        assert "web-2" in user.window
        assert user.table.filter_text == ""
        await user.press("escape")
        await user.back()


async def test_alt_and_an_arrow_go_by_words_in_a_field_and_nowhere_else(world: World) -> None:
    async with opened(world) as user:
        await filtered(user, "two words")
        field = user.app.main.query_one("#filter", Input)
        user.app.post_message(Key("alt+b", "b"))
        await user.until(lambda: field.cursor_position == len("two "))
        await user.press("enter")
        user.app.post_message(Key("alt+b", "b"))
        await user.dialog("vm boot")
        assert user.table.filter_text == ""
        await user.press("escape")
        await user.back()


# --- marks ------------------------------------------------------------------------------------------------------------


async def test_space_marks_and_goes_down(world: World) -> None:
    async with opened(world) as user:
        names = user.column()
        await user.press("home", "space", "space", "space")
        assert user.table.rows.marks == 3
        assert user.at == names[3]
        await user.press("end", "space")
        assert user.table.cursor_ref == user.table.rows.ref_at(user.table.visible_count - 1)
        assert user.table.rows.marks == 4


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said", "button"),
    [
        ([], "All VMs: 15.", "Export"),
        (["slash", *"class-student", "enter"], "2 VMs: what the filter 'class-student' shows.", "Export 2"),
        (["home", "space", "space", "space"], "3 VMs: what is marked.", "Export 3"),
    ],
)
async def test_an_export_is_of_the_marked_rows_else_of_those_shown(
    world: World, keys: list[str], said: str, button: str
) -> None:
    async with opened(world, world.app(refresh=False)) as user:
        assert user.table.total == 15
        await user.press("s", *keys)
        wanted = user.marked or user.column("id")
        await user.press("e")
        await user.dialog("vm export")
        assert said in user.window
        assert button in user.window
        path = world.home / "shown.csv"
        await user.type(str(path), "enter")
        await user.back()
        await user.sees(f"{len(wanted)} VMs written to {path}.")
        assert user.table.rows.marks == (3 if "space" in keys else 0)  # they were only read
    with path.open(newline="") as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == sorted(wanted)


# --- keys that cannot be used -----------------------------------------------------------------------------------------


async def test_a_key_that_cannot_be_used_says_why(world: World) -> None:
    async with opened(world) as user:
        for kind, name, key, said in (
            ("vm", "web-1", "u", "web-1 is running, so there is nothing for u to start."),
            ("vm", "gpu-train-02", "t", "gpu-train-02 is stopped, so there is nothing for t to stop."),
            ("volume", "db-primary-data", "a", "db-primary-data is in use by db-primary; A detaches it."),
            ("volume", "scratch", "A", "scratch is available, so there is nothing for A to detach."),
            (
                "image",
                "",
                "d",
                "d does nothing on images: it is vm delete, keypair delete, volume delete, secgroup delete.",
            ),
        ):
            await user.show(kind)
            if name:
                await user.go_to(name)
            await user.press(key)
            assert user.result == said
            assert user.app.screen is user.app.main
            await user.press("escape")  # else what follows a key that cannot be used is taken for a word


async def test_a_reason_why_nothing_was_done_is_no_success(world: World) -> None:
    async with opened(world, size=(60, 24)) as user:
        await user.go_to("web-1")
        await user.press("u")
        await user.sees("· web-1 is running, so there is nothing for u to start.")
        assert "✓" not in user.screen


async def test_a_dim_key_that_is_clicked_says_why(world: World) -> None:
    async with opened(world) as user:
        await user.go_to("web-1")
        await user.until(lambda: dim(user, "u"))
        (key,) = [one for one in user.app.main.query(FooterKey) if one.key == "u"]
        await user.pilot.click(key)
        await user.until(lambda: user.result == "web-1 is running, so there is nothing for u to start.")


async def test_what_is_typed_for_a_dialog_that_does_not_open_runs_nothing(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        native = await user.go_to("db-primary-data")
        typed(user, "adata R space \rx", pause=PAUSE / 2)  # as fast as a user types who does not watch the screen
        await user.until(lambda: user.result == "Nothing is under way.")  # x, which comes after Enter, acts
        assert user.app.screen is user.app.main
        assert not user.table.rows.marks
        assert user.cursor_id == native
        assert user.app.main.kind == "volume"
    assert world.changing == []


@pytest.mark.parametrize(
    ("key", "said"),
    [("z", "There is nothing to undo."), ("F", "There are no results to list: J shows the journal.")],
)
async def test_what_is_typed_for_a_window_that_has_nothing_to_show_runs_nothing(
    world: World, key: str, said: str
) -> None:
    async with opened(world) as user:
        native = await user.go_to("web-2")
        typed(user, f"{key}* j\rx", pause=PAUSE / 2)
        await user.until(lambda: user.result == "Nothing is under way.")  # x, which comes after Enter, acts
        assert user.app.screen is user.app.main
        assert not user.table.rows.marks
        assert user.cursor_id == native
        await user.press(key)
        assert user.result == said


@pytest.mark.parametrize("end", ["escape", "down", "slash", "pause"])
async def test_keys_act_again_after_a_pause_escape_or_a_key_that_is_no_text(world: World, end: str) -> None:
    async with opened(world) as user:
        await user.go_to("web-1")
        await user.press("u")
        assert user.result.startswith("web-1 is running")
        if end == "pause":
            typed(user, " ", pause=PAUSE)
        else:
            await user.press(end, *(["enter"] if end == "slash" else []), "space")
        await user.until(lambda: user.table.rows.marks == 1)


async def test_the_keys_follow_the_state_and_the_flight_of_the_row(world: World, clock: Clock) -> None:
    native = booted(world, "followed")
    clock.now += DELAY
    async with opened(world) as user:
        await user.press("r")
        await user.until(lambda: user.named("followed", "state") == "running")
        await user.go_to("followed")
        await user.until(lambda: (dim(user, "u"), dim(user, "t")) == (True, False))
        await user.run("vm stop followed")
        await user.until(lambda: user.named("followed", "flight"))
        await user.until(lambda: dim(user, "t"))  # without the cursor moving
        await user.press("t")
        await user.until(lambda: user.result.startswith(("followed: its stop is", "followed is stop")))
        clock.now += DELAY
        await user.until(lambda: (dim(user, "u"), dim(user, "t")) == (False, True))
        assert user.cursor_id == native


# --- what was made ----------------------------------------------------------------------------------------------------


async def test_the_cursor_goes_to_what_was_made(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        await user.press("home")
        await user.run("volume create just-made --size 2")
        await user.until(lambda: user.at == "just-made")
        await user.show("image")
        await user.run("volume create behind --size 2")
        await user.until(lambda: user.result.endswith("6 goes to it."))
        assert user.app.main.kind == "image"
        await user.press("6")
        await user.until(lambda: user.at == "behind")


async def test_the_cursor_stays_where_the_user_has_gone_meanwhile(world: World) -> None:
    async with opened(world) as user:
        await user.show("volume")
        await user.press("home")
        table = user.table
        table.expect(user.ref("vol-late"))
        await user.press("down")
        here, row = table.cursor_ref, table.rows.row_at(0)
        index = KINDS["volume"].index["id"]
        table.apply([(*row[:index], "vol-late", *row[index + 1 :])])
        assert table.rows.row(user.ref("vol-late"))
        assert table.cursor_ref == here


# --- what has failed --------------------------------------------------------------------------------------------------


async def test_an_action_that_fails_says_which_and_a_listing_behind_it_does_not_hide_that(world: World) -> None:
    def unreachable(cloud: Cloud, *hooks: Any) -> Provider:
        return registry.connect(replace(cloud, endpoint="http://127.0.0.1:1"), *hooks)

    async with opened(world, world.app(unreachable)) as user:
        native = await user.go_to("web-1")
        await user.press("o")
        await user.dialog("vm reboot")
        await user.press("enter")
        await user.back()
        bar = user.app.main.query_one(MessageBar)
        said = f"reboot of web-1 ({native}) failed, and nothing was done: listing VMs failed on cloud demo, region"
        await user.until(lambda: said in str(bar.content))
        parts = user.app.following.parts
        assert parts is not None
        behind = [parse(["vm", "refresh"])]
        parts.runner.run(behind, quiet=True)
        await user.until(lambda: world.cache.refreshes.of(KINDS["vm"], world.scope).error)
        await user.until(lambda: not user.app._jobs.titled)
        assert said in str(bar.content)
        await user.press("escape")
        parts.runner.run(behind, quiet=True)
        await user.until(lambda: "Listing VMs failed" in str(bar.content))
    (entry,) = world.cache.journal.newest()
    assert entry["error"].startswith(f"reboot of web-1 ({native}) failed")


async def test_a_long_result_is_said_once(world: World) -> None:
    async with opened(world, size=(100, 30)) as user:
        await user.run("keypair create said-once")
        await user.until(lambda: "said-once created" in user.screen)
        assert user.screen.count("said-once created") == 1
