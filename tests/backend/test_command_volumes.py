"""Creating and deleting volumes: size, zone, and attached volumes."""

from dataclasses import replace

import pytest

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.errors import CloudError, CloudmeshError, NotFoundError, UsageError
from backend.providers.protocol import Provider
from backend.secret import Secret
from backend.session import Session
from tests.backend.cloud_support import run
from tests.backend.command_support import STOCK, booted, defaulting, listed, row, untouched


def test_a_volume_by_default_is_of_1_gib_in_the_first_zone_of_the_region(session: Session, ec2: Provider) -> None:
    result = run(session, "volume create data")
    (made,) = listed(ec2.of("volume").list())
    assert (made["name"], made["size"], made["location"]) == ("data", 1, "us-east-1a")
    assert result.message == f"Volume data ({made['id']}, 1 GiB) created in us-east-1a."
    assert dict(result.fields) == {"id": made["id"], "name": "data", "size": 1, "location": "us-east-1a"}
    assert row(session, "volume", "data")["size"] == 1


def test_a_volume_in_the_default_zone(session: Session, ec2: Provider) -> None:
    run(defaulting(session, location="us-east-1b"), "volume create data --size 7")
    run(session, "volume create more --location us-east-1b")
    assert [(one["size"], one["location"]) for one in listed(ec2.of("volume").list())] == [
        (7, "us-east-1b"),
        (1, "us-east-1b"),
    ]


def test_a_volume_in_a_region_whose_zones_are_not_known_yet(session: Session, ec2: Provider) -> None:
    fresh = open_cache(MongoDB(Secret("memory")), session.home, KINDS.values())
    run(replace(session, cache=fresh, refresh=False), "volume create data")
    assert [one["location"] for one in listed(ec2.of("volume").list())] == ["us-east-1a"]
    fresh.close()


def test_a_volume_where_no_zone_is_available(session: Session, ec2: Provider) -> None:
    down = [{**item, "state": "impaired"} for item in STOCK["location"]]
    session.cache.rows.put(KINDS["location"], session.scope, down)
    with pytest.raises(CloudmeshError, match=r"Region us-east-1 has no available zone\. Give one with --location"):
        run(session, "volume create data")
    assert listed(ec2.of("volume").list()) == []


@pytest.mark.parametrize("word", ["AVAILABLE", "un-heard-of", None])
def test_a_zone_of_which_nothing_bad_is_said_is_tried(session: Session, ec2: Provider, word: str | None) -> None:
    """Not every endpoint says EC2's words."""
    states = ("impaired", word)
    zones = [{**item, "state": state} for item, state in zip(STOCK["location"], states, strict=True)]
    session.cache.rows.put(KINDS["location"], session.scope, zones)
    run(session, "volume create data")
    assert [one["location"] for one in listed(ec2.of("volume").list())] == ["us-east-1b"]


@pytest.mark.parametrize("words", ["--size 0", "--size=-1", "--size big", "--size 99999999999999999999"])
def test_a_size_that_is_none_is_not_even_journalled(session: Session, words: str) -> None:
    with pytest.raises(UsageError, match="size must be"):
        run(replace(session, connector=untouched), f"volume create data {words}")
    assert session.cache.journal.newest() == []


def test_a_volume_in_a_wrong_zone(session: Session, ec2: Provider) -> None:
    with pytest.raises(NotFoundError, match=r"There is no location 'us-east-1x'.* Did you mean 'us-east-1"):
        run(session, "volume create data --location us-east-1x")
    assert listed(ec2.of("volume").list()) == []


def test_deleting_volumes_by_id_and_by_name(session: Session, ec2: Provider) -> None:
    first = dict(run(session, "volume create data").fields)["id"]
    second = dict(run(session, "volume create more").fields)["id"]
    assert run(session, f"volume delete {first}").message == f"Volume data ({first}) deleted."
    assert [one["id"] for one in listed(ec2.of("volume").list())] == [second]
    run(session, "volume delete more")
    assert listed(ec2.of("volume").list()) == []
    assert session.cache.rows.snapshot(KINDS["volume"], session.scope) == []


def test_an_attached_volume_is_refused_by_what_the_cloud_says_now(session: Session, ec2: Provider) -> None:
    vm = booted(session)
    run(session, "volume refresh")
    (root,) = listed(ec2.of("volume").list())
    with pytest.raises(CloudError) as caught:
        run(session, f"volume delete {root['id']}")
    assert f"Deleting volume {root['id']} failed" in caught.value.message
    assert f"currently attached to {vm}" in caught.value.message
    assert row(session, "volume", root["id"])["vm"] == (vm,)
    made = ec2.of("volume").create("data", 1, "us-east-1a", "token")
    session.cache.rows.put(KINDS["volume"], session.scope, [{**made, "vm": [vm], "state": "in-use"}])
    run(session, "volume delete data")  # in the cache it is attached, in the cloud no longer
    assert listed(ec2.of("volume").list()) == [root]
