"""`pytest --fast`, which is `make test-fast`: the tests that start no process and are not marked `thorough`.

What starts a process shows by itself: the test is skipped at that moment, and so is every other that wants the same
server. So it needs no mongod either.
"""

import sys
import threading
from collections.abc import Iterator

import pytest

_STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "pty.spawn"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what is marked thorough and what starts processes")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast") and (hasattr(config, "workerinput") or not config.getoption("numprocesses", 0)):
        config.pluginmanager.register(Fast(), "fast")


class Fast:
    """Skips and deselects, in a process that runs tests."""

    def __init__(self) -> None:
        self._running = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, _args: tuple[object, ...]) -> None:
        if self._running and event in _STARTS and threading.current_thread() is threading.main_thread():
            pytest.skip("starts a process")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self._running = True
        try:
            return (yield)
        finally:
            self._running = False

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
