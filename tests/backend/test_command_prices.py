"""`price refresh`, prices in previews, and spot prices in the details of a flavor."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.model import Context
from backend.commands.preview import Preview
from backend.commands.run import allowed
from backend.commands.table import command
from backend.config import Cloud
from backend.errors import PermissionDeniedError, RefusedError
from backend.kinds.flavor import learn_spot_prices
from backend.kinds.vm import preview
from backend.providers.ec2 import rows
from backend.providers.ec2.prices import ENDPOINT
from backend.session import Session
from tests.backend.cloud_support import boot_many, only, run
from tests.backend.ec2_faults import DENIED as EC2_DENIED
from tests.backend.ec2_faults import Faults, Reply, listing
from tests.backend.team_server import TeamServer
from tests.backend.test_team_cache import opened, session_on
from tests.ec2_proxy import FLAVORS, Call, Proxy
from tests.pricing import DENIED, page, product

FLAVOR = KINDS["flavor"]
MICRO = FLAVORS[0]

Both = tuple[Session, Proxy]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A price list with one price, which denies everything the second time."""
    with Faults(page(product(MICRO, "0.0117")), DENIED) as faults:
        monkeypatch.setenv(ENDPOINT, faults.url)
        yield faults


def price(session: Session) -> tuple[float, str]:
    document = session.cache.rows.document(FLAVOR, session.scope, MICRO)
    assert document
    return document["price"], document["extra"]["priced"]


def spot(zone: str, usd: str) -> str:
    return (
        f"<instanceType>{MICRO}</instanceType><productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{usd}</spotPrice><timestamp>2026-11-27T11:00:00.000Z</timestamp>"
        f"<availabilityZone>{zone}</availabilityZone>"
    )


def history(*prices: tuple[str, str]) -> Reply:
    return listing("DescribeSpotPriceHistory", "spotPriceHistorySet", [spot(*one) for one in prices])


def usd_per_hour(found: Preview) -> str:
    return dict(only(found).facts)["USD/hour"]


# --- price refresh ---------------------------------------------------------------------------------------------------


def test_price_refresh_fetches_the_prices_however_young_they_are(both: Both, shop: Faults) -> None:
    session, _ = both
    run(session, "flavor refresh")
    today = f"on demand, {datetime.now(UTC).day} {datetime.now(UTC):%b %Y}"
    assert price(session) == (0.0117, today)
    run(session, "flavor refresh")
    assert len(shop.asked) == 1
    with pytest.raises(PermissionDeniedError, match="pricing:GetProducts"):
        run(session, "price refresh")
    assert len(shop.asked) == 2
    assert price(session) == (0.0117, today)


def test_price_refresh_says_what_it_has_found(both: Both, shop: Faults) -> None:
    session, _ = both
    session.cache.prices.pause(session.cloud.name, 60)
    result = run(session, "price refresh")
    assert re.fullmatch(r"1 price of us-east-1, on demand, .*: 2 flavors, 1 changed\.", result.message), result.message
    assert [one.kind for one in result.differences] == ["flavor"]
    assert not session.cache.prices.paused(session.cloud.name)
    assert len(shop.asked) == 1


