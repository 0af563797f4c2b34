"""Maps everything that can go wrong with an EC2 call, once, to our errors and what to do about them."""

import logging
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

import requests.exceptions as http
import urllib3.exceptions as sockets

from backend.config import Cloud
from backend.errors import (
    CloudError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
    UnsureError,
)
from backend.providers.ec2_xml import Malformed
from backend.redact import redacted
from backend.text import safe

log = logging.getLogger(__name__)

LONGEST = 300
"""Characters of the cloud's own words that a message keeps."""


class Refusal(Exception):
    """The endpoint's answer is an error: HTTP `status`, EC2's `code`, `message` and `request` id ("" where none)."""

    def __init__(self, status: int, code: str = "", message: str = "", request: str = "") -> None:
        super().__init__(code or str(status))
        self.status = status
        self.code = code
        self.message = message
        self.request = request


class Call(NamedTuple):
    """A call of the API and what it is in plain words, its object included: "Stopping VM i-0abc"."""

    action: str
    doing: str
    changes: bool = False


class Rule(NamedTuple):
    """What a failure means. `reason` and `cure` are templates: see `explain` for their fields."""

    error: type[CloudError]
    reason: str
    cure: str
    quote: bool = False
    """EC2's own words follow. Never where they could repeat what was signed: that includes the session token."""
    brief: str = ""
    """What a TransientError is called while the call waits to be sent again."""
    unsure: bool = False
    """The call may have been carried out all the same."""


_KEYS = "Check EC2_ACCESS_KEY and EC2_SECRET_KEY of cloud {cloud} in cloudmesh.yaml"
_LATER = "Try again in a moment."
_CLOCK = Rule(CredentialsError, "EC2 finds the request expired or from the future", "Set this computer's clock.")

_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    # What EC2 answers: its code, else "HTTP" and the status.
    (("RequestExpired", "RequestTimeTooSkewed", "InvalidRequestTime"), _CLOCK),
    (
        ("ExpiredToken", "ExpiredTokenException"),
        Rule(
            CredentialsError,
            "the session token has expired",
            "Get new temporary keys and put EC2_ACCESS_KEY, EC2_SECRET_KEY and EC2_SESSION_TOKEN of cloud {cloud} "
            "into cloudmesh.yaml or the environment.",
        ),
    ),
    (
        ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "MissingAuthenticationToken"),
        Rule(
            CredentialsError,
            "EC2 does not know these keys in this region",
            _KEYS + " (temporary keys need EC2_SESSION_TOKEN too), and that the account has enabled {region}.",
        ),
    ),
    (
        ("SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignature*"),
        Rule(
            CredentialsError,
            "the signature does not fit: the secret key is wrong or this computer's clock is",
            _KEYS + ", and the clock.",
        ),
    ),
    (("HTTP 401",), Rule(CredentialsError, "{host} does not accept the keys (HTTP 401)", _KEYS + ".")),
    (
        ("UnauthorizedOperation", "AccessDenied*", "UnauthorizedAccess"),
        Rule(
            PermissionDeniedError,
            "the keys are good but may not do {denied}",
            "Ask the account's administrator to allow {denied}.",
        ),
    ),
    (
        ("OptInRequired", "PendingVerification", "Blocked"),
        Rule(PermissionDeniedError, "the account may not use this yet", "Do what EC2 asks for.", quote=True),
    ),
    (
        ("OperationNotPermitted",),
        Rule(
            PermissionDeniedError,
            "it is protected",
            "Lift the protection first: vm unprotect, if it is that from being deleted.",
            quote=True,
        ),
    ),
    (
        ("HTTP 403",),
        Rule(PermissionDeniedError, "{host} refuses without saying why (HTTP 403)", _KEYS + ", and any proxy."),
    ),
    (
        ("*.NotFound", "*.Malformed", "InvalidAMIID.Unavailable", "InvalidZone*"),
        Rule(NotFoundError, "something it names does not exist here", "Refresh to see what there is.", quote=True),
    ),
    (("*.Duplicate",), Rule(CloudError, "the name is taken", "Choose another name.", quote=True)),
    (
        ("IncorrectInstanceState", "IncorrectState", "IncorrectSpotInstanceRequestState", "VolumeInUse"),
        Rule(CloudError, "its state does not allow that", "Refresh to see its state.", quote=True),
    ),
    (
        ("InsufficientInstanceCapacity", "InsufficientHostCapacity", "Unsupported", "InsufficientVolumeCapacity"),
        Rule(CloudError, "EC2 cannot offer that here", "Choose another location or flavor.", quote=True),
    ),
    (
        ("RequestLimitExceeded", "*Throttl*", "SlowDown", "BandwidthLimitExceeded", "RequestResourceCountExceeded"),
        Rule(TransientError, "EC2 limits how often it is asked (throttling)", _LATER, brief="throttled"),
    ),
    (
        ("*LimitExceeded", "MaxSpotInstanceCountExceeded"),
        Rule(CloudError, "a limit of the account is reached", "Delete something or ask AWS for more.", quote=True),
    ),
    (
        ("InvalidAction", "UnknownAction", "NotImplemented", "UnsupportedOperation", "HTTP 501"),
        Rule(CloudError, "{host} does not offer {action} for this", "Check {place}.", quote=True),
    ),
    (
        ("HTTP 429",),
        Rule(TransientError, "{host} limits how often it is asked (throttling)", _LATER, brief="throttled"),
    ),
    (
        ("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout", "HTTP 5??"),
        Rule(
            TransientError,
            "{host} has a problem of its own (HTTP {status})",
            _LATER,
            quote=True,
            brief="EC2 has a problem of its own",
            unsure=True,
        ),
    ),
    (
        ("HTTP 404", "HTTP 405", "HTTP 3??"),
        Rule(CloudError, "{host} does not answer as EC2 does", "Check {place}."),
    ),
    (("HTTP *",), Rule(CloudError, "EC2 refuses ({name})", "Check what was asked for.", quote=True)),
    # What happens on the way.
    (("dns",), Rule(CloudError, "the host {host} cannot be found", "Check the network and {place}.")),
    (("refused",), Rule(CloudError, "{host} cannot be reached", "Check the network and {place}.")),
    (("tls",), Rule(CloudError, "there is no trusted TLS connection to {host}", "Check {place} and SSL_CERT_FILE.")),
    (("proxy",), Rule(CloudError, "the proxy does not lead to {host}", "Check HTTPS_PROXY and NO_PROXY.")),
    (
        ("unreachable",),
        Rule(TransientError, "{host} does not answer", "Check the network and {place}.", brief="no answer"),
    ),
    (("timeout",), Rule(TransientError, "{host} took too long", _LATER, brief="no answer", unsure=True)),
    (("cut off",), Rule(TransientError, "the connection to {host} broke", _LATER, brief="cut off", unsure=True)),
    (("malformed",), Rule(CloudError, "the answer of {host} makes no sense: {why}", "Check {place}.", unsure=True)),
    (("*",), Rule(CloudError, "something unexpected happened ({name})", "Look into the log.", unsure=True)),
)
"""The first rule with a pattern that fits a failure's name is the one. Codes go first, their HTTP status second."""

