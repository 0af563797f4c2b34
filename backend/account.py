"""Accounts: where the keys of a cloud come from, and who they make you."""

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backend.errors import LoginNeededError
from backend.text import safe


@dataclass(frozen=True)
class Role:
    """A role to assume with the keys of an account."""

    arn: str
    external_id: str | None = None
    session_name: str | None = None


@dataclass(frozen=True)
class Account:
    """Keys that the provider's own tools find: those of a profile, or by default the ones that they would use."""

    profile: str | None = None
    role: Role | None = None
    """The role to assume with the keys of the profile."""


@dataclass(frozen=True)
class Identity:
    """Who the keys of a cloud make you."""

    account: str
    """The number of the account."""
    arn: str = ""
    role: str = ""
    """The role, or the user; "root" for the account itself."""
    alias: str = ""
    """The name of the account, if you may read it."""

    @property
    def text(self) -> str:
        """The account and the role: "acme · Admin"."""
        return " · ".join(filter(None, (self.alias or self.account, self.role)))

    @property
    def lasting(self) -> str:
        """The same for the journal, always with the number: "123456789012 · Admin"."""
        return " · ".join(filter(None, (self.account, self.role)))


@dataclass(frozen=True)
class Profiles:
    """The accounts that the provider's own tools know on this computer."""

    regions: Mapping[str, str] = field(default_factory=dict)
    """The region of each profile, or ""; in the order of the files."""
    chosen: str | None = None
    """The profile that the tools use by default; None: the environment has keys, or nothing chooses one."""
    from_environment: bool = False
    """Whether the environment itself has keys, or says where they are."""
    looked_at: tuple[str, ...] = ()
    """What was looked at and what was there, a sentence each."""


# --- asking for a code ------------------------------------------------------------------------------------------------

Ask = Callable[[str], str]
"""Asks the user for a code, by the text given, and returns it. Blocks. Raises LoginNeededError without an answer."""


def _ask_on_terminal(text: str) -> str:
    """Ask on the terminal, where the code is seen: it is of use only once, and Ctrl-C would leave a silent terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        raise LoginNeededError("A code of your MFA device is needed, and there is no terminal to ask for it on.")
    print(safe(text), end="", file=sys.stderr, flush=True)
    if code := sys.stdin.readline().strip():
        return code
    raise LoginNeededError("No code was given, so there are no keys.")


_ask: Ask = _ask_on_terminal
_asking = threading.Lock()
"""There is one user: several accounts ask one after the other."""


def ask_by(ask: Ask) -> None:
    """Ask for codes by `ask` from now on; without this, they are asked for on the terminal."""
    global _ask  # noqa: PLW0603 - as the terminal is, it is one for the process
    _ask = ask


def ask(text: str) -> str:
    """Ask the user for a code; see Ask."""
    with _asking:
        return _ask(text)
