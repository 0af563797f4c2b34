"""DemoCloud: a simulated EC2 in this process, on a loopback port, with sample content and slow VM states."""

import gc
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from backend.config import Cloud, Defaults, MongoDB, Poll, Settings
from backend.demo_accounts import ACCOUNTS, REGION_NAMES, failing
from backend.demo_content import Region, newest
from backend.errors import ConfigError
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret

if TYPE_CHECKING:
    from backend.demo_moto import Backends
    from backend.demo_server import DemoServer

_running = Lock()
"""Held by the running DemoCloud: moto has one table of backends for each process, so only one can run."""


class DemoCloud:
    """A simulated EC2 on 127.0.0.1, with two accounts and three regions. All changes are lost when it stops.

    `delay` is how long a VM is pending, stopping or shutting down; `forget` is how long a terminated VM is still
    listed. Both are in seconds of `clock`. The ages of its content are relative to `now`. `fault` names a cloud or a
    region whose requests fail as in an outage. Raises UsageError if there is none of that name.
    """

    def __init__(
        self,
        delay: float = 4.0,
        *,
        forget: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        now: datetime | None = None,
        fault: str | None = None,
    ) -> None:
        self._delay = delay
        self._forget = forget
        self._clock = clock
        self._now = now
        self._keys = {account: secrets.token_hex(16) for account in ACCOUNTS}
        self._faults = failing(fault) if fault else frozenset()
        self._backends: Backends | None = None
        self._server: DemoServer | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Import moto, fill it and serve it. This takes about 1 s the first time in a process and 0.1 s later.

        Raises ConfigError if moto is not installed, and RuntimeError if a demo already runs in this process.
        """
        if not _running.acquire(blocking=False):
            raise RuntimeError("Another DemoCloud runs in this process. Stop it first.")
        try:
            try:
                with _moto_imports_well():
                    from backend.demo_moto import Backends
                    from backend.demo_server import DemoServer

                    self._backends = Backends(self._clock, self._delay, self._forget, self._now or datetime.now(UTC))
            except ImportError as error:
                raise ConfigError(
                    f"The demo needs moto, but Python cannot find {error.name}.",
                    "Install it: pip install 'cloudmesh-tui[demo]'",
                ) from error
            keys = {key: account for account, key in self._keys.items()}
            self._server = DemoServer(self._backends, keys, self._faults)
        except BaseException:
            _running.release()
            raise
        # stop() takes as long as the poll interval of serve_forever, whose default is 0.5 s.
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="demo-cloud", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the open requests, stop serving and drop the content; do nothing if not started."""
        if self._server is None or self._thread is None or self._backends is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._backends.remove()
        self._server = self._thread = self._backends = None
        _running.release()

    def settings(self) -> Settings:
        """Return a configuration with a cloud for each region of each account, and a cache in memory."""
        if self._server is None:
            raise RuntimeError("The demo has no port before it is started.")
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        clouds = [_cloud(region, endpoint, key) for account, key in self._keys.items() for region in account.regions]
        return Settings(
            clouds={cloud.name: cloud for cloud in clouds},
            cloud=clouds[0].name,
            poll=Poll(in_flight=1.0),
            mongodb=MongoDB(uri=Secret("memory")),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _cloud(region: Region, endpoint: str, key: str) -> Cloud:
    return Cloud(
        name=region.cloud,
        endpoint=endpoint,
        direct=True,
        credentials=ec2_keys(Secret(key), Secret("demo")),
        default=Defaults(
            location=region.name,
            image=newest(region.name, region.image),
            size=region.flavor,
            keypair=region.keypair,
        ),
        read_only=region.read_only,
    )


@contextmanager
def _moto_imports_well() -> Iterator[None]:
    """Make moto's first import and use in this process quick and quiet, and restore what is changed for that.

    At import moto creates four botocore sessions to list the regions. Each lists the folders of all services and parses
    the 11 MB description of EC2 again, which holds the interpreter lock for 0.1 s; here they do so once. moto also
    reads which flavors each of 30 regions offers; here it reads those of the demo's. A session also fails if
    $AWS_PROFILE names a profile that does not exist. moto's own variables may name missing files or another account;
    they are removed for good, because only the demo uses moto in this process. Nothing that is imported becomes
    garbage: collecting during the import takes a fifth of its time, and each later collection of it would stop the
    screen for 0.1 s. Raises ImportError if moto is not installed.
    """
    if "backend.demo_server" in sys.modules:
        yield
        return
    hidden = {name: os.environ.pop(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ}
    for name in [name for name in os.environ if name.startswith("MOTO_")]:
        del os.environ[name]
    collecting = gc.isenabled()
    gc.disable()
    try:
        from botocore.loaders import JSONFileLoader, Loader  # type: ignore[import-untyped]

        with _replaced(JSONFileLoader, "load_file", _once), _replaced(Loader, "list_available_services", _once):
            from moto.utilities import utils

            with _replaced(utils, "load_resource", _of_our_regions):
                yield
    finally:
        os.environ.update(hidden)
        gc.freeze()
        if collecting:
            gc.enable()


@contextmanager
def _replaced(owner: Any, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    found = getattr(owner, name)
    setattr(owner, name, change(found))
    try:
        yield
    finally:
        setattr(owner, name, found)


def _once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return `method` with one result for all objects of its class that are asked for the same."""
    known: dict[Any, Any] = {}

    def ask(self: Any, *given: Any, **named: Any) -> Any:
        asked = given, tuple(named.items())
        if asked not in known:
            known[asked] = method(self, *given, **named)
        return known[asked]

    return ask


def _of_our_regions(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return moto's reader of its own files, to which those of other regions' offerings are empty."""

    def read(path: str) -> Any:
        others = "instance_type_offerings" in path and Path(path).name.partition(".")[0] not in REGION_NAMES
        return [] if others else load(path)

    return read
