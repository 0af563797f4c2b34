"""The journal as a table."""

from backend.kinds.model import DAY, Column, Kind

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
        Column("account", "Account", width=22, help="The account and the role that did it, where STS says so"),
        Column("host", "Host", width=16),
        Column("id", "ID", width=32, whole=True, help="Also the token by which the cloud knows a request again"),
    ),
    max_age=DAY,
    by_row=True,
    empty="Nothing has been done yet: what changes a cloud is written here before it is sent.",
)
"""The journal as a table: no kind of resource, but shown, filtered, listed and printed as one."""
