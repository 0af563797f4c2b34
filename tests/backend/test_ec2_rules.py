"""The meaning of EC2's errors: one code may have several meanings, and EC2's own words are shown too."""

import base64
import html
import json
import logging
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.config import Cloud
from backend.errors import (
    CloudError,
    CredentialsError,
    ExpiredError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
)
from backend.providers.ec2.rules import RULES, policy
from backend.providers.protocol import Boot
from tests.backend.cloud_support import behind_proxy, run
from tests.backend.ec2_faults import Faults, at, every, impatient, refusal

ARN = "arn:aws:sts::111122223333:assumed-role/dev/joe"
DENIED = (
    f"You are not authorized to perform this operation. User: {ARN} is not authorized to perform: ec2:StopInstances"
)
ON = f"{DENIED} on resource: arn:aws:ec2:us-east-1:111122223333:instance/i-1"


def refused(code: str, words: str, status: int = 400) -> CloudError:
    """Stop a VM at an endpoint that refuses it, and return the error."""
    with (
        Faults(refusal(status, code, html.escape(words))) as faults,
        pytest.raises(CloudError) as raised,
    ):
        impatient(at(faults)).of("vm").stop("i-1")
    assert raised.value.message.startswith("Stopping VM i-1 failed on cloud aws, region us-east-1: ")
    assert raised.value.message.endswith(".")
    return raised.value


