"""Shared by the tests of commands: a cache in memory, and a session on an empty account."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.secret import Secret
from backend.session import Session
from tests.backend.cloud_support import behind_proxy, stocked
from tests.backend.command_support import STOCK, untouched
from tests.ec2_proxy import Proxy


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Cache]:
    """Tests that do not depend on the cache's server use the one that starts fastest."""
    opened = open_cache(MongoDB(Secret("memory")), tmp_path, KINDS.values())
    yield opened
    opened.close()


@pytest.fixture
def session(cloud: Cloud, memory: Cache, tmp_path: Path) -> Session:
    """A session on an empty account, with refresh on and a second cloud in the configuration."""
    other = replace(cloud, name="other", default=Defaults("eu-west-1"))
    settings = Settings({"aws": cloud, "other": other}, "aws", tmp_path / "cloudmesh.yaml")
    made = Session(settings, cloud, memory, tmp_path / "home", backoff=(0.0, 0.1, 0.1))
    stocked(memory, made.scope, STOCK)
    return made


@pytest.fixture
def offline(memory: Cache, tmp_path: Path) -> Session:
    """A session that fails the test when a request goes to the cloud."""
    cloud = Cloud("aws")
    made = Session(Settings({"aws": cloud}, "aws"), cloud, memory, tmp_path / "home", connector=untouched)
    stocked(memory, made.scope, STOCK)
    return made


@pytest.fixture
def ec2(session: Session) -> Provider:
    """The cloud itself, without the cache."""
    return connect(session.cloud)


@pytest.fixture
def both(memory: Cache, cloud: Cloud, tmp_path: Path) -> Iterator[tuple[Session, Proxy]]:
    """A session whose requests go through a proxy, and that proxy."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        yield session, proxy
