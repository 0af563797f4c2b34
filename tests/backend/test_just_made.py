"""A new object that EC2 does not list so far: the program waits for it, says so, and keeps it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.model import Context
from backend.config import Cloud, Poll
from backend.errors import Cancelled, CloudError, NotFoundError, NotListedError, OutcomeUnknownError
from backend.kinds import keypair as keypair_room
from backend.kinds.model import Kind
from backend.kinds.vm import preview as vm_preview
from backend.kinds.volume import preview as volume_preview
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.refresh import LISTING_DELAY, refresh
from backend.session import Session
from backend.watch import Watcher
from tests.backend.cache_support import ELSEWHERE, HERE, VM, FakeCloud, ago, ids, item, set_flight
from tests.backend.cloud_support import AMI, BOOT, behind_proxy, outcomes, run, states
from tests.backend.ec2_faults import listing, refusal
from tests.ec2_proxy import Proxy

LISTS = {"vm": "DescribeInstances", "volume": "DescribeVolumes", "keypair": "DescribeKeyPairs"}
SETS = {"vm": "reservationSet", "volume": "volumeSet", "keypair": "keySet"}
MAKES = {"vm": BOOT, "volume": "volume create data", "keypair": "keypair create mine"}
LINES = [
    ("vm", "vm tag {} a=b"),
    ("vm", "vm untag {} a"),
    ("vm", "vm stop {}"),
    ("vm", "vm reboot {}"),
    ("vm", "vm delete {}"),
    ("vm", "vm protect {}"),
    ("volume", "volume tag {} a=b"),
    ("volume", "volume delete {}"),
    ("volume", "volume attach {} i-0123456789abcdef0"),
    ("keypair", "keypair delete {}"),
]


def lagging(proxy: Proxy, kind: str) -> None:
    """Have EC2 list none of a kind."""
    proxy.answers[LISTS[kind]] = listing(LISTS[kind], SETS[kind], [])


@contextmanager
def made(cloud: Cloud, cache: Cache, home: Path, kind: str) -> Iterator[tuple[Session, Proxy, str]]:
    """Yield a session that has just made an object that EC2 does not list so far, the proxy and its id."""
    with behind_proxy(cloud, cache, home) as (session, proxy):
        lagging(proxy, kind)
        native = str(dict(run(session, MAKES[kind]).fields)["id"])
        proxy.calls.clear()
        yield session, proxy, native


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_it_is_waited_for_and_its_row_stays(memory: Cache, cloud: Cloud, tmp_path: Path, kind: str, line: str) -> None:
    with made(cloud, memory, tmp_path, kind) as (session, proxy, native):
        with pytest.raises(NotListedError) as caught:
            run(session, line.format(native))
        noun = KINDS[kind].titled
        said = "EC2 may not know it everywhere yet" if kind == "keypair" else "EC2 does not list it yet in cloud aws"
        assert f"{noun} {native} was created a moment ago, and {said}" in caught.value.message
        assert caught.value.cure == "Try again in a moment."
        listings = [call for call in proxy.calls if call.action == LISTS[kind]]
        assert len(listings) == 1 + len(session.backoff)
        assert {call.action for call in proxy.calls} == {LISTS[kind]}  # nothing was sent
        assert ids(memory, KINDS[kind], session.scope) == [native]
        assert outcomes(memory)[-1] == (line.format(native), "failed")


@pytest.mark.parametrize("answer", ["listed", "known"])
def test_it_is_acted_on_as_soon_as_ec2_knows_it(memory: Cache, cloud: Cloud, tmp_path: Path, answer: str) -> None:
    """A listing may have it before the rest of EC2 does."""
    with made(cloud, memory, tmp_path, "vm") as (session, proxy, native):
        if answer == "known":
            proxy.answers.clear()
            proxy.answers["CreateTags"] = refusal(400, "InvalidInstanceID.NotFound", f"{native} does not exist")
        tries: list[int] = []

        def connecting(at: Cloud, *hooks: Callable[..., object]) -> Provider:
            tries.append(1)
            if len(tries) == 3:
                proxy.answers.clear()
            return connect(at, *hooks)  # type: ignore[arg-type]

        waits: list[str] = []
        result = run(
            replace(session, connector=connecting), f"vm tag {native} a=b", on_wait=lambda one: waits.append(one.why)
        )
        assert result.message == f"web ({native}) is tagged a=b."
        assert waits == ["not listed yet"] * 2
        assert outcomes(memory)[-1] == (f"vm tag {native} a=b", "done")


def test_waiting_for_it_can_be_cancelled(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with made(cloud, memory, tmp_path, "vm") as (session, proxy, native):

        def check() -> None:
            if len(proxy.calls) > 0:
                raise Cancelled

        with pytest.raises(Cancelled):
            run(replace(session, backoff=(3_600.0,)), f"vm tag {native} a=b", check=check)
        assert outcomes(memory)[-1] == (f"vm tag {native} a=b", "cancelled")


@pytest.mark.parametrize("kind", LISTS)
def test_neither_a_refresh_nor_a_preview_removes_its_row(cache: Cache, cloud: Cloud, tmp_path: Path, kind: str) -> None:
    with made(cloud, cache, tmp_path, kind) as (session, proxy, native):
        for _ in range(2):
            (difference,) = run(session, f"{kind} refresh").differences
            assert (difference.count, difference.removed) == (1, 0)
        preview = {"vm": vm_preview.deleting, "volume": volume_preview.deleting, "keypair": keypair_room.deleting}[kind]
        (target,) = preview(Context(session, {}), [native]).targets
        assert target.left_out == "EC2 does not list it yet; try again in a moment"
        assert ids(cache, KINDS[kind], session.scope) == [native]
        proxy.answers.clear()  # it is listed, and gone later: now that is the truth
        run(session, f"{kind} refresh")
        lagging(proxy, kind)
        run(session, f"{kind} refresh")
        assert ids(cache, KINDS[kind], session.scope) == []


def test_the_watcher_keeps_it_too(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="pending")], made=True)
    assert Watcher(cache, VM, HERE, FakeCloud(vms=[[]]).connect, Poll(), report=print).step() is not None
    assert ids(cache, VM) == ["a"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name in LISTS], ids=lambda kind: kind.name)
def test_for_some_minutes(cache: Cache, kind: Kind) -> None:
    for native, age in (("new", LISTING_DELAY - 60), ("old", LISTING_DELAY + 60)):
        cache.rows.put(kind, HERE, [item(kind, native)], made=True)
        with cache.store.use():
            cache.store.database[kind.plural].update_one({"_id": HERE.key(native)}, {"$set": {"made": ago(age)}})
    cache.rows.put(kind, ELSEWHERE, [item(kind, "elsewhere")], made=True)
    assert cache.rows.unlisted(kind, HERE, ago(LISTING_DELAY)) == {"new"}
    refresh(kind, FakeCloud(**{kind.plural: [[]]}), cache, HERE)
    assert ids(cache, kind) == ["new"]


def test_what_a_listing_has_had_is_gone_when_it_is_gone(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        native = str(dict(run(session, BOOT).fields)["id"])
        run(session, "vm refresh")
        set_flight(memory, session.scope, native, None)
        lagging(proxy, "vm")
        with pytest.raises(NotFoundError, match="no longer exists"):
            run(session, f"vm tag {native} a=b")
        assert ids(memory, VM, session.scope) == []


def test_a_lost_answer_about_it_stays_unknown(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """A missing listing says nothing about what was done to it."""
    with made(cloud, memory, tmp_path, "vm") as (session, proxy, native):
        proxy.answers.clear()

        def connecting(at: Cloud, *hooks: Callable[..., object]) -> Provider:
            if "StopInstances" in proxy.asked:
                memory.rows.put(VM, session.scope, [{"id": native, "name": "web", "state": "running"}], made=True)
                lagging(proxy, "vm")
            return connect(at, *hooks)  # type: ignore[arg-type]

        set_flight(memory, session.scope, native, None)
        proxy.cut("StopInstances")
        with pytest.raises(OutcomeUnknownError, match="does not list it yet"):
            run(replace(session, connector=connecting, backoff=(0.0,)), f"vm stop {native}")
        assert outcomes(memory)[-1] == (f"vm stop {native}", "unknown")
        proxy.answers.clear()
        assert states(cloud) == {native: "stopped"}


def test_a_keypair_that_ec2_does_not_know_yet_boots_a_moment_later(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "keypair create mine")
        proxy.answers["RunInstances"] = refusal(400, "InvalidKeyPair.NotFound", "The key pair 'mine' does not exist")
        with pytest.raises(CloudError, match="may not know it everywhere yet"):
            run(session, f"{BOOT} --keypair mine")
        proxy.answers.clear()
        run(session, f"{BOOT} --keypair mine")
        tokens = [call.params["ClientToken"] for call in proxy.calls if call.action == "RunInstances"]
        assert len(tokens) == 1 + len(session.backoff) + 1
        assert len(set(tokens)) == 2  # one a command


@pytest.mark.parametrize("image", ["ami-12345678", AMI])
def test_an_image_that_does_not_exist_is_not_blamed_on_a_new_keypair(
    memory: Cache, cloud: Cloud, tmp_path: Path, image: str
) -> None:
    """The first is not in the cache, and the second is no longer in EC2."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        run(session, "keypair create mine")
        words = f"The image id '[{AMI}]' does not exist"
        proxy.answers["RunInstances"] = refusal(400, "InvalidAMIID.NotFound", words)
        with pytest.raises(NotFoundError) as caught:
            run(session, f"vm boot {image} --keypair mine")
        assert not isinstance(caught.value, NotListedError)
        assert "a moment ago" not in str(caught.value)
        assert proxy.asked.count("RunInstances") == (image == AMI)
