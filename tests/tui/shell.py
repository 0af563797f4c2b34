"""Runs the program without a screen, as in a shell, and reads its output."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.config import Cloud
from backend.providers.ec2.driver import Driver
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Boot
from tests.ec2_proxy import FLAVORS

TREE = Path(__file__).parents[2]
SECRET = "planted-secret/abcdefghijklmnop"
TOKEN = "planted-token/qrstuvwxyz"
Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Shell:
    """A user with an empty home, in a folder with a configuration."""

    folder: Path
    home: Path
    """The data directory."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "CLOUDMESH_HOME": str(self.home),
            "PYTHONPATH": str(TREE),
            "LANG": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",  # else each start without keys waits for it
        }

    @property
    def config(self) -> Path:
        return self.folder / "work" / "cloudmesh.yaml"

    def configure(self, endpoint: str, mongodb: str, database: str = "cloudmesh", mode: int = 0o600) -> None:
        keys = f"{{EC2_ACCESS_KEY: AKIATESTING, EC2_SECRET_KEY: {SECRET}, EC2_SESSION_TOKEN: {TOKEN}}}"
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(
            f"""
cloudmesh:
  default: {{cloud: east}}
  mongodb: {{uri: "{mongodb}", database: {database}}}
  clouds:
    east: {{endpoint: "{endpoint}", images: self, credentials: {keys}, default: {{location: us-east-1}}}}
    west: {{endpoint: "{endpoint}", images: self, credentials: {keys}, default: {{location: us-west-2a}}}}
"""
        )
        self.config.chmod(mode)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        self.config.parent.mkdir(exist_ok=True)
        settings: dict[str, Any] = {
            "cwd": self.config.parent,
            "env": self.environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen([sys.executable, "-m", "tui", *words], **(settings | options))

    def run(self, *words: str, **options: Any) -> Result:
        with self.start(*words, **options) as process:
            try:
                out, error = process.communicate(timeout=60)
            finally:
                process.kill()
        return Result(process.args, process.returncode, out, error)

    def done(self, *words: str) -> str:
        """Run a command that must succeed with nothing on stderr, and return its output."""
        result = self.run(*words)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    def lines(self, *words: str) -> dict[str, dict[str, Any]]:
        """Return the lines of a `--refresh … --json` that works, by kind."""
        return by_kind(self.done("--refresh", *words, "--json"))


def by_kind(out: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in out.splitlines()]
    assert len({line["kind"] for line in lines}) == len(lines)
    return {line["kind"]: line for line in lines}


def sentence(result: Result) -> str:
    """Return the one line that a run wrote on stderr."""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.strip() != ""
    return result.stderr


def control_characters(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} - {"\n"}


def register(cloud: Cloud, name: str) -> str:
    """Make an image of our own, which only the cloud's own API can."""
    answer = Driver(cloud).send("RegisterImage", {"Name": name, "Architecture": "x86_64"})
    found = re.search(r"<imageId>(ami-\w+)<", b"".join(answer.chunks()).decode())
    assert found is not None
    return found[1]


def booted(cloud: Cloud, provider: EC2Provider, name: str) -> str:
    image = register(cloud, f"image of {len(name)}")
    return str(provider.of("vm").boot(Boot(image, FLAVORS[0], uuid4().hex, name=name))["id"])
