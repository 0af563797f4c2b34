"""The EC2 endpoint of the benchmark: it lists what it should, in pages of any size, and always the same."""

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import HTTPConnection
from itertools import pairwise
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from backend.catalog import KINDS
from backend.config import Cloud
from backend.providers.ec2.entry import ec2_keys
from backend.providers.protocol import Item, Provider
from backend.providers.registry import connect
from backend.secret import Secret
from tests.backend.ec2_faults import XMLNS, every
from tests.bench import content
from tests.bench.endpoint import BLOCK, World, counts, serving

IMAGES = 2345
VMS = 30
CLOUD = Cloud("bench", images=("all",), credentials=ec2_keys(Secret("AKIATESTING"), Secret("testing-secret")))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(images=IMAGES, vms=VMS) as found:
        yield found


@pytest.fixture(scope="module")
def world() -> World:
    return World(IMAGES, VMS, changing=0, changed=0)


def ec2(url: str) -> Provider:
    return connect(replace(CLOUD, endpoint=url))


def post(url: str, form: Mapping[str, str], accept: str = "identity") -> tuple[bytes, str]:
    """Return the body of an answer as it was sent, and its Content-Encoding."""
    connection = HTTPConnection(urlsplit(url).netloc)
    try:
        connection.request("POST", "/", urlencode(form), {"Accept-Encoding": accept})
        answer = connection.getresponse()
        return answer.read(), answer.headers.get("Content-Encoding", "")
    finally:
        connection.close()


def listed(world: World, **form: str) -> list[str]:
    """Return the items of all pages as text."""
    found: list[str] = []
    token = ""
    while True:
        given = form | ({"NextToken": token} if token else {})
        page = gzip.decompress(b"".join(world.answer("DescribeImages", given))).decode()
        found += re.findall(r"^        <item>.*?^        </item>\n", page, re.DOTALL | re.MULTILINE)
        if not (following := re.search("<nextToken>(.+)</nextToken>", page)):
            return found
        token = following[1]


# --- images -----------------------------------------------------------------------------------------------------------


def test_our_provider_finds_every_image_once(url: str) -> None:
    before = counts(url).get("DescribeImages", 0)
    pages = list(ec2(url).of("image").list())
    items = every(iter(pages))
    assert [len(page) for page in pages] == [BLOCK, BLOCK, IMAGES - 2 * BLOCK]
    assert len({item["id"] for item in items}) == IMAGES
    assert counts(url)["DescribeImages"] - before == len(pages)
    for column in KINDS["image"].listed:
        assert all(item[column.name] is not None for item in items), column.name


def test_the_images_are_as_varied_as_those_of_ec2(url: str) -> None:
    items = every(ec2(url).of("image").list())
    assert {item["architecture"] for item in items} == {"x86_64", "arm64"}
    assert {"amazon", "aws-marketplace"} < {item["owner"] for item in items}
    assert all(re.fullmatch("ami-[0-9a-f]{17}", item["id"]) for item in items)
    assert len({item["created"].date() for item in items}) > 1000
    names = [item["name"] for item in items]
    assert len(set(names)) > 0.9 * len(names)
    for word in ("ubuntu", "debian", "al2023", "Windows", "CentOS", "suse", "日本語"):
        assert any(word in name for name in names), word
    assert 0 < sum(bool(item.get("tags")) for item in items) < IMAGES / 10


def test_an_image_is_as_large_as_one_of_ec2() -> None:
    sizes = [len(content.images(index, index + 1)) for index in range(IMAGES)]
    assert 2000 <= sum(sizes) / IMAGES <= 2300
    assert max(sizes) < 2 * min(sizes)


@pytest.mark.parametrize("size", [7, 300, BLOCK, BLOCK + 1])
def test_pages_of_every_size_hold_the_same_images(world: World, size: int) -> None:
    assert listed(world, MaxResults=str(size)) == listed(world)


def test_without_a_size_everything_comes_at_once_as_from_ec2(world: World) -> None:
    root = ElementTree.fromstring(gzip.decompress(b"".join(world.answer("DescribeImages", {}))))  # noqa: S314 - ours
    space = {"ec2": XMLNS}
    assert root.tag == f"{{{XMLNS}}}DescribeImagesResponse"
    assert len(root.findall("ec2:imagesSet/ec2:item", space)) == IMAGES
    assert root.find("ec2:nextToken", space) is None


@pytest.mark.parametrize("form", [{}, {"MaxResults": "1000"}, {"MaxResults": "30"}], ids=str)
def test_compressed_and_plain_answers_say_the_same(url: str, form: dict[str, str]) -> None:
    plain, plainly = post(url, {"Action": "DescribeImages", **form})
    small, how = post(url, {"Action": "DescribeImages", **form}, accept="gzip, deflate")
    assert (plainly, how) == ("", "gzip")
    assert gzip.decompress(small) == plain
    assert len(small) < len(plain) / 5


def test_another_process_sees_the_same_bytes(url: str, world: World) -> None:
    theirs, _ = post(url, {"Action": "DescribeImages"})
    assert theirs == gzip.decompress(b"".join(world.answer("DescribeImages", {})))


def test_as_many_images_as_wanted_differ() -> None:
    before, after = (listed(World(IMAGES, 0, changing=0, changed=changed)) for changed in (0, 9))
    different = [index for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    assert len(different) == 9
    assert max(later - earlier for earlier, later in pairwise(different)) < IMAGES / 8  # on all pages, not on one


def test_there_may_be_no_images() -> None:
    assert listed(World(0, 0, changing=0, changed=0)) == []


# --- VMs and the rest -------------------------------------------------------------------------------------------------


def states(items: list[Item]) -> list[str]:
    return [item["state"] for item in items]


def test_vms_stand_still_where_nothing_is_said(url: str) -> None:
    items = every(ec2(url).of("vm").list())
    assert len({item["id"] for item in items}) == VMS
    assert set(states(items)) == {"running"}
    some = [items[3]["id"], items[17]["id"]]
    assert [item["id"] for item in every(ec2(url).of("vm").list(some))] == some


def test_every_vm_is_in_another_state_at_each_step() -> None:
    began, *moments = 10.0, 10.0, 11.9, 12.0, 14.0
    world = World(0, VMS, changing=2, changed=0, clock=iter((began, *moments)).__next__)
    answers = []
    for _ in moments:
        page = gzip.decompress(b"".join(world.answer("DescribeInstances", {"MaxResults": "1000"}))).decode()
        answers.append(re.findall(r"<instanceState>\s*<code>\d+</code>\s*<name>(\S+)</name>", page))
    assert answers[0] == answers[1]
    assert len(answers[0]) == VMS
    for earlier, later in pairwise(answers[1:]):
        assert all(one != other for one, other in zip(earlier, later, strict=True))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"image", "vm"}))
def test_the_other_kinds_have_a_handful(kind: str, url: str) -> None:
    assert 0 < len(every(ec2(url).of(kind).list())) < 100


def test_an_unknown_action_is_refused(url: str) -> None:
    answer, _ = post(url, {"Action": "RunInstances"})
    assert b"<Code>InvalidAction</Code>" in answer