def test_a_cloud_with_an_endpoint_asks_nobody(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    session, proxy = both
    monkeypatch.delenv(ENDPOINT, raising=False)
    with pytest.raises(RefusedError, match="has an `endpoint`, so AWS is not asked") as raised:
        run(session, "price refresh")
    assert re.search(r"Known: libcloud's list of \d", str(raised.value))
    assert proxy.asked == []
    run(session, "flavor refresh")
    assert price(session)[1].startswith("libcloud's list of ")


def test_who_may_only_read_the_cache_refreshes_no_prices(team: TeamServer, tmp_path: Path) -> None:
    cache = opened(team.uri("reader"))
    assert not allowed(command("price refresh"), session_on(cache, tmp_path))
    cache.close()


def test_who_may_not_touch_the_prices_still_lists_flavors(team: TeamServer, both: Both, shop: Faults) -> None:
    every = ["find", "insert", "update", "remove"]
    names = (*(kind.plural for kind in KINDS.values()), "refreshes", "journal")
    cache = opened(team.add_user("priceless", privileges=dict.fromkeys(names, every)))
    session, _ = both
    there = Session(session.settings, session.cloud, cache, session.home)
    done = run(there, "flavor refresh").differences[0]
    assert (done.error, done.count, price(there)[0]) == (None, len(FLAVORS), 0.0117)
    assert len(shop.asked) == 1
    cache.close()


# --- previews --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_a_preview_says_where_a_price_is_from(both: Both, cloud: Cloud) -> None:
    session, _ = both
    run(session, "flavor refresh")
    (native,) = boot_many(cloud, 1)
    found = preview.deleting(Context(session, {}), [native])
    assert usd_per_hour(found) == f"0.0117 ({price(session)[1]})"
    assert found.totals[0] == f"1 VM: 0.0117 USD/hour now ({price(session)[1]})."


def test_a_flavor_that_was_never_listed_has_the_price_that_is_known(both: Both, cloud: Cloud) -> None:
    session, _ = both
    (native,) = boot_many(cloud, 1, InstanceType="t3.nano")
    found = usd_per_hour(preview.deleting(Context(session, {}), [native]))
    assert re.fullmatch(r"0\.0052 \(libcloud's list of \d{1,2} \w{3} \d{4}\)", found)


def test_a_spot_vm_costs_what_its_location_costs(both: Both, cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(
        cloud, 1, **{"InstanceMarketOptions.MarketType": "spot", "Placement.AvailabilityZone": "us-east-1b"}
    )
    proxy.answers["DescribeSpotPriceHistory"] = history(("us-east-1a", "0.0031"), ("us-east-1b", "0.0042"))
    for show in (preview.deleting, preview.stopping):
        found = show(Context(session, {}), [native])
        assert usd_per_hour(found) == "0.0042 (spot, now)"
        assert re.fullmatch(r"1 VM: 0\.0042 USD/hour (now|less) \(spot, now\)\.", found.totals[0])
    proxy.answers["DescribeSpotPriceHistory"] = history(("us-east-1a", "0.0031"))
    assert usd_per_hour(preview.deleting(Context(session, {}), [native])) == "unknown"
    proxy.answers["DescribeSpotPriceHistory"] = EC2_DENIED
    found = preview.deleting(Context(session, {}), [native])
    assert usd_per_hour(found) == "unknown"
    assert any(note.startswith("Spot prices could not be read: ") for note in found.notes)


@pytest.mark.parametrize(
    ("raw", "special"),
    [
        ({"platformDetails": "Linux/UNIX", "placement": {"tenancy": "default"}}, None),
        ({}, None),
        ({"platformDetails": "Windows with SQL Server Web"}, True),
        ({"platformDetails": "Linux/UNIX", "placement": {"tenancy": "dedicated"}}, True),
        ({"platformDetails": {"odd": "x"}}, True),
    ],
)
def test_a_licence_or_hardware_of_its_own_costs_more(raw: dict[str, Any], special: bool | None) -> None:
    (item,) = rows.VM.item({"instanceId": "i-1", **raw})
    assert item["special"] is special


def test_a_vm_that_costs_more_than_its_flavor_has_an_unknown_price(both: Both, cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)

    def dedicated(_: Call, reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        return replace(reply, body=reply.body.replace(b"<tenancy>default", b"<tenancy>dedicated"))

    proxy.spoilt["DescribeInstances"] = dedicated
    found = preview.deleting(Context(session, {}), [native])
    assert usd_per_hour(found) == "unknown"
    assert found.totals[0] == "1 VM: 1 of unknown price."


def test_no_spot_price_is_asked_for_other_vms(both: Both, cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    preview.deleting(Context(session, {}), [native])
    assert "DescribeSpotPriceHistory" not in proxy.asked


# --- details ---------------------------------------------------------------------------------------------------------


def test_the_details_of_a_flavor_have_its_spot_prices(both: Both) -> None:
    session, proxy = both
    proxy.answers["DescribeSpotPriceHistory"] = history(("us-east-1a", "0.0031"), ("us.$x", "0.0042"))
    learn_spot_prices(session.connect(), session.cache, session.scope, {"id": MICRO})
    found = session.details(FLAVOR, MICRO)
    assert found
    assert found["spot"] == [{"key": "us-east-1a", "value": "0.0031"}, {"key": "us.$x", "value": "0.0042"}]
    run(session, "flavor refresh")
    proxy.answers["DescribeSpotPriceHistory"] = EC2_DENIED
    learn_spot_prices(session.connect(), session.cache, session.scope, {"id": MICRO})
    kept = session.details(FLAVOR, MICRO)
    assert kept
    assert (kept["spot"], kept["spot_asked"]) == (found["spot"], found["spot_asked"])


def test_the_command_is_one_of_the_grammar() -> None:
    assert parse(split("price refresh")).command.refreshes == "flavor"
