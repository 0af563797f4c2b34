"""An exchange: its answer is parsed on another thread, and an abandoned one does no more harm."""

import threading
from collections.abc import Iterator, Mapping

import pytest

from backend.callbacks import ignore
from backend.errors import Cancelled
from backend.providers.exchange import Exchange
from backend.providers.failures import Malformed, Refusal
from backend.secret import Secret

SECONDS = 10


class Answer:
    """Yields its chunks; before each one after the first it waits for `more`."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.more = threading.Semaphore(0)
        self.closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        for number, chunk in enumerate(self._chunks):
            assert number == 0 or self.more.acquire(timeout=SECONDS)
            yield chunk

    def close(self) -> None:
        self.closed.set()


class Driver:
    """Returns one answer, or raises a refusal."""

    host = "example.org"

    def __init__(self, answer: Answer | Refusal) -> None:
        self._answer = answer
        self.hung_up = False

    def use(self, keys: Mapping[str, Secret]) -> None: ...

    def send(self, action: str, params: Mapping[str, str]) -> Answer:  # noqa: ARG002
        if isinstance(self._answer, Refusal):
            raise self._answer
        return self._answer

    def hang_up(self) -> None:
        self.hung_up = True


class Reader:
    """Makes an item of each piece and one of the end."""

    request = "r-1"

    def __init__(self) -> None:
        self.fed = threading.Semaphore(0)
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        if data == b"bad":
            raise Malformed("it is bad")
        self.pieces.append(data)
        self.fed.release()
        return [data]

    def close(self) -> list[bytes]:
        return [b"end"]


def never(_received: int) -> bool:
    return False


def exchange(driver: Driver, reader: Reader) -> Exchange:
    return Exchange(driver, reader, "List", {}, never)


def test_the_items_of_all_pieces_and_of_the_end_are_returned() -> None:
    answer, reader = Answer(b"one", b"three"), Reader()
    answer.more.release()
    driver = Driver(answer)
    one = exchange(driver, reader)
    assert one.items(ignore) == [b"one", b"three", b"end"]
    assert (one.received, one.over, driver.hung_up) == (8, True, False)
    assert answer.closed.is_set()


def test_a_cancelled_answer_is_not_parsed_any_further() -> None:
    answer, reader = Answer(b"one", b"two", b"three"), Reader()
    driver = Driver(answer)
    one = exchange(driver, reader)

    def check() -> None:
        assert reader.fed.acquire(timeout=SECONDS)  # half of the answer is parsed
        raise Cancelled

    with pytest.raises(Cancelled):
        one.items(check)
    assert (one.over, driver.hung_up) == (False, True)
    answer.more.release(2)  # the socket had more in its buffer
    assert answer.closed.wait(SECONDS)
    assert reader.pieces == [b"one"]


def test_a_late_answer_ends_with_a_timeout() -> None:
    answer, reader = Answer(b"one", b"two"), Reader()
    driver = Driver(answer)
    one = Exchange(driver, reader, "List", {}, lambda received: received == len(b"one"))
    with pytest.raises(TimeoutError):
        one.items(ignore)
    assert driver.hung_up
    answer.more.release()
    assert answer.closed.wait(SECONDS)


@pytest.mark.parametrize(("chunks", "why"), [((), "it is empty"), ((b"bad",), "it is bad")])
def test_an_answer_that_cannot_be_read_is_malformed(chunks: tuple[bytes, ...], why: str) -> None:
    answer = Answer(*chunks)
    with pytest.raises(Malformed, match=why):
        exchange(Driver(answer), Reader()).items(ignore)
    assert answer.closed.is_set()


def test_after_a_refusal_the_driver_is_free() -> None:
    driver = Driver(Refusal(503))
    one = exchange(driver, Reader())
    with pytest.raises(Refusal):
        one.items(ignore)
    assert (one.over, driver.hung_up) == (True, False)
