"""Faults that the EC2 provider survives: replies that are wrong, refused, throttled or lost."""

import re
import socket
import traceback
from dataclasses import replace

import pytest

from backend.config import Cloud
from backend.errors import (
    Cancelled,
    CloudError,
    CredentialsError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    TransientError,
)
from backend.providers.ec2.entry import ec2_keys
from backend.providers.ec2.provider import EC2Provider
from backend.secret import Secret
from tests.backend.ec2_faults import Faults, Reply, Time, at, every, images, impatient, listing, refusal

# --- what goes wrong --------------------------------------------------------------------------------------------------


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
    with Faults(reply) as faults, pytest.raises(CloudError, match=r"Listing images failed .* is not valid") as raised:
        every(impatient(at(faults)).of("image").list())
    assert faults.url.removeprefix("http://") in str(raised.value)
    assert len(faults.asked) == 1


@pytest.mark.parametrize(
    ("reply", "error", "says", "cure"),
    [
        (refusal(401, "AuthFailure"), CredentialsError, "not know these keys", "EC2_ACCESS_KEY and EC2_SECRET_KEY"),
        (refusal(403, "SignatureDoesNotMatch"), CredentialsError, "signature does not match", "EC2_SECRET_KEY"),
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
        every(impatient(at(faults)).of("image").list())
    assert raised.value.message.startswith("Listing images failed on cloud aws, region us-east-1: ")
    assert cure in raised.value.cure
    assert len(faults.asked) == 1


def test_of_an_error_no_more_is_read_than_it_takes_to_tell_it() -> None:
    vast = b"x" * 64_000_000
    for status, says in (400, "HTTP 400"), (307, "does not answer as EC2 does"):
        with Faults(Reply(vast, status, {"Location": "http://127.0.0.1:9/"})) as faults:
            with pytest.raises(CloudError, match=says):
                every(impatient(at(faults)).of("image").list())
            assert faults.left.wait(10)


def test_an_error_of_a_thousand_elements_in_each_other_is_an_error() -> None:
    deep = "<a>" * 5000 + "</a>" * 5000
    with Faults(Reply(f"<Response>{deep}</Response>", 400)) as faults, pytest.raises(CloudError, match="HTTP 400"):
        every(impatient(at(faults)).of("image").list())


def test_secrets_and_control_characters_stay_out_of_messages() -> None:
    words = "POST / x-amz-security-token:testing-token testing-secret &#10;\u202e" + "long " * 500
    for code in ("SignatureDoesNotMatch", "InvalidParameterValue"):
        with Faults(refusal(400, code, words)) as faults:
            ec2 = impatient(at(faults))
            with pytest.raises(CloudError) as raised:
                every(ec2.of("image").list())
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
        cloud = Cloud("lab", endpoint=f"http://{host}", credentials=ec2_keys(Secret("k"), Secret("s")))
        with pytest.raises(CloudError, match=f"{host} cannot be reached.*`endpoint` of cloud lab"):
            every(EC2Provider(cloud, policy=time.policy()).of("image").list())
        assert time.slept == []


def test_a_host_without_tls_is_not_trusted() -> None:
    with Faults(images([])) as faults, pytest.raises(CloudError, match="no trusted TLS connection"):
        every(impatient(at(faults, endpoint=faults.url.replace("http", "https"))).of("image").list())
    assert faults.asked == []


def test_an_unknown_host_names_the_region() -> None:
    keys = ec2_keys(Secret("k"), Secret("s"))
    cloud = Cloud("aws", endpoint="http://no-such-host.invalid", credentials=keys)
    with pytest.raises(CloudError, match=r"no-such-host.invalid cannot be found\. Check the network and `endpoint`"):
        every(impatient(cloud).of("image").list())


# --- trying again -----------------------------------------------------------------------------------------------------


THROTTLED = refusal(503, "RequestLimitExceeded", "Request limit exceeded.")


@pytest.mark.parametrize(
    "fault", [THROTTLED, refusal(400, "Throttling"), Reply("", 429), Reply("oops", 500), Reply(hang_up=True)]
)
def test_reads_that_fail_in_passing_are_repeated(fault: Reply) -> None:
    time = Time()
    with Faults(fault, fault, fault, images(["ami-1"])) as faults:
        assert len(every(EC2Provider(at(faults), policy=time.policy()).of("image").list())) == 1
    assert len(faults.asked) == 4
    assert time.now == pytest.approx(0.5 + 1 + 2)
    assert max(time.slept) <= 0.1


def test_reads_give_up() -> None:
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match=r"throttling\) \(asked 5 times\)"):
        every(impatient(at(faults)).of("image").list())
    assert len(faults.asked) == 5
    time = Time()
    with Faults(THROTTLED) as faults, pytest.raises(TransientError):
        every(EC2Provider(at(faults), policy=time.policy(tries=100)).of("image").list())
    assert time.now <= 60
    assert len(faults.asked) == 11  # 0.5 + 1 + 2 + 4 + 6 * 8 seconds of waiting


def test_waiting_can_be_cancelled() -> None:
    time = Time()

    def check() -> None:
        if time.now > 0.25:
            raise Cancelled

    with Faults(THROTTLED) as faults, pytest.raises(Cancelled):
        every(EC2Provider(at(faults), check, time.policy()).of("image").list())
    assert len(faults.asked) == 1
    assert time.now == pytest.approx(0.3)


def test_an_arriving_page_can_be_cancelled() -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 4:
            raise Cancelled

    page = replace(images(f"ami-{n:017x}" for n in range(100)), drip=0.001)
    with Faults(page) as faults, pytest.raises(Cancelled):
        every(EC2Provider(at(faults), check).of("image").list())
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
        pytest.raises(OutcomeUnknownError, match=r"Stopping VM i-1 failed .*may have been done") as raised,
    ):
        impatient(at(faults)).of("vm").stop("i-1")
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
        assert EC2Provider(at(faults), policy=time.policy()).of("vm").stop("i-1") == "stopping"
    assert len(faults.asked) == 4
    assert {asked.body for asked in faults.asked} == {faults.asked[0].body}
    assert time.now == pytest.approx(0.5 + 1 + 2)


