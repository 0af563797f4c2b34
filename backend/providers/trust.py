"""Chooses the certificates to trust over TLS, and imports libcloud even if its own check of them fails."""

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from backend.errors import ConfigError
from backend.text import safe

BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""The variables that name a file of certificates to trust, in order of precedence. An empty one counts as absent."""

KEY_LOG = "SSLKEYLOGFILE"
"""The variable that names a file for TLS session keys; Python and urllib3 open it for each connection."""


def named(environ: Mapping[str, str]) -> str:
    """Return the variable that names the certificates to trust, or ""."""
    return next((name for name in BUNDLES if environ.get(name)), "")


def trusted(environ: Mapping[str, str]) -> str:
    """Return the file or folder of the certificates to trust: from the environment, else from requests.

    Raises ConfigError if a variable names something that cannot be used.
    """
    if log := environ.get(KEY_LOG):
        _check_key_log(os.path.expandvars(log))
    if not (name := named(environ)):
        return DEFAULT_CA_BUNDLE_PATH
    path = environ[name]
    try:
        found = Path(path).stat()
        wrong = _wrong(name, path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        wrong = str(error.strerror)
    if wrong:
        raise ConfigError(
            f"{name} names {safe(path)} as the file of certificates to trust, but it cannot be used: {wrong}.",
            f"Correct or unset {name}.",
        )
    return path


@lru_cache(16)
def _wrong(name: str, path: str, changed: int, size: int) -> str:  # noqa: ARG001 - part of the cache key: a changed file is read again
    """Return what is wrong with a file of certificates, or "". Raises OSError."""
    if Path(path).is_dir():
        hashed = name == "REQUESTS_CA_BUNDLE" and any(Path(path).glob("[0-9a-f]" * 8 + ".[0-9]"))
        return "" if hashed else "it is a folder"
    if not Path(path).is_file():
        return "it is not a file"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "there is no certificate in it"
    return ""


def _check_key_log(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
    except OSError as error:
        raise ConfigError(
            f"{KEY_LOG} names {safe(path)}, which cannot be written: {error.strerror}.", f"Correct or unset {KEY_LOG}."
        ) from None


def _load() -> None:
    """Import libcloud.security, which raises if SSL_CERT_FILE does not name a file.

    It checks the variable once, at import, even if TLS is not used. We use `trusted` instead of its result.
    """
    file = os.environ.get("SSL_CERT_FILE")
    hidden = file is not None and not Path(file).is_file()
    if hidden:
        del os.environ["SSL_CERT_FILE"]
    try:
        import libcloud.security  # noqa: F401
    finally:
        if hidden and file is not None:
            os.environ["SSL_CERT_FILE"] = file


_load()
