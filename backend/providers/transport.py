"""What libcloud's HTTP is used through: answers as streams of bytes, and nothing that is added behind our back."""

from backend.providers import trust  # before libcloud, which it loads

# isort: split
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from libcloud.common.base import Response
from libcloud.http import LibcloudConnection

from backend.providers.failures import Refusal

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
            raise self.refusal(self.status, body)

    @staticmethod
    def refusal(status: int, body: bytes) -> Refusal:  # noqa: ARG004
        """Return the error that an answer of `status` describes; a provider that reads bodies finds its code there."""
        return Refusal(status)

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

    def set_up(self, *, secure: bool, direct: bool) -> None:
        """Say which certificates are trusted, and whether the environment's proxies are used.

        Raises ConfigError for certificates that cannot be used where TLS is.
        """
        self.ca_cert = trust.trusted(os.environ) if secure else None
        self.session.trust_env = not direct

    def hang_up(self) -> None:
        """Cut off, from another thread, the answer that is being received; one that has not begun ends by itself."""
        response = getattr(self, "response", None)
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended meanwhile
                response.raw.shutdown()
