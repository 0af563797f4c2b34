"""The commands that only VMs have."""

from backend.commands.model import Command, Param, one_of
from backend.commands.tagging import tag_commands
from backend.kinds.vm import VM, actions, boot, protection
from backend.kinds.vm.actions import DELETE, REBOOT, START, STOP
from backend.kinds.vm.preview import deleting, stopping
from backend.lifecycle import GONE, Action

_VM = one_of(VM)


def _act(action: Action, help: str, key: str) -> Command:
    return Command(
        ("vm", action.verb),
        help,
        actions.do(action),
        params=(_VM,),
        effect="destroys" if action is DELETE else "changes",
        key=key,
        on=("vm",),
        impossible_in=action.impossible_in,
        preview=_PREVIEWS.get(action.verb),
        probe=actions.probe(action),
    )


_PREVIEWS = {"delete": deleting, "stop": stopping}


def _protection(on: bool) -> Command:
    return Command(
        ("vm", "protect" if on else "unprotect"),
        "Protect a VM from being deleted" if on else "Lift a VM's protection from being deleted",
        protection.protect(on),
        params=(_VM,),
        effect="changes",
        key="p" if on else "P",
        minor=True,
        on=("vm",),
        impossible_in=GONE,
        needs="termination protection",
        lifts_guard=not on,
        probe=protection.probe(on),
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        ("vm", "boot"),
        "Boot a VM from an image",
        boot.boot,
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
                "Flavor (at EC2: t2.micro …)",
                "option",
                kind="flavor",
                default=lambda session: session.cloud.flavor or None,
            ),
            Param(
                "location",
                "Availability zone; the region itself lets the cloud choose",
                "option",
                kind="location",
                default=lambda session: session.cloud.location,
            ),
            Param(
                "keypair",
                "Keypair to log in with",
                "option",
                kind="keypair",
                offer=(
                    "keypair create",
                    "Create it, and the VM is booted then; or cancel, and nothing is booted.",
                ),
                default=lambda session: session.cloud.default.keypair,
            ),
            Param("dry-run", "Ask the cloud whether you may, and boot nothing", "switch", needs="dry runs", dry=True),
        ),
        effect="changes",
        key="b",
        on=("vm", "image"),
        probe=boot.probe,
        resend=boot.boot_again,
    ),
    _act(START, "Start a stopped VM", "u"),
    _act(STOP, "Stop a running VM; its volumes stay, and are still billed", "t"),
    _act(REBOOT, "Reboot a running VM", "o"),
    _act(DELETE, "Terminate a VM; it cannot be brought back", "d"),
    _protection(True),
    _protection(False),
    *tag_commands(VM),
)
