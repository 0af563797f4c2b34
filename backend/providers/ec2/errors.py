"""Turns everything that can go wrong with an EC2 call into one sentence, the cloud's own words and what to do."""

import base64
import logging
import os
import re
import ssl
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

import requests.exceptions as http
import urllib3.exceptions as sockets

from backend.config import Cloud
from backend.errors import CloudError, TransientError, UnsureError
from backend.providers.ec2 import rules, trust
from backend.providers.ec2.xml import Malformed
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
    trial: bool = False
    """It only asks whether it could be done, and is not journalled."""


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

_ENCODED = re.compile(r"\s*Encoded authorization failure message:\s*(\S+)", re.IGNORECASE)
"""What EC2 says to administrators alone: hundreds of characters that only STS can read."""

_SIGNED = re.compile(
    r"\s*(?:The Canonical String|The String-to-Sign|\S*Authorization['\"]?\s*[=:]|'?AWS4-HMAC).*", re.DOTALL
)
"""Where an answer goes on with what was signed, the session token included."""

_DENIED = re.compile(r"not authorized to perform: ([\w:*-]+)|\"action\"\s*:\s*\"([\w:*-]+)\"")


def explain(failure: Exception, call: Call, cloud: Cloud, host: str, tries: int = 1) -> CloudError:
    """Return the error to raise (`from None`: the cause may hold headers and keys) when `call` failed.

    Its sentence quotes the cloud; where that is cut, or leaves out an encoded message, its `details` have all of it.

    Template fields: cloud, region, host, place (where a wrong host would come from), action, denied (the permission
    that is missing), policy and who (the kind of policy that denies it, and who can change that), proxy (the variables
    that name it), trust (where other certificates would come from), status, name (code or exception), why.
    """
    name, status, words = _reduced(failure)
    words = _SIGNED.sub("", words)
    encoded = _ENCODED.search(words)
    said = _ENCODED.sub("", words)
    whole = f"{words} {_decoded(encoded[1])}".rstrip() if encoded else words
    rule = rules.rule_for(name, status, whole)
    if rule is rules.UNKNOWN:
        log.error("%s failed in a way that has no rule", call.action, exc_info=failure)
    unsure = call.changes and rule.unsure
    denied = _DENIED.search(whole)
    policy, who = rules.policy(said)
    fields = {
        "cloud": cloud.name,
        "region": cloud.region,
        "host": host,
        "place": f"`endpoint` of cloud {cloud.name} in cloudmesh.yaml"
        if cloud.endpoint
        else f"that {cloud.region} is a region of EC2 (`location` in cloudmesh.yaml, else AWS_REGION)",
        "action": call.action,
        "denied": _short(denied[1] or denied[2]) if denied else f"ec2:{call.action}",
        "policy": _short(policy),
        "who": who,
        "proxy": " or ".join(_proxies("socks" if name == "socks" else "")) or "HTTPS_PROXY",
        "trust": _trust(),
        "status": status,
        "name": _short(name),
        "why": _short(words),
    }
    reason = rule.reason.format(**fields)
    quoted = f"; EC2 says: {_short(said)}" if rule.quote and said and isinstance(failure, Refusal) else ""
    often = f" (asked {tries} times)" if tries > 1 else ""
    cure = rule.cure.format(**fields)
    if encoded:
        kept = "journal and the log keep" if call.changes and not call.trial else "log keeps"
        cure += f" The {kept} EC2's encoded message; aws sts decode-authorization-message explains it."
        log.warning("%s was refused, and EC2 says: %s", call.action, whole)
    error = (UnsureError if unsure else rule.error)(
        f"{safe(call.doing)} failed on cloud {cloud.name}, region {cloud.region}: {reason}{often}{quoted}.",
        "It may have been done all the same: refresh before you repeat it." if unsure else cure,
    )
    if encoded or len(said) > LONGEST:
        error.details = redacted(whole)
    error.doing, error.reading = safe(call.doing), not call.changes
    if isinstance(error, TransientError):
        error.brief = rule.brief
    return error


def _reduced(failure: Exception) -> tuple[str, int, str]:
    """Return a failure's name in the rules, its HTTP status (0: none) and the cloud's own words, or why it failed."""
    if isinstance(failure, Refusal):
        return failure.code or f"HTTP {failure.status}", failure.status, failure.message
    wrapped = tuple(_wrapped(failure))
    name = next((name for types, name in _NAMES if any(isinstance(error, types) for error in wrapped)), "")
    if name == "malformed":
        return name, 0, str(failure)
    if name == "tls":
        reasons = [error.verify_message for error in wrapped if isinstance(error, ssl.SSLCertVerificationError)]
        return name, 0, f": {reasons[0]}" if reasons else ""
    if isinstance(failure, http.InvalidSchema) and "SOCKS" in str(failure):
        return "socks", 0, ""
    if name == "dns" and isinstance(failure, http.InvalidURL) and _proxies():  # our own URL is one
        return "proxy", 0, ""
    return name or type(failure).__name__, 0, ""


def _wrapped(failure: BaseException) -> Iterator[BaseException]:
    """Yield `failure` and what requests and urllib3 wrapped in it, as an argument or as `reason`."""
    yield failure
    for inner in (*failure.args[:2], getattr(failure, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _wrapped(inner)


def _decoded(encoded: str) -> str:
    """Return what an encoded message says where it is plain text in base64; "" where it is encrypted, as AWS's are."""
    text = unquote(encoded).rstrip(".").replace("-", "+").replace("_", "/")
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except ValueError:
        return ""
    return found if found.isprintable() else ""


def _proxies(scheme: str = "") -> list[str]:
    """Return the variables of the environment that name a proxy, or one whose scheme begins so."""
    variables = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    return [name for name in variables if os.environ[name] and os.environ[name].lower().startswith(scheme)]


def _trust() -> str:
    if name := trust.named(os.environ):
        return f"What is trusted is in the file that {name} names, and nothing else is."
    return f"Name a file with the certificates of your own authority in {trust.BUNDLES[0]}."


def _short(words: str) -> str:
    """Return a stranger's words on one line, without secrets, fit for a terminal and not too long."""
    words = safe(" ".join(redacted(words).split())).rstrip(".")  # redacted first: half a secret looks like none
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
