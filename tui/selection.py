"""Selects the rows that a command acts on when its key is pressed; explains if there are none."""

from collections.abc import Callable, Iterator

from backend.commands.model import Command
from backend.commands.table import COMMANDS
from backend.format import counted, flight_text
from backend.kinds.model import Kind, Ref, Row
from backend.lifecycle import Flight
from backend.providers.registry import meaning
from backend.text import safe
from tui.widgets.table import ResourceTable


def selected(one: Command, table: ResourceTable) -> Iterator[Row]:
    """Return the rows that a command acts on: the marked ones that are shown; if none is marked, the cursor's.

    A command that takes many rows at once, such as an export, takes all rows that the filter shows instead of the
    cursor's; without a filter it gets none, which stands for all. A command that only shows an object takes the
    cursor's row, whatever is marked.
    """
    if one.effect == "reads" and not one.asks:
        return iter(() if (row := table.cursor_row) is None else (row,))
    if not table.rows.marks and _takes_many(one, table):
        return table.shown_rows if table.rows.words else iter(())
    return table.selected_rows


def which(one: Command, table: ResourceTable) -> str:
    """Return which rows a command acts on, for its dialog; "" if that is obvious."""
    kind, marks, hidden = table.kind, table.rows.marks, table.hidden_marks
    left_out = f"Marked: {marks - hidden:,} shown, {hidden:,} hidden by the filter and left out." if hidden else ""
    if not _takes_many(one, table):
        return left_out
    if marks:
        return f"{counted(marks - hidden, kind.noun, kind.nouns)}: what is marked. {left_out}".rstrip()
    if table.rows.words:
        shown = counted(table.visible_count, kind.noun, kind.nouns)
        return f"{shown}: what the filter {table.filter_text.strip()!r} shows."
    return f"All {kind.nouns}: {table.total:,}."


def usable(one: Command, table: ResourceTable) -> bool:
    """Return whether there is a row that a command can act on."""
    if _takes_many(one, table) and not table.rows.marks:
        return not table.rows.words or (table.rows.ready and table.visible_count > 0)
    return any(fits(one, table.kind, row) for row in selected(one, table))


def _takes_many(one: Command, table: ResourceTable) -> bool:
    target = one.target(table.kind.name)
    return target is not None and target.many


def fits(one: Command, kind: Kind, row: Row) -> bool:
    """Return whether a command can act on a row, by its state and its flight."""
    flight = _flight(kind, row)
    if flight is not None and not flight.overdue and flight.action == one.words[-1]:
        return False
    return not one.impossible_in or meaning(str(kind.value(row, "state"))) not in one.impossible_in


def why_not(one: Command, table: ResourceTable, named: Callable[[str, Ref], str]) -> str:
    """Return one sentence that says why the key of a command on rows cannot be used now.

    `named` takes a kind and a Ref, and returns the name of the object.
    """
    kind, verb = table.kind, one.words[-1]
    if _takes_many(one, table) and not table.rows.marks and not table.rows.ready:
        return f"The filter is still searching all {kind.nouns}: try again in a moment."
    rows = list(selected(one, table))
    if not rows and table.rows.marks:
        return f"{marks_text(table)}: Esc drops the filter that hides them, and then the marks."
    if not rows:
        return f"No {kind.noun} is shown, so there is nothing for {one.key} to {verb}."
    if len(rows) > 1:
        return f"None of the {len(rows):,} marked {kind.nouns} is one for {one.key} to {verb}."
    (row,) = rows
    name, flight = safe(str(kind.value(row, "name") or kind.value(row, "id"))), _flight(kind, row)
    if flight is not None and not flight.overdue and flight.action == verb:
        return f"{name}: its {verb} is under way already ({flight_text(flight)})."
    if one.hindrance and (why := one.hindrance(row, named)):
        return f"{name} {why}."
    return f"{name} is {safe(str(kind.value(row, 'state')))}, so there is nothing for {one.key} to {verb}."


def elsewhere(key: str, kind: Kind) -> str:
    """Return a sentence that says what a key does on other tabs; "" if no command has that key."""
    names = [one.name for one in COMMANDS if one.key == key and kind.name not in one.on]
    return f"{key} does nothing on {kind.plural}: it is {', '.join(names)}." if names else ""


def marks_text(table: ResourceTable) -> str:
    """Return how many rows are marked and how many of these the filter hides: "2 marked, none shown"; "" for none."""
    marks, hidden = table.rows.marks, table.hidden_marks
    if hidden:
        return f"{marks:,} marked, none shown" if hidden == marks else f"{marks:,} marked, {hidden:,} hidden"
    return f"{marks:,} marked" if marks else ""


def _flight(kind: Kind, row: Row) -> Flight | None:
    return kind.value(row, "flight") if "flight" in kind.index else None
