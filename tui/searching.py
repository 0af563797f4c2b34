"""Searches the rows of a vast kind that stay in the cache, and adds what it finds to the table."""

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from time import monotonic
from typing import NamedTuple

from backend.format import counted
from backend.kinds.model import Ref, Row, Scope
from backend.session import Session
from tui.host import Host, Tables
from tui.jobs import Job
from tui.rows import narrows, of_scope

FOUND = 1_000
"""At most N rows are shown of one search: more letters find the others."""

PAUSE = 0.15
"""Seconds after the last letter until the cache is searched."""

PART = 0.25
"""Seconds between two parts of what is found: each is merged into the order of all rows."""


class _Search(NamedTuple):
    """What was searched for, and where."""

    words: tuple[str, ...]
    scopes: tuple[Scope, ...]

    def has(self, other: "_Search") -> bool:
        """Return whether all that `other` finds is surely among what this search has found."""
        wider = all(any(narrows(new, old) for new in other.words) for old in self.words)
        return wider and set(other.scopes) <= set(self.scopes)


class Searching:
    """The searches of one session, one at a time; a newer one ends it. All methods run on the event loop."""

    def __init__(self, host: Host, tables: Tables, session: Session, on_found: Callable[[str], None]) -> None:
        """`on_found` is called with the kind when its table has got rows."""
        self._host = host
        self._tables = tables
        self._session = session
        self._on_found = on_found
        self._number = 0
        """Counts the searches: one that is not the last ends."""
        self._done: _Search | None = None
        """The last search, if it has found everything and the cache has not changed since it began."""
        self._changed = False
        """Whether the cache has changed since the last search began."""

    def close(self) -> None:
        """End the search under way."""
        self._number += 1

    def outdate(self) -> None:
        """Note that the cache has changed: a longer word may find what the last search did not."""
        self._done, self._changed = None, True

    def search(self, kind: str, left: Collection[Scope]) -> None:
        """Search the rows of a kind in the scopes that its table does not hold, as its filter says now."""
        self._number += 1
        number, rows = self._number, self._tables.table_of(kind).rows
        if not left or not rows.words:
            return
        scopes = rows.scopes_in_words([scope for scope in self._session.scopes if scope in left])
        wanted = _Search(rows.words, tuple(scopes))
        if scopes and not (self._done is not None and self._done.has(wanted)):
            self._host.later(PAUSE, lambda: self._begin(kind, wanted, number))

    def _begin(self, kind_name: str, wanted: _Search, number: int) -> None:
        if number != self._number:
            return
        kind, table, session = self._tables.kinds[kind_name], self._tables.table_of(kind_name), self._session
        words = [word for word in wanted.words if not of_scope(word)]
        self._done, self._changed = None, False

        def work(job: Job) -> bool:
            """Deliver the rows; return whether there are no more of them."""
            found: list[Row] = []
            count, since = 0, monotonic()
            for scope in wanted.scopes:
                if number != self._number or count >= FOUND:
                    break
                rows = session.cache.rows.search(kind, scope, words, FOUND - count)
                found, count = found + rows, count + len(rows)
                if monotonic() - since > PART:
                    job.deliver(found)
                    found, since = [], monotonic()
            job.deliver(found)
            return count < FOUND

        def show(rows: list[Row]) -> None:
            if number != self._number:
                return
            table.apply(rows, () if shown else self._superseded(kind_name, wanted.scopes, rows))
            shown.append(rows)
            self._on_found(kind_name)

        def end(complete: bool) -> None:
            if number == self._number:
                self._done = wanted if complete and not self._changed else None
                what = counted(sum(map(len, shown)), kind.noun, kind.nouns)
                more = "" if complete else " There are more: type more letters."
                self._host.say(f"{what} found in {counted(len(wanted.scopes), 'region')} beyond those held.{more}")

        shown: list[list[Row]] = []
        self._host.start(Job("", work, end, on_part=show))

    def _superseded(self, kind: str, scopes: Sequence[Scope], found: Sequence[Row]) -> list[Ref]:
        """Return the rows that earlier searches found, without those that are marked or have the cursor."""
        table = self._tables.table_of(kind)
        keep = {table.kind.ref(row) for row in chain(found, table.rows.marked())} | {table.cursor_ref}
        there = map(table.kind.ref, chain.from_iterable(map(table.rows.of, scopes)))
        return [ref for ref in there if ref not in keep]
