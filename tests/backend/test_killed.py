"""A command whose process is killed between the journal and the reply: done once; a living owner keeps it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.config import Cloud
from backend.journal.recovery import Recovered, recover
from backend.session import Session
from tests.backend.cloud_support import AMI, BOOT, behind_proxy, outcomes, run, sent, states
from tests.backend.ec2_faults import Reply

TREE = Path(__file__).parents[2]

WORKER = """
import sys
from pathlib import Path
from backend.cache import open_cache
from backend.commands.run import execute
from backend.commands.grammar import parse, split
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.catalog import KINDS
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from backend.session import Session
database, home, endpoint, line = sys.argv[1:]
keys = ec2_keys(Secret("AKIATESTING"), Secret("testing-secret"))
cloud = Cloud("aws", endpoint=endpoint, credentials=keys, default=Defaults(location="us-east-1"))
cache = open_cache(MongoDB(Secret("embedded"), database), Path(home), KINDS.values())
session = Session(Settings({"aws": cloud}, "aws"), cloud, cache, Path(home))
print(execute(parse(split(line)), session).message)
"""
"""A program that runs one command, to be killed."""


@contextmanager
def working(session: Session, line: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs a command; it is killed in the end."""
    words = [
        sys.executable,
        "-c",
        WORKER,
        session.cache.store.database.name,
        str(session.home),
        session.cloud.endpoint or "",
    ]
    with subprocess.Popen([*words, line], cwd=TREE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("tokens", [True, False])
def test_killed_when_ec2_has_booted(embedded: Cache, server_home: Path, cloud: Cloud, tokens: bool) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.tokens = tokens
        proxy.hold_reply("RunInstances")
        with working(session, BOOT) as process:
            assert proxy.acted.wait(30)
            killed(process)
        proxy.released.set()
        proxy.wait_idle()
        assert outcomes(embedded) == [(BOOT, "unfinished")]

        found = recover(session)
        (native,) = states(cloud)
        assert found == Recovered((f"{BOOT}: web ({native}) is booting from {AMI}.",))
        assert sent(proxy) == ["RunInstances"]
        (entry,) = embedded.journal.newest()
        assert (entry["outcome"], entry["objects"], entry["error"]) == ("done", [native], None)
        assert embedded.rows.named(KINDS["vm"], session.scope, native)
        assert recover(session) == Recovered()


@pytest.mark.parametrize("tokens", [True, False])
def test_killed_when_the_request_never_reaches_ec2(
    embedded: Cache, server_home: Path, cloud: Cloud, tokens: bool
) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.tokens = tokens
        proxy.held = {"RunInstances"}
        with working(session, BOOT) as process:
            assert proxy.reached.wait(30)
            killed(process)
        proxy.answers["RunInstances"] = Reply(hang_up=True)
        proxy.released.set()
        proxy.wait_idle()
        proxy.answers.clear()
        assert states(cloud) == {}

        assert len(recover(session, resend=True).messages) == 1
        (native,) = states(cloud)
        first, second = (call for call in proxy.calls if call.action == "RunInstances")
        assert (first.passed, second.passed) == (False, True)
        assert first.params == second.params
        (entry,) = embedded.journal.newest()
        assert (entry["outcome"], entry["objects"]) == ("done", [native])
        assert recover(session) == Recovered()


def test_a_request_that_arrives_after_it_was_repeated(embedded: Cache, server_home: Path, cloud: Cloud) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.held = {"RunInstances"}
        with working(session, BOOT) as process:
            assert proxy.reached.wait(30)
            killed(process)
        proxy.held = set()
        assert len(recover(session, resend=True).messages) == 1
        proxy.released.set()
        proxy.wait_idle()
        assert len(states(cloud)) == 1


def test_a_command_of_a_process_that_lives_is_left_to_it(embedded: Cache, server_home: Path, cloud: Cloud) -> None:
    with behind_proxy(cloud, embedded, server_home) as (session, proxy):
        proxy.hold_reply("RunInstances")
        with working(session, BOOT) as process:
            assert proxy.acted.wait(30)
            before = embedded.journal.newest()
            proxy.calls.clear()
            assert recover(session) == Recovered()
            assert proxy.calls == []
            assert embedded.journal.newest() == before
            assert run(session, "journal drop").message.startswith("0 commands")
            proxy.released.set()
            message, _ = process.communicate(timeout=30)
        assert "is booting from" in message
        assert outcomes(embedded) == [(BOOT, "done")]
        assert len(states(cloud)) == 1
