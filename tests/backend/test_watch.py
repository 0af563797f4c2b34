"""VMs in flight on a fake cloud, followed until they settle, vanish or are given up."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from backend.cache import Cache, Change, RefreshRecord
from backend.config import Poll
from backend.errors import CloudError
from backend.providers.protocol import Page
from backend.watch import Watcher
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    VM,
    FakeCloud,
    Received,
    ago,
    eventually,
    fly,
    ids,
    item,
    set_flight,
    vm_of,
)

POLL = Poll(in_flight=2, settled=30, give_up=600)


class Account:
    """A cloud whose VMs are in the states that the test puts them in."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.broken: Exception | None = None
        self.cloud = FakeCloud(vms=self._vms)

    def _vms(self, natives: Sequence[str]) -> Iterator[Page | Exception]:
        if self.broken:
            yield self.broken
        yield [item(VM, one, name=f"vm {one}", state=self.states[one]) for one in natives if one in self.states]

    @property
    def asked(self) -> list[tuple[str, ...]]:
        """The requested ids, poll by poll."""
        return [tuple(sorted(natives)) for _, natives in self.cloud.asked.all]

    def wait_asked(self, times: int) -> None:
        self.cloud.asked.until(lambda all_: len(all_) >= times)

    def into(self, cache: Cache) -> None:
        """Write into the cache what the cloud says now."""
        vms = [item(VM, native, name=f"vm {native}", state=state) for native, state in self.states.items()]
        cache.rows.put(VM, HERE, vms)


def watcher_of(cache: Cache, account: Account, poll: Poll = POLL) -> tuple[Watcher, list[str]]:
    said: list[str] = []
    return Watcher(cache, VM, HERE, account.cloud.connect, poll, report=said.append), said


# --- one poll at a time -----------------------------------------------------------------------------------------------


def test_nothing_in_flight_asks_nothing(cache: Cache) -> None:
    account = Account(a="running", b="stopped")
    account.into(cache)
    cache.rows.put(VM, ELSEWHERE, [item(VM, "z", state="pending")])
    watcher, said = watcher_of(cache, account)
    assert watcher.step() is None
    assert (account.asked, said) == ([], [])


def test_a_boot_settles(cache: Cache) -> None:
    account = Account(a="pending", b="running")
    account.into(cache)
    fly(cache, "a", "boot", 1)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    assert watcher.step() == pytest.approx(2.6)
    assert vm_of(cache, "a")["flight"].action == "boot"
    assert said == []
    account.states["a"] = "running"
    assert watcher.step() is None
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"]) == ("running", None)
    assert said == ["vm a is running."]
    assert watcher.step() is None
    assert account.asked == [("a",)] * 3  # those in flight alone


