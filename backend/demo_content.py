"""What the content of the demo is made of: the images of all its regions, and the shapes of its tables."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

X86, ARM = "x86_64", "arm64"


@dataclass(frozen=True)
class Owner:
    """An account that publishes images; `account` None means the demo's own."""

    account: str | None
    alias: str | None = None


SELF = Owner(None)
AMAZON = Owner("137112412989", "amazon")
CANONICAL = Owner("099720109477", "amazon")
DEBIAN = Owner("136693071363", "amazon")
RED_HAT = Owner("309956199498", "amazon")
SUSE = Owner("013907871322", "amazon")
MICROSOFT = Owner("801119661308", "amazon")
DEEP_LEARNING = Owner("898082745236", "amazon")
ECS = Owner("591542846629", "amazon")
EKS = Owner("602401143452", "amazon")
MARKETPLACE = Owner("679593333241", "aws-marketplace")
ALMA = Owner("764336703387")


@dataclass(frozen=True)
class Image:
    """One machine image."""

    id: str
    name: str
    description: str
    owner: Owner
    architecture: str
    created: datetime
    platform: str | None = None


@dataclass(frozen=True)
class Release:
    """A line of images that its publisher rebuilds every `every` days; its texts may use `{arch}` and `{day}`."""

    key: str
    name: str
    description: str
    owner: Owner
    newest: str
    every: int
    builds: int
    architectures: tuple[tuple[str, str], ...] = ((X86, X86),)
    """Pairs of EC2's name for an architecture and the publisher's."""
    platform: str | None = None


_DEB = ((X86, "amd64"), (ARM, "arm64"))
_RPM = ((X86, "x86_64"), (ARM, "aarch64"))
_AWS = ((X86, "x86_64"), (ARM, "arm64"))
_UBUNTU = "ubuntu/images/hvm-ssd"

