"""EC2's entry in the registry: everything that can be known about EC2 without importing libcloud."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.providers.entry import ProviderEntry
from backend.providers.protocol import Provider, Waiting

if TYPE_CHECKING:
    from backend.config import Cloud
    from backend.secret import Secret

KEY, SECRET, TOKEN = "EC2_ACCESS_KEY", "EC2_SECRET_KEY", "EC2_SESSION_TOKEN"

OWNERS = ("self", "amazon")
"""The owners of the images to list, if the configuration names none."""


class FaceOf(NamedTuple):
    """How EC2 works with one kind."""

    path: str
    """The module of this package, and the class in it."""
    ids: str = ""
    """The prefix of the kind's ids, before a dash and hexadecimal digits; "" if they have another form."""
    can: tuple[str, ...] = ()
    """The capabilities that it adds."""


FACES = {
    "image": FaceOf("images.Images", "ami"),
    "flavor": FaceOf("flavors.Flavors", can=("price list", "spot prices")),
    "vm": FaceOf("vms.VMs", "i", ("console output", "elastic addresses", "tags of VMs", "termination protection")),
    "keypair": FaceOf("keypairs.Keypairs", "key"),
    "location": FaceOf("locations.Locations", can=("regions",)),
    "volume": FaceOf("volumes.Volumes", "vol", ("tags of volumes",)),
    "secgroup": FaceOf("secgroups.SecurityGroups", "sg", ("tags of security groups",)),
}
"""The kinds that EC2 has."""


def ec2_keys(key: "Secret", secret: "Secret", token: "Secret | None" = None) -> dict[str, "Secret"]:
    """Return the credentials of an EC2 cloud, without the empty ones."""
    return {name: said for name, said in ((KEY, key), (SECRET, secret), (TOKEN, token)) if said}


def _connect(cloud: "Cloud", check: Callable[[], None], on_wait: Callable[[Waiting], None]) -> Provider:
    from backend.providers.ec2.provider import EC2Provider  # libcloud takes a third of start-up: import it late

    return EC2Provider(cloud, check, on_wait=on_wait)


def _opened(kind: str, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind != "image":
        return extra
    from backend.providers.ec2 import rows

    return rows.IMAGE.opened(extra)


EC2 = ProviderEntry(
    "ec2",
    "EC2",
    _connect,
    frozenset(FACES),
    capabilities=frozenset({"dry runs", "request tokens", *chain.from_iterable(face.can for face in FACES.values())}),
    ids=f"({'|'.join(face.ids for face in FACES.values() if face.ids)})-[0-9a-f]{{8,}}",
    credentials={KEY: "AWS_ACCESS_KEY_ID", SECRET: "AWS_SECRET_ACCESS_KEY", TOKEN: "AWS_SESSION_TOKEN"},
    required=(KEY, SECRET),
    region_variables=("AWS_REGION", "AWS_DEFAULT_REGION"),  # in the order of AWS's SDKs
    # A zone: us-west-1b, local us-west-2-lax-1a, wavelength us-east-1-wl1-bos-wlz-1. A region ends in its number.
    zone=r"(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+)(?:[a-z]|-.+)",
    locations="a region or an availability zone, such as us-west-1 or us-west-1b",
    endpoint_region="us-east-1",  # most such clouds have one region and accept any name
    owners=("self", "amazon", "aws-marketplace", "aws-backup-vault", "all"),
    owner_id=r"\d{12}",
    owner_form="a 12-digit account id",
    flavor="t2.micro",
    devices=tuple(f"/dev/sd{letter}" for letter in "fghijklmnop"),  # EC2 User Guide, device names
    opened=_opened,
)
