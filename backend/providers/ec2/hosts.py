"""Says at which host EC2 answers for a region, in each of AWS's partitions."""

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
"""How the regions of a partition begin, and the domain of its endpoints.

A test holds this table to all of botocore's endpoint data. botocore itself would cost each start 0.16 s and 90 MB of
disk for these seven lines. A region that is newer than the table has the domain of its partition, as in botocore.
"""

_FIPS = "fips-"
"""How a location begins that means a region's endpoint with validated cryptography, as the AWS tools have it."""


def is_region(region: str) -> bool:
    """Return whether a host can be made of a region's name."""
    return re.fullmatch(r"[a-z0-9-]+", region) is not None


def host(region: str) -> str:
    """Return the host of EC2 in a region: "ec2.eu-west-1.amazonaws.com"."""
    name = signed_as(region)
    service = "ec2" if name == region else "ec2-fips"
    return f"{service}.{name}.{next(suffix for start, suffix in _SUFFIXES if name.startswith(start))}"


def signed_as(region: str) -> str:
    """Return the region that a request's signature names."""
    return region.removeprefix(_FIPS)
