"""The HTTP layer under libcloud: answers are streams of bytes; no password from ~/.netrc, no redirects."""

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
"""The most bytes to parse in one step: parsing holds the interpreter, and the screen waits for it."""
ERROR_BODY = 65_536
"""Bytes of an error's body that are read: a proxy may send a page of any length."""


class Answer(Response):  # type: ignore[misc]
    """An answer whose body is still arriving. Raises Refusal unless the request succeeded.

    libcloud's own class reads the whole body, decodes it as ISO-8859-1, and finds no error code if there is an xmlns.
    """

    def __init__(self, response: Any, connection: Any) -> None:  # without super(), which would read the body
        self.connection = connection
        self.status = response.status_code
        self._response = response
        if self.status >= 300:
            try:
                body = b"".join(self._first(ERROR_BODY))
            finally:
                self.close()
            raise self.refusal(self.status, body)

    @staticmethod
    def refusal(status: int, body: bytes) -> Refusal:  # noqa: ARG004
        """Return the error for an answer with `status`; a provider overrides this to read the code in the body."""
        return Refusal(status)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decompressed."""
        yield from self._response.iter_content(CHUNK)

    def close(self) -> None:
        """Return the connection to the pool if the body was read to its end, else close it."""
        self._response.close()

    def _first(self, enough: int) -> Iterator[bytes]:
        """Yield chunks until at least `enough` bytes have come."""
        for chunk in self.chunks():
            yield chunk
            enough -= len(chunk)
            if enough <= 0:
                return


class Transport(LibcloudConnection):  # type: ignore[misc]
    """libcloud's HTTP session without ~/.netrc and redirects."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session.auth = lambda request: request  # else an entry in ~/.netrc replaces our signature
        # Else a redirect would send the session token to another host; and requests reads its whole body, however
        # long, before it checks whether it may follow.
        self.session.resolve_redirects = lambda *_, **__: iter(())

    def set_up(self, *, secure: bool, direct: bool) -> None:
        """Set which certificates are trusted, and whether the environment's proxies are used.

        Raises ConfigError for certificates that cannot be used, if TLS is used.
        """
        self.ca_cert = trust.trusted(os.environ) if secure else None
        self.session.trust_env = not direct

    def hang_up(self) -> None:
        """Abort the answer that is arriving; called from another thread. Before an answer, only a timeout ends it."""
        response = getattr(self, "response", None)
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended, or is that of an earlier request
                response.raw.shutdown()
