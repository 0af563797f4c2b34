"""Shared by the cache's fault suites: a small account behind a proxy, a dashboard, and what must hold after."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from backend.cache import Cache
from backend.catalog import KINDS
from backend.config import Cloud, Poll, Settings
from backend.kinds.model import Scope
from backend.providers.ec2.provider import EC2Provider
from backend.providers.registry import connect
from backend.refresh import refresh_many
from tests.ec2_proxy import Proxy
from tests.faults.model import Ground
from tests.tui.dashboard import World
from tests.tui.shell import booted

FRESH = 1.0
"""Seconds for which a dashboard of these suites believes what it shows."""


class Scene:
    """An account with a few objects of every kind, behind a proxy."""

    def __init__(self, ground: Ground, proxy: Proxy, name: str = "east") -> None:
        self.proxy = proxy
        self.direct = ground.cloud(name)
        self.cloud: Cloud = replace(self.direct, endpoint=proxy.endpoint)
        self.scope = Scope(name, "us-east-1")
        self.provider = EC2Provider(self.direct)
        """Another way to the cloud, past the proxy."""
        for number in range(3):
            booted(self.direct, self.provider, f"vm-{'x' * number}")
            self.provider.of("keypair").create(f"key-{number}")
        for number in range(12):
            self.volume(f"volume-{number}")
        self.volumes = len(self.listed("volume"))
        """How many volumes there are; a VM's own is one."""

    def listed(self, kind: str) -> dict[str, str | None]:
        """Return the names of what the cloud has of a kind, by id."""
        pages = connect(self.cloud).of(kind).list()
        return {item["id"]: item.get("name") for page in pages for item in page}

    def volume(self, name: str) -> None:
        """Create a volume behind everybody's back."""
        self.provider.of("volume").create(name, 1, "us-east-1a", name)

    def world(self, cache: Cache, home: Path) -> World:
        """Return what a dashboard on a cache is driven with; volumes are fetched again after FRESH seconds."""
        ages = {kind.name: kind.max_age for kind in KINDS.values()} | {"volume": FRESH}
        settings = Settings({self.cloud.name: self.cloud}, self.cloud.name, poll=Poll(in_flight=0.2), max_age=ages)
        return World(settings, cache, home)

    def refreshed(self, cache: Cache) -> list[str]:
        """Refresh everything, and return why what failed did."""
        done = refresh_many(list(KINDS.values()), lambda *hooks: connect(self.cloud, *hooks), cache, self.scope)
        return [one.error for one in done if one.error]

    def wrong(self, cache: Cache) -> list[str]:
        """Return what is wrong with the rows and records of a cache whose last refreshes have all ended well."""
        found = []
        for kind in KINDS.values():
            listed = self.listed(kind.name)
            documents = list(cache.store.database[kind.plural].find({"cloud": self.scope.cloud}))
            twice = [native for native, count in Counter(one["id"] for one in documents).items() if count > 1]
            found += [f"{kind.noun} {native} is there twice" for native in twice]
            if (rows := {one["id"]: one["name"] for one in documents}) != listed:
                found.append(f"{kind.nouns}: {len(rows)} rows for {len(listed)} in the cloud, or others")
            record = cache.refreshes.of(kind, self.scope)
            if record.count != len(documents) or record.error or record.batch or record.lease:
                found.append(f"{kind.nouns}: the record says {record}")
        return found

    def lost(self, cache: Cache, names: Iterable[str]) -> list[str]:
        """Return the volumes whose outcome in the journal is wrong, among those that commands were to create."""
        outcomes = {entry["command"].split()[2]: str(entry["outcome"]) for entry in cache.journal.newest(100_000)}
        there = Counter(self.listed("volume").values())
        wrong = [name for name in names if there[name] > 1 or (outcomes.get(name) == "done") is not (name in there)]
        return [f"{name} was made {there[name]} times, and the journal says {outcomes.get(name)}" for name in wrong]


@contextmanager
def staged(ground: Ground) -> Iterator[Scene]:
    """A scene for as long as the block runs."""
    with Proxy(ground.moto) as proxy:
        yield Scene(ground, proxy)
