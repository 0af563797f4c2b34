"""Reads a mongodb:// address: its hosts, and which part of it is wrong. Never shows its user or password."""

import re
import warnings
from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from backend.errors import ConfigError
from backend.redact import redacted
from backend.text import safe

_SRV = "mongodb+srv://"

_ENCODING = "Write the user and the password before the @ percent-encoded: @ is %40, : is %3A, / is %2F."
_PORTS = "Write HOST:PORT with a port from 1 to 65535, or HOST alone for 27017."
_NO_USER = " Write a user and a password before an @."

_ALLOWED = {
    "readpreference": "primary, primaryPreferred, secondary, secondaryPreferred, nearest",
    "compressors": "snappy, zlib, zstd",
}
"""The allowed values of options, if the driver's message does not list them."""

_WRONG = (PyMongoError, ValueError, TypeError)
"""What the driver raises for a wrong address; TypeError for some options that must be numbers."""

_SECRET = ("password", "properties", "token")
"""Parts of the names of options that hold secrets: messages do not repeat their values."""


def address_of(uri: str) -> str:
    """Return host:port, … of a mongodb:// address, without user and password.

    Raises ConfigError, which names the wrong part, when the address is not valid or names a certificate file that
    cannot be read.
    """
    try:
        nodes = _parsed(uri)["nodelist"]
    except _WRONG as error:
        what, cure = _fault(uri) or (f"its parts do not fit together: {_words(error)}", "Check its options.")
        raise ConfigError(f"mongodb.uri in the configuration is not a valid MongoDB address: {what}.", cure) from None
    except OSError as error:
        raise ConfigError(
            f"mongodb.uri in the configuration names a file that cannot be read: {error.filename}: {error.strerror}.",
            "Correct the path.",
        ) from None
    return ", ".join(f"{host}:{port}" if port else str(host) for host, port in nodes)


def options_of(uri: str) -> set[str]:
    """Return the names of the options that a valid mongodb:// address sets, in lower case."""
    return {pair.partition("=")[0].lower() for pair in _pairs(uri.partition("?")[2])}


def _parsed(uri: str) -> Any:
    """Return the address as the driver parses it. Raises the driver's errors, ValueError, and OSError for its files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # accept what the driver only warns about
        if not uri.startswith(_SRV):
            return parse_uri(uri)
        # Parse it as a mongodb:// address: for mongodb+srv:// the driver would query the DNS.
        start, mark, query = uri.replace("+srv", "", 1).partition("?")
        only_srv = [pair for pair in _pairs(query) if pair.lower().startswith("srv")]
        others = "&".join(pair for pair in _pairs(query) if pair not in only_srv)
        found = parse_uri(start + mark + others, default_port=0)
        if len(found["nodelist"]) > 1 or found["nodelist"][0][1] or any(_options_fault(one, True) for one in only_srv):
            raise ValueError
        return found


def _pairs(query: str) -> list[str]:
    return [pair for pair in re.split("[&;]", query) if pair]


def _fault(uri: str) -> tuple[str, str] | None:
    """Return the first wrong part of an address and what to do; None if each part alone is right."""
    rest = uri.partition("://")[2]
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    path, _, query = tail.partition("?")
    userinfo, at, hosts = authority.rpartition("@")
    checks = (
        _users_fault(userinfo, at, tail),
        _hosts_fault(hosts, bool(at), uri.startswith(_SRV)),
        _databases_fault(path.removeprefix("/")),
        *(_options_fault(pair, uri.startswith(_SRV)) for pair in _pairs(query)),
    )
    return next((found for found in checks if found), None)


def _users_fault(userinfo: str, at: str, tail: str) -> tuple[str, str] | None:
    if not at:
        return ("it has a / or ? before its @", _ENCODING) if "@" in tail else None
    user, _, password = userinfo.partition(":")
    if not user:
        return "there is no user before its @", "Write USER:PASSWORD@HOST, or HOST alone for no user."
    if re.search(r"[@:/?#\[\]]|%(?![0-9A-Fa-f]{2})", user + password):
        return "its user or password has a character that needs encoding", _ENCODING
    return ("it has a / or ? before its @", _ENCODING) if "@" in tail.partition("?")[0] else None


def _hosts_fault(hosts: str, has_user: bool, srv: bool) -> tuple[str, str] | None:
    """Check the hosts. The message does not repeat them: if the @ is missing or not encoded, they may be a password."""
    listed = hosts.split(",")
    if not hosts:
        return "it names no host", "Write mongodb://HOST:PORT/, or embedded or memory for a cache without a server."
    for number, host in enumerate(listed, 1):
        which = "the host" if len(listed) == 1 else f"host {number} of {len(listed)}"
        if not host:
            return f"{which} is empty", "Remove the comma that has no host next to it."
        if host.startswith("[") and "]" not in host:
            return f"{which} begins with [ but has no ]", "Write an IPv6 address as [::1]:27017."
        if host.lower().startswith("%2f"):
            if not host.endswith(".sock"):
                return f"{which} is a path that does not end in .sock", "Write the path of the socket, with %2F for /."
            continue
        port = host.rpartition("]")[2] if host.startswith("[") else host
        _, colon, port = port.partition(":")
        if colon and srv:
            cure = "Remove the port, or write mongodb://." + ("" if has_user else _NO_USER)
            return "mongodb+srv:// takes no port: the port comes from the DNS", cure
        if colon and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
            cure = _PORTS + ("" if has_user else _NO_USER)
            return f"the port of {which} is not a number from 1 to 65535", cure
        if "%" in host:
            return f"{which} has a %", "Only the path of a socket is percent-encoded."
    if srv and len(listed) > 1:
        return "mongodb+srv:// takes one host: the others come from the DNS", "Write one host, or mongodb://."
    return None


def _databases_fault(path: str) -> tuple[str, str] | None:
    if not _raised(f"mongodb://host/{path}"):
        return None
    return (
        "the database name after its host has a character that is not allowed",
        'Remove any / \\ " $ and blanks from it. The cache does not use it: set mongodb.database instead.',
    )


def _options_fault(pair: str, srv: bool) -> tuple[str, str] | None:
    name, equals, _ = pair.partition("=")
    if not equals:
        return "a part after its ? is not NAME=VALUE", "Write options as ?NAME=VALUE&NAME=VALUE."
    error = _raised(f"mongodb://host/?{pair}")
    if error is None or (srv and "only allowed with" in str(error)):
        return None
    words = _words(error)
    if words.startswith("Unknown option"):
        near = re.search(r"Did you mean one of \(([\w, ]+)\)", words)
        cure = f"Did you mean one of {near[1]}?" if near else "See the options of MongoDB's connection strings."
        return f"it has no option {_shown(name)}", cure
    if any(part in name.lower() for part in _SECRET):
        return (
            f"its option {_shown(name)} has a value that is not allowed",
            "See the documentation of the MongoDB driver.",
        )
    allowed = _ALLOWED.get(name.lower())
    return f"its option {_shown(name)} is wrong: {words}", f"Allowed: {allowed}." if allowed else "Correct its value."


def _raised(uri: str) -> Exception | None:
    """Return what the driver raises for an address, or None. A missing file is reported by `address_of`."""
    with suppress(OSError):
        try:
            _parsed(uri)
        except _WRONG as error:
            return error
    return None


def _words(error: Exception) -> str:
    """Return the driver's message, redacted and escaped: it may quote the address."""
    return safe(redacted(str(error) or type(error).__name__)).rstrip(".")[:200]


def _shown(name: str) -> str:
    return safe(redacted(name))[:40]
