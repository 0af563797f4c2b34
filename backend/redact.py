"""The one boundary at which secrets are taken out of text: every log line and every error passes through `redacted`."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.providers.registry import PROVIDERS

HIDDEN = "***"

SHORTEST = 6
"""Characters of a secret that is looked for: a shorter one stands by chance in half of all sentences."""

_WORD = 8
"""Characters from which one is found inside of words too."""

_PLAIN = frozenset({"embedded", "memory"})
"""What mongodb.uri may say that is kept like a secret and is none."""

KEY_VARIABLES = (
    "AWS_SECURITY_TOKEN",
    *(name for entry in PROVIDERS.values() for pair in entry.credentials.items() for name in pair),
)
"""The environment variables that hold keys: those that a provider takes, and names that people give them."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")

_known: dict[str, re.Pattern[str]] = {}
"""The secrets of this process. They are as many as its configuration has, and stay: what was one may still be told."""


def know(secret: str) -> None:
    """Take a secret out of everything from now on; of an address, its user and password and what its query hides."""
    if "://" in secret:
        for part in _hidden_in(secret):
            know(part)
    elif len(secret) >= SHORTEST and secret not in _PLAIN and secret not in _known:
        _known[secret] = _pattern(secret)


def know_environment(environ: Mapping[str, str]) -> None:
    """Know the keys and the proxies' passwords of the environment, whether or not anything uses them."""
    for name in KEY_VARIABLES:
        know(environ.get(name, ""))
    for name, value in environ.items():
        if name.lower() in _PROXIES:
            know(value if "://" in value else f"http://{value}")


def redacted(text: str) -> str:
    """Return `text` with *** in the place of every secret that is known, and of whatever looks like one.

    A secret is found as it is, percent-encoded, with the escapes of JSON, Python and XML, in base64 and in hexadecimal.
    Access key ids are hidden too: with one, anybody can ask AWS whose account it is.
    """
    for pattern in tuple(_known.values()):
        text = pattern.sub(HIDDEN, text)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


# --- what looks like a secret ----------------------------------------------------------------------------------------

# A stranger's text must not take minutes: what a pattern has looked through it takes, or its length is bounded.
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
        # Cut off, it is what is written in its letters, whatever its line ends have been made into.
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
    """Yield what is secret in an address, as it stands there and decoded."""
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
    """Return what of `data` in base64 does not hang on its neighbours, when so many bytes stand before it."""
    first = -(-before * 8 // 6)
    last = (before + len(data)) * 8 // 6
    return base64.b64encode(bytes(before) + data).decode()[first:last]


@cache
def _character(char: str) -> str:
    """Return a pattern of all that a character of a secret may have become."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    percent = "".join(f"%(?:25)?{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    forms = [rf"&(?:#0*{code}|#x0*{code:x}|{_ENTITIES.get(char, '-')});", rf"\\u0*{code:x}", rf"\\x{code:02x}", percent]
    # The longest first: an & may be the beginning of &amp;.
    return f"(?:(?i:{'|'.join(forms)})|\\\\?{re.escape(char)}{'|[+]' if char == ' ' else ''})"


_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
