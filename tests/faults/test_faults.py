"""The short form of `make faults`: nothing lost, nothing wrong, nothing leaked."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.faults.__main__ import SUITES
from tests.faults.model import Ground

MARKS = {"monkey": pytest.mark.monkey}


@pytest.mark.parametrize("suite", [pytest.param(suite, marks=MARKS.get(suite, ())) for suite in SUITES])
def test_nothing_bad_happens(suite: str, moto: str, server_home: Path, tmp_path: Path) -> None:
    for section in import_module(f"tests.faults.{suite}").sections(Ground(tmp_path, moto, server_home)):
        assert section.rows
        assert section.bad == []
