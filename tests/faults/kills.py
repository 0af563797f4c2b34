"""kill -9 of a refresh at any moment, and of the server that it writes to."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.errors import CacheError, CloudmeshError
from backend.journal.recovery import recover
from backend.kinds.model import Scope
from backend.refresh import Progress, refresh
from backend.secret import Secret
from tests.backend.cache_support import FakeCloud, ids, items
from tests.backend.cloud_support import run
from tests.backend.server_support import keeper_of, kill, mongod_of
from tests.ec2_proxy import Proxy
from tests.faults.model import Ground, Section
from tests.faults.scene import Scene, staged
from tests.tui.shell import Shell
from tests.tui.terminal import Terminal

TREE = Path(__file__).parents[2]
IMAGE = KINDS["image"]
AT_ONCE = 10.0
"""Seconds within which the next refresh must end, whichever owner of the lease was killed: far less than a lease."""

ACTIONS = (
    "DescribeVolumes",
    "DescribeInstances",
    "DescribeKeyPairs",
    "DescribeImages",
    "DescribeInstanceTypes",
    "DescribeAvailabilityZones",
)

_PAGES = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.kinds.model import Scope
from backend.config import MongoDB
from backend.catalog import KINDS
from backend.refresh import refresh
from backend.secret import Secret
from tests.backend.cache_support import FakeCloud, items
home, kind, number = sys.argv[1:]
kind = KINDS[kind]
cache = open_cache(MongoDB(Secret("embedded")), Path(home), KINDS.values())
def stop():
    sys.stdin.readline()
pages = [items(kind, f"new-{at}") for at in range(int(number))]
def on_progress(progress):
    print(progress.pages, flush=True)
refresh(kind, FakeCloud(**{kind.plural: [*pages, stop]}), cache, Scope("pages", "r"), progress=on_progress)
"""
"""A program whose refresh stops after some pages, to be killed."""


