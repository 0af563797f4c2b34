"""Turns every failure of a request into one sentence, with the cloud's message and what to do."""

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
"""The most characters of the cloud's message that a sentence quotes."""


class Refusal(Exception):
    """The endpoint answered with an error: HTTP `status`, and the cloud's `code`, `message` and `request` id or ""."""

    def __init__(self, status: int, code: str = "", message: str = "", request: str = "") -> None:
        super().__init__(code or str(status))
        self.status = status
        self.code = code
        self.message = message
        self.request = request


class Malformed(Exception):
    """An answer is not valid: cut short, empty, HTML, or of another request."""


class Request(NamedTuple):
    """One request: its name in the cloud's API, and what it does, with its object: "Stopping VM i-0"."""

    action: str
    doing: str
    changes: bool = False
    trial: bool = False
    """A dry run: it only asks whether the change is possible, and is not journalled."""


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
"""The name in the rules of an exception, or of one that it wraps."""


class CloudMessage(NamedTuple):
    """The cloud's message about a failure, as its provider reads it."""

    words: str
    """The part that the sentence quotes."""
    whole: str
    """The whole message: rules search it, and `details` keeps it if the sentence quotes only a part."""
    fields: Mapping[str, str] = {}
    """Template fields for the provider's rules, in addition to the shared ones."""
    more: str = ""
    """A sentence about the part that is not quoted."""


class Dialect(NamedTuple):
    """How to read the failures of one provider."""

    rules: Rules
    read: Callable[[str, "Request"], CloudMessage]
    """Takes the cloud's message and the failed request."""


def explain(
    failure: Exception, request: Request, cloud: "Cloud", host: str, dialect: Dialect, *, tries: int = 1
) -> CloudError:
    """Return the error to raise (`from None`: the cause may hold headers and keys) when `request` failed.

    Its sentence quotes the cloud's message; if the quote is incomplete, `details` has the whole message.

    Template fields: cloud, region, host, setting (which setting determines the host), keys (where the keys come from),
    give (what to do with new keys), action, proxy (the variables that
    name it), trust (which setting names the certificates), status, name (code or exception), why, and the fields of the
    dialect.
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
        **_keys(cloud),
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
        "It may have been done nevertheless: refresh before you repeat it." if maybe_done else cure,
    )
    if said.whole != said.words or len(said.words) > LONGEST:
        error.details = redacted(said.whole)
    error.doing, error.reading = safe(request.doing), not request.changes
    if isinstance(error, TransientError):
        error.brief = rule.brief
    return error


def _keys(cloud: "Cloud") -> dict[str, str]:
    """Return the template fields about the keys of a cloud."""
    if cloud.account is None:
        *most, last = cloud.provider.credentials or ("",)
        return {
            "keys": f"{' and '.join(cloud.provider.required)} of cloud {cloud.name} in cloudmesh.yaml",
            "give": f"write {', '.join(most)} and {last} of cloud {cloud.name} into cloudmesh.yaml or the environment",
        }
    profile = cloud.account.profile
    return {
        "keys": f"the keys of profile {profile} in ~/.aws" if profile else "the keys that the AWS tools use",
        "give": f"give them to profile {profile}, such as by aws sso login"
        if profile
        else "give them to the AWS tools",
    }


def _reduced(failure: Exception) -> tuple[str, int, str]:
    """Return a failure's name in the rules, its HTTP status (0: none), and the cloud's message or the reason."""
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
    # Our own URL is valid, so the URL of the proxy is not.
    if name == "dns" and isinstance(failure, http.InvalidURL) and _proxies():
        return "proxy", 0, ""
    return name or type(failure).__name__, 0, ""


def _wrapped(failure: BaseException) -> Iterator[BaseException]:
    """Yield `failure` and the exceptions that requests and urllib3 wrapped in it, as an argument or `reason`."""
    yield failure
    for inner in (*failure.args[:2], getattr(failure, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _wrapped(inner)


def _proxies(scheme: str = "") -> list[str]:
    """Return the environment variables that name a proxy whose scheme begins with `scheme`."""
    variables = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    return [name for name in variables if os.environ[name] and os.environ[name].lower().startswith(scheme)]


def _trust() -> str:
    if name := trust.named(os.environ):
        return f"Only the certificates in the file that {name} names are trusted."
    return f"For an authority of your own, set {trust.BUNDLES[0]} to a file with its certificates."


def short(words: str) -> str:
    """Return text from outside as one line: redacted, escaped and not too long."""
    words = safe(" ".join(redacted(words).split())).rstrip(".")  # redacted before it is cut: half a secret is not found
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
