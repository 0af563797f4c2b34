"""Says which certificates are trusted over TLS, and imports libcloud even where its own check of them fails."""

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from backend.errors import ConfigError
from backend.text import safe

BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Which variables name a file of the certificates to trust, the first one first. An empty one counts as absent."""

KEY_LOG = "SSLKEYLOGFILE"
"""Names a file that TLS session keys are written to; Python and urllib3 open it with each connection."""


def named(environ: Mapping[str, str]) -> str:
    """Return the variable that names the certificates to trust, "" where none does."""
    return next((name for name in BUNDLES if environ.get(name)), "")


def trusted(environ: Mapping[str, str]) -> str:
    """Return the file, or folder, of the certificates to trust: that of the environment, else the one of requests.

    Raises ConfigError where what a variable names cannot be used.
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
            f"{name} names {safe(path)} as the file of certificates to trust, which cannot be used: {wrong}.",
            f"Mend or unset {name}.",
        )
    return path


@lru_cache(16)
def _wrong(name: str, path: str, changed: int, size: int) -> str:  # noqa: ARG001 - a file that changes is read again
    """Return what is wrong with a file of certificates, "" where nothing is. Raises OSError."""
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
            f"{KEY_LOG} names {safe(path)}, which cannot be written: {error.strerror}.", f"Mend or unset {KEY_LOG}."
        ) from None


def _load() -> None:
    """Import libcloud's module of the same purpose, which raises where SSL_CERT_FILE names no file.

    It judges the variable once, at import, whether or not TLS is used. What it finds is not used here: `trusted` is.
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
