"""Who the keys of a cloud make you: asked of STS once, with the alias of the account where that may be read."""

import threading
import time
from collections.abc import Callable

from backend.account import Account, Identity
from backend.config import Cloud
from backend.errors import CloudmeshError
from backend.log import logger
from backend.providers.ec2.chain import CHAIN
from backend.providers.ec2.entry import KEY
from backend.providers.ec2.hosts import signed_as
from backend.secret import Secret

_AGAIN_AFTER = 60.0
"""Seconds before it is asked again after a failure."""

_Key = Account | Secret | None

_known: dict[_Key, Identity] = {}
_failed: dict[_Key, float] = {}
_lock = threading.Lock()


def identity(cloud: Cloud, check: Callable[[], None]) -> Identity | None:
    """Return who the keys of a cloud make you; None if STS cannot say, or is not known where EC2 is.

    A cloud with an endpoint of its own has an STS only if the settings of the AWS tools name it.
    """
    key = cloud.account or cloud.credentials.get(KEY)
    with _lock:  # one thread asks, and all others use its answer
        if key in _known or time.monotonic() - _failed.get(key, -_AGAIN_AFTER) < _AGAIN_AFTER:
            return _known.get(key)
        check()
        try:
            found = _asked(cloud)
        except CloudmeshError as error:  # a request of the user will show it
            logger.info("who the keys of cloud %s are is not known: %s", cloud.name, error)
            found = None
        except Exception as error:  # noqa: BLE001 - botocore's may hold keys
            logger.info("who the keys of cloud %s are is not known: %s", cloud.name, type(error).__name__)
            found = None
        if found is None:
            _failed[key] = time.monotonic()
        else:
            _known[key] = found
        return found


def _asked(cloud: Cloud) -> Identity | None:
    keys = CHAIN.of(cloud.account)
    if cloud.endpoint and not keys.configured("sts"):
        return None
    credentials = cloud.credentials if cloud.account is None else None
    region = signed_as(cloud.region)
    said = keys.client("sts", region, credentials).get_caller_identity()
    try:
        aliases = keys.client("iam", region, credentials).list_account_aliases()["AccountAliases"]
    except Exception:  # noqa: BLE001 - the alias may be read by few
        aliases = []
    return Identity(said["Account"], said["Arn"], role_of(said["Arn"]), aliases[0] if aliases else "")


def role_of(arn: str) -> str:
    """Return the role or user in an ARN; roles of SSO without what AWS has added to their names."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind != "assumed-role":
        return rest.rpartition("/")[2] or kind
    name = rest.partition("/")[0]
    return name.removeprefix("AWSReservedSSO_").rpartition("_")[0] if name.startswith("AWSReservedSSO_") else name
