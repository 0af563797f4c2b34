"""Sends one request and yields its answer: the wait can be cancelled, and no answer trickles for ever."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Protocol

from backend.prefetch import prefetch
from backend.providers.failures import Refusal


class Stream(Protocol):
    """An answer on its way."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, unzipped."""
        ...

    def close(self) -> None: ...


class Driver(Protocol):
    """Signs and sends requests, for one thread."""

    @property
    def host(self) -> str:
        """The endpoint's host."""
        ...

    def send(self, action: str, params: Mapping[str, str]) -> Stream:
        """Send one request, once. Raises Refusal for anything but success, and what requests and urllib3 raise."""
        ...

    def hang_up(self) -> None:
        """Cut off, from another thread, the answer that is being received."""
        ...


class Exchange:
    """One request and its answer. The driver is used on a thread aside, and nothing waits for that thread.

    `late` takes the number of bytes that have come and returns whether that is too few by now.
    """

    def __init__(self, driver: Driver, action: str, params: Mapping[str, str], late: Callable[[int], bool]) -> None:
        self._driver = driver
        self._action = action
        self._params = params
        self._late = late
        self.received = 0
        """Bytes of the answer that were handed out, unzipped."""
        self.over = False
        """The answer has come whole. Until then the driver may be in use on the other thread: take another."""

    def chunks(self, check: Callable[[], None]) -> Generator[bytes, None, None]:
        """Yield the answer as it arrives; close() it.

        `check` is called several times a second and ends the wait by what it raises. Raises Refusal for anything but
        success, TimeoutError for an answer that is late, and whatever requests and urllib3 raise.
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
