"""The seal of journal entries: a forged entry does nothing with this user's keys."""

import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.model import Context
from backend.config import Cloud
from backend.journal.entry import Entry
from backend.journal.recovery import Recovered, recover
from backend.journal.resume import preview
from backend.journal.seal import fits, seal
from tests.backend.cloud_support import (
    abandoned,
    abandoned_boot,
    behind_proxy,
    boot_many,
    entry_of,
    run,
    sent,
    states,
)

PARTS = ["token", "aws", "us-east-1", "vm boot x", ["i-1"], {"image": "ami-1", "size": 1}]


def test_a_seal_is_of_all_its_parts_and_of_one_data_directory(tmp_path: Path) -> None:
    mine = seal(tmp_path / "mine", PARTS)
    assert fits(tmp_path / "mine", PARTS, mine)
    assert not fits(tmp_path / "other", PARTS, mine)
    for place in range(len(PARTS)):
        assert not fits(tmp_path / "mine", [*PARTS[:place], "else", *PARTS[place + 1 :]], mine)
    for wrong in (None, 5, "", "é", mine[:-1], [mine]):
        assert not fits(tmp_path / "mine", PARTS, wrong)


def test_its_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    home = tmp_path / "home"
    mine = seal(home, PARTS)
    (key,) = home.iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    code = (
        f"from pathlib import Path; from backend.journal.seal import seal\nprint(seal(Path({str(home)!r}), {PARTS!r}))"
    )
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert reported.stdout.strip() == mine


def test_a_key_that_is_none_vouches_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal.key").write_bytes(b"")
    assert not fits(tmp_path, PARTS, "")
    with pytest.raises(OSError, match="not a key of ours"):
        seal(tmp_path, PARTS)


# --- what a stranger has written --------------------------------------------------------------------------------------


def forged(entry: Entry, cache: Cache, **fields: object) -> None:
    """Change an entry as another client of the cache can."""
    assert cache.journal.set(entry.token, fields)


def test_a_boot_that_was_not_asked_for_here_is_looked_for_and_never_sent(
    cache: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        entry = abandoned_boot(session)
        forged(entry, cache, request={**entry.request, "image": "ami-evil", "flavor": "x1e.32xlarge"}, owner="")
        volume = abandoned(session, "volume create data")
        forged(volume, cache, owner="", request={"name": "d", "size": 16_000, "location": "us-east-1a", "before": []})
        assert recover(session) == Recovered()
        assert sent(proxy) == []
        assert states(cloud) == {}
        assert run(session, "journal resume").message == "Nothing waits to be resumed."
        assert sent(proxy) == []


def test_what_was_left_by_another_data_directory_is_not_run_here(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        (native,) = boot_many(cloud, 1)
        abandoned(session, f"vm stop {native}", outcome="waiting", age=7_200)
        elsewhere = replace(session, home=tmp_path / "elsewhere")
        assert preview(Context(elsewhere, {}), []).targets == ()
        assert run(elsewhere, "journal resume").message == "Nothing waits to be resumed."
        assert sent(proxy) == []
        assert run(elsewhere, "journal drop").message.startswith("1 command ")


@pytest.mark.parametrize("field", ["command", "objects"])
def test_what_is_changed_between_preview_and_yes_is_not_run(
    cache: Cache, cloud: Cloud, tmp_path: Path, field: str
) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        first, second = boot_many(cloud, 2)
        run(session, "vm refresh")
        entry = abandoned(session, f"vm stop {first}", outcome="waiting")
        shown = preview(Context(session, {}), [])
        assert [target.id for target in shown.targets] == [f"vm stop {first}"]
        forged(entry, cache, **{field: {"command": f"vm delete {second}", "objects": [second]}[field]})
        run(session, f"journal resume --only {shown.given['only']}")
        assert sent(proxy) == []
        assert set(states(cloud).values()) == {"running"}


def test_a_file_that_an_entry_of_a_stranger_names_stays(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, _proxy):
        precious = tmp_path / "precious.lock"
        precious.touch()
        entry = abandoned(session, "keypair create x")
        forged(entry, cache, request={"name": "x", "path": str(precious), "before": False}, owner="")
        recover(session)
        assert precious.exists()
        assert entry_of(session, entry)["outcome"] == "waiting"
