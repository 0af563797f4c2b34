"""Prefetches: works on the next of something on a thread while the last one is used."""

import threading
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from backend.callbacks import ignore

T = TypeVar("T")

CHECK_EVERY = 0.1
"""Seconds between two calls of `check` while there is nothing yet."""


class _Ended(Generic[T]):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(source: Iterable[T], check: Callable[[], None] = ignore) -> Generator[T, None, None]:
    """Yield what `source` yields, and raise what it raises, while a thread of its own works on the next one.

    Never more than one is ready and waiting. `check` is called while the next one is waited for, and ends that by what
    it raises. The thread is a daemon: a caller that stops early, or quits, does not wait for it. It ends with the one
    that it works on.
    """
    ready: SimpleQueue[T | _Ended[T]] = SimpleQueue()
    wanted = threading.Semaphore(0)
    stopped = False

    def work() -> None:
        error: BaseException | None = None
        try:
            for one in source:
                ready.put(one)
                wanted.acquire()
                if stopped:
                    return
        except BaseException as raised:  # noqa: BLE001 - raised where it is waited for
            error = raised
        ready.put(_Ended(error))

    def following() -> T | _Ended[T]:
        while True:
            try:
                return ready.get(timeout=CHECK_EVERY)
            except Empty:
                check()

    threading.Thread(target=work, name="prefetch", daemon=True).start()
    try:
        while not isinstance(one := following(), _Ended):
            wanted.release()
            yield one
        if one.error is not None:
            raise one.error
    finally:
        stopped = True
        wanted.release()
