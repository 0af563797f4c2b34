"""The failures of EC2 requests: what each one means and what to do about it."""

import re

from backend.errors import (
    CloudError,
    CredentialsError,
    ExpiredError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
)
from backend.providers.rules import LATER, ON_THE_WAY, Rule, Rules

_EXPLICIT = r"explicit(?:ly)? den(?:y|ied)|\"explicitDeny\"\s*:\s*true"
"""A policy forbids the action; else none allows it. The second form is from a decoded authorization message."""
_IMPLICIT = r"because no(?: \w[\w-]*){1,5}? (?:policy|boundary) allows"

_KEYS = "Check {keys}"
_DENIED = ("UnauthorizedOperation", "AccessDenied*", "UnauthorizedAccess", "NotAuthorized")
_UNKNOWN_KEYS = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClient*", "MissingAuthenticationToken")
_SIGNATURE = ("SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignature*")
_ITS_OWN = ("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout", "HTTP 5??")

_ABSENT = Rule(CloudError, "{host} does not offer {action}", "Check {setting}.")
_CLOCK = Rule(CredentialsError, "EC2 says that the time of the request is wrong", "Set this computer's clock.")
_EXPIRED = Rule(ExpiredError, "the session token has expired", "Get new temporary keys and {give}.")
_SKEW = r"signature (?:has )?expired|signature not yet current|too skewed|skewed time|clock"