RELEASES = (
    Release("ubuntu-26.04", f"{_UBUNTU}-gp3/ubuntu-resolute-26.04-{{arch}}-server-{{day:%Y%m%d}}",
            "Canonical, Ubuntu, 26.04, {arch} resolute image", CANONICAL, "2026-11-12", 14, 14, _DEB),
    Release("ubuntu-24.04", f"{_UBUNTU}-gp3/ubuntu-noble-24.04-{{arch}}-server-{{day:%Y%m%d}}",
            "Canonical, Ubuntu, 24.04, {arch} noble image", CANONICAL, "2026-11-10", 21, 26, _DEB),
    Release("ubuntu-22.04", f"{_UBUNTU}/ubuntu-jammy-22.04-{{arch}}-server-{{day:%Y%m%d}}",
            "Canonical, Ubuntu, 22.04 LTS, {arch} jammy image", CANONICAL, "2026-11-05", 30, 26, _DEB),
    Release("ubuntu-20.04", f"{_UBUNTU}/ubuntu-focal-20.04-{{arch}}-server-{{day:%Y%m%d}}",
            "Canonical, Ubuntu, 20.04 LTS, {arch} focal image", CANONICAL, "2025-05-28", 45, 14, _DEB),
    Release("debian-13", "debian-13-{arch}-{day:%Y%m%d}-2290",
            "Debian 13 ({day:%Y%m%d}-2290)", DEBIAN, "2026-11-03", 30, 14, _DEB),
    Release("debian-12", "debian-12-{arch}-{day:%Y%m%d}-1975",
            "Debian 12 ({day:%Y%m%d}-1975)", DEBIAN, "2026-10-27", 60, 12, _DEB),
    Release("al2023", "al2023-ami-2023.9.{day:%Y%m%d}.0-kernel-6.12-{arch}",
            "Amazon Linux 2023 AMI 2023.9.{day:%Y%m%d}.0 {arch} HVM kernel-6.12", AMAZON, "2026-11-17", 14, 26, _AWS),
    Release("al2023-minimal", "al2023-ami-minimal-2023.9.{day:%Y%m%d}.0-kernel-6.12-{arch}",
            "Amazon Linux 2023 AMI 2023.9.{day:%Y%m%d}.0 {arch} Minimal HVM", AMAZON, "2026-11-17", 28, 10, _AWS),
    Release("amzn2", "amzn2-ami-kernel-5.10-hvm-2.0.{day:%Y%m%d}.0-{arch}-gp2",
            "Amazon Linux 2 Kernel 5.10 AMI 2.0.{day:%Y%m%d}.0 {arch} HVM gp2", AMAZON, "2026-06-22", 35, 14, _AWS),
    Release("amzn-ecs", "al2023-ami-ecs-hvm-2023.0.{day:%Y%m%d}-kernel-6.12-{arch}",
            "Amazon Linux AMI 2023.0.{day:%Y%m%d} {arch} ECS HVM EBS", ECS, "2026-11-14", 21, 10, _AWS),
    Release("amzn-eks", "amazon-eks-node-al2023-{arch}-standard-1.34-v{day:%Y%m%d}",
            "EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: 1.34, containerd: 2.1.*)", EKS,
            "2026-11-16", 14, 10, _AWS),
    Release("rhel-10", "RHEL-10.0.0_HVM-{day:%Y%m%d}-{arch}-0-Hourly2-GP3",
            "Provided by Red Hat, Inc.", RED_HAT, "2026-10-20", 60, 6, _AWS),
    Release("rhel-9", "RHEL-9.6.0_HVM-{day:%Y%m%d}-{arch}-82-Hourly2-GP3",
            "Provided by Red Hat, Inc.", RED_HAT, "2026-10-14", 90, 6, _AWS),
    Release("sles-15", "suse-sles-15-sp7-v{day:%Y%m%d}-hvm-ssd-{arch}",
            "SUSE Linux Enterprise Server 15 SP7 (HVM, 64-bit, SSD Backed)", SUSE, "2026-09-30", 60, 6, _AWS),
    Release("windows-2025", "Windows_Server-2025-English-Full-Base-{day:%Y.%m.%d}",
            "Microsoft Windows Server 2025 Full Locale English AMI provided by Amazon", MICROSOFT, "2026-11-12", 30, 8,
            platform="windows"),
    Release("windows-2022", "Windows_Server-2022-English-Full-Base-{day:%Y.%m.%d}",
            "Microsoft Windows Server 2022 Full Locale English AMI provided by Amazon", MICROSOFT, "2026-11-12", 30, 8,
            platform="windows"),
    Release("windows-2022-ja", "Windows_Server-2022-Japanese-Full-Base-{day:%Y.%m.%d}",
            "Microsoft Windows Server 2022 日本語 (フル) AMI", MICROSOFT, "2026-11-12", 90, 3, platform="windows"),
    Release("windows-sql", "Windows_Server-2022-English-Full-SQL_2022_Standard-{day:%Y.%m.%d}",
            "Microsoft Windows Server 2022 Full Locale English with SQL Standard 2022 AMI provided by Amazon",
            MICROSOFT, "2026-11-12", 60, 4, platform="windows"),
    Release("dl-pytorch", "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.9 (Ubuntu 24.04) {day:%Y%m%d}",
            "Supported EC2 instances: G4dn, G5, G6, Gr6, G6e, P4d, P4de, P5, P5e, P5en. <EULA: NVIDIA & CUDA>",
            DEEP_LEARNING, "2026-11-15", 14, 12),
    Release("dl-base", "Deep Learning Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) {day:%Y%m%d}",
            "Supported EC2 instances: G4dn, G5, G6, Gr6, P4d, P4de, P5. Release notes: https://aws.amazon.com/dlami",
            DEEP_LEARNING, "2026-11-15", 28, 6),
    Release("dl-neuron", "Deep Learning AMI Neuron (Ubuntu 22.04) {day:%Y%m%d}",
            "PyTorch 2.8 · JAX 0.6; supported EC2 instances: Inf2, Trn1, Trn1n, Trn2", DEEP_LEARNING,
            "2026-10-30", 28, 6),
    Release("rocky-9", "Rocky-9-EC2-Base-9.6-{day:%Y%m%d}.0.{arch}",
            "Official Rocky Linux 9 for {arch}: [free] from the Marketplace", MARKETPLACE, "2026-05-31", 120, 5, _RPM),
    Release("alma-9", "AlmaLinux OS 9.6.{day:%Y%m%d} {arch}",
            "Official AlmaLinux OS 9.6 {arch} image", ALMA, "2026-05-21", 120, 4, _RPM),
)  # fmt: skip

