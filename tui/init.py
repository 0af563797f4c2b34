"""`cloudmesh-tui init`: writes a cloudmesh.yaml for the accounts on this computer, after asking; no keys are in it."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from backend import config
from backend.config import Cloud, Settings
from backend.discovery import discovered
from backend.errors import CloudmeshError, ConfigError, UsageError
from backend.providers.registry import DEFAULT
from backend.text import safe

_HEAD = """\
# Written by `cloudmesh-tui init` for the accounts of the AWS tools on this computer. It holds no keys.
# Every setting and its meaning: cloudmesh.yaml.example
cloudmesh:
  default:
    cloud: {cloud}  # the first one shown: the one that `aws` itself would use
  # read_only: on                 # send nothing that changes a cloud; each cloud may have its own read_only
  # production: [env=prod*]       # to delete what has such a tag, type its name
  clouds:
"""


def init(option: str | None, *, yes: bool, ask: Callable[[str], str] | None = None) -> int:
    """Show the file, ask, and write it: to `--config FILE`, else into the data directory. Return the exit status.

    `ask` puts a question and returns the answer; None: there is nobody to ask. With `yes` a new file is written without
    a question, and one that exists is never replaced.

    Raises ConfigError if no account was found, UsageError if there is nobody to ask, and CloudmeshError if the file
    cannot be written.
    """
    everywhere = DEFAULT.region_variables  # of this shell, and not of the profiles
    settings = discovered({name: value for name, value in os.environ.items() if name not in everywhere})
    if not settings.found:
        raise ConfigError(
            f"There is nothing to write: {'; '.join(settings.looked_at)}.", "Run aws configure or aws configure sso."
        )
    path = config.expanded(option) if option else config.home() / config.NAME
    text = document(settings)
    print(text)
    exists = path.exists()
    if exists and yes:
        raise UsageError(f"{path} exists, and --yes replaces no file.", "Run init without --yes, or name another file.")
    if not yes:
        if ask is None:
            raise UsageError(f"There is no terminal to ask on whether to write {path}.", "Add --yes to write it.")
        question = f"{safe(str(path))} exists. Replace it?" if exists else f"Write this to {safe(str(path))}?"
        if ask(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was written.", file=sys.stderr)
            return 1
    _write(path, text)
    print(f"{safe(str(path))} is written. Run cloudmesh-tui.", file=sys.stderr)
    return 0


def document(settings: Settings) -> str:
    """Return the text of a cloudmesh.yaml with these clouds."""
    return _HEAD.format(cloud=json.dumps(settings.cloud)) + "\n".join(map(_cloud, settings.clouds.values()))


def ask_on_terminal() -> Callable[[str], str] | None:
    """Return what asks on the terminal; None if there is none."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask


def _cloud(cloud: Cloud) -> str:
    profile = cloud.account.profile if cloud.account else None
    lines = [f"    {json.dumps(cloud.name)}:", "      provider: ec2"]
    if profile:
        lines.append(f"      profile: {json.dumps(profile)}")
    else:
        lines.append("      # profile:                  # none: the keys of the environment, as for `aws`")
    if cloud.region:
        lines += ["      default:", f"        location: {json.dumps(cloud.location)}"]
    else:
        lines += [
            "      # default:",
            "      #   location: us-east-1      # it has none: by AWS_REGION, or the instance",
        ]
    return "\n".join([*lines, "      # role: arn:aws:iam::123456789012:role/NAME", ""])


def _write(path: Path, text: str) -> None:
    """Write the file for its owner alone, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CloudmeshError(
            f"{path} cannot be written: {error.strerror}.", "Name another with --config FILE."
        ) from None
