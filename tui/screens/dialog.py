"""The dialog of a command: shows what it acts on, asks for its parameters, and runs nothing without a yes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Label, OptionList, Static

from backend.commands.model import ON, Command, Param, Parsed
from backend.commands.preview import Preview
from backend.commands.run import is_possible
from backend.errors import CloudmeshError, ConfigError, UsageError
from backend.format import in_words
from backend.kinds.model import Kind, Row, Scope
from backend.providers.protocol import Waiting
from backend.session import Session
from backend.text import safe
from tui.screens.confirming import Confirming, Pace, Word
from tui.widgets.field import Field
from tui.widgets.losses import drawn
from tui.widgets.objects import described
from tui.widgets.picks import Picks, matches
from tui.widgets.tick import Tick

_PREVIEWING = "Looking at what would be lost:"

_EXAMPLES = 20
"""At most N rows are listed if a command only reads, such as an export: there may be thousands."""

_LABEL = 40
"""At most N cells of the confirming words are shown beside the field; the preview has all of them."""


class CommandDialog(Confirming[list[Parsed] | None]):
    """Asks for a command's parameters, or to confirm it; dismisses with the commands to run; None for none.

    `targets` are the rows that it acts on, taken when the dialog opens: a refresh behind it does not change them. A
    command with a preview runs only after the preview has come, and only on the ids that the preview shows.
    """

    AUTO_FOCUS: ClassVar[str | None] = ""
    """Nothing: on_mount sets the focus, and no other widget has it before."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
        Binding("down", "down", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        Binding("y", "confirm", "Yes", show=False),
        Binding("enter", "confirm", show=False),  # only while nothing has the focus: before the preview
        Binding("n", "no", "No", show=False),
    ]

    def __init__(
        self,
        command: Command,
        session: Session,
        kinds: Mapping[str, Kind],
        rows_of: Callable[[str], Iterable[Row]],
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
        which: str = "",
        pace: Pace,
    ) -> None:
        super().__init__(pace, "", destroys=command.effect == "destroys" or command.lifts_guard)
        self.command = command
        self._which = which
        """Which rows it acts on, if that is not obvious: the marked ones that are shown, for example."""
        self.session = session
        """The session in the scope of the targets, if they have only one."""
        self._kinds = kinds
        self._rows_of = rows_of
        self._targets = list(targets)
        self._target = target if targets else None
        self.given = dict(given or {})
        self._error = error
        self._asked = [
            param
            for param in command.params
            if param is not self._target
            and is_possible(param, session)
            and (param.asked is None or not targets or any(map(param.asked, targets)))
        ]
        if command.preview and not any(param.kind for param in command.params):
            self._asked = []  # the preview finds what it acts on
        self._picking: Param | None = None
        self.previewed = command.preview is not None and not any(one.kind and one.required for one in self._asked)
        """Whether it waits for a preview: the objects that the command acts on are known."""
        self._preview: Preview | None = None
        self._blind = False
        """Whether the preview failed."""
        self.shown.show(self._question())

    def compose(self) -> ComposeResult:
        """Lay out the reason for asking, what is acted on, the fields, what may be picked, and the buttons."""
        with Vertical(classes=f"window dialog {self.command.effect}") as window:
            window.border_title = Text(self.command.name)  # a str would be taken for markup
            scopes = list(dict.fromkeys(Scope.of(row[-1]) for row in self._targets)) or [self.session.scope]
            clouds, regions = in_words(scopes)
            window.border_subtitle = Text(safe(f"{clouds if ' ' in clouds else f'cloud {clouds}'} · {regions}"))
            with VerticalScroll(classes="window--body", can_focus=False):
                yield Static(safe(self._error), id="dialog-error", markup=False)
                yield self.shown
                for param in self._asked:
                    with Horizontal(classes="field"):
                        yield Label(param.name + (" *" if param.required else ""), markup=False)
                        value = self.given.get(param.name, param.default(self.session) or "")
                        if param.style == "switch":
                            yield Tick(param.help, bool(value), id=f"param-{param.name}")
                        else:
                            yield Field(value, placeholder=param.help, id=f"param-{param.name}")
                yield Picks(id="picks", markup=False)
            with Horizontal(id="confirm-line"):  # below the part that scrolls: always in sight
                yield Label("", id="confirm-label", markup=False)
                yield Word(id="confirm")
            with Horizontal(classes="buttons"):
                style = "error" if self.command.effect == "destroys" else "primary"
                yield Button("Cancel", id="cancel")
                yield Button(  # the user must see the preview first
                    self._label(len(self._targets)),
                    variant=style,  # type: ignore[arg-type]
                    id="run",
                    disabled=self.previewed,
                )

    def _label(self, count: int) -> str:
        verb = self.command.button or self.command.words[-1].capitalize()
        many = f" {count}" if count > 1 else ""
        return f"{verb}{many}{'  y' if self._by_letter else ''}"

    @property
    def _by_letter(self) -> bool:
        """Whether the key y confirms it: there is no field to type into, and no word to type."""
        if self._asked or (self.previewed and self._preview is None):
            return False
        return self._preview is None or (bool(self._preview.acted_on) and not self._preview.typed)

    def on_mount(self) -> None:
        """Set the focus where Enter does no harm: on the first field, else on Cancel where something is destroyed.

        A command that only changes something has no focus before its preview. So a key that comes too early gets an
        explanation, and does not cancel the dialog silently.
        """
        self.query_one("#dialog-error").display = bool(self._error)
        self.query_one("#picks").display = False
        self.query_one("#confirm-line").display = False
        if self.previewed:
            self.set_focus(self.query_one("#cancel") if self.destroys else None)
            return
        fields = list(self.query(".field Input").results(Input))
        if fields:
            self.set_focus(next((one for one in fields if not one.value), fields[0]))
        else:
            self.set_focus(self.query_one("#cancel" if self.command.effect == "destroys" else "#run"))

    def on_resize(self) -> None:
        """Let the body scroll so that the buttons stay in sight; use low buttons if there are few lines."""
        low = self.size.height < 30
        self.set_class(low, "-low")
        window, body = self.query_one(".window"), self.query_one(".window--body")
        window.styles.max_height = max(10, self.size.height - 2)
        confirm = 2 if self.query_one("#confirm-line").display else 0
        body.styles.max_height = max(4, self.size.height - (6 if low else 8) - confirm)

    # --- the preview --------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether its content is complete: with the preview, or with the reason why there is none."""
        return not self.previewed or self._preview is not None or self._blind

    @property
    def _is_open(self) -> bool:
        """Whether it is still open: the preview may come after its end."""
        return bool(self.query("#question"))

    def show_progress(self, done: int, of: int) -> None:
        """Show the progress of the preview."""
        if self._is_open and self._preview is None and of > 1:
            self.shown.show(self._question(f"{_PREVIEWING} {done:,} of {of:,}"))

    def waits(self, waiting: Waiting) -> None:
        """Show that the preview waits to send a request again, and count down."""
        if self._is_open and self._preview is None and (why := waiting.text(monotonic())):
            self.shown.show(self._question(f"{_PREVIEWING} {safe(why)} …"))
            self.set_timer(1.0, lambda: self.waits(waiting))

    def show_preview(self, preview: Preview) -> None:
        """Show the preview; from now on the command can be confirmed."""
        if not self._is_open:
            return
        self._preview = preview
        self.destroys = self.destroys or any(one.losses or one.final for one in preview.acted_on)
        acted_on = len(preview.acted_on)
        self.shown.show(Group(*self._opening(), Text(""), drawn(preview)))
        run = self.query_one("#run", Button)
        run.label = Content(self._label(acted_on))
        run.disabled = not acted_on
        self.renew()
        if not acted_on:
            self.complain("There is nothing that this would act on.")
        if preview.typed:
            words = safe(preview.typed)
            if len(preview.named) > 1 and cell_len(words) > _LABEL:
                words = f"{len(preview.acted_on)} and the {len(preview.named)} names, as above,"
            self.query_one("#confirm-label", Label).update(f"Type {words} to confirm:")
            self.query_one("#confirm-line").display = True
            self.on_resize()
            self.set_focus(self.query_one(Word))
        elif acted_on and not preview.is_final:
            self.set_focus(run)
        elif self.focused is None:
            self.set_focus(self.query_one("#cancel"))

    def show_no_preview(self, error: CloudmeshError) -> None:
        """Show why there is no preview; without it nothing can be confirmed."""
        if self._is_open:
            self._blind = True
            self.shown.show(self._question(""))
            if self.focused is None:
                self.set_focus(self.query_one("#cancel"))
            self.complain(f"It cannot be shown what would be lost, so nothing can be done. {error}")

    @property
    def names(self) -> Sequence[str]:
        """Names and ids of the objects that it acts on, as in the preview."""
        if self._preview is not None:
            return [word for one in self._preview.acted_on for word in (one.name, one.id)]
        if self._target is None or self._target.kind is None or self._target.many:
            return ()
        kind = self._kinds[self._target.kind]
        return [str(word) for row in self._targets for name in ("name", "id") if (word := kind.value(row, name))]

    # --- what it acts on ----------------------------------------------------------------------------------------------

    def _question(self, progress: str = "Looking at what would be lost …") -> Group:
        parts: list[RenderableType] = self._opening()
        if self._target is not None and self._target.kind:
            kind = self._kinds[self._target.kind]
            parts.append(Text(""))
            shown = self._targets[:_EXAMPLES] if self._target.many else self._targets
            parts.append(described(kind, shown))
            if more := len(self._targets) - len(shown):
                parts.append(Text(f"and {more:,} more"))
        if self.previewed and progress:
            parts += [Text(""), Text(progress, style="italic")]
        if self._asked:
            parts.append(Text(""))
        return Group(*parts)

    def _opening(self) -> list[RenderableType]:
        return [Text(text) for text in (f"{self.command.help}.", safe(self._which)) if text]

    # --- picking ------------------------------------------------------------------------------------------------------

    @on(Input.Changed, ".field Input")
    def offer(self, event: Input.Changed) -> None:
        """Offer values that match what is typed."""
        self._offer(event.input)

    def on_descendant_focus(self) -> None:
        """Offer values for the field that gets the focus."""
        if isinstance(self.focused, Input) and self.focused.id != "confirm":
            self._offer(self.focused)
        elif not isinstance(self.focused, OptionList):
            self.query_one("#picks").display = False

    def _offer(self, field: Input) -> None:
        param = self._param(field)
        self._picking = param
        offered: Iterable[tuple[str, str]] = ()
        if field is self.focused and param.kind:
            kind, here = self._kinds[param.kind], self.session.scope
            rows = (row for row in self._rows_of(param.kind) if kind.scope(row) == here)
            offered = matches(kind, rows, field.value)
        elif field is self.focused:
            known = self.session.settings.clouds if param.type == "cloud" else param.known
            offered = [(word, word) for word in known if word != field.value]
        self.query_one(Picks).offer(offered)

    def _param(self, field: Input) -> Param:
        return next(param for param in self._asked if f"param-{param.name}" == field.id)

    @on(OptionList.OptionSelected, "#picks")
    def pick(self, event: OptionList.OptionSelected) -> None:
        """Put the picked value into its field."""
        if self._picking and event.option.id:
            field = self.query_one(f"#param-{self._picking.name}", Input)
            field.value = event.option.id
            self.set_focus(field)

    # --- ending -------------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    @on(Button.Pressed, "#run")
    def run(self) -> None:
        """Check the fields and dismiss with the commands, or show what is missing."""
        if not self._confirmed():
            return
        typed = {param.name: self._typed(param) for param in self._asked}
        # An emptied field means none; a field that was never filled means the default.
        given = {
            param.name: typed[param.name]
            for param in self._asked
            if typed[param.name] or param.default(self.session) or param.name in self.given
        }
        commands = [
            Parsed(self.command, given | named, self._production(scope), scope) for scope, named in self._named()
        ]
        try:
            for parsed in commands:
                parsed.bind(parsed.at(self.session))
        except (UsageError, ConfigError) as error:
            self.complain(str(error))
            return
        self.dismiss(commands)

    def _confirmed(self) -> bool:
        """Return whether the user has confirmed it; if not, show what is missing."""
        if self.previewed and (self._blind or (self._preview and not self._preview.acted_on)):
            return False
        wanted, since = "", None
        if self._preview is not None and (wanted := self._preview.typed):
            word = self.query_one(Word)
            if not self._preview.confirmed_by(safe(word.value)):
                self.complain(f"Type {wanted} to confirm it; Esc cancels.")
                return False
            since = word.since
        if refusal := self.refusal(since):
            if wanted:
                self.query_one(Word).clear()
            self.complain(refusal)
        return not refusal

    def _production(self, scope: Scope) -> frozenset[str]:
        """Return the ids of the production objects of a scope whose names the user typed."""
        named = self._preview.named if self._preview else ()
        return frozenset(one.id for one in named if one.production and (one.scope or scope) == scope)

    def _typed(self, param: Param) -> str:
        if param.style == "switch":
            return ON if self.query_one(f"#param-{param.name}", Tick).value else ""
        return self.query_one(f"#param-{param.name}", Input).value.strip()

    def _named(self) -> list[tuple[Scope, dict[str, str]]]:
        """Return the scope of each command to run, and the argument that names its object."""
        here = self.session.scope
        if self._target is None or self._target.kind is None:
            return [(here, {**self.given, **self._preview.given} if self._preview else {})]
        kind, name = self._kinds[self._target.kind], self._target.name
        if self._target.many:  # by id: a name may hold a comma
            ids: dict[Scope, list[str]] = {}
            for row in self._targets:
                ids.setdefault(kind.scope(row), []).append(kind.ref(row).id)
            return [(scope, {name: ",".join(natives)}) for scope, natives in ids.items()]
        if self._preview is not None:
            return [(one.scope or here, {name: one.id}) for one in self._preview.acted_on]
        return [(kind.scope(row), {name: kind.called(row)}) for row in self._targets]

    def action_down(self) -> None:
        """Focus the offered values of the field, else the next field."""
        picks = self.query_one("#picks", OptionList)
        if isinstance(self.focused, Input) and picks.display:
            self.set_focus(picks)
            picks.highlighted = 0
        else:
            self.focus_next()

    def action_confirm(self) -> None:
        """Confirm by a letter, if there is no field to type it into."""
        if not self._asked:
            self.run()

    def action_no(self) -> None:
        """Cancel by a letter, unless the letter belongs to a word that is being typed."""
        if not self.is_in_word:
            self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll the body."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Dismiss without a command."""
        self.dismiss(None)
