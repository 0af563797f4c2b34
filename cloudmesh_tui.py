"""The entry point: checks the platform and that `tui` and `backend` are ours before it imports them.

tui.cli imports modules that Windows lacks, so this one imports only what every Python has. Other projects have packages
named `tui` and `backend`, too. None has one of this name, so only this module can notice that they hide ours.
"""

import importlib.util
import os
import sys
from typing import NoReturn

PACKAGES = ("tui", "backend")

_STATUS = 2
"""The exit status of wrong words or a wrong configuration."""


def unsupported(platform: str) -> str | None:
    """Return why the program does not run on a platform (as sys.platform names it), None where it does."""
    if platform == "win32":
        return "Cloudmesh TUI does not run on Windows: it needs a Unix terminal. Run it in WSL, or on Linux or macOS."
    return None


def foreign() -> str | None:
    """Return which of our packages another project's hides, and what to do; None where both are our own."""
    here = os.path.dirname(os.path.realpath(__file__))
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"Cloudmesh TUI is incomplete: {here} has no package `{name}`. Install it again."
        # A package is a folder, a module is a file.
        found = os.path.realpath((spec.submodule_search_locations or [spec.origin or ""])[0])
        if found != os.path.join(here, name):
            return (
                f"Cloudmesh TUI cannot start: another project's `{name}` ({found}) hides its own. "
                f"Start it in another folder, or take {os.path.dirname(found)} out of PYTHONPATH."
            )
    return None


def program(platform: str = sys.platform) -> NoReturn:
    """Run the program and end the process with its exit status."""
    problem = unsupported(platform) or foreign()
    if problem:
        print(problem, file=sys.stderr)
        sys.exit(_STATUS)
    from tui.cli import program as run

    run()


if __name__ == "__main__":
    program()
