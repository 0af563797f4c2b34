"""Listing, refreshing and exporting every kind, through the real provider against moto."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from backend.catalog import KINDS
from backend.errors import CloudError, NotFoundError, RefusedError, UsageError
from backend.format import as_object
from backend.kinds.model import Kind
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.refresh import Progress
from backend.session import Session
from tests.backend.cloud_support import AMI, run
from tests.backend.command_support import booted, row, untouched
from tests.faces import Faces


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_refresh_and_list_of_every_kind(kind: Kind, session: Session, ec2: Provider) -> None:
    booted(session)
    ec2.of("keypair").create("me")
    seen: list[Progress] = []
    result = run(session, f"{kind.plural} refresh", progress=seen.append)
    (difference,) = result.differences
    assert difference.kind == kind.name
    assert difference.count == seen[-1].rows > 0
    assert result.message.startswith(f"{kind.plural}: {difference.count:,} (")
    off = run(replace(session, refresh=False, connector=untouched), f"{kind.name} list")
    assert off.kind is kind
    assert off.rows is not None
    assert len(off.rows) == difference.count
    assert off.failure == ""
    assert (
        session.cache.journal.newest() == session.cache.journal.newest()[-1:]
    )  # of the boot alone: reading is not journalled


def test_list_fetches_first_when_refresh_is_on(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    assert run(replace(session, refresh=False), "keypair list").rows == ()
    rows = run(session, "keypair list").rows
    assert rows is not None
    assert [KINDS["keypair"].value(one, "name") for one in rows] == ["me"]


def test_list_shows_what_is_known_when_fetching_fails(session: Session) -> None:
    vm = booted(session)
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    result = run(nowhere, "vm list")
    assert "127.0.0.1:1 cannot be reached" in result.failure
    assert result.rows is not None
    assert [KINDS["vm"].value(one, "id") for one in result.rows] == [vm]
    with pytest.raises(CloudError, match="cannot be reached"):
        run(nowhere, "vm refresh")


def test_refresh_all_tells_what_failed_and_refreshes_the_rest(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    session = replace(session, cloud=replace(session.cloud, images=("self",)))

    class NoFlavors(Faces):
        """The cloud, but for one listing."""

        def flavor_list(self) -> NoReturn:
            raise CloudError("No flavors today.")

    broken = replace(session, connector=lambda cloud, *hooks: NoFlavors(connect(cloud, *hooks)))
    result = run(broken, "refresh all")
    assert result.failure == "No flavors today."
    assert [one.kind for one in result.differences] == list(KINDS)
    assert [one.kind for one in result.differences if one.error] == ["flavor"]
    assert "keypairs: 1 (1 new) in " in result.message
    assert "flavors" not in result.message
    assert row(session, "keypair", "me")["name"] == "me"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_export_of_every_kind(kind: Kind, session: Session, ec2: Provider, tmp_path: Path) -> None:
    booted(session)
    ec2.of("keypair").create("me")
    run(session, f"{kind.name} refresh")
    off = replace(session, refresh=False, connector=untouched)
    rows = session.cache.rows.snapshot(kind, session.scope)
    what = f"1 {kind.noun}" if len(rows) == 1 else f"{len(rows):,} {kind.nouns}"
    for name in ("all.json", "all.csv"):
        result = run(off, f"{kind.plural} export '{tmp_path / name}'")
        assert (result.message, result.failure) == (f"{what} written to {tmp_path / name}.", "")
    objects = [as_object(kind, one) for one in rows]
    assert json.loads((tmp_path / "all.json").read_text()) == json.loads(json.dumps(objects))
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == [one["id"] for one in objects]
    assert len(session.cache.journal.newest()) == 1  # of the boot alone: nothing was changed


def test_export_fetches_first_when_refresh_is_on(session: Session, ec2: Provider, tmp_path: Path) -> None:
    ec2.of("keypair").create("me")
    run(replace(session, refresh=False), f"keypair export '{tmp_path}/off.json'")
    run(session, f"keypair export '{tmp_path}/on.json'")
    assert json.loads((tmp_path / "off.json").read_text()) == []
    assert [one["name"] for one in json.loads((tmp_path / "on.json").read_text())] == ["me"]


def test_export_of_some_alone_is_of_what_is_known(session: Session, tmp_path: Path) -> None:
    vms = [booted(session, f"vm boot {AMI} --name {name}") for name in ("web", "db", "other")]
    known = replace(session, connector=untouched)
    result = run(known, f"vm export '{tmp_path}/some.json' --only {vms[1]},web")
    assert result.message == f"2 VMs written to {tmp_path}/some.json."
    assert [one["id"] for one in json.loads((tmp_path / "some.json").read_text())] == [vms[1], vms[0]]
    assert run(known, f"vm export '{tmp_path}/one.csv' --only web").message.startswith("1 VM written to ")
    with pytest.raises(NotFoundError, match="There is no VM 'nobody'"):
        run(replace(session, refresh=False), f"vm export '{tmp_path}/none.csv' --only web,nobody")
    assert not (tmp_path / "none.csv").exists()


def test_export_of_what_is_known_when_fetching_fails(session: Session, tmp_path: Path) -> None:
    vm = booted(session)
    nowhere = replace(session, cloud=replace(session.cloud, endpoint="http://127.0.0.1:1"))
    result = run(nowhere, f"vm export '{tmp_path}/vms.json'")
    assert "127.0.0.1:1 cannot be reached" in result.failure
    assert [one["id"] for one in json.loads((tmp_path / "vms.json").read_text())] == [vm]


def test_a_file_that_does_not_serve_is_refused_before_anything_is_fetched(session: Session, tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine")
    session = replace(session, connector=untouched)
    with pytest.raises(UsageError, match=r"is neither a \.csv nor a \.json file"):
        run(session, f"vm export '{tmp_path}/vms.xlsx'")
    with pytest.raises(RefusedError, match="exists already and is not overwritten"):
        run(session, f"vm export '{there}'")
    assert there.read_text() == "mine"
