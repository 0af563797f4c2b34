"""The input of the monkey test: an endless sequence of groups, the same for the same seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

How = Literal["write", "resize", "freeze", "stall", "suspend", "fault", "pause"]


@dataclass(frozen=True)
class Group:
    """A step of the monkey: what reaches the terminal in one write, or what is done to it."""

    who: int
    """The dashboard, by its number."""
    how: How
    data: bytes = b""
    """What is written; {image} stands for an image's id."""
    size: tuple[int, int] = (0, 0)
    """Columns and lines."""
    wait: float = 0.05
    """Seconds to read the screens after it."""
    calm: bool = False
    """Nothing is typed, and no window is open, for a while before it: what it opens it opens by itself."""
    fault: str = ""
    """What the cloud does from now on."""

    def __str__(self) -> str:
        what = {"resize": f"{self.size[0]}×{self.size[1]}", "fault": self.fault}.get(self.how, "")
        many = f"{self.data[:40]!r} … {self.data[-8:]!r}" if len(self.data) > 60 else repr(self.data)
        return f"dashboard {self.who}: {self.how} {what or many}{' after a rest' if self.calm else ''}"


UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"
_NAMED = (UP, DOWN, RIGHT, LEFT, b"\x1b[5~", b"\x1b[6~", b"\x1b[H", b"\x1b[F", b"\t", b"\x1b[Z", b"\x7f", b"\x10")
_PLAIN = [bytes([code]) for code in b"123456abcdeghijklmnoprstuxyzACFJPRST/:?* y  "]  # not q, which is quit: see LEAVE
_ANY = (*_NAMED, b"\r", b"\r", b"\x1b", b"\x1b", *_PLAIN)

LEAVE = b"\x1b[201~" + b"\x1b" * 2

_LINES = (
    "vm boot {image} --name m-{number}",
    "volume create m-{number} --size 1",
    "keypair create m-{number}",
    "vm stop vm-",
    "vm start vm-",
    "vm reboot vm-x",
    "vm delete vm-xx",
    "vm tag vm-x turn={number}",
    "volume delete volume-{digit}",
    "volume attach volume-{digit} vm-x",
    "volume detach volume-{digit}",
    "refresh all",
    "refresh off",
    "refresh on",
    "journal list",
    "journal drop",
    "volume list",
    "vm list",
    "nonsense",
)

_TASKS: tuple[tuple[tuple[bytes, float], ...], ...] = (
    ((b"3", 0.2), (b"t", 1.2), (b"\r", 0.5)),
    ((b"3", 0.2), (b"u", 1.2), (b"\r", 0.5)),
    ((b"3", 0.2), (b"o", 1.2), (b"\r", 0.5)),
    ((b"3", 0.2), (b"p", 1.2), (b"\r", 0.5)),
    ((b"3", 0.2), (b"d", 2.0), (b"y", 0.5)),
    ((b"6", 0.2), (b"d", 2.0), (b"y", 0.5)),
    ((b"6", 0.2), (b"c", 1.2), (b"by-hand", 0.2), (b"\r", 0.5)),
    ((b"6", 0.2), (b"A", 1.2), (b"\r", 0.5)),
    ((b"z", 1.2), (b"\t", 0.2), (b"\r", 0.5)),
    ((b"3", 0.2), (b"  ", 0.2), (b"t", 1.2), (b"\r", 0.5)),
    ((b"3", 0.2), *((bytes([letter]), 0.2) for letter in b"dynamo"), (b"\r", 0.5)),
    ((b"6", 0.2), *((bytes([letter]), 0.15) for letter in b"daily"), (b"\r", 0.5)),
)
"""What a user does, with what may be lost of it; each step a write of its own, with the seconds after it."""

_BURSTS = (
    b"3t" + b"k" * 150 + b"\r",
    b"3o" + b"k" * 800 + b"\r\r",
    b"3d" + b"k" * 3000 + b"y",
    b"3d" + b"k" * 300 + b"\t\r",
    b"3dynamo",
    b"3dy",
    b"3t\r",
    b"3o\r\r",
    b"6dy\r",
    b":volume list\r3d",
    b":vm list\r6cnew\r",
    b"/web\rdy",
    b"\x10vm\r\r",
    b"\x10\r\r",
    b"\x10" + b"\x1b[5~" + b"\x1b[6~",
    b"?" * 30,
    b"J\x1bJ\x1bJ\x1b",
    b"3\r\x1b\r\x1b\r\x1b",
    b"123456" * 5,
    b"/abc\x1b/def\x1b\x1b",
    b"3zzz\r",
    b"3F\r\r",
)

