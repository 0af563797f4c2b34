"""The profiles of the AWS tools on this computer, read without botocore: names and regions, no keys."""

import configparser
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from backend.account import Profiles
from backend.errors import ConfigError
from backend.text import safe

_FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
"""The variable that names each file, and where it is otherwise."""

_NAMED = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
"""The variables that choose a profile, in botocore's order."""

_FROM_ENVIRONMENT = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
)
"""Variables that give keys if all of a group are set."""


def profiles(environ: Mapping[str, str]) -> Profiles:
    """Return the profiles of ~/.aws, and what else `aws` would look at.

    Raises ConfigError, with file and line, for a file that cannot be read.
    """
    regions: dict[str, str] = {}
    looked: list[str] = []
    for variable, usual in _FILES:
        path = _expanded(environ.get(variable) or usual, environ)
        sections = _sections(path)
        found = _of_config(sections) if variable == "AWS_CONFIG_FILE" else sections
        for name, values in found.items():
            regions[name] = regions.get(name) or values.get("region", "").strip()
        there = f"has {len(found)} profile{'s' if len(found) != 1 else ''}" if path.is_file() else "does not exist"
        looked.append(f"{path} {there}")
    given = [group for group in _FROM_ENVIRONMENT if all(environ.get(name) for name in group)]
    looked.append(
        f"the environment has {given[0][0]}"
        if given
        else f"the environment has none of {', '.join(group[0] for group in _FROM_ENVIRONMENT)}"
    )
    chosen = next((environ[name] for name in _NAMED if environ.get(name)), None)
    if chosen is None and "default" in regions:
        chosen = "default"
    return Profiles(regions, chosen, bool(given), tuple(looked))


def _expanded(name: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or os.path.expanduser("~")
    name = f"{home}{name[1:]}" if name == "~" or name.startswith("~/") else os.path.expanduser(name)
    return Path(os.path.expandvars(name))


def _of_config(sections: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return the profiles of ~/.aws/config: the sections `default` and `profile NAME`."""
    found = {}
    for section, values in sections.items():
        try:
            words = shlex.split(section)
        except ValueError:  # a quote without its end: botocore ignores the section
            continue
        if words == ["default"] or (len(words) == 2 and words[0] == "profile"):
            found[words[-1]] = values
    return found


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of an INI file; none if it does not exist."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Correct its permissions.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.", "Correct that file.") from None
    except configparser.Error as error:
        raise ConfigError(
            f"{path} cannot be understood in line {_line(error)}: {_why(error)}.",
            "Correct that line; `aws` cannot read the file either.",
        ) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _line(error: configparser.Error) -> int:
    errors = getattr(error, "errors", ())
    return int(errors[0][0] if errors else getattr(error, "lineno", 0) or 0)


def _why(error: configparser.Error) -> str:
    """Return what is wrong; the line itself may be a key, so it is not quoted."""
    match error:
        case configparser.MissingSectionHeaderError():
            return "it comes before the first [section]"
        case configparser.DuplicateSectionError():
            return f"the section [{safe(str(error.section))}] is there twice"
        case configparser.DuplicateOptionError():
            return f"{safe(str(error.option))} is set twice"
        case _:
            return "it is neither a [section] nor NAME = VALUE"
