"""A malformed item of a listing loses no value that is known, and spoils no other row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cache import Cache, open_cache
from backend.cache.documents import flatten
from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.commands.model import Command, Context
from backend.commands.run import execute
from backend.commands.table import COMMANDS
from backend.config import Cloud, MongoDB, Poll, Settings
from backend.errors import CloudError
from backend.format import cell
from backend.kinds.model import Kind
from backend.kinds.vm import preview as vm_preview
from backend.lifecycle import Flight
from backend.secret import Secret
from backend.session import Session
from backend.text import safe
from backend.watch import Watcher
from tests.backend.cache_support import Received, set_flight
from tests.backend.ec2_faults import Faults, Reply, at, every, impatient, listing, refusal
from tests.brittle import DAMAGES, HERE, LISTED, Report, damaged, every_damage, listed

HOME = Path("/nowhere")


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


@every_kind
def test_whatever_is_done_to_one_element_its_row_and_all_others_are_there(kind: Kind, cache: Cache) -> None:
    report, items = Report(kind.name), list(every_damage(kind.name, 100))
    listed(kind, cache, items, report)
    assert report.damaged > 10 * len(DAMAGES) // 2
    assert (report.others_wrong, report.missing) == ([], [])


@pytest.mark.thorough
@every_kind
@given(data=st.data())
def test_whatever_is_done_to_several_elements(kind: Kind, data: st.DataObject) -> None:
    done = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(sorted(DAMAGES))), min_size=2, max_size=4)
    several = data.draw(st.lists(done, min_size=1, max_size=20))
    items = [damaged(kind.name, number, *one) for number, one in enumerate(several, 100)]
    report = Report(kind.name)
    listed(kind, open_cache(MongoDB(Secret("memory")), HOME, KINDS.values()), items, report)
    assert (report.others_wrong, report.missing) == ([], [])


@every_kind
@pytest.mark.parametrize(
    "odd",
    ["<item>text</item>", "<item/>", "<unheardOf><item>x</item></unheardOf>", "<item><item>deep</item></item>", "text"],
)
def test_what_stands_among_the_objects_and_is_none_costs_none_of_them(kind: Kind, odd: str, memory: Cache) -> None:
    report = Report(kind.name)
    listed(kind, memory, [damaged(kind.name, 100, (0, "renamed")), damaged(kind.name, 101)], report, odd)
    assert (report.others_wrong, report.missing) == ([], [])


@pytest.mark.thorough
@every_kind
def test_all_that_is_known_of_a_damaged_object_can_be_looked_at(kind: Kind, cache: Cache) -> None:
    report, items = Report(kind.name), list(every_damage(kind.name, 100))
    listed(kind, cache, items, report)
    session = Session(Settings({}, "aws"), Cloud("aws"), cache, HOME)
    for row in report.rows:
        assert all(isinstance(cell(value, column), str) for column, value in kind.cells(row))
        known = session.details(kind, kind.value(row, "id"))
        assert known is not None
        fields = dict(flatten(known))
        assert fields["id"] == kind.value(row, "id")
        assert all(text == safe(text) for text in fields.values())


def state(native: str, word: str) -> Reply:
    """Return a listing of one VM that is in this state."""
    vm = LISTED["vm"].item.format(n=1).replace("i-00000001", native).replace("running", word)
    return listing("DescribeInstances", "reservationSet", [f"<instancesSet><item>{vm}</item></instancesSet>"])


def test_an_unknown_state_has_its_own_word_and_is_followed_until_it_is_a_known_one(memory: Cache) -> None:
    vm, reported = KINDS["vm"], Received()
    flown = Flight("stop", datetime.now(UTC) - timedelta(seconds=60), before="running")
    assert not flown.is_over("un-heard-of")
    with Faults(state("i-1", "un-heard-of"), state("i-1", "un-heard-of"), state("i-1", "stopped")) as faults:
        cloud = at(faults)
        memory.rows.put(vm, HERE, every(impatient(cloud).of("vm").list()))
        set_flight(memory, HERE, "i-1", flown)
        watcher = Watcher(memory, vm, HERE, lambda _check: impatient(cloud), Poll(in_flight=0.01), report=reported)
        assert watcher.step() is not None
        (row,) = memory.rows.snapshot(vm, HERE)
        assert cell(vm.value(row, "state"), vm.columns[vm.index["state"]]) == "? un-heard-of"
        assert vm.value(row, "flight") == flown._replace(since=ANY)
        watcher.step()
    (row,) = memory.rows.snapshot(vm, HERE)
    assert (vm.value(row, "state"), vm.value(row, "flight")) == ("stopped", None)


def session_at(faults: Faults, memory: Cache, home: Path) -> Session:
    """Return a session whose cache knows the VM that the endpoint lists first."""
    cloud = at(faults)
    settings = Settings({cloud.name: cloud}, cloud.name)
    session = Session(settings, cloud, memory, home, connector=lambda cloud, *_: impatient(cloud))
    memory.rows.put(KINDS["vm"], session.scope, every(impatient(cloud).of("vm").list()))
    return session


@pytest.mark.parametrize("word", ["un-heard-of", "error"])
@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "delete"])
def test_the_cloud_decides_what_it_does_with_a_vm_in_an_unknown_state(
    verb: str, word: str, memory: Cache, tmp_path: Path
) -> None:
    refused = refusal(400, "IncorrectInstanceState", "It is in a state of its own.")
    with Faults(state("i-1", word), state("i-1", word), refused) as faults:
        session = session_at(faults, memory, tmp_path)
        with pytest.raises(CloudError, match="It is in a state of its own"):
            execute(parse(["vm", verb, "i-1"]), session)
        (row,) = memory.rows.snapshot(KINDS["vm"], session.scope)
        assert KINDS["vm"].value(row, "flight") is None


def test_a_preview_shows_an_unknown_state(memory: Cache, tmp_path: Path) -> None:
    with Faults(state("i-1", "un-heard-of")) as faults:
        shown = vm_preview.deleting(Context(session_at(faults, memory, tmp_path), {}), ["i-1"])
        assert "un-heard-of" in repr(shown.acted_on)


@pytest.mark.parametrize("one", [one for one in COMMANDS if one.impossible_in], ids=lambda one: one.name)
def test_no_key_is_dim_for_a_state_that_is_not_known(one: Command) -> None:
    assert not {"error", "un-heard-of", "", "None"} & one.impossible_in
