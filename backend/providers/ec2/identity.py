"""Who the keys of a cloud make you: asked of STS once, with the alias of the account where that may be read."""

import threading
import time
from collections.abc import Callable
from functools import partial

from botocore.config import Config

from backend.account import Account, Identity
from backend.config import Cloud
from backend.errors import CloudmeshError
from backend.log import logger
from backend.providers.ec2.chain import CHAIN, Chain
from backend.providers.ec2.entry import KEY
from backend.providers.ec2.hosts import signed_as
from backend.secret import Secret
from backend.text import safe

AGAIN_AFTER = 300.0
"""Seconds before it is asked again after a failure."""

_QUICK = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
"""A command waits for the answer, and can do without."""

_Key = tuple[str | None, Account | Secret | None]
"""The endpoint of a cloud, and its account or its key."""


class Identities:
    """Who each account of a process is. `clock` gives the seconds since some moment."""

    def __init__(self, chain: Chain, clock: Callable[[], float] = time.monotonic) -> None:
        self._chain = chain
        self._clock = clock
        self._known: dict[_Key, Identity] = {}
        self._failed: dict[_Key, float] = {}
        self._locks: dict[_Key, threading.Lock] = {}

    def of(self, cloud: Cloud) -> Identity | None:
        """Return who the keys of a cloud make you; None if STS cannot say, or is not known where EC2 is.

        A cloud with an endpoint of its own has an STS only if the settings of the AWS tools name it.
        """
        key = cloud.endpoint, cloud.account or cloud.credentials.get(KEY)
        with self._locks.setdefault(key, threading.Lock()):  # one thread asks, and all others use its answer
            failed = self._failed.get(key)
            if key in self._known or (failed is not None and self._clock() - failed < AGAIN_AFTER):
                return self._known.get(key)
            try:
                found, why = self._asked(cloud), "STS is not known there"
            except CloudmeshError as error:  # a request of the user shows it
                found, why = None, error.message
            except Exception as error:  # noqa: BLE001 - botocore's may hold keys
                found, why = None, type(error).__name__
            if found is None:
                logger.info("the account of cloud %s is not known: %s", cloud.name, safe(why))
                self._failed[key] = self._clock()
            else:
                self._known[key] = found
            return found

    def forget(self) -> None:
        """Ask again: the user has logged in, maybe as another role."""
        self._known.clear()
        self._failed.clear()

    def renewed(self, account: Account) -> None:
        """Ask again who this account is: it gets other keys. Where that was not known, it is not asked earlier."""
        for key in [key for key in self._known if key[1] == account]:
            self._known.pop(key, None)

    def _asked(self, cloud: Cloud) -> Identity | None:
        keys = self._chain.of(cloud.account)
        if cloud.endpoint and not keys.configured("sts"):
            return None
        ask = partial(keys.client, region=signed_as(cloud.region), keys=cloud.credentials or None, config=_QUICK)
        said = ask("sts").get_caller_identity()
        try:
            aliases = ask("iam").list_account_aliases()["AccountAliases"]
        except Exception:  # noqa: BLE001 - few may read the alias
            aliases = []
        return Identity(said["Account"], said["Arn"], role_of(said["Arn"]), aliases[0] if aliases else "")


IDENTITIES = Identities(CHAIN)
"""Those of this process."""


def role_of(arn: str) -> str:
    """Return the role or user in an ARN; roles of SSO without what AWS has added to their names."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind != "assumed-role":
        return rest.rpartition("/")[2] or kind
    name = rest.partition("/")[0]
    return name.removeprefix("AWSReservedSSO_").rpartition("_")[0] if name.startswith("AWSReservedSSO_") else name
