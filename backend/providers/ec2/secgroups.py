"""The EC2 face of security groups: lists, creates and deletes them, opens and closes ports."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend.providers.ec2 import rows
from backend.providers.ec2.params import filtered
from backend.providers.ec2.requests import Listing
from backend.providers.ec2.tags import Tags
from backend.providers.ec2.vms import VMS
from backend.providers.failures import Refusal, Request
from backend.providers.protocol import Item, Page

Rule = Mapping[str, Any]
"""A rule as backend.kinds.secgroup.face has it; the peer is a network, a group or a prefix list."""

_PROTOCOLS = {"-1": "all", "1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
"""What EC2, or an endpoint that speaks its API, calls a protocol by its number (EC2 API reference, IpPermission)."""

_PEERS = {"ipRanges": "cidrIp", "ipv6Ranges": "cidrIpv6", "prefixListIds": "prefixListId", "groups": "groupId"}
"""The sets of an IpPermission, each with the field that names the source or destination."""

_UNLISTED = re.compile(r"pl-[0-9a-f]{8,}|\d{12}/sg-[0-9a-f]{8,}")
"""A prefix list, and a group of another account, whose id EC2 takes only with that account."""

_ICMP = ("icmp", "icmpv6")
"""Of these EC2 keeps a type in the place of the first port and a code in that of the last; -1 is all of them."""

_LIMITED = ("tcp", "udp", *_ICMP)
"""The protocols that have ports or types: a rule of another lets all of it in, whatever its ports say."""

_ALL_PORTS = (0, 65_535)


# --- what EC2 lists --------------------------------------------------------------------------------------------------


_GROUP = rows.Fields(
    {"default": rows.Field("groupName", to=lambda name: name == "default")},  # a name that only EC2 gives
    id=rows.Field("groupId"),
    name=rows.Field("groupName"),
    description=rows.Field("groupDescription"),
    network=rows.Field("vpcId"),
)


def _groups(raw: Any) -> Iterator[Item]:
    rules: list[Rule] = []
    if isinstance(raw, dict):
        for way, field in (("in", "ipPermissions"), ("out", "ipPermissionsEgress")):
            permissions = rows.entries(raw.pop(field, None))
            rules += (rule for one in permissions for rule in _rules(one, way, raw.get("ownerId")))
    for item in _GROUP.item(raw):
        yield _having(item, rules)


def _having(group: Item, rules: Sequence[Rule]) -> Item:
    """Return a group with these rules, in an order that is the same whenever they are."""
    ordered = sorted(rules, key=lambda one: (one["way"], one["protocol"], len(one["ports"]), one["ports"], one["peer"]))
    ways = {"inbound": "in", "outbound": "out"}
    return group | {
        "rules": ordered,
        "ports": [_said(one) for one in ordered if one["way"] == "in"],
        "extra": group["extra"]
        | {title: [_said(one, full=True) for one in ordered if one["way"] == way] for title, way in ways.items()},
    }


def _rules(permission: Any, way: str, owner: Any) -> Iterator[Rule]:
    """Yield the rules of an IpPermission of a group of the account `owner`."""
    if not isinstance(permission, dict) or not (said := rows.text(permission.get("ipProtocol"))):
        return
    protocol = _PROTOCOLS.get(said, said)
    ports = _ports(protocol, rows.integer(permission.get("fromPort")), rows.integer(permission.get("toPort")))
    for field, name in _PEERS.items():
        for one in rows.entries(permission.get(field)):
            if isinstance(one, dict) and (peer := rows.text(one.get(name))):
                if owner and (account := rows.text(one.get("userId"))) not in (None, owner):
                    peer = f"{account}/{peer}"
                description = rows.text(one.get("description"))
                yield {"way": way, "protocol": protocol, "ports": ports, "peer": peer, "description": description}


def _ports(protocol: str, first: int | None, last: int | None) -> str:
    if first in (None, -1) or protocol not in _LIMITED or (protocol not in _ICMP and (first, last) == _ALL_PORTS):
        return "all"
    if protocol in _ICMP:
        return str(first) if last in (None, -1) else f"{first}/{last}"
    return str(first) if last in (None, first) else f"{first}-{last}"


def _said(rule: Rule, *, full: bool = False) -> str:
    """Return a rule in words, such as "tcp 22 from 203.0.113.0/24"; in full with its description."""
    protocol = f"protocol {rule['protocol']}" if rule["protocol"].isdecimal() else rule["protocol"]
    what = "all traffic" if protocol == "all" else f"{protocol} {rule['ports']}"
    note = f" ({rule['description']})" if full and rule["description"] else ""
    return f"{what} {'from' if rule['way'] == 'in' else 'to'} {rule['peer']}{note}"


SECGROUPS = Listing(Request("DescribeSecurityGroups", "Listing security groups"), "securityGroupInfo", _groups)


# --- what can be done ------------------------------------------------------------------------------------------------


class SecurityGroups(Tags):
    """What can be done with security groups. A group's name is its own: the tag Name is another thing."""

    name_tag = ""

    def list(self, ids: Sequence[str] = (), name: str = "") -> Iterator[Page]:
        if name:
            return self._requests.pages(SECGROUPS, filtered("group-name", [name]))
        return self._requests.of(SECGROUPS, "group-id", ids) if ids else self._requests.pages(SECGROUPS)

    def vms(self, group: str) -> Iterator[Page]:
        return self._requests.pages(VMS, filtered("instance.group-id", [group]))

    def create(self, name: str, description: str, network: str | None) -> Item:
        request = Request("CreateSecurityGroup", f"Creating security group {name}", changes=True)
        answer = self._requests.change(request, {"GroupName": name, "GroupDescription": description, "VpcId": network})
        made = {"groupName": name, "groupDescription": description, "vpcId": network, **answer}
        return self._requests.made(request, _groups(made))

    def delete(self, group: str) -> None:
        request = Request("DeleteSecurityGroup", f"Deleting security group {group}", changes=True)
        self._requests.change(request, {"GroupId": group})

    def is_peer(self, word: str) -> bool:
        return _UNLISTED.fullmatch(word) is not None

    def allow(self, group: Item, rule: Rule) -> Item:
        doing = f"Opening {_said(rule)} in security group {group['id']}"
        request = Request("AuthorizeSecurityGroupIngress", doing, changes=True)
        self._requests.change(request, {"GroupId": group["id"], **_permission(rule)})
        return _having(group, [*group["rules"], rule])

    def revoke(self, group: Item, rule: Rule) -> Item:
        doing = f"Closing {_said(rule)} in security group {group['id']}"
        request = Request("RevokeSecurityGroupIngress", doing, changes=True)
        answer = self._requests.change(request, {"GroupId": group["id"], **_permission(rule)})
        if answer.get("unknownIpPermissionSet"):  # outside a default VPC EC2 calls that a success
            raise self._requests.explained(Refusal(400, "InvalidPermission.NotFound"), request)
        return _having(group, [one for one in group["rules"] if one != rule])


def _permission(rule: Rule) -> dict[str, str]:
    """Return EC2's notation of a rule."""
    one, protocol, peer = "IpPermissions.1", rule["protocol"], rule["peer"]
    params = {f"{one}.IpProtocol": "-1" if protocol == "all" else protocol}
    if protocol != "all":
        icmp = protocol in _ICMP
        first, last = ("-1", "-1") if icmp else map(str, _ALL_PORTS)
        if rule["ports"] != "all":
            first, _, last = rule["ports"].partition("/" if icmp else "-")
            last = last or ("-1" if icmp else first)
        params |= {f"{one}.FromPort": first, f"{one}.ToPort": last}
    if peer.startswith("pl-"):
        return params | {f"{one}.PrefixListIds.1.PrefixListId": peer}
    if ":" in peer:
        return params | {f"{one}.Ipv6Ranges.1.CidrIpv6": peer}
    if "." in peer:
        return params | {f"{one}.IpRanges.1.CidrIp": peer}
    account, _, group = peer.rpartition("/")
    return params | {f"{one}.Groups.1.GroupId": group} | ({f"{one}.Groups.1.UserId": account} if account else {})
