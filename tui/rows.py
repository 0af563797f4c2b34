"""The rows of one table, with a filter, a sort and marks."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from backend.format import cell, sort_key
from backend.kinds.model import PLACES, Column, Kind, Ref, Row, Scope, value_of, with_places
from backend.text import safe

_EPOCH = datetime.fromtimestamp(0, UTC)
_MANY = 8
"""If more than one row in N moves at once, it is cheaper to sort all rows than to find each position."""
AT_ONCE = 5_000
"""At most N rows are made ready at once, if the filter needs them before they are ready: about 25 ms."""
_COMMON = 256
"""At most N texts of a column are remembered: all states, architectures, owners; never all names."""
_FEW = 1_000
"""Up to N slots of removed rows are kept: to collect fewer is not worth the time."""


class Applied(NamedTuple):
    """What `Rows.apply` changed among the visible rows."""

    changed: frozenset[Ref]
    """The visible rows whose cells changed but not their position; incomplete if `moved`."""
    moved: bool
    """Whether a visible row appeared, vanished or moved."""


class Rows:
    """The rows of one kind by scope and id, with a filter, a sort and marks.

    Every row keeps a slot, an index into `_rows` that rises in order of arrival. `_base` has the slots of all rows in
    the order of the sort, `_order` the slots of the rows that the filter shows; without a filter it is the same list.
    So a narrower filter examines only the rows that are still shown, and no key press sorts anything.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.words: tuple[str, ...] = ()
        """The casefolded words of the filter."""
        self.column: str | None = None
        """The name of the column sorted by; None: in order of arrival."""
        self.reverse = False
        self._id = kind.index["id"]
        self._slots: dict[Scope, dict[str, int]] = {}  # by scope: a Ref of each of 200,000 rows would cost 15 MB
        self._marked: set[int] = set()  # slots
        self._rows: list[Row] = []  # () in the slot of a removed row
        self._texts: list[str] = []  # what the filter searches; "" if not made so far
        self._texted = 0  # all texts below this slot are made
        # The texts of common values are made once; in the other columns nearly every value is different.
        self._known: list[dict[Any, str] | None] = [
            {} if at in kind.common else None for at in range(len(kind.columns))
        ]
        self._ranks: dict[str, list[int]] = {}  # column: slot → rank of its value; -1 for None
        self._base: list[int] = []
        self._order: list[int] = []
        self.places: tuple[Column, ...] = ()
        """The columns of the scope that are shown."""
        self._place_texts: dict[str, str] = {}  # by scope: what the filter searches besides the kind's columns

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table, those of the scope included where these tell something."""
        return with_places(self.kind, self.places)

    def show_places(self, places: tuple[Column, ...]) -> None:
        """Show these of backend.kinds.model.PLACES; the filter searches them, and they can be sorted by."""
        if places == self.places:
            return
        self.places = places
        self._place_texts.clear()
        self._texts, self._texted = [""] * len(self._rows), 0
        if self.column is not None and self.column not in {column.name for column in self.columns}:
            self.column, self.reverse = None, False
        if self.words:
            self._make_texts(AT_ONCE)
        self._rebuild()

    def count(self, scope: Scope) -> int:
        """Return the number of rows of a scope."""
        return len(self._slots.get(scope, ()))

    def of(self, scope: Scope) -> Iterator[Row]:
        """Return the rows of a scope, shown or not."""
        return (self._rows[slot] for slot in self._slots.get(scope, {}).values())

    @property
    def total(self) -> int:
        """The number of rows."""
        return sum(map(len, self._slots.values()))

    @property
    def slots(self) -> int:
        """The number of slots, those of removed rows included."""
        return len(self._rows)

    @property
    def visible(self) -> int:
        """The number of rows that the filter shows."""
        return len(self._order)

    def row(self, ref: Ref) -> Row | None:
        """Return the row of this ref, shown or not."""
        slot = self._slot(ref)
        return None if slot is None else self._rows[slot]

    def _slot(self, ref: Ref) -> int | None:
        slots = self._slots.get(ref.scope)
        return None if slots is None else slots.get(ref.id)

    def all(self) -> Iterator[Row]:
        """Return all rows, shown or not, in order of arrival."""
        return (row for row in self._rows if row)

    def row_at(self, position: int) -> Row:
        """Return the visible row at `position`."""
        return self._rows[self._order[position]]

    def ref_at(self, position: int) -> Ref:
        """Return the ref of the visible row at `position`."""
        return self.kind.ref(self._rows[self._order[position]])

    def position(self, ref: Ref) -> int | None:
        """Return the position of this ref's row among the visible rows; None if it is not visible."""
        slot = self._slot(ref)
        if slot is None:
            return None
        position = self._position_in(self._order, slot)
        return position if position < len(self._order) and self._order[position] == slot else None

    def nearest(self, ref: Ref) -> int | None:
        """Return the position of this ref's row, or of the visible row at the position that it would have."""
        slot = self._slot(ref)
        if slot is None or not self._order:
            return None
        return min(self._position_in(self._order, slot), len(self._order) - 1)

    # Rows come and go

    def replace(self, rows: Iterable[Row]) -> None:
        """Replace all rows by `rows`; of several with the same ref, the last counts. Filter and sort stay."""
        slots, old, texts = self._slots, self._rows, self._texts
        self._slots, self._rows = {}, []
        for scope, run in groupby(rows, key=_SCOPE):
            self._add(self._slots.setdefault(Scope.of(scope), {}), {row[self._id]: row for row in run})
        self._texts = [""] * len(self._rows)
        if self._texted:  # a reload changes few rows: keep the texts of the others
            for scope, now in self._slots.items():
                before = slots.get(scope, {})
                for id, slot in now.items():
                    if (was := before.get(id, -1)) >= 0 and old[was] == self._rows[slot]:
                        self._texts[slot] = texts[was]
        self._texted = 0
        marked = (self._slot(self.kind.ref(old[slot])) for slot in self._marked)
        self._marked = {slot for slot in marked if slot is not None}
        self._ranks.clear()
        if self.words:
            self._make_texts(AT_ONCE)
        self._rebuild()

    def _add(self, slots: dict[str, int], rows: dict[str, Row]) -> None:
        """Add rows, by id, to the `slots` of their scope."""
        if not slots:
            slots.update(zip(rows, range(len(self._rows), len(self._rows) + len(rows)), strict=True))
            self._rows += rows.values()
            return
        for id, row in rows.items():
            if (slot := slots.get(id)) is None:
                slots[id] = len(self._rows)
                self._rows.append(row)
            else:
                self._rows[slot] = row

    def apply(self, upserts: Iterable[Row], removed: Iterable[Ref] = ()) -> Applied:
        """Remove the rows of the refs in `removed`, then add or update `upserts`, each at its sorted position."""
        before = self._order
        changed: set[Ref] = set()
        leaving = {slot for ref in removed if (slot := self._slot(ref)) is not None}
        coming: set[int] = set()
        for slot in leaving:
            scope, id = self.kind.ref(self._rows[slot])
            del self._slots[scope][id]
            self._rows[slot], self._texts[slot] = (), ""
        self._marked -= leaving
        for row in upserts:
            slots, id = self._slots.setdefault(self.kind.scope(row), {}), row[self._id]
            slot = slots.get(id, -1)
            if slot < 0:
                slots[id] = slot = len(self._rows)
                self._rows.append(row)
                self._texts.append(self._text(row) if self.words else "")
                self._ranks.clear()
                coming.add(slot)
            elif (old := self._rows[slot]) != row:
                if self._update(slot, old, row):
                    leaving.add(slot)
                    coming.add(slot)
                changed.add(self.kind.ref(row))
        total = self.total
        if len(self._rows) - total > max(_FEW, total):
            self.replace([row for row in self._rows if row])
            return Applied(frozenset(), True)
        if leaving or coming:
            self._reorder(leaving, coming)
        if self.words:
            changed = {ref for ref in changed if self.position(ref) is not None}
        return Applied(frozenset(changed), before is not self._order and before != self._order)

    def _update(self, slot: int, old: Row, row: Row) -> bool:
        """Store a changed row; return whether its position, or whether the filter shows it, may have changed."""
        for column, before, after in zip(self.kind.columns, old, row, strict=False):
            if before != after:
                self._ranks.pop(column.name, None)
        self._rows[slot] = row
        self._texts[slot] = self._text(row) if self.words else ""
        if not self.words:
            self._texted = min(self._texted, slot)
        return bool(self.words) or (self.column is not None and self._get(old) != self._value(slot))

    def _reorder(self, leaving: set[int], coming: set[int]) -> None:
        """Remove slots from the order and insert others, by the present values of their rows."""
        if self.column is not None and len(coming) > self.total // _MANY:
            self._rebuild()
            return
        filtered = self._order is not self._base
        if leaving:  # searched one by one: their rows no longer have the values that they were sorted by
            self._base = [slot for slot in self._base if slot not in leaving]
        self._base = self._merged(self._base, coming)
        if filtered:
            order = [slot for slot in self._order if slot not in leaving] if leaving else self._order
            self._order = self._merged(order, self._matching(coming, self.words))
        else:
            self._order = self._base

    def _merged(self, slots: list[int], coming: Collection[int]) -> list[int]:
        """Return the sorted `slots` with the `coming` ones merged in."""
        if self.column is None:
            return sorted([*slots, *sorted(coming)])  # two runs, which Python's sort merges in one pass
        merged: list[int] = []
        start = 0
        for slot in self._in_order(coming):
            position = self._position_in(slots, slot, start)
            merged += slots[start:position]
            merged.append(slot)
            start = position
        return merged + slots[start:]

    def _rebuild(self) -> None:
        self._base = self._sorted()
        self._order = self._matching(self._base, self.words) if self.words else self._base

    # Filter

    def filter(self, text: str) -> None:
        """Show only the rows where every word of `text` occurs in a column's text, in any case.

        A word such as `region:eu-west-1` or `cloud:aws` is searched in the scope of the row alone.
        If many rows are not `ready`, only the ready ones are shown; `prepare` adds the others.
        """
        words, before = tuple(dict.fromkeys(safe(word).casefold() for word in text.split())), self.words
        if words and not self.ready:
            self.prepare(AT_ONCE)
        self.words = words
        if not words:
            self._order = self._base
        elif all(any(narrows(new, old) for new in words) for old in before):  # then no hidden row can appear
            self._order = self._matching(self._order, [word for word in words if word not in before])
        else:
            self._order = self._matching(self._base, words)

    @property
    def ready(self) -> bool:
        """Whether the texts of all rows are made; the filter skips a row without its text."""
        return self._texted == len(self._rows)

    def prepare(self, limit: int | None = None) -> bool:
        """Make the texts of at most `limit` more rows, show those that match; return whether all rows are ready."""
        made = self._make_texts(limit)
        if self.words and (found := self._matching(made, self.words)):
            self._order = self._merged(self._order, found)
        return self.ready

    def _make_texts(self, limit: int | None) -> list[int]:
        begin, texts, rows = self._texted, self._texts, self._rows
        self._texted = end = len(rows) if limit is None else min(begin + limit, len(rows))
        made = []
        for slot in range(begin, end):
            if not texts[slot] and rows[slot]:
                texts[slot] = self._text(rows[slot])
                made.append(slot)
        return made

    def _matching(self, slots: Iterable[int], words: Iterable[str]) -> list[int]:
        texts, rows, found = self._texts, self._rows, list(slots)
        for word in sorted(words, key=len, reverse=True):  # the longest first: it leaves the fewest rows
            if of_scope(word):
                scopes = {scope.text for scope in _with_word(self._slots, word)}
                found = [slot for slot in found if rows[slot] and rows[slot][-1] in scopes and texts[slot]]
            else:
                found = [slot for slot in found if word in texts[slot]]
        return found

    def finds(self, row: Row) -> bool:
        """Return whether the filter has words and finds a row, which need not be among these."""
        if not self.words:
            return False
        text, scopes = self._text(row), [self.kind.scope(row)]
        return all(bool(_with_word(scopes, word)) if of_scope(word) else word in text for word in self.words)

    @property
    def names_scopes(self) -> bool:
        """Whether the filter has a word for clouds or regions alone."""
        return any(map(of_scope, self.words))

    def scopes_in_words(self, scopes: Sequence[Scope]) -> list[Scope]:
        """Return those of `scopes` that the filter leaves with its words for clouds and regions."""
        for word in filter(of_scope, self.words):
            scopes = _with_word(scopes, word)
        return list(scopes)

    def _text(self, row: Row) -> str:
        # A word has no white space, so it never matches across the line breaks between columns. A flight has the text
        # that it had at its start, so the filter does not find its seconds.
        cells = []
        for column, known, value in zip(self.kind.columns, self._known, row, strict=False):
            if known is None:
                cells.append(cell(value, column, _EPOCH))
                continue
            text = known.get(value)
            if text is None:
                text = cell(value, column, _EPOCH)
                if len(known) < _COMMON:
                    known[value] = text
            cells.append(text)
        if self.places:
            cells.append(self._place_text(row))
        return "\n".join(cells).casefold()

    def _place_text(self, row: Row) -> str:
        text = self._place_texts.get(row[-1])
        if text is None:
            values = (safe(str(value_of(self.kind, row, column))) for column in self.places)
            text = self._place_texts[row[-1]] = "\n".join(values)
        return text

    # Sort

    def sort(self, column: str | None, reverse: bool = False) -> None:
        """Sort by the named column; None: by arrival. Empty values come last in both directions, ties by arrival."""
        if column is not None:
            self._column(column)
        self.column, self.reverse = column, reverse and column is not None
        base = self._sorted()
        if self._order is self._base:
            self._order = base
        else:
            shown = set(self._order)
            self._order = [slot for slot in base if slot in shown]
        self._base = base

    def _sorted(self) -> list[int]:
        slots = sorted(chain.from_iterable(of_scope.values() for of_scope in self._slots.values()))  # long runs: fast
        if self.column is not None:
            rank = self._rank(self.column).__getitem__
            slots.sort(key=rank, reverse=self.reverse)  # Python's sort is stable in both directions
            if not self.reverse:  # the Nones, of rank -1, came first
                nones = bisect_left(slots, 0, key=rank)
                slots = slots[nones:] + slots[:nones]
        return slots

    def _rank(self, name: str) -> list[int]:
        """Return the rank of every slot's value in the named column: equal keys have equal ranks."""
        ranks = self._ranks.get(name)
        if ranks is None:
            column = self._column(name)
            keys: list[Any]
            if column in self.places:
                by_scope = {scope.text: sort_key(getattr(scope, name), column) for scope in self._slots}
                keys = [by_scope[row[-1]] if row else None for row in self._rows]
            else:
                index = self.kind.index[name]
                keys = [None if not row or row[index] is None else sort_key(row[index], column) for row in self._rows]
            ranks = self._ranks[name] = [-1] * len(keys)
            rank, before = -1, None
            # By slot, not by value: visiting the rows in the order of memory halves the time.
            for slot in sorted((slot for slot, key in enumerate(keys) if key is not None), key=keys.__getitem__):
                if (key := keys[slot]) != before:
                    rank, before = rank + 1, key
                ranks[slot] = rank
        return ranks

    def _value(self, slot: int) -> Any:
        return self._get(self._rows[slot]) if self.column else None

    def _get(self, row: Row) -> Any:
        """Return the value of a row in the column sorted by."""
        return value_of(self.kind, row, self._column(str(self.column)))

    def _column(self, name: str) -> Column:
        """Return the column of that name. Raises KeyError if there is none."""
        if (index := self.kind.index.get(name)) is not None:
            return self.kind.columns[index]
        for column in self.places:
            if column.name == name:
                return column
        raise KeyError(name)

    def _in_order(self, slots: Iterable[int]) -> list[int]:
        """Return a few slots in the order of the sort."""
        slots = sorted(slots)
        if self.column is None:
            return slots
        column = self._column(self.column)
        filled = [slot for slot in slots if self._value(slot) is not None]
        filled.sort(key=lambda slot: sort_key(self._value(slot), column), reverse=self.reverse)
        return filled + [slot for slot in slots if self._value(slot) is None]

    def _position_in(self, slots: list[int], slot: int, low: int = 0) -> int:
        """Return where `slot` is, or would be, in `slots` from `low` on, by the present values of the rows."""
        if self.column is None:
            return bisect_left(slots, slot, low)
        column = self._column(self.column)
        mine = self._value(slot)
        high = len(slots)
        while low < high:
            middle = (low + high) // 2
            if self._precedes(column, slots[middle], slot, mine):
                low = middle + 1
            else:
                high = middle
        return low

    def _precedes(self, column: Column, other: int, slot: int, mine: Any) -> bool:
        theirs = self._value(other)
        if theirs is None or mine is None:
            return (mine is None, slot) > (theirs is None, other)
        their_key, my_key = sort_key(theirs, column), sort_key(mine, column)
        if their_key == my_key:
            return other < slot
        return bool(their_key > my_key if self.reverse else their_key < my_key)

    # Marks

    @property
    def marks(self) -> int:
        """The number of marked rows, shown or not."""
        return len(self._marked)

    @property
    def hidden_marks(self) -> int:
        """The number of marked rows that the filter hides."""
        return len(self._marked) - len(self._matching(self._marked, self.words)) if self.words else 0

    def toggle_mark(self, ref: Ref) -> None:
        """Mark the row of this ref, or remove its mark."""
        if (slot := self._slot(ref)) is not None:
            self._marked ^= {slot}

    def mark_all_visible(self) -> None:
        """Mark every row that the filter shows."""
        self._marked.update(self._order)

    def unmark(self, refs: Iterable[Ref]) -> None:
        """Remove the marks of these rows."""
        self._marked.difference_update(slot for ref in refs if (slot := self._slot(ref)) is not None)

    def unmark_all(self) -> None:
        """Remove all marks."""
        self._marked.clear()

    def is_marked(self, position: int) -> bool:
        """Return whether the visible row at `position` is marked."""
        return self._order[position] in self._marked

    def marked(self, *, shown: bool = False) -> Iterator[Row]:
        """Return the marked rows in order of arrival; `shown`: without those that the filter hides."""
        slots = sorted(self._marked)
        if shown and self.words:  # by text: finding the position of each is slower, above all in a sorted table
            slots = self._matching(slots, self.words)
        return (self._rows[slot] for slot in slots)


_SCOPE = itemgetter(-1)

_PREFIXES = tuple(f"{column.name}:" for column in PLACES)


def of_scope(word: str) -> bool:
    """Return whether a word of the filter is searched in the scope of a row: "region:eu-west-1"."""
    return word.startswith(_PREFIXES)


def _with_word(scopes: Iterable[Scope], word: str) -> list[Scope]:
    """Return the scopes in which a word such as "region:eu-west-1" occurs."""
    name, _, part = word.partition(":")
    return [scope for scope in scopes if part in getattr(scope, name).casefold()]


def narrows(new: str, old: str) -> bool:
    """Return whether a row with the word `new` surely has the word `old` too."""
    return old in new and of_scope(old) == of_scope(new)
