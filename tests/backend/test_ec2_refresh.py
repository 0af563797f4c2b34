"""Refreshing from an EC2 that fails, repeats itself or changes: the rows in the cache afterwards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.cache.documents import flatten
from backend.callbacks import ignore
from backend.config import Cloud, Defaults, Settings
from backend.errors import Cancelled, CloudError, TransientError
from backend.providers.ec2.provider import EC2Provider
from backend.providers.ec2.requests import RESTARTS
from backend.refresh import Difference, refresh
from backend.session import Session
from tests.backend.cache_support import HERE, IMAGE, VM, ids, set_flight
from tests.backend.ec2_faults import Faults, Reply, Time, at, every, images, impatient, listing, refusal


def refreshed(cache: Cache, faults: Faults, check: Callable[[], None] = ignore) -> Difference:
    """Refresh the images from that endpoint."""
    provider = EC2Provider(at(faults), check, Time().policy())
    return refresh(IMAGE, provider, cache, HERE, check=check)


def fetched(cache: Cache, *replies: Reply) -> tuple[int, int, int, int]:
    """Refresh the images from those answers: count, added, changed, removed."""
    with Faults(*replies) as faults:
        found = refreshed(cache, faults)
    assert len(faults.asked) == len(replies)
    return found.count, found.added, found.changed, found.removed


def image(native: str, **fields: str) -> str:
    """The inside of an image's <item>."""
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f"<imageId>{native}</imageId>{inside}"


def page(*insides: str, token: str = "") -> Reply:
    return listing("DescribeImages", "imagesSet", insides, token)


def stored(cache: Cache) -> list[dict[str, Any]]:
    """Every document of the images, stamps and hashes included."""
    with cache.store.use():
        return sorted(cache.store.database["images"].find(), key=lambda document: str(document["_id"]))


def names(cache: Cache) -> dict[str, str]:
    return {IMAGE.value(row, "id"): IMAGE.value(row, "name") for row in cache.rows.snapshot(IMAGE, HERE)}


def tokens(faults: Faults) -> list[str | None]:
    return [asked.form.get("NextToken") for asked in faults.asked]


def broken(reply: Reply) -> Reply:
    """The answer, whose connection breaks in the middle."""
    assert isinstance(reply.body, bytes)
    half = len(reply.body) // 2
    return Reply(reply.body[:half], missing=len(reply.body) - half)


def test_a_page_that_breaks_is_asked_again_and_what_came_before_is_kept(cache: Cache) -> None:
    second = images(["ami-3", "ami-4"], "t2")
    with Faults(images(["ami-1", "ami-2"], "t1"), broken(second), broken(second), second, images(["ami-5"])) as faults:
        found = refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t1", "t1", "t2"]
    assert (found.count, found.added, found.changed, found.removed) == (5, 5, 0, 0)
    assert ids(cache, IMAGE) == [f"ami-{n}" for n in range(1, 6)]


def test_a_page_that_stays_broken_leaves_the_pages_before_it_and_the_old_rows(cache: Cache) -> None:
    assert fetched(cache, images(["ami-old", "ami-1"])) == (2, 2, 0, 0)
    old = cache.rows.document(IMAGE, HERE, "ami-old")
    with (
        Faults(images(["ami-2", "ami-3"], "t1"), broken(images(["ami-4", "ami-5"]))) as faults,
        pytest.raises(TransientError, match=r"the connection to .* broke \(asked 5 times\)") as raised,
    ):
        refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t1", "t1", "t1", "t1"]
    assert ids(cache, IMAGE) == ["ami-1", "ami-2", "ami-3", "ami-old"]
    assert cache.rows.document(IMAGE, HERE, "ami-old") == old
    assert cache.refreshes.of(IMAGE, HERE).error == str(raised.value)
    assert fetched(cache, images(["ami-1", "ami-2"])) == (2, 0, 0, 2)


