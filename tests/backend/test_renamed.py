"""A name that now belongs to another object than in the cache: nothing is done to the wrong object."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.config import Cloud
from backend.errors import NotFoundError, RefusedError
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cache_support import ago
from tests.backend.cloud_support import AMI, account, behind_proxy, boot_many, run, sent
from tests.ec2_proxy import Proxy


def aged(session: Session, kind: str) -> None:
    """Let the listing of a kind be of nine hours ago."""
    hours = ago(timedelta(hours=9).total_seconds())
    session.cache.store.database["refreshes"].update_one(
        {"kind": kind}, {"$set": {"finished": hours, "started": hours}}
    )


def renamed(session: Session, cloud: Cloud) -> tuple[str, str]:
    """Return two VMs: one that the cache knows as web and that is called prod-db by now, and one that is web now."""
    first, second = boot_many(cloud, 2)
    ec2 = connect(cloud)
    ec2.of("vm").tag(first, "Name", "web")
    run(session, "vm refresh")
    ec2.of("vm").tag(first, "Name", "prod-db")
    ec2.of("vm").tag(second, "Name", "web")
    return first, second


LINES = ["vm delete web", "vm stop web", "vm reboot web", "vm protect web", "vm tag web a=b", "vm untag web a"]


@pytest.mark.parametrize("line", LINES)
def test_a_vm_that_is_called_otherwise_by_now_is_not_meant(
    memory: Cache, cloud: Cloud, tmp_path: Path, line: str
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        first, _ = renamed(session, cloud)
        before = account(cloud)
        unrefreshed = replace(session, refresh=False)  # so that nothing is listed first
        with pytest.raises(RefusedError, match=rf"listed as web \({first}\) is called prod-db now; nothing was done"):
            run(unrefreshed, line)
        assert sent(proxy) == []
        assert account(cloud) == before
        # The check has also written it to the cache.
        assert KINDS["vm"].value(memory.rows.named(KINDS["vm"], session.scope, first)[0], "name") == "prod-db"
        with pytest.raises(NotFoundError):
            run(unrefreshed, line)


def test_what_is_deleted_by_name_is_what_is_called_so_now(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _proxy):
        first, second = renamed(session, cloud)
        aged(session, "vm")
        run(session, "vm delete web")
        now = account(cloud).vms
        assert (now[first][0], now[second][0]) == ("running", "terminated")


def test_two_that_share_a_name_by_now_are_not_told_apart_by_it(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        first, second = renamed(session, cloud)
        connect(cloud).of("vm").tag(first, "Name", "web")
        aged(session, "vm")
        with pytest.raises(RefusedError, match="2 VMs share the name 'web'") as caught:
            run(session, "vm delete web")
        assert first in str(caught.value)
        assert second in str(caught.value)
        assert sent(proxy) == []


def test_by_its_id_it_is_meant_whatever_it_is_called(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _proxy):
        first, _ = renamed(session, cloud)
        assert run(session, f"vm stop {first}").message == f"prod-db ({first}) is stopping."


def scratch(session: Session, proxy: Proxy) -> str:
    """Return a volume that the cache knows as scratch and that is called customer-data by now."""
    ec2 = connect(session.cloud)
    native = str(ec2.of("volume").create("scratch", 1, "us-east-1a", "token")["id"])
    run(session, "volume refresh")
    ec2.of("vm").tag(native, "Name", "customer-data")
    proxy.asked.clear()
    return native


def test_a_volume_that_is_called_otherwise_by_now_is_not_meant(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        native = scratch(session, proxy)
        unrefreshed = replace(session, refresh=False)
        with pytest.raises(RefusedError, match=rf"listed as scratch \({native}\) is called customer-data now"):
            run(unrefreshed, "volume delete scratch")
        aged(session, "volume")
        with pytest.raises(NotFoundError, match="There is no volume 'scratch'"):
            run(session, "volume delete scratch")
        assert sent(proxy) == []
        assert run(session, "volume delete customer-data").message == f"Volume customer-data ({native}) deleted."


def test_an_image_that_ec2_calls_otherwise_is_not_booted(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        for image, name in ((AMI, "golden"), ("ami-gone", "gone")):
            memory.rows.put(KINDS["image"], session.scope, [{"id": image, "name": name, "architecture": "x86_64"}])
        with pytest.raises(RefusedError, match=rf"The image that was listed as golden \({AMI}\) is called "):
            run(session, "vm boot golden")
        with pytest.raises(NotFoundError, match=r"Image gone \(ami-gone\) no longer exists; nothing was booted"):
            run(session, "vm boot gone")
        assert sent(proxy) == []
        (page,) = connect(cloud).of("image").list(ids=[AMI])
        memory.rows.put(KINDS["image"], session.scope, page)
        run(session, f"vm boot '{page[0]['name']}'")
        assert sent(proxy) == ["RunInstances"]
