"""`vm console`: what a VM writes is hostile, and may be anything."""

import time
from base64 import b64encode
from collections.abc import Iterator

import pytest

from backend.errors import CloudError, NotFoundError
from backend.kinds.vm.console import plain
from backend.session import Session
from tests.backend.cloud_support import run
from tests.backend.command_support import booted
from tests.backend.ec2_faults import Reply, refusal
from tests.ec2_proxy import Proxy


def answer(output: str, at: str = "<timestamp>2026-11-27T02:59:04.000Z</timestamp>") -> Reply:
    return Reply(
        f"<GetConsoleOutputResponse><requestId>r</requestId><instanceId>i-1</instanceId>{at}<output>{output}</output>"
        "</GetConsoleOutputResponse>".encode()
    )


def in_base64(output: bytes) -> str:
    """Return it as EC2 writes it, in lines."""
    text = b64encode(output).decode()
    return "\n".join(text[start : start + 76] for start in range(0, len(text), 76))


def console_calls(proxy: Proxy) -> list[dict[str, str]]:
    """Return the params of each request for the output."""
    return [call.params for call in proxy.calls if call.action == "GetConsoleOutput"]


@pytest.fixture
def vm(both: tuple[Session, Proxy]) -> Iterator[str]:
    session, proxy = both
    native = booted(session)
    yield native
    asked = console_calls(proxy)
    assert all(asked.count(params) == 1 for params in asked)
    assert len(asked) <= 2


def test_moto_answers_a_sample(session: Session) -> None:
    native = booted(session)
    outcome = run(session, f"vm console {native}")
    assert outcome.text.startswith("Linux version 2.6.16-xenU")
    assert outcome.message.startswith(f"Console of {native}, as of 20")
    assert outcome.message.endswith(f": {len(outcome.text.splitlines())} lines.")
    assert session.cache.journal.newest()[0]["command"].startswith("vm boot")  # reading is no change


def test_output_with_its_time(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = answer(in_base64(b"one\r\ntwo \xff\n\n" * 30))
    outcome = run(session, f"vm console {vm}")
    assert outcome.message == f"Console of {vm}, as of 2026-11-27 02:59 UTC: 89 lines."
    assert outcome.text.splitlines()[:3] == ["one", "two \ufffd", ""]
    assert dict(outcome.fields)["time"].isoformat() == "2026-11-27T02:59:04+00:00"


def test_the_newest_output_is_asked_for(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    assert run(session, f"vm console {vm}").text
    assert console_calls(proxy) == [{"InstanceId": vm, "Latest": "true"}]


UNSUPPORTED = refusal(
    400, "UnsupportedOperation", "This instance type does not support retrieving the latest console logs."
)


@pytest.mark.parametrize(
    "answer",
    [
        UNSUPPORTED,
        *(refusal(400, code, "Latest is unknown.") for code in ("UnknownParameter", "InvalidParameterValue")),
    ],
)
def test_where_there_is_no_newest_output_the_last_is_read(both: tuple[Session, Proxy], vm: str, answer: Reply) -> None:
    session, proxy = both
    proxy.spoilt["GetConsoleOutput"] = lambda call, reply: answer if "Latest" in call.params else reply
    assert run(session, f"vm console {vm}").text.startswith("Linux version")
    assert console_calls(proxy) == [{"InstanceId": vm, "Latest": "true"}, {"InstanceId": vm}]


def test_a_vm_without_any_is_asked_twice_at_most(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = UNSUPPORTED
    with pytest.raises(CloudError, match="does not support that for this object"):
        run(session, f"vm console {vm}")
    assert len(console_calls(proxy)) == 2


def test_the_end_is_shown_of_what_is_too_long(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = answer(in_base64(b"x" * 1_000_000 + b"end"))
    text = run(session, f"vm console {vm}").text
    assert len(text) == 65_536
    assert text.endswith("xend")


@pytest.mark.parametrize("output", ["", "\n", in_base64(b"\r\n\x1b[0m\n")])
def test_there_is_none(both: tuple[Session, Proxy], vm: str, output: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = answer(output, at="")
    outcome = run(session, f"vm console {vm}")
    assert (outcome.message, outcome.text) == (f"The cloud has no console output of {vm}.", "")


def test_what_is_no_base64(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = answer("x")
    with pytest.raises(CloudError, match="its text is not in base64"):
        run(session, f"vm console {vm}")


def test_ec2_refuses(both: tuple[Session, Proxy], vm: str) -> None:
    session, proxy = both
    proxy.answers["GetConsoleOutput"] = refusal(403, "UnauthorizedOperation")
    with pytest.raises(CloudError, match="the keys are valid"):
        run(session, f"vm console {vm}")
    assert len(console_calls(proxy)) == 1
    with pytest.raises(NotFoundError, match="There is no VM 'nobody'"):
        run(session, "vm console nobody")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("a\nb", "a\nb"),
        ("a\r\nb\r\n\r\n", "a\nb"),
        ("10 %\r50 %\r100 %\ndone", "100 %\ndone"),
        ("100 %\r\r\n", "100 %"),
        ("100 %\r   \nx", "100 %\nx"),
        ("\x1b[0;32m  OK  \x1b[0m] up", "  OK  ] up"),
        ("\x1b]0;title\x07text\x1b]2;other\x1b\\!", "text!"),
        ("\x1b(B\x1b=\x1bcx", "x"),
        ("\x1b]0;no end\nline", "]0;no end\nline"),
        ("\x1b[12;no\x1b", "o"),
        ("a\tb\x00\x07\x08\x7f\x9b31mc", "a\tb31mc"),
        ("", ""),
        ("\r\n \r \n", ""),
    ],
)
def test_plain(output: str, text: str) -> None:
    assert plain(output) == text


@pytest.mark.parametrize(
    "part", ["x", "\x1b[", "\x1b[0", "0;", "\x1b]", "\r", " ", "\x1b[0m", "\x1b ", "\x9b", "\x1b]x\x1b"]
)
def test_a_megabyte_takes_no_longer_than_a_megabyte(part: str) -> None:
    for text in (part * (1_000_000 // len(part)), f"\x1b[{part * (1_000_000 // len(part))}"):
        began = time.perf_counter()
        shown = plain(text)
        assert time.perf_counter() - began < 3
        assert not any(char in shown for char in "\x1b\x9b\r")
