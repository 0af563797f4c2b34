"""Security groups and the console in the dashboard: the extra tab, its keys, dialogs and details, and undo."""

import pytest

from backend.kinds.secgroup import SECGROUP
from backend.providers.protocol import Item
from tests.tui.dashboard import User, World, opened, palette
from tui.screens.choice import ChoiceScreen
from tui.screens.details import DetailsScreen
from tui.screens.dialog import CommandDialog
from tui.screens.text import TextScreen
from tui.widgets.tabbar import TabBar


def group(world: World, name: str) -> Item | None:
    found = (item for page in world.provider.of("secgroup").list() for item in page if item["name"] == name)
    return next(found, None)


async def shown(user: User, line: str = "secgroup list") -> None:
    """Open the tab of the security groups by a typed line."""
    await user.run(line)
    await user.sees("old-vpn", "tcp 5432 from sg-")
    assert user.app.main.kind == "secgroup"


async def on(user: User, name: str) -> None:
    """Move the cursor to a group."""
    await user.press("home")
    while user.at != name:
        await user.press("down")


@pytest.mark.parametrize("line", ["secgroup list", "firewalls", "sg"])
async def test_it_opens_by_its_names_as_an_extra_tab(world: World, line: str) -> None:
    async with opened(world) as user:
        tabs = user.app.main.query_one(TabBar)
        assert "secgroups" not in tabs.render().plain
        await shown(user, line)
        await user.sees("secgroups 6")
        await user.press("escape")
        await user.until(lambda: user.app.main.kind != "secgroup")
        assert "secgroups" not in tabs.render().plain


async def test_the_palette_opens_it(world: World) -> None:
    async with opened(world) as user:
        await palette(user, "secgroup list", "secgroup list")
        await user.press("enter")
        await user.back()
        await user.sees("old-vpn")


async def test_all_rules_are_in_the_details(world: World) -> None:
    async with opened(world) as user:
        await shown(user)
        await on(user, "class 2026")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen))
        assert "tcp 22 from 192.0.2.0/24 ([campus])" in user.body  # no markup
        assert "all traffic to 0.0.0.0/0" in user.body


async def test_a_port_is_opened_by_a_key_and_closed_by_undo(world: World) -> None:
    async with opened(world) as user:
        await shown(user)
        await on(user, "old-vpn")
        await user.press("a")
        await user.until(lambda: isinstance(user.app.screen, CommandDialog))
        await user.sees("secgroup allow", "old-vpn", "0.0.0.0/0: the internet")
        await user.type("22", "tab")
        await user.type("203.0.113.7/24", "enter")
        await user.sees("Write 203.0.113.0/24 for the network")  # in the dialog, before anything is journalled
        assert isinstance(user.app.screen, CommandDialog)
        assert world.cache.journal.newest() == []
        await user.press("escape")
        await user.back()
        before = group(world, "old-vpn")
        assert before is not None
        assert before["ports"] == ["udp 1194 from 0.0.0.0/0"]
        await user.run("secgroup allow old-vpn 22 --from 0.0.0.0/0")
        await user.until(lambda: "The whole internet may connect." in user.result)
        await user.until(lambda: len(user.named("old-vpn", "ports", "secgroup")) == 2)
        await user.press("z")
        await user.until(lambda: isinstance(user.app.screen, ChoiceScreen) and user.app.screen.focused is not None)
        assert "secgroup revoke" in user.window
        await user.press("right", "enter")
        await user.until(lambda: user.named("old-vpn", "ports", "secgroup") == ("udp 1194 from 0.0.0.0/0",))
        assert group(world, "old-vpn") == before


async def test_deleting_shows_what_keeps_it(world: World) -> None:
    async with opened(world) as user:
        await shown(user)
        await on(user, "lab")
        await user.press("d")
        await user.until(lambda: isinstance(user.app.screen, CommandDialog))
        await user.sees("it is used by gpu-train-01", "There is nothing that this would act on.")
        await user.press("escape")
        await user.back()
        await on(user, "old-vpn")
        await user.press("d")
        await user.until(lambda: isinstance(user.app.screen, CommandDialog))
        await user.sees("Lets in            udp 1194 from 0.0.0.0/0")
        await user.press("y")
        await user.back()
        await user.until(lambda: "old-vpn" in user.result and "deleted" in user.result)
        assert group(world, "old-vpn") is None
        assert "old-vpn" not in [SECGROUP.value(row, "name") for row in user.rows("secgroup")]


async def test_a_group_is_created_by_its_dialog(world: World) -> None:
    async with opened(world) as user:
        await shown(user)
        await user.press("c")
        await user.until(lambda: isinstance(user.app.screen, CommandDialog))
        await user.type("mail", "tab")
        await user.type("Mail servers", "enter")
        await user.back()
        await user.until(lambda: user.named("mail", "description", "secgroup") == "Mail servers")
        made = group(world, "mail")
        assert made is not None
        assert made["ports"] == []


async def test_the_console_by_its_key_and_typed(world: World) -> None:
    async with opened(world) as user:
        await user.show("vm")
        await user.press("l")
        await user.until(lambda: isinstance(user.app.screen, TextScreen))
        await user.sees("Kernel command line: root=/dev/sda1")
        await user.press("escape")
        await user.back()
        assert user.result.startswith("Console of ")
        await user.run("vm console web-1")
        await user.until(lambda: isinstance(user.app.screen, TextScreen))
        await user.until(lambda: "Linux version 2.6.16-xenU" in user.window)
        await user.press("escape")
        await user.back()
        assert world.changing == []
