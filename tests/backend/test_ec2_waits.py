"""Waits of the EC2 provider: they can be cancelled, are reported, and end when a reply only trickles."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from backend.errors import Cancelled, CloudError, OutcomeUnknownError, TransientError
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Waiting
from backend.providers.retry import RetryPolicy
from tests.backend.ec2_faults import Faults, Reply, Time, at, every, images, listing, refusal

MANY = images(f"ami-{number:017x}" for number in range(2_000))
THROTTLED = refusal(503, "RequestLimitExceeded", "Request limit exceeded.")
STUCK = {"silent": Reply(silent=True), "trickling": Reply(MANY.body, drip=0.01)}
HASTY = RetryPolicy(deadline=0.3, first=0.01)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    """Whoever is no longer waited for ends: the connection was cut off, or the endpoint has gone."""
    yield
    for thread in threading.enumerate():
        if thread.name == "prefetch":
            thread.join(10)
            assert not thread.is_alive()


def cancelled_when(event: threading.Event) -> Callable[[], None]:
    def check() -> None:
        if event.is_set():
            raise Cancelled

    return check


def then(event: threading.Event, do: Callable[[], None]) -> None:
    assert event.wait(10)
    do()


@pytest.mark.parametrize("reply", STUCK.values(), ids=STUCK)
def test_a_read_that_is_stuck_is_cancelled_at_once(reply: Reply) -> None:
    with Faults(reply) as faults:
        ec2 = EC2Provider(at(faults), cancelled_when(faults.arrived))
        began = time.monotonic()
        with pytest.raises(Cancelled):
            every(ec2.of("image").list())
        assert time.monotonic() - began < 1


def test_what_trickles_is_cut_off_when_it_is_cancelled() -> None:
    with Faults(STUCK["trickling"]) as faults:
        with pytest.raises(Cancelled):
            every(EC2Provider(at(faults), cancelled_when(faults.arrived)).of("image").list())
        assert faults.left.wait(10)


def test_the_provider_goes_on_after_it_was_cancelled() -> None:
    stop = threading.Event()
    with Faults(STUCK["trickling"], images(["ami-1"])) as faults:
        ec2 = EC2Provider(at(faults), cancelled_when(stop))
        stop.set()
        with pytest.raises(Cancelled):
            every(ec2.of("image").list())
        stop.clear()
        watching = threading.Thread(target=then, args=(faults.arrived, stop.set))
        watching.start()
        with pytest.raises(Cancelled):
            every(ec2.of("image").list())
        watching.join()
        stop.clear()
        assert [item["id"] for item in every(ec2.of("image").list())] == ["ami-1"]


@pytest.mark.parametrize("reply", STUCK.values(), ids=STUCK)
def test_a_read_that_is_stuck_ends_with_the_deadline(reply: Reply) -> None:
    with Faults(reply) as faults:
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"Listing images failed on cloud aws, .* took too long"):
            every(EC2Provider(at(faults), policy=HASTY).of("image").list())
        assert time.monotonic() - began < 5
        assert len(faults.asked) == 1


@pytest.mark.parametrize("reply", STUCK.values(), ids=STUCK)
def test_a_change_that_is_stuck_ends_with_the_deadline_and_may_be_done(reply: Reply) -> None:
    stop = threading.Event()
    with Faults(reply) as faults:
        ec2 = EC2Provider(at(faults), cancelled_when(stop), HASTY)
        watching = threading.Thread(target=then, args=(faults.arrived, stop.set))
        watching.start()
        with pytest.raises(OutcomeUnknownError, match=r"Stopping VM i-1 failed .* took too long.*may have been done"):
            ec2.of("vm").stop("i-1")  # not Cancelled: it has been sent
        watching.join()
        assert len(faults.asked) == 1


def test_a_vast_answer_may_take_its_time() -> None:
    """It is the rate that counts: what comes at 16 kB a second or more is no trickle."""
    time = Time()
    policy = time.policy()
    for now, received, late in (
        (60, 0, False),
        (61, 0, True),
        (61, 16_384, False),
        (600, 540 * 16_384, False),
        (600, 539 * 16_384, True),
    ):
        time.now = now
        assert policy.late(0, received) is late


def test_what_was_tried_again_counts_for_the_deadline() -> None:
    slow = Reply("", 500)
    with Faults(slow, STUCK["silent"]) as faults:
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"took too long \(asked 2 times\)"):
            every(EC2Provider(at(faults), policy=HASTY).of("image").list())
        assert time.monotonic() - began < 5


def test_a_connection_that_says_nothing_is_tried_again() -> None:
    with Faults(Reply(silent=True), images(["ami-1"])) as faults:
        ec2 = EC2Provider(at(faults), policy=RetryPolicy(silence=0.1, first=0.01))
        assert [item["id"] for item in every(ec2.of("image").list())] == ["ami-1"]
        assert len(faults.asked) == 2


@pytest.mark.parametrize("after", [0, 300, 3_000])
def test_a_reset_in_the_middle_is_tried_again(after: int) -> None:
    with Faults(Reply(MANY.body, reset=after), MANY) as faults:
        assert len(every(EC2Provider(at(faults), policy=RetryPolicy(first=0.01)).of("image").list())) == 2_000
        assert len(faults.asked) == 2


# --- what is said meanwhile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (THROTTLED, "throttled"),
        (Reply("", 429), "throttled"),
        (Reply("<html>", 502), "EC2 has an internal error"),
        (Reply(hang_up=True), "cut off"),
    ],
)
def test_a_wait_says_why_and_how_long(fault: Reply, why: str) -> None:
    reported: list[Waiting] = []
    with Faults(fault, fault, fault, fault, images([])) as faults:
        clock = Time()
        every(EC2Provider(at(faults), policy=clock.policy(), on_wait=reported.append).of("image").list())
    assert {(one.doing, one.why) for one in reported} == {("Listing images", why)}
    assert [one.until for one in reported] == pytest.approx([0.5, 1.5, 3.5, 7.5])
    assert reported[-1].text(3.5) == f"{why}, retrying in 4 s"
    assert reported[-1].text(7.4) == f"{why}, retrying in 1 s"
    assert reported[-1].text(7.5) == ""


def test_a_change_that_is_throttled_says_so_too() -> None:
    reported: list[Waiting] = []
    stopped = "<instancesSet><item><currentState><name>stopping</name></currentState></item></instancesSet>"
    with Faults(THROTTLED, Reply(f"<StopInstancesResponse>{stopped}</StopInstancesResponse>")) as faults:
        EC2Provider(at(faults), policy=Time().policy(), on_wait=reported.append).of("vm").stop("i-1")
    assert [(one.doing, one.why) for one in reported] == [("Stopping VM i-1", "throttled")]


def test_what_is_not_tried_again_does_not_wait() -> None:
    reported: list[Waiting] = []
    with Faults(Reply("", 404)) as faults, pytest.raises(CloudError):
        every(EC2Provider(at(faults), on_wait=reported.append).of("image").list())
    assert reported == []


# --- what the log says ------------------------------------------------------------------------------------------------


def test_every_request_is_logged_with_what_a_maintainer_needs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "backend")
    one = listing("DescribeVolumes", "volumeSet", ["<volumeId>vol-1</volumeId>"])
    with Faults(THROTTLED, one, refusal(403, "UnauthorizedOperation")) as faults:
        ec2 = EC2Provider(at(faults), policy=Time().policy())
        every(ec2.of("volume").list())
        with pytest.raises(CloudError):
            every(ec2.of("image").list())
    here = "in us-east-1 of cloud aws"
    assert [record.getMessage() for record in caplog.records] == [
        f"DescribeVolumes {here}, try 1: 503 RequestLimitExceeded after 0.000 s, 0 bytes, request id r",
        "Listing volumes: throttled, retrying in 0.5 s after try 1",
        f"DescribeVolumes {here}, try 2: 200 after 0.000 s, {len(one.body)} bytes, request id r",
        f"DescribeImages {here}, try 1: 403 UnauthorizedOperation after 0.000 s, 0 bytes, request id r",
    ]


def test_a_request_that_fails_on_its_way_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "backend")
    with Faults(Reply("<html/>")) as faults, pytest.raises(CloudError):
        every(EC2Provider(at(faults), policy=Time().policy()).of("image").list())
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("DescribeImages in us-east-1 of cloud aws, try 1: Malformed ")
    assert line.endswith(" after 0.000 s, 7 bytes, request id unknown")
