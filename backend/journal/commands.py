"""`journal list`, `journal resume` and `journal drop`."""

from backend.commands.model import Command, Context, Param, Result
from backend.journal.model import JOURNAL
from backend.journal.resume import drop, preview, resume


def list_entries(context: Context) -> Result:
    """List the newest entries of the journal, of every cloud that it knows, newest first."""
    return Result(kind=JOURNAL, rows=tuple(context.session.cache.journal.rows(context.args["last"])))


COMMANDS: tuple[Command, ...] = (
    Command(
        ("journal", "list"),
        "Show what was done to the clouds, by whom and how it ended",
        list_entries,
        params=(
            Param("last", "At most N entries, the newest", "option", type="int", default=lambda _: "1000", minimum=1),
        ),
        key="J",
        shows="journal",
        everywhere=True,
    ),
    Command(
        ("journal", "resume"),
        "Run what an earlier run left unfinished",
        resume,
        params=(Param("only", "Ids of their entries, joined by commas; else all", "option", word="IDS"),),
        effect="destroys",
        preview=preview,
        journalled=False,
        everywhere=True,
    ),
    Command(
        ("journal", "drop"),
        "Give up what an earlier run left unfinished",
        drop,
        effect="changes",
        journalled=False,
        everywhere=True,
    ),
)
