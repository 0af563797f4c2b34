"""What the EC2 provider sends, and what it survives: against an endpoint that gives canned and faulty answers."""

import gzip
import hashlib
import re
import socket
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials as BotocoreCredentials  # type: ignore[import-untyped]

from backend.cache import Cache
from backend.cache.documents import flatten
from backend.callbacks import ignore
from backend.config import Cloud, Credentials, Defaults, Settings
from backend.errors import (
    Cancelled,
    CloudError,
    ConfigError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
    UnsureError,
)
from backend.providers import Boot
from backend.providers.ec2 import RESTARTS, EC2Provider
from backend.providers.ec2_driver import Driver
from backend.refresh import Difference, refresh
from backend.secret import Secret
from backend.session import Session
from tests.backend.cache_parts import HERE, IMAGE, VM, ids
from tests.backend.ec2_faults import Faults, Reply, Time, at, every, images, impatient, listing, refusal

# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/services/compute/"])
def test_the_signature_is_what_botocore_computes(path: str) -> None:
    with Faults(images(["ami-1"])) as faults:
        every(impatient(at(faults, endpoint=faults.url + path, default=Defaults(location="ap-southeast-4"))).images())
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
        every(impatient(at(faults)).images())
    assert faults.asked[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")


def test_a_boot_is_one_call_with_everything_in_it() -> None:
    instance = "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>"
    with Faults(Reply(f"<RunInstancesResponse>{instance}</RunInstancesResponse>")) as faults:
        item = impatient(at(faults)).boot(Boot("ami-1", "t2.micro", "tok", "us-east-1a", "key", "né & co"))
        impatient(at(faults)).boot(Boot("ami-1", "t2.micro", "tok"))
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
        assert impatient(at(faults)).create_volume("né & co", 8, "us-east-1a", "tok")["id"] == "vol-1"
    assert faults.asked[0].form == {
        "Action": "CreateVolume", "Version": "2016-11-15", "Size": "8", "AvailabilityZone": "us-east-1a",
        "VolumeType": "gp3", "ClientToken": "tok", "TagSpecification.1.ResourceType": "volume",
        "TagSpecification.1.Tag.1.Key": "Name", "TagSpecification.1.Tag.1.Value": "né & co",
    }  # fmt: skip


def test_a_dry_run_asks_as_the_boot_would_and_is_refused_when_it_could_be() -> None:
    boot = Boot("ami-1", "t2.micro", "tok", "us-east-1a", "key", "web")
    with Faults(refusal(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")) as faults:
        impatient(at(faults)).try_boot(boot)
        with pytest.raises(CloudError):
            impatient(at(faults)).boot(boot)
    dry, real = (asked.form for asked in faults.asked)
    assert dry == real | {"DryRun": "true"}
    with (
        Faults(refusal(403, "UnauthorizedOperation")) as faults,
        pytest.raises(PermissionDeniedError, match=r"A dry run of booting a t2.micro VM from ami-1 .*ec2:RunInstances"),
    ):
        impatient(at(faults)).try_boot(boot)


def test_an_endpoint_that_knows_no_dry_run_is_told_of() -> None:
    instance = "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>"
    with (
        Faults(Reply(f"<RunInstancesResponse>{instance}</RunInstancesResponse>")) as faults,
        pytest.raises(CloudError, match=r"does not know dry runs and has booted i-1\. Delete it"),
    ):
        impatient(at(faults)).try_boot(Boot("ami-1", "t2.micro", "tok"))


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
        ec2 = impatient(at(faults, credentials=Credentials()))
        with pytest.raises(CredentialsError, match=r"Listing images failed: cloud aws has no keys.*EC2_ACCESS_KEY"):
            every(ec2.images())
        with pytest.raises(CredentialsError, match="has no keys"):
            ec2.start("i-1")
    assert faults.asked == []


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_are_chained_and_a_failed_one_is_repeated_alone() -> None:
    second = images(["ami-3", "ami-4"], "t2")
    assert isinstance(second.body, bytes)
    cut = Reply(second.body[:-80], missing=80)
    with Faults(images(["ami-1", "ami-2"], "t1"), cut, second, images(["ami-5"])) as faults:
        pages = list(impatient(at(faults, images=("self", "amazon"))).images())
    assert [[item["id"] for item in page] for page in pages] == [["ami-1", "ami-2"], ["ami-3", "ami-4"], ["ami-5"]]
    forms = [asked.form for asked in faults.asked]
    assert [form.get("NextToken") for form in forms] == [None, "t1", "t1", "t2"]
    assert {(form["MaxResults"], form["Owner.1"], form["Owner.2"]) for form in forms} == {("1000", "self", "amazon")}


def test_a_page_is_yielded_before_the_next_is_asked_for() -> None:
    with Faults(images(["ami-1"], "t1"), refusal(400, "AuthFailure")) as faults:
        pages = impatient(at(faults)).images()
        assert len(next(pages)) == 1
        with pytest.raises(CredentialsError):
            next(pages)


def test_an_endless_token_is_an_error() -> None:
    with Faults(images(["ami-1"], "again")) as faults, pytest.raises(CloudError, match="the same page again"):
        every(impatient(at(faults)).images())
    assert len(faults.asked) == 2


def test_many_ids_are_asked_for_in_filters_that_ec2_accepts() -> None:
    with Faults(listing("DescribeInstances", "reservationSet", [])) as faults:
        assert every(impatient(at(faults)).vms([f"i-{n}" for n in range(250)])) == []
    first, second = (asked.form for asked in faults.asked)
    assert first["Filter.1.Name"] == second["Filter.1.Name"] == "instance-id"
    assert first["Filter.1.Value.200"] == "i-199"
    assert "Filter.1.Value.201" not in first
    assert second["Filter.1.Value.50"] == "i-249"


def test_what_is_of_many_vms_is_asked_for_in_such_filters_too() -> None:
    natives = [f"i-{n}" for n in range(201)]
    with Faults(listing("DescribeVolumes", "volumeSet", [])) as volumes:
        assert every(impatient(at(volumes)).volumes(vms=natives)) == []
    with Faults(listing("DescribeAddresses", "addressesSet", [])) as addresses:
        assert impatient(at(addresses)).addresses(natives) == {}
    for faults, name in (volumes, "attachment.instance-id"), (addresses, "instance-id"):
        forms = [asked.form for asked in faults.asked]
        assert [form["Filter.1.Name"] for form in forms] == [name] * 2
        assert [form["Filter.1.Value.1"] for form in forms] == ["i-0", "i-200"]


@pytest.mark.parametrize("xmlns", ["http://ec2.amazonaws.com/doc/2016-11-15", "http://ec2.amazonaws.com/doc/1/", ""])
def test_namespaces_do_not_matter(xmlns: str) -> None:
    with Faults(images(["ami-1"], xmlns=xmlns)) as faults:
        assert every(impatient(at(faults)).images())[0]["id"] == "ami-1"
    with Faults(refusal(400, "AuthFailure", xmlns=xmlns)) as faults, pytest.raises(CredentialsError):
        every(impatient(at(faults)).images())


def test_prefixes_do_not_matter() -> None:
    body = (
        '<e:DescribeImagesResponse xmlns:e="x"><e:imagesSet><e:item><e:imageId>ami-1</e:imageId></e:item>'
        "</e:imagesSet></e:DescribeImagesResponse>"
    )
    with Faults(Reply(body)) as faults:
        assert every(impatient(at(faults)).images())[0]["id"] == "ami-1"


def test_odd_fields_cost_neither_row_nor_listing() -> None:
    odd = (
        "<volumeId>vol-1</volumeId><size>a lot</size><createTime>soon</createTime><status><deep>x</deep></status>"
        "<attachmentSet><item/></attachmentSet><tagSet><item><key>a.b</key></item><item>x</item></tagSet><new>1</new>",
        f"<volumeId>vol-2</volumeId><size>{'9' * 30}</size><attachmentSet>x</attachmentSet><tagSet>x</tagSet>",
        "<size>4</size>",
        "",
        "<volumeId>vol-3</volumeId><size>4</size><createTime>2016-05-01T12:34:56.789123Z</createTime>",
    )
    with Faults(listing("DescribeVolumes", "volumeSet", odd)) as faults:
        one, two, three = every(impatient(at(faults)).volumes())
    assert one["extra"] == {"attachmentSet": [None], "new": "1", "tags": {"a.b": ""}}
    columns = ("size", "created", "state", "vm", "name")
    assert {item[name] for item in (one, two) for name in columns} == {None}
    assert three["size"] == 4
    assert three["created"] == datetime(2016, 5, 1, 12, 34, 56, 789000, tzinfo=UTC)


def test_flavors_without_the_permission_for_their_zones() -> None:
    flavors = listing("DescribeInstanceTypes", "instanceTypeSet", ["<instanceType>t3.micro</instanceType>"])
    with Faults(refusal(403, "UnauthorizedOperation"), flavors) as faults:
        (item,) = every(impatient(at(faults)).flavors())
    assert item["extra"]["zones"] is None
    assert item["price"] == pytest.approx(0.0104)


def test_zipped_answers_are_unzipped() -> None:
    page = images(["ami-1"])
    assert isinstance(page.body, bytes)
    with Faults(Reply(gzip.compress(page.body), headers={"Content-Encoding": "gzip"})) as faults:
        assert every(impatient(at(faults)).images())[0]["id"] == "ami-1"


# --- what goes wrong -------------------------------------------------------------------------------------------------

BROKEN = {
    "empty": Reply(),
    "HTML": Reply("<!DOCTYPE html><html><body>Please log in</body></html>"),
    "HTML without a doctype": Reply("<html><body/></html>"),
    "not XML": Reply("{}"),
    "truncated": Reply("<DescribeImagesResponse><imagesSet><item><imageId>ami-1</imageId></item>"),
    "another call": listing("DescribeVolumes", "volumeSet", []),
    "no set": Reply("<DescribeImagesResponse><requestId>r</requestId></DescribeImagesResponse>"),
    "not UTF-8": Reply(b"<DescribeImagesResponse><imagesSet>\xff</imagesSet></DescribeImagesResponse>"),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_a_senseless_answer_is_an_error_and_not_an_empty_list(reply: Reply) -> None:
    with Faults(reply) as faults, pytest.raises(CloudError, match=r"Listing images failed .* makes no sense") as raised:
        every(impatient(at(faults)).images())
    assert faults.url.removeprefix("http://") in str(raised.value)
    assert len(faults.asked) == 1


@pytest.mark.parametrize(
    ("reply", "error", "says", "cure"),
    [
        (refusal(401, "AuthFailure"), CredentialsError, "not know these keys", "EC2_ACCESS_KEY and EC2_SECRET_KEY"),
        (refusal(403, "SignatureDoesNotMatch"), CredentialsError, "secret key is wrong", "EC2_SECRET_KEY"),
        (refusal(400, "RequestExpired"), CredentialsError, "expired", "clock"),
        (refusal(400, "ExpiredToken"), CredentialsError, "token has expired", "EC2_SESSION_TOKEN"),
        (refusal(403, "UnauthorizedOperation"), PermissionDeniedError, "ec2:DescribeImages", "administrator"),
        (
            refusal(403, "UnauthorizedOperation", "User: arn:x is not authorized to perform: ec2:CreateTags on y"),
            PermissionDeniedError, "ec2:CreateTags", "administrator",
        ),
        (refusal(400, "InvalidAMIID.NotFound", "no ami-1"), NotFoundError, "EC2 says: no ami-1", "Refresh"),
        (refusal(400, "InvalidParameterValue", "bad"), CloudError, r"InvalidParameterValue\); EC2 says: bad", ""),
        (Reply("<html>", 403), PermissionDeniedError, "HTTP 403", "proxy"),
        (Reply("", 404), CloudError, "does not answer as EC2 does", "endpoint"),
        (Reply("", 302, {"Location": "http://127.0.0.1:9/"}), CloudError, "does not answer as EC2 does", "endpoint"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do(reply: Reply, error: type[CloudError], says: str, cure: str) -> None:
    with Faults(reply) as faults, pytest.raises(error, match=says) as raised:
        every(impatient(at(faults)).images())
    assert raised.value.message.startswith("Listing images failed on cloud aws, region us-east-1: ")
    assert cure in raised.value.cure
    assert len(faults.asked) == 1


def test_secrets_and_control_characters_stay_out_of_messages() -> None:
    words = "POST / x-amz-security-token:testing-token testing-secret &#10;\u202e" + "long " * 500
    for code in ("SignatureDoesNotMatch", "InvalidParameterValue"):
        with Faults(refusal(400, code, words)) as faults:
            ec2 = impatient(at(faults))
            with pytest.raises(CloudError) as raised:
                every(ec2.images())
        text = "".join(traceback.format_exception(raised.value)) + repr(ec2) + repr(raised.value)
        assert not re.search("testing-token|testing-secret|AKIATESTING|\u202e|long \n", text)
        assert len(raised.value.message) < 500
        assert raised.value.__context__ is None
        assert repr(ec2) == "EC2Provider('aws', 'us-east-1')"


def test_an_unreachable_port_fails_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        time = Time()
        cloud = Cloud("lab", endpoint=f"http://{host}", credentials=Credentials(Secret("k"), Secret("s")))
        with pytest.raises(CloudError, match=f"{host} cannot be reached.*`endpoint` of cloud lab"):
            every(EC2Provider(cloud, patience=time.patience()).images())
        assert time.slept == []


def test_a_host_without_tls_is_not_trusted() -> None:
    with Faults(images([])) as faults, pytest.raises(CloudError, match="no trusted TLS connection"):
        every(impatient(at(faults, endpoint=faults.url.replace("http", "https"))).images())
    assert faults.asked == []


def test_an_unknown_host_names_the_region() -> None:
    keys = Credentials(Secret("k"), Secret("s"))
    cloud = Cloud("aws", endpoint="http://no-such-host.invalid", credentials=keys)
    with pytest.raises(CloudError, match=r"no-such-host.invalid cannot be found\. Check the network and `endpoint`"):
        every(impatient(cloud).images())


# --- trying again ----------------------------------------------------------------------------------------------------

THROTTLED = refusal(503, "RequestLimitExceeded", "Request limit exceeded.")


@pytest.mark.parametrize(
    "fault", [THROTTLED, refusal(400, "Throttling"), Reply("", 429), Reply("oops", 500), Reply(hang_up=True)]
)
def test_reads_that_fail_in_passing_are_repeated(fault: Reply) -> None:
    time = Time()
    with Faults(fault, fault, fault, images(["ami-1"])) as faults:
        assert len(every(EC2Provider(at(faults), patience=time.patience()).images())) == 1
    assert len(faults.asked) == 4
    assert time.now == pytest.approx(0.5 + 1 + 2)
    assert max(time.slept) <= 0.1


def test_reads_give_up() -> None:
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match=r"throttling\) \(asked 5 times\)"):
        every(impatient(at(faults)).images())
    assert len(faults.asked) == 5
    time = Time()
    with Faults(THROTTLED) as faults, pytest.raises(TransientError):
        every(EC2Provider(at(faults), patience=time.patience(tries=100)).images())
    assert time.now <= 60
    assert len(faults.asked) == 11  # 0.5 + 1 + 2 + 4 + 6 * 8 seconds of waiting


def test_waiting_can_be_cancelled() -> None:
    time = Time()

    def check() -> None:
        if time.now > 0.25:
            raise Cancelled

    with Faults(THROTTLED) as faults, pytest.raises(Cancelled):
        every(EC2Provider(at(faults), check, time.patience()).images())
    assert len(faults.asked) == 1
    assert time.now == pytest.approx(0.3)


def test_an_arriving_page_can_be_cancelled() -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 4:
            raise Cancelled

    with Faults(images(f"ami-{n:017x}" for n in range(10_000))) as faults, pytest.raises(Cancelled):
        every(EC2Provider(at(faults), check).images())
    assert len(faults.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Reply("", 500),
        refusal(503, "Unavailable"),
        refusal(500, "InternalError"),
        Reply(hang_up=True),
        Reply("<html/>"),
        Reply("<StopInst", missing=9),
    ],
)
def test_changes_are_never_repeated_and_say_that_they_may_be_done(fault: Reply) -> None:
    with (
        Faults(fault) as faults,
        pytest.raises(UnsureError, match=r"Stopping VM i-1 failed .*may have been done") as raised,
    ):
        impatient(at(faults)).stop("i-1")
    assert not isinstance(raised.value, TransientError)
    assert len(faults.asked) == 1


STOPPING = (
    "<instancesSet><item><instanceId>i-1</instanceId><currentState><name>stopping</name></currentState></item>"
    "</instancesSet>"
)
STOPPED = Reply(f"<StopInstancesResponse>{STOPPING}</StopInstancesResponse>")


@pytest.mark.parametrize("fault", [THROTTLED, refusal(400, "Throttling"), refusal(503, "SlowDown"), Reply("", 429)])
def test_a_change_that_was_refused_unread_is_sent_again(fault: Reply) -> None:
    time = Time()
    with Faults(fault, fault, fault, STOPPED) as faults:
        assert EC2Provider(at(faults), patience=time.patience()).stop("i-1") == "stopping"
    assert len(faults.asked) == 4
    assert {asked.body for asked in faults.asked} == {faults.asked[0].body}
    assert time.now == pytest.approx(0.5 + 1 + 2)


def test_what_a_throttled_change_comes_to_in_the_end_is_told() -> None:
    with Faults(THROTTLED, Reply(hang_up=True)) as faults, pytest.raises(UnsureError, match="asked 2 times"):
        impatient(at(faults)).stop("i-1")
    assert len(faults.asked) == 2
    with Faults(THROTTLED, refusal(403, "UnauthorizedOperation")) as faults, pytest.raises(PermissionDeniedError):
        impatient(at(faults)).stop("i-1")
    assert len(faults.asked) == 2


def test_a_throttled_change_is_given_up_and_not_done() -> None:
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match=r"\(asked 3 times\)\. Try again") as raised:
        EC2Provider(at(faults), patience=Time().patience(unread=3)).stop("i-1")
    assert not isinstance(raised.value, UnsureError)
    assert len(faults.asked) == 3
    # It has more tries than a read, and no more time.
    for settings, tries in ({"deadline": 1e9}, 20), ({}, 11):
        time = Time()
        with Faults(THROTTLED) as faults, pytest.raises(TransientError):
            EC2Provider(at(faults), patience=time.patience(**settings)).stop("i-1")
        assert len(faults.asked) == tries
        assert time.now <= settings.get("deadline", 60)


def test_a_throttled_change_can_be_cancelled_while_it_waits() -> None:
    time = Time()

    def check() -> None:
        if time.now > 0.25:
            raise Cancelled

    with Faults(THROTTLED) as faults, pytest.raises(Cancelled):
        EC2Provider(at(faults), check, time.patience()).stop("i-1")
    assert len(faults.asked) == 1
    assert time.now == pytest.approx(0.3)


def test_whether_a_vm_is_protected_is_a_read() -> None:
    def said(word: str) -> Reply:
        inside = f"<instanceId>i-1</instanceId><disableApiTermination>{word}</disableApiTermination>"
        action = "DescribeInstanceAttributeResponse"
        return Reply(f"<{action}>{inside}</{action}>")

    for word, protected in (("true", True), ("false", False), ("TRUE", True)):
        with Faults(THROTTLED, Reply(hang_up=True), said(f"<value>{word}</value>")) as faults:
            assert impatient(at(faults, read_only=True)).protected("i-1") is protected
        assert len(faults.asked) == 3
        assert faults.asked[0].form["Attribute"] == "disableApiTermination"
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match="asked 5 times"):
        impatient(at(faults)).protected("i-1")
    with (
        Faults(said("")) as faults,
        pytest.raises(CloudError, match=r"Looking whether VM i-1 is protected failed .*it does not say") as raised,
    ):
        impatient(at(faults)).protected("i-1")
    assert not isinstance(raised.value, UnsureError)


def test_a_change_is_cancelled_before_it_is_sent_and_not_after() -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks > 1:
            raise Cancelled

    key = "<CreateKeyPairResponse><keyName>k</keyName><keyMaterial>PEM</keyMaterial></CreateKeyPairResponse>"
    with Faults(Reply(key)) as faults:
        ec2 = EC2Provider(at(faults), check)
        assert ec2.create_keypair("k")[1] == "PEM"
        with pytest.raises(Cancelled):
            ec2.create_keypair("k")
    assert len(faults.asked) == 1


# --- into the cache ---------------------------------------------------------------------------------------------------


def refreshed(cache: Cache, faults: Faults, check: Callable[[], None] = ignore) -> Difference:
    """Refresh the images from that endpoint."""
    provider = EC2Provider(at(faults), check, Time().patience())
    return refresh(IMAGE, provider, cache, HERE, check=check)


def fetched(cache: Cache, *replies: Reply) -> tuple[int, int, int, int]:
    """Refresh the images from those answers: count, added, changed, removed."""
    with Faults(*replies) as faults:
        found = refreshed(cache, faults)
    assert len(faults.asked) == len(replies)
    return found.count, found.added, found.changed, found.removed


def image(native: str, **fields: str) -> str:
    """The inside of an image's <item>."""
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f"<imageId>{native}</imageId>{inside}"


def page(*insides: str, token: str = "") -> Reply:
    return listing("DescribeImages", "imagesSet", insides, token)


def stored(cache: Cache) -> list[dict[str, Any]]:
    """Every document of the images, stamps and hashes included."""
    with cache.use():
        return sorted(cache.database["images"].find(), key=lambda document: str(document["_id"]))


def names(cache: Cache) -> dict[str, str]:
    return {IMAGE.value(row, "id"): IMAGE.value(row, "name") for row in cache.rows(IMAGE, HERE)}


def tokens(faults: Faults) -> list[str | None]:
    return [asked.form.get("NextToken") for asked in faults.asked]


def broken(reply: Reply) -> Reply:
    """The answer, whose connection breaks in the middle."""
    assert isinstance(reply.body, bytes)
    half = len(reply.body) // 2
    return Reply(reply.body[:half], missing=len(reply.body) - half)


def test_a_page_that_breaks_is_asked_again_and_what_came_before_is_kept(cache: Cache) -> None:
    second = images(["ami-3", "ami-4"], "t2")
    with Faults(images(["ami-1", "ami-2"], "t1"), broken(second), broken(second), second, images(["ami-5"])) as faults:
        found = refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t1", "t1", "t2"]
    assert (found.count, found.added, found.changed, found.removed) == (5, 5, 0, 0)
    assert ids(cache, IMAGE) == [f"ami-{n}" for n in range(1, 6)]


def test_a_page_that_stays_broken_leaves_the_pages_before_it_and_the_old_rows(cache: Cache) -> None:
    assert fetched(cache, images(["ami-old", "ami-1"])) == (2, 2, 0, 0)
    old = cache.document(IMAGE, HERE, "ami-old")
    with (
        Faults(images(["ami-2", "ami-3"], "t1"), broken(images(["ami-4", "ami-5"]))) as faults,
        pytest.raises(TransientError, match=r"the connection to .* broke \(asked 5 times\)") as raised,
    ):
        refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t1", "t1", "t1", "t1"]
    assert ids(cache, IMAGE) == ["ami-1", "ami-2", "ami-3", "ami-old"]
    assert cache.document(IMAGE, HERE, "ami-old") == old
    assert cache.refreshed(IMAGE, HERE).error == str(raised.value)
    assert fetched(cache, images(["ami-1", "ami-2"])) == (2, 0, 0, 2)


@pytest.mark.parametrize("code", ["InvalidNextToken", "InvalidPaginationToken"])
def test_a_token_that_has_expired_begins_the_listing_again(cache: Cache, code: str) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    first, second, third = images(["ami-1", "ami-2"], "t1"), images(["ami-3"], "t2"), images(["ami-4"])
    again = images(["ami-1", "ami-2"], "t3")
    with Faults(first, second, refusal(400, code), again, second, third) as faults:
        found = refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t2", None, "t3", "t2"]
    assert (found.count, found.added, found.changed, found.removed) == (4, 3, 0, 1)
    assert ids(cache, IMAGE) == ["ami-1", "ami-2", "ami-3", "ami-4"]
    assert cache.refreshed(IMAGE, HERE).count == 4


@pytest.mark.parametrize("code", ["InvalidNextToken", "InvalidPaginationToken"])
def test_a_token_that_always_expires_is_one_error_and_costs_no_row(cache: Cache, code: str) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    before = stored(cache)
    lost = refusal(400, code, "The token has expired.")
    with (
        Faults(*[images(["ami-1"], "t1"), lost] * (1 + RESTARTS)) as faults,
        pytest.raises(CloudError, match=f"Listing images failed .*{code}.*The token has expired") as raised,
    ):
        refreshed(cache, faults)
    assert tokens(faults) == [None, "t1"] * (1 + RESTARTS)
    assert raised.value.__context__ is None
    assert stored(cache) == before
    assert cache.refreshed(IMAGE, HERE).error == str(raised.value)


def test_a_lost_place_without_a_token_is_no_reason_to_begin_again() -> None:
    with Faults(refusal(400, "InvalidNextToken")) as faults, pytest.raises(CloudError, match="InvalidNextToken"):
        every(impatient(at(faults)).images())
    assert len(faults.asked) == 1


@pytest.mark.parametrize("later", ["first", "second"])
def test_an_image_on_two_pages_counts_once_and_its_last_words_win(cache: Cache, later: str) -> None:
    one, two = image("ami-1", name="first"), image("ami-1", name=later)
    other = image("ami-2", name="other")
    assert fetched(cache, page(one, other, token="t1"), page(two)) == (2, 2, int(later == "second"), 0)
    assert names(cache) == {"ami-1": later, "ami-2": "other"}
    assert cache.count(IMAGE, HERE) == 2
    # On one page, and gone with all others in the next listing.
    assert fetched(cache, page(other, other)) == (1, 0, 0, 1)
    assert fetched(cache, page(one, two)) == (1, 1, 0, 1)
    assert names(cache) == {"ami-1": later}
    assert fetched(cache, page(two, token="t1"), page(two)) == (1, 0, 0, 0)


def test_an_image_that_vanishes_is_there_until_the_listing_has_ended(cache: Cache) -> None:
    assert fetched(cache, images(["ami-1", "ami-2", "ami-3"])) == (3, 3, 0, 0)
    seen = []
    with Faults(images(["ami-1"], "t1"), images([], "t2"), images(["ami-3"])) as faults:
        refresh(IMAGE, impatient(at(faults)), cache, HERE, progress=lambda _: seen.append(ids(cache, IMAGE)))
    assert seen == [["ami-1", "ami-2", "ami-3"]] * 3
    assert ids(cache, IMAGE) == ["ami-1", "ami-3"]
    assert cache.refreshed(IMAGE, HERE).removed == 1
    # Between the two goes of a listing that began again: gone at the next one.
    gone = Faults(images(["ami-1", "ami-3"], "t1"), refusal(400, "InvalidNextToken"), images(["ami-3"]))
    with gone as faults:
        assert refreshed(cache, faults).removed == 0
    assert fetched(cache, images(["ami-3"])) == (1, 0, 0, 1)


def test_no_images_empty_the_table(cache: Cache) -> None:
    assert fetched(cache, images([])) == (0, 0, 0, 0)
    assert fetched(cache, images(["ami-1", "ami-2"])) == (2, 2, 0, 0)
    assert fetched(cache, images([])) == (0, 0, 0, 2)
    assert cache.rows(IMAGE, HERE) == []
    assert fetched(cache, Reply("<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>")) == (0, 0, 0, 0)


def test_an_image_with_300_tags_and_wide_names_comes_out_whole(cache: Cache) -> None:
    wide = "東" * 254 + "\U0001f680"
    tags = {f"鍵{n}.$x": f"{n}{wide}"[:255] for n in range(300)}
    tag_set = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items())
    assert fetched(cache, page(image("ami-1", name=wide, description=wide, tagSet=tag_set))) == (1, 1, 0, 0)
    for word in ("ami-1", wide):
        (row,) = cache.named(IMAGE, HERE, word)
        assert (IMAGE.value(row, "id"), IMAGE.value(row, "name")) == ("ami-1", wide)
        assert cache.rows(IMAGE, HERE) == [row]
    document = cache.document(IMAGE, HERE, "ami-1")
    assert document is not None
    assert {tag["key"]: tag["value"] for tag in document["extra"]["tags"]} == tags
    assert (document["name"], document["extra"]["description"]) == (wide, wide)
    before = stored(cache)
    assert fetched(cache, page(image("ami-1", name=wide, description=wide, tagSet=tag_set))) == (1, 0, 0, 0)
    assert stored(cache) == before


def test_the_details_of_an_image_are_all_that_ec2_said_of_it(cache: Cache) -> None:
    disk = "<item><deviceName>/dev/sda1</deviceName><ebs><volumeSize>8</volumeSize></ebs></item>"
    assert fetched(cache, page(image("ami-1", name="a", description="x &amp; y", blockDeviceMapping=disk)))[:2] == (
        1,
        1,
    )
    cloud = Cloud(HERE.cloud, default=Defaults(HERE.region))
    session = Session(Settings({cloud.name: cloud}, cloud.name), cloud, cache, Path())
    found = session.details(IMAGE, "ami-1")
    assert found is not None
    shown = dict(flatten(found))
    assert shown["extra.description"] == "x & y"
    assert shown["extra.blockDeviceMapping.1.ebs.volumeSize"] == "8"
    assert shown["name"] == "a"
    assert not shown.keys() & {"_id", "hash"}
    assert session.details(IMAGE, "ami-2") is None


TAG = "<item><key>{0}</key><value>{0}</value></item>"


def test_a_refresh_of_what_is_unchanged_writes_nothing(cache: Cache) -> None:
    fields = {"name": "née", "creationDate": "2026-01-02T03:04:05.678Z", "tagSet": TAG.format("a") + TAG.format("b")}
    replies = page(image("ami-1", **fields), image("ami-2"), token="t1"), page(image("ami-3", **fields))
    assert fetched(cache, *replies) == (3, 3, 0, 0)
    before, written = stored(cache), cache.refreshed(IMAGE, HERE).written
    assert fetched(cache, *replies) == (3, 0, 0, 0)
    assert fetched(cache, *replies) == (3, 0, 0, 0)
    assert stored(cache) == before
    assert cache.refreshed(IMAGE, HERE).written == written
    # Nor does the same in another order of tags; only their digest is noted.
    fields["tagSet"] = TAG.format("b") + TAG.format("a")
    replies = page(image("ami-1", **fields), image("ami-2"), token="t1"), page(image("ami-3", **fields))
    for _ in range(2):
        assert fetched(cache, *replies) == (3, 0, 0, 0)
        after = stored(cache)
        assert [one | {"hash": None} for one in after] == [one | {"hash": None} for one in before]
        assert [new["hash"] != old["hash"] for new, old in zip(after, before, strict=True)] == [True, False, True]
    assert cache.refreshed(IMAGE, HERE).written == written
    # The parser's items have no digest of bytes, and are the same all the same where they were taken apart before.
    with_comment = Reply(page(image("ami-1", **fields), image("ami-3", **fields), "<!-- -->").body)
    assert fetched(cache, with_comment) == (2, 0, 0, 1)
    assert [one["refreshed"] for one in stored(cache)] == [before[0]["refreshed"], before[2]["refreshed"]]


def test_one_that_has_changed_is_written_and_no_other(cache: Cache) -> None:
    assert fetched(cache, page(*(image(f"ami-{n}", name="a", imageState="pending") for n in range(3)))) == (3, 3, 0, 0)
    before = stored(cache)
    states = ("pending", "available", "pending")
    changed = page(*(image(f"ami-{n}", name="a", imageState=state) for n, state in enumerate(states)))
    assert fetched(cache, changed) == (3, 0, 1, 0)
    after = stored(cache)
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True]
    assert after[1]["state"] == "available"
    assert after[1]["refreshed"] >= before[1]["refreshed"]
    tagged = page(image("ami-0", name="a", imageState="pending", tagSet=TAG.format("new")))
    assert fetched(cache, tagged) == (1, 0, 1, 2)  # a column it has none of changed


def test_cancelling_in_the_middle_of_a_page_leaves_the_old_rows_and_what_came(cache: Cache) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    large = images((f"ami-{n:017x}" for n in range(10_000)), "t2")
    asked_twice = 0
    with Faults(images(["ami-1", "ami-new"], "t1"), large) as faults:

        def check() -> None:
            nonlocal asked_twice
            asked_twice += len(faults.asked) == 2
            if asked_twice > 3 and "ami-new" in ids(cache, IMAGE):
                raise Cancelled

        with pytest.raises(Cancelled):
            refreshed(cache, faults, check)
    assert len(faults.asked) == 2
    assert ids(cache, IMAGE) == ["ami-1", "ami-new", "ami-old"]
    assert cache.refreshed(IMAGE, HERE).error == "Cancelled."
    assert fetched(cache, images(["ami-1", "ami-new"])) == (2, 0, 0, 1)


def vms(**states: str) -> Reply:
    """A listing of VMs in those states."""
    insides = (
        f"<instanceId>{native}</instanceId><instanceState><name>{state}</name></instanceState>"
        for native, state in states.items()
    )
    return listing(
        "DescribeInstances",
        "reservationSet",
        (f"<reservationId>r</reservationId><instancesSet><item>{one}</item></instancesSet>" for one in insides),
    )


def fetched_vms(cache: Cache, reply: Reply) -> tuple[int, int, int, int]:
    with Faults(reply) as faults:
        found = refresh(VM, impatient(at(faults)), cache, HERE)
    return found.count, found.added, found.changed, found.removed


def test_vms_are_told_apart_too(cache: Cache) -> None:
    assert fetched_vms(cache, vms(a="running", b="running")) == (2, 2, 0, 0)
    assert fetched_vms(cache, vms(b="running", a="running")) == (2, 0, 0, 0)
    assert fetched_vms(cache, vms(a="stopped", b="running")) == (2, 0, 1, 0)
    assert fetched_vms(cache, vms(a="stopped")) == (1, 0, 0, 1)


def test_a_vm_whose_state_a_command_wrote_is_confirmed_or_removed_by_the_next_listing(cache: Cache) -> None:
    assert fetched_vms(cache, vms(a="running", b="running", c="running")) == (3, 3, 0, 0)
    cache.set_flight(HERE, "a", None, "stopping")
    cache.set_flight(HERE, "b", None, "running")
    assert fetched_vms(cache, vms(a="running", b="running", c="running")) == (3, 0, 1, 0)
    first, second = (cache.document(VM, HERE, native) for native in "ab")
    assert first is not None
    assert second is not None
    assert (first["state"], second["state"]) == ("running", "running")
    assert None not in (first["hash"], second["hash"])
    for native in "ab":
        cache.set_flight(HERE, native, None, "stopping")
    assert fetched_vms(cache, vms(c="running")) == (1, 0, 0, 2)
    assert ids(cache, VM) == ["c"]