OWN_IMAGES = (
    Release("web-base", "web-base-{day:%Y-%m-%d}", "nginx 1.29, node 24; built by packer from ubuntu-24.04", SELF,
            "2026-11-09", 30, 3),
    Release("gpu-lab", "gpu-lab-cuda13-{day:%Y-%m-%d}", "CUDA 13.0 & cuDNN 9 for the lab's <gpu-train> machines", SELF,
            "2026-10-01", 60, 2),
    Release("class", "class-{day:%Y} übung", "Kursumgebung für Übungen: Jupyter, gcc, gdb — 学生用", SELF,
            "2026-09-14", 365, 2),
    Release("nightly", "nightly [/] (bold) {day:%Y-%m-%d}", "[bold red]not markup[/] & <b>not XML</b> \"quoted\"", SELF,
            "2026-11-20", 1, 1, ((ARM, ARM),)),
)  # fmt: skip


SHOP_IMAGES = (
    Release("shop-base", "shop-base-{day:%Y-%m-%d}", "nginx 1.29, php-fpm 8.4; built by packer from ubuntu-24.04", SELF,
            "2026-11-03", 30, 4),
)  # fmt: skip


def image_id(region: str, name: str) -> str:
    """Return the id of the image `name` in `region`. It is the same in every demo, so that the docs can name it."""
    return "ami-0" + hashlib.sha256(f"{region}/{name}".encode()).hexdigest()[:16]


def images(region: str, releases: tuple[Release, ...], most: int) -> Iterator[Image]:
    """Yield the newest `most` builds of each of `releases` for each of its architectures."""
    for release in releases:
        newest = datetime.fromisoformat(release.newest)
        for build in range(min(release.builds, most)):
            day = newest - timedelta(days=build * release.every)
            for architecture, word in release.architectures:
                name = release.name.format(arch=word, day=day)
                # A time of day that differs between images but is the same in every demo.
                seconds = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
                yield Image(
                    id=image_id(region, name),
                    name=name,
                    description=release.description.format(arch=word, day=day),
                    owner=release.owner,
                    architecture=architecture,
                    created=day + timedelta(seconds=seconds),
                    platform=release.platform,
                )


def newest(region: str, key: str, architecture: str = X86) -> str:
    """Return the id of the newest image of the release `key`."""
    release = next(release for release in (*RELEASES, *OWN_IMAGES, *SHOP_IMAGES) if release.key == key)
    return next(image.id for image in images(region, (release,), 1) if image.architecture == architecture)


@dataclass(frozen=True)
class Machine:
    """One VM. `state` is its state at the start of the demo; pending, stopping and shutting-down change later."""

    name: str | None
    flavor: str
    image: str
    """Key of a release; the VM has its newest build."""
    zone: str
    keypair: str | None
    state: str
    days: float
    """Days since it was launched."""
    tags: dict[str, str] = field(default_factory=dict)
    architecture: str = X86
    disk: int = 8
    """Size of its root volume in GiB."""
    protected: bool = False
    """Whether it is protected from deletion."""
    address: bool = False
    """Whether it has an elastic IP."""


@dataclass(frozen=True)
class Keypair:
    """One keypair. Its fingerprint is made from its name; its private key does not exist."""

    name: str
    type: str = "ed25519"


@dataclass(frozen=True)
class Disk:
    """One volume that is not a root volume; `on` is the name of the VM that it is attached to."""

    name: str
    size: int
    type: str
    zone: str
    days: float
    on: str | None = None
    iops: int | None = None


@dataclass(frozen=True)
class Group:
    """One security group of the default network; each rule is a protocol, the first and last port, and who is let in.

    That is a network, or the name of a group that stands before it.
    """

    name: str
    description: str
    rules: tuple[tuple[str, int, int, str, str], ...]
    """(protocol, first port, last port, who, description)."""
    machines: tuple[str, ...] = ()
    """Names of the VMs that have it."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Region:
    """The content of one region, and the defaults of its cloud."""

    cloud: str
    name: str
    image: str
    """Key of the release that `vm boot` uses."""
    flavor: str
    keypair: str
    builds: int
    """The most builds of each release."""
    families: str
    """The families of its flavors: the names without the size."""
    machines: tuple[Machine, ...]
    keypairs: tuple[Keypair, ...]
    disks: tuple[Disk, ...]
    groups: tuple[Group, ...] = ()
    own_images: tuple[Release, ...] = OWN_IMAGES
    read_only: bool = False
    """Whether its cloud refuses every change."""

    def images(self) -> Iterator[Image]:
        """Yield every image."""
        yield from images(self.name, RELEASES + self.own_images, self.builds)
