"""Asks before a command runs: opens its dialog if one is needed, with a preview of what it destroys or loses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from backend.callbacks import ignore
from backend.commands.grammar import complete, parse, split
from backend.commands.locating import located
from backend.commands.lookup import find
from backend.commands.model import Command, Context, Param, Parsed
from backend.commands.naming import named
from backend.commands.preview import Preview, of_scopes
from backend.commands.run import losses, offered, refusal
from backend.commands.scoping import Choice, ask_regions, choices, remembered
from backend.commands.table import command
from backend.errors import CloudmeshError, ConfigError, MissingError, NotFoundError
from backend.kinds.model import Kind, Row, Scope
from backend.log import logger
from backend.refresh import Progress
from backend.scopes import named as named_scopes
from backend.scopes import text_of
from backend.session import Session
from backend.text import safe
from tui.deciding import Chosen, Request, Step, Way, first_step
from tui.host import Host, Tables
from tui.jobs import Job
from tui.screens.dialog import CommandDialog
from tui.screens.scopes import ScopesScreen

if TYPE_CHECKING:
    from tui.runner import Runner, Then


_REREAD = 5.0
"""Seconds for which names of a kind that is not open are offered before its rows are read again."""


class Asking:
    """Questions to the user before the runner of one cloud runs a command. All methods run on the event loop."""

    def __init__(self, host: Host, tables: Tables, runner: "Runner") -> None:
        self._host = host
        self._tables = tables
        self._runner = runner
        self._read: dict[str, tuple[float, Sequence[Row]]] = {}
        """Rows of kinds that are not open, each with the time when they were requested."""

    def enter(self, line: str) -> bool:
        """Run a typed line; return False if it is refused at once. The name of a kind alone shows its tab."""
        try:
            words = split(line)
            if (kind := self._kind_named(words)) is not None:
                self._host.show(kind.name)
                return True
            parsed = parse(words)
        except CloudmeshError as error:
            self._host.show_error(error)
            return False
        return self.ask(parsed, "line")

    def _kind_named(self, words: Sequence[str]) -> Kind | None:
        if len(words) != 1:
            return None
        word = words[0].lower()
        kinds = self._tables.kinds.values()
        return next((kind for kind in kinds if word in (kind.name, kind.plural, *kind.aliases)), None)

    def completions(self, line: str) -> list[str]:
        """Return the completions of a typed line: commands that can run now, and names of objects."""
        session = self._runner.session
        return complete(line, self._names, offered(self._host.commands, session))

    def _names(self, param: Param) -> Iterable[str]:
        if param.type == "cloud":
            return list(self._runner.session.settings.clouds)
        if param.type == "region":
            return [scope.region for scope in self._runner.session.scopes]
        if param.kind is None:
            return []
        kind = self._kind_of(param)
        columns = dict.fromkeys(("name", kind.handle))
        return (str(value) for row in self.rows_of(kind.name) for name in columns if (value := kind.value(row, name)))

    def rows_of(self, kind: str) -> Iterable[Row]:
        """Return the known rows of a kind; if its tab is not open, a job reads them for a later call."""
        if self._tables.is_open(kind):
            return self._tables.table_of(kind).rows.all()
        asked, rows = self._read.get(kind, (-inf, ()))
        if monotonic() - asked > _REREAD:
            self._read[kind] = monotonic(), rows
            session, known = self._runner.session, self._tables.kinds[kind]

            def keep(found: Sequence[Row]) -> None:
                self._read[kind] = self._read[kind][0], found

            def read(_job: Job) -> list[Row]:
                return [row for scope in session.scopes_of(known) for row in session.cache.rows.snapshot(known, scope)]

            self._host.start(Job("", read, keep, ignore))
        return rows

    def ask(self, parsed: Parsed, way: Way, chosen: Chosen | None = None) -> bool:
        """Take the first step towards a command; see tui.deciding. Return False if it is refused at once."""
        session, one, target = self._runner.session, parsed.command, parsed.command.object
        if way == "key" and (named := self._looked_at(one)):
            parsed = replace(parsed, given={"region": named})
        if why := refusal(one, parsed.at(session)):
            self._host.show_error(why)
            return False
        if chosen is not None and one.effect != "reads":
            chosen, why = _allowed(one, chosen, session)
            if why:
                self._host.show_error(why)
                return False
        if chosen is not None and one.effect == "reads" and not one.asks and chosen.refs:
            scope, native = chosen.refs[0]
            parsed = Parsed(one, {chosen.target.name: native, **parsed.given}, scope=scope)
        step = first_step(Request(parsed, way, chosen), session)
        if step is Step.SHOW:
            self._host.show(one.shows or "")
        elif step is Step.ASK_ON_ROWS and chosen is not None:
            known = self._tables.table_of(chosen.target.kind or "").rows
            rows = [row for ref in chosen.refs if (row := known.row(ref)) is not None]
            self.dialog(one, targets=rows, target=chosen.target, which=chosen.which)
        elif step is Step.CONFIRM and target is not None:
            self._confirm([parsed], target)
        elif step is Step.WEIGH and target is not None:
            self._unless_final(parsed, target)
        elif step is Step.RUN:
            self._runner.run([parsed])
        else:
            self.dialog(one, given=parsed.given, scope=parsed.scope)
        return True

    def _looked_at(self, one: Command) -> str:
        """Return the scopes whose images `r` lists: those that the filter names, "region:eu-west-1"; else the home."""
        kind = self._tables.kinds.get(one.refreshes or "")
        if kind is None or not kind.vast:
            return ""
        scopes = self._tables.table_of(kind.name).rows.scopes_in_words(self._runner.session.scopes)
        return text_of(scopes) if len(scopes) < len(self._runner.session.scopes) else ""

    def choose_scopes(self) -> None:
        """Offer clouds and regions, as they are remembered; the clouds are asked for theirs meanwhile."""
        session = self._runner.session

        def chosen(text: str | None) -> None:
            if text is not None and not self._runner.closed:
                self.ask(Parsed(command("set default"), {"cloud": text}), "line")

        def show(found: list[Choice]) -> None:
            if self._runner.closed:
                return
            screen = ScopesScreen(found)
            self._host.open(screen, chosen)
            if session.fetches:
                ask = Job("", lambda job: ask_regions(session, job.check), screen.show, _log, key="regions")
                self._host.start(ask)

        read = Job("", lambda _job: choices(session, remembered(session)), show, opens=True)
        self._host.start(read)

    def _confirm(self, commands: Sequence[Parsed], target: Param) -> None:
        """Find the rows that these calls of one command name, and open its dialog on them."""
        session, first = self._runner.session, commands[0]
        kind = self._kind_of(target)
        rest = {name: value for name, value in first.given.items() if name != target.name}

        def show(rows: list[Row]) -> None:
            if not self._runner.closed:
                self.dialog(first.command, targets=rows, target=target, given=rest)

        def find_rows(job: Job) -> list[Row]:
            rows = []
            for one in commands:
                try:
                    parsed = located(one, session, job.check)
                    context = Context(parsed.at(session), parsed.given, job.check)
                    with named(parsed, context):
                        rows.append(find(context, kind, parsed.given[target.name]))
                except NotFoundError:
                    if len(commands) == 1:
                        raise
            if not rows:
                raise NotFoundError("None of them exists any more.")
            return rows

        word = safe(first.given[target.name]) if len(commands) == 1 else kind.nouns
        self._host.start(Job(f"Looking for {word}", find_rows, show, opens=True))

    def _unless_final(self, parsed: Parsed, target: Param) -> None:
        """Run a typed command that changes something; if it loses something for good, open its dialog."""
        session = self._runner.session

        def then(found: Preview | None) -> None:
            if self._runner.closed:
                return
            if found is not None and found.is_final:
                self._confirm([parsed], target)
            else:
                self._runner.run([parsed])

        title = f"Looking at what {safe(parsed.line)} loses"
        self._host.start(Job(title, lambda job: losses(parsed, session, job.check), then, opens=True))

    def dialog(
        self,
        one: Command,
        *,
        targets: Sequence[Row] = (),
        target: Param | None = None,
        given: Mapping[str, str] | None = None,
        error: str = "",
        which: str = "",
        scope: Scope | None = None,
        then: "Then" = ignore,
    ) -> None:
        """Open a command's dialog; `then` gets the command after it has succeeded.

        The command acts in the scope of each target; without targets in `scope`, or in the session's if it is None.
        """
        scopes = {Scope.of(row[-1]) for row in targets}
        if len(scopes) == 1:
            (scope,) = scopes
        try:
            session = self._runner.session if scope is None else self._runner.session.at(scope)
        except ConfigError as failure:
            self._host.show_error(failure)
            return
        dialog = CommandDialog(
            one,
            session,
            self._tables.kinds,
            self.rows_of,
            targets=targets,
            target=target,
            given=given,
            error=error,
            which=which,
            pace=self._host.pace,
        )

        def closed(chosen: list[Parsed] | None) -> None:
            previewing.cancel()
            if not chosen:
                return
            if self._runner.closed:
                self._host.show_error(CloudmeshError("The cloud was switched meanwhile, so nothing was done."))
            elif one.preview and not dialog.previewed:
                self.ask(chosen[0], "palette")  # the object is known now: show what it destroys
            else:
                if targets and target and one.effect != "reads":
                    kind = self._kind_of(target)  # a row that was acted on loses its mark
                    self._tables.table_of(kind.name).unmark(map(kind.ref, targets))
                self._runner.run(chosen, then=then, again=again)

        def again(parsed: Parsed, failure: CloudmeshError) -> None:
            """Open the dialog again with what was typed and the reason why it was refused."""
            self.dialog(
                one,
                targets=targets,
                target=target,
                given=parsed.given,
                error=str(failure),
                which=which,
                scope=scope,
                then=then,
            )

        previewing = self._preview(dialog, targets, target)
        self._host.open(dialog, closed)
        if dialog.previewed:
            self._host.start(previewing)

    def _preview(self, dialog: CommandDialog, targets: Sequence[Row], target: Param | None) -> Job:
        """Return the job that makes the preview of a dialog and shows it there."""
        session, preview = dialog.session, dialog.command.preview
        ids: dict[Scope, list[str]] = {}
        if target is not None and target.kind is not None:
            for scope, native in map(self._kind_of(target).ref, targets):
                ids.setdefault(scope, []).append(native)

        def find_out(job: Job) -> Preview:
            assert preview is not None  # noqa: S101 - for mypy: asked for by the caller
            found = []
            for scope, natives in (ids or {session.scope: []}).items():
                context = Context(session.at(scope), dialog.given, job.check, job.report, job.waits)
                found.append((scope, preview(context, natives)))
            return of_scopes(found)

        def moved(progress: Progress) -> None:
            dialog.show_progress(progress.rows, progress.estimate)

        return Job("", find_out, dialog.show_preview, dialog.show_no_preview, on_progress=moved, on_wait=dialog.waits)

    def again(self, commands: Sequence[Parsed]) -> bool:
        """Open the dialog of a command with a preview again: the user sees again what is lost, and confirms again.

        Return False if all objects are gone.
        """
        one = commands[0].command
        target = one.object
        if target is None:
            self.dialog(one, scope=commands[0].scope)
            return True
        kind = self._kind_of(target)
        if not self._tables.is_open(kind.name):  # its rows are only in the cache
            self._confirm(commands, target)
            return True
        words = {(parsed.scope or self._runner.session.scope, parsed.given[target.name]) for parsed in commands}
        known = self._tables.table_of(kind.name).rows.all()
        rows = [row for row in known if words & {(kind.scope(row), kind.called(row)), kind.ref(row)}]
        if rows:
            self.dialog(one, targets=rows, target=target)
        else:
            self._host.say("None of them exists any more.")
        return bool(rows)

    def offer_missing(self, parsed: Parsed, error: MissingError) -> bool:
        """Offer to create the object that a command lacks, then run it; return whether a parameter has an offer."""
        missing = next((one for one in parsed.command.params if one.offer and one.kind == error.kind), None)
        if missing is None or missing.offer is None:
            return False
        creating, sentence = command(missing.offer[0]), missing.offer[1]
        name = next(param.name for param in creating.params if param.required)

        def run_with(created: Parsed) -> None:
            self._runner.run([replace(parsed, given={**parsed.given, missing.name: created.given[name]})])

        error_text = f"{error.message} {sentence}"
        self.dialog(creating, given={name: error.name}, error=error_text, scope=parsed.scope, then=run_with)
        return True

    def _kind_of(self, target: Param) -> Kind:
        return self._tables.kinds[target.kind or ""]


def _log(error: CloudmeshError) -> None:
    """Note that a cloud did not list its regions: the user did not ask for that."""
    logger.info("%s", error)


def _allowed(one: Command, chosen: Chosen, session: Session) -> tuple[Chosen, CloudmeshError | None]:
    """Return the chosen rows without those whose scope refuses the command; an error if that leaves none.

    What is read-only, and what a cloud can do, is each scope's own.
    """
    refused = {
        scope: why
        for scope in dict.fromkeys(ref.scope for ref in chosen.refs)
        if (why := refusal(one, session.at(scope))) is not None
    }
    if not refused:
        return chosen, None
    why = next(iter(refused.values()))
    kept = [ref for ref in chosen.refs if ref.scope not in refused]
    if not kept:
        return chosen, why
    left_out = f"Left out: {len(chosen.refs) - len(kept):,} in {named_scopes(tuple(refused))}. {why.message}"
    return replace(chosen, refs=kept, which=f"{chosen.which} {left_out}".strip()), None
