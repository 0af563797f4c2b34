"""Runs the fault suites in their long form and writes docs/reliability.md: python -m tests.faults [--only cache]."""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from moto.server import ThreadedMotoServer

from backend.mongod import EmbeddedServer
from tests.bench import report
from tests.faults.model import Ground, Section

SUITES: tuple[str, ...] = ("cloud", "cache", "kills", "crowd", "hostile", "stray", "secrets", "monkey")
"""Modules of this package, each with `sections(ground)`, which yields what it has tried."""

PATH = Path(__file__).parents[2] / "docs" / "reliability.md"

_INTRODUCTION = """\
# Reliability

<!-- Written by `make faults`. Run it again instead of changing this. -->

`make faults` runs the real program while things fail: a simulated EC2 (moto) behind a proxy that fails, a real `mongod`
that is stopped, killed or out of disk space, and processes that are killed. It also feeds hostile text and random bytes
to the program, and plants secrets and searches for them. A short form of it is part of `make test`."""


def main() -> int:
    """Run what the arguments name and return 1 when something bad happened."""
    known = argparse.ArgumentParser(prog="python -m tests.faults", description="Try what goes wrong on a bad day.")
    known.add_argument("--only", default=",".join(SUITES), help=f"what to try, with commas ({','.join(SUITES)})")
    known.add_argument("--short", action="store_true", help="the form that is part of make test")
    options = known.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(SUITES):
        known.error(f"there is no {', '.join(sorted(unknown))} to try; there are {', '.join(SUITES)}")
    on = report.machine()
    print(on)
    sections = _tried(names, long=not options.short)
    if set(names) == set(SUITES) and not options.short:
        _write(sections, on)
        print(f"Written: {PATH.relative_to(PATH.parents[1])}")
    return 1 if any(section.bad for section in sections) else 0


@contextmanager
def simulated() -> Iterator[str]:
    """Yield the endpoint of a simulated EC2 that lives as long as the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _tried(names: list[str], *, long: bool) -> list[Section]:
    found: list[Section] = []
    with (
        simulated() as moto,
        tempfile.TemporaryDirectory(prefix="cm-faults-") as top,
        EmbeddedServer(Path(top, "server")),
    ):
        for name in names:
            began = time.monotonic()
            folder = Path(top, name)
            folder.mkdir()
            ground = Ground(folder, moto, Path(top, "server"), long)
            for section in import_module(f"tests.faults.{name}").sections(ground):
                found.append(section)
                print(f"\n{_text(section)}", flush=True)
            print(f"\n{name} took {time.monotonic() - began:.0f} s", flush=True)
    return found


def _text(section: Section) -> str:
    """Return a section in Markdown."""
    lines = [section.columns, ("---",) * len(section.columns), *section.rows]
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    bad = "\n".join(f"- **{one}**" for one in section.bad)
    return "\n\n".join(filter(None, (f"## {section.title}", section.how, table, bad)))


def _write(sections: list[Section], on: str) -> None:
    parts = [_INTRODUCTION, f"```\n{on}\n```", *map(_text, sections)]
    PATH.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
