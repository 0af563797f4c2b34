"""Which account a login is for, if several need one: first those that are shown."""

from dataclasses import replace

from backend.account import Account
from backend.config import Cloud, Settings
from backend.errors import LoginNeededError
from backend.providers.ec2.entry import EC2
from backend.providers.entry import nobody, of_the_configuration
from tests.tui.dashboard import World, opened


def needed(profile: str) -> LoginNeededError:
    """Return the login that a profile needs."""
    error = LoginNeededError("The session has ended.")
    error.command = ("aws", "sso", "login", "--profile", profile)
    return error


async def test_the_account_that_is_shown_comes_first(world: World) -> None:
    assert EC2.accounts is not None
    names = ("other", "shown")
    accounts = replace(EC2.accounts, logins=lambda: {Account(name): needed(name) for name in names})
    entry = replace(EC2, accounts=accounts, keys_of=of_the_configuration, identity=nobody)

    def of(name: str) -> Cloud:
        return replace(world.cloud, name=name, provider=entry, account=Account(name))

    settings = Settings({name: of(name) for name in names}, "shown")
    async with opened(World(settings, world.cache, world.home)) as user:
        await user.press("L")
        await user.sees("Run aws sso login --profile shown in a shell")
