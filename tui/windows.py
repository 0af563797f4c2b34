"""Opens the windows that show what the cache has: details, the journal, help."""

from collections.abc import Iterable, Sequence
from typing import Any

from textual.binding import Binding

from backend.cache import Change, RefreshRecord
from backend.cache.documents import flatten
from backend.commands.model import Command
from backend.errors import CloudmeshError
from backend.format import counted, duration
from backend.kinds.model import Kind, Ref
from backend.log import logger
from backend.session import Session
from backend.text import safe
from tui.host import Host, Tables
from tui.jobs import Job
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.keys import OWN_BINDINGS
from tui.widgets.table import ResourceTable

JOURNAL_SHOWN = 5_000
"""The newest N entries of the journal are shown."""


_INTERNAL = frozenset({"_id", "settled", "place", "owner", "owner_host"})
"""Fields of a journal entry that only recovery uses; its details leave them out."""


class Windows:
    """The windows; a job reads what they show. All methods run on the event loop."""

    def __init__(self, host: Host, tables: Tables) -> None:
        self._host = host
        self._tables = tables
        self._journal: JournalScreen | None = None
        """The journal, while it is open."""

    def details(self, session: Session, kind: Kind, ref: Ref) -> None:
        """Show all fields of an object."""

        def show(document: dict[str, Any] | None) -> None:
            if document is None:
                self._host.say(f"{kind.name} {safe(ref.id)} is no longer in the cache.")
                return
            title = document.get("name") or ref.id
            screen = DetailsScreen(f"{kind.name} {safe(title)}", list(flatten(document)))
            self._host.open(screen)
            there = session.at(ref.scope)
            if kind.learn and there.has(kind.learns) and there.fetches:
                self._learn(there, kind, document, screen)

        self._host.start(Job("", lambda _job: session.at(ref.scope).details(kind, ref.id), show, opens=True))

    def _learn(self, session: Session, kind: Kind, document: dict[str, Any], screen: DetailsScreen) -> None:
        """Ask the cloud for the facts that no listing has, each time that the details of an object are opened."""
        native = str(document["id"])

        def ask(job: Job) -> dict[str, Any] | None:
            if kind.learn:
                kind.learn(session.connect(job.check), session.cache, session.scope, document)
            return session.details(kind, native)

        def show(document: dict[str, Any] | None) -> None:
            if document is not None:
                screen.show(list(flatten(document)))

        # The user did not ask for it: a failure goes only to the log, and the field keeps its old value.
        self._host.start(
            Job(
                "",
                ask,
                show,
                lambda error: logger.info("%s", error),
                key=f"learn {kind.name} {session.scope.key(native)}",
            )
        )

    def failures(self, failed: Sequence[RefreshRecord]) -> None:
        """List kinds that could not be refreshed: where, since when, why and what to do."""
        now = self._host.now()
        lines = []
        for record in failed:
            where = f"{record.cloud} {record.region}: {self._tables.kinds[record.kind].plural}"
            age = record.age(now)
            rows = "never listed" if age is None else f"last listed {duration(age)} ago"
            tried = f", tried {duration((now - record.started).total_seconds())} ago" if record.started else ""
            lines.append(("✕", where, f"{rows}{tried}. {record.error}"))
        title = f"{counted(len(failed), 'listing')} failed"
        self._host.open(ChoiceScreen(title, lines, (), pace=self._host.pace))

    def help(self, bindings: Iterable[Binding], commands: Iterable[Command]) -> None:
        """Show every key and command; `bindings` are those of the app, `commands` those that can run."""
        own = [*OWN_BINDINGS, *bindings, *(one for one in ResourceTable.BINDINGS if isinstance(one, Binding))]
        self._host.open(HelpScreen(own, commands, self._tables.kinds.values()))

    def journal(self, session: Session) -> None:
        """Show what was done, by whom and how it ended; new entries appear while it is open."""
        if self._journal is None:
            self._journal = JournalScreen(lambda key: self._entry(session, key))
            self._host.open(self._journal, self._journal_closed)
            self._read_journal(session, self._journal)

    def _journal_closed(self, _answer: None) -> None:
        self._journal = None

    def journal_changed(self, session: Session | None, change: Change) -> None:
        """Show a change of the journal if its window is open."""
        if self._journal is not None and session is not None:
            if change.reread:
                self._read_journal(session, self._journal)
            else:
                self._journal.apply(change.upserts)

    def _read_journal(self, session: Session, screen: JournalScreen) -> None:
        def fail(error: CloudmeshError) -> None:
            screen.table.notice = str(error)

        self._host.start(Job("", lambda _job: session.cache.journal.rows(JOURNAL_SHOWN), screen.load, fail))

    def _entry(self, session: Session, key: str) -> None:
        def show(document: dict[str, Any] | None) -> None:
            if document is not None and self._journal is not None and self._journal.is_current:
                shown = {name: value for name, value in document.items() if name not in _INTERNAL}
                self._host.open(DetailsScreen("journal entry", list(flatten(shown))))

        self._host.start(Job("", lambda _job: session.cache.journal.entry(key), show, opens=True))
