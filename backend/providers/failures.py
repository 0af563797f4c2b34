"""Turns everything that can go wrong with a request into one sentence, the cloud's own words and what to do."""

import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import requests.exceptions as http
import urllib3.exceptions as sockets

from backend.errors import CloudError, OutcomeUnknownError, TransientError
from backend.providers import trust
from backend.providers.rules import UNKNOWN, Rules, rule_for
from backend.redact import redacted
from backend.text import safe

if TYPE_CHECKING:
    from backend.config import Cloud

log = logging.getLogger(__name__)

LONGEST = 300
"""Characters of the cloud's own words that a message keeps."""


class Refusal(Exception):
    """The endpoint's answer is an error: HTTP `status`, the cloud's `code`, `message` and `request` id ("": none)."""

    def __init__(self, status: int, code: str = "", message: str = "", request: str = "") -> None:
        super().__init__(code or str(status))
        self.status = status
        self.code = code
        self.message = message
        self.request = request


class Malformed(Exception):
    """An answer is not what was asked for: cut short, empty, HTML, another request's."""


class Request(NamedTuple):
    """One request: its name in the cloud's API, and what it does, in plain words with its object: "Stopping VM i-0"."""

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


class CloudMessage(NamedTuple):
    """What a cloud says about a failure, as its provider reads it."""

    words: str
    """What the sentence quotes."""
    whole: str
    """All of it: what rules look at, and what is kept where the sentence leaves something out."""
    fields: Mapping[str, str] = {}
    """What the provider's rules have in their templates beyond the shared fields."""
    more: str = ""
    """A sentence about what is left out."""


class Dialect(NamedTuple):
    """How the failures of one provider are read."""

    rules: Rules
    read: Callable[[str, "Request"], CloudMessage]
    """Takes the cloud's own words, and the request that has failed."""


def explain(
    failure: Exception, request: Request, cloud: "Cloud", host: str, dialect: Dialect, *, tries: int = 1
) -> CloudError:
    """Return the error to raise (`from None`: the cause may hold headers and keys) when `request` failed.

    Its sentence quotes the cloud; where that is cut, or leaves something out, its `details` have all of it.

    Template fields: cloud, region, host, place (where a wrong host would come from), action, proxy (the variables
    that name it), trust (where other certificates would come from), status, name (code or exception), why, and those of
    the dialect.
    """
    name, status, words = _reduced(failure)
    said = dialect.read(words, request)
    rule = rule_for(dialect.rules, name, status, said.whole)
    if rule is UNKNOWN:
        log.error("%s failed in a way that has no rule", request.action, exc_info=failure)
    maybe_done = request.changes and rule.maybe_done
    title = cloud.provider.title
    variables = cloud.provider.region_variables
    fields = {
        "cloud": cloud.name,
        "region": cloud.region,
        "host": host,
        "setting": f"`endpoint` of cloud {cloud.name} in cloudmesh.yaml"
        if cloud.endpoint
        else f"that {cloud.region} is a region of {title} (`location` in cloudmesh.yaml"
        f"{f', else {variables[0]}' if variables else ''})",
        "action": request.action,
        "proxy": " or ".join(_proxies("socks" if name == "socks" else "")) or "HTTPS_PROXY",
        "trust": _trust(),
        "status": status,
        "name": short(name),
        "why": short(said.words),
        **said.fields,
    }
    reason = rule.reason.format(**fields)
    quoted = (
        f"; {title} says: {short(said.words)}" if rule.quote and said.words and isinstance(failure, Refusal) else ""
    )
    often = f" (asked {tries} times)" if tries > 1 else ""
    cure = f"{rule.cure.format(**fields)} {said.more}".rstrip()
    error = (OutcomeUnknownError if maybe_done else rule.error)(
        f"{safe(request.doing)} failed on cloud {cloud.name}, region {cloud.region}: {reason}{often}{quoted}.",
        "It may have been done all the same: refresh before you repeat it." if maybe_done else cure,
    )
    if said.whole != said.words or len(said.words) > LONGEST:
        error.details = redacted(said.whole)
    error.doing, error.reading = safe(request.doing), not request.changes
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


def _proxies(scheme: str = "") -> list[str]:
    """Return the variables of the environment that name a proxy, or one whose scheme begins so."""
    variables = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    return [name for name in variables if os.environ[name] and os.environ[name].lower().startswith(scheme)]


def _trust() -> str:
    if name := trust.named(os.environ):
        return f"What is trusted is in the file that {name} names, and nothing else is."
    return f"Name a file with the certificates of your own authority in {trust.BUNDLES[0]}."


def short(words: str) -> str:
    """Return a stranger's words on one line, without secrets, fit for a terminal and not too long."""
    words = safe(" ".join(redacted(words).split())).rstrip(".")  # redacted first: half a secret looks like none
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
