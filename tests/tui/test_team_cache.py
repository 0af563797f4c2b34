"""A team's MongoDB, in the shell and on the screen, for a user who may only read."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.secret import Secret
from tests.backend.team_server import DATABASE, TeamServer
from tests.ec2_proxy import Proxy
from tests.tui.dashboard import World, copied, opened
from tests.tui.shell import Shell, sentence
from tui.widgets.status import MessageBar, StatusBar

pytestmark = pytest.mark.thorough


def cache_of(team: TeamServer, user: str) -> Cache:
    return open_cache(MongoDB(Secret(team.uri(user)), DATABASE), Path("/nowhere"), KINDS.values())


@pytest.fixture
def read_only(world: World, team: TeamServer) -> Iterator[World]:
    """The demo's rows on a team's server, as a user who may only read."""
    with closing(cache_of(team, "writer")) as writer:
        copied(world.cache, writer)
    with closing(cache_of(team, "reader")) as reader:
        yield world.with_cache(reader)


async def test_a_read_only_user_can_see_everything(read_only: World, team: TeamServer) -> None:
    async with opened(read_only) as user:
        await user.sees("web-1", "cache read-only")
        for kind in ("image", "flavor", "keypair", "location", "volume"):
            await user.show(kind)
            await user.until(lambda: user.table.total > 0)
        await user.show("vm")
        await user.go_to("web-1")
        await user.press("enter")
        await user.sees("─ vm web-1 ─")
        await user.press("escape")
        await user.back()
        await user.press("J")
        await user.sees("Journal")
        await user.press("escape")
        await user.back()
        with closing(cache_of(team, "writer")) as writer:  # somebody else's change comes by itself
            native = user.cursor_id
            writer.store.database["vms"].update_one({"id": native}, {"$set": {"name": "renamed-1"}})
            await user.sees("renamed-1")
        assert not user.app.main.query_one(MessageBar).display
        assert read_only.changing == []


@pytest.mark.parametrize("line", ["vm refresh", "refresh all", "vm stop web-1", "keypair create mine"])
async def test_what_a_reader_may_not_do_says_why(read_only: World, line: str) -> None:
    async with opened(read_only) as user:
        await user.run(line)
        await user.sees("is not run", "may only read it", "readWrite")
        assert read_only.changing == []


async def test_a_reader_is_offered_nothing_that_writes(read_only: World) -> None:
    async with opened(read_only) as user:
        await user.until(lambda: user.app.main.query_one(StatusBar).location)
        offered = user.app.completions("vm ")
        assert "vm list" in offered
        assert not {"vm refresh", "vm stop", "vm boot", "vm delete"} & set(offered)


def test_a_reader_in_the_shell(bare: Shell, proxy: Proxy, team: TeamServer) -> None:
    bare.configure(proxy.endpoint, team.uri("writer"), DATABASE)
    bare.lines("locations")
    bare.configure(proxy.endpoint, team.uri("reader"), DATABASE)
    listed = bare.run("location", "list")
    assert listed.returncode == 0
    assert "us-east-1a" in listed.stdout
    assert "may only read it" in sentence(listed)
    journal = bare.run("journal", "list")
    assert journal.returncode == 0, journal
    proxy.asked.clear()
    for words in (["--refresh"], ["location", "refresh"], ["--yes", "vm", "delete", "web"]):
        refused = bare.run(*words)
        assert refused.returncode == 1, refused
        assert "may only read it" in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr
    assert proxy.asked == []


def test_a_writer_in_the_shell_begins_on_an_empty_database(bare: Shell, proxy: Proxy, team: TeamServer) -> None:
    bare.configure(proxy.endpoint, team.uri("writer"), DATABASE)
    assert bare.lines("locations")["location"]["error"] is None
    bare.done("keypair", "create", "mine")
    assert "mine" in bare.done("journal", "list")


def test_a_user_without_rights_in_the_shell(bare: Shell, proxy: Proxy, team: TeamServer) -> None:
    bare.configure(proxy.endpoint, team.uri("nobody"), DATABASE)
    result = bare.run("vm", "list")
    assert result.returncode == 1
    assert "lacks the privileges find on database team" in sentence(result)
