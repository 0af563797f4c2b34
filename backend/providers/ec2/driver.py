"""The libcloud driver: signs and sends EC2 requests, and returns each answer as a stream of bytes."""

from backend.providers.transport import Answer, Transport  # before libcloud: it prepares libcloud's certificates

# isort: split
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from libcloud.compute.base import NodeDriver
from libcloud.compute.drivers.ec2 import EC2Connection, EC2NodeDriver

from backend.config import Cloud
from backend.errors import ConfigError
from backend.providers.ec2.entry import KEY, SECRET, TOKEN
from backend.providers.ec2.hosts import host as host_of
from backend.providers.ec2.hosts import is_region, signed_as
from backend.providers.ec2.xml import whole
from backend.providers.failures import Malformed, Refusal
from backend.providers.retry import RetryPolicy

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


class Driver(EC2NodeDriver):  # type: ignore[misc]
    """An EC2NodeDriver for any region and endpoint, always with signature V4. For one thread, as all libcloud drivers.

    Use only `send`: libcloud's own list_… and create_… methods read whole answers and skip pages.
    """

    connectionCls = Connection

    def __init__(self, cloud: Cloud, silence: float = RetryPolicy.silence) -> None:
        """Create a driver; `silence` is the timeout in seconds to connect, and between two pieces of an answer.

        Raises ConfigError for a region without a host, and for unusable certificates if TLS is used.
        """
        secure, host, port, path = _endpoint(cloud)
        keys = cloud.credentials
        # EC2NodeDriver.__init__ would set these from its table of 23 regions, most of them with signature V2.
        self.region_name = cloud.region if cloud.endpoint else signed_as(cloud.region)
        self.api_name = "ec2"
        self.country = ""
        self.signature_version = "4"
        self.token = keys[TOKEN].reveal() if TOKEN in keys else None
        self.path = path
        key, secret = (keys[name].reveal() if name in keys else "" for name in (KEY, SECRET))
        NodeDriver.__init__(self, key, secret, secure=secure, host=host, port=port, timeout=silence)
        self.connection.connection.set_up(secure=secure, direct=cloud.direct)

    @property
    def host(self) -> str:
        """The endpoint's host, with its port unless that is 80 or 443."""
        connection = self.connection
        return f"{connection.host}:{connection.port}" if connection.port not in (80, 443) else str(connection.host)

    def send(self, action: str, params: Mapping[str, str]) -> Answer:
        """POST one request, once, and return its answer. The caller must close() it.

        All parameters are in the signed body, so that none gets into URLs or logs of proxies. Raises Refusal, and what
        requests and urllib3 raise.
        """
        return self.connection.request(  # type: ignore[no-any-return]
            self.path,
            method="POST",
            data=urlencode({"Action": action, "Version": VERSION, **params}),
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            stream=True,
            retry_failed=False,  # overrides LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS: not every request may be repeated
        )

    def hang_up(self) -> None:
        """Abort the answer that is being received; called from another thread."""
        self.connection.connection.hang_up()


def _endpoint(cloud: Cloud) -> tuple[bool, str, int, str]:
    """Return whether to use TLS, host, port and path. Raises ConfigError for a region that cannot be a host name."""
    if cloud.endpoint:
        parts = urlsplit(cloud.endpoint)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return secure, host, parts.port or (443 if secure else 80), parts.path or "/"
    if not is_region(cloud.region):
        raise ConfigError(
            f"Cloud {cloud.name} has {cloud.region!r} as its location, which is not a region or an availability zone.",
            "Write one such as us-east-1 or us-east-1a in cloudmesh.yaml, or set AWS_REGION.",
        )
    return True, host_of(cloud.region), 443, "/"


def _with_code(value: Any) -> dict[str, Any] | None:
    """Return the element that has a Code: Response/Errors/Error, ErrorResponse/Error or Error."""
    if isinstance(value, dict):
        return value if "Code" in value else next(filter(None, map(_with_code, value.values())), None)
    return None
