"""`python -m tui` is `cloudmesh-tui`."""

from tui.cli import program

program()
