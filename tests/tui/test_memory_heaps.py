"""The C library keeps two heaps, however many threads run at once."""

import subprocess
import sys

import pytest

from tests.tui.terminal import ROOT

_PROGRAM = """
import ctypes, sys, threading
from tui.cli import few_arenas
library = ctypes.CDLL(None)
if not hasattr(library, "malloc_stats"):
    sys.exit(77)
if sys.argv[1] == "few":
    few_arenas()
all_there = threading.Barrier(9)
def work():
    taken = [bytes(2_000) for _ in range(2_000)]
    all_there.wait(30)
    return len(taken)
for _ in range(8):
    threading.Thread(target=work).start()
all_there.wait(30)
library.malloc_stats()
"""


@pytest.mark.parametrize("few", [True, False])
def test_threads_share_two_heaps(few: bool) -> None:
    words = [sys.executable, "-c", _PROGRAM, "few" if few else "many"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("This C library does not tell of its heaps.")
    assert done.returncode == 0, done.stderr
    assert (done.stderr.count("Arena ") <= 2) is few