@pytest.mark.parametrize("code", ["InvalidNextToken", "InvalidPaginationToken"])
def test_a_token_that_has_expired_begins_the_listing_again(cache: Cache, code: str) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    first, second, third = images(["ami-1", "ami-2"], "t1"), images(["ami-3"], "t2"), images(["ami-4"])
    again = images(["ami-1", "ami-2"], "t3")
    with Faults(first, second, refusal(400, code), again, second, third) as faults:
        found = refreshed(cache, faults)
    assert tokens(faults) == [None, "t1", "t2", None, "t3", "t2"]
    assert (found.count, found.added, found.changed, found.removed) == (4, 3, 0, 1)
    assert ids(cache, IMAGE) == ["ami-1", "ami-2", "ami-3", "ami-4"]
    assert cache.refreshes.of(IMAGE, HERE).count == 4


@pytest.mark.parametrize("code", ["InvalidNextToken", "InvalidPaginationToken"])
def test_a_token_that_always_expires_is_one_error_and_costs_no_row(cache: Cache, code: str) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    before = stored(cache)
    lost = refusal(400, code, "The token has expired.")
    with (
        Faults(*[images(["ami-1"], "t1"), lost] * (1 + RESTARTS)) as faults,
        pytest.raises(CloudError, match=f"Listing images failed .*{code}.*The token has expired") as raised,
    ):
        refreshed(cache, faults)
    assert tokens(faults) == [None, "t1"] * (1 + RESTARTS)
    assert raised.value.__context__ is None
    assert stored(cache) == before
    assert cache.refreshes.of(IMAGE, HERE).error == str(raised.value)


def test_a_lost_place_without_a_token_is_no_reason_to_begin_again() -> None:
    with Faults(refusal(400, "InvalidNextToken")) as faults, pytest.raises(CloudError, match="InvalidNextToken"):
        every(impatient(at(faults)).of("image").list())
    assert len(faults.asked) == 1


@pytest.mark.parametrize("later", ["first", "second"])
def test_an_image_on_two_pages_counts_once_and_its_last_words_win(cache: Cache, later: str) -> None:
    one, two = image("ami-1", name="first"), image("ami-1", name=later)
    other = image("ami-2", name="other")
    assert fetched(cache, page(one, other, token="t1"), page(two)) == (2, 2, int(later == "second"), 0)
    assert names(cache) == {"ami-1": later, "ami-2": "other"}
    assert cache.rows.count(IMAGE, HERE) == 2
    # On one page, and gone with all others in the next listing.
    assert fetched(cache, page(other, other)) == (1, 0, 0, 1)
    assert fetched(cache, page(one, two)) == (1, 1, 0, 1)
    assert names(cache) == {"ami-1": later}
    assert fetched(cache, page(two, token="t1"), page(two)) == (1, 0, 0, 0)


def test_an_image_that_vanishes_is_there_until_the_listing_has_ended(cache: Cache) -> None:
    assert fetched(cache, images(["ami-1", "ami-2", "ami-3"])) == (3, 3, 0, 0)
    seen = []
    with Faults(images(["ami-1"], "t1"), images([], "t2"), images(["ami-3"])) as faults:
        refresh(IMAGE, impatient(at(faults)), cache, HERE, progress=lambda _: seen.append(ids(cache, IMAGE)))
    assert seen == [["ami-1", "ami-2", "ami-3"]] * 3
    assert ids(cache, IMAGE) == ["ami-1", "ami-3"]
    assert cache.refreshes.of(IMAGE, HERE).removed == 1
    # Between the two goes of a listing that began again: gone at the next one.
    gone = Faults(images(["ami-1", "ami-3"], "t1"), refusal(400, "InvalidNextToken"), images(["ami-3"]))
    with gone as faults:
        assert refreshed(cache, faults).removed == 0
    assert fetched(cache, images(["ami-3"])) == (1, 0, 0, 1)


def test_no_images_empty_the_table(cache: Cache) -> None:
    assert fetched(cache, images([])) == (0, 0, 0, 0)
    assert fetched(cache, images(["ami-1", "ami-2"])) == (2, 2, 0, 0)
    assert fetched(cache, images([])) == (0, 0, 0, 2)
    assert cache.rows.snapshot(IMAGE, HERE) == []
    assert fetched(cache, Reply("<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>")) == (0, 0, 0, 0)


