"""Runs the monkey test: python -m tests.monkey [--seed 7] [--minutes 10]."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.__main__ import simulated
from tests.faults.model import Ground
from tests.monkey.run import run


def main() -> int:
    """Play, print what was found, and return 1 when something bad was."""
    known = argparse.ArgumentParser(prog="python -m tests.monkey", description="Random input to two dashboards.")
    known.add_argument("--seed", type=int, help="do what the run with this seed did; it is printed")
    known.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5)")
    options = known.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"SEED={seed} MINUTES={options.minutes:g}", flush=True)
    with simulated() as moto, tempfile.TemporaryDirectory(prefix="cm-monkey-") as folder:
        found = run(Ground(Path(folder), moto, Path(folder), long=True), seed, options.minutes * 60)
    print(
        f"{found.groups:,} groups with {found.keys:,} keys in {found.seconds:.0f} s; {found.writes:,} writes; "
        f"{found.confirmed:,} commands confirmed, {len(found.unasked):,} unasked; {len(found.crashes):,} crashes; "
        f"{len(found.wrong):,} wrong; memory {found.memory}"
    )
    for one in found.bad:
        print(f"\n- {one}")
    print(f"\nSEED={seed}")
    return 1 if found.bad else 0


if __name__ == "__main__":
    sys.exit(main())
