"""Says what the benchmark's EC2 holds: images, VMs and a little of the rest, as EC2 itself would write them.

All of it follows from an index by arithmetic, so every process, run and machine sees the same bytes.
"""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

REGION = "us-east-1"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


class Release(NamedTuple):
    """A line of images that a publisher rebuilds; `{day}`, `{dashed}` and `{build}` stand in its texts."""

    name: str
    description: str
    account: str
    alias: str = ""
    architecture: str = "x86_64"
    platform: str = "Linux/UNIX"
    operation: str = "RunInstances"
    disks: tuple[int, ...] = (8,)
    """The sizes of its disks in GiB; the first is the one that it boots from."""


_CANONICAL, _AMAZON, _DEBIAN, _CENTOS = "099720109477", "137112412989", "136693071363", "125523088429"
_SUSE, _MICROSOFT, _ACADEMY, _SELLER = "013907871322", "801119661308", "605812934471", "679593333241"
_UBUNTU = "ubuntu/images/hvm-ssd-gp3/ubuntu"


def _both(release: Release, amd: str, arm: str) -> tuple[Release, Release]:
    """Return a release for both architectures, under the publisher's own words for them."""
    name, description = release.name, release.description
    return (
        release._replace(name=name.replace("ARCH", amd), description=description.replace("ARCH", amd)),
        release._replace(
            name=name.replace("ARCH", arm), description=description.replace("ARCH", arm), architecture="arm64"
        ),
    )


RELEASES = (
    *_both(Release(f"{_UBUNTU}-jammy-22.04-ARCH-server-{{day}}.{{build}}",
                   "Canonical, Ubuntu, 22.04 LTS, ARCH jammy image build on {dashed}", _CANONICAL, "amazon"),
           "amd64", "arm64"),
    *_both(Release(f"{_UBUNTU}-noble-24.04-ARCH-server-{{day}}.{{build}}",
                   "Canonical, Ubuntu, 24.04, ARCH noble image", _CANONICAL, "amazon"),
           "amd64", "arm64"),
    *_both(Release(f"{_UBUNTU}-focal-20.04-ARCH-pro-server-{{day}}.{{build}}",
                   "Canonical, Ubuntu Pro, 20.04 LTS, ARCH focal image", _CANONICAL, "aws-marketplace",
                   platform="Ubuntu Pro", operation="RunInstances:0g00"),
           "amd64", "arm64"),
    *_both(Release("al2023-ami-2023.9.{day}.{build}-kernel-6.12-ARCH",
                   "Amazon Linux 2023 AMI 2023.9.{day}.{build} ARCH HVM kernel-6.12", _AMAZON, "amazon"),
           "x86_64", "arm64"),
    *_both(Release("amzn2-ami-kernel-5.10-hvm-2.0.{day}.{build}-ARCH-gp2",
                   "Amazon Linux 2 Kernel 5.10 AMI 2.0.{day}.{build} ARCH HVM gp2", _AMAZON, "amazon"),
           "x86_64", "arm64"),
    *_both(Release("debian-13-ARCH-{day}-{build}", "Debian 13 ({day}-{build})", _DEBIAN), "amd64", "arm64"),
    *_both(Release("debian-12-backports-ARCH-{day}-{build}", "Debian 12 ({day}-{build})", _DEBIAN), "amd64", "arm64"),
    *_both(Release("CentOS Stream 9 ARCH {day}.{build}", "CentOS Stream 9 ARCH {day}", _CENTOS, disks=(10,)),
           "x86_64", "aarch64"),
    *_both(Release("suse-sles-15-sp7-v{day}-hvm-ssd-ARCH-{build}",
                   "SUSE Linux Enterprise Server 15 SP7 (HVM, 64-bit, SSD Backed)", _SUSE, "amazon",
                   platform="SUSE Linux", operation="RunInstances:000g", disks=(10,)),
           "x86_64", "arm64"),
    Release("Windows_Server-2025-English-Full-Base-{dashed}.{build}",
            "Microsoft Windows Server 2025 Full Locale English AMI provided by Amazon", _MICROSOFT, "amazon",
            platform="Windows", operation="RunInstances:0002", disks=(30,)),
    Release("Windows_Server-2022-English-Full-SQL_2022_Standard-{dashed}.{build}",
            "Microsoft Windows Server 2022 Full Locale English with SQL Standard 2022 AMI", _MICROSOFT, "amazon",
            platform="Windows with SQL Server Standard", operation="RunInstances:0006", disks=(50, 100)),
    Release("Windows_Server-2022-Japanese-Full-Base-{dashed}.{build} 日本語版",
            "Microsoft Windows Server 2022 日本語 (フル) AMI", _MICROSOFT, "amazon",
            platform="Windows", operation="RunInstances:0002", disks=(30,)),
    Release("übung-数据分析-{dashed}-{build}", "课程环境 for a data course: Jupyter, R &amp; Julia", _ACADEMY,
            disks=(40,)),
    Release("hardened-rhel-9-{day}-{build}-8d6f1c27-3a5e-4b90-a1cf-52e8d0b7a946",
            "Red Hat Enterprise Linux 9 &lt;hardened, level 2&gt;", _SELLER, "aws-marketplace",
            platform="Red Hat Enterprise Linux", operation="RunInstances:0010", disks=(20, 50)),
)  # fmt: skip

