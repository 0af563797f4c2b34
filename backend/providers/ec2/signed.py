"""What the libcloud drivers of AWS's services share: the keys of a request, sending it, and the parts of an address."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from backend.providers.ec2.entry import KEY, SECRET, TOKEN
from backend.providers.transport import Answer
from backend.secret import Secret


class Signed:
    """A part of a driver whose connection signs; see backend.providers.exchange.Driver."""

    connection: Any
    path: str

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

    def post(self, data: str, headers: Mapping[str, str]) -> Answer:
        """POST one request, once, and return its answer. The caller must close() it.

        Raises Refusal, and what requests and urllib3 raise.
        """
        return self.connection.request(  # type: ignore[no-any-return]
            self.path,
            method="POST",
            data=data,
            headers=dict(headers),
            stream=True,
            retry_failed=False,  # overrides LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS: not every request may be repeated
        )

    def hang_up(self) -> None:
        """Abort the answer that is being received; called from another thread."""
        self.connection.connection.hang_up()


class Address(NamedTuple):
    """The parts of a URL that a connection needs."""

    secure: bool
    host: str
    port: int
    path: str


def address(url: str) -> Address:
    """Return the parts of a URL. Raises ValueError if it has no host, or a wrong host or port."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("it is no URL of a host")
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(secure, host, parts.port or (443 if secure else 80), parts.path or "/")