def test_an_image_with_300_tags_and_wide_names_comes_out_whole(cache: Cache) -> None:
    wide = "東" * 254 + "\U0001f680"
    tags = {f"鍵{n}.$x": f"{n}{wide}"[:255] for n in range(300)}
    tag_set = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items())
    assert fetched(cache, page(image("ami-1", name=wide, description=wide, tagSet=tag_set))) == (1, 1, 0, 0)
    for word in ("ami-1", wide):
        (row,) = cache.rows.named(IMAGE, HERE, word)
        assert (IMAGE.value(row, "id"), IMAGE.value(row, "name")) == ("ami-1", wide)
        assert cache.rows.snapshot(IMAGE, HERE) == [row]
    document = cache.rows.document(IMAGE, HERE, "ami-1")
    assert document is not None
    assert {tag["key"]: tag["value"] for tag in document["extra"]["tags"]} == tags
    assert (document["name"], document["extra"]["description"]) == (wide, wide)
    before = stored(cache)
    assert fetched(cache, page(image("ami-1", name=wide, description=wide, tagSet=tag_set))) == (1, 0, 0, 0)
    assert stored(cache) == before


def test_the_details_of_an_image_are_all_that_ec2_said_of_it(cache: Cache) -> None:
    disk = "<item><deviceName>/dev/sda1</deviceName><ebs><volumeSize>8</volumeSize></ebs></item>"
    assert fetched(cache, page(image("ami-1", name="a", description="x &amp; y", blockDeviceMapping=disk)))[:2] == (
        1,
        1,
    )
    cloud = Cloud(HERE.cloud, default=Defaults(HERE.region))
    session = Session(Settings({cloud.name: cloud}, cloud.name), cloud, cache, Path())
    found = session.details(IMAGE, "ami-1")
    assert found is not None
    shown = dict(flatten(found))
    assert shown["extra.description"] == "x & y"
    assert shown["extra.blockDeviceMapping.1.ebs.volumeSize"] == "8"
    assert shown["name"] == "a"
    assert not shown.keys() & {"_id", "hash"}
    assert session.details(IMAGE, "ami-2") is None


TAG = "<item><key>{0}</key><value>{0}</value></item>"


def test_a_refresh_of_what_is_unchanged_writes_nothing(cache: Cache) -> None:
    fields = {"name": "née", "creationDate": "2026-01-02T03:04:05.678Z", "tagSet": TAG.format("a") + TAG.format("b")}
    replies = page(image("ami-1", **fields), image("ami-2"), token="t1"), page(image("ami-3", **fields))
    assert fetched(cache, *replies) == (3, 3, 0, 0)
    before, written = stored(cache), cache.refreshes.of(IMAGE, HERE).written
    assert fetched(cache, *replies) == (3, 0, 0, 0)
    assert fetched(cache, *replies) == (3, 0, 0, 0)
    assert stored(cache) == before
    assert cache.refreshes.of(IMAGE, HERE).written == written
    # Nor does the same in another order of tags; only their digest is noted.
    fields["tagSet"] = TAG.format("b") + TAG.format("a")
    replies = page(image("ami-1", **fields), image("ami-2"), token="t1"), page(image("ami-3", **fields))
    for _ in range(2):
        assert fetched(cache, *replies) == (3, 0, 0, 0)
        after = stored(cache)
        assert [one | {"hash": None} for one in after] == [one | {"hash": None} for one in before]
        assert [new["hash"] != old["hash"] for new, old in zip(after, before, strict=True)] == [True, False, True]
    assert cache.refreshes.of(IMAGE, HERE).written == written
    # The parser's items have no digest of bytes. They still count as unchanged if they were parsed before.
    with_comment = Reply(page(image("ami-1", **fields), image("ami-3", **fields), "<!-- -->").body)
    assert fetched(cache, with_comment) == (2, 0, 0, 1)
    assert [one["refreshed"] for one in stored(cache)] == [before[0]["refreshed"], before[2]["refreshed"]]


