"""Makes text that strangers wrote safe to show on a terminal."""

import unicodedata


def safe(text: str) -> str:
    """Return `text` with every character that could steer a terminal shown as a visible stand-in.

    C0 controls (newlines and tabs too) become their Unicode control pictures, C1 controls, bidi overrides, zero-width
    and unassigned characters become U+FFFD. Markup is not touched: nothing here or on screen interprets it.
    """
    if text.isprintable():  # true of nearly every name; false for all of Cc, Cf, Cs, Co, Cn and the odd spaces
        return text
    return "".join(char if char.isprintable() else _stand_in(char) for char in text)


def _stand_in(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if unicodedata.category(char) == "Zs":  # no-break space and its kin: a space to the eye
        return " "
    return "\ufffd"
