"""The base of all windows over the dashboard."""

from textual.screen import ModalScreen

from tui.screens.steady import Answer, Steady


class Window(ModalScreen[Answer], Steady[Answer]):  # in this order: textual takes styles from the first
    """A window that is dismissed with one answer."""
