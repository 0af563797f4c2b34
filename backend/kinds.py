"""KINDS: one entry per kind of resource. Tabs, collections, commands, exports and tests are made from it."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from backend.names import nearest

Type = Literal["text", "state", "int", "mib", "gib", "usd", "time", "flag", "flight", "seconds", "list", "tags"]
"""How a column's values are stored, shown and sorted; see backend.format for each."""

Row = tuple[Any, ...]
"""The values of one object in the order of its kind's columns; None where the cloud said nothing.

A list is a tuple of texts, and tags are a tuple of pairs (key, value); an empty one is None.
"""

DAY = 86_400.0

_ID = re.compile(r"(i|vol|ami|key)-[0-9a-f]{8,}")
"""What EC2 gives as an id to what has a name of its user's choice."""


def is_id(word: str) -> bool:
    """Return whether a word can only be an id: anybody may name something like another's id, and is not meant then."""
    return _ID.fullmatch(word) is not None


@dataclass(frozen=True)
class Column:
    """One column: `width` is the number of cells it would like; the table gives what there is."""

    name: str
    title: str
    type: Type = "text"
    width: int = 12
    help: str = ""
    ours: bool = False
    """No listing tells it, and none takes it away."""
    field: str = ""
    """The field of the cache's document that holds it, where that is not the one of its name."""
    earlier: str = ""
    """Where a document that has no such field, of an earlier version, has it: "region", "extra.tags"."""


@dataclass(frozen=True)
class Kind:
    """One kind of resource. `plural` names its tab, its collection and the provider method that lists it."""

    name: str
    plural: str
    columns: tuple[Column, ...]
    max_age: float
    """Seconds after which a listing is stale."""
    by_row: bool
    """True: open dashboards are told of every changed row; False: once a batch, by the `refreshes` document."""
    empty: str
    """What an empty table tells the user to do."""
    aliases: tuple[str, ...] = field(default=())
    handle: str = "id"
    """The column by which commands name one of them: what is shown, journalled and completed."""
    word: str = ""
    """How a sentence calls one of them, where that is not its name."""
    tab: int | None = None
    """Its number key, from 1; None: it opens by `:NAME` and the palette, as a tab that can be closed."""
    vast: bool = False
    """There may be 100,000 of them: its listing is told what is known, and tells only of the rest."""

    @cached_property
    def has_flights(self) -> bool:
        """Whether its rows show what is being done to them: it has a column of flights."""
        return any(column.type == "flight" for column in self.columns)

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
    def listed(self) -> tuple[Column, ...]:
        """The columns that a cloud's listing fills; tags are in its "extra"."""
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
        """The positions of the columns of which many rows have the same value."""
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

    def called(self, row: Row) -> str:
        """Return the word by which commands name `row`: its handle, unless that would be read as another's id."""
        word = str(self.value(row, self.handle))
        return str(self.value(row, "id")) if is_id(word) else word


def _id(title: str = "ID", width: int = 21) -> Column:
    return Column("id", title, width=width)


def _name(width: int = 24) -> Column:
    return Column("name", "Name", width=width)


