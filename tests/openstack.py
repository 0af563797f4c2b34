"""A second provider for tests: few kinds, few capabilities, one VM, and its own words."""

from collections.abc import Iterator, Sequence
from typing import Any

from backend.providers.ec2.entry import EC2
from backend.providers.entry import ProviderEntry
from backend.providers.protocol import Item, Page
from tests.faces import Faces

WEB = "5f1c1a52-0000-4000-8000-000000000001"


class OpenStack(Faces):
    """What the entry connects to; `stopped` is what was stopped by any of them."""

    stopped: list[str] = []  # noqa: RUF012 - of all connections, as a cloud is

    def image_list(self, known: Any = (), ids: Sequence[str] = ()) -> Iterator[Page]:  # noqa: ARG002
        yield []

    def flavor_list(self, ids: Sequence[str] = ()) -> Iterator[Page]:  # noqa: ARG002
        yield []

    def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:  # noqa: ARG002
        web: Item = {"id": WEB, "name": "web", "state": "ACTIVE", "public_ip": "203.0.113.7", "tags": {}, "extra": {}}
        yield [web] if not ids or WEB in ids else []

    def vm_stop(self, vm: str) -> str:
        self.stopped.append(vm)
        return "ACTIVE"


OPENSTACK = ProviderEntry(
    "openstack",
    "OpenStack",
    lambda _cloud, _check, _waits: OpenStack(),
    frozenset({"image", "flavor", "vm"}),
    ids=r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    credentials={"OS_USERNAME": "OS_USERNAME", "OS_PASSWORD": "OS_PASSWORD"},
    required=("OS_USERNAME", "OS_PASSWORD"),
    region_variables=("OS_REGION_NAME",),
)

PROVIDERS = {entry.name: entry for entry in (EC2, OPENSTACK)}
