"""The libcloud driver: signs and sends EC2 requests, and returns each answer as a stream of bytes."""

from backend.providers.transport import Answer, Transport  # before libcloud: it prepares libcloud's certificates

# isort: split
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from libcloud.compute.base import NodeDriver
from libcloud.compute.drivers.ec2 import EC2Connection, EC2NodeDriver

from backend.config import Cloud
from backend.providers.ec2.entry import KEY, SECRET, TOKEN
from backend.providers.ec2.hosts import endpoint
from backend.providers.ec2.xml import whole
from backend.providers.failures import Malformed, Refusal
from backend.providers.retry import RetryPolicy
from backend.secret import Secret

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

        Raises ConfigError for a region without a host, and for unusable certificates if TLS is used, and
        CredentialsError for a profile that cannot be read.
        """
        url, region = endpoint(cloud)
        secure, host, port, path = _parts(url)
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

    @property
    def host(self) -> str:
        """The endpoint's host, with its port unless that is 80 or 443."""
        connection = self.connection
        return f"{connection.host}:{connection.port}" if connection.port not in (80, 443) else str(connection.host)

    def use(self, keys: Mapping[str, Secret]) -> None:
        """Sign the next requests with these keys."""
        key, secret, token = (keys[name].reveal() if name in keys else "" for name in (KEY, SECRET, TOKEN))
        connection = self.connection
        connection.user_id = connection.signer.access_key = key
        connection.key = connection.signer.access_secret = secret
        connection.token = token or None

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


def _parts(url: str) -> tuple[bool, str, int, str]:
    """Return whether to use TLS, host, port and path."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return secure, host, parts.port or (443 if secure else 80), parts.path or "/"


def _with_code(value: Any) -> dict[str, Any] | None:
    """Return the element that has a Code: Response/Errors/Error, ErrorResponse/Error or Error."""
    if isinstance(value, dict):
        return value if "Code" in value else next(filter(None, map(_with_code, value.values())), None)
    return None
