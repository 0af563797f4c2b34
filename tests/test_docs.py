"""The documentation agrees with the program."""

import re
import signal
from pathlib import Path

import pytest

from backend.catalog import KINDS
from backend.commands.table import COMMANDS
from tests import docs
from tui.cli import parser
from tui.ending import status

TREE = Path(__file__).parents[1]
README = TREE / "README.md"


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def listed() -> set[str]:
    """Return the options that --help lists; its examples name some of commands, too."""
    return options_in(parser().format_help().partition("\nCOMMAND ")[0])


def test_the_page_of_commands_is_up_to_date() -> None:
    assert docs.PATH.read_text(encoding="utf-8") == docs.commands_md(), "run `make docs`"


def test_the_page_has_every_option_that_help_lists() -> None:
    section = docs.PATH.read_text(encoding="utf-8").partition("## Options")[2].partition("\n## ")[0]
    assert {
        "--refresh",
        "--json",
        "--yes",
        "--production",
        "--read-only",
        "--log-file",
        "--version",
        "--help",
    } <= listed()
    assert options_in(section) == listed()


def test_the_page_has_every_command_kind_and_column() -> None:
    page = docs.PATH.read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"| `{command.usage}` | {command.help} |" in page
    for kind in KINDS.values():
        section = page.partition(f"\n### {kind.plural}\n")[2].partition("\n### ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [column.name for column in kind.columns]
        assert all(f"`{alias}`" in section for alias in (kind.name, kind.plural, *kind.aliases))


def test_the_page_has_the_exit_statuses_of_help() -> None:
    section = docs.PATH.read_text(encoding="utf-8").partition("## Exit status")[2].partition("\n## ")[0]
    said = re.findall(r"\b\d+\b", parser().format_help().partition("Exit status:")[2])
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    assert re.findall(r"^\| (\d+) \|", section, re.M) == said == ["0", "1", "2", *(str(status(one)) for one in signals)]


def test_the_readme_leads_to_the_page_and_names_no_option_that_is_not_there() -> None:
    text = README.read_text(encoding="utf-8")
    assert "(docs/commands.md)" in text
    known = listed() | {
        f"--{param.name}" for command in COMMANDS for param in command.params if param.style in ("option", "switch")
    }
    assert options_in(text) <= known


@pytest.mark.parametrize("page", [README, *sorted((TREE / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
