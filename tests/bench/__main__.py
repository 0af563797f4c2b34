"""Measures the targets and prints them as it goes: python -m tests.bench [--runs 5] [--only refreshes] [--write]."""

import argparse
import time
from importlib import import_module

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.bench import report
from tests.bench.report import Figure

RUNS = 5
MODULES = ("parsers", "refreshes", "dashboard", "scopes", "startup")
"""Each has `measure(runs)`, which yields figures; they are imported when it is their turn."""


def main() -> None:
    """Measure what the arguments name."""
    known = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the targets.")
    known.add_argument("--runs", type=int, default=RUNS, help=f"runs whose median is a figure ({RUNS})")
    known.add_argument("--only", default=",".join(MODULES), help=f"what to measure, with commas ({','.join(MODULES)})")
    known.add_argument("--write", action="store_true", help="write docs/performance.md even if only a part was run")
    options = known.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(MODULES):
        known.error(f"there is no {', '.join(sorted(unknown))} to measure; there are {', '.join(MODULES)}")
    if options.runs < 1:
        known.error("--runs must be at least 1")
    _measure(names, options.runs, write=options.write or set(names) == set(MODULES))


def _measure(names: list[str], runs: int, *, write: bool) -> None:
    console = Console()
    on = report.machine()
    console.print(Text(on), style="dim", soft_wrap=True)
    figures: list[Figure] = []
    for name in names:
        began = time.monotonic()
        with console.status(f"Measuring {name} …"):
            for figure in import_module(f"tests.bench.{name}").measure(runs):
                figures.append(figure)
                line = f"{'✓' if figure.met else '✗'} {figure.what}: {figure.measured} ({figure.target})"
                console.print(Text(line), soft_wrap=True)
        console.print(Text(f"{name} took {report.seconds(time.monotonic() - began)}"), style="dim")
    console.print(_table(figures))
    if write:
        report.write(figures, on, runs)
        console.print(Text(f"Written: {report.PATH.relative_to(report.PATH.parents[1])}"))


def _table(figures: list[Figure]) -> Table:
    table = Table("What", "Target", "Measured", "Met")
    for one in figures:
        table.add_row(*map(Text, (one.what, one.target, one.measured)), Text("yes" if one.met else "NO"))
    return table


if __name__ == "__main__":
    main()
