"""What the commands on security groups need of a provider."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from backend.kinds.secgroup import SECGROUP
from backend.providers.protocol import Item, Page, Provider

Rule = Mapping[str, Any]
"""way ("in", "out"), protocol, ports, peer, description (None: none).

The protocol is "tcp", "udp", "icmp", "icmpv6", "all", or the number of another: "50". Ports are "22", "8000-8080" or
"all"; of ICMP a type "8", a type and its code "3/4", or "all"; of all other protocols "all".
The peer is who is let in, or reached: a network, the id of a group, or what `is_peer` knows.
"""


class SecurityGroups(Protocol):
    """What the commands on security groups need of a provider.

    Facts of an item: tags; rules, of which `ports` has those that let in, in words; default, whether its network gives
    it to VMs for which nobody names one.
    """

    def list(self, ids: Sequence[str] = (), name: str = "") -> Iterator[Page]:
        """List security groups, or those of `ids` or of a name; what no longer exists is absent."""
        ...

    def vms(self, group: str) -> Iterator[Page]:
        """List the VMs that have a group."""
        ...

    def create(self, name: str, description: str, network: str | None) -> Item:
        """Create a group in a network, None for the default one. The item may lack what the cloud adds to it."""
        ...

    def delete(self, group: str) -> None: ...
    def is_peer(self, word: str) -> bool:
        """Return whether a word names a peer that no listing has: a list of networks, a group of another account."""
        ...

    def allow(self, group: Item, rule: Rule) -> Item:
        """Add a rule to a group and return the changed group."""
        ...

    def revoke(self, group: Item, rule: Rule) -> Item:
        """Remove a rule from a group and return the changed group."""
        ...


def secgroups(provider: Provider) -> SecurityGroups:
    """Return the security groups of a cloud."""
    face: SecurityGroups = provider.of(SECGROUP.name)
    return face