_FIRST = 4
"""Of these the first come before everything else, because each has stopped or deleted a VM unasked."""

_STRAY = (
    b"\xe9", b"\xff\xfe", b"\xc3", b"\x1b[M \xa0\xa0", b"\x1b[1114112u", b"\x1b[99999999999u", b"\x00",
    b"\x1b[200~never ended", b"\x1b[201~", b"\x1b]11;rgb:zz\x07", b"\x1b[?2026;9$y", b"\x1b[<99999;99999;99999M",
    b"\x1bP>|x\x1b\\", b"\x1b[I", b"\x1b[O", b"\x1b[200~two\rlines d y\x1b[201~", b"\x9b", b"\x1b[1;1R",
)  # fmt: skip

SIZES = ((120, 36), (120, 36), (160, 50), (80, 24), (60, 16), (59, 15), (40, 10), (20, 5), (1, 1), (200, 12), (61, 60))

FAULTS = ("none", "none", "throttled", "slow", "lost", "refused", "cut")


def groups(seed: int) -> Iterator[Group]:
    """Yield what the monkey with this seed does."""
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    kinds: tuple[tuple[int, Callable[[random.Random, int, int], Iterator[Group]]], ...] = (
        (30, _keys), (18, _task), (12, _burst), (10, _line), (12, _mouse), (6, _resize), (5, _stray), (3, _freeze),
        (2, _stall), (1, _suspend), (4, _fault), (2, _pause),
    )  # fmt: skip
    weights, makers = [weight for weight, _ in kinds], [maker for _, maker in kinds]
    for data in _BURSTS[:_FIRST]:
        yield from _typed_at_once(0, data)
    number = 0
    while True:
        number += 1
        yield from dice.choices(makers, weights)[0](dice, dice.randrange(2), number)


def _keys(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    for _ in range(dice.randrange(1, 5)):
        data = b"".join(dice.choice(_ANY) for _ in range(dice.choice((1, 1, 1, 2, 3, 8))))
        yield Group(who, "write", data, wait=dice.choice((0.0, 0.02, 0.1)))


def _task(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "write", LEAVE, wait=0.2)
    yield Group(who, "write", DOWN * dice.randrange(4))
    for data, wait in dice.choice(_TASKS):
        yield Group(who, "write", data, wait=wait)


def _burst(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield from _typed_at_once(who, dice.choice(_BURSTS))


def _typed_at_once(who: int, data: bytes) -> Iterator[Group]:
    yield Group(who, "write", LEAVE, wait=0.2)
    yield Group(who, "write", LEAVE, wait=0.2)
    yield Group(who, "write", data, wait=1.0, calm=True)


def _line(dice: random.Random, who: int, number: int) -> Iterator[Group]:
    line = dice.choice(_LINES).replace("{number}", str(number)).replace("{digit}", str(dice.randrange(10)))
    yield Group(who, "write", LEAVE, wait=0.2)
    yield Group(who, "write", f":{line}\r".encode(), wait=dice.choice((0.1, 1.0)))


def _mouse(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    for _ in range(dice.randrange(1, 4)):
        x, y = dice.randrange(1, 121), dice.randrange(1, 37)
        button = dice.choice((0, 0, 0, 1, 2, 64, 65, 35))
        press, release = f"\x1b[<{button};{x};{y}M".encode(), f"\x1b[<{button};{x};{y}m".encode()
        data = dice.choice((press + release, press + release, (press + release) * 2, press, press + b"\x1b" + release))
        yield Group(who, "write", data, wait=dice.choice((0.0, 0.1)))


def _resize(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "resize", size=dice.choice(SIZES), wait=dice.choice((0.0, 0.3)))
    if dice.random() < 0.7:
        yield Group(who, "write", dice.choice((b"y", b"\r", b"t", b"d", b"\x1b", b"3")), wait=0.1)
        yield Group(who, "resize", size=SIZES[0], wait=0.1)


def _stray(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "write", dice.choice(_STRAY), wait=0.1)


def _freeze(dice: random.Random, who: int, number: int) -> Iterator[Group]:
    for group in _keys(dice, who, number):
        yield Group(who, "freeze", group.data, wait=0.3)


def _stall(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "stall", dice.choice(_BURSTS)[:200], wait=1.0)


def _suspend(_dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "suspend", b"\x1a", wait=0.3)


def _fault(dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "fault", fault=dice.choice(FAULTS), wait=0.0)


def _pause(_dice: random.Random, who: int, _number: int) -> Iterator[Group]:
    yield Group(who, "pause", wait=1.0)