_ITEM = """\
        <item>
            <imageId>{{ami}}</imageId>
            <imageLocation>{place}/{name}</imageLocation>
            <imageState>{{state}}</imageState>
            <imageOwnerId>{account}</imageOwnerId>
            <creationDate>{{dashed}}T{{time}}.000Z</creationDate>
            <isPublic>true</isPublic>
            <architecture>{architecture}</architecture>
            <imageType>machine</imageType>
            <platformDetails>{platform}</platformDetails>
            <usageOperation>{operation}</usageOperation>
            <sriovNetSupport>simple</sriovNetSupport>
            <enaSupport>true</enaSupport>
{alias}            <name>{name}</name>
            <description>{description}</description>
            <rootDeviceType>ebs</rootDeviceType>
            <rootDeviceName>/dev/sda1</rootDeviceName>
            <blockDeviceMapping>
{disks}            </blockDeviceMapping>
            <virtualizationType>hvm</virtualizationType>
{{tags}}            <hypervisor>xen</hypervisor>
            <bootMode>uefi-preferred</bootMode>
            <imdsSupport>v2.0</imdsSupport>
            <deprecationTime>{{deprecated}}T{{time}}.000Z</deprecationTime>
        </item>
"""
_DISK = """\
                <item>
                    <deviceName>/dev/sd{letter}</deviceName>
                    <ebs>
                        <snapshotId>snap-0{{snapshot}}{number}</snapshotId>
                        <volumeSize>{size}</volumeSize>
                        <deleteOnTermination>true</deleteOnTermination>
                        <volumeType>gp3</volumeType>
                        <encrypted>false</encrypted>
                    </ebs>
                </item>
"""
_EPHEMERAL = """\
                <item>
                    <deviceName>/dev/sd{letter}</deviceName>
                    <virtualName>ephemeral{number}</virtualName>
                </item>
"""
_TAGS = """\
            <tagSet>
                <item>
                    <key>Built.By</key>
                    <value>image-builder</value>
                </item>
            </tagSet>
"""
_TAGGED = 20
"""One image in N has tags."""


def _template(release: Release) -> list[str]:
    """Return the item of a release's images, cut at what differs between them: text, name, text, name … text.

    Joining such pieces takes a quarter of the time of str.format, which reads its template each time.
    """
    disks = [
        _DISK.format(letter=letter, number=number, size=size)
        for number, (letter, size) in enumerate(zip(("a1", "f"), release.disks, strict=False))
    ]
    # One disk comes with two instance stores, two come alone: all images are about as large.
    stores = [_EPHEMERAL.format(letter="bc"[number], number=number) for number in range(4 - 2 * len(disks))]
    place = release.alias or release.account
    alias = f"            <imageOwnerAlias>{release.alias}</imageOwnerAlias>\n" if release.alias else ""
    item = _ITEM.format(**release._asdict() | {"place": place, "alias": alias, "disks": "".join(disks + stores)})
    return re.split(r"\{(\w+)\}", item)


_NEWEST = date(2026, 11, 20)
_DAYS = [(day, day + timedelta(days=730)) for day in (_NEWEST - timedelta(days=age) for age in range(2600))]
_DATES = [(f"{day:%Y%m%d}", day.isoformat(), until.isoformat()) for day, until in _DAYS]
_TEMPLATES = [_template(release) for release in RELEASES]
_GOLDEN = 0x9E3779B97F4A7C15
"""An odd number near 2⁶⁴ / φ: its multiples modulo 2⁶⁴ are all different and look like chance."""


