"""The program with a part that fails like a bug: python -m tests.tui.crashing WHERE [OPTION ...]."""

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Never, cast

from backend.config import Cloud
from backend.providers.ec2.entry import SECRET, ec2_keys
from backend.secret import Secret
from backend.session import Session
from tui import cli
from tui.interrupt import Interrupt

KEY = "planted/key+of-a-crash"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEplanted\n-----END RSA PRIVATE KEY-----"


def crash() -> Never:
    """Fail with secrets in the text and in the variables of the frame."""
    cloud = Cloud("aws", credentials=ec2_keys(Secret(KEY), Secret(KEY)))
    raise RuntimeError(f"{cloud.credentials[SECRET].reveal()} {PEM}")


def in_a_thread() -> int:
    thread = threading.Thread(target=crash, name="of a test")
    thread.start()
    thread.join()
    return 0


class Unusable:
    """A session without content."""

    def __getattr__(self, name: str) -> Any:
        crash()


class Launch:
    def __init__(self, opening: Callable[[], Any]) -> None:
        self._opening = opening

    def open(self) -> Session:
        return cast(Session, self._opening())


def dashboard(opening: Callable[[], Any]) -> int:
    from tui.app import run

    return run(Launch(opening), ExitStack().close)


def in_a_thread_and_hang() -> None:
    in_a_thread()
    threading.Event().wait()


PLACES: dict[str, Callable[[], int]] = {
    "headless": crash,
    "thread": in_a_thread,
    "job": lambda: dashboard(crash),
    "handler": lambda: dashboard(Unusable),
    "thread of the dashboard": lambda: dashboard(in_a_thread_and_hang),
}


def run(_options: argparse.Namespace, words: list[str], _interrupt: Interrupt) -> int:
    return PLACES[words[0]]()


if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:], run))