@pytest.mark.parametrize(
    ("code", "words", "kind", "says", "cure"),
    [
        # as EC2's SOAP API had it
        ("Client.UnauthorizedOperation", "x", PermissionDeniedError, "may not do ec2:StopInstances", "administrator"),
        ("Server.InsufficientInstanceCapacity", "x", CloudError, "cannot offer that here", "another location"),
        # AuthFailure
        ("AuthFailure", "AWS was not able to validate the provided access credentials",
         CredentialsError, "does not know these keys", "EC2_ACCESS_KEY"),
        ("AuthFailure", "Not authorized for images: [ami-0123456789abcdef0]",
         PermissionDeniedError, "this account may not use the image", "share it"),
        ("AuthFailure", "Not authorized for image:ami-0123",
         PermissionDeniedError, "this account may not use the image", "share it"),
        ("AuthFailure", "You do not have permission to access the snapshot snap-1",
         PermissionDeniedError, "may not use an object in the request", "share it"),
        ("AuthFailure", "Signature expired: 20240101T000000Z is now earlier than 20240101T001000Z",
         CredentialsError, "time of the request is wrong", "clock"),
        ("InvalidClientTokenId", "The security token included in the request is invalid",
         CredentialsError, "does not know these keys", "EC2_SESSION_TOKEN"),
        ("InvalidClientTokenId", "The security token included in the request is expired",
         ExpiredError, "the session token has expired", "new temporary keys"),
        ("RequestExpired", "Request has expired.", ExpiredError, "or the session token has expired", "clock"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20240101T001000Z is still later than 20240101T000000Z",
         CredentialsError, "time of the request is wrong", "clock"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.",
         CredentialsError, "the signature does not match: the secret key", "EC2_SECRET_KEY"),
        # denials
        ("UnauthorizedOperation", f"{ON} with an explicit deny in a service control policy",
         PermissionDeniedError, "an explicit deny in a service control policy forbids ec2:StopInstances",
         "administrator of the AWS organization"),
        ("UnauthorizedOperation", f"{ON} with an explicit deny in an identity-based policy: arn:aws:iam::1:policy/no",
         PermissionDeniedError, "an explicit deny in an identity-based policy", "the account's administrator"),
        ("UnauthorizedOperation", f"{ON} with an explicit deny in a permissions boundary",
         PermissionDeniedError, "an explicit deny in a permissions boundary", "boundary of this user or role"),
        ("AccessDenied", f"{ON} with an explicit deny in a VPC endpoint policy",
         PermissionDeniedError, "an explicit deny in a VPC endpoint policy", "administrator of the VPC endpoint"),
        ("AccessDeniedException", f"{ON} with an explicit deny in a session policy",
         PermissionDeniedError, "an explicit deny in a session policy", "temporary keys"),
        ("UnauthorizedOperation", f"{ON} with an explicit deny in a resource-based policy",
         PermissionDeniedError, "an explicit deny in a resource-based policy", "the owner"),
        ("UnauthorizedOperation", f"{ON} with an explicit deny in a resource control policy",
         PermissionDeniedError, "an explicit deny in a resource control policy", "organization"),
        ("UnauthorizedOperation", f"{ON} with an explicit deny",
         PermissionDeniedError, "an explicit deny in a policy forbids", "the account's administrator"),
        ("UnauthorizedOperation", f"{ON} because no identity-based policy allows the ec2:StopInstances action",
         PermissionDeniedError, "no identity-based policy allows ec2:StopInstances", "to allow ec2:Stop"),
        ("UnauthorizedOperation", f"{ON} because no service control policy allows the ec2:StopInstances action",
         PermissionDeniedError, "no service control policy allows", "the AWS organization"),
        ("UnauthorizedOperation", "You are not authorized to perform this operation.",
         PermissionDeniedError, "may not do ec2:StopInstances", "Ask the account's administrator to allow"),
        # the account
        ("OptInRequired", "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do "
         "so please visit https://aws.amazon.com/marketplace/pp?sku=abc", PermissionDeniedError,
         "has not subscribed to the image in AWS Marketplace", "the address that EC2 names"),
        ("OptInRequired", "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
         PermissionDeniedError, "has not enabled this service or the region us-east-1", "Enable it"),
        ("PendingVerification", "Your account is currently being verified.", PermissionDeniedError, "still verifying",
         "try again"),
        ("Blocked", "This account is currently blocked and not recognized as a valid account.",
         PermissionDeniedError, "AWS has blocked the account", "Only AWS"),
        # an object, or the endpoint
        ("UnsupportedOperation", "You can't stop the Spot Instance 'i-1' because it is associated with a one-time Spot "
         "Instance request.", CloudError, "does not support that for this object", "says why"),
        ("UnsupportedOperation", "The instance 'i-1' does not have an 'ebs' root device type and cannot be stopped.",
         CloudError, "does not support that for this object", "says why"),
        ("UnsupportedOperation", "The operation is not valid for an instance with a hibernation agent.",
         CloudError, "does not support that for this object", "says why"),
        ("UnsupportedHibernationConfiguration", "The instance is not configured for hibernation.",
         CloudError, "does not support that for this object", "says why"),
        ("UnsupportedOperation", "The action StopInstances is not valid for this web service.",
         CloudError, "does not offer StopInstances", "`endpoint` of cloud aws"),
        ("UnsupportedOperation", "StopInstances is not implemented", CloudError, "does not offer StopIn", "`endpoint`"),
        ("InvalidAction", "The action StopInstances is not valid for this web service.",
         CloudError, "does not offer StopInstances", "`endpoint` of cloud aws"),
        ("UnknownOperationException", "No.", CloudError, "does not offer StopInstances", "`endpoint` of cloud aws"),
        ("InternalFailure", "API for service 'ec2' not yet implemented or pro feature",
         CloudError, "does not offer StopInstances", "`endpoint` of cloud aws"),
        # protection
        ("OperationNotPermitted", "The instance 'i-1' may not be terminated. Modify its 'disableApiTermination' "
         "instance attribute and try again.", PermissionDeniedError, "it is protected;", "vm unprotect"),
        ("OperationNotPermitted", "The instance 'i-1' may not be stopped. Modify its 'disableApiStop' instance "
         "attribute and try again.", PermissionDeniedError, "protected from being stopped", "disableApiStop"),
        ("OperationNotPermitted", "The instance is managed by an operator.", PermissionDeniedError,
         "EC2 does not permit that for this object", "EC2's message"),
        # as ever
        ("IncorrectInstanceState", "The instance 'i-1' is not in a state from which it can be stopped.",
         CloudError, "its state does not allow that", "Refresh"),
        ("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist",
         NotFoundError, "does not exist here", "R"),
        ("Unsupported", "Your requested instance type (t3.micro) is not supported in your requested Availability Zone.",
         CloudError, "cannot offer that here", "another location"),
        ("Whatever", "Something new.", CloudError, r"EC2 refuses (Whatever)", "the request"),
    ],
)  # fmt: skip
def test_what_a_refusal_means(code: str, words: str, kind: type[CloudError], says: str, cure: str) -> None:
    error = refused(code, words)
    assert type(error) is kind
    assert says in error.message
    assert f"; EC2 says: {words.rstrip('.')}." in error.message
    assert cure in error.cure


def test_an_action_that_an_endpoint_lacks_is_asked_for_once() -> None:
    with (
        Faults(refusal(501, "InternalFailure", "API not yet implemented")) as faults,
        pytest.raises(CloudError) as raised,
    ):
        every(impatient(at(faults)).of("volume").list())
    assert not isinstance(raised.value, TransientError)
    assert "does not offer DescribeVolumes" in raised.value.message
    assert len(faults.asked) == 1


