"""Parses the bytes of a terminal: a sequence with a meaning becomes an event of textual, any other is dropped.

textual's own parser has three faults: it fails on bytes that are not UTF-8 and on impossible key codes; it takes the
rest of a cut-off sequence for typed letters; it waits for ever for the end of a paste.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from time import monotonic

from textual import events, messages
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual._xterm_parser import FOCUSIN, FOCUSOUT, XTermParser
from textual.constants import ESCAPE_DELAY
from textual.keys import Keys
from textual.message import Message

UNFINISHED_FOR = 0.3
"""Seconds after which an incomplete sequence is dropped."""

PASTE_SILENT_FOR = 0.5
"""Seconds without a byte after which a paste counts as ended: its end was lost."""

PASTE_MOST = 100_000
"""At most N bytes of a paste are kept."""

BURST = 32
"""N letters or more in one read, after a paste without an end, are its rest: no user types so many at once."""

_START, _END = b"\x1b[200~", b"\x1b[201~"

_WHOLE = re.compile(
    rb"\x1b(?:"
    rb"\[M[\x00\x20-\xff]{3}"  # a mouse report of X10: these three bytes may be any
    rb"|\[\[[A-E]"  # the Linux console's F1 to F5
    rb"|\[(?![\[M])[\x20-\x3f]*[\x40-\x7e]"
    rb"|O[\x30-\x3f]*[\x40-\x7e]"
    rb"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # a reply of the terminal
    rb"|[^\[O\]PX^_\x1b\x80-\xff]"  # Alt and a key, or Esc and soon after it a key
    rb"|(?=[\x1b\x80-\xff])"  # Esc, then something else
    rb")",
    re.DOTALL,
)
_BEGUN = re.compile(rb"\x1b(?:\[(?:M[\x00\x20-\xff]{0,2}|\[|[\x20-\x3f]*)|O[\x30-\x3f]*|[\]PX^_][^\x07\x1b]*\x1b?)?")
_ANSWERS = b"]PX^_"
"""The characters after Esc that begin a reply of the terminal; the length of a reply is not limited."""
_LONGEST = 256
"""At most N bytes of an incomplete sequence are kept."""
_ALT = 2
"""The length of Alt, or Esc, and a key, in bytes."""

_MOUSE = re.compile(r"\x1b\[<\d{1,3};\d{1,5};\d{1,5}[mM]", re.ASCII)
_KEY = re.compile(r"\x1b\[(\d{0,7})(?:;(\d{0,3})(?:;(\d{1,7}(?::\d{1,7})*)?)?)?([u~ABCDEFHPQRS])", re.ASCII)
_SYNCHRONIZED = re.compile(r"\x1b\[\?2026;[1-9]\$y")


class Keyboard:
    """Makes events of the bytes of one terminal; an incomplete sequence waits until its rest comes or is late."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._textual = XTermParser()
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._held = b""
        self._last = now()
        """When the last byte came."""
        self._paste: bytearray | None = None
        self._endless = False
        """A paste ended without its end sequence: the next burst is its rest."""

    @property
    def wait(self) -> float | None:
        """Seconds until `tick` has something to do; None: nothing waits."""
        if self._paste is not None:
            limit = PASTE_SILENT_FOR
        elif self._held:
            limit = ESCAPE_DELAY if len(self._held) <= _ALT else UNFINISHED_FOR
        else:
            return None
        return max(0.0, self._last + limit - self._now())

    def tick(self) -> Iterator[Message]:
        """Yield what has waited too long: the Esc key, or a paste without its end."""
        if self.wait != 0:
            return
        held, self._held = self._held, b""
        if self._paste is not None:
            self._endless = True
            self._keep(held)
            yield self._pasted()
        elif held == b"\x1b":
            yield _escape()
        elif len(held) == _ALT:
            yield from self._with_alt(held.decode("ascii"))

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the events that these bytes complete."""
        yield from self.tick()
        if self._paste is None and self._endless and _continues_paste(data):
            self._paste = bytearray()
        self._last = self._now()
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if self._paste is not None:
                end = data.find(_END, at)
                if end < 0:
                    self._held = _begun(_END, data[at:])
                    self._keep(data[at : len(data) - len(self._held)])
                    return
                self._keep(data[at:end])
                self._endless = False
                yield self._pasted()
                at = end + len(_END)
                continue
            escape = data.find(b"\x1b", at)
            if escape < 0:
                yield from self._typed(data[at:], whole=False)
                return
            yield from self._typed(data[at:escape], whole=True)
            if whole := _WHOLE.match(data, escape):
                yield from self._meant(whole.group())
                at = whole.end()
            else:
                begun = data[escape : (match := _BEGUN.match(data, escape)) and match.end()]
                at = escape + len(begun)
                if at == len(data):
                    self._hold(begun)

    # --- incomplete sequences -----------------------------------------------------------------------------------------

    def _hold(self, begun: bytes) -> None:
        if len(begun) > _LONGEST:  # it has no meaning, but its end is still to come
            begun = begun[:3] + (begun[-1:] if begun[1] in _ANSWERS else b"")
        self._held = begun

    def _keep(self, data: bytes) -> None:
        assert self._paste is not None  # noqa: S101 - for mypy: only called while there is one
        self._paste += data[: PASTE_MOST - len(self._paste)]

    def _pasted(self) -> Message:
        text = bytes(self._paste or b"").decode("utf-8", "replace")
        self._paste = None
        return events.Paste("".join(char for char in text if char in "\t\n\r" or not _is_control(char)))

    # --- complete sequences -------------------------------------------------------------------------------------------

    def _typed(self, data: bytes, *, whole: bool) -> Iterator[Message]:
        for char in self._decode(data, whole):
            if not "\x80" <= char <= "\x9f":
                yield from self._keys(char)

    def _meant(self, sequence: bytes) -> Iterator[Message]:
        text = sequence.decode("latin-1")
        if sequence == _START:
            self._paste = bytearray()
        elif sequence == _END:
            self._endless = False
        elif sequence == b"\x1b":
            yield _escape()
        elif len(sequence) == _ALT:
            yield from self._with_alt(text)
        elif text in (FOCUSIN, FOCUSOUT):
            yield events.AppFocus() if text == FOCUSIN else events.AppBlur()
        elif _MOUSE.fullmatch(text):
            if mouse := self._textual.parse_mouse_code(text):
                yield mouse
        elif _SYNCHRONIZED.fullmatch(text):
            yield messages.TerminalSupportsSynchronizedOutput()
        elif key := _KEY.fullmatch(text):
            if _is_possible(*key.groups(default="")):
                yield from self._keys(text)
            elif isinstance(named := ANSI_SEQUENCES_KEYS.get(text), tuple):
                yield from (events.Key(one.value, None) for one in named)
        elif text in ANSI_SEQUENCES_KEYS:
            yield from self._keys(text)

    def _keys(self, sequence: str) -> Iterator[events.Key]:
        for key in self._textual._sequence_to_key_events(sequence):
            if key.key != Keys.Ignore:
                yield key

    def _with_alt(self, sequence: str) -> Iterator[events.Key]:
        """Yield a key with Alt if textual knows one of that name; else it was Esc, and then the key."""
        char = sequence[1]
        if sequence in ANSI_SEQUENCES_KEYS and not char.isalnum():
            yield from self._keys(sequence)
            return
        keys = list(self._textual._sequence_to_key_events(char, alt=True))
        if not all(key.key.startswith("alt+") for key in keys):
            yield _escape()
            keys = list(self._keys(char))
        yield from keys


def _escape() -> events.Key:
    return events.Key("escape", "\x1b")


def _begun(end: bytes, data: bytes) -> bytes:
    """Return as much of the end of the data as may be the begin of `end`."""
    return next((end[:size] for size in range(len(end) - 1, 0, -1) if data.endswith(end[:size])), b"")


def _continues_paste(data: bytes) -> bool:
    """Return whether bytes are the rest of a paste, and not many keys and mouse reports at once."""
    return data.find(_END) > 0 or len(_WHOLE.sub(b"", data)) >= BURST


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"


def _is_possible(code: str, _modifiers: str, text: str, end: str) -> bool:
    """Return whether such a key exists; `text` has the characters that it types."""
    characters = [int(one) for one in text.split(":") if one]
    if not all(_is_character(one) and chr(one).isprintable() for one in characters):
        return False
    return _is_character(int(code or 1)) if end == "u" else f"{int(code or 1)}{end}" in FUNCTIONAL_KEYS


def _is_character(code: int) -> bool:
    return code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
