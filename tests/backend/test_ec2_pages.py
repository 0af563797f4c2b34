"""How the EC2 provider reads listings: by page, with filters of EC2, with odd items in them."""

import gzip
import re
from datetime import UTC, datetime

import pytest

from backend.errors import CloudError, CredentialsError
from tests.backend.ec2_faults import Faults, Reply, at, every, images, impatient, listing, refusal


def test_pages_are_chained_and_a_failed_one_is_repeated_alone() -> None:
    second = images(["ami-3", "ami-4"], "t2")
    assert isinstance(second.body, bytes)
    cut = Reply(second.body[:-80], missing=80)
    with Faults(images(["ami-1", "ami-2"], "t1"), cut, second, images(["ami-5"])) as faults:
        pages = list(impatient(at(faults, images=("self", "amazon"))).of("image").list())
    assert [[item["id"] for item in page] for page in pages] == [["ami-1", "ami-2"], ["ami-3", "ami-4"], ["ami-5"]]
    forms = [asked.form for asked in faults.asked]
    assert [form.get("NextToken") for form in forms] == [None, "t1", "t1", "t2"]
    assert {(form["MaxResults"], form["Owner.1"], form["Owner.2"]) for form in forms} == {("1000", "self", "amazon")}


def test_a_page_is_yielded_before_the_next_is_asked_for() -> None:
    with Faults(images(["ami-1"], "t1"), refusal(400, "AuthFailure")) as faults:
        pages = impatient(at(faults)).of("image").list()
        assert len(next(pages)) == 1
        with pytest.raises(CredentialsError):
            next(pages)


def test_an_endless_token_is_an_error() -> None:
    with Faults(images(["ami-1"], "again")) as faults, pytest.raises(CloudError, match="it repeats the same page"):
        every(impatient(at(faults)).of("image").list())
    assert len(faults.asked) == 2


def test_many_ids_are_asked_for_in_filters_that_ec2_accepts() -> None:
    with Faults(listing("DescribeInstances", "reservationSet", [])) as faults:
        assert every(impatient(at(faults)).of("vm").list([f"i-{n}" for n in range(250)])) == []
    first, second = (asked.form for asked in faults.asked)
    assert first["Filter.1.Name"] == second["Filter.1.Name"] == "instance-id"
    assert first["Filter.1.Value.200"] == "i-199"
    assert "Filter.1.Value.201" not in first
    assert second["Filter.1.Value.50"] == "i-249"


def test_what_is_of_many_vms_is_asked_for_in_such_filters_too() -> None:
    natives = [f"i-{n}" for n in range(201)]
    with Faults(listing("DescribeVolumes", "volumeSet", [])) as volumes:
        assert every(impatient(at(volumes)).of("volume").list(vms=natives)) == []
    with Faults(listing("DescribeAddresses", "addressesSet", [])) as addresses:
        assert impatient(at(addresses)).of("vm").addresses(natives) == {}
    for faults, name in (volumes, "attachment.instance-id"), (addresses, "instance-id"):
        forms = [asked.form for asked in faults.asked]
        assert [form["Filter.1.Name"] for form in forms] == [name] * 2
        assert [form["Filter.1.Value.1"] for form in forms] == ["i-0", "i-200"]


@pytest.mark.parametrize("xmlns", ["http://ec2.amazonaws.com/doc/2016-11-15", "http://ec2.amazonaws.com/doc/1/", ""])
def test_namespaces_do_not_matter(xmlns: str) -> None:
    with Faults(images(["ami-1"], xmlns=xmlns)) as faults:
        assert every(impatient(at(faults)).of("image").list())[0]["id"] == "ami-1"
    with Faults(refusal(400, "AuthFailure", xmlns=xmlns)) as faults, pytest.raises(CredentialsError):
        every(impatient(at(faults)).of("image").list())


def test_prefixes_do_not_matter() -> None:
    body = (
        '<e:DescribeImagesResponse xmlns:e="x"><e:imagesSet><e:item><e:imageId>ami-1</e:imageId></e:item>'
        "</e:imagesSet></e:DescribeImagesResponse>"
    )
    with Faults(Reply(body)) as faults:
        assert every(impatient(at(faults)).of("image").list())[0]["id"] == "ami-1"


