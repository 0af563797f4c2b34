"""Runs one refresh or one command without a screen and prints its result as text or JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from shutil import get_terminal_size
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from backend.cache.documents import plain_or_text
from backend.catalog import KINDS, kind_named
from backend.commands.grammar import parse
from backend.commands.listings import failures_of, summary
from backend.commands.lookup import cannot
from backend.commands.model import Parsed, Result
from backend.commands.run import execute, is_journalled, losses
from backend.errors import UsageError
from backend.format import RIGHT_ALIGNED, as_object, cell, field_texts, fields_as_json
from backend.journal.recovery import recover
from backend.kinds.model import PLACES, Kind, Row, Scope, places, value_of, with_places
from backend.log import logger
from backend.providers.protocol import Waiting
from backend.refresh import Difference, Progress, Wanted, refresh_scopes
from backend.session import Session
from backend.text import safe, safe_lines
from tui import printing
from tui.interrupt import Interrupt

Task = Callable[[Session, bool], int]
"""What the arguments ask for: takes the session and whether to print JSON, returns the exit status."""


def task(
    words: Sequence[str],
    refresh: Sequence[str] | None,
    interrupt: Interrupt,
    *,
    yes: bool,
    production: Sequence[str] = (),
) -> Task:
    """Return the task that the arguments ask for; raise UsageError if they are wrong.

    `production` has the names or ids of production objects that may be destroyed, or several joined by commas.
    """
    if refresh is not None:
        _check_confirms_nothing("--refresh", production)
        # `words` are kinds too: an option may come between --refresh and these.
        return partial(_refresh, list(dict.fromkeys(kind_named(word) for word in (*refresh, *words))))
    parsed = parse(words)
    if parsed.command.effect == "destroys" and not yes:
        raise UsageError(
            f"{parsed.line} destroys something, and there is no screen to confirm it on.", "Add --yes to do it."
        )
    if parsed.command.effect != "destroys":
        _check_confirms_nothing(parsed.line, production)
    # A name may itself have commas and blanks.
    named = frozenset(name for word in production for part in (word, *word.split(",")) for name in (part, part.strip()))
    return partial(_command, replace(parsed, production=named - {""}), interrupt)


def _check_confirms_nothing(what: str, production: Sequence[str]) -> None:
    if production:
        raise UsageError(f"{what} destroys nothing, so --production confirms nothing.", "Leave it out.")


def _command(parsed: Parsed, interrupt: Interrupt, session: Session, as_json: bool) -> int:
    if parsed.command.effect != "reads" or parsed.command.shows == "journal":
        # A command that is not journalled sends nothing again; journal resume lets the user choose first.
        _recover(session, interrupt, resend=is_journalled(parsed.command, parsed.given))
    logger.info("%s: begins", safe(parsed.line))
    with (
        _Progress(show=not as_json) as bars,
        nullcontext() if parsed.command.effect == "reads" else interrupt.changing(),
    ):
        _show_losses(parsed, session, interrupt)
        result = execute(parsed, session, check=interrupt.check, progress=bars.update, on_wait=bars.waits)
    logger.info("%s: %s", safe(parsed.line), safe(result.failure or result.message or "done"))
    _show(result, as_json)
    for text in (result.lost, result.failure, *_notes(result.differences)):
        if text:
            print(safe(text), file=sys.stderr)
    return 1 if result.failure else 0


def _show_losses(parsed: Parsed, session: Session, interrupt: Interrupt) -> None:
    """Before a command such as a stop runs, write on stderr what it loses although it destroys nothing."""
    found = losses(parsed, session, interrupt.check)
    if found is None:
        return
    for note in found.notes:
        print(safe(note), file=sys.stderr)
    for one in found.acted_on:
        for lost in one.losses:
            print(safe(f"{one.label}: {lost}."), file=sys.stderr)
        for stays in one.stays:
            print(safe(f"{one.label}: {stays}."), file=sys.stderr)
        for warning in one.warnings:
            print(safe(f"{one.label}: {warning}"), file=sys.stderr)


def _recover(session: Session, interrupt: Interrupt, *, resend: bool) -> None:
    """Find the outcome of commands that an earlier run left unfinished, and write it on stderr."""
    with interrupt.changing():
        found = recover(session, interrupt.check, resend=resend)
    for text in (*found.messages, *found.failures):
        print(safe(f"Left unfinished: {text}"), file=sys.stderr)
    if found.offer:
        print(f"{found.offer} journal resume runs what is left, journal drop gives it up.", file=sys.stderr)


def _refresh(named: list[Kind], session: Session, as_json: bool) -> int:
    """Refresh the kinds that are named, in all chosen scopes; else every kind, each where its table would show it."""
    if session.cache.refusal:
        raise session.cache.refusal
    wanted: list[Wanted] = []
    for kind in named or KINDS.values():
        for scope in session.scopes if named else session.scopes_of(kind):
            if session.at(scope).has(kind.name):
                wanted.append((kind, scope))
            elif named and len(session.scopes) == 1:
                raise cannot(session, kind.nouns)
    several = len(session.scopes) > 1
    with _Progress(show=not as_json, wanted=wanted, several=several) as bars:
        done = refresh_scopes(
            wanted,
            lambda scope, *hooks: session.at(scope).connect(*hooks),
            session.cache,
            progress=bars.update,
            on_wait=bars.waits,
            done=_print_json if as_json else bars.done,
        )
    for one in done:
        logger.info("%s", f"{KINDS[one.kind].plural}: {safe(one.error)}" if one.error else summary(one))
    if not as_json:
        _print_summary(done, several=several)
    for note in _notes(done):
        print(safe(note), file=sys.stderr)
    failed = [one for one in done if one.error]
    if several:
        for sentence in failures_of(failed):
            print(safe(sentence), file=sys.stderr)
    return 1 if failed else 0


def _notes(done: Iterable[Difference]) -> Iterable[str]:
    """Return what these refreshes say that their listings lack, each sentence once."""
    return dict.fromkeys(one.note for one in done if one.note)


# --- printing ---------------------------------------------------------------------------------------------------------


def _show(result: Result, as_json: bool) -> None:
    if result.failure and result.rows == ():
        return  # unknown, not none
    if result.rows is not None and result.kind is not None:
        kind = result.kind
        if as_json:
            _print_array(as_object(kind, row) | kind.scope(row)._asdict() for row in result.rows)
        else:
            _print_rows(kind, result.rows)
    elif as_json and result.differences:
        for one in result.differences:
            _print_json(one)
    elif as_json:
        # A flight is a tuple: json would write it as an array without asking for its plain form.
        text = {"text": result.text} if result.text else {}
        print(_json({"message": result.message, **fields_as_json(result.kind, result.fields), **text}))
    elif result.text:
        _print_text(result.text)
        if result.message:
            print(safe(result.message), file=sys.stderr)
    else:
        print(safe(result.message))
        failed = sum(part.error is not None for part in result.parts)
        for part in result.parts:
            # The reason of a single failure is on stderr; of several, each line has its own reason.
            why = part.error if failed > 1 else "failed"
            said = why if part.error else part.outcome.message if isinstance(part.outcome, Result) else ""
            print(f"  {safe(part.parsed.line)}: {safe(str(said))}")
        if result.undo:
            print(f"To undo it: {safe(result.undo)}")
        if result.shows_fields:
            names, texts = zip(*field_texts(result.kind, result.fields), strict=True)
            printing.write([printing.Column(names), printing.Column(texts)])


def _print_text(text: str) -> None:
    """Print lines: escaped on a terminal, else unchanged."""
    print(safe_lines(text) if sys.stdout is not None and sys.stdout.isatty() else text.removesuffix("\n"))


def _json(value: Any) -> str:
    return json.dumps(value, default=plain_or_text)  # in ASCII, control characters escaped


def _print_json(one: Difference) -> None:
    print(_json(one.as_object()), flush=True)


def _print_array(objects: Iterable[dict[str, Any]]) -> None:
    """Print a JSON array, one object a line: 100,000 rows are never one string in memory."""
    separator = "[\n"
    for entry in objects:
        print(separator + _json(entry), end="")
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _print_rows(kind: Kind, rows: Sequence[Row]) -> None:
    if not rows:
        print(f"No {kind.nouns}.")
        return
    columns = [
        printing.Column(
            (column.title, *(cell(value_of(kind, row, column), column) for row in rows)),
            right=column.type in RIGHT_ALIGNED,
            cuts=column.type in ("text", "list", "tags") and not column.whole,
            stays=at == 0 or column.name == "id" or column in PLACES,
        )
        for at, column in enumerate(with_places(kind, places(kind, map(kind.scope, rows))))
    ]
    if sys.stdout is None or not sys.stdout.isatty():  # None: closed before the start
        printing.write(columns)
        return
    columns, missing = printing.fitted(columns, room := get_terminal_size().columns)
    printing.write(columns, padded=room)
    if missing:
        print(f"Left out, because the terminal is too narrow: {', '.join(missing)}. --json has all.", file=sys.stderr)


def _print_summary(done: Sequence[Difference], *, several: bool) -> None:
    titles = [*(["Cloud", "Region"] if several else []), "Kind", "Rows", "New", "Changed", "Gone", "Seconds", "Result"]
    lines = [
        [
            *([one.cloud, one.region] if several else []),
            KINDS[one.kind].plural,
            *("" if one.error else f"{count:,}" for count in (one.count, one.added, one.changed, one.removed)),
            "" if one.error else f"{one.seconds:.1f}",
            safe(one.error or ("refreshed elsewhere" if one.shared else "refreshed")),
        ]
        for one in done
    ]
    right = [*([False, False] if several else []), False, True, True, True, True, True, False]
    cells = zip(*[titles, *lines], strict=True)
    printing.write([printing.Column(tuple(texts), right=one) for texts, one in zip(cells, right, strict=True)])


class _Progress:
    """Progress bars on stderr, one for each listing; none if stderr is no terminal or `show` is false."""

    def __init__(self, *, show: bool, wanted: Iterable[Wanted] = (), several: bool = False) -> None:
        self._several = several
        console = Console(stderr=True)
        self._bars: Bars | None = None
        if show and console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"), TimeElapsedColumn(),
                console=console, transient=True,
            )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        if self._bars:  # at once, not after the first page
            for kind, scope in wanted:
                self._task(kind.name, scope)

    def __enter__(self) -> "_Progress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def update(self, progress: Progress) -> None:
        """Show the progress of a kind; the count of its last refresh is the estimate."""
        if self._bars:
            total = max(progress.estimate, progress.rows) if progress.estimate else None
            rate = progress.rows / progress.seconds if progress.seconds else 0
            pace = f"{progress.pages:,} pages · {rate:,.0f}/s"
            self._bars.update(
                self._task(progress.kind, progress.scope), completed=progress.rows, total=total, pace=pace
            )

    def waits(self, waiting: Waiting) -> None:
        """Report that a request waits to be sent again."""
        if self._bars:
            self._say(safe(f"{waiting.doing}: {waiting.text(monotonic())}"))

    def done(self, one: Difference) -> None:
        """Show that a kind is finished."""
        if self._bars:
            text = safe(one.error or summary(one))
            task = self._task(one.kind, Scope(one.cloud, one.region))
            self._bars.update(task, completed=one.count, total=one.count or 1)
            self._say(text)

    def _say(self, text: str) -> None:
        """Print a line above the bars without breaking it, so that it can be copied as one."""
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _task(self, kind: str, scope: Scope | None) -> TaskID:
        assert self._bars is not None  # noqa: S101 - for mypy: only called while there are bars
        where = f" {safe(' '.join(scope))}" if self._several and scope else ""
        name = f"{KINDS[kind].plural}{where}"
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, pace="")
        return self._tasks[name]
