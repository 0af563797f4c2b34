"""The callback of whoever does not want to be told."""


def ignore(*_: object) -> None:
    """Do nothing, whatever is told."""
