"""The errors that a user may see: one clear sentence each, and the exit status of a headless run."""

import re

from backend.redact import redacted


class CloudmeshError(Exception):
    """A failure that the user can act on.

    `message` says in whole sentences what failed, on which cloud, region or object, and why; `cure` says what to do
    next. Both are redacted.
    """

    exit_status = 1
    details = ""
    """The cloud's whole message, if `message` quotes only a part of it: for the log and the journal."""

    doing = ""
    """The request that failed, if the message begins with it: "Listing VMs"; else ""."""
    reading = False
    """Whether that request only reads."""

    def __init__(self, message: str, cure: str = "") -> None:
        self.message = redacted(message)
        self.cure = redacted(cure)
        super().__init__(self.message)

    def name_action(self, action: str, called: str, name: str, *, undone: bool) -> None:
        """Add the failed action, "stop of web-1 (i-0abc)", to the message, unless it already names the object.

        `called` is the name and id of the object, `name` the word that the user knows it by; `undone` means that
        nothing was done.
        """
        is_step = bool(self.doing) and self.message.startswith(f"{self.doing} failed")
        # The rest of the message names clouds and regions, which may look like the object.
        said = self.doing if is_step else self.message
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
    """A command line is not valid; nothing was done."""

    exit_status = 2


class RefusedError(CloudmeshError):
    """A command was refused before anything was sent to the cloud; nothing was done."""


class ConfigError(CloudmeshError):
    """The configuration is missing, unreadable or wrong."""

    exit_status = 2


class NoAccountError(ConfigError):
    """No account was found; `ways` are the ways to have one, a sentence each, with what was looked at."""

    def __init__(self, ways: tuple[str, ...]) -> None:
        self.ways = ways
        super().__init__("No AWS account was found on this computer.", "Ways to have one:")

    def __str__(self) -> str:
        return "\n".join((f"{self.message} {self.cure}", *(f"  {way}" for way in self.ways)))


class CloudError(CloudmeshError):
    """A cloud refused a request or could not be reached."""


class CredentialsError(CloudError):
    """The cloud does not accept the keys (EC2: AuthFailure, InvalidClientTokenId, SignatureDoesNotMatch …)."""


class ExpiredError(CredentialsError):
    """The keys have expired: with new ones, the same request may succeed."""


class NoKeysError(CredentialsError):
    """Nothing that was looked at has keys."""


class LoginNeededError(CredentialsError):
    """There are no keys until the user logs in: by `command`, or, if that is empty, by giving a code."""

    command: tuple[str, ...] = ()
    """The command that logs in, without a shell: ("aws", "sso", "login", "--profile", "dev")."""


class PermissionDeniedError(CloudError):
    """The keys are valid but lack a permission (EC2: UnauthorizedOperation)."""


class NotFoundError(CloudError):
    """The object does not exist in this cloud and region (EC2: Invalid….NotFound)."""


class MissingError(NotFoundError):
    """An object that a command needs does not exist, and another command can create it; see Param.offer."""

    def __init__(self, kind: str, name: str, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.kind = kind
        self.name = name


class NotListedError(NotFoundError):
    """A command just created the object, and the cloud does not list it yet: it may still exist."""


class OutcomeUnknownError(CloudError):
    """A change was sent, but its answer did not arrive: the outcome is unknown."""


class UnknowableError(OutcomeUnknownError):
    """The outcome is unknown, and no probe can find it out, now or later."""


class UnusableError(CloudError):
    """A probe found that a change was done, but its result is unusable."""


class TransientError(CloudError):
    """Throttled, overloaded, timed out or cut off: the same read may succeed if it is repeated."""

    brief = ""
    """The reason in a word or two."""


class CacheError(CloudmeshError):
    """The MongoDB cache cannot be used."""


class CacheLostError(CacheError):
    """The server cannot be reached now; it may be reachable later."""


class Cancelled(Exception):
    """The user cancelled the work."""


def bug(what: str, error: BaseException | str) -> CloudmeshError:
    """Return the error to show for a bug: an exception or its name. The traceback belongs in the log."""
    name = error if isinstance(error, str) else type(error).__name__
    message = f"{what} failed: {name}. This is a bug in cloudmesh-tui."
    return CloudmeshError(message, "Run with --log-file FILE and report it.")
