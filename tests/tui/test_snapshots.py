"""Pictures of every tab and line of the dashboard, and of every window alone, of fixed rows at a fixed time.

A window is pictured without the dashboard around it, so that a new tab or key changes no picture of a window.
"""

import io
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from rich.console import Console
from rich.segment import Segment, Segments
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from backend.cache import RefreshRecord, open_cache
from backend.cache.documents import to_document
from backend.catalog import KINDS
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.errors import Cancelled, CloudError
from backend.kinds.model import Scope
from backend.kinds.vm import note_protection
from backend.providers.ec2.entry import ec2_keys
from backend.providers.protocol import Page, Provider
from backend.secret import Secret
from backend.session import Session
from tests.faces import Faces
from tests.tui.dashboard import AT_ONCE, TABS, Launch, User, World
from tui import app as app_module
from tui.app import CloudmeshApp
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.help import HelpScreen
from tui.screens.text import TextScreen

Compare = Callable[..., bool]
Item = dict[str, Any]

SIZES = [(80, 24), (140, 40)]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SCOPE = Scope("research", "eu-central-1")
HOSTILE = '[/]bold "quoted" <b>&'


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def vm(number: int, name: str | None, state: str | None, **values: Any) -> Item:
    return {
        "id": f"i-{number:017x}",
        "name": name,
        "state": state,
        "flavor": "t3.small",
        "public_ip": f"198.51.100.{number}" if state == "running" else None,
        "private_ip": f"10.0.0.{number}",
        "location": "eu-central-1a",
        "image": "ami-0d1e2f3a4b5c6d7e8",
        "keypair": "laptop",
        "launched": ago(days=number, hours=number),
        **values,
    }


def image(number: int, name: str | None, state: str | None = "available", **values: Any) -> Item:
    return {
        "id": f"ami-{number:017x}",
        "name": name,
        "state": state,
        "architecture": "x86_64",
        "owner": "amazon",
        "created": ago(days=30 * number),
        **values,
    }


def volume(number: int, name: str | None, state: str | None, **values: Any) -> Item:
    return {
        "id": f"vol-{number:017x}",
        "name": name,
        "state": state,
        "size": 8 * number,
        "type": "gp3",
        "location": "eu-central-1a",
        "created": ago(days=number),
        **values,
    }


def flavor(name: str, vcpu: int | None, memory: int | None, price: float | None, **values: Any) -> Item:
    network = "Up to 5 Gigabit" if vcpu else None
    return {"id": name, "name": name, "vcpu": vcpu, "memory": memory, "price": price, "network": network, **values}


