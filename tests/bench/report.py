"""Says what was measured, on what machine, against which targets, and writes docs/performance.md."""

import gc
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from backend.mongod import find_binary

PATH = Path(__file__).parents[2] / "docs" / "performance.md"

_INTRODUCTION = """\
# Performance

<!-- Written by `make bench`. Measure again instead of changing this. -->

`make bench` measures the real program against its own EC2 endpoint (tests/bench/endpoint.py): another process on the
loopback interface that lists images of about 2,140 bytes of XML each, compressed, a thousand a page. The cache is the
embedded `mongod`. The program and what it is compared with run in turn, so that noise meets both: the ratios hold on
other machines, the seconds do not. A figure is the median of {runs} runs unless its note says otherwise; the smallest
and the largest are in brackets. MB are millions of bytes."""

_LIBRARIES = ("textual", "apache-libcloud", "pymongo", "boto3", "lxml", "requests")


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    target: str
    measured: str
    met: bool
    how: str = ""
    """What was run and what it is compared with, in a sentence."""


def median(values: Iterable[float]) -> float:
    """Return the middle one of `values`."""
    return statistics.median(values)


def seconds(value: float) -> str:
    """Return a time as a person would say it: in milliseconds if it is short."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Return the median of `values`, and the smallest and the largest: "1.52 × (1.44–1.60)"."""
    typical, least, most = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{typical}{unit} ({least}–{most})"


def machine() -> str:
    """Return what was measured on: hardware, versions, how busy it is at this moment."""
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    model = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    collector = f"enabled, thresholds {gc.get_threshold()}" if gc.isenabled() else "disabled"
    lines = [
        f"CPU         {model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        f"Memory      {int(memory[1]) / 2**20:.0f} GiB" if memory else "Memory      unknown",
        f"Kernel      {platform.system()} {platform.release()}",
        f"Load        {os.getloadavg()[0]:.2f} a minute before the start",
        f"Python      {platform.python_version()}, gc {collector}, in all that is compared",
        f"MongoDB     {_mongod()}",
        f"Libraries   {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}",
    ]
    return "\n".join(lines)


def write(figures: Sequence[Figure], on: str, runs: int, path: Path = PATH) -> None:
    """Write docs/performance.md; `on` is what `machine` said before the first run."""
    rows = [(one.what, one.target, one.measured, "yes" if one.met else "**no**") for one in figures]
    lines = [("What", "Target", "Measured", "Met"), ("---",) * 4, *rows]
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    notes = "\n".join(f"- **{one.what}**: {one.how}" for one in figures if one.how)
    parts = [_INTRODUCTION.format(runs=runs), f"```\n{on}\n```", table, f"## How\n\n{notes}"]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _mongod() -> str:
    """Return the version of the server that the embedded cache would start, without its path."""
    binary = find_binary()
    if binary is None:
        return "none"
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"db version v(\S+)", said)
    return f"mongod {found[1] if found else 'of an unknown version'}, one node, embedded"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return ""
