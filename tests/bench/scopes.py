"""Measures seventeen regions in one table: a first refresh; filter and sort beside as many rows of one region."""

import tempfile
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

from backend.mongod import EmbeddedServer
from backend.refresh import AT_ONCE
from tests.bench.dashboard import Found, play
from tests.bench.endpoint import serving
from tests.bench.report import Figure, median
from tests.bench.screen import percentile

REGIONS = 17
VMS = 300
"""VMs in each region."""
DELAY = 0.1
"""Seconds that the endpoint takes for an answer."""
ROUNDS = 2


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figures."""
    with tempfile.TemporaryDirectory(prefix="cloudmesh-bench-") as folder, EmbeddedServer(Path(folder)):
        home, times = Path(folder), min(runs, 2)
        with serving(vms=VMS, delay=DELAY) as endpoint:
            alone = [play("scattered", home, endpoint, f"alone-{n}", rows=VMS, rounds=0) for n in range(times)]
            many = [
                play("scattered", home, endpoint, f"many-{n}", rows=REGIONS * VMS, regions=REGIONS, rounds=ROUNDS)
                for n in range(times)
            ]
        with serving(vms=REGIONS * VMS, delay=DELAY) as endpoint:
            whole = [
                play("scattered", home, endpoint, f"whole-{n}", rows=REGIONS * VMS, rounds=ROUNDS) for n in range(times)
            ]
    what = f"{REGIONS} regions × {VMS} VMs, {DELAY * 1000:.0f} ms an answer"
    one, all_of_them = (median([found["seconds"] for found in some]) for some in (alone, many))
    floor = one * ceil(REGIONS / AT_ONCE)
    rows = median([found["rows"] for found in many])
    yield Figure(
        f"{what}: all rows on a first refresh",
        "≤ 1.5 × the floor",
        f"{all_of_them:.2f} s, {all_of_them / floor:.2f} ×",
        rows == REGIONS * VMS and all_of_them <= 1.5 * floor,
        f"From `r` to the last of {rows:,.0f} rows in the table. The floor is one region alone, {one:.2f} s, times the "
        f"{ceil(REGIONS / AT_ONCE)} turns of {AT_ONCE} connections.",
    )
    first = median([found["first"] for found in many])
    yield Figure(
        f"{what}: first rows",
        "≤ 1.5 × one region alone",
        f"{first:.2f} s",
        first <= 1.5 * one,
        f"From `r` to the first rows in the table; one region alone has all of its rows after {one:.2f} s.",
    )
    p99 = median([found["lag"]["p99"] for found in many])
    longest = max(found["lag"]["max"] for found in many)
    yield Figure(
        f"{what}: event-loop gap",
        "p99 ≤ 25 ms",
        f"p99 {p99:.0f} ms, max {longest:.0f} ms",
        p99 <= 25,
        "A 5 ms ticker on the event loop during that refresh.",
    )
    for name, figure in (("filter key, p95", _letter), ("slowest sort", _slowest_sort)):
        ours, theirs = figure(many), figure(whole)
        yield Figure(
            f"{REGIONS * VMS:,} VMs of {REGIONS} regions: {name}",
            "as of one region (≤ 1.25 ×)",
            f"{ours:.0f} ms, of one region {theirs:.0f} ms",
            ours <= 1.25 * theirs,
            "From the key to the painted rows; the table of one region has as many rows, and two columns less.",
        )


def _letter(found: Sequence[Found]) -> float:
    return percentile([value for one in found for value in one["letters"]], 95)


def _slowest_sort(found: Sequence[Found]) -> float:
    """Return the median of the column that takes longest."""
    return max(median(list(times)) for times in zip(*(one["sorts"] for one in found), strict=True))
