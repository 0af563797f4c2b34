"""COMMANDS: one entry per verb. Keys, palette, command line, shell, help and docs/commands.md are made from it."""

from backend.commands import actions
from backend.commands.model import Command, Param
from backend.kinds import KINDS, Kind

_VM = Param("vm", "Id or unique name of the VM", kind="vm", required=True)

_BUSY = frozenset({"pending", "running"})
_ALIVE = frozenset({"pending", "running", "stopping", "stopped"})


def _of_kind(kind: Kind) -> tuple[Command, Command]:
    return (
        Command(
            (kind.name, "refresh"),
            f"Fetch all {kind.nouns} from the cloud into the cache",
            actions.refresh_kind(kind),
            key="r",
            on=(kind.name,),
            refreshes=kind.name,
        ),
        Command(
            (kind.name, "list"),
            f"List the {kind.nouns}, fetched first when refresh is on",
            actions.list_kind(kind),
            shows=kind.name,
        ),
    )


COMMANDS: tuple[Command, ...] = (
    *(command for kind in KINDS.values() for command in _of_kind(kind)),
    Command(
        ("vm", "boot"),
        "Boot a VM from an image",
        actions.boot,
        params=(
            Param(
                "image",
                "Id of the image",
                kind="image",
                required=True,
                default=lambda session: session.cloud.default.image,
            ),
            Param("name", "Name of the VM", "option"),
            Param(
                "flavor",
                "Flavor, such as t2.micro",
                "option",
                kind="flavor",
                default=lambda session: session.cloud.default.size,
            ),
            Param(
                "location",
                "Availability zone; the region itself lets EC2 choose",
                "option",
                kind="location",
                default=lambda session: session.cloud.default.location,
            ),
            Param(
                "keypair",
                "Keypair to log in with",
                "option",
                kind="keypair",
                default=lambda session: session.cloud.default.keypair,
            ),
        ),
        effect="changes",
        key="b",
        on=("vm", "image"),
    ),
    Command(
        ("vm", "start"),
        "Start a stopped VM",
        actions.act_on_vm("start", lambda provider, vm: provider.start(vm), "starting", frozenset({"stopped"})),
        params=(_VM,),
        effect="changes",
        key="u",
        on=("vm",),
        states=frozenset({"stopped"}),
    ),
    Command(
        ("vm", "stop"),
        "Stop a running VM; its disks stay",
        actions.act_on_vm("stop", lambda provider, vm: provider.stop(vm), "stopping", _BUSY),
        params=(_VM,),
        effect="changes",
        key="t",
        on=("vm",),
        states=_BUSY,
    ),
    Command(
        ("vm", "reboot"),
        "Reboot a running VM",
        actions.act_on_vm("reboot", lambda provider, vm: provider.reboot(vm), "rebooting", frozenset({"running"})),
        params=(_VM,),
        effect="changes",
        key="o",
        on=("vm",),
        states=frozenset({"running"}),
    ),
    Command(
        ("vm", "delete"),
        "Terminate a VM; it cannot be brought back",
        actions.act_on_vm("delete", lambda provider, vm: provider.delete_vm(vm), "being deleted", _ALIVE),
        params=(_VM,),
        effect="destroys",
        key="d",
        on=("vm",),
        states=_ALIVE,
    ),
    Command(
        ("keypair", "get"),
        "Show a keypair and whether its private key is here",
        actions.get_keypair,
        params=(Param("keypair", "Name of the keypair", kind="keypair", required=True),),
        key="g",
        on=("keypair",),
    ),
    Command(
        ("keypair", "create"),
        "Create a keypair and save its private key",
        actions.create_keypair,
        params=(
            Param("name", "Name of the new keypair", required=True),
            Param("to", "File for the private key instead of the data directory's", "option", type="path"),
        ),
        effect="changes",
        key="c",
        on=("keypair",),
    ),
    Command(
        ("keypair", "delete"),
        "Delete a keypair from the cloud",
        actions.delete_keypair,
        params=(Param("keypair", "Name of the keypair", kind="keypair", required=True),),
        effect="destroys",
        key="d",
        on=("keypair",),
    ),
    Command(
        ("volume", "create"),
        "Create an empty volume",
        actions.create_volume,
        params=(
            Param("name", "Name of the new volume", required=True),
            Param("size", "GiB", "option", type="int", default=lambda _session: "1", minimum=1),
            Param(
                "location",
                "Availability zone",
                "option",
                kind="location",
                default=lambda session: session.cloud.default.location,
            ),
        ),
        effect="changes",
        key="c",
        on=("volume",),
    ),
    Command(
        ("volume", "delete"),
        "Delete a volume and all that is on it",
        actions.delete_volume,
        params=(Param("volume", "Id or unique name of the volume", kind="volume", required=True),),
        effect="destroys",
        key="d",
        on=("volume",),
    ),
    Command(("refresh", "all"), "Fetch every kind from the cloud into the cache", actions.refresh_all, key="R"),
    Command(("refresh", "on"), "Fetch what is stale when it is shown or listed", actions.switch_refresh(True)),
    Command(("refresh", "off"), "Show the cache until a refresh is asked for", actions.switch_refresh(False)),
    Command(
        ("set", "default"),
        "Switch to another configured cloud",
        actions.set_default,
        button="Switch",
        params=(Param("cloud", "Name of the cloud in the configuration", "assignment", type="cloud", required=True),),
    ),
)


def command(name: str) -> Command:
    """Return the command of that exact name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {entry.name: entry for entry in COMMANDS}
