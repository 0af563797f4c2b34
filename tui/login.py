"""Logs in to an account whose session has ended: lends the terminal to the command, then goes on."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from threading import Event

from backend.config import Cloud
from backend.errors import Cancelled, CloudError, CloudmeshError, LoginNeededError
from backend.providers.entry import Accounts
from backend.text import safe
from tui.driver import TerminalDriver
from tui.host import Host
from tui.jobs import Job


def needed(clouds: Iterable[Cloud]) -> tuple[Accounts, LoginNeededError] | None:
    """Return the first login that one of these clouds needs, with what can look for its keys again."""
    for accounts in dict.fromkeys(cloud.provider.accounts for cloud in clouds):
        for error in accounts.logins() if accounts else ():
            assert accounts is not None  # noqa: S101 - for mypy
            return accounts, error
    return None


def log_in(host: Host, driver: object, accounts: Accounts, error: LoginNeededError, then: Callable[[], None]) -> None:
    """Log in, and call `then` once it is done. A login by a code alone asks for the code again by itself."""
    if not error.command:
        accounts.again()
        then()
        return
    command = " ".join(error.command)
    if not isinstance(driver, TerminalDriver):
        host.show_error(CloudmeshError("The terminal cannot be lent here.", f"Run {command} in a shell, then press R."))
        return
    interrupted = driver.lend()

    def ended(failure: CloudmeshError | None) -> None:
        driver.take_back()
        if failure is not None:
            host.show_error(failure)
            return
        accounts.again()
        host.say(f"{safe(command)}: done.")
        then()

    job = Job("", lambda _job: _run(error.command, accounts, interrupted), ended, ended, key="login", lets_go=False)
    host.start(job)


def _run(command: tuple[str, ...], accounts: Accounts, interrupted: Event) -> CloudmeshError | None:
    """Run the command, or do the same without it; return why it failed. The terminal is ours."""

    def say(text: str) -> None:
        print(safe(text), file=sys.__stderr__, flush=True)

    def check() -> None:
        if interrupted.is_set():
            raise Cancelled

    words = " ".join(command)
    say(f"cloudmesh-tui: {words}")
    failure = CloudError(f"{safe(words)} failed, so there are still no keys.", "Run it in a shell to see why.")
    try:
        if shutil.which(command[0]):
            return failure if subprocess.run(command, check=False).returncode else None
        say(f"{command[0]} is not installed; the same without it. Ctrl-C gives up.")
        accounts.login(command, say, check)
    except Cancelled:
        return CloudError(f"{safe(words)} was given up.", "L tries it again.")
    except OSError as error:
        return CloudError(f"{safe(words)} cannot be run: {error.strerror}.", "Run it in a shell.")
    except CloudmeshError as error:
        return error
    return None
