"""Commands that cannot be settled at once: the last probe decides."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import mongomock
import pytest

from backend.cache import Cache
from backend.cache.rows import Rows
from backend.cache.store import Store
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.commands.model import Context
from backend.commands.preview import Preview, Target
from backend.commands.run import RESENT_FOR, execute, execute_all
from backend.config import Cloud
from backend.errors import CacheLostError, CloudError, NotFoundError, OutcomeUnknownError
from backend.journal import resume
from backend.journal.entry import plan
from backend.journal.recovery import Recovered, left, recover
from backend.kinds import keypair as keypair_room
from backend.providers.protocol import Boot, Item, Provider
from backend.providers.registry import connect
from tests.backend.cloud_support import AMI, abandoned, account, behind_proxy, boot_many, outcomes, run, states
from tests.backend.ec2_faults import listing, refusal
from tests.faces import Faces


@pytest.mark.parametrize("after", [True, False])
def test_a_resumed_boot_whose_answer_is_lost(memory: Cache, cloud: Cloud, tmp_path: Path, after: bool) -> None:
    """It counts from when it was sent, not from when it was planned."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, f"vm boot {AMI} --name web", outcome="waiting", age=RESENT_FOR + 60)
        proxy.cut("RunInstances", after=after)
        if after:  # the listing lags behind, as EC2's does
            proxy.answers["DescribeInstances"] = listing("DescribeInstances", "reservationSet", [])
        result = run(session, "journal resume")
        assert (result.message, result.failure) == ("1 done.", "")  # it says: has not been done, can be done again
        assert len(states(cloud)) == 1
        assert [outcome for _, outcome in outcomes(memory)] == ["done"]


