"""Where requests go, as the AWS tools choose it: a partition's host, FIPS, dual-stack, or a URL of the settings."""

import re
from typing import TYPE_CHECKING, NamedTuple

from backend.errors import ConfigError
from backend.text import safe

if TYPE_CHECKING:
    from backend.config import Cloud

_FIPS = "fips-"
"""The prefix of a region for its endpoint with validated cryptography, as in the AWS tools."""


def signed_as(region: str) -> str:
    """Return the region for the signature of a request."""
    return region.removeprefix(_FIPS)


class Endpoint(NamedTuple):
    """Where to send requests, and the region to sign them for."""

    url: str
    region: str


def endpoint(cloud: "Cloud", service: str = "ec2") -> Endpoint:
    """Return the endpoint of a service of AWS for a cloud; imports botocore unless the cloud has its own endpoint.

    Raises ConfigError for a region that cannot be a part of a host name, and CredentialsError for a profile that cannot
    be read.
    """
    if cloud.endpoint:
        return Endpoint(cloud.endpoint, cloud.region)
    if not re.fullmatch(r"[a-z0-9-]+", cloud.region):
        raise ConfigError(
            f"Cloud {cloud.name} has {safe(repr(cloud.region))} as its location, which is not a region or an "
            "availability zone.",
            "Write one such as us-east-1 or us-east-1a in cloudmesh.yaml, or set AWS_REGION.",
        )
    from backend.providers.ec2 import chain

    region = signed_as(cloud.region)
    return Endpoint(chain.CHAIN.of(cloud.account).url(service, region, fips=region != cloud.region), region)
