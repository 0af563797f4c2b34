"""`python -m tui` is `cloudmesh-tui`."""

from cloudmesh_tui import program

program()
