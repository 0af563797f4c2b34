"""The host of EC2 in a region, for each of AWS's partitions."""

import re

_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("", "amazonaws.com"),
)
"""The prefix of the regions of a partition, and the domain of its endpoints.

A test compares this table with botocore's endpoint data. To use botocore itself would cost 0.16 s at each start and
90 MB of disk. A region that is newer than the table gets the domain of its partition, as in botocore.
"""

_FIPS = "fips-"
"""The prefix of a region for its endpoint with validated cryptography, as in the AWS tools."""


def is_region(region: str) -> bool:
    """Return whether the name of a region can be a part of a host name."""
    return re.fullmatch(r"[a-z0-9-]+", region) is not None


def host(region: str) -> str:
    """Return the host of EC2 in a region: "ec2.eu-west-1.amazonaws.com"."""
    name = signed_as(region)
    service = "ec2" if name == region else "ec2-fips"
    return f"{service}.{name}.{next(suffix for start, suffix in _SUFFIXES if name.startswith(start))}"


def signed_as(region: str) -> str:
    """Return the region for the signature of a request."""
    return region.removeprefix(_FIPS)
