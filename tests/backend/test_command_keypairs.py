"""Keypairs: a private key is saved once, only for its owner, at the path that was given."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE
from urllib.parse import parse_qsl

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.model import Parsed
from backend.commands.run import execute
from backend.commands.table import command
from backend.config import Cloud
from backend.errors import CloudError, CloudmeshError, NotFoundError
from backend.journal import owner
from backend.journal.recovery import recover
from backend.journal.seal import seal
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import abandoned, behind_proxy, run
from tests.backend.command_support import everything, listed, row
from tests.backend.ec2_faults import Faults, Reply, listing


def test_a_private_key_is_saved_once_and_for_its_owner_alone(session: Session, ec2: Provider) -> None:
    result = run(session, "keypair create me")
    path = session.home / "keys" / "aws" / "us-east-1" / "me.pem"
    assert result.message == f"Keypair me created; its private key is {path}."
    assert dict(result.fields)["private_key"] == str(path)
    assert S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, session.home / "keys", session.home):
        assert S_IMODE(folder.stat().st_mode) == 0o700
    pem = path.read_text()
    assert pem.startswith("-----BEGIN")
    assert [item["name"] for item in listed(ec2.of("keypair").list())] == ["me"]
    assert row(session, "keypair", "me")["fingerprint"]
    body = pem.splitlines()[1]
    for text in (everything(session.cache), repr(result), repr(session)):
        assert "PRIVATE KEY" not in text
        assert body not in text


def test_a_key_file_is_never_overwritten(session: Session, ec2: Provider) -> None:
    run(session, "keypair create me")
    path = session.home / "keys" / "aws" / "us-east-1" / "me.pem"
    pem = path.read_text()
    ec2.of("keypair").delete("me", row(session, "keypair", "me")["id"])
    for line in ("keypair create me", f"keypair create you --to {path}"):
        with pytest.raises(CloudmeshError, match="exists already and is not overwritten; no keypair was created"):
            run(session, line)
    assert path.read_text() == pem
    assert listed(ec2.of("keypair").list()) == []
    assert [entry["outcome"] for entry in session.cache.journal.newest()] == ["failed", "failed", "done"]


def test_a_key_file_elsewhere(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "deeper" / "me.key"
    result = run(session, f"keypair create me --to '{path}'")
    assert str(path) in result.message
    assert path.read_text().startswith("-----BEGIN")
    assert S_IMODE(path.stat().st_mode) == 0o600
    assert S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert not (session.home / "keys").exists()


@pytest.mark.parametrize("name", ["file/me.pem", "folder", "x" * 300, "a\0b", "link"])
def test_a_place_where_no_key_can_be_saved(session: Session, ec2: Provider, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    owner.sign(session.home)  # as any command that changes something does, and the next line too
    seal(session.home, ())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CloudmeshError) as caught:
        execute(Parsed(command("keypair create"), {"name": "me", "to": str(tmp_path / name)}), session)
    assert "no keypair was created." in caught.value.message
    assert "--to FILE" in caught.value.cure
    assert listed(ec2.of("keypair").list()) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == ""


def test_a_tilde_that_names_nobody_is_a_folder_s_name(session: Session, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        run(session, "keypair create me --to ~no-such-user/me.pem")
    assert (tmp_path / "~no-such-user" / "me.pem").read_text().startswith("-----BEGIN")


def test_a_cloud_that_refuses_leaves_no_file(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    with pytest.raises(CloudError, match="name is taken"):
        run(session, "keypair create me")
    assert not (session.home / "keys" / "aws" / "us-east-1" / "me.pem").exists()
    (entry,) = session.cache.journal.newest()
    assert (entry["outcome"], entry["objects"]) == ("failed", [])


def test_get_tells_where_the_private_key_is(session: Session, ec2: Provider) -> None:
    run(session, "keypair create mine")
    ec2.of("keypair").create("theirs")
    path = session.home / "keys" / "aws" / "us-east-1" / "mine.pem"
    mine = run(session, "keypair get mine")
    assert mine.message == f"Keypair mine: its private key is {path}."
    fields = dict(mine.fields)
    assert (fields["name"], fields["private_key"]) == ("mine", str(path))
    assert set(fields) == {*KINDS["keypair"].index, "private_key"}
    theirs = run(session, "keypair get theirs")
    assert theirs.message == "Keypair theirs: its private key is not here."
    assert dict(theirs.fields)["private_key"] is None
    with pytest.raises(NotFoundError, match=r"Did you mean 'theirs'\?"):
        run(session, "keypair get their")


def test_deleting_a_keypair_keeps_its_private_key(session: Session, ec2: Provider) -> None:
    run(session, "keypair create mine")
    ec2.of("keypair").create("theirs")
    path = session.home / "keys" / "aws" / "us-east-1" / "mine.pem"
    assert run(session, "keypair delete mine").message == f"Keypair mine deleted. Its private key stays in {path}."
    assert path.exists()
    assert run(session, "keypair delete theirs").message == "Keypair theirs deleted."
    assert listed(ec2.of("keypair").list()) == []
    assert session.cache.rows.snapshot(KINDS["keypair"], session.scope) == []
    with pytest.raises(NotFoundError, match="There is no keypair 'mine'"):
        run(session, "keypair delete mine")


def test_a_keypair_deleted_meanwhile(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").delete("me", dict(run(session, "keypair create me").fields)["id"])
    with pytest.raises(NotFoundError, match=r"Keypair me \(key-\w+\) is not listed in cloud aws"):
        run(session, "keypair delete me")


def test_a_keypair_created_again_under_the_same_name_is_another(session: Session, ec2: Provider) -> None:
    first = dict(run(session, "keypair create shared").fields)["id"]
    ec2.of("keypair").delete("shared", first)
    other, _ = ec2.of("keypair").create("shared")
    for word in (first, "shared"):  # the cache still has the first
        with pytest.raises(NotFoundError, match=r"Keypair shared \(key-\w+\) is not listed in cloud aws"):
            run(session, f"keypair delete {word}")
    run(session, "keypair refresh")
    with pytest.raises(NotFoundError):
        run(session, f"keypair delete {first}")
    assert [item["id"] for item in listed(ec2.of("keypair").list())] == [other["id"]]


@pytest.mark.parametrize("name", ["../../x", "a/b", ".", "..", "/etc/x", "~", "-x", "a\nb", "\u202e", "é漢字", "%2e"])
def test_hostile_keypair_names_are_one_file_each(session: Session, ec2: Provider, name: str) -> None:
    result = execute(Parsed(command("keypair create"), {"name": name}), session)
    folder = session.home / "keys" / "aws" / "us-east-1"
    (path,) = folder.iterdir()
    assert path.is_file()
    signed = session.home / "running" / owner.sign(session.home)
    assert {file for file in session.home.rglob("*") if file.is_file()} == {path, signed, session.home / "journal.key"}
    assert [item["name"] for item in listed(ec2.of("keypair").list())] == [name]
    assert result.message.isprintable()
    assert execute(Parsed(command("keypair get"), {"keypair": name}), session).message.endswith(f"{path}.")
    execute(Parsed(command("keypair delete"), {"keypair": name}), session)
    assert listed(ec2.of("keypair").list()) == []


# --- deleted by its id ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [True, False])
def test_a_keypair_is_deleted_by_its_id(memory: Cache, cloud: Cloud, tmp_path: Path, ids: bool) -> None:
    """If the endpoint ignores the id, as moto does, the keypair is deleted by its name."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.keypair_ids = ids
        connect(cloud).of("keypair").create("theirs")
        native = dict(run(session, "keypair create mine").fields)["id"]
        assert str(native).startswith("key-")
        run(session, "keypair delete mine")
        calls = [call.params for call in proxy.calls if call.action == "DeleteKeyPair"]
        assert calls == [{"KeyPairId": native}] + ([] if ids else [{"KeyName": "mine"}])
        assert [item["name"] for item in listed(connect(cloud).of("keypair").list())] == ["theirs"]


