"""What the tests of the dashboard share: one demo a module, with its clock in the test's hand, and a cache of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache, open_cache
from backend.config import Poll, Settings
from backend.demo import DemoCloud
from backend.demo_content import CANONICAL
from backend.kinds import KINDS
from backend.refresh import refresh_many
from backend.session import Session
from tests.tui.driving import DELAY, Clock, World, copied


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def demo(clock: Clock) -> Iterator[DemoCloud]:
    with DemoCloud(DELAY, clock=clock) as demo:
        clock.now += 3 * DELAY  # what it starts with has come to rest
        yield demo


def configured(demo: DemoCloud) -> Settings:
    """Return the demo's settings with a few images, so that a test takes less time."""
    settings = demo.settings()
    clouds = {name: replace(cloud, images=("self", CANONICAL.account or "")) for name, cloud in settings.clouds.items()}
    return replace(settings, clouds=clouds)


@pytest.fixture(scope="module")
def listed(demo: DemoCloud, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache with all that the demo's first cloud has, listed once."""
    settings = configured(demo)
    cache = open_cache(settings.mongodb, tmp_path_factory.mktemp("home"))
    session = Session(settings, settings.clouds["demo"], cache, tmp_path_factory.mktemp("home"))
    done = refresh_many(list(KINDS.values()), session.connect, cache, session.scope)
    assert [one.error for one in done] == [None] * len(KINDS)
    return cache


@pytest.fixture
def world(demo: DemoCloud, listed: Cache, tmp_path: Path) -> World:
    settings = replace(configured(demo), poll=Poll(in_flight=0.1))
    return World(settings, copied(listed, open_cache(settings.mongodb, tmp_path)), tmp_path)
