"""Facts of a VM that only the cache has: its flight, who claims it, and its protection."""

import threading
from datetime import timedelta

import pytest

from backend.cache import Cache
from backend.kinds.vm import note_protection
from backend.lifecycle import Flight
from tests.backend.cache_support import (
    ELSEWHERE,
    HERE,
    VM,
    ago,
    fly,
    following_locally,
    ids,
    item,
    items,
    set_flight,
    vm_of,
)


def test_a_flight_is_kept_through_a_listing(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    fly(cache, "a", "stop", state="stopping")
    flight = vm_of(cache, "a")["flight"]
    assert flight.action == "stop"
    assert flight.overdue is False
    assert flight.since.utcoffset() == timedelta(0)
    with following_locally(cache) as reported:
        # The same listing as before: what the command noted was none, so it must be written.
        assert cache.rows.put(VM, HERE, [item(VM, "a", state="running")], cache.rows.known(VM, HERE)) == (0, 1)
    assert vm_of(cache, "a")["flight"] == flight
    assert VM.value(reported[0].upserts[0], "flight") == flight
    assert [VM.value(row, "id") for row in cache.flights.rows(VM, HERE)] == ["a"]
    set_flight(cache, HERE, "a", flight._replace(overdue=True))
    assert vm_of(cache, "a")["flight"].overdue is True
    set_flight(cache, HERE, "a", None)
    assert vm_of(cache, "a")["flight"] is None
    assert cache.flights.rows(VM, HERE) == []


def test_a_flight_knows_the_state_before(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    set_flight(cache, HERE, "a", Flight("stop", ago(0), before="running"), "stopping")
    assert vm_of(cache, "a")["flight"].before == "running"
    # One of an earlier version did not say it; one of a later version may say more.
    with cache.store.use():
        flight = {"action": "stop", "since": ago(0), "of a later version": 1}
        cache.store.database["vms"].update_one({"_id": HERE.key("a")}, {"$set": {"flight": flight}})
    found = vm_of(cache, "a")["flight"]
    assert (found.action, found.overdue, found.before) == ("stop", False, None)


def test_one_alone_claims_a_vm(cache: Cache) -> None:
    cache.rows.put(VM, HERE, items(VM, "a", "b"))
    first, second = Flight("stop", ago(5), before="running"), Flight("delete", ago(0), before="stopping")
    with following_locally(cache) as reported:
        assert cache.flights.replace(VM, HERE, "a", first, None)
        claimed = vm_of(cache, "a")["flight"]
        assert (claimed.action, claimed.before, claimed.overdue) == ("stop", "running", False)
        assert not cache.flights.replace(VM, HERE, "a", second, None)
        assert not cache.flights.replace(VM, HERE, "a", second, claimed._replace(action="start"))
        assert not cache.flights.replace(VM, HERE, "a", second, claimed._replace(since=ago(60)))
        assert vm_of(cache, "a")["flight"] == claimed
        assert not cache.flights.replace(VM, HERE, "b", second, claimed)
        assert not cache.flights.replace(VM, HERE, "nobody", second, None)
        assert not cache.flights.replace(VM, ELSEWHERE, "a", second, None)
        set_flight(cache, HERE, "a", claimed._replace(overdue=True))
        assert cache.flights.replace(VM, HERE, "a", second, claimed)  # of one that was given up on meanwhile
    assert vm_of(cache, "a")["flight"].action == "delete"
    assert [VM.value(row, "flight").action for change in reported for row in change.upserts] == [
        "stop",
        "stop",
        "delete",
    ]
    assert vm_of(cache, "b")["flight"] is None
    assert ids(cache, VM) == ["a", "b"]


def test_of_many_that_claim_at_once_one_alone_does(cache: Cache) -> None:
    cache.rows.put(VM, HERE, items(VM, "a"))
    barrier = threading.Barrier(8)
    won: list[int] = []

    def work(number: int) -> None:
        barrier.wait(10)
        if cache.flights.replace(VM, HERE, "a", Flight("stop", ago(number)), None):
            won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1


@pytest.mark.parametrize("on", [True, False, None])
def test_what_protects_a_vm_is_kept_through_a_listing(cache: Cache, on: bool | None) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    with following_locally(cache) as reported:
        note_protection(cache, HERE, "a", on)
        assert vm_of(cache, "a")["protected"] is on
        assert cache.rows.put(VM, HERE, [item(VM, "a", state="running")], cache.rows.known(VM, HERE)) == (0, 0)
        assert cache.rows.put(VM, HERE, [item(VM, "a", state="stopped")], cache.rows.known(VM, HERE)) == (0, 1)
    assert vm_of(cache, "a")["protected"] is on
    assert [VM.value(row, "protected") for change in reported for row in change.upserts] == [on, on]
    note_protection(cache, HERE, "nobody", True)
    assert ids(cache, VM) == ["a"]


def test_a_row_may_come_with_its_flight(cache: Cache) -> None:
    flight = Flight("boot", ago(0))
    with following_locally(cache) as reported:
        assert cache.rows.put(VM, HERE, [item(VM, "a", state="pending")], flight=flight) == (1, 0)
    [change] = reported  # one write: nobody sees the VM without its flight
    assert VM.value(change.upserts[0], "flight").action == "boot"
    assert vm_of(cache, "a")["flight"].action == "boot"
    assert vm_of(cache, "a")["state"] == "pending"


def test_a_vm_that_reboots_has_the_state_that_ec2_says(cache: Cache) -> None:
    cache.rows.put(VM, HERE, [item(VM, "a", state="running")])
    fly(cache, "a", "reboot")
    assert (vm_of(cache, "a")["state"], vm_of(cache, "a")["flight"].action) == ("running", "reboot")


def test_taking_off_makes_no_row(cache: Cache) -> None:
    assert not cache.flights.replace(VM, HERE, "nobody", Flight("stop", ago(0)), None)
    assert cache.rows.snapshot(VM, HERE) == []


def test_vms_that_move_by_themselves_are_in_flight(cache: Cache) -> None:
    states = {"a": "pending", "b": "stopping", "c": "shutting-down", "d": "running", "e": "stopped"}
    cache.rows.put(VM, HERE, [item(VM, native, state=state) for native, state in states.items()])
    cache.rows.put(VM, ELSEWHERE, [item(VM, "z", state="pending")])
    assert sorted(VM.value(row, "id") for row in cache.flights.rows(VM, HERE)) == ["a", "b", "c"]
