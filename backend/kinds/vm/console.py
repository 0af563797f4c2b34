"""`vm console`: the last output of a VM's console, as lines to read."""

import re

from backend.commands.common import label, present
from backend.commands.model import Command, Context, Result, one_of
from backend.format import cell, counted
from backend.kinds.model import Column
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.providers.protocol import Item

_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b\n]*+(?:\x07|\x1b\\)|[ -/]*+[0-Z\\^-~])")
"""The control sequences of a terminal (ECMA-48): CSI, such as colours; OSC, such as titles; and shorter ones. Each
repetition is possessive, so the time is linear, whatever the VM writes."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All control characters except tab and newline."""


def console(context: Context) -> Result:
    """Return what a VM last wrote to its console."""
    provider, vm = present(context, VM, context.args["vm"])
    output, at = vms(provider).console(vm["id"])
    text, named = plain(output[-_LONGEST:]), _named(vm)
    when = f", as of {cell(at, _TIME)} UTC" if at else ""
    if not text:
        return Result(f"The cloud has no console output of {named}{when}.", kind=VM)
    fields = (("id", vm["id"]), ("name", vm.get("name")), ("time", at))
    lines = counted(text.count("\n") + 1, "line")
    return Result(f"Console of {named}{when}: {lines}.", kind=VM, fields=fields, text=text)


_TIME = Column("time", "Time", "time")
_LONGEST = 65_536
"""At most the last N characters are shown, however many the cloud keeps."""


def _named(vm: Item) -> str:
    return label(vm.get("name"), vm["id"])


def plain(output: str) -> str:
    """Remove all control characters except tabs; keep the last text of a line that was overwritten."""
    lines = _SEQUENCES.sub("", output).replace("\r\n", "\n").split("\n")
    kept = (next((part for part in reversed(line.split("\r")) if part.strip()), "") for line in lines)
    return "\n".join(_CONTROLS.sub("", line).rstrip() for line in kept).strip("\n")


COMMANDS: tuple[Command, ...] = (
    Command(
        ("vm", "console"),
        "Show the last output of a VM's console",
        console,
        params=(one_of(VM),),
        key="l",
        minor=True,
        on=("vm",),
        opens=True,
        needs="console output",
    ),
)
