"""Prices on the screen: a refusal is said once; details and previews have their source, details spot prices."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.kinds.model import Ref
from backend.providers.ec2.prices import ENDPOINT
from tests.backend.ec2_faults import Faults
from tests.faces import Faces
from tests.pricing import DENIED
from tests.tui.dashboard import World, opened
from tui.screens.details import DetailsScreen

FLAVOR = KINDS["flavor"]
SAID = "Its keys may not do pricing:GetProducts"


@pytest.fixture
def price_list(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Faults(DENIED) as faults:
        monkeypatch.setenv(ENDPOINT, faults.url)
        yield faults


@pytest.mark.thorough
async def test_a_refusal_is_shown_once(world: World, price_list: Faults) -> None:
    async with opened(world) as user:
        await user.run("flavor refresh")
        await user.until(lambda: [one.message for one in user.app._notifications if SAID in one.message], 30)
        await user.until(lambda: not user.app._jobs.titled)
        user.app.clear_notifications()
        world.cache.prices.go_on(world.cloud.name)  # as a day later
        await user.run("flavor refresh")
        await user.until(lambda: len(price_list.asked) == 2, 30)
        await user.until(lambda: not user.app._jobs.titled, 30)
        assert [one.message for one in user.app._notifications if SAID in one.message] == []
        assert user.table.total
        await user.run("price refresh")
        await user.sees("Fetching prices failed", "pricing:GetProducts")


class Spotted(Faces):
    """A cloud whose spot prices hold up until they are asked for."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.asked: list[str] = []

    def flavor_spot_prices(self, flavors: Sequence[str], now: datetime) -> Mapping[str, Mapping[str, float]]:
        assert now.tzinfo is UTC
        self.asked += flavors
        return {"t3.micro": {"us-east-1a": 0.0031, "us-east-1b": 0.0042}}


async def test_the_details_of_a_flavor_say_where_its_prices_are_from(world: World) -> None:
    spotted = Spotted(world.provider)
    async with opened(world, world.app(lambda *_: spotted)) as user:
        user.app.show_details(FLAVOR, Ref(world.scope, "t3.micro"))
        await user.until(lambda: isinstance(user.app.screen, DetailsScreen) and "0.0042" in user.body)
        words = " ".join(user.body.split())
        assert "spot.us-east-1a 0.0031 spot.us-east-1b 0.0042" in words
        assert "extra.priced libcloud's list of " in words
    assert spotted.asked == ["t3.micro"]


async def test_the_preview_of_one_vm_says_where_its_price_is_from_and_of_several_once(world: World) -> None:
    source = "libcloud's list of "
    async with opened(world) as user:
        await user.go_to("web-2")
        await user.press("d")
        await user.dialog("vm delete")
        await user.until(lambda: "USD/hour" in user.screen)
        assert f"({source}" in next(line for line in user.screen.splitlines() if "USD/hour" in line)
        await user.press("escape")
        await user.back()
        await user.press("asterisk", "d")
        await user.dialog("vm delete")
        await user.until(lambda: "USD/hour now" in user.screen)
        assert user.screen.count(f"({source}") == 1
