"""Turns an stdout that cannot be written, such as on a full disk, into one error; what stderr cannot take is lost."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any, cast

from backend.errors import CloudmeshError


class OutputError(CloudmeshError):
    """What was asked for could not be printed."""


class _Stream:
    """A text stream whose failures are OutputErrors; a reader that has gone away stays a BrokenPipeError."""

    def __init__(self, stream: IO[str], lossy: bool) -> None:
        self._stream = stream
        self._lossy = lossy
        """What cannot be written is lost: there is nowhere to say so."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if self._lossy:
            return
        if isinstance(error, BrokenPipeError):
            raise error
        raise OutputError(
            f"The output could not be written: {error.strerror or type(error).__name__}.",
            "Write it elsewhere. What a command has changed is in journal list.",
        ) from None


@contextmanager
def explained() -> Iterator[None]:
    """Have what the block prints raise OutputError where stdout cannot be written; what stderr cannot take is lost.

    Either may be None, in a program that was started with it closed.
    """
    with redirect_stdout(_wrapped(sys.stdout, False)), redirect_stderr(_wrapped(sys.stderr, True)):
        yield


def _wrapped(stream: Any, lossy: bool) -> Any:
    return stream if stream is None else cast(IO[str], _Stream(stream, lossy))


def give_up() -> None:
    """Send what stdout still holds nowhere: it could not be written, and must not be tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
