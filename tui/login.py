"""Logs in to accounts: lends the terminal to the command, and asks for codes in a window."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Event
from typing import Any

from textual.app import App
from textual.message import Message

from backend.config import Cloud
from backend.errors import Cancelled, CloudError, CloudmeshError, LoginNeededError
from backend.providers.entry import Accounts
from backend.text import safe
from tui.driver import TerminalDriver
from tui.host import Host
from tui.jobs import Job
from tui.messages import CodeWanted
from tui.screens.code import CodeScreen
from tui.screens.window import Window


def log_in(host: Host, driver: object, clouds: Iterable[Cloud], then: Callable[[], None]) -> None:
    """Log in to the account of the first of these clouds that needs it, and call `then` once it is done.

    Where only a code is needed, the next request asks for it.
    """
    found = next(filter(None, map(_needed, clouds)), None)
    if found is None:
        host.say("No account needs a login.", done=False)
        return
    accounts, error = found
    if not error.command:
        host.start(Job("", lambda _job: accounts.again(), lambda _: then(), key="login"))
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
        host.say(f"{safe(command)}: done.")
        then()

    def work(_job: Job) -> CloudmeshError | None:
        failure = _run(error.command, accounts, interrupted)
        if failure is None:
            accounts.again()  # here, because it waits while keys are fetched
        return failure

    host.start(Job("", work, ended, ended, key="login", lets_go=False))


def _needed(cloud: Cloud) -> tuple[Accounts, LoginNeededError] | None:
    """Return the login that the account of a cloud needs, None if it needs none."""
    accounts = cloud.provider.accounts
    error = accounts.logins().get(cloud.account) if accounts else None
    return (accounts, error) if accounts and error else None


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


def ask_code(post: Callable[[Message], object], question: str) -> str:
    """Ask the user for the code of an MFA device. Called on a thread; blocks until the window is closed."""
    answer: SimpleQueue[str] = SimpleQueue()
    post(CodeWanted(question, answer.put))
    if code := answer.get():
        return code
    raise LoginNeededError("No code was given, so there are no keys.", "L asks for it again.")


def open_code(app: App[Any], message: CodeWanted) -> None:
    """Open the window for a code, once no other window is open: the user may be typing there."""
    if isinstance(app.screen, Window):
        app.set_timer(0.5, lambda: open_code(app, message))
        return

    def answered(code: str | None) -> None:
        message.answer(code or "")

    app.push_screen(CodeScreen(message.question), answered)
