"""The libcloud driver that signs and sends our EC2 calls and hands back the answer as a stream of bytes."""

from backend.providers.ec2 import trust  # before libcloud, which it loads

# isort: split
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from libcloud.common.base import Response
from libcloud.compute.base import NodeDriver
from libcloud.compute.drivers.ec2 import EC2Connection, EC2NodeDriver
from libcloud.http import LibcloudConnection

from backend.config import Cloud
from backend.errors import ConfigError
from backend.providers.ec2.entry import KEY, SECRET, TOKEN
from backend.providers.ec2.errors import Refusal
from backend.providers.ec2.hosts import host as host_of
from backend.providers.ec2.hosts import is_region, signed_as
from backend.providers.ec2.xml import Malformed, whole
from backend.providers.retry import RetryPolicy

VERSION = "2016-11-15"
"""Of the EC2 API; libcloud's own is older and lacks tags at creation."""
CHUNK = 65_536
"""Bytes parsed in one go: small enough that the screen's thread gets its turn in between."""


class Answer(Response):  # type: ignore[misc]
    """An answer whose body is still on its way. Raises Refusal for anything but success.

    libcloud's own reads the body whole, decodes it as ISO-8859-1, and finds no error code where there is an xmlns.
    """

    def __init__(self, response: Any, connection: Any) -> None:  # on purpose without super: that would read the body
        self.connection = connection
        self.status = response.status_code
        self._response = response
        if self.status >= 300:
            try:
                body = b"".join(self._until(CHUNK))
            finally:
                self.close()
            raise _refusal(self.status, body)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, unzipped."""
        yield from self._response.iter_content(CHUNK)

    def close(self) -> None:
        """Give the connection back: to the pool when the body was read to its end, else to the operating system."""
        self._response.close()

    def _until(self, most: int) -> Iterator[bytes]:
        for chunk in self.chunks():
            yield chunk
            most -= len(chunk)
            if most <= 0:
                return


class Transport(LibcloudConnection):  # type: ignore[misc]
    """libcloud's HTTP session without what requests would add behind its back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session.auth = lambda request: request  # else an entry in ~/.netrc replaces our signature
        # Else a redirect takes the session token to another host; and requests reads the whole body of one, however
        # long, before it looks whether it may follow.
        self.session.resolve_redirects = lambda *_, **__: iter(())


class Connection(EC2Connection):  # type: ignore[misc]
    """Signs with V4 and answers with streams."""

    version = VERSION
    responseCls = Answer
    conn_class = Transport


class Driver(EC2NodeDriver):  # type: ignore[misc]
    """An EC2NodeDriver for any region and endpoint, always with signature V4. One thread only, as libcloud's are.

    It is used through `send` alone: libcloud's own list_… and create_… read whole answers and leave pages out.
    """

    connectionCls = Connection

    def __init__(self, cloud: Cloud, silence: float = RetryPolicy.silence) -> None:
        """`silence`: seconds to connect, and between two pieces of an answer, after which a call fails.

        Raises ConfigError for a region without a host, and for certificates that cannot be used where TLS is.
        """
        secure, host, port, path = _endpoint(cloud)
        keys = cloud.credentials
        # What EC2NodeDriver.__init__ sets from its table of 23 regions, most of them with signature V2.
        self.region_name = cloud.region if cloud.endpoint else signed_as(cloud.region)
        self.api_name = "ec2"
        self.country = ""
        self.signature_version = "4"
        self.token = keys[TOKEN].reveal() if TOKEN in keys else None
        self.path = path
        key, secret = (keys[name].reveal() if name in keys else "" for name in (KEY, SECRET))
        NodeDriver.__init__(self, key, secret, secure=secure, host=host, port=port, timeout=silence)
        transport = self.connection.connection
        transport.ca_cert = trust.trusted(os.environ) if secure else None
        transport.session.trust_env = not cloud.direct

    @property
    def host(self) -> str:
        """The endpoint's host, with its port where that is not the usual one."""
        connection = self.connection
        return f"{connection.host}:{connection.port}" if connection.port not in (80, 443) else str(connection.host)

    def send(self, action: str, params: Mapping[str, str]) -> Answer:
        """POST one call, once, and return its answer; close() it.

        Everything is in the signed body: nothing of it ends in URLs and proxies' logs. Raises Refusal, and whatever
        requests and urllib3 raise.
        """
        return self.connection.request(  # type: ignore[no-any-return]
            self.path,
            method="POST",
            data=urlencode({"Action": action, "Version": VERSION, **params}),
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            stream=True,
            retry_failed=False,  # whatever LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS says: not every call may be repeated
        )

    def hang_up(self) -> None:
        """Cut off, from another thread, the answer that is being received; one that has not begun ends by itself."""
        response = getattr(self.connection.connection, "response", None)
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended meanwhile
                response.raw.shutdown()


def _endpoint(cloud: Cloud) -> tuple[bool, str, int, str]:
    """Return whether to use TLS, host, port and path. Raises ConfigError for a region that no host can be made of."""
    if cloud.endpoint:
        parts = urlsplit(cloud.endpoint)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return secure, host, parts.port or (443 if secure else 80), parts.path or "/"
    if not is_region(cloud.region):
        raise ConfigError(
            f"Cloud {cloud.name} has {cloud.region!r} as its location, which is not a region or an availability zone.",
            "Write one such as us-east-1 or us-east-1a in cloudmesh.yaml, or in AWS_REGION where that names none.",
        )
    return True, host_of(cloud.region), 443, "/"


def _refusal(status: int, body: bytes) -> Refusal:
    """Return the error that an answer of `status` describes; its code is "" where the body is not EC2's."""
    try:
        said = whole(body)
    except Malformed:
        said = {}
    error = _with_code(said) or {}
    request = said.get("RequestID") or said.get("RequestId")  # EC2's word, and moto's
    return Refusal(status, *(str(found or "") for found in (error.get("Code"), error.get("Message"), request)))


def _with_code(value: Any) -> dict[str, Any] | None:
    """Return the element that has a Code: Response/Errors/Error, ErrorResponse/Error, or Error alone."""
    if isinstance(value, dict):
        return value if "Code" in value else next(filter(None, map(_with_code, value.values())), None)
    return None
