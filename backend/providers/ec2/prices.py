"""The prices of flavors: from AWS's Price List API with the user's keys, or else from libcloud's list.

Our own sender asks, not botocore's client: it cancels, keeps a deadline, retries and explains as all requests do. Its
client would add half a second of imports and a second set of proxies, certificates and retries.
"""

from backend.providers.transport import Answer, Transport  # before libcloud: it prepares libcloud's certificates

# isort: split
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from libcloud.common.aws import SignedAWSConnection
from libcloud.compute.base import NodeDriver

from backend.callbacks import ignore
from backend.config import Cloud
from backend.errors import CloudError, ConfigError
from backend.providers.ec2 import rules
from backend.providers.ec2.bundled import bundled
from backend.providers.ec2.hosts import signed_as
from backend.providers.ec2.pricelist import FILTERS, PageReader, refused
from backend.providers.ec2.signed import Address, Signed, address
from backend.providers.ec2.words import read
from backend.providers.failures import CloudMessage, Dialect, Malformed, Refusal, Request
from backend.providers.protocol import PriceList
from backend.providers.retry import RetryPolicy
from backend.providers.sender import Sender

ENDPOINT = "AWS_ENDPOINT_URL_PRICING"
"""The variable that names another price list, as in the AWS tools."""

EVERYWHERE = "AWS_ENDPOINT_URL"
"""The variable that names one address for all services, as in the AWS tools; not for a cloud with an `endpoint`."""

_AWS = "amazonaws.com"
_NEAREST = (
    ("cn-", "", ""),  # in yuan
    ("eusc-", "", ""),  # in euros
    ("us-gov-", "", ""),  # has none, and other partitions do not know its keys
    ("us-iso-", "us-iso-east-1", "c2s.ic.gov"),
    ("us-isob-", "us-isob-east-1", "sc2s.sgov.gov"),
    ("us-isof-", "us-isof-south-1", "csp.hci.ic.gov"),
    ("eu-isoe-", "eu-isoe-west-1", "cloud.adc-e.uk"),
    ("ap-", "ap-south-1", _AWS),
    ("eu-", "eu-central-1", _AWS),
    ("me-", "eu-central-1", _AWS),
    ("il-", "eu-central-1", _AWS),
    ("af-", "eu-central-1", _AWS),
    ("", "us-east-1", _AWS),
)
"""The prefix of a region; the nearest region with a price list in USD, and its domain.

A test compares it with botocore's data.
"""

_PAGES = 100
"""The most pages that are asked for: a region has about ten of 100 products."""

SOURCE = "on demand,"

_REQUEST = Request("GetProducts", "Fetching prices")


def nearest(region: str) -> tuple[str, str]:
    """Return the region that has the prices of `region`, and its host; each "" if none has them in USD."""
    there, domain = next(found for start, *found in _NEAREST if region.startswith(start))
    return there, f"api.pricing.{there}.{domain}" if there else ""


class _Answer(Answer):
    """An answer of the Price List API; its errors are JSON."""

    @staticmethod
    def refusal(status: int, body: bytes) -> Refusal:
        return Refusal(status, *refused(body))


class _Connection(SignedAWSConnection):  # type: ignore[misc]
    """A libcloud connection that signs for the Price List API and returns streams."""

    service_name = "pricing"
    responseCls = _Answer
    conn_class = Transport


class Driver(Signed, NodeDriver):  # type: ignore[misc]
    """Signs and sends requests to the Price List API; see backend.providers.exchange.Driver."""

    connectionCls = _Connection
    signature_version = "4"
    name = "Price List"

    def __init__(self, cloud: Cloud, silence: float = RetryPolicy.silence) -> None:
        """Create a driver; `silence` is the timeout in seconds to connect, and between two pieces of an answer.

        Raises ConfigError for an address in the environment that is not one, and for unusable certificates.
        """
        region, known = nearest(signed_as(cloud.region))
        secure, host, port, self.path = _endpoint(cloud, known)
        self.region_name = region or "us-east-1"  # unknown only at an address from the environment
        NodeDriver.__init__(self, "", "", secure=secure, host=host, port=port, timeout=silence)
        self.connection.connection.set_up(secure=secure, direct=cloud.direct)
        self.use(cloud.credentials)

    def _ex_connection_class_kwargs(self) -> dict[str, Any]:
        return {"signature_version": self.signature_version}

    def send(self, action: str, params: Mapping[str, str]) -> Answer:
        """POST one request, once, and return its answer; see `post`."""
        target = f"AWSPriceListService.{action}"
        return self.post(params["body"], {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target})


