"""The accounts of the demo, and the content of their regions: VMs, keypairs, volumes and security groups."""

from dataclasses import dataclass

from backend.demo_content import ARM, SHOP_IMAGES, Disk, Group, Keypair, Machine, Region
from backend.names import nearest


@dataclass(frozen=True, eq=False)
class Account:
    """One account, and its regions with content; in each of the others it has public images only."""

    id: str
    alias: str
    arn: str
    """Who the demo's user is in it, as GetCallerIdentity says."""
    regions: tuple[Region, ...]

    def region(self, name: str) -> Region:
        """Return the region `name` with what the account has in it."""
        return next((region for region in self.regions if region.name == name), _vacant(name))


def _vacant(name: str) -> Region:
    return Region(
        cloud="",
        name=name,
        image="al2023",
        flavor="t3.micro",
        keypair="",
        builds=4,
        families=_FAMILIES,
        machines=(),
        keypairs=(),
        disks=(),
        own_images=(),
    )


_FAMILIES = "t2 t3 t4g m5 m6g m6i m7g m7i c6g c7g c7i r6g r6i r7g r7i g4dn g5"

_WEB = {"env": "production", "team": "web"}
_DB = {**_WEB, "backup": "daily"}
_LAB = {"env": "research", "team": "gpu-lab", "owner": "ada@example.org"}
_CLASS = {"env": "teaching", "course": "e516"}
_CI = {"env": "ci"}
_STAGING = {"env": "staging", "aws:autoscaling:groupName": "workers"}

EAST = Region(
    cloud="demo",
    name="us-east-1",
    image="ubuntu-24.04",
    flavor="t3.micro",
    keypair="demo",
    builds=99,
    families="""t2 t3 t3a t4g m5 m5d m6a m6g m6i m7a m7g m7i m7i-flex m8g m8i c5 c5n c6a c6g c6i c7a c7g c7i c8g c8i
        r5 r6g r6i r7g r7i r8g i3 i4i i8g im4gn x2idn x8g z1d g4dn g5 g6 g6e g6f p4d p5 p5en p6-b200 inf2 trn1 trn2
        hpc7a mac2 u7i-12tb""",
    keypairs=(Keypair("demo"), Keypair("AWS1", "rsa"), Keypair("class-2026"), Keypair("ci deploy (github)", "rsa")),
    machines=(
        Machine("web-1", "t3.small", "web-base", "a", "AWS1", "running", 14.2, _WEB, address=True),
        Machine("web-2", "t3.small", "web-base", "b", "AWS1", "running", 14.1, _WEB),
        Machine("db-primary", "r6i.xlarge", "al2023", "a", "AWS1", "running", 212.4, _DB, disk=50, protected=True),
        Machine("db-replica", "r6i.xlarge", "al2023", "b", "AWS1", "running", 97.8, _DB, disk=50),
        Machine("gpu-train-01", "g5.2xlarge", "dl-pytorch", "c", "demo", "running", 2.3, _LAB, disk=200),
        Machine("gpu-train-02", "g5.2xlarge", "dl-pytorch", "c", "demo", "stopped", 31.0, _LAB, disk=200),
        Machine("class-student-07", "t4g.micro", "ubuntu-24.04", "d", "class-2026", "stopped", 60.5, _CLASS, ARM),
        Machine("class-student-08", "t4g.micro", "ubuntu-24.04", "d", "class-2026", "stopping", 60.5, _CLASS, ARM),
        Machine("worker", "c7g.large", "debian-13", "a", "AWS1", "running", 5.9, _STAGING, ARM),
        Machine("worker", "c7g.large", "debian-13", "f", "AWS1", "running", 5.9, _STAGING, ARM),
        Machine("ci-runner-1", "m7i.large", "ubuntu-26.04", "b", "ci deploy (github)", "pending", 0, _CI),
        Machine("ci-runner-0", "m7i.large", "ubuntu-26.04", "b", "ci deploy (github)", "terminated", 0.1, _CI),
        Machine('[/]bold "quoted" <b>&', "t2.micro", "debian-12", "a", None, "running", 400.0, {"[link=x]": "$(id)"}),
        Machine("東京-バックアップ", "t3a.medium", "windows-2022-ja", "a", "demo", "stopped", 128.0, {"部署": "情報"}),
        Machine(None, "t2.nano", "amzn2", "e", None, "running", 1103.0),
    ),
    disks=(
        Disk("db-primary-data", 500, "io2", "a", 212.3, "db-primary", 6000),
        Disk("db-replica-data", 500, "gp3", "b", 97.7, "db-replica"),
        Disk("datasets", 2000, "st1", "c", 31.2, "gpu-train-01"),
        Disk("checkpoints", 250, "gp3", "c", 2.2, "gpu-train-01"),
        Disk("class-home", 100, "gp3", "d", 60.4, "class-student-07"),
        Disk("scratch", 125, "gp2", "b", 9.0),
        Disk("old-website [2019]", 20, "gp2", "a", 2400.0),
        Disk("バックアップ", 1000, "sc1", "a", 127.0),
    ),
    groups=(
        Group(
            "web", "Web servers",
            (
                ("tcp", 80, 80, "0.0.0.0/0", "redirects to https"), ("tcp", 443, 443, "0.0.0.0/0", "https"),
                ("tcp", 443, 443, "::/0", "https"), ("tcp", 22, 22, "203.0.113.0/24", "office"),
            ),
            ("web-1", "web-2"), _WEB,
        ),
        Group("db", "PostgreSQL for the web servers", (("tcp", 5432, 5432, "web", ""),), ("db-primary",), _DB),
        Group(
            "lab", "GPU lab: notebooks and SSH",
            (("tcp", 22, 22, "198.51.100.0/25", ""), ("tcp", 8888, 8899, "198.51.100.0/25", "notebooks")),
            ("gpu-train-01", "gpu-train-02"), _LAB,
        ),
        Group("class 2026", "E516, summer term", (("tcp", 22, 22, "192.0.2.0/24", "[campus]"),), (), _CLASS),
        Group("old-vpn", "Unused since 2024", (("udp", 1194, 1194, "0.0.0.0/0", ""),)),
    ),
)  # fmt: skip