def test_a_keypair_of_an_endpoint_without_ids_is_deleted_by_its_name(cloud: Cloud) -> None:
    keys = listing("DescribeKeyPairs", "keySet", ["<keyName>mine</keyName><keyFingerprint>00:11</keyFingerprint>"])
    with Faults(
        keys, Reply('<DeleteKeyPairResponse xmlns="x"><return>true</return></DeleteKeyPairResponse>')
    ) as faults:
        connect(replace(cloud, endpoint=faults.url)).of("keypair").delete("mine", "mine")
        sent = dict(parse_qsl(faults.asked[-1].body.decode()))
        assert (sent["Action"], sent["KeyName"], "KeyPairId" in sent) == ("DeleteKeyPair", "mine", False)


# --- where the key is -------------------------------------------------------------------------------------------------


def sent_by_a_killed_process(session: Session, path: str) -> None:
    request = {"name": "mine", "path": path, "before": False}
    abandoned(session, f"keypair create mine --to {path}", request=request)


def test_a_relative_path_is_absolute_in_the_journal(session: Session, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        run(session, "keypair create mine --to deep/../mine.pem")
    (entry,) = session.cache.journal.newest()
    assert entry["request"]["path"] == f"{tmp_path}/deep/../mine.pem"
    assert entry["command"] == f"keypair create mine --to {tmp_path}/deep/../mine.pem"


def test_a_planned_keypair_is_saved_where_it_was_asked_for(session: Session, ec2: Provider, tmp_path: Path) -> None:
    """Two at once are planned before they are sent; they are resumed in another folder."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    with contextlib.chdir(here):
        line = parse(split("keypair create mine --to mine.pem")).lasting
    abandoned(session, line, outcome="waiting")
    with contextlib.chdir(elsewhere):
        run(session, "journal resume")
    assert (here / "mine.pem").read_text().startswith("-----BEGIN")
    assert list(elsewhere.iterdir()) == []
    assert [item["name"] for item in listed(ec2.of("keypair").list())] == ["mine"]


@pytest.mark.parametrize("content", ["", "something else of the user's"])
@pytest.mark.parametrize("created", [True, False])
def test_a_relative_path_of_an_old_journal_is_nobody_s_file_here(
    session: Session, ec2: Provider, tmp_path: Path, content: str, created: bool
) -> None:
    (tmp_path / "mine.pem").write_text(content)
    sent_by_a_killed_process(session, "mine.pem")
    if created:
        ec2.of("keypair").create("mine")
    with contextlib.chdir(tmp_path):
        found = recover(session)
        if created:
            (failure,) = found.failures
            assert "it was to be saved as mine.pem in the folder where the command was run" in failure
            assert (found.messages, session.cache.journal.newest()[0]["outcome"]) == ((), "unknown")
        else:  # it is not resumed into whatever folder this is
            assert found.left == 1
            assert "It names mine.pem, a path in the folder where it was run" in run(session, "journal resume").failure
        assert recover(session).failures == ()
    assert (tmp_path / "mine.pem").read_text() == content


@pytest.mark.parametrize("there", ["file", "folder", "link", "nothing"])
def test_only_an_empty_file_that_was_reserved_is_given_up(session: Session, tmp_path: Path, there: str) -> None:
    path = tmp_path / "mine.pem"
    makes: dict[str, Callable[[], object]] = {
        "file": lambda: path.write_text("kept"),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(tmp_path / "nowhere"),
        "nothing": lambda: None,
    }
    makes[there]()
    sent_by_a_killed_process(session, str(path))
    assert recover(session).left == 1
    assert os.path.lexists(path) == (there != "nothing")