def _variable(cloud: Cloud) -> str:
    """Return the variable of the environment that names the price list of a cloud, "" if none does."""
    names = (ENDPOINT,) if cloud.endpoint else (ENDPOINT, EVERYWHERE)
    return next((name for name in names if os.environ.get(name)), "")


def _endpoint(cloud: Cloud, known: str) -> Address:
    """Return the address that the environment names, else that of the `known` host.

    Raises ConfigError if the environment names something else.
    """
    variable = _variable(cloud)
    with suppress(ValueError):
        return address(os.environ[variable] if variable else f"https://{known}")
    raise ConfigError(f"{variable} in the environment is not an address.", "Write https:// and a host, or unset it.")


def _read(words: str, request: Request) -> CloudMessage:
    """Return AWS's message; the permission that is missing is one of `pricing`, not of `ec2`."""
    said = read(words, request)
    denied = said.fields["denied"].replace(f"ec2:{request.action}", f"pricing:{request.action}")
    return said._replace(fields={**said.fields, "denied": denied})


_DIALECT = Dialect(rules.RULES, _read)


class Prices:
    """The prices of one cloud and region; see backend.providers.protocol.PriceSource."""

    def __init__(self, cloud: Cloud, policy: RetryPolicy | None = None) -> None:
        self._cloud = cloud
        self._policy = policy
        self._region = signed_as(cloud.region)

    @property
    def key(self) -> str:
        """The address of the list, and the region; "" if none can be fetched."""
        if self.why_not:
            return ""
        _, host, port, _ = _endpoint(
            self._cloud, nearest(self._region)[1]
        )  # not the whole address: it may hold a password
        return f"{host}:{port} {self._region}"

    @property
    def why_not(self) -> str:
        """Why no price list can be fetched, in a sentence; "" if one can."""
        if _variable(self._cloud):
            try:
                _endpoint(self._cloud, "")
            except ConfigError as error:
                return str(error)
            return ""
        if self._cloud.endpoint:
            return f"Cloud {self._cloud.name} has an `endpoint`, so AWS is not asked for its prices."
        return "" if nearest(self._region)[0] else f"AWS has no price list in USD for region {self._region}."

    def fetch(self, check: Callable[[], None]) -> PriceList:
        """Fetch the prices on demand of all flavors, Linux without licences.

        A flavor that has several prices is left out: it is not known which is billed.
        """
        sender = Sender(self._cloud, check, self._policy, ignore, dial=Driver, dialect=_DIALECT)
        found: dict[str, set[float]] = {}
        token = ""
        for _ in range(_PAGES):
            last = token
            page, token = self._page(sender, token)
            for flavor, price in page:
                found.setdefault(flavor, set()).add(price)
            if not token:
                break
            if token == last:
                raise sender.explained(Malformed("it repeats the same page"), _REQUEST)
        else:
            raise sender.explained(Malformed("it does not end"), _REQUEST)
        prices = {flavor: several.pop() for flavor, several in found.items() if len(several) == 1}
        if not prices:
            raise CloudError(f"The price list of {sender.host} has no price in USD for region {self._region}.")
        return PriceList(SOURCE, datetime.now(UTC), prices)

    def fallback(self) -> PriceList:
        """Return libcloud's list."""
        return bundled(self._region)

    def _page(self, sender: Sender, token: str) -> tuple[list[tuple[str, float]], str]:
        """Return the prices on one page, and the token of the next."""
        filters = {"regionCode": self._region, **FILTERS}
        wanted: dict[str, Any] = {
            "ServiceCode": "AmazonEC2",
            "FormatVersion": "aws_v1",
            "MaxResults": 100,
            "Filters": [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()],
        }
        if token:
            wanted["NextToken"] = token
        body = {"body": json.dumps(wanted)}

        def once(began: float, tries: int) -> tuple[list[tuple[str, float]], str]:
            reader = PageReader(self._region)
            return sender.received(_REQUEST, body, reader, began, tries), reader.token

        return sender.repeated(_REQUEST, once)
