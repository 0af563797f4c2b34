"""Measures refreshes without a screen: `cloudmesh-tui --refresh images` against the floor and the stock clients."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from backend.mongod import EmbeddedServer
from backend.mongod_keeper import try_lock
from tests.bench.baselines import IMPORTS
from tests.bench.endpoint import serving
from tests.bench.processes import Ran, run
from tests.bench.report import Figure, median, seconds, spread

SIZES = (25_000, 100_000, 200_000)
MIDDLE = 100_000
"""The size of SIZES at which ours is compared with the others."""
FIRST, AGAIN = 2.0, 1.5
"""How many times the floor's seconds a refresh may take."""
FASTER = 5.0
"""How many times faster than the stock clients it must be."""
WITHIN = 0.2
"""The largest allowed excess of the largest figure over the smallest, if the size must make no difference."""
MEMORY = 120
"""Megabytes above the imports."""
MB = 1_000_000

LONG = 2
"""The stock clients and the other sizes take minutes, so they run in one of N rounds."""
STOCK = {"libcloud": "libcloud's stock list_images", "boto3": "boto3's paginator"}

Rounds = dict[int, Ran]
"""What one thing did in the rounds in which it ran, so that it is compared with its neighbours."""

_DATABASE = "cloudmesh"
_CONFIGURATION = """\
cloudmesh:
  mongodb:
    uri: embedded
    database: {database}
  clouds:
    bench:
      provider: ec2
      endpoint: {url}
      images: [all]
      credentials:
        EC2_ACCESS_KEY: AKIABENCHMARK
        EC2_SECRET_KEY: no-secret
      default:
        location: us-east-1
"""


class Program:
    """The program as it is installed, with a home of its own whose server stays up from run to run."""

    def __init__(self, home: Path, client: MongoClient[dict[str, Any]]) -> None:
        self._home = home
        self._client = client

    def refresh(self, url: str) -> Ran:
        """Refresh the images of an endpoint into the cache. Raises RuntimeError if that fails."""
        file = self._home / "cloudmesh.yaml"
        file.touch(mode=0o600)
        file.write_text(_CONFIGURATION.format(database=_DATABASE, url=url), encoding="utf-8")
        words = ("-m", "tui", "--config", str(file), "--refresh", "images", "--json")
        return run(words, {"CLOUDMESH_HOME": str(self._home)})

    def forget(self) -> None:
        """Empty the cache."""
        self._client.drop_database(_DATABASE)

    def writes(self) -> int:
        """Return how often the server has written to the rows of images, as its storage engine counts."""
        counted = self._client[_DATABASE].command("collStats", "images")["wiredTiger"]["cursor"]
        return sum(int(counted[name]) for name in ("insert calls", "modify", "remove calls", "update calls"))


@contextmanager
def program() -> Iterator[Program]:
    """Yield the program in a home that is thrown away at the end."""
    with ExitStack() as closing:
        home = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="cloudmesh-bench-")))
        server = EmbeddedServer(home)
        uri = server.start()
        closing.callback(_wait, home)
        closing.callback(server.stop)
        client: MongoClient[dict[str, Any]] = closing.enter_context(MongoClient(uri))
        yield Program(home, client)