class Killing:
    """A cache that lives on, a shell with programs that share it, and what was found to be broken."""

    def __init__(self, ground: Ground, scene: Scene, cache: Cache, shell: Shell) -> None:
        self.ground, self.scene, self.cache, self.shell = ground, scene, cache, shell
        self.bad: list[str] = []
        self.rows: list[tuple[str, ...]] = []

    def note(self, what: str, times: int, moments: str, checked: str, broken: list[str]) -> None:
        self.rows.append((what, str(times), moments, checked, str(len(broken))))
        self.bad += [f"{what}: {one}" for one in broken]

    # --- what refreshes -----------------------------------------------------------------------------------------------

    def refreshes(
        self, what: str, start: Callable[[], Iterator[subprocess.Popen[str] | subprocess.Popen[bytes]]]
    ) -> None:
        """Kill what refreshes everything while each of its calls is held, before it is carried out and after."""
        broken: list[str] = []
        points = [(action, after) for action in ACTIONS for after in (False, True)]
        points = points if self.ground.long else points[1:4:2]
        for action, after in points:
            self.scene.volume(f"{what}-{action}-{after}")
            before = {name: set(ids(self.cache, KINDS[name], self.scene.scope)) for name in KINDS}
            with held(self.scene.proxy, action, after), contextmanager(start)() as process:
                event = self.scene.proxy.acted if after else self.scene.proxy.reached
                if not event.wait(30):
                    broken.append(f"{action} was never asked")
                process.kill()
                process.wait()
            for name in KINDS:
                if gone := before[name] - set(ids(self.cache, KINDS[name], self.scene.scope)):
                    broken.append(f"at {action} rows were removed: {gone}")
            broken += self._next(f"after {action}")
        checked = "no row gone; the next refresh within seconds makes rows, records and cloud equal"
        self.note(what, len(points), "each call of a refresh, before and after it was carried out", checked, broken)

    def _next(self, when: str) -> list[str]:
        began = time.monotonic()
        broken = [*self.scene.refreshed(self.cache), *self.scene.wrong(self.cache)]
        if (seconds := time.monotonic() - began) > AT_ONCE:
            broken.append(f"the next refresh took {seconds:.0f} s")
        return [f"{when}: {one}" for one in broken]

    def headless(self) -> Iterator[subprocess.Popen[str]]:
        with self.shell.start("--refresh") as process:
            yield process

    def dashboard(self) -> Iterator[subprocess.Popen[bytes]]:
        for kind in KINDS.values():  # else nothing is stale
            self.cache.store.database["refreshes"].update_one(
                {"_id": self.scene.scope.key(kind.name)}, {"$set": {"finished": None}}
            )
        environment = {**self.shell.environment, "TERM": "xterm-256color"}
        with Terminal(self.shell.folder, "--cloud", "east", cwd=self.shell.config.parent, **environment) as terminal:
            terminal.sees("images")
            yield terminal.process

    def pages(self) -> None:
        """Kill a refresh after each number of pages."""
        broken: list[str] = []
        scope = Scope("pages", "r")
        numbers = range(6) if self.ground.long else (2,)
        kinds = [KINDS["vm"], IMAGE] if self.ground.long else [IMAGE]
        for kind in kinds:
            for number in numbers:
                refresh(kind, FakeCloud(**{kind.plural: [items(kind, "old")]}), self.cache, scope)
                last = self.cache.refreshes.of(kind, scope)
                words = [sys.executable, "-c", _PAGES, str(self.shell.home), kind.name, str(number)]
                with subprocess.Popen(words, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
                    assert one.stdout is not None
                    while number and one.stdout.readline() != f"{number}\n":
                        pass
                    one.kill()
                if (there := ids(self.cache, kind, scope)) != [*(f"new-{at}" for at in range(number)), "old"]:
                    broken.append(f"after {number} pages there are {there}")
                record = self.cache.refreshes.of(kind, scope)
                if (record.finished, record.count) != (last.finished, last.count):
                    broken.append(f"after {number} pages the record says {record}")
                began = time.monotonic()
                refresh(kind, FakeCloud(**{kind.plural: [items(kind, "a")]}), self.cache, scope)
                if ids(self.cache, kind, scope) != ["a"] or time.monotonic() - began > AT_ONCE:
                    broken.append(f"after {number} pages the next refresh was not right")
        checked = "the pages are there, nothing else is gone, the record is the last complete one's; the next is right"
        self.note("A refresh of many pages", len(kinds) * len(numbers), "after each page", checked, broken)


# --- the server -------------------------------------------------------------------------------------------------------

Victim = Callable[[Path], int | None]


def batches(ground: Ground, home: Path, victim: Victim) -> tuple[int, list[str]]:
    """Kill the server while images are written, whose batches do not wait for the disk.

    Return how often, and what broke.
    """
    broken: list[str] = []
    scope = Scope("killed", "r")
    pages = [items(IMAGE, *(f"{page}-{number}" for number in range(400))) for page in range(4)]
    everything = sorted(item["id"] for page in pages for item in page)
    moments = range(1, 6) if ground.long else (2, 5)
    for moment in moments:
        cache = open_cache(MongoDB(Secret("embedded"), f"{victim.__name__}{moment}"), home, KINDS.values())
        left = [moment]

        def on_progress(progress: Progress, left: list[int] = left) -> None:
            if left == [progress.pages]:
                left.clear()  # it may list again
                kill(victim(home))

        said = ""
        try:
            refresh(IMAGE, FakeCloud(images=pages), cache, scope, progress=on_progress)
        except CacheError as error:
            said = str(error)
        if left:  # right after the end
            kill(victim(home))
        cache.revive()
        record = cache.refreshes.of(IMAGE, scope)
        complete = record.finished is not None and not record.error
        if complete and ids(cache, IMAGE, scope) != everything:
            broken.append(
                f"after {moment} pages the record is complete, and {cache.rows.count(IMAGE, scope)} rows are there"
            )
        if not complete and not said:
            broken.append(f"after {moment} pages nothing reported that it was not complete")
        refresh(IMAGE, FakeCloud(images=pages), cache, scope)
        if ids(cache, IMAGE, scope) != everything:
            broken.append(f"after {moment} pages the next refresh did not find all")
        cache.store.client.drop_database(cache.store.database.name)
        cache.close()
    return len(moments), broken


def commands(scene: Scene, home: Path, victim: Victim) -> tuple[int, list[str]]:
    """Kill the server while a command waits for its answer, before it is carried out and after."""
    broken: list[str] = []
    cache = open_cache(MongoDB(Secret("embedded")), home, KINDS.values())
    session = scene.world(cache, home).session()
    session = replace(session, backoff=(0.1, 0.1))
    for after in (False, True):
        name = f"made-{victim.__name__}-{after}"
        with ThreadPoolExecutor() as pool, held(scene.proxy, "CreateVolume", after):
            done = pool.submit(run, session, f"volume create {name} --size 1")
            reached = scene.proxy.acted if after else scene.proxy.reached
            assert reached.wait(30)
            kill(victim(home))
            scene.proxy.released.set()
            with suppress(CloudmeshError):
                done.result(60)
        cache.revive()
        recover(session, resend=True)
        broken += scene.lost(cache, [name])
    broken += [*scene.refreshed(cache), *scene.wrong(cache)]
    cache.close()
    return 2, broken


@contextmanager
def held(proxy: Proxy, action: str, after: bool) -> Iterator[None]:
    """Hold the next call of an action, before it is carried out or after, as long as the block runs."""
    for event in (proxy.reached, proxy.acted, proxy.released):
        event.clear()
    if after:
        proxy.hold_reply(action)
    else:
        proxy.held = {action}
    try:
        yield
    finally:
        proxy.held = set()
        proxy.released.set()
        proxy.wait_idle()


def sections(ground: Ground) -> Iterator[Section]:
    """Kill each of them at many moments."""
    table = Section(
        "Processes killed",
        "Killed with kill -9, on one embedded cache and a simulated EC2 whose proxy holds one request. The next "
        f"refresh must end within {AT_ONCE:.0f} s, although a lease lasts longer.",
        ("What was killed", "Times", "When", "What was checked", "Broken"),
    )
    home = ground.folder / "home"
    for folder in (home, ground.folder / "user"):
        folder.mkdir()
    with staged(ground) as scene:
        shell = Shell(ground.folder / "user", home)
        shell.configure(scene.proxy.endpoint, "embedded")
        cache = open_cache(MongoDB(Secret("embedded")), home, KINDS.values())
        try:
            scene.refreshed(cache)
            killing = Killing(ground, scene, cache, shell)
            killing.refreshes("--refresh without a screen", killing.headless)
            killing.refreshes("A dashboard", killing.dashboard)
            killing.pages()
        finally:
            cache.close()
        for victim in (mongod_of, keeper_of) if ground.long else (mongod_of,):
            what = "The embedded mongod" if victim is mongod_of else "The keeper of the embedded mongod"
            own = ground.folder / victim.__name__  # of a mongod that dies four times within a minute its keeper lets go
            times, broken = batches(ground, own, victim)
            checked = "a record is complete only if all its rows are there; the next refresh finds what was lost"
            killing.note(what, times, "after each batch of images, and after the last", checked, broken)
            times, broken = commands(scene, ground.folder / f"{victim.__name__} and a command", victim)
            checked = "the journal says whether the volume was made"
            killing.note(what, times, "while a command waited for its answer", checked, broken)
    table.rows += killing.rows
    table.bad += killing.bad
    yield table