def image(index: int, state: str) -> str:
    """Return the item of one image."""
    mixed = (index + 1) * _GOLDEN % 2**64
    which, age = (mixed >> 40) % len(_TEMPLATES), (mixed >> 20) % len(_DATES)
    day, dashed, deprecated = _DATES[age]
    fields = {
        "ami": f"ami-0{mixed:016x}",
        "state": state,
        "day": day,
        "dashed": dashed,
        "time": f"{mixed % 24:02}:{mixed % 59:02}:{mixed % 53:02}",
        "build": str(index % 1000),
        "snapshot": f"{mixed >> 4:015x}",
        "tags": "" if index % _TAGGED else _TAGS,
        "deprecated": deprecated,
    }
    pieces = _TEMPLATES[which].copy()
    pieces[1::2] = map(fields.__getitem__, pieces[1::2])
    return "".join(pieces)


def images(start: int, end: int, changed: Iterable[int] = ()) -> bytes:
    """Return the items of the images from `start` up to `end`; those `changed` are disabled, not available."""
    differing = frozenset(changed)
    states = ("disabled" if index in differing else "available" for index in range(start, end))
    return b"".join(image(index, state).encode() for index, state in enumerate(states, start))


# --- VMs --------------------------------------------------------------------------------------------------------------

STATES = (("pending", 0), ("running", 16), ("stopping", 64), ("stopped", 80))
"""The states that a VM walks through, with EC2's codes."""
TOGETHER = 4
"""VMs in one reservation."""
_TYPES = ("t3.micro", "t4g.small", "m7i.large", "c7g.xlarge", "r7i.2xlarge")

_VM = """\
                <item>
                    <instanceId>i-0{mixed:016x}</instanceId>
                    <imageId>ami-0{image:016x}</imageId>
                    <instanceState>
                        <code>{code}</code>
                        <name>{state}</name>
                    </instanceState>
                    <privateDnsName>ip-10-{second}-{third}-{fourth}.ec2.internal</privateDnsName>
                    <dnsName/>
                    <reason/>
                    <keyName>key-{key}</keyName>
                    <amiLaunchIndex>0</amiLaunchIndex>
                    <productCodes/>
                    <instanceType>{type}</instanceType>
                    <launchTime>{day}T{hour:02}:{minute:02}:00.000Z</launchTime>
                    <placement>
                        <availabilityZone>{zone}</availabilityZone>
                        <groupName/>
                        <tenancy>default</tenancy>
                    </placement>
                    <monitoring>
                        <state>disabled</state>
                    </monitoring>
                    <subnetId>subnet-0{subnet:016x}</subnetId>
                    <vpcId>vpc-0{golden:016x}</vpcId>
                    <privateIpAddress>10.{second}.{third}.{fourth}</privateIpAddress>
{address}                    <sourceDestCheck>true</sourceDestCheck>
                    <architecture>x86_64</architecture>
                    <rootDeviceType>ebs</rootDeviceType>
                    <rootDeviceName>/dev/sda1</rootDeviceName>
                    <blockDeviceMapping>
                        <item>
                            <deviceName>/dev/sda1</deviceName>
                            <ebs>
                                <volumeId>vol-0{mixed:016x}</volumeId>
                                <status>attached</status>
                                <attachTime>{day}T{hour:02}:{minute:02}:01.000Z</attachTime>
                                <deleteOnTermination>true</deleteOnTermination>
                            </ebs>
                        </item>
                    </blockDeviceMapping>
                    <virtualizationType>hvm</virtualizationType>
                    <tagSet>
                        <item>
                            <key>Name</key>
                            <value>{name}</value>
                        </item>
                    </tagSet>
                    <hypervisor>xen</hypervisor>
                    <ebsOptimized>false</ebsOptimized>
                    <enaSupport>true</enaSupport>
                    <bootMode>uefi-preferred</bootMode>
                </item>
"""


def vm_id(index: int) -> str:
    """Return the id of one VM."""
    return f"i-0{_mixed_vm(index):016x}"


