"""Each failure of a command says which action has failed, and on what."""

from dataclasses import replace

import pytest

from backend.errors import CloudError, CloudmeshError
from backend.providers.protocol import Provider
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import AMI, run
from tests.backend.command_support import booted, vms

NOWHERE = "http://127.0.0.1:1"
WHERE = "failed on cloud aws, region us-east-1: 127.0.0.1:1 cannot be reached."


def unreachable(session: Session) -> Session:
    """Return a session whose cloud can no longer be reached; a test that waited for it would take a minute."""
    return replace(session, connector=lambda cloud, *hooks: connect(replace(cloud, endpoint=NOWHERE), *hooks))


@pytest.mark.parametrize("verb", ["stop", "reboot", "delete", "protect"])
def test_an_action_whose_listing_fails_names_itself(session: Session, ec2: Provider, verb: str) -> None:
    native = booted(session, f"vm boot {AMI} --name web")
    with pytest.raises(CloudError) as raised:
        run(unreachable(session), f"vm {verb} {native}")
    assert raised.value.message == f"{verb} of web ({native}) failed, and nothing was done: listing VMs {WHERE}"
    (entry, *_) = session.cache.journal.newest()
    assert entry["error"].startswith(f"{verb} of web ({native}) failed")
    assert entry["outcome"] == "failed"
    assert vms(ec2)[native]["state"] in ("pending", "running")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keypair create mine", "create of keypair mine"),
        ("volume create data", "create of volume data"),
        ("keypair create aws", "create of keypair aws"),  # as the cloud is called that fails
        ("volume create on", "create of volume on"),
    ],
)
def test_what_makes_something_says_what(session: Session, line: str, said: str) -> None:
    with pytest.raises(CloudmeshError) as raised:
        run(unreachable(session), line)
    assert raised.value.message.startswith(f"{said} failed, and nothing was done: listing ")


@pytest.mark.parametrize(
    ("message", "doing", "reading", "named"),
    [
        ("The cache is away.", "", False, "stop of web (i-1) failed, and nothing was done: The cache is away."),
        (
            "Stopping VM i-1 failed on cloud a: no.",
            "Stopping VM i-1",
            False,
            "stop of web (i-1) failed on cloud a: no.",
        ),
        ("Stopping VM web failed on cloud a: no.", "Stopping VM web", False, "Stopping VM web failed on cloud a: no."),
        ("web (i-1) is in no cache.", "", False, "web (i-1) is in no cache."),
    ],
)
def test_an_error_is_named_once_and_only_where_it_does_not_say_it(
    message: str, doing: str, reading: bool, named: str
) -> None:
    error = CloudError(message, "Wait.")
    error.doing, error.reading = doing, reading
    for _ in range(2):
        error.name_action("stop of web (i-1)", "web (i-1)", "web", undone=True)
    assert str(error) == f"{named} Wait."