def test_looks_grow_apart(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop")
    watcher, _ = watcher_of(cache, account)
    pauses = [watcher.step() or 0 for _ in range(12)]
    assert pauses[0] == 2
    assert pauses == sorted(pauses)
    assert pauses[1] == pytest.approx(2.6)
    assert pauses[-1] == 15
    # Another flight begins: the polls are as close as at first.
    account.states["b"] = "running"
    account.into(cache)
    fly(cache, "b", "stop", 1, state="stopping")
    watcher.saw(cache.rows.named(VM, HERE, "a")[0])
    assert watcher.step() == 15
    fly(cache, "b", "start")
    watcher.saw(cache.rows.named(VM, HERE, "b")[0])
    assert watcher.step() == 2


def test_a_slow_poll_is_never_made_faster(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop")
    watcher, _ = watcher_of(cache, account, Poll(in_flight=40))
    assert [watcher.step() for _ in range(3)] == [40, 40, 40]


def test_a_vm_that_vanished_is_removed(cache: Cache) -> None:
    account = Account(a="shutting-down", b="pending", c="pending")
    account.into(cache)
    fly(cache, "a", "delete", 25)
    del account.states["a"], account.states["c"]
    watcher, _ = watcher_of(cache, account)
    assert watcher.step() == 2
    assert ids(cache, VM) == ["b"]


def test_a_vm_that_is_not_listed_yet_is_kept(cache: Cache) -> None:
    account = Account(a="pending")
    account.into(cache)
    fly(cache, "a", "boot", 1)
    watcher, _ = watcher_of(cache, Account())
    assert watcher.step() == 2
    assert vm_of(cache, "a")["flight"].action == "boot"
    fly(cache, "a", "boot", 25)
    assert watcher.step() is None
    assert ids(cache, VM) == []


def test_a_vm_that_does_not_settle_is_given_up_once(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop", 599)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    assert said == []
    fly(cache, "a", "stop", 601)
    assert watcher.step() == 30
    assert said == ["vm a did not settle within 600 s of its stop; it is stopping."]
    assert vm_of(cache, "a")["flight"].overdue is True
    assert watcher.step() == 30  # still polled, more slowly
    assert len(said) == 1
    account.states["a"] = "stopped"
    assert watcher.step() is None
    assert said[1:] == ["vm a is stopped."]
    assert vm_of(cache, "a")["flight"] is None


def test_one_given_up_does_not_slow_the_others(cache: Cache) -> None:
    account = Account(a="stopping", b="pending")
    account.into(cache)
    fly(cache, "a", "stop", 601)
    fly(cache, "b", "boot", 1)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    assert len(said) == 1


def test_a_reboot_is_seen(cache: Cache) -> None:
    account = Account(a="running")
    account.into(cache)
    fly(cache, "a", "reboot", 1)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"].action) == ("running", "reboot")
    fly(cache, "a", "reboot", 5)
    assert watcher.step() is None
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"]) == ("running", None)
    assert said == ["vm a is running."]


def test_an_action_that_came_to_nothing(cache: Cache) -> None:
    account = Account(a="stopped")
    account.into(cache)
    fly(cache, "a", "start", 5, state="pending")
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2  # a listing may lag behind the reply
    fly(cache, "a", "start", 25)
    assert watcher.step() is None
    assert said == ["vm a is stopped after its start."]


def test_a_vm_that_somebody_else_moves(cache: Cache) -> None:
    account = Account(a="pending")
    account.into(cache)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    assert vm_of(cache, "a")["flight"] is None
    account.states["a"] = "running"
    assert watcher.step() is None
    assert vm_of(cache, "a")["state"] == "running"
    assert said == []  # nothing that anybody here asked for


def test_a_vm_without_a_name_is_called_by_its_id(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "i-1", name=None, state="stopping")])
    fly(cache, "i-1", "stop")
    watcher, said = watcher_of(cache, Account(**{"i-1": "stopped"}))
    watcher.step()
    assert said == ["i-1 is stopped."]


def test_trouble_is_told_once(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop")
    watcher, said = watcher_of(cache, account)
    account.broken = CloudError("No answer.", "Wait.")
    assert [watcher.step() for _ in range(3)] == [30, 30, 30]
    assert said == ["stop of vm a was sent, but cannot be followed now. No answer. Wait."]
    account.broken = CloudError("Not allowed.")
    watcher.step()
    assert said[1:] == ["stop of vm a was sent, but cannot be followed now. Not allowed."]
    account.broken = None
    assert watcher.step() == 2
    account.broken = CloudError("Not allowed.")  # it had gone: this is news
    watcher.step()
    assert len(said) == 3
    assert vm_of(cache, "a")["flight"].action == "stop"


def test_a_closed_watcher_writes_nothing(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop")
    watcher, said = watcher_of(cache, account)
    watcher.close()
    account.states["a"] = "stopped"
    assert watcher.step() is None
    assert vm_of(cache, "a")["state"] == "stopping"
    assert said == []


# --- what a listing of all VMs has shown ------------------------------------------------------------------------------


def listed(cache: Cache, *, ended: float = 0, took: float = 0.5, **fields: Any) -> None:
    """Note a complete listing that ended some seconds ago; `fields` say what came after it."""
    entry = RefreshRecord(*HERE, "vm", started=ago(ended + took), finished=ago(ended), seconds=took)
    cache.refreshes.write(VM, HERE, replace(entry, **fields))


def test_what_has_just_been_listed_is_not_asked_for(cache: Cache) -> None:
    account = Account(a="stopping", b="pending")
    account.into(cache)
    fly(cache, "a", "stop", 5)
    listed(cache, ended=1)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == pytest.approx(2, abs=0.2)  # until that listing is three seconds old
    account.states["a"] = "stopped"
    account.into(cache)
    listed(cache)
    assert watcher.step() == pytest.approx(3, abs=0.2)
    assert (vm_of(cache, "a")["flight"], said) == (None, ["vm a is stopped."])
    account.states["b"] = "running"
    account.into(cache)
    assert watcher.step() is None
    assert account.asked == []


def test_a_listing_of_before_the_last_interval_saves_nothing(cache: Cache) -> None:
    account = Account(a="stopping", b="pending")
    account.into(cache)
    fly(cache, "a", "stop", 60)
    listed(cache, ended=4)
    watcher, _ = watcher_of(cache, account)
    assert watcher.step() == 2
    assert account.asked == [("a", "b")]


def test_a_vm_that_took_off_since_the_listing_began_is_asked_for_alone(cache: Cache) -> None:
    account = Account(a="stopping", b="stopping", c="pending")
    account.into(cache)
    fly(cache, "a", "stop", 1)
    fly(cache, "b", "stop", 5)
    listed(cache, ended=0.5, took=2)
    watcher, _ = watcher_of(cache, account)
    assert watcher.step() == 2
    assert account.asked == [("a",)]


def test_a_listing_under_way_is_waited_for(cache: Cache) -> None:
    account = Account(a="stopping", b="pending")
    account.into(cache)
    fly(cache, "a", "stop", 5)
    listed(cache, ended=30, started=ago(1))
    watcher, _ = watcher_of(cache, account)
    assert watcher.step() == pytest.approx(2, abs=0.2)
    assert account.asked == []
    listed(cache, ended=30, started=ago(4))  # it takes long, or its owner is dead
    assert watcher.step() == 2
    assert account.asked == [("a", "b")]


def test_a_listing_that_failed_is_not_waited_for(cache: Cache) -> None:
    account = Account(a="pending")
    account.into(cache)
    listed(cache, ended=30, started=ago(1), error="No answer.")
    watcher, _ = watcher_of(cache, account)
    assert watcher.step() == 2
    assert account.asked == [("a",)]


@pytest.mark.parametrize(
    ("action", "state", "words"),
    [
        ("stop", "stopped", ["vm a is stopped."]),
        ("start", "stopped", ["vm a is stopped after its start."]),
        ("delete", None, []),
    ],
)
def test_a_flight_that_a_refresh_has_ended_is_told_of(
    cache: Cache, action: str, state: str | None, words: list[str]
) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", action, 5)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    if state is None:
        cache.rows.remove(VM, HERE, ["a"])
    else:
        set_flight(cache, HERE, "a", None, state)
    assert watcher.step() is None
    assert said == words
    assert watcher.step() is None
    assert said == words


def test_a_vm_acted_on_again_is_told_of_when_that_has_ended(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop", 9)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 2
    account.states["a"] = "pending"
    fly(cache, "a", "start", 5, state="pending")
    watcher.step()
    assert said == []
    account.states["a"] = "running"
    assert watcher.step() is None
    assert said == ["vm a is running."]


def test_an_overdue_vm_is_given_up_though_listed(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop", 601)
    listed(cache)
    watcher, said = watcher_of(cache, account)
    assert watcher.step() == 30
    assert said == ["vm a did not settle within 600 s of its stop; it is stopping."]
    assert account.asked == []


# --- by itself --------------------------------------------------------------------------------------------------------


@contextmanager
def watching(cache: Cache, account: Account, poll: Poll) -> Iterator[tuple[Watcher, Received]]:
    """A running watcher that gets the rows that this process writes."""
    said = Received()
    watcher = Watcher(cache, VM, HERE, account.cloud.connect, poll, report=said)

    def saw(change: Change) -> None:
        for row in change.upserts:
            watcher.saw(row)

    cache.listen(saw)
    before = set(threading.enumerate())
    watcher.start()
    try:
        yield watcher, said
    finally:
        watcher.close()
        cache.unlisten(saw)
        eventually(lambda: not {one for one in threading.enumerate() if one.name == "vm watcher"} - before)


def test_flights_that_a_dead_process_left_are_followed(cache: Cache) -> None:
    account = Account(a="stopped", b="running")
    cache.rows.put(VM, HERE, [item(VM, "a", name="vm a", state="stopping"), item(VM, "b", state="pending")])
    fly(cache, "a", "stop", 3_600)
    with watching(cache, account, POLL) as (_, said):
        said.until(lambda all_: all_ == ["vm a is stopped."])
        eventually(lambda: cache.flights.rows(VM, HERE) == [])
    assert vm_of(cache, "b")["state"] == "running"
    assert account.asked == [("a", "b")]


def test_it_sleeps_until_something_takes_off(cache: Cache) -> None:
    account = Account(a="running", b="running", c="stopped")
    account.into(cache)
    with watching(cache, account, Poll(in_flight=0.05, settled=600)) as (watcher, said):
        for _ in range(20):
            for row in cache.rows.snapshot(VM, HERE):
                watcher.saw(row)
            account.into(cache)
        account.states["b"] = "stopped"
        fly(cache, "b", "stop", state="stopping")
        said.until(lambda all_: all_ == ["vm b is stopped."])
        assert account.asked == [("b",)]


def test_what_it_writes_itself_does_not_wake_it(cache: Cache) -> None:
    account = Account(a="stopping")
    account.into(cache)
    fly(cache, "a", "stop")
    first = 0.1
    with watching(cache, account, Poll(in_flight=first, settled=600)):
        account.wait_asked(6)
        polls = account.cloud.asked.times[:6]
    # It got every row that it wrote, and still the intervals grew.
    assert polls[-1] - polls[0] >= sum(first * 1.3**number for number in range(5)) * 0.98


def test_a_vm_moved_by_others_twice_is_followed_twice(cache: Cache) -> None:
    account = Account(a="running")
    cache.rows.put(VM, HERE, [item(VM, "a", state="pending")])
    with watching(cache, account, Poll(in_flight=0.05, settled=600)):
        eventually(lambda: vm_of(cache, "a")["state"] == "running")
        account.states["a"] = "stopped"
        # Long after: it has come to rest, and the watcher with it.
        rest(account)
        polls = len(account.asked)
        cache.rows.put(VM, HERE, [item(VM, "a", state="stopping")])
        account.wait_asked(polls + 1)
        eventually(lambda: vm_of(cache, "a")["state"] == "stopped")


def rest(account: Account, seconds: float = 0.3) -> None:
    """Wait until no poll comes for a while: a thread that sleeps has no event."""
    while True:
        polls = len(account.asked)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)
        if len(account.asked) == polls:
            return


def test_trouble_does_not_end_it(cache: Cache) -> None:
    account = Account(a="stopped")
    cache.rows.put(VM, HERE, [item(VM, "a", name="vm a", state="stopping")])
    fly(cache, "a", "stop")
    account.broken = CloudError("No answer.")
    with watching(cache, account, Poll(in_flight=0.05, settled=0.2)) as (_, said):
        said.until(lambda all_: all_ == ["stop of vm a was sent, but cannot be followed now. No answer."])
        account.broken = None
        said.until(lambda all_: all_[1:] == ["vm a is stopped."])


def test_closing_while_a_cloud_says_nothing(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="stopping")])
    fly(cache, "a", "stop")
    asked, silent = threading.Event(), threading.Event()

    def page() -> Page:
        asked.set()
        silent.wait(30)
        return [item(VM, "a", state="stopped")]

    checks: list[Callable[[], None]] = []

    def connect(check: Callable[[], None]) -> FakeCloud:
        checks.append(check)
        return FakeCloud(vms=[page])

    said = Received()
    watcher = Watcher(cache, VM, HERE, connect, POLL, report=said)
    watcher.start()
    assert asked.wait(10)
    watcher.close()
    silent.set()
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "vm watcher"])
    assert vm_of(cache, "a")["state"] == "stopping"
    assert said.all == []
    assert len(checks) == 1