def test_one_that_has_changed_is_written_and_no_other(cache: Cache) -> None:
    assert fetched(cache, page(*(image(f"ami-{n}", name="a", imageState="pending") for n in range(3)))) == (3, 3, 0, 0)
    before = stored(cache)
    states = ("pending", "available", "pending")
    changed = page(*(image(f"ami-{n}", name="a", imageState=state) for n, state in enumerate(states)))
    assert fetched(cache, changed) == (3, 0, 1, 0)
    after = stored(cache)
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True]
    assert after[1]["state"] == "available"
    assert after[1]["refreshed"] >= before[1]["refreshed"]
    tagged = page(image("ami-0", name="a", imageState="pending", tagSet=TAG.format("new")))
    assert fetched(cache, tagged) == (1, 0, 1, 2)  # a column it has none of changed


def test_cancelling_in_the_middle_of_a_page_leaves_the_old_rows_and_what_came(cache: Cache) -> None:
    assert fetched(cache, images(["ami-1", "ami-old"])) == (2, 2, 0, 0)
    large = replace(images((f"ami-{n:017x}" for n in range(100)), "t2"), drip=0.001)
    asked_twice = 0
    with Faults(images(["ami-1", "ami-new"], "t1"), large) as faults:

        def check() -> None:
            nonlocal asked_twice
            asked_twice += len(faults.asked) == 2
            if asked_twice > 3 and "ami-new" in ids(cache, IMAGE):
                raise Cancelled

        with pytest.raises(Cancelled):
            refreshed(cache, faults, check)
    assert len(faults.asked) == 2
    assert ids(cache, IMAGE) == ["ami-1", "ami-new", "ami-old"]
    assert cache.refreshes.of(IMAGE, HERE).error == "Cancelled."
    assert fetched(cache, images(["ami-1", "ami-new"])) == (2, 0, 0, 1)


def vms(**states: str) -> Reply:
    """A listing of VMs in those states."""
    insides = (
        f"<instanceId>{native}</instanceId><instanceState><name>{state}</name></instanceState>"
        for native, state in states.items()
    )
    return listing(
        "DescribeInstances",
        "reservationSet",
        (f"<reservationId>r</reservationId><instancesSet><item>{one}</item></instancesSet>" for one in insides),
    )


def fetched_vms(cache: Cache, reply: Reply) -> tuple[int, int, int, int]:
    with Faults(reply) as faults:
        found = refresh(VM, impatient(at(faults)), cache, HERE)
    return found.count, found.added, found.changed, found.removed


def test_vms_are_told_apart_too(cache: Cache) -> None:
    assert fetched_vms(cache, vms(a="running", b="running")) == (2, 2, 0, 0)
    assert fetched_vms(cache, vms(b="running", a="running")) == (2, 0, 0, 0)
    assert fetched_vms(cache, vms(a="stopped", b="running")) == (2, 0, 1, 0)
    assert fetched_vms(cache, vms(a="stopped")) == (1, 0, 0, 1)


def test_a_vm_whose_state_a_command_wrote_is_confirmed_or_removed_by_the_next_listing(cache: Cache) -> None:
    assert fetched_vms(cache, vms(a="running", b="running", c="running")) == (3, 3, 0, 0)
    set_flight(cache, HERE, "a", None, "stopping")
    set_flight(cache, HERE, "b", None, "running")
    assert fetched_vms(cache, vms(a="running", b="running", c="running")) == (3, 0, 1, 0)
    first, second = (cache.rows.document(VM, HERE, native) for native in "ab")
    assert first is not None
    assert second is not None
    assert (first["state"], second["state"]) == ("running", "running")
    assert None not in (first["hash"], second["hash"])
    for native in "ab":
        set_flight(cache, HERE, native, None, "stopping")
    assert fetched_vms(cache, vms(c="running")) == (1, 0, 0, 2)
    assert ids(cache, VM) == ["c"]