def test_a_resumed_volume_whose_answer_is_lost(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        abandoned(session, "volume create data", outcome="waiting", age=RESENT_FOR + 60)
        proxy.cut("CreateVolume", after=False)
        assert run(session, "journal resume").message == "1 done."


VOLUME = "volume create data --size 2 --location us-east-1a"


def test_a_volume_elsewhere_is_not_the_one_whose_answer_was_lost(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    request = {"name": "data", "size": 2, "location": "us-east-1a", "before": []}
    other = connect(cloud).of("volume").create("data", 2, "us-east-1b", "other")["id"]
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        abandoned(session, VOLUME, request=request)
        (message,) = recover(session, resend=True).messages
        (made,) = account(cloud).volumes.keys() - {other}
        assert made in message
        assert memory.journal.newest()[0]["objects"] == [made]


def test_a_volume_that_another_command_made_is_not_the_one_whose_answer_was_lost(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    request = {"name": "data", "size": 2, "location": "us-east-1a", "before": []}
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        abandoned(session, VOLUME, outcome="unknown", request=request)
        run(session, VOLUME)
        assert recover(session, resend=True) == Recovered(left=1)  # its user was informed, and has repeated it
        assert sorted(outcomes(memory)) == [(VOLUME, "done"), (VOLUME, "waiting")]


@pytest.mark.parametrize("sent", [True, False])
def test_a_mistake_of_ours_after_the_cloud_has_acted_is_looked_into(
    memory: Cache, cloud: Cloud, tmp_path: Path, sent: bool
) -> None:
    class Mistaken(Faces):
        def vm_boot(self, boot: Boot) -> Item:
            if sent:
                self.real.of("vm").boot(boot)
            raise KeyError("instanceId")

    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        mistaken = replace(session, connector=lambda at, *hooks: cast(Provider, Mistaken(connect(at, *hooks))))
        if sent:
            assert "is booting" in run(mistaken, f"vm boot {AMI} --name web").message
            assert outcomes(memory) == [(f"vm boot {AMI} --name web", "done")]
            assert memory.journal.newest()[0]["objects"] == list(states(cloud))
        else:
            with pytest.raises(OutcomeUnknownError, match="KeyError"):
                run(mistaken, f"vm boot {AMI} --name web")
            assert outcomes(memory) == [(f"vm boot {AMI} --name web", "unknown")]
            assert states(cloud) == {}


def test_dry_runs_of_several_are_no_entries(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        dry = parse(split(f"vm boot {AMI} --dry-run"))
        assert [one.error for one in execute_all([dry, dry], session)] == [None, None]
        assert memory.journal.newest() == []


@pytest.mark.parametrize("wrong", ["vm boot --name web", "vm frob i-1"])
def test_one_that_cannot_be_resumed_keeps_none_from_it(memory: Cache, cloud: Cloud, tmp_path: Path, wrong: str) -> None:
    """Its verb or its default is gone: it stays, and the others are resumed."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        abandoned(session, wrong, outcome="waiting", age=9)
        abandoned(session, f"vm stop {native}", outcome="waiting")
        result = execute(parse(["journal", "resume"]), session)
        assert result.message == "1 done."
        assert result.failure.startswith(f"{wrong}: ")
        assert [entry.command for entry in left(session)] == [wrong]
        assert states(cloud) == {native: "stopped"}


class Losing(Rows):
    """The rows of a cache whose server is away for one write."""

    losing = False

    def put(self, *args: Any, **more: Any) -> tuple[int, int]:
        if self.losing:
            self.losing = False
            raise CacheLostError("The server is gone.")
        return super().put(*args, **more)


def test_a_cache_that_is_lost_while_looking(cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    store = Store(mongomock.MongoClient(tz_aware=True), "losing", "memory", "memory")
    cache = Cache(store)
    cache.rows = rows = Losing(store, cache.flights)
    cache.prepare(KINDS.values())
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        run(session, "vm refresh")

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            rows.losing = "StopInstances" in proxy.asked and not lost
            lost.extend([True] * rows.losing)
            return connect(at, *hooks)

        lost: list[bool] = []
        proxy.cut("StopInstances")
        assert run(replace(session, connector=connecting), f"vm stop {native}").message.startswith(
            f"{native} is stopping"
        )
        assert lost == [True]
        assert [outcome for _, outcome in outcomes(cache)] == ["done"]


def test_the_last_look_counts(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """The first probe finds nothing, the others are refused: nothing shows that it was not done."""
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "vm refresh")
        probes: list[int] = []

        def connecting(at: Cloud, *hooks: Any) -> Provider:
            if "StopInstances" in proxy.asked:
                probes.append(1)
                if len(probes) == 1:
                    state = "<code>16</code><name>running</name>"
                    vm = f"<instanceId>{native}</instanceId><instanceState>{state}</instanceState>"
                    proxy.answers["DescribeInstances"] = listing(
                        "DescribeInstances", "reservationSet", [f"<instancesSet><item>{vm}</item></instancesSet>"]
                    )
                else:
                    proxy.answers["DescribeInstances"] = refusal(403, "UnauthorizedOperation")
            return connect(at, *hooks)

        proxy.cut("StopInstances")
        with pytest.raises(CloudError) as caught:
            run(replace(session, connector=connecting), f"vm stop {native}")
        assert states(cloud) == {native: "stopped"}
        assert isinstance(caught.value, OutcomeUnknownError)


def test_a_name_that_a_terminated_vm_has_too(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """The preview means the same VM as the command."""
    ec2 = connect(cloud)
    old, new = boot_many(cloud, 2)
    for native in (old, new):
        ec2.of("vm").tag(native, "Name", "web")
    ec2.of("vm").delete(old)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        abandoned(session, "vm delete web", outcome="waiting")
        (target,) = resume.preview(Context(session, {}), []).targets
        run(session, "journal resume")
        assert (states(cloud)[new] == "terminated") == (not target.left_out)


def test_what_the_user_has_repeated_is_not_repeated_at_the_next_start(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    """Told "it may have been done: refresh before you repeat it", the user does so."""
    line = f"vm boot {AMI} --name web"
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        proxy.cut("RunInstances", times=1 + len(session.backoff), after=False)
        with pytest.raises(OutcomeUnknownError):
            run(session, line)
        run(session, "vm refresh")
        assert states(cloud) == {}
        run(session, line)
        recover(session, resend=True)
        assert len(states(cloud)) == 1


def test_an_id_never_means_another_vm_that_is_called_so(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """Names are anybody's: when the VM that was confirmed is gone, its id is no name."""
    gone, other = boot_many(cloud, 2)
    connect(cloud).of("vm").tag(other, "Name", gone)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        memory.rows.remove(KINDS["vm"], session.scope, [gone])
        with pytest.raises(NotFoundError, match=f"There is no VM '{gone}'"):
            run(session, f"vm delete {gone}")
        assert states(cloud)[other] == "running"


def test_a_keypair_whose_key_was_saved_before_the_process_was_killed(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        (entry,) = plan(memory, tmp_path, [(session.scope, "keypair create mine")])
        outcome = keypair_room.create(Context(session, {"name": "mine", "to": None}, entry=entry))
        memory.journal.set(entry.token, {"owner": ""})
        assert recover(session).messages == (f"keypair create mine: {outcome.message}",)
        assert [entry["outcome"] for entry in memory.journal.newest()] == ["done"]


def test_a_key_file_that_was_only_reserved_does_not_stand_in_the_way(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        path = tmp_path / "mine.pem"
        path.touch()
        abandoned(session, "keypair create mine", request={"name": "mine", "path": str(path), "before": False})
        assert recover(session).left == 1
        assert not path.exists()


def test_who_takes_an_entry_over_is_not_who_gave_the_command(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        entry = abandoned(session, "vm stop i-0123456789abcdef0", outcome="waiting")
        memory.journal.set(entry.token, {"host": "lab-3"})
        run(session, "journal drop")
        (found,) = memory.journal.newest()
        assert (found["host"], found["outcome"]) == ("lab-3", "cancelled")


def test_one_entry_that_nobody_understands_keeps_none_from_being_looked_for(
    memory: Cache, cloud: Cloud, tmp_path: Path
) -> None:
    (native,) = boot_many(cloud, 1)
    connect(cloud).of("vm").stop(native)
    with behind_proxy(cloud, memory, tmp_path) as (session, _):
        run(session, "vm refresh")
        abandoned(session, "vm boot ami-1", age=9)  # without what was sent
        abandoned(session, f"vm stop {native}", native, request={"before": "running"})
        found = recover(session)
        assert len(found.messages) == 1
        assert "its journal entry cannot be understood" in found.failures[0]
        assert recover(session).failures == ()


def test_a_name_is_confirmed_as_it_can_be_typed() -> None:
    def preview(name: str) -> Preview:
        return Preview((Target("i-1", name, production=True),))

    assert preview("db ").typed == "db"
    assert preview("db ").confirmed_by("db")
    assert preview("  ").typed == "i-1"
    assert preview("␛[31m").confirmed_by(" i-1 ")
    assert not preview("db").confirmed_by("")
    assert not Preview((Target("i-1", "a"), Target("i-2", "b"))).confirmed_by("i-1")
