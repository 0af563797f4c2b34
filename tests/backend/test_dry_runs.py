"""Dry runs: the cloud says whether a VM may be booted, and boots none."""

from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.config import Cloud
from backend.errors import CloudError, NotFoundError, PermissionDeniedError
from backend.session import Session
from tests.backend.cloud_support import AMI, behind_proxy, run, sent, states
from tests.backend.ec2_faults import XMLNS, Reply, refusal
from tests.ec2_proxy import Proxy

BOOTED = Reply(
    f'<RunInstancesResponse xmlns="{XMLNS}"><requestId>r</requestId><reservationId>r-1</reservationId><instancesSet>'
    "<item><instanceId>i-1</instanceId><instanceState><name>pending</name></instanceState></item>"
    "</instancesSet></RunInstancesResponse>"
)


def test_a_dry_run_of_what_one_may_do(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        result = run(session, f"vm boot {AMI} --name web --location us-east-1a --dry-run")
        assert result.message == (
            f"You may boot a t2.micro VM from {AMI} in us-east-1a of cloud aws; nothing was booted."
        )
        (call,) = (call for call in proxy.calls if call.action == "RunInstances")
        assert call.params["DryRun"] == "true"
        assert "ClientToken" not in call.params  # EC2 refuses an empty one
        assert call.params["Placement.AvailabilityZone"] == "us-east-1a"
        assert states(cloud) == {}
        assert cache.journal.newest() == []
        assert cache.rows.snapshot(KINDS["vm"], session.scope) == []
        assert result.undo == ""
        assert "in us-east-1 of cloud aws" in run(session, f"vm boot {AMI} --dry-run").message
        # The same without it boots.
        run(session, f"vm boot {AMI} --name web --location us-east-1a")
        assert len(states(cloud)) == len(cache.journal.newest()) == 1


def test_a_dry_run_of_what_one_may_not_do(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    words = "You are not authorized to perform: ec2:RunInstances."
    proxy.answers["RunInstances"] = refusal(403, "UnauthorizedOperation", words)
    with pytest.raises(PermissionDeniedError) as caught:
        run(session, f"vm boot {AMI} --dry-run")
    assert caught.value.message.startswith(f"A dry run of booting a t2.micro VM from {AMI} failed on cloud aws")
    assert "may not do ec2:RunInstances" in caught.value.message
    assert session.cache.journal.newest() == []


def test_a_dry_run_finds_what_does_not_exist_without_asking(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    with pytest.raises(NotFoundError, match=r"There is no flavor 't9\.huge'"):
        run(session, f"vm boot {AMI} --flavor t9.huge --dry-run")
    assert sent(proxy) == []
    assert session.cache.journal.newest() == []


def test_an_endpoint_that_does_not_know_dry_runs_is_told_of(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    proxy.answers["RunInstances"] = BOOTED
    with pytest.raises(CloudError) as caught:
        run(session, f"vm boot {AMI} --dry-run")
    host = proxy.endpoint.removeprefix("http://")
    assert str(caught.value) == (
        f"{host} does not support dry runs and has booted i-1. Delete it if you do not want it."
    )


def test_a_dry_run_whose_answer_is_lost_is_not_repeated(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    proxy.cut("RunInstances")
    with pytest.raises(CloudError, match="A dry run of booting"):
        run(session, f"vm boot {AMI} --dry-run")
    assert sent(proxy) == ["RunInstances"]
    assert states(cloud) == {}
