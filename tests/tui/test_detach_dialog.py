"""The dialog of `volume detach`: it asks for the VM only if a volume has several."""

import pytest

from backend.catalog import KINDS
from tests.tui.dashboard import World, opened

VOLUME = KINDS["volume"]


@pytest.mark.parametrize("vms", [["i-0000000000000001"], ["i-0000000000000001", "i-0000000000000002"]], ids=len)
async def test_the_vm_is_asked_for_where_there_are_several(world: World, vms: list[str]) -> None:
    item = {"id": "vol-0123456789abcdef0", "name": "shared", "state": "in-use", "vm": vms, "extra": {}}
    world.cache.rows.put(VOLUME, world.scope, [item])
    async with opened(world, world.app(refresh=False)) as user:
        await user.show("volume")
        await user.go_to("shared")
        await user.press("A")
        dialog = await user.dialog("volume detach")
        assert [one.id for one in dialog.query(".field Input")] == (["param-vm"] if len(vms) > 1 else [])
        await user.sees(*vms)
        await user.press("escape")
        await user.back()
