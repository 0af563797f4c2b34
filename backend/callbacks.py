"""The callback that does nothing."""


def ignore(*_: object) -> None:
    """Accept any arguments and do nothing."""
