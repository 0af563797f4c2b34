"""An input that holds no control characters, whoever pastes them: it is painted as it is."""

import unicodedata

from textual.widgets import Input


class Field(Input):
    """textual's own shows an escape sequence to the terminal."""

    def validate_value(self, value: str) -> str:
        """Return what of a new value may be painted; all that a keyboard can type stays."""
        return value if value.isprintable() else "".join(char for char in value if _paints(char))


def _paints(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs")
