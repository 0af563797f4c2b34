"""What a failure means: the rules that all providers share, and the search for the rule of a failure."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from backend.errors import CloudError, TransientError


class Rule(NamedTuple):
    """What a failure means. `reason` and `cure` are templates; see backend.providers.failures for their fields."""

    error: type[CloudError]
    reason: str
    cure: str
    words: str = ""
    """A pattern that the cloud's message must match; one code may have several meanings."""
    brief: str = ""
    """The name of a TransientError while the request waits to be sent again."""
    maybe_done: bool = False
    """The cloud may have carried out the request."""
    quote: bool = True
    """Whether to quote the cloud's message; False only if that never says more."""


Rules = tuple[tuple[tuple[str, ...], Rule], ...]
"""Pairs of name patterns and the rule of failures with such names; the first match counts."""

LATER = "Try again in a moment."

ON_THE_WAY: Rules = (
    (("dns",), Rule(CloudError, "the host {host} cannot be found", "Check the network and {setting}.")),
    (("refused",), Rule(CloudError, "{host} cannot be reached", "Check the network and {setting}.")),
    (("tls",), Rule(CloudError, "there is no trusted TLS connection to {host}{why}", "Check {setting}. {trust}")),
    (
        ("socks",),
        Rule(
            CloudError,
            "{proxy} names a SOCKS proxy, but PySocks is not installed",
            "Install it: pip install 'cloudmesh-tui[socks]'. Or list the hosts that need no proxy in NO_PROXY.",
        ),
    ),
    (("proxy",), Rule(CloudError, "the proxy does not connect to {host}", "Check {proxy} and NO_PROXY.")),
    (
        ("unreachable",),
        Rule(TransientError, "{host} does not answer", "Check the network and {setting}.", brief="no answer"),
    ),
    (("timeout",), Rule(TransientError, "{host} took too long", LATER, brief="no answer", maybe_done=True)),
    (("cut off",), Rule(TransientError, "the connection to {host} broke", LATER, brief="cut off", maybe_done=True)),
    (
        ("malformed",),
        Rule(CloudError, "the answer of {host} is not valid: {why}", "Check {setting}.", maybe_done=True),
    ),
    (("*",), Rule(CloudError, "something unexpected happened ({name})", "See the log.", maybe_done=True)),
)
"""The last rules of every provider: failures between this computer and the cloud."""

UNKNOWN = ON_THE_WAY[-1][1]
"""The rule of a failure without any other rule."""


def rule_for(rules: Rules, name: str, status: int, words: str) -> Rule:
    """Return the rule of a failure: by its name, then its HTTP status (0: none), and by the cloud's message."""
    for candidate in _candidates(name, status):
        for patterns, rule in rules:
            if any(pattern != "*" and fnmatchcase(candidate, pattern) for pattern in patterns) and (
                not rule.words or re.search(rule.words, words, re.IGNORECASE)
            ):
                return rule
    return UNKNOWN


def _candidates(name: str, status: int) -> Iterator[str]:
    if status == 501:  # first: the endpoint does not have the action, whatever the code says
        yield "HTTP 501"
    yield re.sub(r"^(?:Client|Server)\.", "", name)  # prefixes of EC2's SOAP API, which old endpoints still use
    if status:
        yield f"HTTP {status}"
