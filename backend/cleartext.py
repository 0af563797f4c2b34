"""Warns about addresses in a configuration that are used over a network without TLS."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit


def in_clear(endpoints: Mapping[str, str], mongodb: str) -> Iterator[str]:
    """Yield a warning for each cloud, and for the cache, that is used without TLS.

    `endpoints` are the URLs of the clouds by name, "" for AWS's own; `mongodb` is `mongodb.uri` of the configuration.
    """
    for name, endpoint in endpoints.items():
        parts = urlsplit(endpoint)
        if parts.scheme == "http" and not _is_here(parts.hostname or ""):
            yield (
                f"Cloud {name} is used without TLS: on the way to {parts.netloc} anybody can read the session token "
                "and the private keys of new keypairs. Write https:// in its endpoint."
            )
    with suppress(ValueError):  # an invalid address is reported when it is used
        parts = urlsplit(mongodb)
        options = {name.lower(): value.lower() for name, value in parse_qsl(parts.query)}
        tls = options.get("tls", options.get("ssl", "true" if parts.scheme == "mongodb+srv" else "false"))
        hosts = parts.netloc.rpartition("@")[2].split(",")
        away = [host for host in hosts if not _is_here(urlsplit(f"//{host}").hostname or "")]
        if parts.scheme and tls != "true" and away:
            yield (
                f"The cache is used without TLS: on the way to {', '.join(away)} anybody can read and change it. "
                "Add tls=true to mongodb.uri."
            )


def _is_here(host: str) -> bool:
    """Return whether a host, or a percent-encoded path of a socket, is on this computer."""
    if host == "localhost" or host.endswith((".localhost", ".sock")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
