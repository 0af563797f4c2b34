"""The commands that only security groups have."""

from dataclasses import replace

from backend.commands.model import Command, Param, one_of
from backend.commands.tagging import tag_commands
from backend.kinds.secgroup import SECGROUP
from backend.kinds.secgroup.groups import create, delete, deleting, probe_create, probe_delete
from backend.kinds.secgroup.rules import PROTOCOLS, allow, check, probe_allow, probe_revoke, revoke


def _opening(verb: str, help: str, key: str) -> Command:
    run, probe = (allow, probe_allow) if verb == "allow" else (revoke, probe_revoke)
    return Command(
        (SECGROUP.name, verb),
        help,
        run,
        params=(
            replace(one_of(SECGROUP), word="GROUP"),
            Param("port", "22, 8000-8080 or all; of icmp a type, or type/code: 8, 3/4", required=True, known=("all",)),
            Param(
                "from",
                "203.0.113.0/24, an address or a group; 0.0.0.0/0: the internet",
                "option",
                kind=SECGROUP.name,
                required=True,
                word="SOURCE",
            ),
            Param(
                "protocol",
                "tcp, udp, icmp, icmpv6, all or a number: 50",
                "option",
                default=lambda _session: "tcp",
                known=PROTOCOLS,
            ),
        ),
        check=check,
        effect="changes",
        key=key,
        on=(SECGROUP.name,),
        probe=probe,
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        (SECGROUP.name, "create"),
        "Create a security group that lets nothing in",
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
