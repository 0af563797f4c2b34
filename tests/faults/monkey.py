"""Random input to two dashboards on one cache and a cloud that fails; see tests/monkey."""

from collections.abc import Iterator
from dataclasses import replace

from tests.faults.model import Ground, Section
from tests.monkey.run import Found, run

SECONDS = 60
"""How long the short form takes."""

SEEDS = (1, 2, 3)
"""One run each in the long form, of twice as long; the short form has the first."""


def sections(ground: Ground) -> Iterator[Section]:
    """Run the monkey; report what it did and what was wrong."""
    table = Section(
        "Random input",
        "A monkey plays at two dashboards on one embedded cache, in real terminals. It sends random keys, many keys in "
        "one write, tasks that are mistyped, the mouse, resizes down to one cell and stray bytes; it stops the program "
        "for a moment and leaves a terminal unread. Meanwhile the cloud throttles, refuses, is slow and loses answers. "
        "A write is unasked unless a dialog was painted, readable, before the key that confirmed it was typed (0.8 s "
        "before, where it destroys), or its line was typed. Afterwards cache, cloud and journal are compared. Memory "
        "is that of a dashboard after a third of its groups and at the end. `make monkey SEED=1` plays seed 1 again.",
        ("Seed", "Seconds", "Groups", "Keys", "Writes", "Confirmed", "Unasked", "Crashes", "Wrong", "Memory, MB"),
    )
    for seed in SEEDS if ground.long else SEEDS[:1]:
        folder = ground.folder / str(seed)
        folder.mkdir()
        found = run(replace(ground, folder=folder), seed, SECONDS * (2 if ground.long else 1))
        table.rows.append(_row(found))
        table.bad += [f"seed {seed}: {one}" for one in found.bad]
    yield table


def _row(found: Found) -> tuple[str, ...]:
    counts = (found.groups, found.keys, found.writes, found.confirmed)
    bad = (found.unasked, found.crashes, found.wrong)
    memory = ", ".join(f"{early} → {late}" for early, late in found.memory) or "–"
    return (
        str(found.seed), f"{found.seconds:.0f}", *(f"{count:,}" for count in counts), *(str(len(one)) for one in bad),
        memory,
    )  # fmt: skip
