"""The host of every region is the one to which a client of botocore would send its requests."""

from dataclasses import replace
from typing import Any

import botocore.session
import pytest

from backend.config import Cloud, Defaults
from backend.errors import ConfigError
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.hosts import endpoint, signed_as

SESSION: Any = botocore.session.Session()
RESOLVER: Any = SESSION.get_component("endpoint_resolver")


def _all() -> list[tuple[str, str]]:
    """Return partition and region of all that botocore knows, EC2's endpoints without a region's name included."""
    return [
        (partition, region)
        for partition in SESSION.get_available_partitions()
        for region in sorted(
            {*SESSION.get_available_regions("ec2", partition, allow_non_regional=True), *_listed(partition)}
        )
    ]


def _listed(partition: str) -> list[str]:
    """Return the regions of a partition as its own table has them: EC2's may lack the newest."""
    data = SESSION.get_component("data_loader").load_data("endpoints")
    return next(list(one["regions"]) for one in data["partitions"] if one["partition"] == partition)


def test_botocore_knows_every_partition() -> None:
    assert {"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-eusc"} <= {one for one, _ in _all()}
    assert len(_all()) > 45


@pytest.mark.parametrize(("partition", "region"), _all(), ids=str)
def test_every_region_has_the_host_of_botocore(partition: str, region: str) -> None:
    expected = RESOLVER.construct_endpoint("ec2", region, partition)
    driver = Driver(Cloud("aws", default=Defaults(location=region)))
    assert driver.host == expected["hostname"]
    assert driver.connection.secure
    assert driver.region_name == expected.get("credentialScope", {}).get("region", region)


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("us-west-9", "ec2.us-west-9.amazonaws.com"),
        ("cn-south-1", "ec2.cn-south-1.amazonaws.com.cn"),
        ("eusc-de-west-2", "ec2.eusc-de-west-2.amazonaws.eu"),
        ("us-isob-north-1", "ec2.us-isob-north-1.sc2s.sgov.gov"),
    ],
)
def test_a_region_that_is_newer_has_the_domain_of_its_partition(region: str, expected: str) -> None:
    assert endpoint(Cloud("aws", default=Defaults(location=region))) == (f"https://{expected}", region)
    assert signed_as(region) == region


@pytest.mark.parametrize("location", ["us_east_1", "evil.example", "US-EAST-1", "us-east-1/x"])
def test_what_is_no_region_makes_no_host(location: str) -> None:
    with pytest.raises(ConfigError, match="which is not a region or an availability zone") as caught:
        Driver(Cloud("aws", default=Defaults(location=location)))
    assert "in cloudmesh.yaml, or set AWS_REGION" in caught.value.cure


def test_an_endpoint_takes_any_region() -> None:
    cloud = Cloud("euca", endpoint="http://h:8773", default=Defaults(location="Eucalyptus_1"))
    assert Driver(cloud).host == "h:8773"
    assert Driver(replace(cloud, endpoint="https://h/services/compute")).path == "/services/compute"


@pytest.mark.parametrize("url", ["localhost:4566", "http://", "http://[::1", "http://localhost:port"])
def test_an_endpoint_that_is_not_an_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"Cloud aws has the endpoint .*, which is not an address\."):
        Driver(Cloud("aws", endpoint=url, default=Defaults("us-east-1")))
