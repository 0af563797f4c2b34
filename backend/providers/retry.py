"""How often and how long a call that fails in passing is repeated."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a read that fails in passing is repeated: capped exponential back-off, full jitter."""

    tries: int = 5
    unread: int = 20
    """The same of a change that EC2 refuses unread, to limit how often it is asked: 500 VMs take their time."""
    first: float = 0.5
    """Seconds; the longest first wait. It doubles from try to try up to `longest`."""
    longest: float = 8.0
    deadline: float = 60.0
    """Seconds after the first try of a page from which no new one begins, and none that is only trickling goes on."""
    slowest: float = 16_384.0
    """Bytes a second that an answer must come in at on the whole to be given longer than the deadline."""
    silence: float = 20.0
    """Seconds to connect, and between two pieces of an answer."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def delay(self, tries: int) -> float:
        """Return the seconds to wait after that many tries."""
        return self.random() * min(self.longest, self.first * 2.0 ** (tries - 1))

    def late(self, began: float, received: int) -> bool:
        """Return whether an answer, asked for since `began`, has come too slowly: a vast one may take its time."""
        return self.clock() - began > self.deadline + received / self.slowest

    def wait(self, seconds: float, check: Callable[[], None]) -> None:
        """Sleep, calling `check` at least every 0.1 s."""
        end = self.clock() + seconds
        while (left := end - self.clock()) > 0:
            check()
            self.sleep(min(left, 0.1))
