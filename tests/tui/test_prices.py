"""Prices on the screen and in the shell: a refusal is said once; details have day, source and spot prices."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.catalog import KINDS
from backend.kinds.model import Ref
from backend.providers.ec2.prices import ENDPOINT
from tests.backend.ec2_faults import Faults
from tests.ec2_proxy import FLAVORS
from tests.faces import Faces
from tests.pricing import DENIED, page, product
from tests.tui.dashboard import World, opened
from tests.tui.shell import Shell, sentence
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
        assert SAID not in [one.message for one in user.app._notifications]
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


def test_the_shell_says_a_refusal_once(shell: Shell) -> None:
    with Faults(DENIED) as faults:
        environment = {**shell.environment, ENDPOINT: faults.url}
        refused = shell.run("--refresh", "flavors", "--json", env=environment)
        assert (refused.returncode, SAID in sentence(refused)) == (0, True)
        again = shell.run("flavor", "refresh", env=environment)
        assert (again.returncode, again.stderr, len(faults.asked)) == (0, "", 1)
    with Faults(page(*(product(name, "0.5") for name in FLAVORS))) as faults:
        environment = {**shell.environment, ENDPOINT: faults.url}
        found = shell.run("price", "refresh", env=environment)
        assert (found.returncode, found.stderr) == (0, "")
        assert found.stdout.startswith("2 prices of us-east-1, on demand, ")
        assert '"price": 0.5' in shell.run("flavor", "list", "--json", env=environment).stdout
        assert len(faults.asked) == 1
    # Without the variable a cloud with an endpoint asks nobody.
    assert '"price": 0.5' not in shell.done("flavor", "list", "--json")
