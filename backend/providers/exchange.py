"""Sends one request and parses its answer. The wait can be cancelled, and a slow answer ends with an error."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol

from backend.prefetch import prefetch
from backend.providers.failures import Malformed, Refusal
from backend.secret import Secret


class Stream(Protocol):
    """An answer that is still arriving."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decompressed."""
        ...

    def close(self) -> None: ...


class Driver(Protocol):
    """Signs and sends requests, for one thread."""

    @property
    def host(self) -> str:
        """The endpoint's host."""
        ...

    def use(self, keys: Mapping[str, Secret]) -> None:
        """Sign the next requests with these keys."""
        ...

    def send(self, action: str, params: Mapping[str, str]) -> Stream:
        """Send one request, once. Raises Refusal unless it succeeds, and what requests and urllib3 raise."""
        ...

    def hang_up(self) -> None:
        """Abort the answer that is being received; called from another thread."""
        ...


class Reader(Protocol):
    """Parses the bytes of one answer, piece by piece. Raises Malformed."""

    def feed(self, data: bytes) -> list[Any]: ...
    def close(self) -> list[Any]: ...
    @property
    def request(self) -> str:
        """The cloud's id of the request, or ""."""
        ...


class Exchange:
    """One request and its answer. Driver and reader run on a thread of their own; nothing waits for its end.

    The answer is read and parsed on one thread: handing over each piece to another would cost more than parsing it.
    `late` takes the number of bytes received and returns whether the answer is too slow.
    """

    def __init__(
        self,
        driver: Driver,
        reader: Reader,
        action: str,
        params: Mapping[str, str],
        late: Callable[[int], bool],
    ) -> None:
        self._driver = driver
        self._reader = reader
        self._action = action
        self._params = params
        self._late = late
        self._abandoned = False
        self.received = 0
        """Bytes of the answer that were parsed, decompressed."""
        self.over = False
        """Whether the answer, or the cloud's refusal, is complete. If not, the thread may still use the driver."""

    def items(self, check: Callable[[], None]) -> list[Any]:
        """Return the items that the reader parses from the answer.

        `check` is called several times a second and may end the wait by raising. Raises Refusal unless the request
        succeeds, Malformed for an answer that cannot be read, TimeoutError if it is late, and what requests and
        urllib3 raise.
        """

        def watch() -> None:
            check()
            if self._late(self.received):
                raise TimeoutError

        try:
            with closing(prefetch(self._answer(), watch)) as answers:
                items = next(answers)  # `_answer` yields once
            self.over = True
        except Refusal:
            self.over = True
            raise
        finally:
            if not self.over:
                self._abandoned = True
                self._driver.hang_up()
        return items

    def _answer(self) -> Iterator[list[Any]]:
        """Yield all items of the answer at once; a generator, because `prefetch` runs it on a thread."""
        items: list[Any] = []
        answer = self._driver.send(self._action, self._params)
        try:
            for chunk in answer.chunks():
                if self._abandoned:
                    return  # `items` has raised
                self.received += len(chunk)
                items += self._reader.feed(chunk)
        finally:
            answer.close()
        if not self.received:
            raise Malformed("it is empty")
        items += self._reader.close()
        yield items
