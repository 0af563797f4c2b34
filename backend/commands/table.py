"""COMMANDS: one entry per verb. Keys, palette, command line, shell, help and docs/commands.md are made from it."""

from backend.commands import journals, keypairs, listings, previews, recovery, tagging, vms, volumes
from backend.commands.model import Command, Param
from backend.format import GONE
from backend.kinds import KINDS, Kind

_VM = Param("vm", "Id or unique name of the VM", kind="vm", required=True)
_VOLUME = Param("volume", "Id or unique name of the volume", kind="volume", required=True)
_KEYPAIR = Param("keypair", "Name of the keypair", kind="keypair", required=True)


def _of_kind(kind: Kind) -> tuple[Command, ...]:
    return (
        Command(
            (kind.name, "refresh"),
            f"Fetch all {kind.nouns} from the cloud into the cache",
            listings.refresh_kind(kind),
            key="r",
            on=(kind.name,),
            refreshes=kind.name,
        ),
        Command(
            (kind.name, "list"),
            f"List the {kind.nouns}, fetched first when refresh is on",
            listings.list_kind(kind),
            shows=kind.name,
        ),
        Command(
            (kind.name, "export"),
            f"Write {kind.nouns} to a file, .csv or .json",
            listings.export_kind(kind),
            params=(
                Param("file", "File to make: .csv or .json", type="path", required=True),
                Param(
                    "only",
                    "Ids or unique names, joined by commas; else all",
                    "option",
                    kind=kind.name,
                    many=True,
                    word="IDS",
                ),
            ),
            key="e",
            minor=True,
            on=(kind.name,),
            asks=True,
        ),
    )


def _tags(kind: Kind, one: Param) -> tuple[Command, ...]:
    return (
        Command(
            (kind.name, "tag"),
            f"Set a tag of a {kind.noun}",
            tagging.tag(kind),
            params=(one, Param("tag", "The tag and its value", type="tag", required=True)),
            effect="changes",
            key="T",
            minor=True,
            on=(kind.name,),
            look=tagging.came_of_tag(kind),
        ),
        Command(
            (kind.name, "untag"),
            f"Remove a tag of a {kind.noun}",
            tagging.untag(kind),
            params=(one, Param("key", "The tag's key", required=True)),
            effect="changes",
            look=tagging.came_of_tag(kind),
        ),
    )


def _act(act: vms.Act, help: str, key: str) -> Command:
    return Command(
        ("vm", act.verb),
        help,
        act.run,
        params=(_VM,),
        effect="destroys" if act is vms.DELETE else "changes",
        key=key,
        on=("vm",),
        impossible_in=act.impossible_in,
        preview=_PREVIEWS.get(act.verb),
        look=act.came_of,
    )


_PREVIEWS = {"delete": previews.vms, "stop": previews.stops}


def _protection(on: bool) -> Command:
    return Command(
        ("vm", "protect" if on else "unprotect"),
        "Protect a VM from being deleted" if on else "Lift a VM's protection from being deleted",
        vms.protect(on),
        params=(_VM,),
        effect="changes",
        key="p" if on else "P",
        minor=True,
        on=("vm",),
        impossible_in=GONE,
        lifts_guard=not on,
        look=vms.came_of_protect(on),
    )