ITEMS: dict[str, list[Item]] = {
    "image": [
        image(1, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261110"),
        image(2, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20261110", architecture="arm64"),
        image(3, "Windows_Server-2025-Japanese-Full-日本語-2026.11.12", platform="windows"),
        image(4, HOSTILE, "pending", owner="123456789012"),
        image(5, "broken", "failed", owner="self"),
        image(6, "withdrawn", "deregistered"),
        image(7, None, None, architecture=None, owner=None, created=None),
    ],
    "flavor": [
        flavor("t3.micro", 2, 1024, 0.012, architecture="x86_64"),
        flavor("t4g.small", 2, 2048, 0.0192, architecture="arm64"),
        flavor("m7i.large", 2, 8192, 0.1207, architecture="x86_64"),
        flavor("i4i.8xlarge", 32, 262_144, 3.182, architecture="x86_64", disk=7500),
        flavor("u7i-12tb.224xlarge", 896, 12_582_912, None, architecture="x86_64"),
        flavor("mac2.metal", None, None, None),
    ],
    "vm": [
        vm(1, "web-1", "running"),
        vm(2, "web-2", "pending"),
        vm(3, "db-primary", "running", flavor="r7i.2xlarge"),
        vm(4, "東京-バックアップ", "stopped"),
        vm(5, HOSTILE, "running", keypair=None),
        vm(6, "class-student-07", "stopping"),
        vm(7, "ci-runner", "shutting-down"),
        vm(8, "old", "terminated", private_ip=None),
        vm(9, "odd", "hibernating"),
        vm(10, "restarting", "running"),
        vm(11, None, None, flavor=None, location=None, image=None, keypair=None, launched=None, private_ip=None),
    ],
    "keypair": [
        {"id": "key-01", "name": "laptop", "type": "ed25519", "fingerprint": "mIx3dC4se+0123456789abcdefghijk="},
        {"id": "key-02", "name": "ci deploy (github)", "type": "rsa", "fingerprint": ":".join(["0a"] * 20)},
        {"id": "key-03", "name": "学生用", "type": None, "fingerprint": None, "created": ago(days=3)},
    ],
    "location": [
        {
            "id": f"euc1-az{number}",
            "name": f"eu-central-1{letter}",
            "region": "eu-central-1",
            "state": state,
            "type": "availability-zone",
        }
        for number, letter, state in (
            (1, "a", "available"),
            (2, "b", "impaired"),
            (3, "c", "unavailable"),
            (4, "d", None),
        )
    ],
    "volume": [
        volume(1, "root", "in-use", vm=["i-00000000000000003"]),
        volume(2, "db-primary-data", "in-use", vm=["i-00000000000000003"], size=2048, type="io2"),
        volume(3, "scratch", "available"),
        volume(4, HOSTILE, "creating"),
        volume(5, "バックアップ", "deleting"),
        volume(6, "lost", "error"),
        volume(7, None, None, size=None, type=None, location=None, created=None),
    ],
}  # fmt: skip

AGES = {"image": 5400, "flavor": 259_200, "vm": 12, "keypair": 3, "volume": 95}
"""Seconds since the kinds were listed; locations never were."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A cache with fixed rows; no request goes to its cloud."""
    cloud = Cloud(
        SCOPE.cloud,
        endpoint="http://127.0.0.1:9",
        credentials=ec2_keys(Secret("none"), Secret("none")),
        default=Defaults(location=SCOPE.region, image="ami-00000000000000001", size="t3.micro", keypair="laptop"),
    )
    settings = Settings({cloud.name: cloud}, cloud.name, refresh=False, mongodb=MongoDB(Secret("memory")))
    cache = open_cache(settings.mongodb, tmp_path, KINDS.values())
    for name, items in ITEMS.items():
        kind = KINDS[name]
        cache.store.database[kind.plural].insert_many(
            [to_document(kind, SCOPE, item, ago(seconds=12)) for item in items]
        )
        if name in AGES:
            finished = ago(seconds=AGES[name])
            record = RefreshRecord(SCOPE.cloud, SCOPE.region, name, finished, finished, len(items))
            cache.refreshes.write(kind, SCOPE, record)
    # As after commands of the program; the flights have the times of this test.
    for number, flight in (
        (2, {"action": "boot", "since": ago(seconds=7)}),
        (6, {"action": "stop", "since": ago(minutes=14), "overdue": True}),
        (10, {"action": "reboot", "since": ago(seconds=2)}),
    ):
        cache.store.database["vms"].update_one({"id": f"i-{number:017x}"}, {"$set": {"flight": flight}})
    return World(settings, cache, tmp_path)


class Still(Faces):
    """A cloud with the rows of the cache, for previews. A listing for the watcher is cancelled."""

    def vm_list(self, ids: Sequence[str] = (), keypair: str = "") -> Iterator[Page]:
        if {f"i-{number:017x}" for number in (2, 6, 7, 10)} & set(ids):  # those in flight
            raise Cancelled
        tags = {3: {"env": "production"}, 5: {"aws:autoscaling:groupName": "[workers]"}}
        yield [
            item | {"tags": tags.get(number, {}), "group": tags.get(number, {}).get("aws:autoscaling:groupName")}
            for number, item in enumerate(ITEMS["vm"], 1)
            if (item["id"] in ids or item["keypair"] == keypair)
        ]

    def flavor_list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        yield [{"id": native, "disk": None} for native in ids]

    def volume_list(self, ids: Sequence[str] = (), vms: Sequence[str] = ()) -> Iterator[Page]:
        yield [
            item | {"attachments": [{"vm": vm, "dies": number == 0} for vm in item.get("vm") or ()]}
            for number, item in enumerate(ITEMS["volume"])
            if item["id"] in ids or {*(item.get("vm") or ())} & {*vms}
        ]

    def vm_reboot(self, vm: str) -> str:
        raise CloudError(f"Rebooting VM {vm} failed on cloud research: the keys may not do ec2:RebootInstances.")

    def keypair_list(self) -> Iterator[Page]:
        yield ITEMS["keypair"]

    def vm_addresses(self, vms: Sequence[str]) -> dict[str, list[str]]:
        return {native: ["203.0.113.9"] for native in vms if native == ITEMS["vm"][2]["id"]}

    def vm_protected(self, vm: str) -> bool:
        return bool(vm == ITEMS["vm"][3]["id"])


class Pictured(CloudmeshApp):
    """A dashboard whose screenshots show a part of the screen, or all of it."""

    CSS_PATH: ClassVar = [str(Path(app_module.__file__, "..", path).resolve()) for path in CloudmeshApp.CSS_PATH]
    part = ""
    """The CSS selector of the part; "" for the whole screen."""

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        if not self.part:
            return super().export_screenshot(title=title, simplify=simplify)
        widget = self.screen.query_one(self.part)
        region = widget.scrollable_content_region if self.part == BODY else widget.region
        strips = self.screen._compositor.render_strips()[region.y : region.bottom]
        lines = [[*strip.crop(region.x, region.right).simplify(), Segment.line()] for strip in strips]
        console = Console(
            width=region.width,
            height=region.height,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            record=True,
            legacy_windows=False,
            safe_box=False,
        )
        console.print(Segments([segment for line in lines for segment in line]), end="")
        return console.export_svg(title=title or self.title)


WINDOW = ".window"
BODY = ".window--body"
"""What stands in a window: all of it but the border and the scroll bar, which is shorter with each new command."""


@pytest.fixture
def picture(world: World, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Return a function that opens the dashboard, runs `before`, and compares its picture with the accepted one."""
    monkeypatch.delenv("NO_COLOR", raising=False)  # the pictures are in colour, whatever the terminal of the tests

    def compare(
        size: tuple[int, int],
        steps: Callable[[User], Awaitable[object]],
        kind: str = "vm",
        read_only: bool = False,
        part: str = "",
    ) -> bool:
        session = Session(
            world.settings,
            world.cloud,
            world.cache,
            world.home,
            False,
            read_only,
            lambda *_: cast(Provider, Still()),
            now=lambda: NOW,
        )
        app = Pictured(Launch(lambda: session, read_only), now=lambda: NOW, pace=AT_ONCE)
        app.part = part

        async def bring(pilot: Pilot[int]) -> None:
            user = User(app, pilot)
            await user.until(lambda: all(len(user.rows(name)) == len(items) for name, items in ITEMS.items()))
            if kind:
                await user.show(kind)
            await steps(user)
            for field in app.screen.query(Input):
                field.cursor_blink = False
            await pilot.pause()

        return snap_compare(app, terminal_size=size, run_before=bring)

    return compare


async def nothing(_user: User) -> None:
    """Do nothing."""


async def boot(user: User) -> None:
    await user.press("b")
    await user.dialog("vm boot")


async def pick(user: User) -> None:
    await boot(user)
    await user.press("up")
    await user.until(lambda: user.field("image").has_focus)
    await user.press("ctrl+u")
    await user.type("ubuntu", "down")
    await user.until(lambda: user.app.screen.query_one("#picks").has_focus)


async def stop(user: User) -> None:
    await user.go_to(HOSTILE)
    await user.press("t")
    await user.dialog("vm stop")


async def delete_one(user: User) -> None:
    await user.go_to("db-primary")
    await user.press("d")
    await user.dialog("vm delete")


async def delete_several(user: User) -> None:
    for name in ("web-1", "db-primary", "東京-バックアップ", HOSTILE):
        await user.go_to(name)
        await user.press("space")
    await user.press("d")
    await user.dialog("vm delete")


async def delete_keypair(user: User) -> None:
    await user.go_to("laptop")
    await user.press("d")
    await user.dialog("keypair delete")


async def delete_volume(user: User) -> None:
    for name in ("db-primary-data", "scratch"):
        await user.go_to(name)
        await user.press("space")
    await user.press("d")
    await user.dialog("volume delete")


async def protect(user: User) -> None:
    """Fill the column of protection, as previews do."""
    cache = user.app.session.cache if user.app.session else None
    assert cache
    for number in (1, 3, 4):
        note_protection(cache, SCOPE, f"i-{number:017x}", number == 4)
    await user.until(lambda: user.named("東京-バックアップ", "protected"))


ENTRIES: list[tuple[str, str, str | None, float | None, list[str]]] = [
    ("vm boot ami-00000000000000001 --name web-2", "unfinished", None, None, []),
    ("vm stop i-00000000000000006", "done", None, 0.412, ["i-00000000000000006"]),
    ("volume delete vol-00000000000000001", "failed", "Deleting volume vol-00000000000000001 failed: it is in use.",
     0.3, ["vol-00000000000000001"]),
    ("keypair create '[/]bold'", "cancelled", None, 2.5, []),
    ("vm reboot i-00000000000000001", "unknown", "eu-central-1 took too long.", 61.02, ["i-00000000000000001"]),
    ("vm delete i-00000000000000008", "waiting", None, None, []),
]  # fmt: skip


async def journal(user: User) -> None:
    cache = user.app.session.cache if user.app.session else None
    assert cache
    cache.journal.add(
        [
            {
                "_id": f"{number:032x}",
                "at": ago(minutes=number),
                "user": "ann",
                "host": "lab-3",
                "cloud": SCOPE.cloud,
                "region": SCOPE.region,
                "command": command,
                "objects": objects,
                "outcome": outcome,
                "error": error,
                "seconds": seconds,
            }
            for number, (command, outcome, error, seconds, objects) in enumerate(ENTRIES, 1)
        ]
    )
    await user.press("J")
    await user.sees(f"{len(ENTRIES)} entries")


async def failures(user: User) -> None:
    for name in ("web-1", "db-primary"):
        await user.go_to(name)
        await user.press("space")
    await user.press("o")
    await user.dialog("vm reboot")
    await user.press("enter")
    await user.sees("vm reboot: 2 of 2 failed.")
    await user.press("F")
    await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.seen)


async def create_keypair(user: User) -> None:
    await user.press("c")
    await user.dialog("keypair create")


async def create_volume(user: User) -> None:
    await user.press("c")
    await user.dialog("volume create")
    await user.press("enter")
    await user.sees("volume create needs NAME.")


async def details(user: User) -> None:
    await user.go_to(HOSTILE)
    await user.press("enter")
    await user.until(lambda: isinstance(user.app.screen, DetailsScreen))


async def console(user: User) -> None:
    lines = [f"[    {at}.000000] booting {HOSTILE}" for at in range(5)]
    user.app.open(TextScreen("vm console web-1", "\r\n".join([*lines, "\x1b[2Jdevil\tlogin: "])))
    await user.until(lambda: isinstance(user.app.screen, TextScreen))


async def help_screen(user: User) -> None:
    await user.press("?")
    await user.until(lambda: isinstance(user.app.screen, HelpScreen))


async def command_line(user: User) -> None:
    await user.type(":volume del")
    await user.sees(": volume delete")


async def palette(user: User) -> None:
    await user.press("ctrl+p")
    await user.until(lambda: user.app.screen is not user.app.main and user.app.screen.focused is not None)
    await user.type("quoted")
    found = user.app.screen.query_one(CommandList)
    await user.until(lambda: found.option_count == 7 and found.highlighted is not None)


async def error(user: User) -> None:
    await user.run("vm bott")
    await user.sees("Did you mean 'vm boot'?")


async def filtered(user: User) -> None:
    await user.type("/web running")
    await user.sees("1 of 11")


async def sorted_and_marked(user: User) -> None:
    await user.press("s", "S", "space", "space")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("kind", TABS)
def test_tab(picture: Compare, kind: str, size: tuple[int, int]) -> None:
    assert picture(size, nothing, kind)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("steps", [protect, command_line, error, filtered], ids=lambda steps: f"{steps.__name__}-vm")
def test_screen(picture: Compare, steps: Callable[[User], Awaitable[object]], size: tuple[int, int]) -> None:
    assert picture(size, steps)


WINDOWS = [
    (boot, "vm", WINDOW),
    (stop, "vm", WINDOW),
    (delete_one, "vm", WINDOW),
    (delete_several, "vm", WINDOW),
    (delete_keypair, "keypair", WINDOW),
    (delete_volume, "volume", WINDOW),
    (journal, "vm", WINDOW),
    (failures, "vm", WINDOW),
    (create_keypair, "keypair", WINDOW),
    (create_volume, "volume", WINDOW),
    (details, "vm", WINDOW),
    (console, "vm", WINDOW),
    (help_screen, "vm", BODY),
    (palette, "vm", "CommandList"),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("steps", "kind", "part"), WINDOWS, ids=[steps.__name__ for steps, _, _ in WINDOWS])
def test_window(
    picture: Compare,
    steps: Callable[[User], Awaitable[object]],
    kind: str,
    part: str,
    size: tuple[int, int],
) -> None:
    assert picture(size, steps, kind, part=part)


def test_picking(picture: Compare) -> None:
    assert picture((80, 24), pick, part=WINDOW)


def test_sorted_and_marked(picture: Compare) -> None:
    assert picture((80, 24), sorted_and_marked)


def test_read_only(picture: Compare) -> None:
    assert picture((80, 24), nothing, read_only=True)


def test_too_small(picture: Compare) -> None:
    assert picture((50, 10), nothing, "")  # no key does anything there
