"""What every window over the dashboard shares."""

from textual.screen import ModalScreen

from tui.screens.steady import Answer, Steady


class Window(ModalScreen[Answer], Steady[Answer]):  # in this order: textual takes styles from the first
    """A window that gives back one answer."""
