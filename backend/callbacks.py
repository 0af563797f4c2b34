"""The callback that does nothing."""


def ignore(*_: object) -> None:
    """Do nothing, whatever is told."""
