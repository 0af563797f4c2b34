"""Prefetches: a thread produces the next item while the caller uses the last one."""

import threading
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from backend.callbacks import ignore

T = TypeVar("T")

CHECK_EVERY = 0.1
"""Seconds between calls of `check` while the next item is not ready."""


class _Ended(Generic[T]):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(source: Iterable[T], check: Callable[[], None] = ignore) -> Generator[T, None, None]:
    """Yield what `source` yields, and raise what it raises, while a thread produces the next item.

    At most one item is ready in advance. `check` is called while the caller waits, and may end the wait by raising.
    The thread is a daemon, so a caller that stops early does not wait for it; it ends after its current item.
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
        except BaseException as raised:  # noqa: BLE001 - raised in the thread that waits
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
