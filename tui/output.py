"""Reports a failed write to stdout, such as on a full disk, as one error; a failed write to stderr is ignored."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any, cast

from backend.errors import CloudmeshError


class OutputError(CloudmeshError):
    """The output could not be written."""


class _Stream:
    """A text stream that raises OutputError; a closed pipe stays a BrokenPipeError."""

    def __init__(self, stream: IO[str], lossy: bool) -> None:
        self._stream = stream
        self._lossy = lossy
        """A failed write is ignored: there is no other stream to report it on."""

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
    """Wrap stdout and stderr in the block: a failed write to stdout raises OutputError, one to stderr is ignored.

    Each may be None: the program was started with it closed.
    """
    with redirect_stdout(_wrapped(sys.stdout, False)), redirect_stderr(_wrapped(sys.stderr, True)):
        yield


def _wrapped(stream: Any, lossy: bool) -> Any:
    return stream if stream is None else cast(IO[str], _Stream(stream, lossy))


def give_up() -> None:
    """Discard the buffer of stdout: it cannot be written, and Python must not try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
