"""Shared by the fault suites: the surroundings of a run, and the sections of docs/reliability.md."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend.config import Cloud, Defaults
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from tests.simulated import empty


@dataclass(frozen=True)
class Ground:
    """What a suite is run on; `long` in `make faults`, else what a few seconds are enough for."""

    folder: Path
    """An empty one, for the suite alone."""
    moto: str
    """The endpoint of a simulated EC2."""
    server_home: Path
    """The data directory of an embedded server that runs, and that no suite may harm: those start their own."""
    long: bool = False

    def cloud(self, name: str = "aws") -> Cloud:
        """Empty the simulated account and return it."""
        empty(self.moto)
        keys = ec2_keys(Secret("AKIATESTING"), Secret("testing-secret"))
        return Cloud(name, endpoint=self.moto, images=("self",), credentials=keys, default=Defaults("us-east-1"))


@dataclass
class Section:
    """A table of docs/reliability.md. `bad` says in a sentence each what should not have happened."""

    title: str
    how: str
    """How it was tried, in a sentence or two."""
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
