"""Judges each change of the cloud: was it confirmed on a readable dialog, or typed?"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.ec2_proxy import Call

READY_FOR = 0.8
"""Seconds from the painting of a destroying dialog to a key that may confirm it."""

LATE = 0.3
"""Seconds after a key was read by the program, within which it may count as typed later: a busy machine is slow."""

LEAST = (60, 16)
"""Columns and lines of the smallest terminal on which anything is confirmed."""

CONFIRMING = re.compile(rb"[\ry\n ]|\x1b\[<0;\d+;\d+M")
"""Enter, y, space on a button, and a click."""

_ON_ROWS = frozenset(
    [
        "vm start",
        "vm stop",
        "vm reboot",
        "vm delete",
        "vm protect",
        "vm unprotect",
        "keypair delete",
        "volume delete",
        "volume detach",
    ]
)
"""The commands whose dialogs must show the name or the id of their objects."""

_DESTROYS = frozenset(("vm delete", "keypair delete", "volume delete", "journal resume"))


@dataclass(frozen=True)
class Window:
    """A window on the screen."""

    title: str
    body: str

    def shows(self, words: Iterable[str]) -> bool:
        """Return whether one of the words can be read in it; a long one may be broken into lines."""
        text = "".join(self.body.split())
        return any("".join(word.split()) in text for word in words if word)

    @property
    def many(self) -> bool:
        """Whether it has several objects, which may be more than it shows."""
        return re.search(r"\b(?:\w+) \d+\s*$", self.body.strip().splitlines()[-1]) is not None if self.body else False


def window_on(cells: Sequence[Sequence[str]]) -> Window | None:
    """Return the window on a screen, the one in front if there are two; None if there is none."""
    found = None
    lines = ["".join(cell or " " for cell in row) for row in cells]
    for y, line in enumerate(lines):
        for match in re.finditer(r"[╭┌┏╔]─? ?(\w[^─╭╮]*?) [─]*[╮┐┓╗]", line):
            left, right = match.start() + 1, match.end() - 1
            inside = []
            for below in lines[y + 1 :]:
                if below[left - 1 : left] in ("╰", "└", "┗", "╚"):
                    break
                inside.append(below[left:right])
            found = Window(match[1].strip(), "\n".join(inside))
    return found


@dataclass
class Shown:
    """A window during the time that it was seen without a break."""

    window: Window
    not_before: float
    """The last moment at which it was certainly not on the screen."""
    carried: set[str] = field(default_factory=set)
    """The commands that it has confirmed."""


@dataclass
class Sent:
    """A write to a terminal, with what was on its screen before."""

    data: bytes
    began: float
    """Right before it."""
    ended: float
    """Right after it."""
    shown: Shown | None
    size: tuple[int, int]
    line: str = ""
    """The text in the command line."""
    calm: bool = False
    """For long before it, no window was open and nothing was typed."""
    read_by: float | None = None
    """When the program had certainly read all of it."""
    next: Shown | None = None
    """The first window that was seen after it, if none was before."""
    carried: set[str] = field(default_factory=set)


def unasked(entry: Mapping[str, Any], sent: Sequence[Sent]) -> str:
    """Return why a command of the journal was not asked for by what was sent to its dashboard; "" if it was.

    What confirms one command confirms no second one like it.
    """
    command, at = str(entry["command"]), entry["at"].timestamp() + 0.002  # the journal keeps milliseconds
    why = "nothing was typed that confirms it"
    for one in reversed(sent):
        if one.began > at or not CONFIRMING.search(one.data):
            continue
        if _typed(command, one) and command not in one.carried:
            one.carried.add(command)
            return ""
        shown = one.shown or one.next
        if shown is None or not _fits(shown.window, entry) or command in shown.carried:
            continue
        if flaw := _flaw(command, entry, one, shown):
            why = f"{flaw} ({one.data[-40:]!r})"
            continue
        shown.carried.add(command)
        return ""
    return why


def _typed(command: str, one: Sent) -> bool:
    if command.startswith(tuple(_DESTROYS)):
        return False
    text = one.data.decode(errors="replace")
    return (
        f":{command}\r" in text
        or (one.line.strip() == command and "\r" in text)
        or re.search(r":.*(?:\x1b\[[AB]|\t).*\r", text, re.DOTALL) is not None
        or (bool(one.line) and re.search(r"(?:\x1b\[[AB]|\t).*\r", text, re.DOTALL) is not None)
        or (bool(one.line) and f"{one.line.strip()}{text}".startswith(f"{command}\r"))
    )


def _fits(window: Window, entry: Mapping[str, Any]) -> bool:
    command = str(entry["command"])
    name = " ".join(command.split()[:2])
    return (
        window.title == name
        or window.title.startswith(f"{name}:")
        or (window.title.startswith("Undo") and window.shows([command]))
        or (name == "vm boot" and window.title == "keypair create")
        or window.title == "journal resume"
    )


def _flaw(command: str, entry: Mapping[str, Any], one: Sent, shown: Shown) -> str:
    name = " ".join(command.split()[:2])
    if one.size[0] < LEAST[0] or one.size[1] < LEAST[1]:
        return f"it was confirmed on a terminal of {one.size[0]}×{one.size[1]}"
    if name in _DESTROYS and one.ended - shown.not_before < READY_FOR:
        return f"its dialog had not stood there for {READY_FOR} s"
    if one.shown is None and one.calm:
        return "it was opened and confirmed by one write"
    if one.shown is None and one.read_by is not None and shown.not_before > one.read_by + LATE:
        return "it was confirmed by what was typed before the dialog was there"
    objects = [*command.split()[2:3], *entry["objects"], str((entry.get("request") or {}).get("name") or "")]
    if name in _ON_ROWS and one.shown is not None and not shown.window.many and not shown.window.shows(objects):
        return "neither name nor id could be read"
    return ""


def strays(calls: Iterable[Call], entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the calls that changed the cloud and are of no command in the journal."""
    known: set[str] = set()
    for entry in entries:
        known |= {str(entry["_id"]), *map(str, entry["objects"]), *str(entry["command"]).split()}
        known |= {str(value) for value in (entry.get("request") or {}).values()}
    named = ("ClientToken", "InstanceId", "InstanceId.1", "VolumeId", "KeyName", "KeyPairId", "ResourceId.1")
    return [
        f"{call.action} {call.params}"
        for call in writes(calls)
        if not known & {call.params[name] for name in named if name in call.params}
    ]


def writes(calls: Iterable[Call]) -> list[Call]:
    """Return the calls that changed the cloud, or could have."""
    return [
        call
        for call in calls
        if call.passed and not call.action.startswith(("Describe", "Get")) and call.params.get("DryRun") != "true"
    ]
