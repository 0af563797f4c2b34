"""Rules of all commands: settings, who may run them, and a long run on a real server."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend import state
from backend.cache import Cache, RefreshRecord, open_cache
from backend.catalog import KINDS
from backend.commands.model import Command, Parsed
from backend.commands.run import allowed, execute
from backend.commands.table import COMMANDS, command
from backend.config import MongoDB
from backend.errors import CloudmeshError, ConfigError
from backend.kinds.model import Scope
from backend.lifecycle import Flight
from backend.mongod import find_binary
from backend.providers.protocol import Provider
from backend.secret import Secret
from backend.session import Session, SettingChange
from tests.backend.cloud_support import AMI, run, stocked
from tests.backend.command_support import STOCK, booted, everything, full, listed, row, untouched, vms
from tests.backend.test_grammar import HOSTILE

# --- settings ---------------------------------------------------------------------------------------------------------


def test_refresh_on_and_off_are_remembered(session: Session) -> None:
    session = replace(session, connector=untouched)
    for word, on in (("off", False), ("on", True)):
        result = run(session, f"refresh {word}")
        assert result.message.startswith(f"refresh is {word}: ")
        assert result.setting == SettingChange(refresh=on)
        assert session.changed(result.setting) == replace(session, refresh=on)
        assert state.recall(session.settings, session.home) == {"refresh": on}


def test_set_default_is_remembered_and_goes_on_there(session: Session) -> None:
    session = replace(session, connector=untouched)
    result = run(session, "set default cloud=other")
    assert result.message == "The default cloud is other (ec2, eu-west-1)."
    assert result.setting == SettingChange(scopes=(Scope("other", "eu-west-1"),))
    there = session.changed(result.setting)
    assert there.scope == Scope("other", "eu-west-1")
    assert there.cache is session.cache
    assert session.scope == Scope("aws", "us-east-1")
    assert state.recall(session.settings, session.home) == {"cloud": "other"}
    with pytest.raises(ConfigError, match=r"There is no cloud 'othr' in the configuration\. Did you mean 'other'\?"):
        run(session, "set default cloud=othr")
    assert state.recall(session.settings, session.home) == {"cloud": "other"}


def test_a_choice_that_cannot_be_remembered(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "deeper"):
        for line in ("refresh off", "set default cloud=other"):
            with pytest.raises(ConfigError, match=f"The setting cannot be remembered in {home}"):
                run(replace(session, home=home), line)


# --- who may what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_a_read_only_session_changes_nothing(offline: Session, one: Command) -> None:
    assert allowed(one, offline)
    session = replace(offline, read_only=True)
    assert session.locked
    assert allowed(one, session) == (one.effect == "reads")
    if one.effect == "reads":
        return
    before = everything(session.cache)
    with pytest.raises(CloudmeshError) as caught:
        execute(full(one), session)
    assert caught.value.message == f"This session is read-only: {one.name} is not run."
    assert caught.value.cure == "Start without --read-only."
    assert everything(session.cache) == before
    assert not session.home.exists()


def test_a_read_only_session_reads(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    session = replace(session, read_only=True)
    assert run(session, "keypair get me").message == "Keypair me: its private key is not here."
    assert run(session, "keypair list").rows
    assert run(session, "refresh off").setting == SettingChange(refresh=False)


# --- on a real server -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Cache]:
    """A cache on the private mongod."""
    if find_binary() is None:
        pytest.skip("there is no mongod here")
    with tempfile.TemporaryDirectory(prefix="cm-") as home:  # short: a socket's path is limited
        opened = open_cache(MongoDB(database="commands"), Path(home), KINDS.values())
        assert opened.mode == "embedded"
        yield opened
        opened.close()


@pytest.fixture
def embedded(server: Cache, session: Session) -> Session:
    for name in server.store.database.list_collection_names():
        server.store.database[name].delete_many({})
    stocked(server, session.scope, STOCK)
    return replace(session, cache=server)


def test_a_day_s_work_on_a_real_server(embedded: Session, ec2: Provider) -> None:
    run(embedded, "keypair create me")
    body = (embedded.home / "keys" / "aws" / "us-east-1" / "me.pem").read_text().splitlines()[1]
    vm = booted(embedded, f"vm boot {AMI} --name web --keypair me")
    assert run(embedded, "vm stop web").message == f"web ({vm}) is stopping."
    assert isinstance(row(embedded, "vm", vm)["flight"], Flight)
    run(embedded, "volume create data --size 3")
    run(embedded, "vm list")
    run(embedded, "vm delete web")
    run(embedded, "volume delete data")
    assert vms(ec2)[vm]["state"] == "terminated"
    assert [entry["outcome"] for entry in embedded.cache.journal.newest()] == ["done"] * 6
    text = everything(embedded.cache)
    assert body not in text
    assert "PRIVATE" not in text


def test_two_sessions_see_each_other_s_work(embedded: Session, server: Cache, ec2: Provider) -> None:
    """Another dashboard of the same user, with a connection of its own and refresh off."""
    name = server.store.database.name
    other = replace(embedded, refresh=False)
    uri = f"mongodb://{str(server.store.client.address[0]).replace('/', '%2F')}/?directConnection=true"
    with_own = open_cache(MongoDB(Secret(uri), name), embedded.home, KINDS.values())
    other = replace(other, cache=with_own)
    vm = booted(embedded, f"vm boot {AMI} --name web")
    rows = run(replace(other, connector=untouched), "vm list").rows
    assert rows is not None
    assert [KINDS["vm"].value(one, "id") for one in rows] == [vm]
    run(other, "vm stop web")
    assert row(embedded, "vm", vm)["flight"].action == "stop"
    run(other, "set default cloud=other")
    assert run(embedded, "vm start web").message.endswith("is starting.")  # this one stays where it is
    assert [entry["command"] for entry in with_own.journal.newest()] == [
        "vm start web",
        "vm stop web",
        f"vm boot {AMI} --name web",
    ]
    assert vms(ec2)[vm]["state"] == "running"
    with_own.close()


def test_bad_words_are_told_and_raise_nothing_else(embedded: Session, ec2: Provider) -> None:
    """Every command with every hostile word in every place that names something; the cloud has none of them."""
    now = datetime.now(UTC)
    for kind in KINDS.values():
        embedded.cache.refreshes.write(kind, embedded.scope, RefreshRecord("aws", "us-east-1", kind.name, now, now))
    session = replace(embedded, refresh=False, connector=untouched)
    for one in COMMANDS:
        for param in one.params:
            if not (param.kind or param.type in ("int", "cloud")):
                continue
            for word in {*HOSTILE, "$where", "a.b", "x" * 5000, "\0"} - set(session.settings.clouds):
                given = {**full(one).given, param.name: word}
                with pytest.raises(CloudmeshError) as caught:
                    execute(Parsed(one, given), session)
                assert str(caught.value).isprintable(), (one.name, param.name, word)
    assert vms(ec2) == {}


def test_hostile_names_reach_the_cloud_and_the_cache_as_they_are(embedded: Session, ec2: Provider) -> None:
    words = sorted(word for word in HOSTILE if word.strip() and "\x1b" not in word)  # ESC is no XML
    for word in words:
        execute(Parsed(command("volume create"), {"name": word}), embedded)
    assert sorted(str(one["name"]) for one in listed(ec2.of("volume").list())) == words
    rows = run(embedded, "volume list").rows or ()
    assert sorted(KINDS["volume"].value(one, "name") for one in rows) == words
    assert [entry["outcome"] for entry in embedded.cache.journal.newest()] == ["done"] * len(words)
