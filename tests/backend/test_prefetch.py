"""Prefetching: in order, at most one too many, and no thread left behind."""

import threading
from collections.abc import Iterable, Iterator

import pytest

from backend.errors import Cancelled, CloudError
from backend.prefetch import prefetch

SECONDS = 10


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "prefetch"}


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    yield
    for thread in workers():
        thread.join(SECONDS)
    assert workers() == set()


class Source:
    """Counts from 0 to `end`, records when each number starts, and goes on only when the test allows it."""

    def __init__(self, end: int = 1_000, gated: bool = False) -> None:
        self._end = end
        self._gate = threading.Semaphore(0) if gated else None
        self._news = threading.Condition()
        self.begun = 0
        self.closed = threading.Event()
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self._end):
                self.threads.add(threading.get_ident())
                with self._news:
                    self.begun += 1
                    self._news.notify_all()
                if self._gate:
                    assert self._gate.acquire(timeout=SECONDS)
                yield number
        finally:
            self.closed.set()

    def let(self) -> None:
        """Let one number be ended."""
        assert self._gate
        self._gate.release()

    def wait(self, count: int) -> None:
        """Wait until this many numbers have started."""
        with self._news:
            assert self._news.wait_for(lambda: self.begun >= count, SECONDS), f"only {self.begun} were begun"


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_it_yields_all_in_order(count: int) -> None:
    assert list(prefetch(range(count))) == list(range(count))
    assert list(prefetch([None] * count)) == [None] * count


@pytest.mark.parametrize(
    "error", [CloudError("No."), Cancelled(), ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3), MemoryError()]
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_it_raises_what_the_source_raises_after_what_it_yielded(error: BaseException, before: int) -> None:
    def source() -> Iterator[int]:
        yield from range(before)
        raise error

    got: list[int] = []
    with pytest.raises(type(error)) as caught:
        got.extend(prefetch(source()))
    assert got == list(range(before))
    assert caught.value is error


def test_what_cannot_be_begun_raises_too() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise CloudError("No.")

    with pytest.raises(CloudError, match="No"):
        list(prefetch(Broken()))


def test_what_it_yielded_may_be_an_exception() -> None:
    things: Iterable[object] = [CloudError("as a value"), StopIteration(), None]
    assert list(prefetch(things)) == things


def test_nothing_is_begun_before_it_is_asked_for() -> None:
    source = Source()
    coming = prefetch(source)
    assert (source.begun, workers()) == (0, set())
    assert next(coming) == 0
    assert len(workers()) == 1


def test_the_next_is_worked_on_while_the_last_is_used() -> None:
    source = Source(3, gated=True)
    coming = prefetch(source)
    source.let()
    assert next(coming) == 0
    source.wait(2)  # by itself: nobody has asked for it yet
    source.let()
    assert next(coming) == 1
    source.wait(3)
    source.let()
    assert list(coming) == [2]


def test_never_more_than_one_is_ahead() -> None:
    source = Source(50)
    begun = []
    for number in prefetch(source):
        if number < 49:
            source.wait(number + 2)
        begun.append(source.begun)  # if it ran on, there would be more, or soon
    assert begun == [*range(2, 51), 50]


def test_one_that_is_ready_is_not_followed_by_another() -> None:
    source = Source(gated=True)
    coming = prefetch(source)
    for _ in range(10):
        source.let()  # nothing but prefetch itself holds it back
    assert next(coming) == 0
    source.wait(2)
    (worker,) = workers()
    worker.join(0.2)
    assert (worker.is_alive(), source.begun) == (True, 2)
    assert next(coming) == 1
    source.wait(3)


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_who_stops_early_ends_the_thread_with_the_one_it_works_on(taken: int) -> None:
    source = Source(gated=True)
    coming = prefetch(source)
    for _ in range(taken):
        source.let()
        next(coming)
    source.wait(taken + 1)
    (worker,) = workers()
    assert isinstance(coming, Iterator)
    coming.close()  # at once, though the source says nothing
    assert worker.is_alive()
    source.let()
    worker.join(SECONDS)
    assert not worker.is_alive()
    assert source.begun == taken + 1


def test_who_breaks_off_or_raises_ends_it_too() -> None:
    source = Source()
    for _ in prefetch(source):
        break
    assert source.closed.wait(SECONDS)
    source = Source()
    with pytest.raises(ZeroDivisionError):
        sum(1 // number for number in prefetch(source))
    for worker in workers():
        worker.join(SECONDS)
    assert workers() == set()
    assert source.begun <= 2


def test_the_source_runs_on_one_thread_that_is_not_the_consumers() -> None:
    source = Source(20)
    assert list(prefetch(source)) == list(range(20))
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_its_thread_keeps_no_process_alive() -> None:
    coming = prefetch(Source())
    next(coming)
    (worker,) = workers()
    assert worker.daemon
