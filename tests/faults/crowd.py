"""Eight processes at once on one embedded cache and one account; some are killed all the time."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.journal.recovery import recover
from backend.secret import Secret
from tests.faults.model import Ground, Section
from tests.faults.scene import Scene, staged
from tests.tui.shell import Shell
from tests.tui.terminal import Terminal

TREE = Path(__file__).parents[2]

_WORKER = """
import json, sys
from itertools import count
from pathlib import Path
from backend.cache import open_cache
from backend.commands.run import execute
from backend.commands.grammar import parse, split
from backend.journal.recovery import recover
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.providers.ec2.entry import ec2_keys
from backend.errors import CloudmeshError
from backend.catalog import KINDS
from backend.refresh import refresh_many
from backend.secret import Secret
from backend.session import Session
home, endpoint, name, *lines = sys.argv[1:]
keys = ec2_keys(Secret("AKIATESTING"), Secret("testing-secret"))
cloud = Cloud("east", endpoint=endpoint, images=("self",), credentials=keys, default=Defaults("us-east-1"))
cache = open_cache(MongoDB(Secret("embedded")), Path(home), KINDS.values())
session = Session(Settings({"east": cloud}, "east"), cloud, cache, Path(home))
def tell(**what):
    print(json.dumps(what), flush=True)
if lines:
    recover(session, resend=True)
kinds = [KINDS[kind] for kind in ("volume", "vm", "keypair", "image")]
for number in count():
    for line in lines:
        line = line.format(f"{name}-{number}")
        try:
            execute(parse(split(line)), session)
            tell(done=line)
        except CloudmeshError as error:
            tell(failed=line, why=str(error))
    if not lines:
        for one in refresh_many(kinds, session.connect, cache, session.scope):
            tell(refreshed=one.kind, shared=one.shared, error=one.error)
"""
"""A program that refreshes, or gives commands, over and over until it is killed."""


@dataclass
class Report:
    """What all workers have said."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    listed: int = 0
    shared: int = 0

    def take(self, line: str) -> None:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:  # it was killed in the middle of it
            return
        if "done" in said:
            self.done.append(said["done"])
        elif "failed" in said:
            self.failed.append(f"{said['failed']}: {said['why']}")
        elif said["error"]:
            self.failed.append(f"{said}")
        elif "shared" in said:  # a line of --refresh --json does not say so
            self.shared += said["shared"]
            self.listed += not said["shared"]


class Worker:
    """One of the eight: a program that is started again when it has been killed, or has ended."""

    def __init__(self, words: list[str], report: Report, **options: Any) -> None:
        self._words, self._report, self._options = words, report, options
        self._threads: list[threading.Thread] = []
        self.started = 0
        self.start()

    def start(self) -> None:
        self.started += 1
        words = [word.replace("{run}", str(self.started)) for word in self._words]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **self._options)
        thread = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._report.take(line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()


def sections(ground: Ground) -> Iterator[Section]:
    """Run the processes, kill some, and check what is left."""
    seconds = 60 if ground.long else 7
    table = Section(
        "Eight processes on one cache",
        "Three processes run `--refresh` again and again, two of them without exiting in between; three give commands"
        " (volume create, vm tag); two are dashboards. Every second process, except the dashboards, is killed with "
        "kill -9 and restarted. At the end the next start recovers what was left, everything is refreshed once more, "
        "and cache, cloud and journal are compared. Shared: refreshes that waited for another process's listing.",
        ("Processes", "Seconds", "Killed", "Commands done", "Refreshes listed", "Shared", "Lost", "Wrong"),
    )
    home, user = ground.folder / "home", ground.folder / "user"
    for folder in (home, user):
        folder.mkdir()
    with staged(ground) as scene:
        shell = Shell(user, home)
        shell.configure(scene.proxy.endpoint, "embedded")
        cache = open_cache(MongoDB(Secret("embedded")), home, KINDS.values())
        try:
            table.bad += scene.refreshed(cache)
            report, killed, bad = _crowd(scene, shell, seconds)
            table.bad += bad
            session = scene.world(cache, home).session()
            recover(session, resend=True)
            wrong = [*scene.refreshed(cache), *scene.wrong(cache)]
            made = [line.split()[2] for line in report.done if line.startswith("volume create")]
            made += [str(name) for name in scene.listed("volume").values() if str(name).startswith("made-")]
            outcomes: dict[str, list[str]] = {}
            for entry in cache.journal.newest(100_000):
                outcomes.setdefault(entry["command"], []).append(entry["outcome"])
            lost = scene.lost(cache, dict.fromkeys(made))
            lost += [f"{line} was done, and the journal says {outcomes.get(line)}" for line in report.done
                     if "done" not in outcomes.get(line, ())]  # fmt: skip
        finally:
            cache.close()
    table.rows.append(
        ("8", str(seconds), str(killed), str(len(report.done)), str(report.listed), str(report.shared), str(len(lost)),
         str(len(wrong)))
    )  # fmt: skip
    table.bad += [*lost, *wrong, *dict.fromkeys(report.failed)]
    if not report.done or not report.listed or not report.shared:
        table.bad.append(f"Too little was done to tell anything: {table.rows}")
    yield table


def _crowd(scene: Scene, shell: Shell, seconds: float) -> tuple[Report, int, list[str]]:
    """Run the eight processes; return their reports, how many were killed, and what is wrong with the dashboards."""
    report, dice, killed = Report(), random.Random(5), 0  # noqa: S311 - a test's dice
    ours = [sys.executable, "-c", _WORKER, str(shell.home), scene.proxy.endpoint]
    vms = [native for native, name in scene.listed("vm").items() if name]
    lines = [
        [],
        [],
        ["volume create made-{} --size 1"],
        ["volume create made-{} --size 1", f"vm tag {vms[0]} turn={{}}"],
        [f"vm tag {vms[1]} turn={{}}"],
    ]
    environment = {**shell.environment, "TERM": "xterm-256color"}
    with ExitStack() as stack:
        dashboards = [
            stack.enter_context(Terminal(shell.folder, "--cloud", "east", cwd=shell.config.parent, **environment))
            for _ in range(2)
        ]
        workers = [Worker([*ours, f"{number}-{{run}}", *line], report, cwd=TREE) for number, line in enumerate(lines)]
        words = [sys.executable, "-m", "tui", "--cloud", "east", "--refresh", "--json"]
        workers.append(Worker(words, report, cwd=shell.config.parent, env=shell.environment))
        for worker in workers:
            stack.callback(worker.end)
        end = time.monotonic() + seconds
        strike = time.monotonic() + 2
        while time.monotonic() < end:
            for terminal in dashboards:
                terminal.read(0.05)
            for worker in workers:
                if worker.process.poll() is not None:
                    worker.start()
            if time.monotonic() > strike:
                strike += 1
                killed += 1
                dice.choice(workers).process.kill()
        for worker in workers:
            worker.end()
        bad = [one for terminal in dashboards for one in _left(terminal)]
    scene.proxy.wait_idle()
    return report, killed, bad


def _left(terminal: Terminal) -> list[str]:
    """Leave a dashboard, and return what is wrong with it."""
    if terminal.process.poll() is not None:
        return [f"A dashboard has ended with {terminal.process.returncode}:\n{terminal.text}"]
    shown = terminal.text
    began = time.monotonic()
    terminal.type("q")
    status = terminal.ends()
    bad = [f"A dashboard says:\n{shown}"] if "✕" in shown else []
    seconds = time.monotonic() - began
    if status or seconds > 3:
        bad.append(f"A dashboard ended with {status} after {seconds:.1f} s")
    return bad
