"""What a failure means: the rules that all providers share, and how the rule of a failure is found."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from backend.errors import CloudError, TransientError


class Rule(NamedTuple):
    """What a failure means. `reason` and `cure` are templates: see backend.providers.failures for their fields."""

    error: type[CloudError]
    reason: str
    cure: str
    words: str = ""
    """A pattern that the cloud's own words must have for this meaning; one code may have several."""
    brief: str = ""
    """What a TransientError is called while the call waits to be sent again."""
    maybe_done: bool = False
    """The call may have been carried out all the same."""
    quote: bool = True
    """The cloud's own words follow; left out only where they never say more."""


Rules = tuple[tuple[tuple[str, ...], Rule], ...]
"""Patterns of names, with the rule of a failure that has such a name; the first that fits is the one."""

LATER = "Try again in a moment."

ON_THE_WAY: Rules = (
    (("dns",), Rule(CloudError, "the host {host} cannot be found", "Check the network and {setting}.")),
    (("refused",), Rule(CloudError, "{host} cannot be reached", "Check the network and {setting}.")),
    (("tls",), Rule(CloudError, "there is no trusted TLS connection to {host}{why}", "Check {setting}. {trust}")),
    (
        ("socks",),
        Rule(
            CloudError,
            "{proxy} names a SOCKS proxy, and Python finds no PySocks to use it",
            "Install it: pip install 'cloudmesh-tui[socks]'. Or write in NO_PROXY what needs no proxy.",
        ),
    ),
    (("proxy",), Rule(CloudError, "the proxy does not lead to {host}", "Check {proxy} and NO_PROXY.")),
    (
        ("unreachable",),
        Rule(TransientError, "{host} does not answer", "Check the network and {setting}.", brief="no answer"),
    ),
    (("timeout",), Rule(TransientError, "{host} took too long", LATER, brief="no answer", maybe_done=True)),
    (("cut off",), Rule(TransientError, "the connection to {host} broke", LATER, brief="cut off", maybe_done=True)),
    (
        ("malformed",),
        Rule(CloudError, "the answer of {host} makes no sense: {why}", "Check {setting}.", maybe_done=True),
    ),
    (("*",), Rule(CloudError, "something unexpected happened ({name})", "Look into the log.", maybe_done=True)),
)
"""The last rules of every provider: what happens between this computer and the cloud."""

UNKNOWN = ON_THE_WAY[-1][1]
"""The rule of a failure that has no other."""


def rule_for(rules: Rules, name: str, status: int, words: str) -> Rule:
    """Return the rule of a failure: by its name, then by its HTTP status (0: none), and by the cloud's own words."""
    for candidate in _candidates(name, status):
        for patterns, rule in rules:
            if any(pattern != "*" and fnmatchcase(candidate, pattern) for pattern in patterns) and (
                not rule.words or re.search(rule.words, words, re.IGNORECASE)
            ):
                return rule
    return UNKNOWN


def _candidates(name: str, status: int) -> Iterator[str]:
    if status == 501:  # whatever the code is: the endpoint says that it has no such action
        yield "HTTP 501"
    yield re.sub(r"^(?:Client|Server)\.", "", name)  # as EC2's SOAP API had it, and old endpoints have it still
    if status:
        yield f"HTTP {status}"
