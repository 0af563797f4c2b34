"""The demo's accounts and regions over HTTP, its fault, and its answers compared with moto's own."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import pytest
from moto.core.responses import BaseResponse
from moto.ec2.responses import EC2Response

from backend import demo_server
from backend.config import Cloud, Defaults
from backend.demo import DemoCloud
from backend.demo_accounts import ACCOUNTS, NOT_OPTED_IN, REGION_NAMES
from backend.demo_answers import DemoResponse
from backend.errors import RefusedError, TransientError, UsageError
from backend.providers.ec2.entry import KEY
from backend.providers.ec2.provider import EC2Provider
from backend.providers.registry import connect
from backend.providers.retry import RetryPolicy
from tests.backend.test_demo import NOW, VMS, Clock, Refused, ask, boot, named, states, texts

LAB, SHOP = ACCOUNTS

IMAGES = "imagesSet/item/imageId"


@pytest.fixture
def demo() -> Iterator[DemoCloud]:
    with DemoCloud(4.0, clock=Clock(), now=NOW) as demo:
        yield demo


@pytest.fixture
def clouds(demo: DemoCloud) -> dict[str, Cloud]:
    return demo.settings().clouds


def at(cloud: Cloud, region: str) -> Cloud:
    """Return the account of `cloud` in another region."""
    return replace(cloud, default=Defaults(region))


def identity(cloud: Cloud, action: str, service: str) -> ET.Element:
    """Ask STS or IAM on the port of the cloud."""
    scope = f"{cloud.credentials[KEY].reveal()}/20261123/us-east-1/{service}/aws4_request"
    request = urllib.request.Request(  # noqa: S310
        f"{cloud.endpoint}/",
        f"Action={action}".encode(),
        {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return ET.fromstring(response.read())  # noqa: S314


# --- accounts and regions ---------------------------------------------------------------------------------------------


def test_two_accounts_and_three_regions_one_cloud_read_only(clouds: dict[str, Cloud]) -> None:
    shown = {name: (cloud.region, cloud.read_only) for name, cloud in clouds.items()}
    assert shown == {
        "demo": ("us-east-1", False),
        "demo-west": ("us-west-2", False),
        "shop": ("eu-central-1", False),
        "shop-us": ("us-east-1", True),
    }
    assert len({cloud.region for cloud in clouds.values()}) == 3
    keys = {name: cloud.credentials[KEY].reveal() for name, cloud in clouds.items()}
    assert keys["demo"] == keys["demo-west"] != keys["shop"] == keys["shop-us"]


def test_the_accounts_share_nothing_in_a_region_of_both(clouds: dict[str, Cloud]) -> None:
    lab, shop = clouds["demo"], clouds["shop-us"]
    assert not set(states(lab)) & set(states(shop))
    before = states(lab)
    vm = boot(shop)
    assert vm in states(shop)
    assert states(lab) == before
    with pytest.raises(Refused) as refused:
        ask(shop, "TerminateInstances", **{"InstanceId.1": named(lab, "web-1")})
    assert refused.value.code == "InvalidInstanceID.NotFound"
    assert states(lab) == before
    for cloud, account in ((lab, LAB), (shop, SHOP)):
        assert set(texts(ask(cloud, "DescribeInstances"), "reservationSet/item/ownerId")) == {account.id}
        own = ask(cloud, "DescribeImages", **{"Owner.1": "self"})
        assert set(texts(own, "imagesSet/item/imageOwnerId")) == {account.id}
    public = [
        set(texts(ask(cloud, "DescribeImages", **{"Owner.1": "099720109477"}), "imagesSet/item/imageId"))
        for cloud in (lab, shop)
    ]
    assert public[1] < public[0]  # public images have the same ids for everybody


def test_the_shop_is_a_small_company(clouds: dict[str, Cloud]) -> None:
    vms = ask(clouds["shop"], "DescribeInstances").findall(VMS)
    shown = {vm.findtext("tagSet/item[key='Name']/value"): vm for vm in vms}
    assert shown["shop-db"].findtext("tagSet/item[key='env']/value") == "production"
    assert shown["shop-staging"].findtext("instanceState/name") == "stopped"
    volumes = texts(ask(clouds["shop"], "DescribeVolumes"), "volumeSet/item/tagSet/item[key='Name']/value")
    assert "shop-db-data" in volumes
    assert "deploy" in texts(ask(clouds["shop"], "DescribeKeyPairs"), "keySet/item/keyName")
    assert "shop-db" in texts(ask(clouds["shop"], "DescribeSecurityGroups"), "securityGroupInfo/item/groupName")


@pytest.mark.parametrize("name", [region.cloud for account in ACCOUNTS for region in account.regions])
def test_the_provider_lists_every_cloud(clouds: dict[str, Cloud], name: str) -> None:
    provider = connect(clouds[name])
    for kind in ("vm", "volume", "keypair", "flavor", "secgroup", "location"):
        assert any(page for page in provider.of(kind).list())


def test_a_read_only_cloud_refuses_a_change(clouds: dict[str, Cloud]) -> None:
    cloud = clouds["shop-us"]
    with pytest.raises(RefusedError):
        connect(cloud).of("vm").stop([named(cloud, "us-shop-web")])
    assert "stopping" not in states(cloud).values()


def test_a_region_without_content_has_public_images_alone(clouds: dict[str, Cloud]) -> None:
    empty = at(clouds["demo"], "eu-central-1")
    assert states(empty) == {}
    assert texts(ask(empty, "DescribeKeyPairs"), "keySet/item/keyName") == []
    images = texts(ask(empty, "DescribeImages"), "imagesSet/item/isPublic")
    assert len(images) > 100
    assert set(images) == {"true"}


def test_the_ids_do_not_depend_on_what_is_asked_first() -> None:
    def ids(*names: str) -> dict[str, Any]:
        with DemoCloud(clock=Clock(), now=NOW) as demo:
            return {name: states(demo.settings().clouds[name]) for name in names}

    assert ids("demo", "shop", "shop-us") == ids("shop-us", "shop", "demo")


def test_regions_are_listed_with_their_opt_in_state(clouds: dict[str, Cloud]) -> None:
    for name in ("demo", "shop"):
        enabled = ask(clouds[name], "DescribeRegions")
        assert tuple(texts(enabled, "regionInfo/item/regionName")) == REGION_NAMES
        assert set(texts(enabled, "regionInfo/item/optInStatus")) == {"opt-in-not-required"}
    items = ask(clouds["demo"], "DescribeRegions", AllRegions="true").findall("regionInfo/item")
    shown = {item.findtext("regionName"): item.findtext("optInStatus") for item in items}
    assert [region for region, status in shown.items() if status == "not-opted-in"] == list(NOT_OPTED_IN)


@pytest.mark.parametrize("region", [*NOT_OPTED_IN, "nowhere"])
def test_another_region_is_refused(clouds: dict[str, Cloud], region: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(at(clouds["demo"], region), "DescribeInstances")
    assert refused.value.code == "OptInRequired"


def test_the_identity_is_that_of_the_key(clouds: dict[str, Cloud]) -> None:
    for name, account in (("demo", LAB), ("demo-west", LAB), ("shop", SHOP), ("shop-us", SHOP)):
        caller = identity(clouds[name], "GetCallerIdentity", "sts")
        assert caller.findtext(".//{*}Account") == account.id
        assert caller.findtext(".//{*}Arn") == account.arn
        assert identity(clouds[name], "ListAccountAliases", "iam").findtext(".//{*}member") == account.alias


def test_the_aws_tools_see_the_same_accounts_and_regions(clouds: dict[str, Cloud]) -> None:
    for name, account in (("demo", LAB), ("shop", SHOP)):
        key = clouds[name].credentials[KEY].reveal()
        client = partial(
            boto3.Session(aws_access_key_id=key, aws_secret_access_key="demo").client,
            region_name=clouds[name].region,
            endpoint_url=clouds[name].endpoint,
        )
        assert client("sts").get_caller_identity()["Account"] == account.id
        assert client("iam").list_account_aliases()["AccountAliases"] == [account.alias]
        vms = client("ec2").describe_instances()["Reservations"]
        assert {vm["InstanceId"] for reservation in vms for vm in reservation["Instances"]} == set(states(clouds[name]))


def test_nothing_else_of_sts_is_answered(clouds: dict[str, Cloud]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        identity(clouds["demo"], "AssumeRole", "sts")
    refused.value.close()
    assert refused.value.code == 403


# --- the fault --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "failing"), [("eu-central-1", {"shop"}), ("us-east-1", {"demo", "shop-us"}), ("shop-us", {"shop-us"})]
)
def test_a_fault_fails_its_cloud_or_region_alone(fault: str, failing: set[str]) -> None:
    with DemoCloud(clock=Clock(), fault=fault) as demo:
        clouds = demo.settings().clouds
        for cloud in clouds.values():
            assert identity(cloud, "GetCallerIdentity", "sts")
        for name in clouds.keys() - failing:
            assert states(clouds[name])
        for name in failing:
            with pytest.raises(Refused) as refused:
                states(clouds[name])
            assert refused.value.code == "Unavailable"


def test_the_provider_says_that_a_failing_region_fails() -> None:
    with DemoCloud(clock=Clock(), fault="eu-central-1") as demo:
        shop = EC2Provider(demo.settings().clouds["shop"], policy=RetryPolicy(tries=1))
        with pytest.raises(TransientError, match=r"shop, region eu-central-1: .*HTTP 503.*The service is unavailable"):
            list(shop.of("vm").list())


def test_a_misspelt_fault_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'eu-central-1'"):
        DemoCloud(fault="eu-centrl-1")


# --- the answers ------------------------------------------------------------------------------------------------------


def moto(response: type[BaseResponse], cloud: Cloud, action: str, **params: str) -> str:
    """Return the text that a class of responses answers, without the web server."""
    body = "&".join(f"{key}={value}" for key, value in {"Action": action, **params}.items()).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=key/20261123/{cloud.region}/ec2/aws4_request,",
    }
    return str(response.dispatch(demo_server._Request(environ))[2])


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("DescribeInstances", {}),
        ("DescribeImages", {}),
        ("DescribeInstanceTypes", {}),
        ("DescribeInstanceTypeOfferings", {}),
        ("DescribeVolumes", {}),
        ("DescribeKeyPairs", {}),
        ("DescribeSecurityGroups", {}),
        ("DescribeAddresses", {}),
        ("DescribeAvailabilityZones", {}),
        ("DescribeRegions", {"AllRegions": "true"}),
        ("DescribeSubnets", {}),
        ("DescribeTags", {}),
        ("DescribeInstances", {"InstanceId.1": "i-0123456789abcdef0"}),
        ("DescribeImages", {"ImageId.1": "nonsense"}),
    ],
)
def test_the_answers_are_those_of_moto(clouds: dict[str, Cloud], action: str, params: dict[str, str]) -> None:
    cloud = clouds["demo"]
    ours, theirs = (
        re.sub(r"<([\w.]+)></\1>", r"<\1/>", moto(response, cloud, action, **params)).replace("\n", "")
        for response in (DemoResponse, EC2Response)
    )
    assert ours == re.sub(r"<([\w.]+)></\1>", r"<\1/>", theirs)
    assert len(ours) > 200


def test_a_listing_of_images_is_made_once_until_an_image_changes(clouds: dict[str, Cloud]) -> None:
    west = clouds["demo-west"]
    [image] = texts(ask(west, "DescribeImages", **{"Filter.1.Name": "name", "Filter.1.Value.1": "nightly*"}), IMAGES)
    first = ask(west, "DescribeImages", **{"Owner.1": "self"})
    boot(west)
    assert ET.tostring(ask(west, "DescribeImages", **{"Owner.1": "self"})) == ET.tostring(first)
    ask(west, "CreateTags", **{"ResourceId.1": image, "Tag.1.Key": "kept", "Tag.1.Value": "yes"})
    tags = "imagesSet/item/tagSet/item[key='kept']/value"
    assert texts(ask(west, "DescribeImages", **{"Owner.1": "self"}), tags) == ["yes"]
    ask(west, "DeregisterImage", ImageId=image)
    assert image not in texts(ask(west, "DescribeImages", **{"Owner.1": "self"}), IMAGES)


def test_a_change_of_an_image_is_not_in_the_next_demo() -> None:
    found = []
    for _ in range(2):
        with DemoCloud(clock=Clock()) as demo:
            cloud = demo.settings().clouds["demo-west"]
            found.append(texts(ask(cloud, "DescribeImages", **{"Owner.1": "self"}), IMAGES))
            ask(cloud, "DeregisterImage", ImageId=found[-1][0])
            assert texts(ask(cloud, "DescribeImages", **{"Owner.1": "self"}), IMAGES) == found[-1][1:]
    assert found[0] == found[1]