def test_what_a_throttled_change_comes_to_in_the_end_is_told() -> None:
    with Faults(THROTTLED, Reply(hang_up=True)) as faults, pytest.raises(OutcomeUnknownError, match="asked 2 times"):
        impatient(at(faults)).of("vm").stop("i-1")
    assert len(faults.asked) == 2
    with Faults(THROTTLED, refusal(403, "UnauthorizedOperation")) as faults, pytest.raises(PermissionDeniedError):
        impatient(at(faults)).of("vm").stop("i-1")
    assert len(faults.asked) == 2


def test_a_throttled_change_is_given_up_and_not_done() -> None:
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match=r"\(asked 3 times\)\. Try again") as raised:
        EC2Provider(at(faults), policy=Time().policy(unread=3)).of("vm").stop("i-1")
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert len(faults.asked) == 3
    # It has more tries than a read, and no more time.
    for settings, tries in ({"deadline": 1e9}, 20), ({}, 11):
        time = Time()
        with Faults(THROTTLED) as faults, pytest.raises(TransientError):
            EC2Provider(at(faults), policy=time.policy(**settings)).of("vm").stop("i-1")
        assert len(faults.asked) == tries
        assert time.now <= settings.get("deadline", 60)


def test_a_throttled_change_can_be_cancelled_while_it_waits() -> None:
    time = Time()

    def check() -> None:
        if time.now > 0.25:
            raise Cancelled

    with Faults(THROTTLED) as faults, pytest.raises(Cancelled):
        EC2Provider(at(faults), check, time.policy()).of("vm").stop("i-1")
    assert len(faults.asked) == 1
    assert time.now == pytest.approx(0.3)


def test_whether_a_vm_is_protected_is_a_read() -> None:
    def said(word: str) -> Reply:
        inside = f"<instanceId>i-1</instanceId><disableApiTermination>{word}</disableApiTermination>"
        action = "DescribeInstanceAttributeResponse"
        return Reply(f"<{action}>{inside}</{action}>")

    for word, protected in (("true", True), ("false", False), ("TRUE", True)):
        with Faults(THROTTLED, Reply(hang_up=True), said(f"<value>{word}</value>")) as faults:
            assert impatient(at(faults, read_only=True)).of("vm").protected("i-1") is protected
        assert len(faults.asked) == 3
        assert faults.asked[0].form["Attribute"] == "disableApiTermination"
    with Faults(THROTTLED) as faults, pytest.raises(TransientError, match="asked 5 times"):
        impatient(at(faults)).of("vm").protected("i-1")
    with (
        Faults(said("")) as faults,
        pytest.raises(CloudError, match=r"Checking whether VM i-1 is protected failed .*it does not say") as raised,
    ):
        impatient(at(faults)).of("vm").protected("i-1")
    assert not isinstance(raised.value, OutcomeUnknownError)


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
        assert ec2.of("keypair").create("k")[1] == "PEM"
        with pytest.raises(Cancelled):
            ec2.of("keypair").create("k")
    assert len(faults.asked) == 1
