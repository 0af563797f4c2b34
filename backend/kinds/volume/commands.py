"""The commands that only volumes have."""

from collections.abc import Callable, Sequence

from backend.commands.model import Command, Param, one_of
from backend.commands.tagging import tag_commands
from backend.kinds.model import Ref, Row
from backend.kinds.vm import VM
from backend.kinds.volume import VOLUME
from backend.kinds.volume.actions import (
    attach,
    create,
    create_again,
    delete,
    detach,
    is_shared,
    probe_attach,
    probe_create,
    probe_delete,
    probe_detach,
)
from backend.kinds.volume.preview import deleting
from backend.text import safe

_DETACH = "A"


def _in_use(row: Row, named: Callable[[str, Ref], str]) -> str:
    holders: Sequence[str] = VOLUME.value(row, "vm") or ()
    users = ", ".join(safe(named(VM.name, Ref(VOLUME.scope(row), vm))) for vm in holders)
    return f"is in use by {users}; {_DETACH} detaches it" if users else ""


COMMANDS: tuple[Command, ...] = (
    Command(
        ("volume", "create"),
        "Create an empty volume",
        create,
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
        probe=probe_create,
        resend=create_again,
    ),
    Command(
        ("volume", "delete"),
        "Delete a volume and all that is on it",
        delete,
        params=(one_of(VOLUME),),
        effect="destroys",
        key="d",
        on=("volume",),
        preview=deleting,
        probe=probe_delete,
    ),
    Command(
        ("volume", "attach"),
        "Attach a volume to a VM",
        attach,
        params=(
            one_of(VOLUME),
            one_of(VM),
            Param("device", "Name of the device, such as /dev/sdf; else the first that is free", "option"),
        ),
        effect="changes",
        key="a",
        hindrance=_in_use,
        on=("volume",),
        impossible_in=frozenset({"in-use", "deleting", "deleted"}),
        probe=probe_attach,
    ),
    Command(
        ("volume", "detach"),
        "Detach a volume from its VM; unmount it there first",
        detach,
        params=(
            one_of(VOLUME),
            Param(
                "vm",
                "Id or unique name of the VM, where it is attached to several",
                "option",
                kind="vm",
                asked=is_shared,
            ),
        ),
        effect="changes",
        key=_DETACH,
        on=("volume",),
        impossible_in=frozenset({"creating", "available", "deleting", "deleted"}),
        probe=probe_detach,
    ),
    *tag_commands(VOLUME),
)
