"""Shared by the tests of the program: a demo whose clock the test moves, and a shell with a real cache."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.config import Cloud, Poll, Settings
from backend.demo import DemoCloud
from backend.demo_content import CANONICAL
from backend.mongod import EmbeddedServer
from backend.providers.ec2.provider import EC2Provider
from backend.refresh import refresh_many
from backend.session import Session
from tests.ec2_proxy import Proxy
from tests.tui.dashboard import DELAY, Clock, Documents, World, documents, filled
from tests.tui.shell import Shell


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def demo(clock: Clock) -> Iterator[DemoCloud]:
    with DemoCloud(DELAY, clock=clock) as demo:
        clock.now += 3 * DELAY  # its first VMs are settled
        yield demo


def configured(demo: DemoCloud) -> Settings:
    """Return the demo's settings with a few images, so that a test takes less time."""
    settings = demo.settings()
    clouds = {name: replace(cloud, images=("self", CANONICAL.account or "")) for name, cloud in settings.clouds.items()}
    return replace(settings, clouds=clouds)


@pytest.fixture(scope="module")
def listed(demo: DemoCloud, tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """The documents of a cache after one listing of the demo's first cloud."""
    settings = configured(demo)
    cache = open_cache(settings.mongodb, tmp_path_factory.mktemp("home"), KINDS.values())
    session = Session(settings, settings.clouds["demo"], cache, tmp_path_factory.mktemp("home"))
    done = refresh_many(list(KINDS.values()), session.connect, cache, session.scope)
    assert [one.error for one in done] == [None] * len(KINDS)
    return documents(cache)


@pytest.fixture
def world(demo: DemoCloud, listed: Documents, tmp_path: Path) -> World:
    settings = replace(configured(demo), poll=Poll(in_flight=0.1))
    return World(settings, filled(open_cache(settings.mongodb, tmp_path, KINDS.values()), listed), tmp_path)


# --- the program without a screen -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mongodb(server_home: Path) -> Iterator[str]:
    """The address of a real MongoDB server on a Unix socket."""
    with EmbeddedServer(server_home) as share:
        yield share.start()


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    assert cloud.endpoint is not None
    with Proxy(cloud.endpoint) as proxy:
        yield proxy


@pytest.fixture
def provider(cloud: Cloud) -> EC2Provider:
    """Another client of the same cloud."""
    return EC2Provider(replace(cloud, images=("self",)))


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A shell without a configuration."""
    return Shell(tmp_path, tmp_path / "data")


@pytest.fixture
def database(mongodb: str) -> Iterator[Database[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb, tz_aware=True) as client:
        name = f"shell-{uuid4().hex[:12]}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def shell(bare: Shell, proxy: Proxy, mongodb: str, database: Database[dict[str, Any]]) -> Shell:
    """A shell with a cache on a server that outlives each run."""
    bare.configure(proxy.endpoint, mongodb, database.name)
    return bare


@pytest.fixture
def forgetful(bare: Shell, proxy: Proxy) -> Shell:
    """A shell with a cache in memory, for tests of a single run."""
    bare.configure(proxy.endpoint, "memory")
    return bare