def test_odd_fields_cost_neither_row_nor_listing() -> None:
    odd = (
        "<volumeId>vol-1</volumeId><size>a lot</size><createTime>soon</createTime><status><deep>x</deep></status>"
        "<attachmentSet><item/></attachmentSet><tagSet><item><key>a.b</key></item><item>x</item></tagSet><new>1</new>",
        f"<volumeId>vol-2</volumeId><size>{'9' * 30}</size><attachmentSet>x</attachmentSet><tagSet>x</tagSet>",
        "<size>4</size>",
        "",
        "<volumeId>vol-3</volumeId><size>4</size><createTime>2016-05-01T12:34:56.789123Z</createTime>",
    )
    with Faults(listing("DescribeVolumes", "volumeSet", odd)) as faults:
        one, two, three = every(impatient(at(faults)).of("volume").list())
    assert (one["tags"], one["extra"]) == ({"a.b": ""}, {"attachmentSet": [None], "new": "1"})
    columns = ("size", "created", "state", "vm", "name")
    assert {item[name] for item in (one, two) for name in columns} == {None}
    assert three["size"] == 4
    assert three["created"] == datetime(2016, 5, 1, 12, 34, 56, 789000, tzinfo=UTC)


TYPES = listing("DescribeInstanceTypes", "instanceTypeSet", ["<instanceType>t3.micro</instanceType>"])


@pytest.mark.parametrize(
    "reply",
    [
        refusal(403, "UnauthorizedOperation"),
        refusal(400, "InvalidAction", "The action DescribeInstanceTypeOfferings is not valid for this web service."),
        refusal(501, "InternalFailure", "not yet implemented"),
        refusal(400, "InvalidParameterValue", "Unknown location type"),
        refusal(503, "Unavailable"),
        Reply("<html/>"),
        Reply("", 404),
        Reply(hang_up=True),
        listing("DescribeInstanceTypeOfferings", "instanceTypeOfferingSet", []),
    ],
)
def test_flavors_whose_locations_cannot_be_listed_have_unknown_ones(reply: Reply) -> None:
    with Faults(TYPES, reply) as faults:
        (item,) = every(impatient(at(faults)).of("flavor").list())
    assert item["extra"]["zones"] is None


def test_flavors_that_cannot_be_listed_are_not_asked_for_their_locations() -> None:
    with Faults(refusal(403, "UnauthorizedOperation")) as faults, pytest.raises(CloudError, match="Listing flavors"):
        every(impatient(at(faults)).of("flavor").list())
    assert [asked.form["Action"] for asked in faults.asked] == ["DescribeInstanceTypes"]


EUCALYPTUS = (
    "<item><name>m1.tiny</name><cpu>1</cpu><disk>4</disk><memory>512</memory><availability/><ephemeralDisk/></item>"
    "<item><name>m1.big</name><cpu>4</cpu><disk>40</disk><memory>4096</memory>"
    "<availability><item><zoneName>one</zoneName><max>8</max></item></availability></item>"
)


@pytest.mark.parametrize("root", ["DescribeInstanceTypesResponse", "DescribeInstanceTypesResponseType"])
@pytest.mark.parametrize("before", ["", "<VmTypeMessage/>", "<requestId>r</requestId><return>true</return>"])
@pytest.mark.parametrize("prefix", ["", "euca:"])
def test_flavors_of_eucalyptus(root: str, before: str, prefix: str) -> None:
    inside = f"{before}<instanceTypeDetails>{EUCALYPTUS}</instanceTypeDetails>"
    if prefix:
        inside = re.sub(r"<(/?)(?=\w)", rf"<\1{prefix}", inside)
    space = f"xmlns{':euca' if prefix else ''}='http://ec2.amazonaws.com/doc/2013-02-01/'"
    answer = Reply(f"<?xml version='1.0'?><{prefix}{root} {space}>{inside}</{prefix}{root}>")
    with Faults(answer, refusal(400, "InvalidAction")) as faults:
        items = every(impatient(at(faults)).of("flavor").list())
    names = ("id", "name", "vcpu", "memory", "disk")
    assert [tuple(item[name] for name in names) for item in items] == [
        ("m1.tiny", "m1.tiny", 1, 512, 4),
        ("m1.big", "m1.big", 4, 4096, 40),
    ]


def test_zipped_answers_are_unzipped() -> None:
    page = images(["ami-1"])
    assert isinstance(page.body, bytes)
    with Faults(Reply(gzip.compress(page.body), headers={"Content-Encoding": "gzip"})) as faults:
        assert every(impatient(at(faults)).of("image").list())[0]["id"] == "ami-1"
