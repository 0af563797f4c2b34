"""Removes secrets from text. Every log line and every error passes through `redacted`."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.providers.registry import PROVIDERS

MASK = "***"

SHORTEST = 6
"""Shorter secrets are not redacted: they would match parts of ordinary sentences."""

_SHORTEST_IN_WORDS = 8
"""Shorter secrets are redacted only if they are a whole word."""

_NOT_SECRET = frozenset({"embedded", "memory"})
"""Values of the setting mongodb.uri that are no secrets, though the setting is a `Secret`."""

KEY_VARIABLES = (
    "AWS_SECURITY_TOKEN",
    *(name for entry in PROVIDERS.values() for pair in entry.credentials.items() for name in pair),
)
"""The environment variables that hold keys: those of the providers, and an older name of AWS's session token."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")

_known: dict[str, re.Pattern[str]] = {}
"""The pattern of each secret of this process. They are few and never removed: an old secret may still be logged."""


def add_secret(secret: str) -> None:
    """Redact `secret` from now on. If it is a URL, redact its user, its password and the secrets in its query."""
    if "://" in secret:
        for part in _secrets_in(secret):
            add_secret(part)
    elif len(secret) >= SHORTEST and secret not in _NOT_SECRET and secret not in _known:
        _known[secret] = _pattern(secret)


def add_environment(environ: Mapping[str, str]) -> None:
    """Redact the keys and the proxy passwords in the environment from now on, even if nothing uses them."""
    for name in KEY_VARIABLES:
        add_secret(environ.get(name, ""))
    for name, value in environ.items():
        if name.lower() in _PROXIES:
            add_secret(value if "://" in value else f"http://{value}")


def redacted(text: str) -> str:
    """Return `text` with every known secret, and everything that resembles a secret, replaced by ***.

    A known secret is also found if it is percent-encoded, escaped for JSON, Python or XML, in base64 or in hexadecimal.
    Access key ids are redacted too: anybody can ask AWS which account one belongs to.
    """
    for pattern in tuple(_known.values()):
        text = pattern.sub(MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


# --- patterns of secrets ---------------------------------------------------------------------------------------------

# Hostile text must not take minutes: each pattern consumes the text that it searches, or has a bounded length.
_NAMES = (
    r"x-amz-security-token|x-amz-signature|x-amz-credential|signature|credential"
    r"|(?:aws_?|ec2_)?(?:secret_?)?access_?key(?:_?id)?|(?:aws_?|ec2_)?secret_?key"
    r"|(?:aws_?|ec2_)?(?:session|security)_?token|\w{0,40}password"
)
_SEPARATOR = r"""(?:\\?["'])?\s{0,9}[:=>]\s{0,9}(?:\\?["'])?"""
_VALUE = r"""(?:(?<=")[^"\n]{1,4000}|(?<=')[^'\n]{1,4000}|(?<=>)[^<\n]{1,4000}|[^\s"',;&<>]{1,4000})"""


def _without_user(address: re.Match[str]) -> str:
    _, at, host = address[1].rpartition("@")
    return f"://{MASK}@{host}" if at else address[0]


_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        # The END line may be cut off: then the key ends with its last character. Line ends may be escaped in any way.
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
            r"(?:(?:(?!-----BEGIN ).){0,10000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|[-\w+/=\s\\\u2400-\u2426]*)",
            re.DOTALL,
        ),
        MASK,
    ),
    (re.compile(r"(?i)(<keyMaterial>)[^<]+"), rf"\1{MASK}"),
    (re.compile(r"""://([^\s"'<>]+)"""), _without_user),
    (
        re.compile(r"""(?i)\b(authorization["']?\s{0,9}[:=]\s{0,9}["']?)(?:basic|bearer)\s{1,9}[^\s"',;]+"""),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)\b((?:{_NAMES}){_SEPARATOR}){_VALUE}"), rf"\1{MASK}"),
    (re.compile(r"\bA(?:KIA|SIA)[A-Z0-9]{12,124}\b"), MASK),
)


# --- the encodings of a known secret ---------------------------------------------------------------------------------


def _secrets_in(url: str) -> Iterator[str]:
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
    if len(secret) < _SHORTEST_IN_WORDS:
        return re.compile(rf"(?<![^\W_]){plain}(?![^\W_])")
    encoded = {form.replace("+", "[-+]").replace("/", "[/_]") for form in map(_base64, (data,) * 3, range(3))}
    return re.compile("|".join((plain, *sorted(encoded), f"(?i:{data.hex()})")))


def _base64(data: bytes, offset: int) -> str:
    """Return the base64 characters that depend on `data` alone, if `data` starts `offset` bytes into the text."""
    first = -(-offset * 8 // 6)
    last = (offset + len(data)) * 8 // 6
    return base64.b64encode(bytes(offset) + data).decode()[first:last]


@cache
def _character(char: str) -> str:
    """Return a pattern that matches a character and all its escapes."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    percent = "".join(f"%(?:25)?{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    forms = [rf"&(?:#0*{code}|#x0*{code:x}|{_ENTITIES.get(char, '-')});", rf"\\u0*{code:x}", rf"\\x{code:02x}", percent]
    # The escapes come first: & may be the start of &amp;.
    return f"(?:(?i:{'|'.join(forms)})|\\\\?{re.escape(char)}{'|[+]' if char == ' ' else ''})"


_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
