"""The dialog of a command: shows what it acts on, asks for what it needs, and runs nothing without a yes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from backend.commands import Command, Param, Parsed
from backend.errors import UsageError
from backend.format import cell
from backend.kinds import KINDS, Kind, Row
from backend.session import Session
from backend.text import safe

RowsOf = Callable[[str], Iterable[Row]]

_PICKS = 50
"""So many matches are offered at most: more words find the rest."""


class CommandDialog(ModalScreen[list[Parsed] | None]):
    """Asks for a command's parameters, or to confirm it; dismisses with the commands to run, None for none.

    `targets` are the rows it acts on, taken when the dialog opens: nothing that is refreshed behind it changes them.
    """

    AUTO_FOCUS: ClassVar[str | None] = ""
    """None: on_mount chooses, and nothing else has the focus for a moment before."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
        Binding("down", "down", show=False),
        Binding("y", "confirm", "Yes", show=False),
        Binding("n", "cancel", "No", show=False),
    ]

    def __init__(
        self,
        command: Command,
        session: Session,
        rows_of: RowsOf,
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
    ) -> None:
        super().__init__()
        self.command = command
        self._session = session
        self._rows_of = rows_of
        self._targets = list(targets)
        self._target = target if targets else None
        self._given = dict(given or {})
        self._error = error
        self._asked = [param for param in command.params if param is not self._target]
        self._picking: Param | None = None
        self.seen = False
        """Whether it has been painted: keys typed ahead, before anybody could read it, are no yes."""

    def compose(self) -> ComposeResult:
        """Lay out the reason for asking, what is acted on, the fields, what may be picked, and the buttons."""
        with Vertical(classes=f"window dialog {self.command.effect}") as window:
            window.border_title = Text(self.command.name)  # a str would be taken for markup
            window.border_subtitle = f"cloud {self._session.cloud.name} · {self._session.cloud.region}"
            with VerticalScroll(classes="window--body", can_focus=False):
                yield Static(self._error, id="dialog-error", markup=False)
                yield Static(self._question(), markup=False)
                for param in self._asked:
                    with Horizontal(classes="field"):
                        yield Label(param.name + (" *" if param.required else ""), markup=False)
                        value = self._given.get(param.name, param.default(self._session) or "")
                        yield Input(value, placeholder=param.help, id=f"param-{param.name}", select_on_focus=False)
                yield OptionList(id="picks", markup=False)
            with Horizontal(classes="buttons"):
                style = "error" if self.command.effect == "destroys" else "primary"
                yield Button("Cancel", id="cancel")
                yield Button(self._verb, variant=style, id="run")  # type: ignore[arg-type]

    @property
    def _verb(self) -> str:
        verb = self.command.button or self.command.words[-1].capitalize()
        return f"{verb} {len(self._targets)}" if len(self._targets) > 1 else verb

    def on_mount(self) -> None:
        """Begin where Enter does no harm: on the first field, else on Cancel where something is destroyed."""
        self.call_after_refresh(setattr, self, "seen", True)
        self.query_one("#dialog-error").display = bool(self._error)
        self.query_one("#picks").display = False
        fields = list(self.query(Input))
        if fields:
            empty = next((one for one in fields if not one.value), fields[0])
            (fields[0] if not fields[0].value else empty).focus()
        else:
            self.query_one("#cancel" if self.command.effect == "destroys" else "#run").focus()

    def on_resize(self) -> None:
        """Let what does not fit scroll, for the buttons are always in sight, and low ones where there are few lines."""
        low = self.size.height < 30
        self.set_class(low, "-low")
        window, body = self.query_one(".window"), self.query_one(".window--body")
        window.styles.max_height = max(10, self.size.height - 2)
        body.styles.max_height = max(4, self.size.height - (6 if low else 8))

    # --- what it acts on ---------------------------------------------------------------------------------------------

    def _question(self) -> Group:
        parts: list[RenderableType] = [Text(f"{self.command.help}.")]
        if self._target is not None and self._target.kind:
            kind = KINDS[self._target.kind]
            parts.append(Text(""))
            parts.append(_facts(kind, self._targets[0]) if len(self._targets) == 1 else _list(kind, self._targets))
            if self.command.effect == "destroys" and (attached := self._attached(kind)):
                parts += [Text(""), attached]
        if self._asked:
            parts.append(Text(""))
        return Group(*parts)

    def _attached(self, kind: Kind) -> RenderableType | None:
        """Return the volumes attached to the VMs that would go."""
        if kind.name != "vm":
            return None
        volume = KINDS["volume"]
        ids = {kind.value(row, "id") for row in self._targets}
        rows = [row for row in self._rows_of("volume") if volume.value(row, "vm") in ids]
        if not rows:
            return None
        columns = _ATTACHED | ({"vm"} if len(ids) > 1 else {"state"})
        return Group(Text("Volumes attached, as last listed:", style="bold"), _list(volume, rows, columns))

    # --- picking -----------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    def offer(self, event: Input.Changed) -> None:
        """Offer what matches the field that is typed in."""
        self._offer(event.input)

    def on_descendant_focus(self) -> None:
        """Offer what matches the field that is entered."""
        if isinstance(self.focused, Input):
            self._offer(self.focused)
        elif not isinstance(self.focused, OptionList):
            self.query_one("#picks").display = False

    def _offer(self, field: Input) -> None:
        picks = self.query_one("#picks", OptionList)
        param = self._param(field)
        self._picking = param
        picks.clear_options()
        if field is not self.focused:
            return
        if param.kind:
            offered = list(_matches(KINDS[param.kind], self._rows_of(param.kind), field.value))
        elif param.type == "cloud":
            offered = [(name, name) for name in self._session.settings.clouds if name != field.value]
        else:
            offered = []
        for value, text in offered:
            picks.add_option(Option(Content(text), id=value))
        picks.display = bool(picks.option_count)

    def _param(self, field: Input) -> Param:
        return next(param for param in self._asked if f"param-{param.name}" == field.id)

    @on(OptionList.OptionSelected, "#picks")
    def pick(self, event: OptionList.OptionSelected) -> None:
        """Put the picked value into its field."""
        if self._picking and event.option.id:
            field = self.query_one(f"#param-{self._picking.name}", Input)
            field.value = event.option.id
            field.cursor_position = len(field.value)
            field.focus()

    # --- ending ------------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    @on(Button.Pressed, "#run")
    def run(self) -> None:
        """Check the fields and give back the commands, or say what is missing."""
        if not self.seen:
            return
        typed = {param.name: self.query_one(f"#param-{param.name}", Input).value.strip() for param in self._asked}
        # An emptied field says that there shall be none; one that nobody filled says nothing.
        given = {
            param.name: typed[param.name]
            for param in self._asked
            if typed[param.name] or param.default(self._session) or param.name in self._given
        }
        if self._target is not None and self._target.kind:
            kind = KINDS[self._target.kind]
            commands = [
                Parsed(self.command, given | {self._target.name: kind.value(row, kind.handle)}) for row in self._targets
            ]
        else:
            commands = [Parsed(self.command, given)]
        try:
            for parsed in commands:
                parsed.bind(self._session)
        except UsageError as error:
            complaint = self.query_one("#dialog-error", Static)
            complaint.update(str(error))
            complaint.display = True
            return
        self.dismiss(commands)

    def action_down(self) -> None:
        """Go to what is offered for the field, else to the next one."""
        picks = self.query_one("#picks", OptionList)
        if isinstance(self.focused, Input) and picks.display:
            picks.focus()
            picks.highlighted = 0
        else:
            self.focus_next()

    def action_confirm(self) -> None:
        """Say yes by a key, where no field would take it for text."""
        if not self._asked:
            self.run()

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Run nothing."""
        self.dismiss(None)


def _matches(kind: Kind, rows: Iterable[Row], typed: str) -> Iterable[tuple[str, str]]:
    """Yield (value, text) of the rows that hold every typed word in their name or id."""
    words = typed.casefold().split()
    id_at, name_at = kind.index["id"], kind.index["name"]
    found = 0
    for row in rows:
        native, name = str(row[id_at]), str(row[name_at] or "")
        text = f"{native} {name}".casefold()
        if all(word in text for word in words):
            value = str(kind.value(row, kind.handle))
            if value == typed:
                continue
            yield value, safe(native if name in ("", native) else f"{name}  {native}")
            found += 1
            if found == _PICKS:
                return


_LISTED = frozenset({"name", "id", "state", "size", "type", "location"})
"""The columns that tell rows of a list apart."""

_ATTACHED = frozenset({"name", "id", "size"})
"""Those of a volume beside its VM."""


def _facts(kind: Kind, row: Row) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for column, value in zip(kind.columns, row, strict=True):
        if value is not None:
            grid.add_row(column.title, Text(cell(value, column)))
    return grid


def _list(kind: Kind, rows: Sequence[Row], names: frozenset[str] = _LISTED) -> Table:
    shown = [column for column in kind.columns if column.name in names]
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in shown:
        grid.add_column(column.title, no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(cell(kind.value(row, column.name), column)) for column in shown))
    return grid
