"""A table with rows of two clouds: marks, commands and undo act in the scope of each row."""

from collections.abc import Sequence

from backend.cache import Change
from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.commands.run import execute
from backend.journal.model import JOURNAL
from backend.kinds.model import Ref, Row, Scope
from tests.tui.dashboard import World, opened
from tui.listings import _with
from tui.screens.choice import ChoiceScreen

VM = KINDS["vm"]
HERE, THERE = Scope("aws", "us-east-1"), Scope("aws", "us-west-2")
WEST = Scope("demo-west", "us-west-2")


def vm(native: str, scope: Scope = HERE, name: str | None = None) -> Row:
    return (*({"id": native, "name": name}.get(column.name) for column in VM.columns), scope.text)


def test_what_changes_while_rows_are_read_is_merged_by_scope_and_id() -> None:
    rows = [vm("i-1"), vm("i-1", THERE), vm("i-2", THERE)]
    changes = [
        Change("vm", HERE, upserts=(vm("i-1", name="new"), vm("i-3")), removed=()),
        Change("vm", THERE, removed=(Ref(THERE, "i-2"), Ref(THERE, "i-3"))),
    ]
    assert _with(VM, rows, changes) == [vm("i-1", name="new"), vm("i-1", THERE), vm("i-3")]
    assert _with(VM, rows, []) == rows


def west_rows(world: World) -> Sequence[Row]:
    """Return the running VMs of the other cloud, as a listing a moment ago has them."""
    session = world.session().at(WEST)
    execute(parse(["vm", "refresh"]), session)
    return [row for row in session.cache.rows.snapshot(VM, WEST) if VM.value(row, "state") == "running"]


async def test_a_dialog_on_rows_of_two_clouds_runs_each_command_in_its_own(world: World) -> None:
    row = west_rows(world)[0]
    async with opened(world, world.app(refresh=False)) as user:
        user.table.apply([row])
        native = await user.go_to("web-1")
        await user.press("space")
        user.table.move_to(VM.ref(row))
        await user.press("space", "o")
        await user.dialog("vm reboot")
        await user.sees("web-1", str(VM.value(row, "name")))
        await user.press("y")
        await user.sees("vm reboot: 2 done.")
        entries = world.cache.journal.rows(2)
        assert {JOURNAL.scope(entry): JOURNAL.value(entry, "objects") for entry in entries} == {
            world.scope: native,
            WEST: VM.value(row, "id"),
        }
        assert user.table.rows.marks == 0
        flights = [VM.ref(flying) for scope in (world.scope, WEST) for flying in world.cache.flights.rows(VM, scope)]
        assert {Ref(world.scope, native), VM.ref(row)} <= set(flights)


async def test_a_preview_is_of_the_rows_own_cloud_and_an_undo_goes_back_there(world: World) -> None:
    row = west_rows(world)[0]
    native = VM.value(row, "id")
    async with opened(world, world.app(refresh=False)) as user:
        user.table.apply([row])
        user.table.move_to(VM.ref(row))
        await user.press("t")
        await user.dialog("vm stop")
        await user.sees("us-west-2", "still billed")
        await user.press("escape")
        await user.back()
        await user.press("enter")
        await user.sees(native, "us-west-2a")
        await user.press("escape")
        await user.back()
        await user.press("p")
        await user.dialog("vm protect")
        await user.press("y")
        await user.sees("is protected from being deleted")
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.focused is not None)
        await user.sees("Undo", native)
        await user.press("right", "enter")
        await user.back()
        await user.sees("no longer protected")
        assert {JOURNAL.scope(entry) for entry in world.cache.journal.rows(2)} == {WEST}
