"""How the EC2 provider reads AWS's price list, EC2's spot prices, and the list that libcloud brings."""

import json
import re
from datetime import UTC, datetime
from threading import Event
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from backend.callbacks import ignore
from backend.config import Cloud, Defaults
from backend.errors import Cancelled, CloudError, ConfigError, CredentialsError, PermissionDeniedError, TransientError
from backend.providers.ec2.prices import ENDPOINT, EVERYWHERE, Prices, nearest
from backend.providers.registry import connect
from tests.backend.ec2_faults import Faults, Reply, Time, at, impatient, listing
from tests.pricing import DENIED, THROTTLED, asked, header, page, product, refusal, shaped

REGION = Defaults(location="eu-west-1")


def prices_at(faults: Faults, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Prices:
    """Return the prices of a cloud whose price list is that endpoint; they never really wait."""
    monkeypatch.setenv(ENDPOINT, faults.url)
    changes = {"endpoint": None, "default": Defaults(location="us-east-1"), **changes}
    return Prices(at(faults, **changes), Time().policy())


def fetched(monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> dict[str, float]:
    with Faults(*replies) as faults:
        return dict(prices_at(faults, monkeypatch).fetch(ignore).prices)


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_pages_are_chained_and_ask_for_what_a_vm_is_billed_as(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = product("t3.micro", region="eu-west-1"), product("m7i.large", "0.1", "eu-west-1")
    with Faults(page(first, token="t1"), page(second)) as faults:
        found = prices_at(faults, monkeypatch, default=REGION).fetch(ignore)
    assert found.prices == {"t3.micro": 0.0104, "m7i.large": 0.1}
    assert found.at is not None
    assert abs((datetime.now(UTC) - found.at).total_seconds()) < 60
    assert found.text == f"on demand, {found.at.day} {found.at:%b %Y}"
    one, two = asked(faults)
    assert {one["Field"]: one["Value"] for one in one.pop("Filters")} == {
        "regionCode": "eu-west-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    assert one == {"ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1", "MaxResults": 100}
    assert two["NextToken"] == "t1"
    assert header(faults.asked[0], "X-Amz-Target") == "AWSPriceListService.GetProducts"


class Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signer for the headers that libcloud signs: all of them, where botocore leaves out the user agent."""

    def headers_to_sign(self, request: Any) -> HTTPHeaders:
        return HTTPHeaders.from_pairs((name.lower(), value) for name, value in request.headers.items())


def test_requests_are_signed_as_botocore_signs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(page(product("t3.micro", region="eu-west-1"))) as faults:
        prices_at(faults, monkeypatch, default=REGION).fetch(ignore)
    (one,) = faults.asked
    said = header(one, "Authorization")
    signed = re.search(r"SignedHeaders=([^,]+)", said)
    assert signed
    assert "x-amz-security-token" in signed[1]
    headers = {name: header(one, name) for name in signed[1].split(";")}
    request = AWSRequest("POST", f"{faults.url}/", headers, one.body)
    request.context["timestamp"] = header(one, "x-amz-date")
    signer = Signer(Credentials("AKIATESTING", "testing-secret", "testing-token"), "pricing", "eu-central-1")
    canonical = signer.canonical_request(request)
    assert f"Signature={signer.signature(signer.string_to_sign(request, canonical), request)}" in said


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "us-east-1"), ("ca-west-1", "us-east-1"), ("sa-east-1", "us-east-1"),
        ("mx-central-1", "us-east-1"),
        ("eu-west-3", "eu-central-1"), ("il-central-1", "eu-central-1"), ("af-south-1", "eu-central-1"),
        ("me-south-1", "eu-central-1"), ("ap-southeast-7", "ap-south-1"),
        ("cn-north-1", ""), ("us-gov-west-1", ""), ("eusc-de-east-1", ""),
    ],
)  # fmt: skip
def test_the_nearest_price_list_is_asked(region: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    prices = Prices(Cloud("aws", default=Defaults(location=region)))
    assert nearest(region) == (host, f"api.pricing.{host}.amazonaws.com" if host else "")
    assert prices.key == (f"api.pricing.{host}.amazonaws.com:443 {region}" if host else "")
    assert bool(prices.why_not) is not bool(host)


def test_every_price_list_that_is_asked_is_one_of_botocore() -> None:
    data = botocore.session.Session().get_component("data_loader").load_data("endpoints")
    for partition in data["partitions"]:
        listed = partition["services"].get("api.pricing", {"endpoints": {}})["endpoints"]
        for region in partition["regions"]:
            there, host = nearest(region)
            assert there in {*listed, ""}
            assert host == (f"api.pricing.{there}.{partition['dnsSuffix']}" if there else "")
            assert there or partition["partition"] in ("aws-cn", "aws-eusc", "aws-us-gov")


# --- when nobody is asked --------------------------------------------------------------------------------------------


def test_a_cloud_with_an_endpoint_has_no_price_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    prices = Prices(Cloud("lab", endpoint="http://127.0.0.1:1", default=Defaults(location="us-east-1")))
    assert prices.key == ""
    assert prices.why_not == "Cloud lab has an `endpoint`, so AWS is not asked for its prices."
    monkeypatch.setenv(ENDPOINT, "http://ann:hush@127.0.0.1:2/")
    assert (prices.key, prices.why_not) == ("127.0.0.1:2 us-east-1", "")


def test_an_address_of_all_services_is_that_of_the_price_list_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    monkeypatch.setenv(EVERYWHERE, "http://127.0.0.1:3")
    where = Defaults(location="us-east-1")
    assert Prices(Cloud("aws", default=where)).key == "127.0.0.1:3 us-east-1"
    assert Prices(Cloud("lab", endpoint="http://127.0.0.1:1", default=where)).key == ""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:2")
    assert Prices(Cloud("aws", default=where)).key == "127.0.0.1:2 us-east-1"


@pytest.mark.parametrize("address", ["prices", "ftp://x", "http://", "http://x:port", "http://[x"])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, address)
    prices = Prices(Cloud("aws", default=Defaults(location="us-east-1")))
    assert prices.key == ""
    assert ENDPOINT in prices.why_not
    with pytest.raises(ConfigError, match=ENDPOINT):
        prices.fetch(ignore)


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_denial_names_the_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    for denied in (DENIED, refusal(403, "AccessDeniedException", "")):
        with pytest.raises(PermissionDeniedError, match="pricing:GetProducts") as raised:
            fetched(monkeypatch, denied)
        assert raised.value.message.startswith("Fetching prices failed on cloud aws, region us-east-1: ")


def test_throttled_pages_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(page(product("t3.micro"), token="t1"), THROTTLED, page(product("t3.nano", "0.0052"))) as faults:
        assert len(prices_at(faults, monkeypatch).fetch(ignore).prices) == 2
    assert [body.get("NextToken") for body in asked(faults)] == [None, "t1", "t1"]
    with pytest.raises(TransientError, match="throttling"):
        fetched(monkeypatch, THROTTLED)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply('{"PriceList": ["'), "not JSON"),
        (Reply(b"\xff\xfe{}"), "not JSON"),
        (Reply("[" * 100_000), "not JSON"),
        (Reply("<html/>"), "not JSON"),
        (Reply("[]"), "not JSON"),
        (Reply('{"PriceList": {}}'), "no PriceList"),
        (Reply(""), "empty"),
        (page(product("t3.micro"), token="t1"), "repeats the same page"),
    ],
    ids=["cut", "bytes", "deep", "html", "list", "object", "empty", "endless"],
)
def test_an_answer_that_is_broken_is_an_error(reply: Reply, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match=why):
        fetched(monkeypatch, reply)


def test_a_price_list_in_another_currency_has_no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match="no price in USD for region us-east-1"):
        fetched(monkeypatch, page(shaped("t3.micro", {"CNY": "0.07"})))


def test_a_silent_price_list_is_given_up_when_the_user_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(Reply(silent=True)) as faults:

        def check() -> None:
            if faults.arrived.is_set():
                raise Cancelled

        with pytest.raises(Cancelled):
            prices_at(faults, monkeypatch).fetch(check)


def test_nothing_is_sent_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(page()) as faults, pytest.raises(CredentialsError, match="has no keys"):
        prices_at(faults, monkeypatch, credentials={}).fetch(ignore)
    assert not faults.asked


# --- odd products ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usd", ["-1", "0", "0.0000000000", "free", "", "NaN", "Infinity", "1e300", None, True, [], {}, "9" * 5_000]
)
def test_an_absurd_price_is_unknown(usd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetched(monkeypatch, page(product("t3.nano", usd), product("t3.micro"))) == {"t3.micro": 0.0104}


@pytest.mark.parametrize(
    "flavor", ["\x1b]0;x\x07", "[red]x[/]", "$where", "a/b", "T3.MICRO", "", "x" * 100, None, 7, ["a"]]
)
def test_a_hostile_name_is_left_out(flavor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetched(monkeypatch, page(product(flavor), product("t3.micro"))) == {"t3.micro": 0.0104}


@pytest.mark.parametrize(
    "odd",
    [
        "", "{", "null", "7", '"x"', "{}", '{"product": []}', '{"product": {"attributes": null}, "terms": {}}', 7, None,
        {},
        shaped("t3.nano", {"CNY": "1"}), shaped("t3.nano", {}), shaped("t3.nano", []), shaped("t3.nano", None),
        shaped("t3.nano", {"USD": "1"}, "Quantity"), shaped("t3.nano", {"USD": "1"}, None),
        product("t3.nano", region="eu-west-1"), product("t3.nano", operatingSystem="Windows"),
        product("t3.nano", tenancy="Dedicated"), product("t3.nano", capacitystatus="UnusedCapacityReservation"),
        json.dumps({"product": {"attributes": {"instanceType": "t3.nano"}}, "terms": {"Reserved": {}}}),
        json.dumps({"product": {"attributes": {"instanceType": "t3.nano"}}, "terms": {"OnDemand": {"a": 1}}}),
    ],
)  # fmt: skip
def test_a_product_that_was_not_asked_for_or_not_understood_costs_no_other(
    odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetched(monkeypatch, page(odd, product("t3.micro"))) == {"t3.micro": 0.0104}


def test_a_flavor_with_two_prices_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = (product("t3.micro"), product("t3.micro"))
    assert fetched(monkeypatch, page(*twice, product("t3.nano"), token="t1"), page(product("t3.nano", "9"))) == {
        "t3.micro": 0.0104
    }


# --- libcloud's list -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", ["us-east-1", "fips-us-east-1"])
def test_the_list_of_libcloud_has_its_day_and_no_price_of_nothing(region: str) -> None:
    found = Prices(Cloud("aws", default=Defaults(location=region))).fallback()
    assert found.prices["t3.micro"] == pytest.approx(0.0104)
    assert min(found.prices.values()) > 0
    assert re.fullmatch(r"libcloud's list of \d{1,2} \w{3} \d{4}", found.text)


def test_a_region_that_libcloud_does_not_know_has_no_prices() -> None:
    assert Prices(Cloud("aws", default=Defaults(location="eusc-de-east-1"))).fallback().prices == {}


# --- spot prices -----------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 27, 11, 30, tzinfo=UTC)


def spot(zone: str, price: str, at: str = "2026-11-27T11:00:00.000Z", product: str = "Linux/UNIX") -> str:
    return (
        f"<instanceType>t3.micro</instanceType><productDescription>{product}</productDescription>"
        f"<spotPrice>{price}</spotPrice><timestamp>{at}</timestamp><availabilityZone>{zone}</availabilityZone>"
    )


def test_the_latest_spot_price_of_each_zone_counts() -> None:
    history = [
        spot("us-east-1a", "0.0031", "2026-11-26T11:00:00.000Z"),
        spot("us-east-1a", "0.0032"),
        spot("us-east-1a", "0.0030", "2026-11-25T11:00:00.000Z"),
        spot("us-east-1b", "-1"),
        spot("us-east-1c", "cheap"),
        spot("us-east-1d", "0.0040", product="Windows"),
        spot("", "0.0050"),
        spot("us-east-1e", "0.0060", "soon"),
        "<instanceType>t3.micro</instanceType>",
    ]
    with Faults(listing("DescribeSpotPriceHistory", "spotPriceHistorySet", history)) as faults:
        found = impatient(at(faults)).of("flavor").spot_prices(["t3.micro"], NOW)
    assert found == {"t3.micro": {"us-east-1a": 0.0032, "us-east-1e": 0.006}}
    (one,) = faults.asked
    wanted = {"InstanceType.1": "t3.micro", "ProductDescription.1": "Linux/UNIX", "StartTime": "2026-11-27T11:30:00Z"}
    assert wanted.items() <= one.form.items()


def test_an_endpoint_without_spot_prices_has_unknown_ones(cloud: Cloud) -> None:
    assert connect(cloud).of("flavor").spot_prices(["t3.micro"], datetime.now(UTC)) == {"t3.micro": {}}


def test_nothing_is_sent_when_it_is_cancelled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Event()
    stopped.set()

    def check() -> None:
        if stopped.is_set():
            raise Cancelled

    with Faults(page()) as faults, pytest.raises(Cancelled):
        prices_at(faults, monkeypatch).fetch(check)
    assert not faults.asked
