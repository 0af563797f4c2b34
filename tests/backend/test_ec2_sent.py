"""The requests of the EC2 provider: correctly signed, to the right host, with everything in one call."""

import hashlib
import re
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from backend.config import Cloud, Defaults
from backend.errors import CloudError, ConfigError, CredentialsError, PermissionDeniedError
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Boot
from tests.backend.ec2_faults import Faults, Reply, at, every, images, impatient, refusal


@pytest.mark.parametrize("path", ["", "/services/compute/"])
def test_the_signature_is_what_botocore_computes(path: str) -> None:
    with Faults(images(["ami-1"])) as faults:
        every(
            impatient(at(faults, endpoint=faults.url + path, default=Defaults(location="ap-southeast-4")))
            .of("image")
            .list()
        )
    (asked,) = faults.asked
    headers = {name.lower(): value for name, value in asked.headers.items()}
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIATESTING/\d{8}/ap-southeast-4/ec2/aws4_request, "
        r"SignedHeaders=([\w;-]+), Signature=(\w{64})",
        headers["authorization"],
    )
    assert found
    assert {"host", "x-amz-date", "x-amz-security-token", "content-type"} <= set(found[1].split(";"))
    assert headers["x-amz-content-sha256"] == hashlib.sha256(asked.body).hexdigest()
    assert asked.path == (path or "/")
    assert "?" not in asked.path

    keys = BotocoreCredentials("AKIATESTING", "testing-secret", "testing-token")
    signer = SigV4Auth(keys, "ec2", "ap-southeast-4")
    request = AWSRequest("POST", faults.url + asked.path, data=asked.body)
    for name in found[1].split(";"):
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    signer.headers_to_sign = lambda request: request.headers  # botocore's own leaves out the user agent
    assert signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request) == found[2]


def test_netrc_does_not_replace_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Faults(images([])) as faults:
        every(impatient(at(faults)).of("image").list())
    assert faults.asked[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")


def test_a_boot_is_one_call_with_everything_in_it() -> None:
    instance = "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>"
    with Faults(Reply(f"<RunInstancesResponse>{instance}</RunInstancesResponse>")) as faults:
        item = impatient(at(faults)).of("vm").boot(Boot("ami-1", "t2.micro", "tok", "us-east-1a", "key", "né & co"))
        impatient(at(faults)).of("vm").boot(Boot("ami-1", "t2.micro", "tok"))
    assert item["id"] == "i-1"
    assert item["state"] is None
    full, bare = (asked.form for asked in faults.asked)
    basis = {
        "Action": "RunInstances", "Version": "2016-11-15", "ImageId": "ami-1", "InstanceType": "t2.micro",
        "MinCount": "1", "MaxCount": "1", "ClientToken": "tok",
    }  # fmt: skip
    assert bare == basis
    tags = {f"TagSpecification.{n}.ResourceType": kind for n, kind in ((1, "instance"), (2, "volume"))}
    tags |= {f"TagSpecification.{n}.Tag.1.Key": "Name" for n in (1, 2)}
    tags |= {f"TagSpecification.{n}.Tag.1.Value": "né & co" for n in (1, 2)}
    assert full == basis | tags | {"Placement.AvailabilityZone": "us-east-1a", "KeyName": "key"}


def test_a_volume_is_one_call_with_everything_in_it() -> None:
    with Faults(Reply("<CreateVolumeResponse><volumeId>vol-1</volumeId></CreateVolumeResponse>")) as faults:
        assert impatient(at(faults)).of("volume").create("né & co", 8, "us-east-1a", "tok")["id"] == "vol-1"
    assert faults.asked[0].form == {
        "Action": "CreateVolume", "Version": "2016-11-15", "Size": "8", "AvailabilityZone": "us-east-1a",
        "VolumeType": "gp3", "ClientToken": "tok", "TagSpecification.1.ResourceType": "volume",
        "TagSpecification.1.Tag.1.Key": "Name", "TagSpecification.1.Tag.1.Value": "né & co",
    }  # fmt: skip


def test_a_dry_run_asks_as_the_boot_would_and_is_refused_when_it_could_be() -> None:
    boot = Boot("ami-1", "t2.micro", "tok", "us-east-1a", "key", "web")
    with Faults(refusal(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")) as faults:
        impatient(at(faults)).of("vm").try_boot(boot)
        with pytest.raises(CloudError):
            impatient(at(faults)).of("vm").boot(boot)
    dry, real = (asked.form for asked in faults.asked)
    assert dry == real | {"DryRun": "true"}
    with (
        Faults(refusal(403, "UnauthorizedOperation")) as faults,
        pytest.raises(PermissionDeniedError, match=r"A dry run of booting a t2.micro VM from ami-1 .*ec2:RunInstances"),
    ):
        impatient(at(faults)).of("vm").try_boot(boot)


def test_what_was_no_dry_run_is_not_done_when_it_is_refused_as_one() -> None:
    with (
        Faults(refusal(412, "DryRunOperation")) as faults,
        pytest.raises(CloudError, match=r"Protecting VM i-1 failed .*DryRunOperation"),
    ):
        impatient(at(faults)).of("vm").protect("i-1", on=True)


def test_an_endpoint_that_knows_no_dry_run_is_told_of() -> None:
    instance = "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>"
    with (
        Faults(Reply(f"<RunInstancesResponse>{instance}</RunInstancesResponse>")) as faults,
        pytest.raises(CloudError, match=r"does not support dry runs and has booted i-1\. Delete it"),
    ):
        impatient(at(faults)).of("vm").try_boot(Boot("ami-1", "t2.micro", "tok"))


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-east-1", "ec2.us-east-1.amazonaws.com"),
        ("us-west-2-lax-1a", "ec2.us-west-2.amazonaws.com"),
        ("xx-new-7", "ec2.xx-new-7.amazonaws.com"),
        ("cn-north-1", "ec2.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_aws_hosts(location: str, host: str) -> None:
    driver = Driver(Cloud("aws", default=Defaults(location=location)))
    assert (driver.host, driver.connection.secure, driver.connection.timeout) == (host, 1, 20)


def test_a_region_that_makes_no_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a region"):
        EC2Provider(Cloud("aws", default=Defaults(location="evil.example/x")))


def test_without_keys_nothing_is_sent() -> None:
    with Faults(images([])) as faults:
        ec2 = impatient(at(faults, credentials={}))
        with pytest.raises(CredentialsError, match=r"Listing images failed: cloud aws has no keys.*EC2_ACCESS_KEY"):
            every(ec2.of("image").list())
        with pytest.raises(CredentialsError, match="has no keys"):
            ec2.of("vm").start("i-1")
    assert faults.asked == []
