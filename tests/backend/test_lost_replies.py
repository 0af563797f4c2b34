"""A reply that is lost: the outcome of the command is found, and nothing is ever done twice."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.model import Command, Result
from backend.commands.table import COMMANDS
from backend.config import Cloud
from backend.errors import Cancelled, CloudError, NotFoundError, OutcomeUnknownError
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from tests.backend.cache_support import set_flight
from tests.backend.cloud_support import (
    AMI,
    EXAMPLES,
    Example,
    account,
    behind_proxy,
    boot_many,
    outcomes,
    run,
    staged,
    states,
)
from tests.backend.ec2_faults import listing, refusal
from tests.ec2_proxy import Call, Proxy

REPEATED = {"vm boot", "volume create"}
"""Their requests have a token, so that they can be sent again."""


def changes(proxy: Proxy) -> list[Call]:
    """Return the calls that change something, passed on or not."""
    return [call for call in proxy.calls if not call.action.startswith("Describe")]


@pytest.mark.parametrize(
    "one", [one for one in COMMANDS if one.effect != "reads" and one.journalled], ids=lambda one: one.name
)
def test_of_every_change_it_can_be_found_out_what_came_of_it(one: Command) -> None:
    assert one.probe is not None
    assert [example.name for example in EXAMPLES].count(one.name) == 1  # those below are all there are


# --- lost after the cloud has acted -----------------------------------------------------------------------------------


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.name)
def test_the_reply_is_lost(cache: Cache, cloud: Cloud, tmp_path: Path, one: Example) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        proxy.cut(one.action)
        result: Result | None = None
        error: CloudError | None = None
        try:
            result = run(session, one.on(stage))
        except CloudError as failure:
            error = failure
        assert one.done(before, account(cloud), stage)
        assert [(call.action, call.passed) for call in changes(proxy)] == [(one.action, True)]
        (entry,) = cache.journal.newest()
        assert entry["command"] == one.on(stage)
        if one.name == "vm reboot":  # a VM does not show that it was rebooted
            assert isinstance(error, OutcomeUnknownError)
            assert "It may have been done nevertheless" in str(error)
            assert entry["outcome"] == "unknown"
        elif one.name == "keypair create":
            assert "Keypair new was created, but its private key was lost on the way" in str(error)
            assert "keypair delete new" in str(error)
            assert entry["outcome"] == "failed"
            assert not list(tmp_path.rglob("*.pem"))
            assert cache.rows.named(KINDS["keypair"], session.scope, "new")
        else:
            assert error is None
            assert result is not None
            assert result.failure == ""
            assert result.message.endswith(" The answer was lost, so EC2 was asked again.")
            assert bool(result.undo) == one.undone
            assert (entry["outcome"], entry["error"]) == ("done", None)
        assert entry["objects"]


@pytest.mark.thorough
@pytest.mark.parametrize("one", [one for one in EXAMPLES if one.undone], ids=lambda one: one.name)
def test_what_was_done_without_a_reply_can_be_taken_back(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Example
) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut(one.action)
        undo = run(session, one.on(stage)).undo
        if one.name in ("vm start", "vm stop"):
            set_flight(memory, session.scope, undo.split()[-1], None)  # as the watch does when the VM has settled
        run(session, undo)
        assert account(cloud) == before


# --- lost before the cloud has acted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [one for one in EXAMPLES if one.name in REPEATED], ids=lambda one: one.name)
def test_a_request_with_a_token_that_never_arrived_is_sent_once_more(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Example
) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut(one.action, after=False)
        result = run(session, one.on(stage))
        assert one.done(before, account(cloud), stage)
        first, second = changes(proxy)
        assert (first.action, first.passed, second.action, second.passed) == (one.action, False, one.action, True)
        assert first.params == second.params
        (entry,) = memory.journal.newest()
        assert first.params["ClientToken"] == entry["_id"]
        assert entry["outcome"] == "done"
        assert entry["objects"] == [dict(result.fields)["id"]]


@pytest.mark.thorough
@pytest.mark.parametrize("one", [one for one in EXAMPLES if one.name not in REPEATED], ids=lambda one: one.name)
def test_any_other_that_never_arrived_has_not_been_done_and_can_be_done_again(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Example
) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut(one.action, after=False)
        with pytest.raises(CloudError) as caught:
            run(session, one.on(stage))
        assert account(cloud) == before
        assert [call.passed for call in changes(proxy)] == [False]
        if one.name == "vm reboot":
            assert isinstance(caught.value, OutcomeUnknownError)
            assert outcomes(memory) == [(one.on(stage), "unknown")]
            return
        assert not isinstance(caught.value, OutcomeUnknownError)
        assert "A check of the cloud shows that it was not done. You can run it again." in str(caught.value)
        assert all(KINDS["vm"].value(row, "flight") is None for row in memory.rows.snapshot(KINDS["vm"], session.scope))
        run(session, one.on(stage))
        assert one.done(before, account(cloud), stage)
        assert [call.passed for call in changes(proxy)] == [False, True]
        assert [outcome for _, outcome in outcomes(memory)] == ["failed", "done"]


def test_a_boot_that_never_arrives(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Each probe sends it, and the outcome is reported as unknown: a request may be on its way for long."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances", times=4, after=False)
        with pytest.raises(OutcomeUnknownError, match=r"Booting a t2\.micro VM"):
            run(session, f"vm boot {AMI}")
        assert len(changes(proxy)) == 1 + len(session.backoff)
        assert len({call.params["ClientToken"] for call in changes(proxy)}) == 1
        assert outcomes(memory) == [(f"vm boot {AMI}", "unknown")]
        assert states(cloud) == {}


def test_a_boot_whose_repetition_is_lost_too(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances", after=False)
        proxy.cut("RunInstances")
        result = run(session, f"vm boot {AMI} --name web")
        assert list(states(cloud)) == [dict(result.fields)["id"]]
        assert proxy.count("RunInstances") == 1


# --- probing ----------------------------------------------------------------------------------------------------------


def test_a_listing_that_lags_behind_makes_no_second_vm(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """EC2 may not list a new object so far; by the token it recognizes the request."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances")
        proxy.answers["DescribeInstances"] = listing("DescribeInstances", "reservationSet", [])
        result = run(session, f"vm boot {AMI} --name web")
        assert list(states(cloud)) == [dict(result.fields)["id"]]
        assert [call.passed for call in changes(proxy)] == [True, False]
        assert outcomes(memory) == [(f"vm boot {AMI} --name web", "done")]