_TAGS = Column("tags", "Tags", "tags", 24, earlier="extra.tags")
"""Last, where a table is wide: what a filter finds there must be seen somewhere."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "image",
            "images",
            (
                _name(48),
                _id(),
                Column("architecture", "Arch", width=7, help="Processor architecture: x86_64, arm64, i386 …"),
                Column("owner", "Owner", width=14, help="Owner alias (amazon, aws-marketplace), else account id"),
                Column("created", "Created", "time", 16),
                Column("state", "State", "state", 11),
                Column("platform", "Platform", width=12, help="Operating system family, as EC2 bills it"),
                _TAGS,
            ),
            tab=1,
            max_age=DAY,
            by_row=False,
            empty="No images here. r refreshes; `images:` in cloudmesh.yaml says whose images are listed.",
            aliases=("ami", "amis"),
            vast=True,
        ),
        Kind(
            "flavor",
            "flavors",
            (
                _name(18),
                Column("vcpu", "vCPU", "int", 5),
                Column("memory", "Memory", "mib", 9, help="MiB in the cache and in JSON"),
                Column("disk", "Disk", "gib", 8, help="Instance storage, GiB in the cache and in JSON; none: EBS only"),
                Column("architecture", "Arch", width=12),
                Column("network", "Network", width=18),
                Column("price", "USD/hour", "usd", 9, help="On demand, Linux"),
                Column("price_date", "Price of", width=10, help="The day of the price list"),
                _id("ID", 18),
            ),
            tab=2,
            max_age=DAY,
            by_row=False,
            empty="No flavors here. r refreshes.",
            aliases=("size", "sizes", "type", "types"),
        ),
        Kind(
            "vm",
            "vms",
            (
                _name(),
                _id(),
                Column("state", "State", "state", 15, help="EC2's own word"),
                Column("flight", "In flight", "flight", 28, help="The action under way and for how long", ours=True),
                Column("flavor", "Flavor", width=12),
                Column(
                    "protected",
                    "Protected",
                    "flag",
                    9,
                    help="Against deletion, as last asked; null: unknown",
                    ours=True,
                ),
                Column("public_ip", "Public IP", width=15, help="IPv4"),
                Column("private_ip", "Private IP", width=15, help="IPv4"),
                Column("location", "Location", width=12),
                Column("ipv6", "IPv6", "list", 22, help="The addresses of all network interfaces"),
                Column("image", "Image", width=21),
                Column("keypair", "Keypair", width=14),
                Column("launched", "Launched", "time", 16),
                _TAGS,
            ),
            tab=3,
            max_age=30,
            by_row=True,
            empty="No VMs here. b boots one from an image; r refreshes.",
            aliases=("node", "nodes", "instance", "instances", "server", "servers"),
            word="VM",
        ),
        Kind(
            "keypair",
            "keypairs",
            (
                _name(28),
                _id(),
                Column("type", "Type", width=8),
                Column("fingerprint", "Fingerprint", width=59),
                Column("created", "Created", "time", 16),
                _TAGS,
            ),
            tab=4,
            max_age=30,
            by_row=True,
            empty="No keypairs here. c creates one and saves its private key; r refreshes.",
            aliases=("key", "keys"),
            handle="name",
        ),
        Kind(
            "location",
            "locations",
            (
                _name(16),
                Column(
                    "region", "Region", width=14, help="As the cloud names it", field="region_name", earlier="region"
                ),
                Column("state", "State", "state", 11),
                Column("type", "Type", width=18, help="Availability zone, local zone or wavelength zone"),
                _id("ID", 16),
            ),
            tab=5,
            max_age=DAY,
            by_row=False,
            empty="No locations here. r refreshes.",
            aliases=("zone", "zones"),
        ),
        Kind(
            "volume",
            "volumes",
            (
                _name(),
                _id(),
                Column("size", "Size", "gib", 8, help="GiB in the cache and in JSON"),
                Column("state", "State", "state", 11),
                Column("type", "Type", width=8),
                Column("vm", "VM", "list", 21, help="The VMs that it is attached to"),
                Column("location", "Location", width=12),
                Column("created", "Created", "time", 16),
                _TAGS,
            ),
            tab=6,
            max_age=30,
            by_row=True,
            empty="No volumes here. c creates one; r refreshes.",
            aliases=("disk", "disks"),
        ),
    )
}

JOURNAL = Kind(
    "journal entry",
    "journal entries",
    (
        Column("command", "Command", width=44),
        Column("at", "When", "time", 16, help="UTC"),
        Column("outcome", "Outcome", "state", 12, help="done, failed, cancelled; waiting, unfinished, unknown"),
        Column("objects", "Objects", width=21, help="Ids of what it acted on"),
        Column("seconds", "Seconds", "seconds", 8),
        Column("error", "Error", width=60),
        Column("cloud", "Cloud", width=12),
        Column("region", "Region", width=12),
        Column("user", "User", width=12),
        Column("host", "Host", width=16),
        Column("id", "ID", width=32, help="Also the token by which EC2 knows a request again"),
    ),
    max_age=DAY,
    by_row=True,
    empty="Nothing has been done yet: what changes a cloud is written here before it is sent.",
)
"""The journal as a table: no kind of resource, but shown, filtered, listed and printed as one."""

_BY_WORD = {word: kind for kind in KINDS.values() for word in (kind.name, kind.plural, *kind.aliases)}


def kind_named(word: str) -> Kind:
    """Return the kind that `word` names (singular, plural or alias).

    Raises UsageError, naming the nearest match, when there is none.
    """
    kind = _BY_WORD.get(word.lower())
    if kind is None:
        raise nearest(word, _BY_WORD, what="kind", known=KINDS)
    return kind
