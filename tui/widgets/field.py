"""An input that drops control characters and invisible ones, also from pasted text, because it is painted as it is."""

import unicodedata

from textual.events import Paste
from textual.widgets import Input

from backend.format import counted


class Field(Input):
    """textual's input sends escape sequences and bidi overrides to the terminal; this one drops them."""

    def validate_value(self, value: str) -> str:
        """Return a new value without what may not be painted; all that a keyboard can type stays."""
        return value if value.isprintable() else "".join(char for char in value if _paints(char))

    def on_paste(self, event: Paste) -> None:
        """Take the first line that is not blank, and warn if there are more."""
        first, *others = [line for line in event.text.splitlines() if line.strip()] or [""]
        event.text = first
        if others:
            left = f"{counted(len(others), 'more line')} {'was' if len(others) == 1 else 'were'}"
            self.app.notify(f"Only the first line was taken; {left} left out.", severity="warning", markup=False)


def _paints(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


_JOINERS = "\u200c\u200d"
"""Keyboards for Persian, Hindi and emoji type them."""
