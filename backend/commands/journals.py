"""What `journal list` does."""

from backend.commands.model import Call, Outcome
from backend.kinds import JOURNAL


def list_entries(call: Call) -> Outcome:
    """List the newest entries of the journal, of every cloud that it knows, newest first."""
    return Outcome(kind=JOURNAL, rows=tuple(call.session.cache.journal.rows(call.args["last"])))
