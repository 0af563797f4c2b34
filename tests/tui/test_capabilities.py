"""The dashboard and the shell on a cloud that can do less than EC2."""

import json
import re

import pytest
from textual.command import CommandPalette

from backend.config import Defaults
from backend.errors import RefusedError
from tests.openstack import OPENSTACK
from tests.tui.dashboard import World, driven
from tui import headless
from tui.interrupt import Interrupt
from tui.screens.help import HelpScreen
from tui.widgets.status import WorkLine

MISSING = ("vm protect", "vm unprotect", "vm tag", "vm untag", "volume list", "volume create", "keypair create")


@pytest.fixture
def chameleon(world: World) -> World:
    """The same with another provider, and a region that nothing is known of."""
    return world.with_cloud(provider=OPENSTACK, endpoint=None, default=Defaults(location="RegionOne"))


async def test_keys_help_and_palette_offer_what_the_cloud_has(chameleon: World) -> None:
    async with driven(chameleon.app()) as user:
        await user.until(lambda: user.app.session is not None)
        await user.show("vm")
        await user.sees("web")
        await user.until(lambda: "stop" in user.screen.splitlines()[-1])
        await user.until(lambda: user.result.startswith("vms: ") and not user.app.main.query_one(WorkLine).display)
        for key, what in (("p", "termination protection"), ("T", "tags of VMs")):
            await user.press(key)
            assert user.result == f"Cloud demo (OpenStack) has no {what}."
            await user.press("escape")
        await user.show("volume")
        await user.sees("Cloud demo (OpenStack) has no volumes.")
        await user.until(lambda: not re.search(r"\bcreate\b", user.screen.splitlines()[-1]))
        await user.press("c")
        assert user.result == "Cloud demo (OpenStack) has no volumes."
        await user.press("escape", "?")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.until(lambda: "vm stop" in user.body)
        assert not any(name in user.body for name in MISSING)
        await user.press("escape")
        await user.back()
        await user.press("ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, CommandPalette) and user.app.screen.focused is not None)
        await user.type("protect")
        await user.sees("No matches found")
        await user.press("escape")
    assert chameleon.changing == []


def test_the_shell_refuses_it_too_and_refreshes_the_rest(chameleon: World, capsys: pytest.CaptureFixture[str]) -> None:
    session = chameleon.session()
    interrupt = Interrupt()
    assert headless.task([], [], interrupt, yes=False)(session, True) == 0
    assert {json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()} == {"image", "flavor", "vm"}
    with pytest.raises(RefusedError, match=r"^Cloud demo \(OpenStack\) has no volumes\."):
        headless.task([], ["volume"], interrupt, yes=False)(session, True)
    with pytest.raises(RefusedError, match=r"^Cloud demo \(OpenStack\) has no termination protection\."):
        headless.task(["vm", "protect", "web"], None, interrupt, yes=False)(session, True)
