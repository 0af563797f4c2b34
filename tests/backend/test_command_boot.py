"""Booting a VM, by options or by configuration; refused before anything is created."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.commands.grammar import parse, split
from backend.config import MongoDB
from backend.errors import CloudmeshError
from backend.kinds.keypair import MissingKeypairError
from backend.providers.protocol import Provider
from backend.secret import Secret
from backend.session import Session
from tests.backend.cloud_support import AMI, run
from tests.backend.command_support import ARM_AMI, STOCK, ZONES, defaulting, row, vms


def test_boot_with_every_option(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    result = run(session, f"vm boot {AMI} --name 'web 1' --flavor t2.micro --location us-east-1b --keypair me")
    (vm,) = vms(ec2).values()
    assert result.message == f"web 1 ({vm['id']}) is booting from {AMI}."
    expected = {"name": "web 1", "flavor": "t2.micro", "location": "us-east-1b", "keypair": "me", "image": AMI}
    assert expected.items() <= vm.items()
    cached = row(session, "vm", vm["id"])
    assert (expected | {"state": "pending"}).items() <= cached.items()
    assert cached["flight"].action == "boot"
    assert dict(result.fields) == cached


def test_boot_with_the_configuration_alone(session: Session, ec2: Provider) -> None:
    ec2.of("keypair").create("me")
    session = defaulting(session, image=ARM_AMI, size="t4g.micro", keypair="me", location="us-east-1b")
    result = run(session, "vm boot")
    (vm,) = vms(ec2).values()
    assert result.message == f"{vm['id']} is booting from {ARM_AMI}."
    expected = {"name": None, "flavor": "t4g.micro", "location": "us-east-1b", "keypair": "me", "image": ARM_AMI}
    assert expected.items() <= vm.items()


def test_boot_by_the_image_s_name_in_the_region_without_a_key(session: Session, ec2: Provider) -> None:
    (image,) = next(iter(ec2.of("image").list(ids=[AMI])))  # as EC2 calls it, not as the stock does
    session.cache.rows.put(KINDS["image"], session.scope, [image])
    run(session, f"vm boot {image['name']} --location us-east-1")
    (vm,) = vms(ec2).values()
    assert (vm["image"], vm["flavor"], vm["keypair"]) == (AMI, "t2.micro", None)


@pytest.mark.parametrize(
    ("words", "message", "cure"),
    [
        ("ami-03cf127b", "There is no image 'ami-03cf127b' in cloud aws, region", AMI),
        (f"{AMI} --flavor t2.mikro", "There is no flavor 't2.mikro'", "t2.micro"),
        (f"{AMI} --location us-east-1z", "There is no location 'us-east-1z'", "us-east-1"),
        (f"{AMI} --location mars", "There is no location 'mars'", "location refresh fetches the list again."),
        (f"{AMI} --keypair mee", "There is no keypair 'mee'", "me"),
        ("zzz", "There is no image 'zzz'", "image refresh fetches the list again."),
        (f"{AMI} --flavor t4g.micro", f"Image {AMI} is for x86_64, and flavor t4g.micro has arm64", "with x86_64"),
        (f"{ARM_AMI}", f"Image {ARM_AMI} is for arm64, and flavor t2.micro has i386, x86_64", "a flavor with arm64"),
    ],
)  # fmt: skip
def test_a_boot_that_cannot_be_creates_nothing(
    session: Session, ec2: Provider, words: str, message: str, cure: str
) -> None:
    ec2.of("keypair").create("me")
    with pytest.raises(CloudmeshError) as caught:
        run(session, f"vm boot {words}")
    assert caught.value.message.startswith(message)
    assert cure in caught.value.cure
    assert vms(ec2) == {}
    assert session.cache.rows.snapshot(KINDS["vm"], session.scope) == []
    (entry,) = session.cache.journal.newest()
    assert (entry["outcome"], entry["objects"], entry["error"]) == ("failed", [], str(caught.value))


def test_a_keypair_that_is_missing_is_told_apart(session: Session, ec2: Provider) -> None:
    with pytest.raises(MissingKeypairError) as caught:
        run(session, f"vm boot {AMI} --keypair 'two words'")
    assert caught.value.name == "two words"
    assert caught.value.cure == "Create it with: keypair create 'two words'"
    assert parse(split(caught.value.cure.partition(": ")[2])).given == {"name": "two words"}
    assert vms(ec2) == {}


def test_what_the_cache_never_listed_is_fetched_first(session: Session, ec2: Provider, tmp_path: Path) -> None:
    """Even with refresh off: an empty cache says nothing about what there is."""
    fresh = open_cache(MongoDB(Secret("memory")), tmp_path, KINDS.values())
    for name in ("image", "flavor"):  # moto takes seconds to list these
        fresh.rows.put(KINDS[name], session.scope, STOCK[name])
    ec2.of("keypair").create("me")
    run(replace(session, cache=fresh, refresh=False), f"vm boot {AMI} --keypair me --location us-east-1f")
    assert [(vm["keypair"], vm["location"]) for vm in vms(ec2).values()] == [("me", "us-east-1f")]
    assert fresh.rows.count(KINDS["location"], session.scope) > len(ZONES)
    fresh.close()


def test_with_refresh_off_the_cache_counts(session: Session, ec2: Provider) -> None:
    run(session, "keypair list")
    ec2.of("keypair").create("me")
    session = replace(session, refresh=False)
    with pytest.raises(MissingKeypairError):
        run(session, f"vm boot {AMI} --keypair me")
    run(session, "keypair refresh")
    run(session, f"vm boot {AMI} --keypair me")
    assert [vm["keypair"] for vm in vms(ec2).values()] == ["me"]