RULES: Rules = (
    # --- what EC2 answers: its code, else "HTTP" and the status -----------------------------------------------------
    ((*_UNKNOWN_KEYS, *_SIGNATURE), _CLOCK._replace(words=_SKEW)),
    (("RequestTimeTooSkewed", "InvalidRequestTime"), _CLOCK),
    (
        ("RequestExpired",),  # EC2's code for both
        Rule(
            ExpiredError,
            "EC2 says that the request or the session token has expired",
            "Set this computer's clock. If the keys are temporary, get new ones and {give}.",
        ),
    ),
    (("ExpiredToken*",), _EXPIRED),
    (_UNKNOWN_KEYS, _EXPIRED._replace(words=r"token\b.{0,40}\bexpired|expired token")),
    (
        ("AuthFailure",),
        Rule(
            PermissionDeniedError,
            "this account may not use the image",
            "Ask the image's owner to share it with the account, or boot another one.",
            words=r"not authorized for images?\b|not authorized to use .*\bami\b|\bami-\w+.*not (?:shared|authorized)",
        ),
    ),
    (
        ("AuthFailure",),
        Rule(
            PermissionDeniedError,
            "this account may not use an object in the request",
            "Ask the owner to share it with the account, or choose another one.",
            words=r"not authorized|unauthorized|permission|do(?:es)? not own|not (?:the|its) owner|owned by"
            r"|cannot access|may not access|not shared",
        ),
    ),
    (
        _UNKNOWN_KEYS,
        Rule(
            CredentialsError,
            "EC2 does not know these keys in this region",
            _KEYS + " (temporary keys need EC2_SESSION_TOKEN too), that the account has enabled {region}, and this "
            "computer's clock.",
        ),
    ),
    (
        _SIGNATURE,
        Rule(
            CredentialsError,
            "the signature does not match: the secret key or this computer's clock is wrong",
            _KEYS + ", and the clock.",
        ),
    ),
    (("HTTP 401",), Rule(CredentialsError, "{host} does not accept the keys (HTTP 401)", _KEYS + ".")),
    (
        _DENIED,
        Rule(
            PermissionDeniedError,
            "the keys are valid, but an explicit deny in {policy} forbids {denied}",
            "Another policy cannot override this: ask {who} to change it.",
            words=_EXPLICIT,
        ),
    ),
    (
        _DENIED,
        Rule(
            PermissionDeniedError,
            "the keys are valid, but {policy} allows {denied}",
            "Ask {who} to allow {denied} there.",
            words=_IMPLICIT,
        ),
    ),
    (
        _DENIED,
        Rule(
            PermissionDeniedError,
            "the keys are valid but may not do {denied}",
            "Ask the account's administrator to allow {denied}.",
        ),
    ),
    (
        ("OptInRequired",),
        Rule(
            PermissionDeniedError,
            "the account has not subscribed to the image in AWS Marketplace",
            "Accept its terms at the address that EC2 names, then repeat this.",
            words="marketplace|accept (?:the )?terms",
        ),
    ),
    (
        ("OptInRequired",),
        Rule(
            PermissionDeniedError,
            "the account has not enabled this service or the region {region}",
            "Enable it in the account settings at AWS; it takes effect within minutes.",
        ),
    ),
    (
        ("PendingVerification",),
        Rule(
            PermissionDeniedError,
            "AWS is still verifying the account in {region}",
            "Wait for AWS's message that it is verified, then try again; after four hours, contact AWS.",
        ),
    ),
    (
        ("Blocked",),
        Rule(
            PermissionDeniedError,
            "AWS has blocked the account",
            "Only AWS can unblock it: the owner of the account must contact AWS.",
        ),
    ),
    (
        ("OperationNotPermitted",),
        Rule(
            PermissionDeniedError,
            "it is protected from being stopped",
            "Set its disableApiStop to false first; this program cannot do that.",
            words="disableApiStop|stop protection",
        ),
    ),
    (
        ("OperationNotPermitted",),
        Rule(
            PermissionDeniedError,
            "it is protected",
            "Remove the protection first: vm unprotect.",
            words="disableApiTermination|termination protection|may not be terminated",
        ),
    ),
    (
        ("OperationNotPermitted",),
        Rule(PermissionDeniedError, "EC2 does not permit that for this object", "Follow EC2's message."),
    ),
    (
        ("HTTP 403",),
        Rule(PermissionDeniedError, "{host} refuses without saying why (HTTP 403)", _KEYS + ", and any proxy."),
    ),
    (
        ("InvalidPermission.Duplicate",),
        Rule(CloudError, "the security group has that rule already", "Refresh to see its rules."),
    ),
    (
        ("InvalidPermission.NotFound",),
        Rule(CloudError, "the security group has no such rule", "Refresh to see its rules."),
    ),
    (
        ("DependencyViolation", "InvalidGroup.InUse"),
        Rule(
            CloudError,
            "something still uses it",
            "For a security group that is a VM, another network interface, such as a load balancer's, or a rule of "
            "another group: take it from there first.",
        ),
    ),
    (("CannotDelete",), Rule(CloudError, "EC2 never deletes the default group of a network", "Leave it as it is.")),
    (("InvalidGroup.Reserved",), Rule(CloudError, "EC2 keeps that name for itself", "Choose another name.")),
    (
        ("VPCIdNotSpecified",),
        Rule(CloudError, "there is no default network (VPC) here", "Name one with --network VPC."),
    ),
    (
        ("RulesPerSecurityGroupLimitExceeded",),
        Rule(CloudError, "the security group has as many rules as it may have", "Close a port, or ask AWS for more."),
    ),
    (
        ("*.NotFound", "*.Malformed", "InvalidAMIID.Unavailable", "InvalidZone*"),
        Rule(NotFoundError, "an object in the request does not exist here", "Refresh to see what there is."),
    ),
    (("*.Duplicate",), Rule(CloudError, "the name is taken", "Choose another name.")),
    (
        ("IncorrectInstanceState", "IncorrectState", "IncorrectSpotInstanceRequestState", "VolumeInUse"),
        Rule(CloudError, "its state does not allow that", "Refresh to see its state."),
    ),
    (
        ("InsufficientInstanceCapacity", "InsufficientHostCapacity", "Unsupported", "InsufficientVolumeCapacity"),
        Rule(CloudError, "EC2 cannot offer that here", "Choose another location or flavor."),
    ),
    (
        ("RequestLimitExceeded", "*Throttl*", "SlowDown", "BandwidthLimitExceeded", "RequestResourceCountExceeded"),
        Rule(TransientError, "EC2 limits the number of requests (throttling)", LATER, brief="throttled", quote=False),
    ),
    (
        ("*LimitExceeded", "MaxSpotInstanceCountExceeded"),
        Rule(CloudError, "a limit of the account is reached", "Delete something or ask AWS for more."),
    ),
    (
        ("InvalidAction", "UnknownAction", "UnknownOperation*", "ActionNotSupported", "NotImplemented*", "HTTP 501"),
        _ABSENT,
    ),
    (
        ("UnsupportedOperation", "InvalidOperation", *_ITS_OWN),
        _ABSENT._replace(
            words=r"\bnot (?:yet )?(?:been )?implemented|unknown (?:action|operation)|^unsupported operation\.?$"
            r"|not (?:valid for|recogni[sz]ed by|known to|supported by) this (?:web )?(?:service|endpoint|cloud|server)"
        ),
    ),
    (
        ("UnsupportedOperation", "InvalidOperation", "Unsupported?*"),
        Rule(
            CloudError,
            "EC2 does not support that for this object in its current state",
            "EC2's message says why: change that, or choose another way.",
        ),
    ),
    (
        ("HTTP 429",),
        Rule(TransientError, "{host} limits the number of requests (throttling)", LATER, brief="throttled"),
    ),
    (
        _ITS_OWN,
        Rule(
            TransientError,
            "{host} has an internal error (HTTP {status})",
            LATER,
            brief="EC2 has an internal error",
            maybe_done=True,
        ),
    ),
    (
        ("HTTP 404", "HTTP 405", "HTTP 3??"),
        Rule(CloudError, "{host} does not answer as EC2 does", "Check {setting}."),
    ),
    (("HTTP *",), Rule(CloudError, "EC2 refuses ({name})", "Check the request.")),
    *ON_THE_WAY,
)
"""The first rule counts whose pattern matches the name of a failure, and whose words match the cloud's message."""

_WHO = {
    "service control policy": "the administrator of the AWS organization",
    "resource control policy": "the administrator of the AWS organization",
    "permissions boundary": "the account's administrator, who sets the boundary of this user or role,",
    "session policy": "the issuer of these temporary keys",
    "vpc endpoint policy": "the administrator of the VPC endpoint",
    "resource-based policy": "the owner of the resource",
}
"""Who can change each kind of policy; for all others, the account's administrator."""

_POLICY = re.compile(r"(explicit deny in|because no)((?: \w[\w-]*){1,5}? (?:policy|boundary))", re.IGNORECASE)


def policy(words: str) -> tuple[str, str]:
    """Return the kind of policy that denies a request, as part of a sentence, and who can change it."""
    found = _POLICY.search(words)
    if not found:
        return "a policy", "the account's administrator"
    kind = re.sub("^(?:an?|the) ", "", found[2].strip(), flags=re.IGNORECASE)
    article = "no" if found[1].lower().endswith("no") else "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{article} {kind}", _WHO.get(kind.lower(), "the account's administrator")