def _wait(home: Path) -> None:
    """Wait until the server has ended, because its files are removed next."""
    until = time.monotonic() + 30
    with open(home / "mongod" / "keeper.lock", "rb+") as lock:
        while not try_lock(lock.fileno()) and time.monotonic() < until:
            time.sleep(0.05)


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figures of refreshes without a screen."""
    ran: dict[str, Rounds] = {}
    written = 0

    def note(name: str, number: int, one: Ran, count: int = 0) -> None:
        if count and one.output["count"] != count:
            raise RuntimeError(f"{name} found {one.output['count']} images of {count}.")
        ran.setdefault(name, {})[number] = one

    with ExitStack() as closing:
        urls = {size: closing.enter_context(serving(images=size)) for size in SIZES}
        ours = closing.enter_context(program())
        for number in range(runs):
            every = number % LONG == 0
            note("imports", number, run(IMPORTS))
            for size in SIZES if every else (MIDDLE,):
                if size == MIDDLE:
                    note("floor", number, run(("-m", "tests.bench.baselines", "floor", urls[MIDDLE])), MIDDLE)
                ours.forget()
                note(f"first {size}", number, ours.refresh(urls[size]), size)
                before = ours.writes()
                note(f"again {size}", number, ours.refresh(urls[size]), size)
                written = max(written, ours.writes() - before)
            for stock in STOCK if every else ():
                note(stock, number, run(("-m", "tests.bench.baselines", stock, urls[MIDDLE])), MIDDLE)
    yield from _compared(ran)
    yield _unwritten(ran, written)
    yield from _grown(ran)


def _compared(ran: Mapping[str, Rounds]) -> Iterator[Figure]:
    floor, first, again = (ran[name] for name in ("floor", f"first {MIDDLE}", f"again {MIDDLE}"))
    took = f"took {seconds(_typical(floor))} in the same rounds"
    for what, ours, target, how in (
        (
            f"refresh of {MIDDLE:,} images, first time",
            first,
            FIRST,
            "`cloudmesh-tui --refresh images --json` into a real mongod, the seconds that it prints; from its start to "
            f"its end it was {seconds(median(one.wall for one in first.values()))}. The floor, requests and lxml's "
            f"iterparse on pages of 1,000 with nothing stored, {took}.",
        ),
        ("the same again, nothing changed", again, AGAIN, f"With what the first time has left. The floor {took}."),
    ):
        ratios = _ratios(ours, floor)
        measured = f"{spread(ratios, ' ×')}, {seconds(_typical(ours))}"
        yield Figure(what, f"≤ {target} × the floor", measured, median(ratios) <= target, how)
    for name, title in STOCK.items():
        ratios = _ratios(ran[name], first)
        yield Figure(
            f"the first time, against {title}",
            f"≥ {FASTER:.0f} × faster",
            spread(ratios, " ×"),
            median(ratios) >= FASTER,
            f"{title} took {seconds(_typical(ran[name]))} for {MIDDLE:,} images in {_times(ratios)} and stores "
            f"nothing; its peak memory was {_peak(ran[name]):,.0f} MB, ours {_peak(first):,.0f} MB.",
        )


def _unwritten(ran: Mapping[str, Rounds], written: int) -> Figure:
    outputs = [one.output for size in SIZES for one in ran[f"again {size}"].values()]
    differences = sum(output[what] for output in outputs for what in ("added", "changed", "removed"))
    return Figure(
        "rows written by that",
        "none",
        f"{written:,}",
        written == differences == 0,
        f"What the storage engine counts at {_listed(f'{size:,}' for size in SIZES)} images, at most in one run; the "
        f"{len(outputs)} refreshes spoke of {differences:,} added, changed or removed.",
    )


def _grown(ran: Mapping[str, Rounds]) -> Iterator[Figure]:
    sizes = f"{SIZES[0]:,} to {SIZES[-1]:,} images"
    both = ran[f"first {SIZES[0]}"]
    times = {size: [one.output["seconds"] / size * 1e6 for one in _in(ran[f"first {size}"], both)] for size in SIZES}
    each = {size: median(values) for size, values in times.items()}
    growth = max(each.values()) / min(each.values()) - 1
    yield Figure(
        f"time of a first refresh, {sizes}",
        f"linear within {WITHIN:.0%}",
        f"within {growth:.0%}",
        growth <= WITHIN,
        f"By how much the slowest exceeds the fastest of these microseconds an image, in {_times(times[MIDDLE])}: "
        f"{_listed(f'{spread(values, digits=0)} at {size:,}' for size, values in times.items())}.",
    )
    imports = _peak(ran["imports"])
    peaks = {size: max(_peak(ran[f"{when} {size}"]) for when in ("first", "again")) for size in SIZES}
    above = {size: peak - imports for size, peak in peaks.items()}
    yield Figure(
        f"peak memory of a headless refresh, {sizes}",
        f"≤ {MEMORY} MB above the imports",
        f"{max(above.values()):.0f} MB",
        max(above.values()) <= MEMORY,
        f'`python -c "import libcloud, pymongo"` has {imports:.0f} MB. Above that, the larger of first time and again: '
        f"{_listed(f'{extra:.0f} MB at {size:,}' for size, extra in above.items())}.",
    )
    rises = [max(values.values()) / min(values.values()) - 1 for values in (above, peaks)]
    yield Figure(
        f"growth of that, {sizes}",
        f"flat within {WITHIN:.0%}",
        f"within {rises[0]:.0%}",
        rises[0] <= WITHIN,
        "By how much the largest exceeds the smallest, of what is above the imports; of the whole process it is "
        f"{rises[1]:.0%}.",
    )


def _ratios(these: Rounds, those: Rounds) -> list[float]:
    """Return how many times longer these took than those, round by round."""
    return [these[number].output["seconds"] / those[number].output["seconds"] for number in these if number in those]


def _in(these: Rounds, those: Rounds) -> list[Ran]:
    """Return these of the rounds in which those ran too."""
    return [one for number, one in these.items() if number in those]


def _typical(ran: Rounds) -> float:
    return median(one.output["seconds"] for one in ran.values())


def _peak(ran: Rounds) -> float:
    return median(one.peak / MB for one in ran.values())


def _times(values: Sequence[object]) -> str:
    return "one round" if len(values) == 1 else f"{len(values)} rounds"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}"
