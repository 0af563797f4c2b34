"""Removes secrets from text. Every log line and every error passes through `redacted`."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.providers.registry import PROVIDERS

HIDDEN = "***"

SHORTEST = 6
"""The least characters of a secret to redact: a shorter one would match parts of ordinary sentences."""

_WORD = 8
"""The least characters of a secret that is redacted within words too."""

_PLAIN = frozenset({"embedded", "memory"})
"""Values of mongodb.uri that are kept in a Secret but are not secret."""

KEY_VARIABLES = (
    "AWS_SECURITY_TOKEN",
    *(name for entry in PROVIDERS.values() for pair in entry.credentials.items() for name in pair),
)
"""The environment variables that hold keys: those of the providers, and other common names."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")

_known: dict[str, re.Pattern[str]] = {}
"""The patterns of this process's secrets. They are few and are never removed: an old secret may still be logged."""


def know(secret: str) -> None:
    """Redact a secret from now on; of a URL, its user, its password and the secrets in its query."""
    if "://" in secret:
        for part in _hidden_in(secret):
            know(part)
    elif len(secret) >= SHORTEST and secret not in _PLAIN and secret not in _known:
        _known[secret] = _pattern(secret)


def know_environment(environ: Mapping[str, str]) -> None:
    """Redact the keys and the proxy passwords in the environment from now on, used or not."""
    for name in KEY_VARIABLES:
        know(environ.get(name, ""))
    for name, value in environ.items():
        if name.lower() in _PROXIES:
            know(value if "://" in value else f"http://{value}")


def redacted(text: str) -> str:
    """Return `text` with *** for every known secret, and for everything that looks like a secret.

    A secret is also found percent-encoded, with the escapes of JSON, Python and XML, in base64 and in hexadecimal.
    Access key ids are redacted too: with one, anybody can ask AWS for its account.
    """
    for pattern in tuple(_known.values()):
        text = pattern.sub(HIDDEN, text)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


# --- patterns of secrets ---------------------------------------------------------------------------------------------

# Hostile text must not take minutes: a pattern consumes what it has searched, or its length is bounded.
_NAMES = (
    r"x-amz-security-token|x-amz-signature|x-amz-credential|signature|credential"
    r"|(?:aws_?|ec2_)?(?:secret_?)?access_?key(?:_?id)?|(?:aws_?|ec2_)?secret_?key"
    r"|(?:aws_?|ec2_)?(?:session|security)_?token|\w{0,40}password"
)
_MEANS = r"""(?:\\?["'])?\s{0,9}[:=>]\s{0,9}(?:\\?["'])?"""
_VALUE = r"""(?:(?<=")[^"\n]{1,4000}|(?<=')[^'\n]{1,4000}|(?<=>)[^<\n]{1,4000}|[^\s"',;&<>]{1,4000})"""


def _without_user(address: re.Match[str]) -> str:
    _, at, host = address[1].rpartition("@")
    return f"://{HIDDEN}@{host}" if at else address[0]


_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        # A key that is cut off ends with the last of its characters; line ends may be escaped in any way.
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
            r"(?:(?:(?!-----BEGIN ).){0,10000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|[-\w+/=\s\\\u2400-\u2426]*)",
            re.DOTALL,
        ),
        HIDDEN,
    ),
    (re.compile(r"(?i)(<keyMaterial>)[^<]+"), rf"\1{HIDDEN}"),
    (re.compile(r"""://([^\s"'<>]+)"""), _without_user),
    (
        re.compile(r"""(?i)\b(authorization["']?\s{0,9}[:=]\s{0,9}["']?)(?:basic|bearer)\s{1,9}[^\s"',;]+"""),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(?i)\b((?:{_NAMES}){_MEANS}){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(r"\bA(?:KIA|SIA)[A-Z0-9]{12,124}\b"), HIDDEN),
)


# --- the forms of a secret that is known -----------------------------------------------------------------------------


def _hidden_in(url: str) -> Iterator[str]:
    """Yield the secrets in a URL, as written and decoded."""
    userinfo, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        _, _, password = userinfo.partition(":")
        yield from (userinfo, unquote(userinfo), password, unquote(password))
    try:
        query = parse_qsl(urlsplit(url).query)
    except ValueError:
        return
    for name, value in query:
        if "password" in name.lower():
            yield value
        elif "AWS_SESSION_TOKEN:" in value:  # MONGODB-AWS: authMechanismProperties
            yield value.partition("AWS_SESSION_TOKEN:")[2]


def _pattern(secret: str) -> re.Pattern[str]:
    plain = "".join(map(_character, secret))
    data = secret.encode(errors="surrogatepass")
    if len(secret) < _WORD:
        return re.compile(rf"(?<![^\W_]){plain}(?![^\W_])")
    encoded = {form.replace("+", "[-+]").replace("/", "[/_]") for form in map(_base64, (data,) * 3, range(3))}
    return re.compile("|".join((plain, *sorted(encoded), f"(?i:{data.hex()})")))


def _base64(data: bytes, before: int) -> str:
    """Return the part of `data` in base64 that does not depend on its neighbours, with `before` bytes before it."""
    first = -(-before * 8 // 6)
    last = (before + len(data)) * 8 // 6
    return base64.b64encode(bytes(before) + data).decode()[first:last]


@cache
def _character(char: str) -> str:
    """Return a pattern of all escaped forms of a character."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    percent = "".join(f"%(?:25)?{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    forms = [rf"&(?:#0*{code}|#x0*{code:x}|{_ENTITIES.get(char, '-')});", rf"\\u0*{code:x}", rf"\\x{code:02x}", percent]
    # The longest first: & may be the start of &amp;.
    return f"(?:(?i:{'|'.join(forms)})|\\\\?{re.escape(char)}{'|[+]' if char == ' ' else ''})"


_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
