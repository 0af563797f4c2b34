"""The security groups: rules that say who may connect to VMs, and to which ports."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any, Protocol

from backend.commands.common import absent, label, listed, present, with_row, written
from backend.commands.lookup import find, id_of
from backend.commands.model import Command, Context, Param, Result, one_of
from backend.commands.preview import Preview, Target
from backend.commands.production import check_production, is_production
from backend.commands.tagging import tag_commands
from backend.errors import Cancelled, CloudError, RefusedError, UnknowableError, UsageError
from backend.format import counted
from backend.kinds.model import TAGS, Column, Kind, id_column, name_column
from backend.lifecycle import state_of
from backend.providers.protocol import Item, Page, Provider
from backend.providers.registry import is_id
from backend.text import safe

SECGROUP = Kind(
    "secgroup",
    "secgroups",
    (
        name_column(20),
        id_column(),
        Column("description", "Description", width=32),
        Column("ports", "Open ports", "list", 48, help="Who may connect to what; the details have all rules"),
        Column("network", "Network", width=21, help="The VPC"),
        TAGS,
    ),
    max_age=60,
    by_row=True,
    empty="No security groups here. c creates one; r refreshes.",
    aliases=("security-group", "security-groups", "sg", "sgs", "firewall", "firewalls"),
    word="security group",
)

Rule = Mapping[str, Any]
"""way ("in", "out"), protocol ("tcp", "all" …), ports ("22", "8000-8080", "all"), peer, description (None: none).

