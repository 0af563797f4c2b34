"""Runs jobs on threads and delivers their results to the event loop."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from textual.message import Message

from backend.callbacks import ignore
from backend.errors import Cancelled, CloudmeshError, bug
from backend.kinds.model import Scope
from backend.log import logger
from backend.providers.protocol import Waiting
from backend.refresh import Progress

SHORT = 0.3
"""Seconds after which a running job is shown."""

QUIET_FOR = 2.0
"""The same for a job that the user did not ask for."""

GRACE = 0.5
"""Seconds that a cancelled job has to end by itself and to record that it was cancelled."""

_numbers = itertools.count(1)


@dataclass(eq=False)
class Job:
    """Work on a thread of its own. `title` is shown while it runs; a job without a title is never shown."""

    title: str
    """What it does, in safe text."""
    work: Callable[["Job"], Any]
    then: Callable[[Any], None]
    """Called on the event loop with what `work` returned."""
    failed: Callable[[CloudmeshError], None] | None = None
    """Called on the event loop with the error; None: the dashboard shows the error."""
    on_part: Callable[[Any], None] = ignore
    """Called on the event loop with each part of the result that `work` delivers before it returns."""
    on_progress: Callable[[Progress], None] = ignore
    """Called on the event loop with each report of progress."""
    on_wait: Callable[[Waiting], None] = ignore
    """Called on the event loop when a request waits to be sent again."""
    quiet: bool = False
    """The user did not ask for it: it is shown only when it takes long."""
    unit: str = "rows"
    """What its progress counts."""
    lets_go: bool = True
    """Whether cancelling ends it at once, whatever it waits for; else it ends after the step that runs now."""
    opens: bool = False
    """It may open a window at its end; keys typed until then wait a moment for it."""
    key: str = ""
    """Two jobs with one key never run at once: the second is not started."""
    queue: str = ""
    """Jobs of one queue run one after the other, in the order in which they were started."""
    number: int = field(default_factory=lambda: next(_numbers))
    began: float = field(default_factory=time.monotonic)
    progress: dict[tuple[str, Scope | None], Progress] = field(default_factory=dict)
    """By kind and scope."""
    begun: bool = False
    """Whether its thread has started; see `queue`."""
    waiting: Waiting | None = None
    """The last wait before a request is sent again."""
    post: Callable[[Message], object] = ignore
    """Sends a message to the event loop; set when the job is started."""
    _cancelled: threading.Event = field(default_factory=threading.Event)

    # --- for its thread -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Cancelled when the user has cancelled this job."""
        if self.cancelled:
            raise Cancelled

    def report(self, progress: Progress) -> None:
        """Report progress."""
        self.post(JobMoved(self, progress))

    def waits(self, waiting: Waiting) -> None:
        """Report that a request waits to be sent again."""
        self.post(JobWaits(self, waiting))

    def deliver(self, part: object) -> None:
        """Deliver a part of the result."""
        self.post(JobDelivered(self, part))

    # --- for the event loop -------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the job to end: its next `check` raises Cancelled."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()


@dataclass
class JobMoved(Message):
    """A job reports progress."""

    job: Job
    progress: Progress


@dataclass
class JobWaits(Message):
    """A job waits to send a request again."""

    job: Job
    waiting: Waiting


@dataclass
class JobDelivered(Message):
    """A job has a part of its result."""

    job: Job
    part: Any


@dataclass
class JobEnded(Message):
    """A job has ended: with a result, with an error, or cancelled (neither)."""

    job: Job
    result: Any = None
    error: CloudmeshError | None = None
    cancelled: bool = False


class Jobs:
    """The jobs of one app, each on a thread of its own.

    The threads are daemons: quitting never waits for a cloud that does not answer. Nothing is lost: a command is in the
    journal before it is sent.
    """

    def __init__(self, post: Callable[[Message], object]) -> None:
        self._post = post
        self._running: dict[int, Job] = {}

    @property
    def titled(self) -> list[Job]:
        """The jobs with a title, oldest first."""
        return [job for job in self._running.values() if job.title]

    @property
    def visible(self) -> list[Job]:
        """The jobs that have run long enough to be shown: a line that flashes only disturbs."""
        now = time.monotonic()
        return [job for job in self.titled if now - job.began >= (QUIET_FOR if job.quiet else SHORT)]

    def opening(self) -> float | None:
        """Return when the latest job started that opens a window at its end; None if there is none."""
        return max((job.began for job in self._running.values() if job.opens), default=None)

    def start(self, job: Job) -> bool:
        """Start a job on a thread; do nothing and return False when a job with the same key is running."""
        if job.key and any(other.key == job.key for other in self._running.values()):
            return False
        self._running[job.number] = job
        job.post = self._post
        self._begin_next(job)
        return True

    def _begin_next(self, job: Job) -> None:
        """Start the thread of a job that is in no queue, else that of the first job in its queue."""
        first = next((other for other in self._running.values() if job.queue and other.queue == job.queue), job)
        if not first.begun and first.number in self._running:
            first.begun = True
            threading.Thread(
                target=self._run, args=(first,), name=first.key or first.title or "job", daemon=True
            ).start()

    def ended(self, job: Job) -> bool:
        """Forget a job that has ended, and start the next in its queue.

        Return False if it was forgotten before. Called on the event loop.
        """
        known = self._running.pop(job.number, None) is not None
        self._begin_next(job)
        return known

    def cancel(self) -> int:
        """Cancel all jobs with a title and return how many there were."""
        jobs = self.titled
        for job in jobs:
            job.cancel()
            if job.lets_go:  # its thread may wait for a server for long: report the end without it
                late = threading.Timer(GRACE, self._post, (JobEnded(job, cancelled=True),))
                late.daemon = True
                late.start()
        return len(jobs)

    def close(self) -> None:
        """Cancel everything."""
        for job in self._running.values():
            job.cancel()

    def _run(self, job: Job) -> None:
        try:
            job.check()  # it may have been cancelled while it was in the queue
            self._post(JobEnded(job, result=job.work(job)))
        except Cancelled:
            self._post(JobEnded(job, cancelled=True))
        except CloudmeshError as error:
            self._post(JobEnded(job, error=error))
        except Exception as error:  # noqa: BLE001 - a bug is reported in a sentence, and does not end the app
            what = job.title or job.key
            logger.exception("%s failed", what)
            self._post(JobEnded(job, error=bug(what, error)))
