"""Opens the windows over the dashboard that show what the cache knows: details, the journal, help."""

from typing import TYPE_CHECKING, Any

from textual.binding import Binding

from backend.cache import Change
from backend.cache.documents import flatten
from backend.commands.run import offered
from backend.commands.table import COMMANDS
from backend.errors import CloudmeshError
from backend.kinds.model import Kind
from backend.log import logger
from backend.session import Session
from backend.text import safe
from tui.jobs import Job
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.journal import JournalScreen
from tui.screens.main import OWN_BINDINGS
from tui.widgets.table import ResourceTable

if TYPE_CHECKING:
    from tui.app import CloudmeshApp

JOURNAL_SHOWN = 5_000
"""Entries of the journal that are shown, the newest."""


_OURS = frozenset({"_id", "settled", "place", "owner", "owner_host"})
"""Fields of a journal entry by which unfinished ones are found; they tell its reader nothing."""


class Windows:
    """What it shows is read on a job and painted by the app's event loop, which all methods are of."""

    def __init__(self, app: "CloudmeshApp") -> None:
        self._app = app

    def details(self, session: Session, kind: Kind, native: str) -> None:
        """Show all fields of an object."""

        def show(document: dict[str, Any] | None) -> None:
            if document is None:
                self._app.say(f"{kind.name} {safe(native)} is no longer in the cache.")
                return
            title = document.get("name") or native
            screen = DetailsScreen(f"{kind.name} {safe(title)}", list(flatten(document)))
            self._app.push_screen(screen)
            if kind.learn and session.has(kind.learns) and session.fetches:
                self._learn(session, kind, document, screen)

        self._app.start(Job("", lambda _job: session.details(kind, native), show, self._app.show_error, opens=True))

    def _learn(self, session: Session, kind: Kind, document: dict[str, Any], screen: DetailsScreen) -> None:
        """Ask behind the details of an object for what no listing says, each time that they are opened."""
        native = str(document["id"])

        def ask(job: Job) -> dict[str, Any] | None:
            if kind.learn:
                kind.learn(session.connect(job.check), session.cache, session.scope, document)
            return session.details(kind, native)

        def show(document: dict[str, Any] | None) -> None:
            if document is not None:
                screen.show(list(flatten(document)))

        # Nobody asked for it, so a failure only goes to the log, and the field keeps what was known.
        self._app.start(Job("", ask, show, lambda error: logger.info("%s", error), key=f"learn {kind.name} {native}"))

    def help(self, *bindings: Binding) -> None:
        """Show every key and command; `bindings` are the app's own."""
        own = [*OWN_BINDINGS, *bindings, *(one for one in ResourceTable.BINDINGS if isinstance(one, Binding))]
        self._app.push_screen(HelpScreen(own, offered(COMMANDS, session) if (session := self._app.session) else []))

    def journal(self, session: Session) -> None:
        """Show what was done, by whom and how it ended; what is done meanwhile comes in."""
        if not isinstance(self._app.screen, JournalScreen):
            screen = JournalScreen(lambda key: self._entry(session, key))
            self._app.push_screen(screen)
            self._read_journal(session, screen)

    def journal_changed(self, session: Session | None, change: Change) -> None:
        """Show a change of the journal where that is open."""
        for screen in self._app.screen_stack:
            if isinstance(screen, JournalScreen) and session is not None:
                if change.reread:
                    self._read_journal(session, screen)
                else:
                    screen.apply(change.upserts)

    def _read_journal(self, session: Session, screen: JournalScreen) -> None:
        def fail(error: CloudmeshError) -> None:
            screen.table.notice = str(error)

        self._app.start(Job("", lambda _job: session.cache.journal.rows(JOURNAL_SHOWN), screen.load, fail))

    def _entry(self, session: Session, key: str) -> None:
        def show(document: dict[str, Any] | None) -> None:
            if document is not None and isinstance(self._app.screen, JournalScreen):
                shown = {name: value for name, value in document.items() if name not in _OURS}
                self._app.push_screen(DetailsScreen("journal entry", list(flatten(shown))))

        self._app.start(Job("", lambda _job: session.cache.journal.entry(key), show, self._app.show_error, opens=True))