WEST = Region(
    cloud="demo-west",
    name="us-west-2",
    image="al2023",
    flavor="t3.micro",
    keypair="demo-west",
    builds=4,
    families="t2 t3 t4g m5 m6g m7g m7i c6g c7g c7i r6g r7i g4dn g5 p4d inf2 trn1",
    keypairs=(Keypair("demo-west"), Keypair("AWS1", "rsa")),
    machines=(
        Machine("bastion", "t3.micro", "al2023", "a", "demo-west", "running", 350.2, {"env": "production"}),
        Machine("dr-db", "r7i.large", "al2023", "b", "AWS1", "stopped", 180.0, {"env": "standby"}, disk=50),
        Machine("render-01", "g4dn.xlarge", "dl-base", "c", "demo-west", "running", 0.4, {"env": "research"}, disk=100),
    ),
    disks=(Disk("dr-db-data", 500, "gp3", "b", 179.9, "dr-db"), Disk("render-cache", 80, "gp3", "c", 12.0)),
)  # fmt: skip

_SHOP = {"env": "production", "team": "shop"}
_SHOP_DB = {**_SHOP, "backup": "daily"}
_ERP = {"env": "production", "team": "office", "app": "erp"}
_AGENCY = {"env": "production", "team": "shop", "managed-by": "agency"}