def test_every_rule_quotes_but_those_of_throttling() -> None:
    assert {rule.brief for _, rule in RULES if not rule.quote} == {"throttled"}


def test_what_was_signed_is_not_quoted() -> None:
    words = "The request signature we calculated does not match the signature you provided. Check your key."
    error = refused(
        "SignatureDoesNotMatch", f"{words}\n\nThe Canonical String for this request should have been\n'POST'"
    )
    assert error.message.endswith(f"EC2 says: {words}")
    for header in ("Authorization=AWS4-HMAC-SHA256 Credential=AKIA/x", "'AWS4-HMAC-SHA256 Credential=AKIA/x'"):
        error = refused("IncompleteSignature", f"This is no key=value pair: {header}, Signature=abcdef")
        assert "EC2 says: This is no key=value pair:." in error.message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("explicit deny in a Service Control Policy", ("a Service Control Policy", "the administrator of the AWS")),
        ("an explicit deny in the session policy", ("a session policy", "the issuer")),
        ("because no VPC endpoint policy allows", ("no VPC endpoint policy", "the administrator of the VPC")),
        ("an explicit deny in an odd new kind of policy: x", ("an odd new kind of policy", "the account's")),
        ("no.", ("a policy", "the account's administrator")),
    ],
)
def test_the_kind_of_a_policy(words: str, expected: tuple[str, str]) -> None:
    found = policy(words)
    assert found[0] == expected[0]
    assert found[1].startswith(expected[1])


# --- encoded messages -------------------------------------------------------------------------------------------------


ENCODED = "4Zx_AKIA-" + "aB3-_" * 150
SCP = f"{ON} with an explicit deny in a service control policy. Encoded authorization failure message: {ENCODED}"


def test_an_encoded_message_is_kept_whole_for_the_details_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backend"):
        error = refused("UnauthorizedOperation", SCP, 403)
    assert ENCODED[:9] not in str(error)
    assert "Encoded" not in error.message
    assert error.details == SCP
    assert "aws sts decode-authorization-message" in error.cure
    assert any(ENCODED in record.getMessage() for record in caplog.records)


def test_a_message_that_is_only_encoded_is_decoded_where_it_is_plain() -> None:
    said = {"allowed": False, "explicitDeny": True, "context": {"action": "ec2:CreateTags"}}
    for encode in base64.b64encode, base64.urlsafe_b64encode:
        encoded = encode(json.dumps(said).encode()).decode().rstrip("=")
        error = refused("UnauthorizedOperation", f"No. Encoded authorization failure message: {encoded}", 403)
        assert "an explicit deny in a policy forbids ec2:CreateTags" in error.message
        assert json.dumps(said) in error.details
        assert encoded in error.details


def test_words_that_are_cut_are_whole_in_the_details() -> None:
    words = "word " * 200
    error = refused("InvalidParameterValue", words)
    assert error.message.endswith("….")
    assert error.details.split() == words.split()
    assert refused("InvalidParameterValue", "short").details == ""


def test_details_hold_no_secret() -> None:
    error = refused("UnauthorizedOperation", f"testing-secret {SCP} testing-token", 403)
    assert "testing-secret" not in error.details
    assert "testing-token" not in error.details
    assert ENCODED in error.details


def test_the_journal_keeps_an_encoded_message(cloud: Cloud, cache: Cache, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.answers["RunInstances"] = refusal(403, "UnauthorizedOperation", SCP)
        with pytest.raises(PermissionDeniedError, match="an explicit deny in a service control policy") as raised:
            run(session, "vm boot ami-03cf127a")
        assert "The journal and the log keep" in raised.value.cure
        (entry,) = cache.journal.newest()
        found = cache.journal.entry(entry["_id"]) or {}
    assert (found["outcome"], found["details"]) == ("failed", SCP)
    assert ENCODED not in found["error"]


def test_of_a_listing_and_a_dry_run_the_log_alone_keeps_it() -> None:
    for ask in (
        lambda ec2: every(ec2.of("volume").list()),
        lambda ec2: ec2.of("vm").try_boot(Boot("ami-1", "t3.micro", "token")),
    ):
        with (
            Faults(refusal(403, "UnauthorizedOperation", SCP)) as faults,
            pytest.raises(PermissionDeniedError) as raised,
        ):
            ask(impatient(at(faults)))
        assert "The log keeps EC2's encoded message" in raised.value.cure
