"""Adds prices to flavors: those in the cache, which are fetched beside a listing when they are old."""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from backend.errors import Cancelled, CloudmeshError, CredentialsError, PermissionDeniedError, bug
from backend.kinds.model import DAY, Scope
from backend.log import logger
from backend.providers.protocol import Item, Page, PriceList, PriceSource, Provider

if TYPE_CHECKING:
    from backend.cache import Cache

MAX_AGE = 7 * DAY
"""Seconds after which a price list is fetched again."""

LONGEST = 20.0
"""The most seconds for which a listing waits at its end for prices, from its beginning."""

_DENIED, _FAILED = DAY, 3_600.0
"""Seconds for which a cloud is not asked again after it denied the prices, and after it failed."""


def source_of(provider: Provider) -> PriceSource | None:
    """Return where the prices of flavors come from; None for a cloud that has none."""
    found: PriceSource | None = getattr(provider.of("flavor"), "prices", None)
    return found


def known_prices(source: PriceSource, cache: "Cache") -> PriceList:
    """Return the prices in the cache, or else those that are known without the cloud."""
    return (cache.prices.of(source.key) if source.key else None) or source.fallback()


def fetch_prices(source: PriceSource, cache: "Cache", cloud: str, check: Callable[[], None]) -> PriceList:
    """Fetch the prices of now and keep them in the cache.

    Raises CloudmeshError if there are none. After a failure listings do not ask this cloud again for a while.
    """
    try:
        found = source.fetch(check)
    except Exception as error:
        # Keys that are not accepted fail the listing too, and may be others in a moment.
        if not isinstance(error, Cancelled | CredentialsError):
            cache.prices.pause(cloud, _DENIED if isinstance(error, PermissionDeniedError) else _FAILED)
        raise
    cache.prices.put(source.key, found)
    cache.prices.go_on(cloud)
    return found


def priced(page: Iterable[Item], known: PriceList) -> Page:
    """Return flavors with their price, its day and its source."""
    day = known.at.date().isoformat() if known.at else None
    return [
        {
            **item,
            "price": price,
            "price_date": day if price else None,
            # First: the details show it near the price.
            "extra": {"priced": ""} | (item.get("extra") or {}) | {"priced": known.text if price else "unknown"},
        }
        for item in page
        for price in [known.prices.get(str(item.get("id")))]
    ]


def complete(
    provider: Provider,
    cache: "Cache",
    scope: Scope,
    pages: Iterator[Page],
    *,
    check: Callable[[], None],
    say: Callable[[str], object],
    longest: float = LONGEST,
) -> Iterator[Page]:
    """Yield the pages of a listing with prices.

    Prices that are a week old are fetched meanwhile. When they come, the flavors whose price differs are yielded again.
    Whatever happens to the prices, the listing goes on with those that are known. `say` gets a sentence for the user if
    the keys do not allow the prices. `longest`: seconds from the beginning for which the end waits for prices.
    """
    source = source_of(provider)
    if source is None:
        yield from pages
        return
    known = known_prices(source, cache)
    if not _is_due(source, cache, scope.cloud):
        for page in pages:
            yield priced(page, known)
        return
    fetching = _Fetching(source, cache, scope.cloud, longest)
    listed: Page = []
    try:
        for page in pages:
            listed += (page := priced(page, known))
            yield page
        if newer := fetching.result(check, lambda: say(_denied(scope.cloud, known))):
            different = [new for new, old in zip(priced(listed, newer), listed, strict=True) if new != old]
            if different:
                yield different
    finally:
        fetching.stop()


def _is_due(source: PriceSource, cache: "Cache", cloud: str) -> bool:
    """Return whether a listing asks for prices: they can be fetched, are old, and the cloud has not just refused."""
    if not source.key or cache.refusal is not None:
        return False
    return cache.prices.age(source.key) >= MAX_AGE and not cache.prices.paused(cloud)


def _denied(cloud: str, known: PriceList) -> str:
    return (
        f"Prices in cloud {cloud}: {known.text}. Its keys may not do pricing:GetProducts; allow that and run price "
        "refresh for those of today."
    )


class _Fetching:
    """Fetches prices on a thread of its own, beside a listing."""

    def __init__(self, source: PriceSource, cache: "Cache", cloud: str, longest: float) -> None:
        self._longest, self._until = longest, monotonic() + longest
        self._stopped = threading.Event()
        self._found: SimpleQueue[PriceList | BaseException] = SimpleQueue()
        self._cache, self._cloud = cache, cloud

        def work() -> None:
            try:
                self._found.put(fetch_prices(source, cache, cloud, self._check))
            except BaseException as error:  # noqa: BLE001 - examined by the thread that waits
                self._found.put(error)

        threading.Thread(target=work, name="prices", daemon=True).start()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled

    def stop(self) -> None:
        """End the requests; nothing waits for that."""
        self._stopped.set()

    def result(self, check: Callable[[], None], denied: Callable[[], object]) -> PriceList | None:
        """Wait for the prices; None if there are none in time. A failure is logged, or reported by `denied`."""
        while (found := self._waited()) is None:
            check()
            if monotonic() > self._until:
                self.stop()
                self._cache.prices.pause(self._cloud, _FAILED)
                logger.warning("the prices of cloud %s did not come in %d s", self._cloud, self._longest)
                return None
        if isinstance(found, PriceList):
            return found
        if isinstance(found, PermissionDeniedError):
            denied()
        if isinstance(found, CloudmeshError):
            logger.warning("flavors are listed with the prices that are known: %s", found)
        else:
            logger.error("%s", bug("Fetching prices", found), exc_info=found)
        return None

    def _waited(self) -> PriceList | BaseException | None:
        try:
            return self._found.get(timeout=0.1)
        except Empty:
            return None
