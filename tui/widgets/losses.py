"""Draws a preview: all facts about one object, or a few lines about each of many."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backend.commands.preview import Preview, Target
from backend.text import safe

_BRIEF = ("State", "Age", "Location", "USD/hour", "Size", "Type", "Used by")
"""The facts that are shown beside the name when there are many objects."""


def drawn(preview: Preview) -> RenderableType:
    """Return a drawn preview; no text in it is taken for markup."""
    parts: list[RenderableType] = []
    for note in preview.notes:
        parts.append(Text(safe(note), style="bold"))
    if len(preview.named) > 1:  # too long for the line of the field
        parts.append(Text(f"To confirm, type: {safe(preview.typed)}\n", style="bold", overflow="fold"))
    acted_on = preview.acted_on
    if len(preview.targets) == 1 and acted_on:
        parts.append(_alone(acted_on[0], destroys=preview.destroys))
    else:
        parts += [Text(safe(total), style="bold") for total in preview.totals]
        if preview.left_out:
            parts.append(Text(f"\nLeft out: {len(preview.left_out)}", style="bold"))
            parts += [Text(safe(f"  {one.label}: {one.left_out}."), overflow="fold") for one in preview.left_out]
        if acted_on:
            parts.append(Text(""))
            parts += [_among_others(one, destroys=preview.destroys) for one in acted_on]
    return Group(*parts)


def _alone(target: Target, *, destroys: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    if target.name != target.id:
        grid.add_row("Name", Text(safe(target.name)))
    grid.add_row("ID", Text(safe(target.id)))
    for title, value in target.facts:
        grid.add_row(title, Text(safe(value)))
    for title, lines in (("Goes with it" if destroys else "Is lost", target.losses), ("Stays", target.stays)):
        grid.add_row(title, Text("\n".join(map(safe, lines)) or "nothing"))
    warnings = [Text(safe(f"! {warning}"), style="bold") for warning in target.warnings]
    return Group(grid, *warnings)


def _among_others(target: Target, *, destroys: bool) -> RenderableType:
    facts = dict(target.facts)
    line = Text(no_wrap=False, overflow="fold")
    line.append(safe(target.label), style="bold")
    for title in _BRIEF:
        if title in facts:
            line.append(f" · {safe(_worded(title, facts[title]))}")
    below = [Text(safe(text), style="dim", overflow="fold") for text in _below(target, destroys=destroys)]
    return Group(line, *(Padding(text, (0, 0, 0, 2)) for text in below))


def _worded(title: str, value: str) -> str:
    """Return a fact in words that need no title."""
    if title != "USD/hour":
        return value
    if value == "unknown":
        return "price unknown"
    # The totals say once where the prices are from.
    return f"{value.split(' ', maxsplit=1)[0]} USD/hour" if value[:1].isdigit() else value


def _below(target: Target, *, destroys: bool) -> Iterable[str]:
    if target.losses:
        yield f"{'goes' if destroys else 'is lost'}: {', '.join(target.losses)}"
    if target.stays:
        yield f"stays: {', '.join(target.stays)}"
    if ("Protected", "unknown") in target.facts:
        yield "whether it is protected is not known"
    yield from (f"! {warning}" for warning in target.warnings)
