"""The keys of the dashboard: those of the commands, made from COMMANDS, and its own."""

from textual.binding import Binding, BindingType

from backend.catalog import KINDS
from backend.commands.table import COMMANDS


def command_bindings() -> list[BindingType]:
    """Return one binding for each command with a key; check_action hides those of other tabs."""
    return [
        Binding(
            one.key,
            f"ask('{one.name}')",
            one.words[-1],
            show=bool(one.on) and not one.minor,
            id=one.name.replace(" ", "."),
            tooltip=one.help,
        )
        for one in COMMANDS
        if one.key
    ]


OWN_BINDINGS: list[Binding] = [
    # Priority: the focus must have moved before the next letter comes.
    Binding(
        "slash", "filter", "filter", priority=True, key_display="/", tooltip="Show rows that have all the words typed"
    ),
    Binding("colon", "command_line", "command", priority=True, key_display=":", tooltip="Type a command"),
    Binding(
        "space",
        "mark",
        "mark",
        show=False,
        key_display="space",
        tooltip="Mark the row and go down; commands act on the marked rows that are shown",
    ),
    Binding("asterisk", "mark_all", "mark all", show=False, key_display="*", tooltip="Mark all rows that are shown"),
    Binding("s", "sort", "sort", show=False, tooltip="Sort by the next column"),
    Binding("S", "reverse", "reverse", show=False, key_display="S", tooltip="Sort the other way round"),
    Binding(
        "escape",
        "back",
        "back",
        show=False,
        key_display="esc",
        tooltip="Drop the message, the filter, the marks; close an extra tab",
    ),
    Binding("z", "undo", "undo", show=False, tooltip="Undo what was done last, where the cloud can"),
    Binding("F", "results", "results", show=False, key_display="F", tooltip="List results; do again what failed"),
    Binding("E", "failures", "failures", show=False, key_display="E", tooltip="List the regions that failed, and why"),
    Binding("x", "cancel_work", "cancel work", show=False, tooltip="Cancel the work under way"),
    Binding("L", "log_in", "log in", show=False, key_display="L", tooltip="Log in again, where a session has ended"),
    *(
        Binding(str(kind.tab), f"tab('{kind.name}')", kind.plural, show=False, tooltip=f"Show the {kind.nouns}")
        for kind in KINDS.values()
        if kind.tab
    ),
    Binding("question_mark", "help", "help", key_display="?", tooltip="This help"),
    Binding("q", "app.quit", "quit", show=False, tooltip="Quit"),
]
