"""Measures the start: from the exec of the program to the first tab that is painted with rows of the cache.

The programs run in a real pseudo-terminal, which answers nothing that they ask it.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.config import load
from backend.kinds.model import Scope
from backend.mongod import EmbeddedServer
from backend.mongod_keeper import try_lock
from backend.providers import registry
from backend.refresh import refresh
from tests.bench.bare import PANE, TABS
from tests.bench.endpoint import serving
from tests.bench.processes import ROOT
from tests.bench.report import Figure, median, seconds
from tests.bench.screen import plain

COLUMNS, LINES = 160, 40
IMAGES = 300
PATIENCE = 60.0

_CONFIGURATION = """\
cloudmesh:
  refresh: off
  clouds:
    bench:
      provider: ec2
      endpoint: {endpoint}
      images: all
      credentials: {{EC2_ACCESS_KEY: bench, EC2_SECRET_KEY: bench}}
      default: {{location: us-east-1}}
"""


def measure(runs: int) -> Iterator[Figure]:
    """Yield how long the dashboard takes to be there, as a multiple of what a bare textual app takes."""
    with tempfile.TemporaryDirectory(prefix="cloudmesh-bench-") as folder:
        home, file = Path(folder), Path(folder, "cloudmesh.yaml")
        image = _fill(home, file)
        ours, bare = ["-m", "tui", "--config", str(file)], ["-m", "tests.bench.bare"]
        _start(home, ours, image)  # once unmeasured: every file has then been read, and compiled
        plainest: list[float] = []
        up: list[tuple[float, float]] = []
        down: list[tuple[float, float]] = []
        for _ in range(runs):
            plainest.append(max(_start(home, bare, TABS[-1], PANE.format(TABS[0]))))
            with EmbeddedServer(home):
                up.append(_first_and_full(_start(home, ours, TABS[-1], image)))
            _until_down(home)
            down.append(_first_and_full(_start(home, ours, TABS[-1], image)))
            _until_down(home)
    yield _figure("already up", up, 1.6, plainest)
    yield _figure("not up", down, 3.0, plainest)


def _figure(state: str, found: Sequence[tuple[float, float]], limit: float, plainest: Sequence[float]) -> Figure:
    first, full = (median(column) for column in zip(*found, strict=True))
    least = median(plainest)
    return Figure(
        f"exec to first painted cached tab, embedded server {state}",
        f"≤ {limit:g} × a bare six-tab textual app",
        f"{full / least:.2f} ×",
        full / least <= limit,
        f"`python -m tui` in a terminal of {COLUMNS} × {LINES} cells with {IMAGES} images in the cache and refresh "
        f"off, until one of them is painted: {seconds(full)}; its tab line after {seconds(first)}, {first / least:.2f} "
        f"× the bare app, which takes {seconds(least)} in turn with it. Medians of {len(found)}.",
    )


def _first_and_full(times: Sequence[float]) -> tuple[float, float]:
    """Return when the tab line was there, and when it and the rows were."""
    return times[0], max(times)


def _fill(home: Path, file: Path) -> str:
    """Write a configuration, fill its cache, and return the id of the image that its first screen begins with."""
    with serving(images=IMAGES) as endpoint:
        file.touch(mode=0o600)
        file.write_text(_CONFIGURATION.format(endpoint=endpoint), encoding="utf-8")
        settings = load(file, KINDS)
        cloud, kind = settings.clouds[settings.cloud], KINDS["image"]
        scope = Scope(cloud.name, cloud.region)
        with closing(open_cache(settings.mongodb, home, KINDS.values())) as cache:
            refresh(kind, registry.connect(cloud), cache, scope)
            image = str(kind.value(cache.rows.snapshot(kind, scope)[0], "id"))
    _until_down(home)
    return image


def _start(home: Path, words: Sequence[str], *texts: str) -> list[float]:
    """Run a program in a terminal of its own until it has painted all texts; return the seconds to each."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    own = {"HOME": str(home), "CLOUDMESH_HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT, env={**kept, **own}, start_new_session=True, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    try:
        seen: dict[str, float] = {}
        output = b""
        while len(seen) < len(texts):
            if not select.select([master], [], [], PATIENCE)[0]:
                raise RuntimeError(f"{' '.join(words)} does not paint {texts}: {plain(output.decode())}")
            output += os.read(master, 1 << 16)
            now, painted = time.perf_counter() - began, plain(output.decode(errors="replace"))
            seen |= {text: now for text in texts if text in painted and text not in seen}
        return [seen[text] for text in texts]
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def _until_down(home: Path) -> None:
    """Wait until the embedded server, which nobody uses any more, has ended and with it its keeper."""
    end = time.monotonic() + PATIENCE
    with open(home / "mongod" / "keeper.lock", "rb") as lock:
        while not try_lock(lock.fileno()):
            if time.monotonic() > end:
                raise RuntimeError("The embedded server does not stop.")
            time.sleep(0.02)