The peer is who is let in, or reached: a network, the id of a group, or what `is_peer` knows.
"""

WORLD = ("0.0.0.0/0", "::/0")


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
        """Create a group in a network, None for the default one; the item may lack what the cloud gives it."""
        ...

    def delete(self, group: str) -> None: ...
    def is_peer(self, word: str) -> bool:
        """Return whether a word names a peer that no listing has: a list of networks, a group of another account."""
        ...

    def allow(self, group: Item, rule: Rule) -> Item:
        """Add a rule to a group and return the group as it is then."""
        ...

    def revoke(self, group: Item, rule: Rule) -> Item:
        """Remove a rule from a group and return the group as it is then."""
        ...


def secgroups(provider: Provider) -> SecurityGroups:
    """Return the security groups of a cloud."""
    face: SecurityGroups = provider.of(SECGROUP.name)
    return face


# --- creating and deleting -------------------------------------------------------------------------------------------


def create(context: Context) -> Result:
    """Create a security group, which lets nothing in."""
    name, network = context.args["name"], context.args["network"]
    if is_id(name):
        raise RefusedError(f"{safe(name)} would be read as the id of a security group, so it is no name for one.")
    provider = context.connect()
    before = [item["id"] for item in _called(provider, name)]
    context.check()
    context.journal.sending(name=name, network=network, before=before)
    return _created(context, provider, secgroups(provider).create(name, context.args["description"], network))


def probe_create(context: Context) -> Result | None:
    """Find the group that a request whose answer was lost has created."""
    sent, provider = context.journal.request, context.connect()
    new = [
        item
        for item in _called(provider, sent["name"])
        if item["id"] not in sent["before"] and sent["network"] in (None, item["network"])
    ]
    if len(new) > 1:
        ids = ", ".join(item["id"] for item in new)
        raise UnknowableError(
            f"{len(new)} security groups {safe(sent['name'])} are new: {ids}.", "Delete what is too much."
        )
    return _created(context, provider, new[0]) if new else None


def _created(context: Context, provider: Provider, item: Item) -> Result:
    native = str(item["id"])
    context.journal.objects.append(native)
    try:
        made = listed(provider, SECGROUP, native) or item  # with its network, and the rules that it begins with
    except (CloudError, Cancelled):  # it was created all the same
        made = item
    return with_row(
        context,
        SECGROUP,
        native,
        Result(f"Security group {label(item['name'], native)} created; it lets nothing in yet."),
        lambda: context.session.cache.rows.put(SECGROUP, context.session.scope, [made], made=True),
    )


def _called(provider: Provider, name: str) -> list[Item]:
    return [item for page in secgroups(provider).list(name=name) for item in page if item["name"] == name]


def delete(context: Context) -> Result:
    """Delete a security group; the cloud refuses it while something uses it."""
    provider, group = present(context, SECGROUP, context.args["secgroup"], fresh=True)
    native = str(group["id"])
    if group.get("default"):
        raise RefusedError(f"{label(group['name'], native)} is {_DEFAULT}; nothing was done.")
    check_production(context, SECGROUP, group)
    context.check()
    context.journal.sending(native, name=group["name"])
    secgroups(provider).delete(native)
    return _deleted(context, native)


def probe_delete(context: Context) -> Result | None:
    """Find out whether a security group is gone."""
    (native,) = context.journal.objects
    return _deleted(context, native) if listed(context.connect(), SECGROUP, native) is None else None


def _deleted(context: Context, native: str) -> Result:
    named = label(context.journal.request["name"], native)
    return written(
        Result(f"Security group {named} deleted.", kind=SECGROUP),
        lambda: context.session.cache.rows.remove(SECGROUP, context.session.scope, [native]),
    )


_DEFAULT = "the default group of its network, which cannot be deleted"


def deleting(context: Context, ids: Sequence[str]) -> Preview:
    """Return what deleting these security groups would do."""
    provider = context.connect()
    items = {str(item["id"]): item for page in secgroups(provider).list() for item in page}  # all: rules name groups
    context.session.cache.rows.put(SECGROUP, context.session.scope, items.values())
    targets = []
    for native in dict.fromkeys(id_of(context, SECGROUP, word) for word in ids):
        if native in items:
            targets.append(_target(context, provider, items[native], items))
        else:
            targets.append(absent(context, SECGROUP, native))
    going = sum(not one.left_out for one in targets)
    total = f"{counted(going, 'security group')} would be deleted, with all rules."
    return Preview(tuple(targets), (total,) if going else ())


def _target(context: Context, provider: Provider, group: Item, groups: Mapping[str, Item]) -> Target:
    native = str(group["id"])
    vms = [vm for page in secgroups(provider).vms(native) for vm in page if state_of(vm) != "terminated"]
    users = ", ".join(label(vm.get("name"), vm["id"]) for vm in vms)
    others = [one for one in groups.values() if one["id"] != native]
    referring = [one for one in others if any(rule["peer"] == native for rule in one["rules"])]
    referrers = ", ".join(label(one["name"], one["id"]) for one in referring)
    why = _DEFAULT if group.get("default") else f"it is used by {users}" if users else ""
    if referrers and not why:
        why = f"rules of {referrers} name it; close those first"
    production = is_production(group, context.session.settings.production)
    return Target(
        native,
        safe(str(group["name"] or native)),
        (
            ("Description", safe(str(group.get("description") or "none"))),
            ("Lets in", safe(", ".join(group["ports"])) or "nothing"),
            ("Network", safe(str(group.get("network") or "unknown"))),
            ("Used by", users or "no VM"),
            ("Named by rules of", referrers or "no other group"),
        ),
        warnings=("It is tagged as production.",) if production else (),
        left_out=f"it is {why}" if why is _DEFAULT else why,
        production=production,
    )


# --- opening and closing ports ---------------------------------------------------------------------------------------


def allow(context: Context) -> Result:
    """Open a port of a security group for a network or another group."""
    ports = _ports(context)
    provider, group = present(context, SECGROUP, context.args["secgroup"])
    rule = _rule(context, provider, ports, group)
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
    ports = _ports(context)
    provider, group = present(context, SECGROUP, context.args["secgroup"])
    rule = _rule(context, provider, ports, group)
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
    protocol = rule["protocol"].removesuffix("v6")
    more = ["--protocol", protocol] if protocol != "tcp" else []
    return shlex.join([SECGROUP.name, verb, group["id"], rule["ports"], "--from", rule["peer"], *more])


def _said(rule: Rule) -> str:
    what = "all traffic" if rule["protocol"] == "all" else f"{rule['protocol']} {rule['ports']}"
    return f"{safe(what)} from {safe(rule['peer'])}"


# --- what is asked for -----------------------------------------------------------------------------------------------

PROTOCOLS = ("tcp", "udp", "icmp", "all")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_LAST = 65_535
_ADDRESS = re.compile(r"[\da-f.:]*[.:][\da-f.:]*(?:/.*)?|\d+/\d+", re.IGNORECASE | re.ASCII)
"""What can only be meant as an address or a network."""


def _ports(context: Context) -> str:
    """Return the ports that are asked for, as a rule has them. Raises UsageError."""
    word, protocol = context.args["port"].lower(), context.args["protocol"].lower()
    if protocol not in PROTOCOLS:
        raise UsageError(f"{safe(protocol)!r} is no protocol of a rule.", f"Known: {', '.join(PROTOCOLS)}.")
    if word == "all":
        return "all"
    if protocol in ("icmp", "all"):
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


def _rule(context: Context, provider: Provider, ports: str, group: Item) -> Rule:
    """Return the rule that is asked for."""
    peer, protocol = _peer(context, provider, group), context.args["protocol"].lower()
    protocol = "icmpv6" if protocol == "icmp" and ":" in peer else protocol
    return {"way": "in", "protocol": protocol, "ports": ports, "peer": peer, "description": None}


def _peer(context: Context, provider: Provider, group: Item) -> str:
    """Return the network that a word writes, an address being a network of its own; else the id of the group it names.

    Raises UsageError where it can only be meant as a network, and is none.
    """
    word = context.args["from"]
    try:
        meant = ip_interface(word)
    except ValueError:
        if _ADDRESS.fullmatch(word):
            raise UsageError(
                f"{safe(word)!r} is no address and no network.", "Write 203.0.113.0/24 or 2001:db8::/32."
            ) from None
        if secgroups(provider).is_peer(word) or any(rule["peer"] == word for rule in group["rules"]):  # or it is gone
            return str(word)
        return str(SECGROUP.value(find(context, SECGROUP, word), "id"))
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


def _of(group: Item, rule: Rule) -> Rule | None:
    """Return the rule of a group that is the same, None where it has none."""
    return next((one for one in group["rules"] if _key(one) == _key(rule)), None)


def _key(rule: Rule) -> tuple[str, ...]:
    return rule["way"], rule["protocol"], rule["ports"], _network(rule["peer"])


def _network(peer: str) -> str:
    try:
        return str(ip_network(peer))
    except ValueError:
        return peer


def _includes(wider: Rule, rule: Rule) -> bool:
    """Return whether a rule of a group opens the ports of another, and more, to the same peer."""
    if (
        wider["way"] != "in"
        or _network(wider["peer"]) != rule["peer"]
        or wider["protocol"] not in ("all", rule["protocol"])
    ):
        return False
    outer, inner = _range(wider["ports"]), _range(rule["ports"])
    return outer is not None and inner is not None and outer[0] <= inner[0] and inner[1] <= outer[1]


def _range(ports: str) -> tuple[int, int] | None:
    if ports == "all":
        return 0, _LAST
    found = _PORTS.fullmatch(ports)
    return (int(found[1]), int(found[2] or found[1])) if found else None


def _opening(verb: str, help: str, key: str) -> Command:
    run, probe = (allow, probe_allow) if verb == "allow" else (revoke, probe_revoke)
    return Command(
        (SECGROUP.name, verb),
        help,
        run,
        params=(
            replace(one_of(SECGROUP), word="GROUP"),
            Param("port", "22, 8000-8080 or all", required=True),
            Param(
                "from",
                "203.0.113.0/24, an address or a group; 0.0.0.0/0: the internet",
                "option",
                kind=SECGROUP.name,
                required=True,
                word="SOURCE",
            ),
            Param("protocol", "tcp, udp, icmp or all", "option", default=lambda _session: "tcp"),
        ),
        effect="changes",
        key=key,
        on=(SECGROUP.name,),
        probe=probe,
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        (SECGROUP.name, "create"),
        "Create a security group, which lets nothing in",
        create,
        params=(
            Param("name", "Name of the new security group", required=True),
            Param("description", "What it is for", "option", required=True, word="TEXT"),
            Param("network", "The VPC; else the default one", "option", word="VPC"),
        ),
        effect="changes",
        key="c",
        on=(SECGROUP.name,),
        probe=probe_create,
    ),
    Command(
        (SECGROUP.name, "delete"),
        "Delete a security group",
        delete,
        params=(replace(one_of(SECGROUP), word="GROUP"),),
        effect="destroys",
        key="d",
        on=(SECGROUP.name,),
        preview=deleting,
        probe=probe_delete,
    ),
    _opening("allow", "Open a port of a security group", "a"),
    _opening("revoke", "Close a port of a security group", "A"),
    *tag_commands(SECGROUP),
)
