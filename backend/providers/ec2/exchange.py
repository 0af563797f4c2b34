"""Sends one call and hands out its answer, so that waiting for it can be cancelled and no answer trickles for ever."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing

from backend.prefetch import prefetch
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.errors import Refusal


class Exchange:
    """One call and its answer. The driver is used on a thread aside, and nobody waits for that thread.

    `late` is told how many bytes have come and says whether that is too few by now.
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

        def look() -> None:
            check()
            if self._late(self.received):
                raise TimeoutError

        try:
            with closing(prefetch(self._answer(), look)) as coming:
                for chunk in coming:
                    self.received += len(chunk)
                    yield chunk
                    look()
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
