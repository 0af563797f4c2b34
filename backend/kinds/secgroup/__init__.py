"""The security groups: rules that say who may connect to VMs, and to which ports. Light to import."""

from backend.kinds.model import TAGS, Column, Kind, id_column, name_column

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
