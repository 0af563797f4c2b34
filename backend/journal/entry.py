"""A journal entry: a command, its user and its outcome; it is on disk before anything is sent."""

import getpass
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from backend.errors import CacheError, CacheLostError, Cancelled, CloudmeshError, OutcomeUnknownError
from backend.journal import owner
from backend.journal.seal import fits, seal
from backend.kinds.model import Scope
from backend.redact import redacted

if TYPE_CHECKING:
    from backend.cache import Cache

Outcome = Literal["waiting", "unfinished", "done", "failed", "cancelled", "unknown"]
"""What is known of a command.

waiting: not done; nothing was sent, or a probe saw no effect. unfinished: it was sent, and no answer has come. unknown:
no answer came, and a probe did not find the outcome. Every other one is final.
"""


def unknown(_scope: Scope) -> str:
    """Return that it is not known which account acts in a scope."""
    return ""


_RETRY_FOR = 10.0
"""Seconds for which writing the end of a command is retried while the cache is lost."""


class Entry:
    """One command in the journal. Its id is the `token` by which the cloud recognises its requests."""

    def __init__(self, cache: "Cache", home: Path, document: Mapping[str, Any], *, written: bool = True) -> None:
        self._cache = cache
        self._home = home
        self._unwritten = None if written else dict(document)
        """The whole document, until it is in the journal."""
        self.token = str(document["_id"])
        self.command = str(document["command"])
        self.at: datetime = document.get("sent") or document["at"]
        """When it was sent, or planned."""
        self.was_sent = document.get("sent") is not None
        """An earlier run has sent it to the cloud, so that it may have been done."""
        self.scope = Scope(document["cloud"], document["region"])
        self.account = str(document.get("account") or "").partition(" ")[0]
        """The number of the account whose keys it was planned with, "" if that is not known."""
        self.owner_host = str(document.get("owner_host", ""))
        """The host of the process that has taken it over; `host` stays that of the process that ran the command."""
        self.owner = str(document.get("owner", ""))
        self.outcome: Outcome = document["outcome"]
        self.reported_unknown = self.outcome == "unknown" or document.get("reported_unknown") is True
        """The user has read that it may have been done, and may have repeated it."""
        self.batch: str | None = document.get("batch")
        """The same for all commands that were started together."""
        self.objects: list[str] = list(document["objects"])
        """Ids of what it acts on."""
        self.request: dict[str, Any] = dict(document.get("request") or {})
        """The part of the request that a probe needs to find out the outcome."""
        self.vouched = fits(home, sealed(document), document.get("seal"))
        """Whether this data directory wrote the request: requests of others are never sent from here."""
        self._taken_from: dict[str, Any] = {}

    def taken(self) -> bool:
        """Take over an entry whose process has ended; return False if another process was quicker."""
        mine, before = owner.sign(self._home), {"owner": self.owner, "outcome": self.outcome}
        # If it stayed unknown, another process would take it over too. A waiting entry stays waiting.
        outcome: Outcome = "unfinished" if self.outcome == "unknown" else self.outcome
        fields: dict[str, Any] = {"owner_host": _host(), "owner": mine, "outcome": outcome}
        if self.reported_unknown:  # this process may die too: the next one must still know
            fields["reported_unknown"] = True
        if not self._cache.journal.set(self.token, fields, where=before):
            return False
        self._taken_from = before | {"owner_host": self.owner_host}
        self.owner, self.outcome = mine, outcome
        return True

    def give_back(self) -> None:
        """Restore an entry that was taken over, for a process that may do more about it."""
        self._write(self._taken_from)

    def sending(self, *objects: str, **request: Any) -> None:
        """Write the request before it is sent; it is on disk when this returns."""
        self.objects, self.request, self.outcome, self.at = list(objects), request, "unfinished", _now()
        self._write({"objects": self.objects, "request": request, "outcome": self.outcome, "sent": self.at})

    def end(
        self,
        outcome: Outcome,
        error: str | None = None,
        seconds: float | None = None,
        *,
        settled: bool = False,
        details: str = "",
    ) -> None:
        """Write the outcome; `settled` means that no later probe can find out more.

        `details` is the whole message of the cloud, if `error` has only a part of it.
        """
        self.outcome = outcome
        fields: dict[str, Any] = {"objects": self.objects, "outcome": outcome, "error": error}
        if seconds is not None:
            fields["seconds"] = round(seconds, 3)
        if settled:
            fields["settled"] = True
        if details:
            fields["details"] = details
        self._write(fields)

    def release(self) -> None:
        """Leave the entry to the process that resumes it."""
        self.outcome, self.owner = "waiting", ""
        self._write({"outcome": "waiting", "owner": ""})

    def _write(self, fields: dict[str, Any]) -> None:
        if self.vouched:
            asked = [self.token, *self.scope, self.command, self.objects, self.request]
            fields = fields | {"objects": self.objects, "seal": seal(self._home, asked)}
        if self._unwritten is None:
            self._cache.journal.set(self.token, fields)
        else:
            self._cache.journal.add([self._unwritten | fields])
            self._unwritten = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write how the block ended; its exception is raised again."""
        began = time.monotonic()
        outcome: Outcome = "failed"
        error = None
        details = ""
        try:
            yield
            outcome = "done"
        except Cancelled:
            outcome = "cancelled"
            raise
        except (OutcomeUnknownError, KeyboardInterrupt) as failure:
            outcome = "unknown" if self.outcome == "unfinished" else "cancelled"
            error = str(failure) or "It was interrupted before the cloud had answered."
            raise
        except Exception as failure:
            error = redacted(str(failure)) or type(failure).__name__  # only our own errors are redacted already
            details = failure.details if isinstance(failure, CloudmeshError) else ""
            raise
        finally:
            with suppress(CacheError):  # report the outcome in the cloud, not that it could not be written
                self._end_surely(outcome, error, time.monotonic() - began, details)

    def _end_surely(self, outcome: Outcome, error: str | None, seconds: float, details: str = "") -> None:
        """Write the outcome; if the cache is lost, retry for a few seconds."""
        until = time.monotonic() + _RETRY_FOR
        while True:
            try:
                return self.end(outcome, error, seconds, details=details)
            except CacheLostError:
                if time.monotonic() > until:  # the next start finds out how it ended
                    raise
                with suppress(CacheError, Cancelled):
                    self._cache.revive()
                threading.Event().wait(0.2)


def plan(
    cache: "Cache", home: Path, commands: Sequence[tuple[Scope, str]], account_of: Callable[[Scope], str] = unknown
) -> list[Entry]:
    """Return an entry for each of these commands, which come with their scopes.

    `account_of` returns the account and the role that act in a scope, or "".

    Several entries are on disk, as waiting, when this returns; a single one is written when it is sent or fails.

    Raises CacheError, and CloudmeshError if the data directory cannot be written: then nothing may be sent.
    """
    try:
        me = owner.sign(home)
        seal(home, ())
    except OSError as error:
        raise CloudmeshError(
            f"Nothing was done: the data directory {home} cannot be written: {error.strerror}.",
            "Fix that, or choose another with $CLOUDMESH_HOME.",
        ) from None
    now, user, host, batch = _now(), _user(), _host(), uuid4().hex if len(commands) > 1 else None
    accounts = {scope: account_of(scope) for scope in dict.fromkeys(scope for scope, _ in commands)}
    documents: list[dict[str, Any]] = [
        {
            "_id": uuid4().hex,
            "at": now,
            "user": user,
            "host": host,
            "cloud": scope.cloud,
            "region": scope.region,
            "account": accounts[scope],
            "command": command,
            "objects": [],
            "outcome": "waiting",
            "error": None,
            "seconds": None,
            "sent": None,
            "request": {},
            "settled": False,
            "batch": batch,
            "place": place,
            "owner": me,
            "owner_host": host,
        }
        for place, (scope, command) in enumerate(commands)
    ]
    for document in documents:
        document["seal"] = seal(home, sealed(document))
    if batch:
        cache.journal.add(documents)
    return [Entry(cache, home, document, written=batch is not None) for document in documents]


def sealed(document: Mapping[str, Any]) -> list[object]:
    """Return the fields of an entry that its seal covers: they must be unchanged for it to be sent again."""
    return [document.get(name) for name in ("_id", "cloud", "region", "command", "objects", "request")]


def here(entry: Entry) -> bool:
    """Return whether the owner of an entry is, or was, a process of this machine."""
    return entry.owner_host == _host()


def _now() -> datetime:
    """Return the time in whole milliseconds, as MongoDB stores it, so that it is the same when read back."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _host() -> str:
    return socket.gethostname()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