def vms(indices: Iterable[int], step: int | None) -> bytes:
    """Return the reservations of some VMs at `step`; None: all stay running."""
    parts = []
    for reservation, together in groupby(indices, lambda index: index // TOGETHER):
        number = (reservation + 1) * _GOLDEN % 2**64
        parts.append(
            f"        <item>\n            <reservationId>r-0{number:016x}</reservationId>\n"
            f"            <ownerId>{_ACADEMY}</ownerId>\n            <groupSet/>\n            <instancesSet>\n"
        )
        parts.extend(_vm(index, step) for index in together)
        parts.append("            </instancesSet>\n        </item>\n")
    return "".join(parts).encode()


def _mixed_vm(index: int) -> int:
    return (index + 1) * _GOLDEN * 3 % 2**64


def _vm(index: int, step: int | None) -> str:
    state, code = STATES[1] if step is None else STATES[(index + step) % len(STATES)]
    # Only what runs has a public address.
    address = f"203.0.{index >> 8 & 255}.{index & 255}" if state == "running" else ""
    return _VM.format(
        mixed=_mixed_vm(index),
        image=(index % 100 + 1) * _GOLDEN % 2**64,
        golden=_GOLDEN,
        subnet=(index % len(ZONES) + 7) * _GOLDEN % 2**64,
        code=code,
        state=state,
        second=index >> 16 & 255,
        third=index >> 8 & 255,
        fourth=index & 255,
        address=f"                    <ipAddress>{address}</ipAddress>\n" if address else "",
        key=index % KEYPAIRS,
        type=_TYPES[index % len(_TYPES)],
        zone=ZONES[index % len(ZONES)],
        day=_DATES[index % 365][1],
        hour=index % 24,
        minute=index % 60,
        name=f"{('web', 'worker', 'db', 'build', 'gpu')[index % 5]}-{index:04}",
    )


# --- the rest, a handful of each --------------------------------------------------------------------------------------

KEYPAIRS = 5

FEW = {
    "DescribeInstanceTypes": (
        "instanceTypeSet",
        [
            f"<instanceType>{name}</instanceType><vCpuInfo><defaultVCpus>{2 << position}</defaultVCpus></vCpuInfo>"
            f"<memoryInfo><sizeInMiB>{2048 << position}</sizeInMiB></memoryInfo>"
            "<processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo>"
            "<networkInfo><networkPerformance>Up to 5 Gigabit</networkPerformance></networkInfo>"
            for position, name in enumerate(_TYPES)
        ],
    ),
    "DescribeInstanceTypeOfferings": (
        "instanceTypeOfferingSet",
        [
            f"<instanceType>{name}</instanceType><locationType>availability-zone</locationType>"
            f"<location>{zone}</location>"
            for name in _TYPES
            for zone in ZONES
        ],
    ),
    "DescribeKeyPairs": (
        "keySet",
        [
            f"<keyPairId>key-0{number:016x}</keyPairId><keyName>key-{number}</keyName><keyType>ed25519</keyType>"
            f"<keyFingerprint>{number:043x}=</keyFingerprint>"
            f"<createTime>2026-01-0{number + 1}T00:00:00.000Z</createTime>"
            for number in range(KEYPAIRS)
        ],
    ),
    "DescribeAvailabilityZones": (
        "availabilityZoneInfo",
        [
            f"<zoneName>{zone}</zoneName><zoneState>available</zoneState><regionName>{REGION}</regionName>"
            "<zoneType>availability-zone</zoneType>"
            for zone in ZONES
        ],
    ),
    "DescribeVolumes": (
        "volumeSet",
        [
            f"<volumeId>vol-0{number:016x}</volumeId><size>{8 * number + 8}</size><status>available</status>"
            f"<volumeType>gp3</volumeType><availabilityZone>{ZONES[number % len(ZONES)]}</availabilityZone>"
            "<createTime>2026-02-01T00:00:00.000Z</createTime><attachmentSet/>"
            for number in range(10)
        ],
    ),
    "DescribeSecurityGroups": (
        "securityGroupInfo",
        [
            f"<groupId>sg-0{number:016x}</groupId><groupName>group-{number}</groupName><groupDescription>of the bench"
            "</groupDescription><vpcId>vpc-1</vpcId><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort>"
            "<toPort>22</toPort><ipRanges><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item></ipPermissions>"
            for number in range(10)
        ],
    ),
}
"""What the small listings answer: the set, and the insides of its items."""
