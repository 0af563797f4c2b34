"""Runs the monkey test on two dashboards with one cache and a failing cloud, and compares all afterwards."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.journal.recovery import recover
from backend.secret import Secret
from tests.backend.ec2_faults import Reply, refusal
from tests.ec2_proxy import Call, Proxy
from tests.faults.model import Ground
from tests.faults.scene import Scene
from tests.monkey.cage import Caged
from tests.monkey.groups import LEAVE, SIZES, Group, groups
from tests.monkey.judge import strays, unasked, writes
from tests.tui.shell import Shell

FINAL = frozenset({"done", "failed", "cancelled"})

GROWS_BY = 48
"""MB that a dashboard may need more at the end than after the first third of its groups."""

ENOUGH = 60
"""Groups that one dashboard needs before its memory can be judged."""

LEFT_BY = 20.0
"""Seconds within which a dashboard is left by its keys, whatever the cloud does."""

_LAST = 14


@dataclass
class Found:
    """What the monkey did, and what was wrong."""

    seed: int
    groups: int = 0
    keys: int = 0
    seconds: float = 0.0
    writes: int = 0
    confirmed: int = 0
    unasked: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    """MB after a third of the groups, and at the end, of each dashboard that lived long enough."""

    @property
    def bad(self) -> list[str]:
        """A sentence for each thing that should not have happened."""
        grown = [f"Memory grew from {a} to {b} MB" for a, b in self.memory if b - a > GROWS_BY]
        return [*(f"Unasked: {one}" for one in self.unasked), *self.crashes, *self.wrong, *grown]


def run(ground: Ground, seed: int, seconds: float) -> Found:
    """Let the monkey play for some seconds; what it does follows from the seed alone."""
    found = Found(seed)
    home, user = ground.folder / "home", ground.folder / "user"
    for folder in (home, user):
        folder.mkdir()
    with Proxy(ground.moto) as proxy:
        scene = Scene(ground, proxy)
        shell = Shell(user, home)
        shell.configure(proxy.endpoint, "embedded")
        cache = open_cache(MongoDB(Secret("embedded")), home, KINDS.values())
        try:
            found.wrong += scene.refreshed(cache)
            proxy.calls.clear()
            _Play(found, scene, shell, cache).run(seconds)
        finally:
            cache.close()
    return found


class _Play:
    def __init__(self, found: Found, scene: Scene, shell: Shell, cache: Cache) -> None:
        self.found, self.scene, self.shell, self.cache = found, scene, shell, cache
        self.image = next(iter(scene.listed("image")))
        self.owners: dict[str, Caged] = {}
        self.last: deque[str] = deque(maxlen=_LAST)
        self.judged: set[str] = set()
        self.ended: list[Caged] = []

    def run(self, seconds: float) -> None:
        began = time.monotonic()
        with ExitStack() as stack:
            cages = [stack.enter_context(self._opened()) for _ in range(2)]
            for cage in cages:
                self._ready(cage)
            for group in groups(self.found.seed):
                if time.monotonic() - began > seconds:
                    break
                cage = cages[group.who]
                self._play(cage, cages[1 - group.who], group)
                if not cage.running:
                    self._crashed(cage)
                    cages[group.who] = stack.enter_context(self._opened())
                    self._ready(cages[group.who])
                if self.found.groups % 20 == 0:
                    self._judge()
            self._fault("none")
            for cage in cages:
                self._leave(cage)
        self.found.seconds = time.monotonic() - began
        self._compare()

    @contextmanager
    def _opened(self) -> Iterator[Caged]:
        environment = {**self.shell.environment, "TERM": "xterm-256color"}
        with Caged(self.shell.folder, "--cloud", "east", cwd=self.shell.config.parent, **environment) as cage:
            yield cage

    def _ready(self, cage: Caged) -> None:
        cage.sees("images", "? help", "east", seconds=60)

    # --- playing ------------------------------------------------------------------------------------------------------

    def _play(self, cage: Caged, other: Caged, group: Group) -> None:
        data = group.data.replace(b"{image}", self.image.encode())
        self.found.groups += 1
        self.found.keys += len(data)
        self.last.append(f"{self.found.groups}. {group}")
        if group.fault:
            self._fault(group.fault)
        else:
            try:
                cage.play(group, data)
            except OSError:
                if cage.running:
                    raise
        other.look()
        self._know(cage)
        if self.found.groups % 10 == 0:
            for one in (cage, other):
                one.memory.append((self.found.groups, one.resident()))

    def _know(self, cage: Caged) -> None:
        """Find the name of a dashboard in the journal; it has one after its first command."""
        if cage not in self.owners.values() and (name := cage.owner(self.shell.home / "running")):
            self.owners[name] = cage

    def _fault(self, name: str) -> None:
        proxy = self.scene.proxy
        proxy.throttle(0.4 if name == "throttled" else 0.0, self.found.groups)
        proxy.spoilt.clear()
        proxy.answers.clear()
        if name == "slow":
            proxy.spoilt["*"] = _slowly
        elif name == "refused":
            proxy.answers["StopInstances"] = refusal(400, "IncorrectInstanceState", "It is not in that state.")
            proxy.answers["DescribeVolumes"] = refusal(500, "InternalError", "An internal error has occurred")
        elif name in ("lost", "cut"):
            for action in ("StopInstances", "TerminateInstances", "CreateVolume", "DeleteVolume", "DescribeInstances"):
                proxy.cut(action, after=name == "lost")

    def _leave(self, cage: Caged) -> None:
        """Quit a dashboard as a user does, with any window open."""
        cage.resize(*SIZES[0])
        end = time.monotonic() + LEFT_BY
        while cage.running and time.monotonic() < end:
            for data in (LEAVE, b"q"):
                self._know(cage)
                try:
                    cage.play(Group(0, "write", wait=0.3), data)
                except OSError:
                    break
        if cage.running:
            self.found.crashes.append(f"A dashboard is not left by its keys:\n{cage.text}")
        elif cage.process.returncode:
            self._crashed(cage)
        self._ended(cage)

    def _crashed(self, cage: Caged) -> None:
        cage.look(0.2)
        did = "\n".join(self.last)
        status = cage.process.returncode
        self.found.crashes.append(f"A dashboard ended with {status} after\n{did}\nand its screen says\n{cage.text}")
        self._ended(cage)

    def _ended(self, cage: Caged) -> None:
        figures = [memory for _, memory in cage.memory if memory]
        if len(figures) * 10 >= ENOUGH:
            self.found.memory.append((figures[len(figures) // 3], figures[-1]))
        log = cage.log.read_text(errors="replace") if cage.log.exists() else ""
        if "Traceback" in log:
            self.found.crashes.append(f"A log has a traceback: …{log[log.index('Traceback') - 300 :][:3000]}")

    # --- judging ------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Judge the commands that are in the journal since the last time."""
        for entry in sorted(self.cache.journal.newest(10_000), key=lambda one: one["at"]):
            cage = self.owners.get(str(entry.get("owner")))
            if entry["_id"] in self.judged or cage is None:
                continue
            self.judged.add(entry["_id"])
            if why := unasked(entry, cage.sent):
                did = "\n".join(self.last)
                self.found.unasked.append(f"{entry['command']}: {why}; among\n{did}")
            else:
                self.found.confirmed += 1

    def _compare(self) -> None:
        found, scene, cache = self.found, self.scene, self.cache
        scene.proxy.wait_idle()
        self._judge()
        recover(scene.world(cache, self.shell.home).session())
        entries: list[dict[str, Any]] = list(cache.journal.newest(10_000))
        found.writes = len(writes(scene.proxy.calls))
        found.unasked += strays(scene.proxy.calls, entries)
        for entry in entries:
            if entry["_id"] not in self.judged:
                found.wrong.append(f"nobody knows which dashboard has given {entry['command']}: {entry}")
            if entry["outcome"] not in FINAL and not (entry["outcome"] == "unknown" and entry["settled"]):
                found.wrong.append(f"{entry['command']} is {entry['outcome']} still: {entry['error']}")
        found.wrong += [*scene.refreshed(cache), *scene.wrong(cache), *self._states()]

    def _states(self) -> list[str]:
        """Return the VMs with different states in the cache and in the cloud."""
        there = {item["id"]: item["state"] for page in self.scene.provider.of("vm").list() for item in page}
        rows = self.cache.store.database["vms"].find({"cloud": self.scope.cloud})
        kept = {row["id"]: row["state"] for row in rows}
        return [f"VM {one}: {kept.get(one)} in the cache, {there[one]} in the cloud" for one in there
                if kept.get(one) != there[one]]  # fmt: skip

    @property
    def scope(self) -> Any:
        return self.scene.scope


def _slowly(_call: Call, reply: Reply) -> Reply:
    time.sleep(0.3)
    return reply
