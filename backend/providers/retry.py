"""The retry policy: how often and how long a request that fails in passing is repeated."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a read that fails in passing is repeated: capped exponential backoff with full jitter."""

    tries: int = 5
    unread: int = 20
    """The same for a change that is throttled, and therefore refused unread: 500 VMs take a while."""
    first: float = 0.5
    """Seconds; the longest first wait. It doubles with each try, up to `longest`."""
    longest: float = 8.0
    deadline: float = 60.0
    """Seconds after the first try of a page, after which no new try begins and a slow answer is aborted."""
    slowest: float = 16_384.0
    """Bytes per second: an answer that is at least this fast on average may exceed the deadline."""
    silence: float = 20.0
    """Timeout in seconds to connect, and between two pieces of an answer."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def delay(self, tries: int) -> float:
        """Return the seconds to wait after this many tries."""
        return self.random() * min(self.longest, self.first * 2.0 ** (tries - 1))

    def late(self, began: float, received: int) -> bool:
        """Return whether an answer, requested at `began`, is too slow; a large one may take longer."""
        return self.clock() - began > self.deadline + received / self.slowest

    def wait(self, seconds: float, check: Callable[[], None]) -> None:
        """Sleep, calling `check` at least every 0.1 s."""
        end = self.clock() + seconds
        while (left := end - self.clock()) > 0:
            check()
            self.sleep(min(left, 0.1))
