"""The prices of flavors: fetched beside a listing, kept in the cache, shown with their day and source."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.cache import Cache
from backend.callbacks import ignore
from backend.catalog import KINDS
from backend.errors import Cancelled, CloudError, CredentialsError, PermissionDeniedError, TransientError
from backend.kinds.flavor.prices import MAX_AGE, complete
from backend.kinds.model import Scope
from backend.providers.protocol import Page, PriceList
from backend.refresh import Difference, refresh
from tests.backend.cache_support import HERE
from tests.faces import Faces

FLAVOR = KINDS["flavor"]
KEY = "prices.test us-east-1"
OLD = PriceList("libcloud's list of", datetime(2025, 3, 2, tzinfo=UTC), {"t3.micro": 0.01, "t3.nano": 0.005})
ELSEWHERE = Scope("lab", "us-east-1")


def today(**prices: float) -> PriceList:
    """Return a price list of now; in the name of a flavor _ stands for a dot."""
    return PriceList("on demand,", datetime.now(UTC), {name.replace("_", "."): usd for name, usd in prices.items()})


NEW = today(t3_micro=0.0104)


class Source:
    """A source of prices: gives what it is told, or raises it."""

    why_not = ""

    def __init__(self, found: PriceList | Exception | None, key: str = KEY) -> None:
        self.key = key
        self.found = found
        """None: it does not answer until it is cancelled."""
        self.asked = 0
        self.began = threading.Event()
        self.ended = threading.Event()

    def fetch(self, check: Callable[[], None]) -> PriceList:
        self.asked += 1
        self.began.set()
        try:
            while self.found is None:
                check()
                threading.Event().wait(0.01)
            if isinstance(self.found, Exception):
                raise self.found
            return self.found
        finally:
            self.ended.set()

    def fallback(self) -> PriceList:
        return OLD


class Shop(Faces):
    """A cloud with three flavors, on two pages."""

    def __init__(self, source: Source | None, before: Callable[[int], object] = ignore) -> None:
        super().__init__()
        self._before = before
        if source is not None:
            self.flavor_prices = source

    def flavor_list(self) -> Iterator[Page]:
        for number, names in enumerate((("t3.micro", "t3.nano"), ("m9.huge",))):
            self._before(number)
            yield [{"id": name, "name": name, "extra": {"zones": ["a"]}} for name in names]


def listed(cache: Cache, source: Source | None, scope: Scope = HERE, **how: Any) -> Difference:
    return refresh(FLAVOR, Shop(source, **how), cache, scope)


def shown(cache: Cache, scope: Scope = HERE) -> dict[str, tuple[Any, ...]]:
    """Return price, day and source of each flavor in the cache."""
    found = (cache.rows.document(FLAVOR, scope, FLAVOR.value(row, "id")) for row in cache.rows.snapshot(FLAVOR, scope))
    return {one["id"]: (one["price"], one["price_date"], one["extra"].get("priced")) for one in found if one}


AS_LIBCLOUD = {
    "t3.micro": (0.01, "2025-03-02", "libcloud's list of 2 Mar 2025"),
    "t3.nano": (0.005, "2025-03-02", "libcloud's list of 2 Mar 2025"),
    "m9.huge": (None, None, "unknown"),
}
assert NEW.at
AS_FETCHED = {
    "t3.micro": (0.0104, NEW.at.date().isoformat(), NEW.text),
    "t3.nano": (None, None, "unknown"),
    "m9.huge": (None, None, "unknown"),
}


# --- beside a listing ------------------------------------------------------------------------------------------------


def test_prices_are_fetched_beside_the_first_listing_and_kept(cache: Cache) -> None:
    source = Source(NEW)
    assert listed(cache, source).note == ""
    assert shown(cache) == AS_FETCHED
    kept = cache.prices.of(KEY)
    assert kept is not None
    assert (kept.source, kept.prices, kept.text) == (NEW.source, NEW.prices, NEW.text)
    again = listed(cache, source)
    assert (again.count, again.changed, source.asked) == (3, 0, 1)


def test_a_second_cloud_of_the_region_uses_the_same_prices(cache: Cache) -> None:
    listed(cache, Source(NEW))
    other = Source(NEW)
    listed(cache, other, ELSEWHERE)
    assert (shown(cache, ELSEWHERE), other.asked) == (AS_FETCHED, 0)


def test_prices_of_a_week_ago_are_fetched_again(cache: Cache) -> None:
    ago = datetime.now(UTC) - timedelta(seconds=MAX_AGE + 60)
    cache.prices.put(KEY, PriceList("on demand,", ago, {"t3.micro": 0.02}))
    source = Source(NEW)
    done = listed(cache, source)
    assert (shown(cache), source.asked, done.count) == (AS_FETCHED, 1, 3)
    cache.prices.put(KEY, PriceList("on demand,", ago + timedelta(seconds=120), {"t3.micro": 0.02}))
    listed(cache, source)
    assert source.asked == 1
    assert shown(cache)["t3.micro"][0] == 0.02


def test_rows_do_not_wait_for_prices(cache: Cache) -> None:
    source = Source(None)
    seen: list[Any] = []

    def before(page: int) -> None:
        if page == 1:  # the first page is written while the prices are still under way
            assert source.began.wait(10)
            for _ in range(1_000):
                if found := shown(cache):
                    seen.append(found)
                    break
                threading.Event().wait(0.01)
            source.found = NEW

    listed(cache, source, before=before)
    assert seen == [{name: AS_LIBCLOUD[name] for name in ("t3.micro", "t3.nano")}]
    assert shown(cache) == AS_FETCHED


def test_a_listing_that_is_cancelled_cancels_its_prices(cache: Cache) -> None:
    source = Source(None)

    def check() -> None:
        if source.began.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        refresh(FLAVOR, Shop(source), cache, HERE, check=check)
    assert source.ended.wait(10)


def test_a_listing_that_fails_cancels_its_prices(cache: Cache) -> None:
    source = Source(None)

    def before(page: int) -> None:
        if page == 1:
            raise CloudError("No flavors today.")

    with pytest.raises(CloudError, match="No flavors"):
        listed(cache, source, before=before)
    assert source.ended.wait(10)


def test_prices_that_do_not_come_in_time_end_no_listing(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    source = Source(None)
    pages = Shop(source).flavor_list()
    found = [item for page in _completed(cache, source, pages, longest=0.2) for item in page]
    assert [item["price"] for item in found] == [0.01, 0.005, None]
    assert source.ended.wait(10)
    assert "did not come" in caplog.text
    assert cache.prices.paused("aws")


def _completed(cache: Cache, source: Source, pages: Iterator[Page], longest: float) -> Iterator[Page]:
    return complete(Shop(source), cache, HERE, pages, check=ignore, say=ignore, longest=longest)


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_denial_is_said_once_and_remembered_for_a_day(cache: Cache) -> None:
    source = Source(PermissionDeniedError("the keys may not"))
    done = listed(cache, source)
    assert done.error is None
    assert done.note == (
        "Prices in cloud aws: libcloud's list of 2 Mar 2025. Its keys may not do pricing:GetProducts; allow that and "
        "run price refresh for those of today."
    )
    assert "note" not in done.as_object()
    assert shown(cache) == AS_LIBCLOUD
    assert listed(cache, source).note == ""
    assert source.asked == 1
    other = Source(NEW)  # other keys may
    listed(cache, other, ELSEWHERE)
    assert (other.asked, shown(cache, ELSEWHERE)) == (1, AS_FETCHED)


@pytest.mark.parametrize("error", [TransientError("throttled"), CloudError("no USD"), RuntimeError("a bug")])
def test_any_other_failure_leaves_the_listing_as_it_is(
    cache: Cache, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    done = listed(cache, source := Source(error))
    assert (done.error, done.note, done.count, shown(cache)) == (None, "", 3, AS_LIBCLOUD)
    assert str(error) in caplog.text
    listed(cache, source)
    assert source.asked == 1


def test_keys_that_are_not_accepted_set_no_pause(cache: Cache) -> None:
    source = Source(CredentialsError("the login has ended"))
    assert listed(cache, source).note == ""
    source.found = NEW
    listed(cache, source)
    assert (source.asked, shown(cache)) == (2, AS_FETCHED)


def test_an_old_list_stays_when_a_new_one_is_denied(cache: Cache) -> None:
    ago = datetime(2026, 1, 2, tzinfo=UTC)
    cache.prices.put(KEY, PriceList("on demand,", ago, {"t3.micro": 0.02}))
    done = listed(cache, Source(PermissionDeniedError("the keys may not")))
    assert "on demand, 2 Jan 2026" in done.note
    assert shown(cache)["t3.micro"] == (0.02, "2026-01-02", "on demand, 2 Jan 2026")


def test_a_cloud_that_cannot_be_asked_is_not(cache: Cache) -> None:
    source = Source(NEW, key="")
    listed(cache, source)
    assert (source.asked, shown(cache)) == (0, AS_LIBCLOUD)


def test_a_provider_without_prices_lists_what_it_lists(cache: Cache) -> None:
    listed(cache, None)
    assert shown(cache) == dict.fromkeys(AS_LIBCLOUD, (None, None, None))


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"at": "yesterday"},
        {"at": datetime.now(UTC) + timedelta(days=400)},
        {"at": None},
        {"source": 7},
        {"prices": []},
        {"prices": {"t3.micro": 1}},
        {"prices": [["t3.micro", -1], ["t3.micro", "1"], ["t3.micro", True], [1, 1], "x", ["t3.micro"], None]},
    ],
)
def test_a_damaged_list_is_none(cache: Cache, fields: dict[str, Any]) -> None:
    cache.prices.put(KEY, NEW)
    cache.store.database["prices"].update_one({"_id": f"list/{KEY}"}, {"$set": fields})
    assert cache.prices.of(KEY) is None
    source = Source(NEW)
    listed(cache, source)
    assert (source.asked, shown(cache)) == (1, AS_FETCHED)


@pytest.mark.parametrize(
    "until", ["tomorrow", None, datetime(2999, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)]
)
def test_a_pause_that_no_refusal_can_have_set_is_none(cache: Cache, until: Any) -> None:
    cache.prices.pause("aws", 60)
    assert cache.prices.paused("aws")
    assert not cache.prices.paused("lab")
    cache.store.database["prices"].update_one({"_id": "pause/aws"}, {"$set": {"until": until}})
    assert not cache.prices.paused("aws")