COMMANDS: tuple[Command, ...] = (
    *(command for kind in KINDS.values() for command in _of_kind(kind)),
    Command(
        ("vm", "boot"),
        "Boot a VM from an image",
        vms.boot,
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
                default=lambda session: session.cloud.flavor or None,
            ),
            Param(
                "location",
                "Availability zone; the region itself lets EC2 choose",
                "option",
                kind="location",
                default=lambda session: session.cloud.location,
            ),
            Param(
                "keypair",
                "Keypair to log in with",
                "option",
                kind="keypair",
                default=lambda session: session.cloud.default.keypair,
            ),
            Param("dry-run", "Ask EC2 whether you may, and boot nothing", "switch", dry=True),
        ),
        effect="changes",
        key="b",
        on=("vm", "image"),
        look=vms.came_of_boot,
        resend=vms.boot_again,
    ),
    _act(vms.START, "Start a stopped VM", "u"),
    _act(vms.STOP, "Stop a running VM; its volumes stay, and are still billed", "t"),
    _act(vms.REBOOT, "Reboot a running VM", "o"),
    _act(vms.DELETE, "Terminate a VM; it cannot be brought back", "d"),
    _protection(True),
    _protection(False),
    *_tags(KINDS["vm"], _VM),
    Command(
        ("keypair", "get"),
        "Show a keypair and whether its private key is here",
        keypairs.get,
        params=(_KEYPAIR,),
        key="g",
        on=("keypair",),
    ),
    Command(
        ("keypair", "create"),
        "Create a keypair and save its private key",
        keypairs.create,
        params=(
            Param("name", "Name of the new keypair", required=True),
            Param("to", "File for the private key instead of the data directory's", "option", type="path"),
        ),
        effect="changes",
        key="c",
        on=("keypair",),
        look=keypairs.came_of_create,
    ),
    Command(
        ("keypair", "delete"),
        "Delete a keypair from the cloud",
        keypairs.delete,
        params=(_KEYPAIR,),
        effect="destroys",
        key="d",
        on=("keypair",),
        preview=previews.keypairs,
        look=keypairs.came_of_delete,
    ),
    Command(
        ("volume", "create"),
        "Create an empty volume",
        volumes.create,
        params=(
            Param("name", "Name of the new volume", required=True),
            Param("size", "GiB", "option", type="int", default=lambda _session: "1", minimum=1),
            Param(
                "location",
                "Availability zone",
                "option",
                kind="location",
                default=lambda session: session.cloud.location,
            ),
        ),
        effect="changes",
        key="c",
        on=("volume",),
        look=volumes.came_of_create,
        resend=volumes.create_again,
    ),
    Command(
        ("volume", "delete"),
        "Delete a volume and all that is on it",
        volumes.delete,
        params=(_VOLUME,),
        effect="destroys",
        key="d",
        on=("volume",),
        preview=previews.volumes,
        look=volumes.came_of_delete,
    ),
    Command(
        ("volume", "attach"),
        "Attach a volume to a VM",
        volumes.attach,
        params=(
            _VOLUME,
            _VM,
            Param("device", "Name of the device, such as /dev/sdf; else the first that is free", "option"),
        ),
        effect="changes",
        key="a",
        on=("volume",),
        impossible_in=frozenset({"in-use", "deleting", "deleted"}),
        look=volumes.came_of_attach,
    ),
    Command(
        ("volume", "detach"),
        "Detach a volume from its VM; unmount it there first",
        volumes.detach,
        params=(
            _VOLUME,
            Param(
                "vm",
                "Id or unique name of the VM, where it is attached to several",
                "option",
                kind="vm",
                asked=volumes.is_shared,
            ),
        ),
        effect="changes",
        key="A",
        on=("volume",),
        impossible_in=frozenset({"creating", "available", "deleting", "deleted"}),
        look=volumes.came_of_detach,
    ),
    *_tags(KINDS["volume"], _VOLUME),
    Command(
        ("journal", "list"),
        "Show what was done to the clouds, by whom and how it ended",
        journals.list_entries,
        params=(
            Param("last", "So many entries, the newest", "option", type="int", default=lambda _: "1000", minimum=1),
        ),
        key="J",
        shows="journal",
    ),
    Command(
        ("journal", "resume"),
        "Run what an earlier run left unfinished",
        recovery.resume,
        params=(Param("only", "Ids of their entries, joined by commas; else all", "option", word="IDS"),),
        effect="destroys",
        preview=recovery.preview,
        journalled=False,
    ),
    Command(
        ("journal", "drop"),
        "Give up what an earlier run left unfinished",
        recovery.drop,
        effect="changes",
        journalled=False,
    ),
    Command(
        ("refresh", "all"),
        "Fetch every kind from the cloud into the cache",
        listings.refresh_all,
        key="R",
        refreshes="all",
    ),
    Command(
        ("refresh", "on"), "Fetch what is stale when it is shown or listed", listings.switch_refresh(True), sets=True
    ),
    Command(
        ("refresh", "off"), "Show the cache until a refresh is asked for", listings.switch_refresh(False), sets=True
    ),
    Command(
        ("set", "default"),
        "Switch to another configured cloud",
        listings.set_default,
        sets=True,
        button="Switch",
        params=(Param("cloud", "Name of the cloud in the configuration", "assignment", type="cloud", required=True),),
    ),
)


def command(name: str) -> Command:
    """Return the command of that exact name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {entry.name: entry for entry in COMMANDS}
