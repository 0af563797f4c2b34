"""Keeps price lists, and until when a cloud is not asked for one again."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from backend.cache.keys import Document, log_skipped
from backend.cache.records import is_past, is_text
from backend.cache.rights import extra
from backend.cache.store import Store
from backend.providers.protocol import PriceList

LONGEST_PAUSE = 86_400.0
"""The most seconds for which a cloud is not asked again; a longer pause in the cache counts as none."""

_MOST = 100_000.0
"""A price above this, in USD per hour, is none."""


class Prices:
    """The collection `prices`: a document for each price list, and for each cloud that gave none a pause."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, key: str) -> PriceList | None:
        """Return the price list with this key (see PriceSource), or None."""
        found = self._read(f"list/{key}")
        return None if found is None else _price_list(found)

    def age(self, key: str) -> float:
        """Return the seconds since a price list was fetched; infinite if there is none."""
        found = self.of(key)
        return inf if found is None or found.at is None else (datetime.now(UTC) - found.at).total_seconds()

    def put(self, key: str, found: PriceList) -> None:
        """Keep a price list instead of the last one."""
        # Names of flavors have dots, which MongoDB reads as paths: store them as values.
        pairs = [[flavor, price] for flavor, price in sorted(found.prices.items())]
        self._write(f"list/{key}", {"source": found.source, "at": found.at, "prices": pairs})

    def pause(self, cloud: str, seconds: float) -> None:
        """Note that a cloud is not asked for prices for a while."""
        self._write(f"pause/{cloud}", {"until": datetime.now(UTC) + timedelta(seconds=seconds)})

    def go_on(self, cloud: str) -> None:
        """Forget the pause of a cloud."""
        self._write(f"pause/{cloud}", {"until": None})

    def paused(self, cloud: str) -> bool:
        """Return whether a cloud is not to be asked now."""
        until, now = (self._read(f"pause/{cloud}") or {}).get("until"), datetime.now(UTC)
        return isinstance(until, datetime) and now < until <= now + timedelta(seconds=LONGEST_PAUSE)

    def _read(self, key: str) -> Document | None:
        found: list[Document] = []
        with self._store.use(), extra("read prices"):
            found += self._store.find("prices", {"_id": key})
        return found[0] if found else None

    def _write(self, key: str, fields: Document) -> None:
        with self._store.use(), extra("keep prices"):
            self._store.database["prices"].update_one({"_id": key}, {"$set": fields}, upsert=True)


def _price_list(document: Mapping[str, Any]) -> PriceList | None:
    """Return the price list of a document, with the prices that can be understood; None if there are none."""
    source, at, pairs = (document.get(name) for name in ("source", "at", "prices"))
    good = [pair for pair in pairs if _is_price(pair)] if isinstance(pairs, list) else []
    if not (good and is_text(source) and is_past(at)):
        log_skipped("prices", document)
        return None
    return PriceList(str(source), at, dict(good))


def _is_price(pair: Any) -> bool:
    if not (isinstance(pair, list) and len(pair) == 2 and is_text(pair[0])):
        return False
    return isinstance(pair[1], (int, float)) and not isinstance(pair[1], bool) and 0 < pair[1] < _MOST