SHOP = Region(
    cloud="shop",
    name="eu-central-1",
    image="ubuntu-24.04",
    flavor="t3.small",
    keypair="katja-2025",
    builds=4,
    families=_FAMILIES,
    own_images=SHOP_IMAGES,
    keypairs=(Keypair("katja-2025"), Keypair("deploy"), Keypair("office-windows", "rsa")),
    machines=(
        Machine("shop-web-1", "t3.medium", "shop-base", "a", "deploy", "running", 23.6, _SHOP, address=True),
        Machine("shop-web-2", "t3.medium", "shop-base", "b", "deploy", "running", 23.5, _SHOP),
        Machine("shop-db", "r6g.large", "al2023", "a", "katja-2025", "running", 341.0, _SHOP_DB, ARM, 30, True),
        Machine("erp", "m6i.large", "windows-2022", "b", "office-windows", "running", 288.2, _ERP, disk=60),
        Machine("shop-staging", "t3.small", "shop-base", "a", "deploy", "stopped", 8.9, {"env": "staging"}),
        Machine("mail-2023", "t2.small", "ubuntu-20.04", "c", None, "stopped", 960.0, {"note": "before Microsoft 365"}),
    ),
    disks=(
        Disk("shop-db-data", 200, "gp3", "a", 340.9, "shop-db"),
        Disk("shop-media", 300, "gp3", "a", 340.0, "shop-web-1"),
        Disk("erp-files", 500, "gp3", "b", 288.1, "erp"),
        Disk("erp before migration", 500, "sc1", "b", 288.0),
    ),
    groups=(
        Group(
            "shop-web", "Web shop",
            (("tcp", 80, 80, "0.0.0.0/0", "redirects to https"), ("tcp", 443, 443, "0.0.0.0/0", "https")),
            ("shop-web-1", "shop-web-2"), _SHOP,
        ),
        Group("shop-db", "PostgreSQL", (("tcp", 5432, 5432, "shop-web", ""),), ("shop-db",), _SHOP_DB),
        Group("office", "From the office", (("tcp", 3389, 3389, "203.0.113.64/28", "remote desktop"),), ("erp",), _ERP),
    ),
)  # fmt: skip

SHOP_US = Region(
    cloud="shop-us",
    name="us-east-1",
    image="ubuntu-24.04",
    flavor="t3.small",
    keypair="agency",
    builds=4,
    families=_FAMILIES,
    own_images=SHOP_IMAGES,
    read_only=True,
    keypairs=(Keypair("agency"),),
    machines=(
        Machine("us-shop-web", "t3.medium", "shop-base", "a", "agency", "running", 112.7, _AGENCY, address=True),
        Machine("us-shop-db", "r6g.large", "al2023", "a", "agency", "running", 112.7, _AGENCY, ARM, 30),
        Machine("us-load-test", "c7i.large", "debian-13", "b", "agency", "stopped", 40.1, {"env": "test"}),
    ),
    disks=(Disk("us-shop-db-data", 100, "gp3", "a", 112.6, "us-shop-db"),),
    groups=(Group("us-shop", "Web shop", (("tcp", 443, 443, "0.0.0.0/0", "https"),), ("us-shop-web",), _AGENCY),),
)  # fmt: skip

ACCOUNTS = (
    Account("123456789012", "cloudmesh-lab", "arn:aws:sts::123456789012:assumed-role/LabAdmin/ada", (EAST, WEST)),
    Account("210987654321", "kaffee-shop", "arn:aws:sts::210987654321:assumed-role/Operator/ada", (SHOP, SHOP_US)),
)
"""The demo starts in the first region of the first account. Each region of an account is a cloud of its own."""

REGION_NAMES = tuple(dict.fromkeys(region.name for account in ACCOUNTS for region in account.regions))
"""The enabled regions of both accounts."""

NOT_OPTED_IN = ("ap-east-1", "eu-south-2")
"""Regions that exist and that nobody has opted in to."""


def failing(word: str) -> frozenset[tuple[Account, str]]:
    """Return the accounts and regions that a fault in the cloud or region `word` is in.

    Raises UsageError if the demo has none of that name.
    """
    clouds = {region.cloud: (account, region.name) for account in ACCOUNTS for region in account.regions}
    if word in clouds:
        return frozenset({clouds[word]})
    if word in REGION_NAMES:
        return frozenset((account, word) for account in ACCOUNTS)
    known = (*clouds, *REGION_NAMES)
    raise nearest(word, known, what="cloud or region of the demo", known=known)
