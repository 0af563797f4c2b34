"""The volumes: block storage that VMs attach. Light to import: the other rooms name the kind."""

from backend.kinds.model import TAGS, Column, Kind, id_column, name_column

VOLUME = Kind(
    "volume",
    "volumes",
    (
        name_column(),
        id_column(),
        Column("size", "Size", "gib", 8, help="GiB in the cache and in JSON"),
        Column("state", "State", "state", 11),
        Column("type", "Type", width=8),
        Column("vm", "VM", "list", 21, help="The VMs that it is attached to", whole=True),
        Column("location", "Location", width=12),
        Column("created", "Created", "time", 16),
        TAGS,
    ),
    max_age=30,
    by_row=True,
    empty="No volumes here. c creates one; r refreshes.",
    aliases=("disk", "disks"),
    tab=6,
)
