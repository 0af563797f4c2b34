"""Malformed items in EC2's listings, among valid ones."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from backend.cache import Cache
from backend.kinds.model import Kind, Row, Scope
from backend.providers.ec2 import flavors, images, keypairs, locations, secgroups, vms, volumes
from backend.providers.ec2.requests import Listing
from tests.backend.ec2_faults import Faults, Reply, at, every, impatient, listing

HERE = Scope("aws", "us-east-1")
WHEN = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
TAGS = (
    "<tagSet><item><key>Name</key><value>web {n}</value></item><item><key>a.b$c</key><value/></item>"
    "<item><key>env</key><value>prod</value></item></tagSet>"
)
TAGGED = (("a.b$c", ""), ("env", "prod"), ("Name", "web {n}"))


@dataclass(frozen=True)
class Kept:
    """How EC2 lists one kind: the call, the element that is the id, and the inside of item number {n}."""

    listing: Listing
    id: str
    native: str
    columns: dict[str, Any]
    """What stands in the row of an item as it should be; {n} is its number."""
    item: str
    set: str = ""
    """The set within an item of the listing that holds the objects; "" if they are those items."""

    def row(self, number: int) -> dict[str, Any]:
        """Return what stands in the row of item `number`."""
        return {name: _numbered(value, number) for name, value in {**self.columns, "id": self.native}.items()}


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_numbered(one, number) for one in value)
    return value.format(n=number) if isinstance(value, str) else value


LISTED = {
    "image": Kept(
        images.IMAGES, "imageId", "ami-{n:08x}",
        {"name": "al2023-{n}", "architecture": "x86_64", "owner": "amazon", "created": WHEN, "state": "available",
         "platform": "Linux/UNIX"},
        "<imageId>ami-{n:08x}</imageId><imageLocation>amazon/al2023</imageLocation><imageState>available</imageState>"
        "<imageOwnerId>137112412989</imageOwnerId><creationDate>2026-05-06T07:08:09.000Z</creationDate>"
        "<isPublic>true</isPublic><architecture>x86_64</architecture><imageType>machine</imageType>"
        "<imageOwnerAlias>amazon</imageOwnerAlias><rootDeviceType>ebs</rootDeviceType><name>al2023-{n}</name>"
        "<description>Amazon &amp; Linux</description><platformDetails>Linux/UNIX</platformDetails><productCodes/>"
        "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId>"
        "<volumeSize>8</volumeSize></ebs></item></blockDeviceMapping>",
    ),
    "flavor": Kept(
        flavors.FLAVORS, "instanceType", "x{n}.none",
        {"name": "x{n}.none", "vcpu": 2, "memory": 1024, "disk": 80, "architecture": "i386, x86_64",
         "network": "Low to Moderate"},
        "<instanceType>x{n}.none</instanceType><currentGeneration>true</currentGeneration>"
        "<vCpuInfo><defaultVCpus>2</defaultVCpus><validCores><item>1</item></validCores></vCpuInfo>"
        "<memoryInfo><sizeInMiB>1024</sizeInMiB></memoryInfo>"
        "<instanceStorageInfo><totalSizeInGB>80</totalSizeInGB></instanceStorageInfo>"
        "<processorInfo><supportedArchitectures><item>i386</item><item>x86_64</item></supportedArchitectures>"
        "</processorInfo><networkInfo><networkPerformance>Low to Moderate</networkPerformance></networkInfo>",
    ),
    "vm": Kept(
        vms.VMS, "instanceId", "i-{n:08x}",
        {"name": "web {n}", "state": "running", "flavor": "t2.micro", "public_ip": "54.1.2.3", "private_ip": "10.0.0.1",
         "ipv6": ("2001:db8::1", "2001:db8::2", "2001:db8::3"), "location": "us-east-1a", "image": "ami-1",
         "keypair": "deploy", "launched": WHEN, "tags": TAGGED},
        "<instanceId>i-{n:08x}</instanceId><imageId>ami-1</imageId>"
        "<instanceState><code>16</code><name>running</name></instanceState><privateDnsName>ip-10-0-0-1</privateDnsName>"
        "<reason/><keyName>deploy</keyName><instanceType>t2.micro</instanceType>"
        "<launchTime>2026-05-06T07:08:09.000Z</launchTime>"
        "<placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement>"
        "<privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>54.1.2.3</ipAddress>"
        "<groupSet><item><groupId>sg-1</groupId></item></groupSet><networkInterfaceSet>"
        "<item><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address></item>"
        "<item><ipv6Address>2001:db8::2</ipv6Address></item></ipv6AddressesSet></item>"
        "<item><ipv6AddressesSet><item><ipv6Address>2001:db8::3</ipv6Address></item></ipv6AddressesSet></item>"
        "<item><ipv6AddressesSet/></item></networkInterfaceSet><ipv6Address>2001:db8::1</ipv6Address>"
        "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-1</volumeId></ebs></item>"
        "</blockDeviceMapping>" + TAGS,
        "instancesSet",
    ),
    "keypair": Kept(
        keypairs.KEYPAIRS, "keyPairId", "key-{n:08x}",
        {"name": "deploy {n}", "type": "rsa", "fingerprint": "1f:51:ae", "created": WHEN, "tags": TAGGED},
        "<keyPairId>key-{n:08x}</keyPairId><keyName>deploy {n}</keyName><keyType>rsa</keyType>"
        "<keyFingerprint>1f:51:ae</keyFingerprint><createTime>2026-05-06T07:08:09.000Z</createTime>" + TAGS,
    ),
    "location": Kept(
        locations.LOCATIONS, "zoneName", "us-east-1-{n}",
        {"name": "us-east-1-{n}", "region": "us-east-1", "state": "available", "type": "availability-zone"},
        "<zoneName>us-east-1-{n}</zoneName><zoneState>available</zoneState><regionName>us-east-1</regionName>"
        "<messageSet/><zoneId>use1-az{n}</zoneId><zoneType>availability-zone</zoneType>",
    ),
    "volume": Kept(
        volumes.VOLUMES, "volumeId", "vol-{n:08x}",
        {"name": "web {n}", "size": 8, "state": "in-use", "type": "gp3", "vm": ("i-1", "i-2"),
         "location": "us-east-1a", "created": WHEN, "tags": TAGGED},
        "<volumeId>vol-{n:08x}</volumeId><size>8</size><snapshotId/><availabilityZone>us-east-1a</availabilityZone>"
        "<status>in-use</status><createTime>2026-05-06T07:08:09.000Z</createTime>"
        "<attachmentSet><item><volumeId>vol-{n:08x}</volumeId><instanceId>i-1</instanceId><device>/dev/xvda</device>"
        "<status>attached</status></item><item><instanceId>i-2</instanceId><device>/dev/xvdb</device></item></attachmentSet>"
        "<volumeType>gp3</volumeType>" + TAGS,
    ),
    "secgroup": Kept(
        secgroups.SECGROUPS, "groupId", "sg-{n:08x}",
        {"name": "web {n}", "description": "Web servers",
         "ports": ("all traffic from sg-1", "tcp 22 from 10.0.{n}.0/24", "tcp 22 from 2001:db8::/32"),
         "network": "vpc-1", "tags": TAGGED},
        "<ownerId>123456789012</ownerId><groupId>sg-{n:08x}</groupId><groupName>web {n}</groupName>"
        "<groupDescription>Web servers</groupDescription><vpcId>vpc-1</vpcId><ipPermissions><item>"
        "<ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort><groups/><ipRanges><item>"
        "<cidrIp>10.0.{n}.0/24</cidrIp><description>office</description></item></ipRanges><ipv6Ranges><item>"
        "<cidrIpv6>2001:db8::/32</cidrIpv6></item></ipv6Ranges><prefixListIds/></item><item><ipProtocol>-1</ipProtocol>"
        "<groups><item><userId>123456789012</userId><groupId>sg-1</groupId></item></groups><ipRanges/></item>"
        "</ipPermissions><ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item>"
        "<cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress>" + TAGS,
    ),
}  # fmt: skip


# --- what is done to an item ------------------------------------------------------------------------------------------


def _parsed(text: str) -> Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own


def _filled(element: Element, *children: str, text: str | None = None) -> None:
    tail = element.tail
    element.clear()
    element.tail, element.text = tail, text
    element.extend(map(_parsed, children))


def _doubled(parent: Element, child: Element) -> None:
    parent.insert(list(parent).index(child), copy.deepcopy(child))


def _wrapped(parent: Element, child: Element) -> None:
    outer = Element(child.tag)
    parent[list(parent).index(child)] = outer
    outer.append(child)


def _renamed(_parent: Element, child: Element) -> None:
    child.tag = "unheardOf"


def _beside(name: str) -> Callable[[Element, Element], None]:
    def add(parent: Element, child: Element) -> None:
        parent.insert(list(parent).index(child), _parsed(f"<{name}><x>1</x></{name}>"))

    return add


DAMAGES: dict[str, Callable[[Element, Element], None]] = {
    "missing": lambda parent, child: parent.remove(child),
    "renamed": _renamed,
    "twice": _doubled,
    "deeper": _wrapped,
    "empty": lambda _, child: _filled(child),
    "blank": lambda _, child: _filled(child, text=" \n "),
    "a number": lambda _, child: _filled(child, text="42"),
    "a large number": lambda _, child: _filled(child, text="9" * 40),
    "another word": lambda _, child: _filled(child, text="un-heard-of"),
    "long": lambda _, child: _filled(child, text="x" * 10_000),
    "a list": lambda _, child: _filled(child, "<item>a</item>", "<item>b</item>"),
    "a structure": lambda _, child: _filled(child, "<x><y>1</y></x>", "<z/>"),
    "a list and more": lambda _, child: _filled(child, "<item>a</item>", "<z/>", "<item><key>k</key></item>"),
    "text and elements": lambda _, child: _filled(child, "<item><key>k</key></item>", text="text"),
    "an unknown field": _beside("unheard.Of"),
    "a field called _id": _beside("_id"),
    "an item among fields": _beside("item"),
}
"""What is done to one element, given what it is in."""


@dataclass(frozen=True)
class Damaged:
    """An item to which something was done."""

    what: str
    native: str
    xml: str
    usable: bool
    """Whether it still has an id."""


def item_of(kind: str, number: int) -> Element:
    """Return an item as it should be, which has this number."""
    return _parsed(f"<item>{LISTED[kind].item.format(n=number)}</item>")


def damaged(kind: str, number: int, *done: tuple[int, str]) -> Damaged:
    """Return item `number` after (position of the element, what is done to it), one after the other."""
    root, kept = item_of(kind, number), LISTED[kind]
    changes = []
    for position, what in done:
        places = [(parent, child) for parent in root.iter() for child in parent]
        if not places:
            break
        parent, child = places[position % len(places)]
        changes.append(f"{child.tag} {what}")
        DAMAGES[what](parent, child)
    native = kept.native.format(n=number)
    ids = [child for child in root if child.tag == kept.id]
    usable = bool(ids) and all(len(one) == 0 and one.text == native for one in ids)
    return Damaged(", ".join(changes), native, ElementTree.tostring(root, encoding="unicode"), usable)


def every_damage(kind: str, first: int) -> Iterator[Damaged]:
    """Yield damaged items: each kind of damage to each element, one at a time."""
    count = len(list(item_of(kind, 0).iter())) - 1
    for number, (position, what) in enumerate(itertools.product(range(count), DAMAGES), first):
        yield damaged(kind, number, (position, what))


# --- what becomes of it -----------------------------------------------------------------------------------------------


@dataclass
class Report:
    """The rows that resulted."""

    kind: str
    damaged: int = 0
    others_wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """Those of the damaged items."""


def listed(kind: Kind, cache: Cache, items: Sequence[Damaged], report: Report, *odd: str) -> None:
    """List damaged items among good ones through the real provider into a cache, and compare with what is expected.

    `odd` are elements that stand among the objects and are none.
    """
    kept = LISTED[kind.name]
    before, between, after = (f"<item>{kept.item.format(n=number)}</item>" for number in range(3))
    if kept.set:  # a good one beside each damaged one, in the same set
        wrap = f"<item><reservationId>r-1</reservationId><{kept.set}>{{}}</{kept.set}></item>".format
        sent = [wrap(before), *(wrap("".join([one.xml, *odd, between])) for one in items), *odd, wrap(after)]
    else:
        sent = [before, *(one.xml for one in items), between, *odd, after]
    replies = [_page(kept.listing, sent)]
    if kind.name == "flavor":
        replies.append(listing("DescribeInstanceTypeOfferings", "instanceTypeOfferingSet", ()))
    with Faults(*replies) as faults:
        cache.rows.put(kind, HERE, every(impatient(at(faults)).of(kind.name).list()))
    found = {kind.value(row, "id"): row for row in cache.rows.snapshot(kind, HERE)}
    for number in range(3):
        said = dict(zip(kind.index, found.get(kept.native.format(n=number), ()), strict=False))
        if {name: value for name, value in said.items() if value is not None} != kept.row(number):
            report.others_wrong.append(f"number {number} is {said}")
    report.damaged += len(items)
    report.missing += [f"{one.native} ({one.what})" for one in items if one.usable and one.native not in found]
    report.rows += [found[one.native] for one in items if one.native in found]


def _page(asked: Listing, items: Sequence[str]) -> Reply:
    name, collection = f"{asked.request.action}Response", asked.collection
    inside = f"<requestId>r</requestId><{collection}>{''.join(items)}</{collection}>"
    return Reply(f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inside}</{name}>'.encode())
