"""Sends one request and yields its answer. The wait can be cancelled, and a slow answer ends with an error."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Protocol

from backend.prefetch import prefetch
from backend.providers.failures import Refusal


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

    def send(self, action: str, params: Mapping[str, str]) -> Stream:
        """Send one request, once. Raises Refusal unless it succeeds, and what requests and urllib3 raise."""
        ...

    def hang_up(self) -> None:
        """Abort the answer that is being received; called from another thread."""
        ...


class Exchange:
    """One request and its answer. The driver runs on a thread of its own, and nothing waits for that thread.

    `late` takes the number of bytes received and returns whether the answer is too slow.
    """

    def __init__(self, driver: Driver, action: str, params: Mapping[str, str], late: Callable[[int], bool]) -> None:
        self._driver = driver
        self._action = action
        self._params = params
        self._late = late
        self.received = 0
        """Bytes of the answer that were yielded, decompressed."""
        self.over = False
        """The answer is complete. Before that, the other thread may still use the driver: create another."""

    def chunks(self, check: Callable[[], None]) -> Generator[bytes, None, None]:
        """Yield the answer as it arrives. The caller must close() the generator.

        `check` is called several times a second and may end the wait by raising. Raises Refusal unless the request
        succeeds, TimeoutError if the answer is late, and what requests and urllib3 raise.
        """

        def watch() -> None:
            check()
            if self._late(self.received):
                raise TimeoutError

        try:
            with closing(prefetch(self._answer(), watch)) as coming:
                for chunk in coming:
                    self.received += len(chunk)
                    yield chunk
                    watch()
            self.over = True
        except Refusal:
            self.over = True
            raise
        finally:
            if not self.over:
                self._driver.hang_up()

    def _answer(self) -> Iterator[bytes]:
        answer = self._driver.send(self._action, self._params)
        try:
            yield from answer.chunks()
        finally:
            answer.close()
