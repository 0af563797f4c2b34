"""Shared by the tests of the configuration: writes one, reads it, and expects its errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.catalog import KINDS
from backend.config import Settings, load
from backend.errors import ConfigError


def read(path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, KINDS, {"HOME": "/nowhere"} | dict(environ or {}))


def refused(path: Path, text: str, environ: Mapping[str, str] | None = None) -> ConfigError:
    """Read a wrong configuration: the error names the file and has one sentence and a cure."""
    with pytest.raises(ConfigError) as caught:
        read(path, text, environ)
    assert str(path) in caught.value.message
    assert caught.value.message.endswith(".")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    return caught.value


def document(keys: str, value: Any) -> str:
    """Return a valid configuration with another value at a dotted path; the cloud is called aws."""
    whole: dict[str, Any] = {"cloudmesh": {"clouds": {"aws": {"endpoint": "http://127.0.0.1:5000"}}}}
    place = whole
    *above, last = keys.split(".")
    for key in above:
        place = place.setdefault(key, {})
    place[last] = value
    return yaml.safe_dump(whole)


def one(text: str) -> str:
    """Return a configuration of one cloud with these lines of YAML in it."""
    return "cloudmesh:\n  clouds:\n    aws:\n" + "".join(f"      {line}\n" for line in text.splitlines())
