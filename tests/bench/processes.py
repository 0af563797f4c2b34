"""Runs a Python program as a child and says what it printed, how long it took and how much memory it needed at most.

The program is started by a small process in between, which is this file run as a script: Linux counts the memory of
who starts a process into that one's peak, and the benchmark itself is larger than some of what it measures.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """How a program went."""

    output: Any
    """The JSON that it printed; None if it printed nothing."""
    wall: float
    """Seconds from its start to its end."""
    cpu: float
    """Seconds of processor time, its own and the system's for it."""
    peak: int
    """Bytes of resident memory at most."""


def run(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Ran:
    """Run this interpreter with `words` in the root of the tree. Raises RuntimeError if it fails."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", __file__, sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        text=True,
        check=True,
    )
    said, _, measured = done.stdout.rstrip("\n").rpartition("\n")
    found = json.loads(measured)
    if found.pop("status"):
        raise RuntimeError(f"python {' '.join(words)} failed: {said or 'see above'}")
    return Ran(json.loads(said) if said else None, **found)


def _measure(words: list[str]) -> dict[str, float]:
    began = time.perf_counter()
    pid = os.posix_spawn(words[0], words, os.environ)
    _, status, used = os.wait4(pid, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "wall": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(f"\n{json.dumps(_measure(sys.argv[1:]))}")
