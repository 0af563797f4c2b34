"""The judge of the monkey test rejects a change that no readable dialog has confirmed, and nothing else."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from tests.ec2_proxy import Call
from tests.monkey.groups import groups
from tests.monkey.judge import Sent, Shown, Window, strays, unasked, window_on, writes

T = 1_700_000_000.0
"""When the dialogs of these tests come into sight, in seconds since 1970."""


def entry(command: str, after: float, *objects: str) -> dict[str, Any]:
    return {"_id": "token", "at": datetime.fromtimestamp(T + after, UTC), "command": command, "objects": list(objects)}


def dialog(title: str, body: str = "ID i-1\n Cancel  Delete ") -> Shown:
    return Shown(Window(title, body), T)


def sent(data: bytes, after: float, shown: Shown | None, **more: Any) -> Sent:
    return Sent(data, T + after, T + after + 0.001, shown, **{"size": (120, 36), **more})


DELETE, STOP = "vm delete", "vm stop"


@pytest.mark.parametrize(
    ("why", "what"),
    [
        ("", sent(b"y", 1.0, dialog(DELETE))),
        ("", sent(b"\x1b[<0;70;20M", 1.0, dialog(DELETE))),
        ("had not stood there", sent(b"y", 0.5, dialog(DELETE))),
        ("had not stood there", sent(b"3dynamo", -0.1, None, next=dialog(DELETE))),
        ("nothing was typed", sent(b"kkk", 1.0, dialog(DELETE))),
        ("nothing was typed", sent(b"y", 1.0, dialog(STOP))),
        ("nothing was typed", sent(b"y", 3.0, dialog(DELETE))),
        ("nothing was typed", sent(b":vm delete i-1\r", 1.0, None)),
        ("neither name nor id", sent(b"y", 1.0, dialog(DELETE, "ID i-2\n Cancel  Delete "))),
        ("", sent(b"y", 1.0, dialog(DELETE, "ID i-2\n Cancel  Delete 3 "))),
        ("", sent(b"y", 1.0, dialog(DELETE, "ID i-\n1\n Cancel  Delete "))),
        ("40×10", sent(b"y", 1.0, dialog(DELETE), size=(40, 10))),
    ],
)
def test_a_destroying_command(why: str, what: Sent) -> None:
    said = unasked(entry("vm delete i-1", 2.0, "i-1"), [what])
    assert (why in said) if why else said == ""


@pytest.mark.parametrize(
    ("why", "what"),
    [
        ("", sent(b"\r", 0.1, dialog(STOP))),
        ("", sent(b":vm stop i-1\r", 0.1, None)),
        ("", sent(b"\r", 0.1, None, line="vm stop i-1")),
        ("", sent(b":\x1b[A\r", 0.1, None)),
        ("", sent(b"\r", 0.1, dialog("Undo", "· vm stop i-1\n web-1"))),
        ("", sent(b"t\r", -0.1, None, read_by=T - 0.05, next=dialog(STOP))),
        ("opened and confirmed by one write", sent(b"t\r", -0.1, None, calm=True, next=dialog(STOP))),
        ("before the dialog was there", sent(b"t\r", -2.0, None, read_by=T - 1.9, next=dialog(STOP))),
        ("nothing was typed", sent(b"\r", 0.1, dialog("Undo", "· vm start i-1\n web-1"))),
        ("nothing was typed", sent(b"\r", 0.1, dialog("Help"))),
        ("nothing was typed", sent(b":vm stop i-2\r", 0.1, None)),
    ],
)
def test_a_changing_command(why: str, what: Sent) -> None:
    said = unasked(entry("vm stop i-1", 2.0, "i-1"), [what])
    assert (why in said) if why else said == ""


def test_what_confirms_one_command_confirms_no_second_one() -> None:
    keys = [sent(b"\r", 0.1, dialog(STOP)), sent(b":vm stop i-1\r", 1.0, None)]
    said = [unasked(entry("vm stop i-1", after, "i-1"), keys) for after in (0.5, 1.5, 2.0)]
    assert [bool(one) for one in said] == [False, False, True]


def test_a_change_that_no_command_of_the_journal_has_made_is_found() -> None:
    calls = [
        Call("StopInstances", {"InstanceId.1": "i-1"}, passed=True),
        Call("StopInstances", {"InstanceId.1": "i-2"}, passed=True),
        Call("StopInstances", {"InstanceId.1": "i-3"}, passed=False),
        Call("RunInstances", {"ClientToken": "token"}, passed=True),
        Call("RunInstances", {"ClientToken": "other", "DryRun": "true"}, passed=True),
        Call("DescribeInstances", {}, passed=True),
    ]
    assert len(writes(calls)) == 3
    assert strays(calls, [entry("vm stop web", 0, "i-1")]) == ["StopInstances {'InstanceId.1': 'i-2'}"]


def test_the_window_on_a_screen_is_read() -> None:
    lines = ["a row   of the table", "a ╭─ vm stop ──────╮ b", "c │ ID  i-1        │ d", "e ╰────────────────╯ f", ""]
    assert window_on([list(line) for line in lines]) == Window("vm stop", " ID  i-1        ")
    assert window_on([list(line) for line in lines[:1]]) is None


def test_one_seed_is_one_sequence() -> None:
    assert list(islice(groups(7), 500)) == list(islice(groups(7), 500))
    assert list(islice(groups(7), 500)) != list(islice(groups(8), 500))
