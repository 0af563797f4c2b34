"""The errors a user may see: one clear sentence each, with the exit status they end a headless run with."""

import re

from backend.redact import redacted


class CloudmeshError(Exception):
    """Something failed in a way that the user can act on.

    The message is whole sentences: what failed, on which cloud, region or object, why; `cure` says what to do next.
    Whatever they are made of, no secret is in them.
    """

    exit_status = 1
    details = ""
    """All of what the cloud said, where the message has only a part of it: for the log and the journal."""

    doing = ""
    """What its message begins with, where that is what was asked of a cloud: "Listing VMs"; "" else."""
    reading = False
    """Whether that was to change nothing."""

    def __init__(self, message: str, cure: str = "") -> None:
        self.message = redacted(message)
        self.cure = redacted(cure)
        super().__init__(self.message)

    def name_action(self, action: str, called: str, name: str, *, undone: bool) -> None:
        """Say that an action has failed, "stop of web-1 (i-0abc)", unless what failed names its object already.

        `called` is the object's name and id, `name` what it is known by; `undone`: nothing was done.
        """
        is_step = bool(self.doing) and self.message.startswith(f"{self.doing} failed")
        said = self.doing if is_step else self.message  # what follows has names of clouds and regions
        if action in self.message or (called and re.search(rf"(?<!\w){re.escape(called)}(?!\w)", said)):
            return
        if is_step and not self.reading:  # the action itself
            if name and name not in self.doing.split():
                self.message = redacted(f"{action}{self.message.removeprefix(self.doing)}")
            return
        reason = f"{self.message[0].lower()}{self.message[1:]}" if is_step else self.message
        self.message = redacted(f"{action} failed{', and nothing was done' if undone else ''}: {reason}")

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()


class UsageError(CloudmeshError):
    """The words of a command cannot be understood or do not fit; nothing was done."""

    exit_status = 2


class RefusedError(CloudmeshError):
    """A command was refused before anything was sent to the cloud: nothing was done."""


class ConfigError(CloudmeshError):
    """The configuration is missing, unreadable or wrong."""

    exit_status = 2


class CloudError(CloudmeshError):
    """A cloud refused or could not be reached."""


class CredentialsError(CloudError):
    """The cloud does not accept the keys (EC2: AuthFailure, InvalidClientTokenId, SignatureDoesNotMatch …)."""


class PermissionDeniedError(CloudError):
    """The keys are good but may not do this (EC2: UnauthorizedOperation)."""


class NotFoundError(CloudError):
    """The object does not exist in this cloud and region (EC2: Invalid….NotFound)."""


class MissingError(NotFoundError):
    """An object that a command needs does not exist, and another command can create it; see Param.offer."""

    def __init__(self, kind: str, name: str, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.kind = kind
        self.name = name


class NotListedError(NotFoundError):
    """A command made the object a moment ago, and the cloud does not list it yet: that says nothing about it."""


class UnsureError(CloudError):
    """A change was sent and its answer did not come: it may have been done all the same."""


class UntoldError(UnsureError):
    """Nothing tells whether a change was done, now or later."""


class InVainError(CloudError):
    """It was found out that a change was done, and is of no use."""


class TransientError(CloudError):
    """Throttled, overloaded, timed out or cut off: the same read may succeed when repeated."""

    brief = ""
    """Which of these, in a word or two."""


class CacheError(CloudmeshError):
    """The MongoDB cache cannot be used."""


class CacheLostError(CacheError):
    """The server cannot be reached now, and may be later."""


class Cancelled(Exception):
    """Work was stopped because the user cancelled it."""


def bug(what: str, error: BaseException | str) -> CloudmeshError:
    """Return the sentence that a user gets for a bug: an exception or its name; the log gets its traceback."""
    name = error if isinstance(error, str) else type(error).__name__
    message = f"{what} failed: {name}. This is a bug in cloudmesh-tui."
    return CloudmeshError(message, "Run with --log-file FILE and report it.")
