"""Accounts in the real program: found without a configuration, asked for codes, logged in again when one ends."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.backend.sso_portal import Portal, save_token, sso_portal
from tests.tui.shell import TREE, booted
from tests.tui.terminal import Terminal

SERVICES = "[services local]\nec2 =\n  endpoint_url = {0}\nsts =\n  endpoint_url = {0}\niam =\n  endpoint_url = {0}\n"
KEYS = "aws_access_key_id = AKIASTATIC0001\naws_secret_access_key = secret-of-the-file\n"
SSO = """[profile dev]
region = us-east-1
services = local
sso_session = acme
sso_account_id = 111122223333
sso_role_name = Admin
[sso-session acme]
sso_start_url = https://acme.awsapps.com/start
sso_region = us-east-1
"""


class Shell(Terminal):
    """A terminal that sends the signals of its keys."""

    controls = True


@dataclass
class User:
    """A new user: an empty home, and no configuration."""

    home: Path
    moto: str
    portal: Portal

    def configure(self, config: str) -> None:
        (self.home / ".aws").mkdir(exist_ok=True)
        (self.home / ".aws" / "config").write_text(config + SERVICES.format(self.moto))

    def starts(self, *words: str, **environment: str) -> Terminal:
        """Start the program in a terminal with 120 columns, in the home folder."""
        base = {
            "PYTHONPATH": str(TREE),
            "TERM": "xterm-256color",
            "AWS_ENDPOINT_URL_SSO": self.portal.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": self.portal.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return Shell(self.home, *(words or ("--read-only",)), cwd=self.home, **(base | environment))

    def installs_aws(self, script: str) -> str:
        """Install an `aws` that runs this Python; return the PATH."""
        folder = self.home / "bin"
        folder.mkdir()
        (folder / "aws").write_text(f"#!{sys.executable}\n{script}")
        (folder / "aws").chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def portal() -> Iterator[Portal]:
    with sso_portal() as portal:
        yield portal


@pytest.fixture
def user(tmp_path: Path, moto: str, portal: Portal, cloud: Cloud) -> User:
    booted(cloud, EC2Provider(cloud), "web-of-acme")
    return User(tmp_path, moto, portal)


def test_an_account_is_found_without_a_configuration(user: User) -> None:
    user.configure(f"[default]\nregion = us-east-1\nservices = local\n{KEYS}")
    with user.starts() as terminal:
        terminal.sees("default · us-east-1", "123456789012")
        terminal.type("3")
        terminal.sees("web-of-acme")
        terminal.type("q")
        assert terminal.ends() == 0


def test_without_any_account_the_ways_are_shown_and_looked_at_again(user: User) -> None:
    with user.starts() as terminal:
        terminal.sees("No AWS account was found on this computer", "aws configure", "R looks again")
        user.configure(f"[default]\nregion = us-east-1\nservices = local\n{KEYS}")
        terminal.type("R")
        terminal.sees("default · us-east-1")
        terminal.type("q")
        assert terminal.ends() == 0


def test_without_any_account_q_ends_with_2(user: User) -> None:
    with user.starts() as terminal:
        terminal.sees("No AWS account was found on this computer", "q quits")
        terminal.type("q")
        assert terminal.ends() == 2


def test_a_session_that_has_ended_is_renewed_by_a_key(user: User) -> None:
    user.configure(SSO)
    save_token(user.home, "old-token", session="acme")
    save_token(user.home / "fresh", "good-token", session="acme")
    fresh, cache = user.home / "fresh" / ".aws" / "sso" / "cache", user.home / ".aws" / "sso" / "cache"
    path = user.installs_aws(
        f"""
import shutil, sys
print("THE BROWSER OPENS", sys.argv[1:])
open({str(user.home / "argv")!r}, "a").write(repr(sys.argv[1:]))
input("confirm: ")
shutil.copytree({str(fresh)!r}, {str(cache)!r}, dirs_exist_ok=True)
"""
    )
    with user.starts(PATH=path) as terminal:
        terminal.type("3")
        terminal.sees("its SSO session has ended", "Run aws sso login --profile dev.", "L does it here")
        terminal.type("L")
        terminal.sees("THE BROWSER OPENS", "confirm:")
        terminal.type("\n")
        terminal.sees("web-of-acme", "aws sso login --profile dev: done.")
        terminal.type("q")
        assert terminal.ends() == 0
    assert (user.home / "argv").read_text() == "['sso', 'login', '--profile', 'dev']"


def test_a_login_that_fails_leaves_the_dashboard_as_it_was(user: User) -> None:
    user.configure(SSO)
    save_token(user.home, "old-token", session="acme")
    path = user.installs_aws("raise SystemExit(3)")
    with user.starts(PATH=path) as terminal:
        terminal.sees("its SSO session has ended")
        terminal.type("L")
        terminal.sees("aws sso login --profile dev failed, so there are still no keys.")
        terminal.type("q")
        assert terminal.ends() == 0


def test_without_the_aws_tools_the_code_and_the_address_are_shown(user: User) -> None:
    user.configure(SSO)
    with user.starts(PATH="/usr/bin:/bin") as terminal:
        terminal.type("3")
        terminal.sees("it has no SSO session on this computer")
        terminal.type("L")
        terminal.sees("https://device.sso.example/", "ABCD-EFGH")
        user.portal.confirmed.set()
        terminal.sees("web-of-acme")
        terminal.type("q")
        assert terminal.ends() == 0
    (token,) = (user.home / ".aws" / "sso" / "cache").glob("*.json")
    assert token.stat().st_mode & 0o077 == 0


def test_a_login_is_given_up_by_ctrl_c(user: User) -> None:
    user.configure(SSO)
    with user.starts(PATH="/usr/bin:/bin") as terminal:
        terminal.sees("it has no SSO session on this computer")
        terminal.type("L")
        terminal.sees("ABCD-EFGH")
        terminal.type("\x03")
        terminal.sees("aws sso login --profile dev was given up.")
        terminal.type("q")
        assert terminal.ends() == 0


def test_a_code_is_asked_for_in_a_window(user: User) -> None:
    user.configure(
        f"[profile dev]\n{KEYS}[default]\nregion = us-east-1\nservices = local\nsource_profile = dev\n"
        "role_arn = arn:aws:iam::123456789012:role/Admin\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
    )
    with user.starts() as terminal:
        terminal.sees("Enter MFA code for arn:aws:iam::123456789012:mfa/me")
        terminal.type("\x1b")
        terminal.sees("No code was given, so there are no keys. L asks for it again.")
        terminal.type("L")
        terminal.sees("Enter MFA code for arn:aws:iam::123456789012:mfa/me")
        terminal.type("123456\r")
        terminal.sees("123456789012 · Admin")
        terminal.type("3")
        terminal.sees("web-of-acme")
        terminal.type("q")
        assert terminal.ends() == 0


def test_a_code_is_asked_for_on_the_terminal_of_a_command(user: User) -> None:
    user.configure(
        f"[profile dev]\n{KEYS}[default]\nregion = us-east-1\nservices = local\nsource_profile = dev\n"
        "role_arn = arn:aws:iam::123456789012:role/Admin\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
    )
    with user.starts("vm", "list") as terminal:
        terminal.sees("Enter MFA code for arn:aws:iam::123456789012:mfa/me (profile default):")
        terminal.type("123456\n")
        terminal.sees("web-of-acme")
        assert terminal.ends() == 0