def test_an_endpoint_without_tokens_is_asked_before_it_is_told_again(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.tokens = False
        proxy.cut("RunInstances")
        run(session, f"vm boot {AMI} --name web")
        assert len(states(cloud)) == len(changes(proxy)) == 1


@pytest.mark.parametrize("why", ["denied", "unreachable", "keys"])
def test_where_it_cannot_be_found_out_it_is_not_known(cache: Cache, cloud: Cloud, tmp_path: Path, why: str) -> None:
    """A refused probe says nothing about the boot: sent again, it would make a second VM."""
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        refusals = {
            "denied": refusal(403, "UnauthorizedOperation"),
            "keys": refusal(401, "AuthFailure"),
        }

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "RunInstances" in proxy.asked:
                if why == "unreachable":
                    return connect(replace(at, endpoint="http://127.0.0.1:1"), *hooks)
                proxy.answers["DescribeInstances"] = refusals[why]
            return connect(at, *hooks)

        proxy.cut("RunInstances")
        with pytest.raises(OutcomeUnknownError) as caught:
            run(replace(session, connector=connecting), f"vm boot {AMI} --name web")
        assert caught.value.message.startswith("boot of web failed on cloud aws")
        said = {
            "denied": "may not do ec2:DescribeInstances",
            "unreachable": "127.0.0.1:1 cannot be reached",
            "keys": "EC2 does not know these keys",
        }
        assert " The outcome could not be found out: Listing VMs failed" in caught.value.message
        assert said[why] in caught.value.message
        assert "It may have been done nevertheless" in caught.value.cure
        assert len(states(cloud)) == len(changes(proxy)) == 1
        (entry,) = cache.journal.newest()
        assert (entry["outcome"], entry["error"], entry["settled"]) == ("unknown", str(caught.value), False)


def test_a_boot_whose_every_answer_is_lost_says_each_sentence_once(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """It is sent again with its token, and that breaks off in the same words."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances", times=9, after=False)
        with pytest.raises(OutcomeUnknownError) as caught:
            run(session, f"vm boot {AMI} --name web")
        sentences = re.split(r"(?<=\.) (?=[A-Z])", str(caught.value))
        assert len(sentences) == len(set(sentences)) == 3
        assert sentences[1] == "It was sent again, and that answer was lost too."
        assert "It may have been done nevertheless" in sentences[2]
        assert cache_error(memory) == str(caught.value)


def test_why_it_cannot_be_found_out_is_said_without_the_same_advice_twice(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances", after=False)
        proxy.answers["DescribeInstances"] = listing("DescribeInstances", "reservationSet", [])

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "RunInstances" in proxy.asked:
                proxy.answers["RunInstances"] = refusal(500, "InternalError", "Something broke.")
            return connect(at, *hooks)

        with pytest.raises(OutcomeUnknownError) as caught:
            run(replace(session, connector=connecting), f"vm boot {AMI} --name web")
        assert "Something broke" in caught.value.message
        assert str(caught.value).count("It may have been done nevertheless") == 1


def cache_error(cache: Cache) -> str:
    (entry,) = cache.journal.newest()
    return str(entry["error"])


def test_a_failed_probe_is_repeated(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        probes: list[int] = []

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "StopInstances" in proxy.asked:
                probes.append(1)
            away = len(probes) in (1, 2)
            return connect(replace(at, endpoint="http://127.0.0.1:1") if away else at, *hooks)

        proxy.cut("StopInstances")
        result = run(replace(session, connector=connecting), f"vm stop {native}")
        assert result.message == f"{native} is stopping. The answer was lost, so EC2 was asked again."
        assert len(probes) == 3
        assert outcomes(memory) == [(f"vm stop {native}", "done")]


def test_what_is_gone_by_then_has_failed(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "StopInstances" in proxy.asked:
                proxy.answers["DescribeInstances"] = listing("DescribeInstances", "reservationSet", [])
            return connect(at, *hooks)

        proxy.cut("StopInstances", after=False)
        with pytest.raises(NotFoundError, match=f"VM {native} no longer exists"):
            run(replace(session, connector=connecting), f"vm stop {native}")
        assert outcomes(memory) == [(f"vm stop {native}", "failed")]


@pytest.mark.parametrize("status", ["attached", "detaching", "detached"])
def test_a_volume_that_is_being_detached_counts_as_detached(
    memory: Cache, cloud: Cloud, tmp_path: Path, status: str
) -> None:
    """EC2 takes a while, and longer if it is mounted."""
    (native,) = boot_many(cloud, 1)
    ec2 = connect(cloud)
    volume = ec2.of("volume").create("data", 1, "us-east-1a", "t")["id"]
    ec2.of("volume").attach(volume, native, "/dev/sdf")
    attached = f"<instanceId>{native}</instanceId><device>/dev/sdf</device><status>{status}</status>"
    about = f"<volumeId>{volume}</volumeId><size>1</size><status>in-use</status>"
    described = listing(
        "DescribeVolumes", "volumeSet", [f"{about}<attachmentSet><item>{attached}</item></attachmentSet>"]
    )
    line = f"volume detach {volume}"
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "DetachVolume" in proxy.asked:
                proxy.answers["DescribeVolumes"] = described
            return connect(at, *hooks)

        there = replace(session, connector=connecting)
        proxy.cut("DetachVolume")
        if status == "attached":
            with pytest.raises(CloudError, match="it was not done"):
                run(there, line)
            assert outcomes(memory) == [(line, "failed")]
            return
        result = run(there, line)
        assert result.message.startswith(f"Volume {volume} is being detached from {native}.")
        assert result.undo == f"volume attach {volume} {native} --device /dev/sdf"
        assert outcomes(memory) == [(line, "done")]


def test_a_volume_of_the_same_name_that_was_there_is_not_taken_for_the_new_one(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        old = dict(run(session, "volume create data").fields)["id"]
        proxy.cut("CreateVolume", after=False)
        new = dict(run(session, "volume create data").fields)["id"]
        assert set(account(cloud).volumes) == {old, new}
        assert old != new


def test_a_keypair_that_was_there_is_not_taken_for_the_new_one(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Whoever made it has its private key: to delete it would be the wrong advice."""
    staged(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("CreateKeyPair", after=False)
        with pytest.raises(CloudError, match="it was not done"):
            run(session, "keypair create mine")
        assert account(cloud).keypairs == ["mine"]


def test_cancelling_after_it_was_sent_leaves_it_unknown(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):

        def check() -> None:
            if "StopInstances" in proxy.asked:
                raise Cancelled

        proxy.cut("StopInstances")
        with pytest.raises(OutcomeUnknownError):
            run(session, f"vm stop {native}", check=check)
        assert outcomes(memory) == [(f"vm stop {native}", "unknown")]
        assert states(cloud) == {native: "stopped"}
