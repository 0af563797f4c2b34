"""What a kind of resource is: its columns, its words, how long its rows stay fresh."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from backend.errors import NotFoundError
from backend.providers.registry import is_id

Type = Literal["text", "state", "int", "mib", "gib", "usd", "time", "flag", "flight", "seconds", "list", "tags"]
"""How a column's values are stored, shown and sorted; see backend.format for each."""

Row = tuple[Any, ...]
"""The values of one object in the order of its kind's columns, None if the cloud does not say; then its scope's text.

A list is a tuple of texts, and tags are a tuple of pairs (key, value); an empty one is None. So the garbage collector
does not track rows: with 100,000 tracked rows, each full collection would stop the screen for 50 ms.
"""

DAY = 86_400.0


class Scope(NamedTuple):
    """The cloud and region that rows belong to."""

    cloud: str
    region: str

    def key(self, name: str) -> str:
        """Return the `_id` of the object `name` in this scope: cloud/region/native id."""
        return f"{self.cloud}/{self.region}/{name}"

    @property
    def text(self) -> str:
        """The last value of its rows: the same string each time, so that 100,000 rows hold one.

        No configured cloud or region has a line break in its name.
        """
        return _text(self)

    @classmethod
    def of(cls, text: str) -> "Scope":
        """Return the scope whose `text` this is."""
        return _scope(text)


@lru_cache(maxsize=1_000)  # damaged entries of a shared journal may name any scope
def _text(scope: Scope) -> str:
    return "\n".join(scope)


@lru_cache(maxsize=1_000)
def _scope(text: str) -> Scope:
    cloud, _, region = text.partition("\n")
    return Scope(cloud, region)


class Ref(NamedTuple):
    """The name of one row: two clouds, or two regions, may give the same id."""

    scope: Scope
    id: str


@dataclass(frozen=True)
class Column:
    """One column: `width` is the number of cells it would like; the table gives what there is."""

    name: str
    title: str
    type: Type = "text"
    width: int = 12
    help: str = ""
    whole: bool = False
    """Never cut the text, however narrow the column is: a part of it, such as of an id or an address, is of no use."""
    ours: bool = False
    """No listing has it, and none overwrites it."""
    field: str = ""
    """The field of the cache's document, if that is not the name of the column."""
    earlier: str = ""
    """The field in documents of earlier versions: "region", "extra.tags"."""


