"""Refreshing from a fake cloud: no known row is lost."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, RefreshRecord
from backend.catalog import KINDS
from backend.errors import (
    Cancelled,
    CloudError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
)
from backend.kinds.model import Scope
from backend.lifecycle import Flight, settle
from backend.providers.protocol import Page
from backend.refresh import AT_ONCE, OF_ONE_SCOPE, Difference, Progress, refresh, refresh_many, refresh_scopes
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    IMAGE,
    VM,
    FakeCloud,
    ago,
    fly,
    ids,
    item,
    items,
    many,
    vm_of,
)

TREE = Path(__file__).parents[2]
VOLUME, KEYPAIR = KINDS["volume"], KINDS["keypair"]


def counts(difference: Difference | RefreshRecord) -> tuple[int, int, int, int]:
    return difference.count, difference.added, difference.changed, difference.removed


# --- one kind ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_refresh_yields_its_difference(cache: Cache, kind: Any) -> None:
    first = FakeCloud(**{kind.plural: [items(kind, "a", "b"), items(kind, "c"), []]})
    difference = refresh(kind, first, cache, HERE)
    assert counts(difference) == (3, 3, 0, 0)
    assert (difference.cloud, difference.region, difference.kind, difference.error) == (*HERE, kind.name, None)
    before = cache.rows.document(kind, HERE, "a")
    second = FakeCloud(**{kind.plural: [[*items(kind, "a", "d"), item(kind, "b", name="new")]]})
    assert counts(refresh(kind, second, cache, HERE)) == (3, 1, 1, 1)
    assert ids(cache, kind) == ["a", "b", "d"]
    assert cache.rows.document(kind, HERE, "a") == before
    assert counts(refresh(kind, second, cache, HERE)) == (3, 0, 0, 0)
    assert counts(refresh(kind, second, cache, ELSEWHERE)) == (3, 3, 0, 0)
    assert ids(cache, kind) == ["a", "b", "d"]


def test_what_the_refreshes_document_holds(cache: Cache) -> None:
    began = datetime.now(UTC)
    refresh(IMAGE, FakeCloud(images=[many(IMAGE, 3)]), cache, HERE)
    difference = refresh(IMAGE, FakeCloud(images=[items(IMAGE, "x-00000", "y", name="new")]), cache, HERE)
    with cache.store.use():
        (document,) = cache.store.client[cache.store.database.name]["refreshes"].find()
    named = {"started", "finished", "count", "added", "changed", "removed", "seconds", "error"}
    ours = {"batch", "written", "writer", "lease", "lease_by", "lease_until"}
    assert set(document) == {"_id", "cloud", "region", "kind"} | ours | named
    assert (document["lease"], document["lease_by"], document["lease_until"]) == ("", "", None)
    assert document["_id"] == "aws/us-east-1/image"
    assert (document["cloud"], document["region"], document["kind"]) == ("aws", "us-east-1", "image")
    assert counts(difference) == (2, 1, 1, 2)
    assert [document[name] for name in ("count", "added", "changed", "removed")] == [2, 1, 1, 2]
    assert document["seconds"] == pytest.approx(difference.seconds)
    assert document["error"] is None
    assert (document["batch"], document["written"], document["writer"]) == (0, 3 + 1 + 1 + 2, cache.store.writer)
    slack = timedelta(milliseconds=1)  # MongoDB's times have no more
    assert began - slack <= document["started"] <= document["finished"] <= datetime.now(UTC)
    entry = cache.refreshes.of(IMAGE, HERE)
    assert entry.finished == document["finished"]
    assert entry.age(document["finished"] + timedelta(seconds=5)) == 5
    assert cache.refreshes.of(IMAGE, ELSEWHERE) == RefreshRecord("aws", "eu-west-1", "image")
    assert cache.refreshes.of(IMAGE, ELSEWHERE).age() is None


def test_rows_are_in_the_cache_as_their_page_arrives(cache: Cache) -> None:
    seen: list[tuple[list[str], RefreshRecord]] = []

    def look(_progress: Progress) -> None:
        seen.append((ids(cache, IMAGE), cache.refreshes.of(IMAGE, HERE)))

    cache.rows.put(IMAGE, HERE, items(IMAGE, "old"))
    pages = [items(IMAGE, "a", "b"), items(IMAGE, "c"), items(IMAGE, "c")]
    refresh(IMAGE, FakeCloud(images=pages), cache, HERE, progress=look)
    assert [(there, entry.batch, entry.finished) for there, entry in seen] == [
        (["a", "b", "old"], 2, None),
        (["a", "b", "c", "old"], 3, None),
        (["a", "b", "c", "old"], 3, None),
    ]
    assert ids(cache, IMAGE) == ["a", "b", "c"]


def test_an_empty_listing_empties(cache: Cache) -> None:
    refresh(VM, FakeCloud(vms=[items(VM, "a", "b")]), cache, HERE)
    assert counts(refresh(VM, FakeCloud(vms=[[]]), cache, HERE)) == (0, 0, 0, 2)
    assert counts(refresh(VM, FakeCloud(vms=[]), cache, HERE)) == (0, 0, 0, 0)
    assert ids(cache, VM) == []


def test_the_same_id_on_two_pages(cache: Cache) -> None:
    twice = FakeCloud(vms=[items(VM, "a", "b"), items(VM, "b", "c"), [item(VM, "a", name="later")]])
    difference = refresh(VM, twice, cache, HERE)
    assert (difference.count, difference.added, difference.removed) == (3, 3, 0)
    assert vm_of(cache, "a")["name"] == "later"
    difference = refresh(VM, FakeCloud(vms=[items(VM, "a"), items(VM, "a")]), cache, HERE)
    assert counts(difference) == (1, 0, 1, 2)


ENDS: list[Exception] = [
    CloudError("No."),
    CredentialsError("The keys are not accepted.", "Check them."),
    PermissionDeniedError("Not allowed."),
    NotFoundError("Gone."),
    TransientError("Throttled."),
    Cancelled(),
    ValueError("of a library"),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_a_refresh_that_ends_early_leaves_the_old_rows(cache: Cache, end: Exception) -> None:
    refresh(VM, FakeCloud(vms=[items(VM, "a", "b", "c")]), cache, HERE)
    good = cache.refreshes.of(VM, HERE)
    old = cache.rows.document(VM, HERE, "c")
    with pytest.raises(type(end)) as caught:
        refresh(VM, FakeCloud(vms=[[item(VM, "a", name="new"), item(VM, "d")], end]), cache, HERE)
    assert caught.value is end
    assert ids(cache, VM) == ["a", "b", "c", "d"]
    assert vm_of(cache, "a")["name"] == "new"
    assert cache.rows.document(VM, HERE, "c") == old
    bad = cache.refreshes.of(VM, HERE)
    assert bad.error == (str(end) or "Cancelled.")
    assert (bad.finished, counts(bad), bad.batch) == (good.finished, counts(good), 0)
    assert bad.started is not None
    assert good.started is not None
    assert bad.started >= good.started
    # The next one that is complete mends all of it.
    assert counts(refresh(VM, FakeCloud(vms=[items(VM, "a", "d")]), cache, HERE)) == (2, 0, 1, 2)
    assert cache.refreshes.of(VM, HERE).error is None


@pytest.mark.parametrize("checks", [0, 1, 2])
def test_cancelling_between_pages(cache: Cache, checks: int) -> None:
    refresh(VM, FakeCloud(vms=[items(VM, "old")]), cache, HERE)
    left = [checks]

    def check() -> None:
        if not left[0]:
            raise Cancelled
        left[0] -= 1

    with pytest.raises(Cancelled):
        refresh(VM, FakeCloud(vms=[items(VM, "a"), items(VM, "b")]), cache, HERE, check=check)
    assert ids(cache, VM) == [*"ab"[:checks], "old"]  # cancelled after the last page too: nothing is removed
    assert cache.refreshes.of(VM, HERE).error == "Cancelled."


def test_progress(cache: Cache) -> None:
    reported: list[Progress] = []
    listing = FakeCloud(images=[many(IMAGE, 3), items(IMAGE, "x-00001", "y"), []])
    refresh(IMAGE, listing, cache, HERE, progress=reported.append)
    assert [(one.kind, one.rows, one.pages, one.estimate) for one in reported] == [
        ("image", 3, 1, 0),
        ("image", 5, 2, 0),
        ("image", 5, 3, 0),
    ]
    assert 0 <= reported[0].seconds <= reported[-1].seconds
    refresh(IMAGE, listing, cache, HERE, progress=reported.append)
    assert reported[-1].estimate == 4


def test_an_object_for_json() -> None:
    keys = ["cloud", "region", "kind", "count", "added", "changed", "removed", "seconds", "error"]
    made = Difference("aws", "us-east-1", "vm", seconds=1.23456).as_object()
    assert list(made) == keys
    assert made["seconds"] == 1.235


# --- several ----------------------------------------------------------------------------------------------------------


def test_several_kinds_at_once(cache: Cache) -> None:
    cloud = FakeCloud(**{kind.plural: [items(kind, "a")] for kind in KINDS.values()})
    done: list[Difference] = []
    connected: list[int] = []

    def connect(*_hooks: Any) -> FakeCloud:
        connected.append(threading.get_ident())
        return cloud

    found = refresh_many(list(KINDS.values()), connect, cache, HERE, done=done.append)
    assert [one.kind for one in found] == list(KINDS)
    assert [counts(one) for one in found] == [(1, 1, 0, 0)] * len(KINDS)
    assert sorted(one.kind for one in done) == sorted(KINDS)
    assert len(connected) == len(KINDS)  # a connection for each: they are not thread-safe
    assert threading.get_ident() not in connected
    assert refresh_many([], connect, cache, HERE) == []


def test_one_that_fails_leaves_the_others(cache: Cache) -> None:
    cloud = FakeCloud(vms=[PermissionDeniedError("Not allowed.", "Ask.")], volumes=[items(VOLUME, "v")], keypairs=[])
    found = refresh_many([VM, VOLUME, KEYPAIR], cloud.connect, cache, HERE)
    assert [one.error for one in found] == ["Not allowed. Ask.", None, None]
    assert [one.count for one in found] == [0, 1, 0]
    assert cache.refreshes.of(VM, HERE).error == "Not allowed. Ask."


def test_a_cloud_that_cannot_be_connected_to(cache: Cache) -> None:
    def connect(*_hooks: Any) -> FakeCloud:
        raise CredentialsError("There are no keys.")

    found = refresh_many([VM, VOLUME], connect, cache, HERE)
    assert [one.error for one in found] == ["There are no keys."] * 2


def test_a_mistake_of_ours_is_not_waited_for(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        refresh_many([VM, VOLUME], FakeCloud(vms=[ZeroDivisionError()]).connect, cache, HERE)
    assert cache.refreshes.of(VM, HERE).error


@pytest.mark.parametrize("end", [Cancelled, KeyboardInterrupt])
def test_cancelling_while_a_cloud_says_nothing(cache: Cache, end: type[BaseException]) -> None:
    silent, listening = threading.Event(), threading.Event()

    def page() -> Page:
        listening.set()
        silent.wait(30)
        return items(VM, "late")

    def check() -> None:
        if listening.is_set():
            raise end

    cache.rows.put(VM, HERE, items(VM, "old"))
    before = set(threading.enumerate())
    began = time.monotonic()
    try:
        with pytest.raises(end):
            refresh_many([VM, VOLUME], FakeCloud(vms=[page]).connect, cache, HERE, check=check)
        assert time.monotonic() - began < 2  # a second for the thread, and a slow machine
    finally:
        threads = set(threading.enumerate()) - before
        assert threads
        assert all(thread.daemon for thread in threads)  # they keep no process alive
        silent.set()
        for thread in threads:
            thread.join(10)
    # What came too late is not written.
    assert ids(cache, VM) == ["old"]
    assert cache.refreshes.of(VM, HERE).error == "Cancelled."


def test_cancelling_starts_nothing_more(cache: Cache) -> None:
    asked: list[str] = []

    def connect(check: Callable[[], None], _waits: Any) -> FakeCloud:
        check()
        return FakeCloud(**{kind.plural: [wait] for kind in KINDS.values()})

    def wait() -> Page:
        asked.append("")
        go.wait(30)
        return []

    go = threading.Event()

    def check() -> None:
        if len(asked) == 3:
            go.set()
            raise Cancelled

    with pytest.raises(Cancelled):
        refresh_many(list(KINDS.values()), connect, cache, HERE, check=check)
    assert len(asked) == 3


# --- what protects VMs ------------------------------------------------------------------------------------------------


def test_a_listing_does_not_ask_what_is_protected(cache: Cache) -> None:
    cloud = FakeCloud(vms=[items(VM, "a", "b", state="running")])
    cloud.protected_vms = {"a"}
    for _ in range(3):
        refresh(VM, cloud, cache, HERE)
    assert cloud.asked.all == [("vms", ())] * 3
    assert {VM.value(row, "protected") for row in cache.rows.snapshot(VM, HERE)} == {None}


# --- settling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "seconds", "state", "outcome"),
    [
        ("boot", 1, "pending", None),
        ("boot", 1, "running", "is running"),
        ("start", 1, "stopped", None),  # EC2's listings lag behind its replies
        ("start", 30, "stopped", "is stopped after its start"),
        ("stop", 1, "running", None),
        ("stop", 1, "stopped", "is stopped"),
        ("stop", 30, "stopping", None),
        ("stop", 30, "terminated", "is terminated after its stop"),
        ("delete", 1, "terminated", "is terminated"),
        ("delete", 30, "shutting-down", None),
        ("reboot", 1, "running", None),
        ("reboot", 6, "running", "is running"),
        ("reboot", 30, "stopped", "is stopped after its reboot"),
        ("of a later version", 1, "running", None),
        ("of a later version", 30, "running", "is running after its of a later version"),
    ],
)
def test_settling(cache: Cache, action: str, seconds: float, state: str, outcome: str | None) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state=state), item(VM, "b", state="running")])
    fly(cache, "a", action, seconds)
    assert settle(cache, VM, HERE) == ([("a", outcome)] if outcome else [])
    assert (vm_of(cache, "a")["flight"] is None) == bool(outcome)
    assert Flight(action, ago(seconds)).is_over(state) == bool(outcome)


def test_a_refresh_of_vms_ends_flights(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    fly(cache, "a", "stop", state="stopping")
    refresh(VM, FakeCloud(vms=[[item(VM, "a", state="stopped")]]), cache, HERE)
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"]) == ("stopped", None)


def test_a_vm_just_booted_outlives_a_listing_without_it(cache: Cache) -> None:
    cache.rows.put(VM, HERE, items(VM, "new", "late", "old", state="pending"))
    fly(cache, "new", "boot", 1)
    fly(cache, "late", "boot", 25)
    assert counts(refresh(VM, FakeCloud(vms=[[]]), cache, HERE)) == (1, 0, 0, 2)
    assert ids(cache, VM) == ["new"]


# --- several scopes ---------------------------------------------------------------------------------------------------

REGIONS = [Scope("aws", f"region-{number}") for number in range(17)]


def test_many_scopes_are_listed_within_the_budget(memory: Cache) -> None:
    lock, running, most = threading.Lock(), Counter[Scope](), Counter[str]()
    together = threading.Barrier(AT_ONCE)

    def connect(scope: Scope, *_hooks: Any) -> FakeCloud:
        def page() -> Page:
            with lock:
                running[scope] += 1
                most["all"] = max(most["all"], running.total())
                most["of one"] = max(most["of one"], running[scope])
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(1)  # the first eight come together; a ninth would be counted
            with lock:
                running[scope] -= 1
            return items(VM, f"vm-{scope.region}")

        return FakeCloud(vms=[page], volumes=[page], keypairs=[page])

    wanted = [(kind, scope) for kind in (VM, VOLUME, KEYPAIR) for scope in REGIONS]
    done = refresh_scopes(wanted, connect, memory)
    assert [(one.kind, one.cloud, one.region) for one in done] == [(kind.name, *scope) for kind, scope in wanted]
    assert {one.error for one in done} == {None}
    assert most["all"] == AT_ONCE
    assert most["of one"] <= OF_ONE_SCOPE


def test_a_scope_that_hangs_or_fails_keeps_no_other_waiting(memory: Cache) -> None:
    gate = threading.Event()

    def connect(scope: Scope, *_hooks: Any) -> FakeCloud:
        if scope == REGIONS[1]:
            raise CredentialsError("The keys are not accepted.", "Check them.")
        if scope == REGIONS[0]:
            return FakeCloud(vms=[lambda: items(VM, "late") if gate.wait(10) else []])
        return FakeCloud(vms=[items(VM, "a")])

    ended: list[Difference] = []

    def done(one: Difference) -> None:
        ended.append(one)
        if len(ended) == len(REGIONS) - 1:
            gate.set()

    refresh_scopes([(VM, scope) for scope in REGIONS], connect, memory, done=done)
    assert ended[-1].region == REGIONS[0].region
    assert memory.refreshes.of(VM, REGIONS[1]).error == "The keys are not accepted. Check them."
    assert [one.error for one in ended if one.error] == ["The keys are not accepted. Check them."]
