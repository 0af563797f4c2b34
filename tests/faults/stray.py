"""Stray bytes, which no user typed, sent to the dashboard in a real terminal: their effect on it and on the cloud."""

import random
import signal
from collections.abc import Callable, Iterator

from tests.faults.model import Ground, Section
from tests.faults.scene import Scene, staged
from tests.tui.shell import Shell
from tests.tui.terminal import Terminal

_UNTYPABLE = [*range(0x80, 0x100), 0]
_CUT = [
    b"\x1b[",
    b"\x1bO",
    b"\x1b[1;5",
    b"\x1b[<0;12;",
    b"\x1b[M",
    b"\x1b[M d",
    b"\x1b]11;rgb:",
    b"\x1bP>|x",
    b"\x1b[20",
    b"\xe2\x82",
]
_CODES = [1114112, 55296, 99999999, "9" * 40, "100:68;5:1", "-1", "100;;27", "100;;1114112", "d"]
_KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "random bytes, none of them typable": lambda dice: bytes(dice.choice(_UNTYPABLE) for _ in range(64)),
    "Latin-1 text": lambda dice: bytes(dice.randrange(0xC0, 0x100) for _ in range(8)),
    "mouse reports of X10, at any column": lambda dice: b"".join(
        b"\x1b[M" + bytes([dice.randrange(32, 100), dice.randrange(32, 256), dice.randrange(32, 256)]) for _ in range(8)
    ),
    "cut-off escape sequences": lambda dice: dice.choice(_CUT),
    "impossible key codes": lambda dice: f"\x1b[{dice.choice(_CODES)}u".encode(),
    "sequences that mean nothing": lambda dice: f"\x1b[{dice.randrange(300, 999)};{dice.choice('12')}z".encode(),
    "a paste without its end": lambda dice: b"\x1b[200~" + dice.choice([b"", b"dy\r", b"d\ry" * 400]),
}
_DICE = random.Random(14)  # noqa: S311 - the same each time
ENDED = 143
"""The exit status after SIGTERM."""
_READS = "Describe"
"""What the calls that change nothing begin with."""


def sections(ground: Ground) -> Iterator[Section]:
    """Yield the result of each kind of stray input."""
    section = Section(
        "Stray input",
        "Bytes are written to the terminal of a dashboard whose cursor is on a VM. After each of them `?` must open "
        "the help. At the end SIGTERM comes while the terminal is not read: the dashboard must exit with 143 and "
        "restore the terminal.",
        ("input", "times", "answered a key afterwards", "calls that changed something"),
    )
    with staged(ground) as scene:
        shell = Shell(ground.folder, ground.folder / "data")
        shell.configure(scene.proxy.endpoint, "memory")
        environment = {**shell.environment, "TERM": "xterm-256color"}
        with Terminal(ground.folder, "--cloud", "east", cwd=shell.config.parent, **environment) as terminal:
            terminal.sees("images")
            terminal.type("3")
            terminal.sees("vm-x")
            for name, made in _KINDS.items():
                _try(section, scene, terminal, name, [made(_DICE) for _ in range(20 if ground.long else 2)])
            terminal.stall()
            terminal.process.send_signal(signal.SIGTERM)
            status = terminal.process.wait(10)
            terminal.settles()
            if status != ENDED or not terminal.restored():
                section.bad.append(f"It ended with {status}, or left the terminal changed.")
    yield section


def _try(section: Section, scene: Scene, terminal: Terminal, name: str, inputs: list[bytes]) -> None:
    asked = len(scene.proxy.asked)
    answered = 0
    for one in inputs:
        terminal.type(one)
        terminal.settles(0.7)  # what is held of it is given up
        try:
            terminal.insist("?", lambda: "Help" in terminal.text)
            terminal.insist("\x1b", lambda: "Help" not in terminal.text)
            answered += 1
        except AssertionError:
            section.bad.append(f"{name}: no key was answered after {one!r}")
            break
    changed = [call for call in scene.proxy.asked[asked:] if not call.startswith(_READS)]
    section.rows.append((name, str(len(inputs)), str(answered), str(len(changed))))
    if changed:
        section.bad.append(f"{name}: it did {', '.join(changed)}")