@dataclass(frozen=True)
class Kind:
    """One kind of resource. `plural` names its tab and its collection."""

    name: str
    plural: str
    columns: tuple[Column, ...]
    max_age: float
    """Seconds after which a listing is stale."""
    by_row: bool
    """True: every changed row is announced to open dashboards; False: each batch, by the `refreshes` document."""
    empty: str
    """The text of an empty table: what to do."""
    aliases: tuple[str, ...] = field(default=())
    handle: str = "id"
    """The column by which commands name one of them: what is shown, journalled and completed."""
    word: str = ""
    """The noun of one of them in a sentence, if that is not its name."""
    tab: int | None = None
    """The number key that opens it; None: it opens by :NAME and the palette, as an extra tab."""
    bare: bool = False
    """A sentence that has its name or id leaves out the noun."""
    free_in: frozenset[str] = frozenset()
    """The states of one of them in which its name is free for another."""
    in_palette: bool = False
    """The palette offers the commands on each of them by its name."""
    poll: bool = False
    """Its table is refreshed as often as `poll.settled` says, even if a listing is stale later."""
    missing: Callable[[str, str, str | None], NotFoundError] | None = None
    """Makes the error for a missing one from the word, the message and the nearest name."""
    learn: Callable[[Any, Any, Any, Mapping[str, Any]], None] | None = None
    """Asks a provider for a fact that no listing has, and writes it to the cache, while the details are open.

    Takes the provider, the cache, the scope and the document of the cache.
    """
    learns: str = ""
    """What a cloud must be able to do for that."""
    complete: Callable[..., Any] | None = None
    """Adds to the pages of a listing what its requests do not give.

    Takes the provider, the cache, the scope, the pages, what raises when the user cancels, and what gets a sentence for
    the user. Yields pages; an object may come twice.
    """
    vast: bool = False
    """There may be 100,000 of them: its listing gets the known digests and yields only the rest."""

    @property
    def noun(self) -> str:
        """One of them, in a sentence."""
        return self.word or self.name

    @property
    def titled(self) -> str:
        """One of them, at the beginning of a sentence."""
        return f"{self.noun[0].upper()}{self.noun[1:]}"

    @property
    def nouns(self) -> str:
        """Several of them, in a sentence."""
        return f"{self.word}s" if self.word else self.plural

    @cached_property
    def has_flights(self) -> bool:
        """Whether actions on one of them take a while and are followed; see backend.lifecycle."""
        return any(column.type == "flight" for column in self.columns)

    @cached_property
    def listed(self) -> tuple[Column, ...]:
        """The columns that a cloud's listing fills; tags are a fact of an item."""
        return tuple(column for column in self.columns if not column.ours and column.type != "tags")

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The field of a document that holds each column."""
        return tuple(column.field or column.name for column in self.columns)

    @cached_property
    def projection(self) -> dict[str, int]:
        """The fields of a document that a row is made from, as MongoDB is asked for them."""
        return dict.fromkeys((*self.fields, *(column.earlier for column in self.columns if column.earlier)), 1)

    @cached_property
    def gathered(self) -> tuple[tuple[int, Column, str], ...]:
        """The columns, each with its position and field, that are more than one plain value, or may be elsewhere."""
        return tuple(
            (at, column, column.field or column.name)
            for at, column in enumerate(self.columns)
            if column.earlier or column.type == "list"
        )

    @cached_property
    def common(self) -> frozenset[int]:
        """The positions of the columns that have the same value in many rows."""
        return frozenset(
            at
            for at, column in enumerate(self.columns)
            if column.type in ("text", "state", "list", "tags") and column.name not in ("id", "name")
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Column name to its position in a row."""
        return {column.name: position for position, column in enumerate(self.columns)}

    def value(self, row: Row, column: str) -> Any:
        """Return the value of the named column in `row`."""
        return row[self.index[column]]

    def cells(self, row: Row) -> Iterator[tuple[Column, Any]]:
        """Return each column with its value in `row`."""
        return zip(self.columns, row[:-1], strict=True)  # the scope is of no column

    def scope(self, row: Row) -> Scope:
        """Return the cloud and region of `row`."""
        return _scope(row[-1])

    def ref(self, row: Row) -> Ref:
        """Return the name of `row` among the rows of its kind."""
        return Ref(_scope(row[-1]), row[self.index["id"]])

    def called(self, row: Row) -> str:
        """Return the word by which commands name `row`: its handle, or its id if the handle looks like an id."""
        word = str(self.value(row, self.handle))
        return str(self.value(row, "id")) if is_id(word) else word


PLACES = (
    Column("cloud", "Cloud", width=12, help="Shown if rows of several clouds are"),
    Column("region", "Region", width=14, help="Shown if rows of several regions are"),
)
"""The columns of the scope of a row, which are no columns of its kind."""


def places(kind: Kind, scopes: Iterable[Scope]) -> tuple[Column, ...]:
    """Return those of PLACES that tell something about rows of these scopes: they differ in them."""
    found = set(scopes)
    return tuple(
        column
        for column in PLACES
        if column.name not in kind.index and len({getattr(scope, column.name) for scope in found}) > 1
    )


def with_places(kind: Kind, shown: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the columns of a table that shows these PLACES: they follow the first column."""
    return (*kind.columns[:1], *shown, *kind.columns[1:])


def value_of(kind: Kind, row: Row, column: Column) -> Any:
    """Return the value of `row` in a column of its kind or of PLACES."""
    return getattr(_scope(row[-1]), column.name) if column in PLACES else row[kind.index[column.name]]


def id_column(title: str = "ID", width: int = 21) -> Column:
    """Return the column of the ids."""
    return Column("id", title, width=width, whole=True)


def name_column(width: int = 24) -> Column:
    """Return the column of the names."""
    return Column("name", "Name", width=width)


TAGS = Column("tags", "Tags", "tags", 24, earlier="extra.tags")
"""Last, if a table is wide: what a filter finds there must be seen somewhere."""
