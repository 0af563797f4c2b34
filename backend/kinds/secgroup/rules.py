"""What `secgroup allow` and `revoke` do: they open and close a port of a security group."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

from backend.commands.common import label, present, with_row
from backend.commands.lookup import find
from backend.commands.model import Context, Result
from backend.errors import UsageError
from backend.kinds.secgroup import SECGROUP
from backend.kinds.secgroup.face import Rule, secgroups
from backend.providers.protocol import Item, Provider
from backend.text import safe

WORLD = ("0.0.0.0/0", "::/0")


def allow(context: Context) -> Result:
    """Open a port of a security group for a network or another group."""
    provider, group = present(context, SECGROUP, context.args["secgroup"])
    rule = _rule(context, provider, group)
    if _of(group, rule):
        return Result(f"{_label(group)} lets in {_said(rule)} already; nothing was done.", kind=SECGROUP)
    context.check()
    context.journal.sending(str(group["id"]), rule=rule)
    return _allowed(context, secgroups(provider).allow(group, rule), rule)


def probe_allow(context: Context) -> Result | None:
    """Find out whether a port that was to be opened is open."""
    rule = context.journal.request["rule"]
    _, group = present(context, SECGROUP, context.journal.objects[0])
    return _allowed(context, group, rule) if _of(group, rule) else None


def _allowed(context: Context, group: Item, rule: Rule) -> Result:
    world = " The whole internet may connect." if rule["peer"] in WORLD else ""
    return _changed(
        context, group, Result(f"{_label(group)} lets in {_said(rule)}.{world}", undo=_line("revoke", group, rule))
    )


def revoke(context: Context) -> Result:
    """Close a port of a security group for a network or another group."""
    provider, group = present(context, SECGROUP, context.args["secgroup"])
    rule = _rule(context, provider, group)
    found = _of(group, rule)
    if found is None:
        wider = ", ".join(_said(one) for one in group["rules"] if _includes(one, rule))
        still = f" It is open by another rule: {wider}." if wider else ""
        return Result(f"{_label(group)} has no rule {_said(rule)}; nothing was done.{still}", kind=SECGROUP)
    context.check()
    context.journal.sending(str(group["id"]), rule=dict(found))
    return _revoked(context, secgroups(provider).revoke(group, found), found)


def probe_revoke(context: Context) -> Result | None:
    """Find out whether a port that was to be closed is closed."""
    rule = context.journal.request["rule"]
    _, group = present(context, SECGROUP, context.journal.objects[0])
    return None if _of(group, rule) else _revoked(context, group, rule)


def _revoked(context: Context, group: Item, rule: Rule) -> Result:
    lost = f"The rule's description is gone: {safe(rule['description'])}." if rule["description"] else ""
    said = f"{_label(group)} no longer has the rule {_said(rule)}."
    return _changed(context, group, Result(said, undo=_line("allow", group, rule), lost=lost))


def _changed(context: Context, group: Item, outcome: Result) -> Result:
    put = replace(outcome, kind=SECGROUP)
    return with_row(
        context,
        SECGROUP,
        str(group["id"]),
        put,
        lambda: context.session.cache.rows.put(SECGROUP, context.session.scope, [group]),
    )


def _label(group: Item) -> str:
    return f"Security group {label(group['name'], group['id'])}"


def _line(verb: str, group: Item, rule: Rule) -> str:
    """Return the command that opens or closes a port, as it would be typed."""
    more = ["--protocol", rule["protocol"]] if rule["protocol"] != "tcp" else []
    return shlex.join([SECGROUP.name, verb, group["id"], rule["ports"], "--from", rule["peer"], *more])


def _said(rule: Rule) -> str:
    """Return a rule in the words of the list."""
    protocol = f"protocol {rule['protocol']}" if rule["protocol"].isdecimal() else rule["protocol"]
    what = "all traffic" if protocol == "all" else f"{protocol} {rule['ports']}"
    return f"{safe(what)} from {safe(rule['peer'])}"


# --- what is asked for -----------------------------------------------------------------------------------------------

PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "all")
"""The protocols that have a name; any other has its number."""

_NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_LAST_PROTOCOL = 255
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_LAST = 65_535
_TYPE = re.compile(r"(\d{1,3})(?:/(\d{1,3}))?", re.ASCII)
_LAST_TYPE = 255
_ADDRESS = re.compile(r"[\da-f.:]*[.:][\da-f.:]*(?:/.*)?|\d+/\d+", re.IGNORECASE | re.ASCII)
"""What can only be meant as an address or a network."""


def check(args: Mapping[str, Any]) -> None:
    """Check the port, the protocol and the source that are asked for. Raises UsageError."""
    _ports(args["port"].lower(), _protocol(args["protocol"].lower()))
    _source(args["from"])


def _protocol(word: str) -> str:
    """Return the protocol that a word means, as a rule has it. Raises UsageError."""
    if word in PROTOCOLS:
        return word
    if not re.fullmatch(r"\d{1,3}", word, re.ASCII) or int(word) > _LAST_PROTOCOL:
        raise UsageError(
            f"{safe(word)!r} is no protocol of a rule.", f"Known: {', '.join(PROTOCOLS)} and numbers such as 50."
        )
    number = str(int(word))
    return _NUMBERS.get(number, number)


def _ports(word: str, protocol: str) -> str:
    """Return the ports, or the type and code of ICMP, that a word means, as a rule has them. Raises UsageError."""
    if word == "all":
        return "all"
    if protocol in ("icmp", "icmpv6"):
        return _type(word, protocol)
    if protocol not in ("tcp", "udp"):
        raise UsageError(f"A rule for {protocol} has no port {safe(word)}.", "Write all in place of the port.")
    found = _PORTS.fullmatch(word)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last <= _LAST:
        raise UsageError(
            f"{safe(word)!r} is no port.", f"Write a port such as 22, ports such as 8000-8080 up to {_LAST}, or all."
        )
    if (first, last) == (0, _LAST):
        return "all"
    return str(first) if first == last else f"{first}-{last}"


def _type(word: str, protocol: str) -> str:
    found = _TYPE.fullmatch(word)
    numbers = [int(one) for one in found.groups() if one is not None] if found else []
    if not numbers or max(numbers) > _LAST_TYPE:
        raise UsageError(
            f"{safe(word)!r} is no type of {protocol}.", "Write a type such as 8, a type and its code as 3/4, or all."
        )
    return "/".join(map(str, numbers))


def _source(word: str) -> str | None:
    """Return the network that a word writes, an address being a network of its own; None if it names something.

    Raises UsageError if it can only be meant as a network, and is none.
    """
    try:
        meant = ip_interface(word)
    except ValueError:
        if _ADDRESS.fullmatch(word):
            raise UsageError(
                f"{safe(word)!r} is no address and no network.", "Write 203.0.113.0/24 or 2001:db8::/32."
            ) from None
        return None
    if "%" in word:
        raise UsageError(
            f"{safe(word)!r} is an address of this computer's links alone.", "Leave out the % and what follows."
        )
    if "/" in word and meant.ip != meant.network.network_address:
        raise UsageError(
            f"{safe(word)} is an address in a network, not a network; nothing was done.",
            f"Write {meant.network} for the network, or {meant.ip} for the address alone.",
        )
    return str(meant.network)


def _rule(context: Context, provider: Provider, group: Item) -> Rule:
    """Return the rule that is asked for."""
    peer, protocol = _peer(context, provider, group), _protocol(context.args["protocol"].lower())
    protocol = "icmpv6" if protocol == "icmp" and ":" in peer else protocol
    ports = _ports(context.args["port"].lower(), protocol)
    return {"way": "in", "protocol": protocol, "ports": ports, "peer": peer, "description": None}


def _peer(context: Context, provider: Provider, group: Item) -> str:
    """Return the network that is asked for, else the id of the group, or what else the cloud knows by the word."""
    word = context.args["from"]
    if (network := _source(word)) is not None:
        return network
    if secgroups(provider).is_peer(word) or any(rule["peer"] == word for rule in group["rules"]):  # or it is gone
        return str(word)
    return str(SECGROUP.value(find(context, SECGROUP, word), "id"))


def _of(group: Item, rule: Rule) -> Rule | None:
    """Return the rule of a group that is the same, None if it has none."""
    return next((one for one in group["rules"] if _key(one) == _key(rule)), None)


def _key(rule: Rule) -> tuple[str, ...]:
    return rule["way"], rule["protocol"], rule["ports"], _network(rule["peer"])


def _network(peer: str) -> str:
    try:
        return str(ip_network(peer))
    except ValueError:
        return peer


def _includes(wider: Rule, rule: Rule) -> bool:
    """Return whether a rule of a group opens what another opens, and more, to the same peer."""
    if (
        wider["way"] != "in"
        or _network(wider["peer"]) != rule["peer"]
        or wider["protocol"] not in ("all", rule["protocol"])
    ):
        return False
    if wider["ports"] == "all" or rule["ports"].startswith(f"{wider['ports']}/"):  # a type of ICMP has all its codes
        return True
    outer, inner = _range(wider["ports"]), _range(rule["ports"])
    return outer is not None and inner is not None and outer[0] <= inner[0] and inner[1] <= outer[1]


def _range(ports: str) -> tuple[int, int] | None:
    found = _PORTS.fullmatch(ports)
    return (int(found[1]), int(found[2] or found[1])) if found else None
