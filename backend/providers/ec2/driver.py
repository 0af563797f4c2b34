"""The libcloud driver: signs and sends EC2 requests, and returns each answer as a stream of bytes."""

from backend.providers.transport import Answer, Transport  # before libcloud: it prepares libcloud's certificates

# isort: split
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from libcloud.compute.base import NodeDriver
from libcloud.compute.drivers.ec2 import EC2Connection, EC2NodeDriver

from backend.config import Cloud
from backend.errors import ConfigError
from backend.providers.ec2.hosts import endpoint
from backend.providers.ec2.signed import Signed, address
from backend.providers.ec2.xml import whole
from backend.providers.failures import Malformed, Refusal
from backend.providers.retry import RetryPolicy
from backend.text import safe

VERSION = "2016-11-15"
"""The version of the EC2 API; libcloud's default is older and lacks tags at creation."""


class EC2Answer(Answer):
    """An answer of EC2; its errors have a code and a message."""

    @staticmethod
    def refusal(status: int, body: bytes) -> Refusal:
        """Return the error for an answer with `status`; its code is "" if the body is not EC2's."""
        try:
            said = whole(body)
        except Malformed:
            said = {}
        error = _with_code(said) or {}
        request = said.get("RequestID") or said.get("RequestId")  # EC2's name, and moto's
        return Refusal(status, *(str(found or "") for found in (error.get("Code"), error.get("Message"), request)))


class Connection(EC2Connection):  # type: ignore[misc]
    """A libcloud connection that signs with V4 and returns streams."""

    version = VERSION
    responseCls = EC2Answer
    conn_class = Transport


class Driver(Signed, EC2NodeDriver):  # type: ignore[misc]
    """An EC2NodeDriver for any region and endpoint, always with signature V4. For one thread, as all libcloud drivers.

    Use only `send`: libcloud's own list_… and create_… methods read whole answers and skip pages.
    """

    connectionCls = Connection

    def __init__(self, cloud: Cloud, silence: float = RetryPolicy.silence) -> None:
        """Create a driver; `silence` is the timeout in seconds to connect, and between two pieces of an answer.

        Raises ConfigError for a region without a host, an endpoint that is not an address, and unusable certificates if
        TLS is used; CredentialsError for a profile that cannot be read.
        """
        url, region = endpoint(cloud)
        try:
            secure, host, port, path = address(url)
        except ValueError:
            raise ConfigError(
                f"Cloud {cloud.name} has the endpoint {safe(repr(url))}, which is not an address.",
                "Correct it where it is set: in cloudmesh.yaml, in AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_EC2, or in the "
                "profile.",
            ) from None
        # EC2NodeDriver.__init__ would set these from its table of 23 regions, most of them with signature V2.
        self.region_name = region
        self.api_name = "ec2"
        self.country = ""
        self.signature_version = "4"
        self.token = None  # it would be signed for good: see `use`
        self.path = path
        NodeDriver.__init__(self, "", "", secure=secure, host=host, port=port, timeout=silence)
        self.connection.connection.set_up(secure=secure, direct=cloud.direct)
        self.use(cloud.credentials)

    def send(self, action: str, params: Mapping[str, str]) -> Answer:
        """POST one request, once, and return its answer; see `post`.

        All parameters are in the signed body, so that none gets into URLs or logs of proxies.
        """
        body = urlencode({"Action": action, "Version": VERSION, **params})
        return self.post(body, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})


def _with_code(value: Any) -> dict[str, Any] | None:
    """Return the element that has a Code: Response/Errors/Error, ErrorResponse/Error or Error."""
    if isinstance(value, dict):
        return value if "Code" in value else next(filter(None, map(_with_code, value.values())), None)
    return None