_NAMES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((Malformed,), "malformed"),
    ((http.ProxyError, sockets.ProxyError, http.InvalidProxyURL, http.InvalidSchema), "proxy"),
    ((http.SSLError, sockets.SSLError), "tls"),
    ((http.ConnectTimeout,), "unreachable"),
    ((sockets.NameResolutionError, http.InvalidURL), "dns"),
    ((sockets.NewConnectionError,), "refused"),
    ((http.Timeout, sockets.TimeoutError, TimeoutError), "timeout"),
    ((http.ConnectionError, http.ChunkedEncodingError, sockets.ProtocolError, ConnectionError), "cut off"),
    ((http.ContentDecodingError, sockets.DecodeError), "cut off"),
)
"""What an exception, or one that it wraps, is called in the rules."""


def explain(failure: Exception, call: Call, cloud: Cloud, host: str, tries: int = 1) -> CloudError:
    """Return the error to raise (`from None`: the cause may hold headers and keys) when `call` failed.

    Template fields: cloud, region, host, place (where a wrong host would come from), action, denied (the permission
    that is missing), status, name (code or exception), why.
    """
    name, status, words = _reduced(failure)
    rule = _rule(name, status)
    if rule is _RULES[-1][1]:
        log.error("%s failed in a way that has no rule", call.action, exc_info=failure)
    unsure = call.changes and rule.unsure
    denied = re.search(r"not authorized to perform: ([\w:*-]+)", words)
    fields = {
        "cloud": cloud.name,
        "region": cloud.region,
        "host": host,
        "place": f"`endpoint` of cloud {cloud.name} in cloudmesh.yaml"
        if cloud.endpoint
        else f"that {cloud.region} is a region of EC2 (`location` in cloudmesh.yaml)",
        "action": call.action,
        "denied": denied[1] if denied else f"ec2:{call.action}",
        "status": status,
        "name": _short(name),
        "why": _short(words),
    }
    reason = rule.reason.format(**fields)
    said = f"; EC2 says: {_short(words)}" if rule.quote and words else ""
    often = f" (asked {tries} times)" if tries > 1 else ""
    error = (UnsureError if unsure else rule.error)(
        f"{safe(call.doing)} failed on cloud {cloud.name}, region {cloud.region}: {reason}{often}{said}.",
        "It may have been done all the same: refresh before you repeat it." if unsure else rule.cure.format(**fields),
    )
    error.doing, error.reading = safe(call.doing), not call.changes
    if isinstance(error, TransientError):
        error.brief = rule.brief
    return error


def _rule(name: str, status: int) -> Rule:
    for word in (name, f"HTTP {status}") if status else (name,):
        for patterns, rule in _RULES:
            if any(pattern != "*" and fnmatchcase(word, pattern) for pattern in patterns):
                return rule
    return _RULES[-1][1]


def _reduced(failure: Exception) -> tuple[str, int, str]:
    """Return a failure's name in the rules, its HTTP status (0: none) and the cloud's own words."""
    if isinstance(failure, Refusal):
        return failure.code or f"HTTP {failure.status}", failure.status, failure.message
    wrapped = tuple(_wrapped(failure))
    for types, name in _NAMES:
        if any(isinstance(error, types) for error in wrapped):
            return name, 0, str(failure) if name == "malformed" else ""
    return type(failure).__name__, 0, ""


def _wrapped(failure: BaseException) -> Iterator[BaseException]:
    """Yield `failure` and what requests and urllib3 wrapped in it, as an argument or as `reason`."""
    yield failure
    for inner in (*failure.args[:2], getattr(failure, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _wrapped(inner)


def _short(words: str) -> str:
    """Return a stranger's words on one line, without secrets, fit for a terminal and not too long."""
    words = safe(" ".join(redacted(words).split())).rstrip(".")  # redacted first: half a secret looks like none
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
