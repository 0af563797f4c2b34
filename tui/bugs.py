"""Reports bugs that no code catches: a sentence for the user, and the traceback in the log."""

import sys
import threading
from collections.abc import Callable

from backend.errors import Cancelled, CloudmeshError, bug
from backend.log import logger


def report_to(report: Callable[[CloudmeshError], object]) -> None:
    """Have Python call `report`, on any thread, instead of printing a thread's traceback on the terminal."""

    def thread_failed(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is None or isinstance(found.exc_value, (SystemExit, Cancelled)):
            return
        name = found.thread.name if found.thread else "a thread"
        logger.error("thread %s failed", name, exc_info=found.exc_value)
        report(bug(f"A part of the program ({name})", found.exc_value))

    def ignored(found: "sys.UnraisableHookArgs") -> None:
        if found.exc_value is not None:  # Python continues as if nothing had been raised
            logger.error("ignored in %r", found.object, exc_info=found.exc_value)

    threading.excepthook = thread_failed
    sys.unraisablehook = ignored
