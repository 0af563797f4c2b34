"""A credential_process that ends: botocore itself would wait for it without a limit, and quote its stderr."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

SECONDS = 30.0
"""How long a credential_process may take."""

_MOST = 1_000_000
"""How many bytes it may print."""


class ProcessFailedError(Exception):
    """A credential_process gave no keys; the text says why, without anything that it printed."""


class Process(subprocess.Popen[bytes]):
    """Runs a credential_process for botocore: in a session of its own, without the terminal, and for a limited time.

    Its stderr is dropped: some programs write keys there.
    """

    def __init__(self, command: Sequence[str], *, seconds: float = SECONDS, **_: Any) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        nowhere = subprocess.DEVNULL
        try:
            super().__init__(command, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere, start_new_session=True)
        except (OSError, ValueError, IndexError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no command"
            raise ProcessFailedError(f"cannot be run: {why}") from None

    def communicate(self, *_: Any, **__: Any) -> tuple[bytes, bytes]:
        """Return what it prints, which is JSON with keys, and b"". Raises ProcessFailedError."""
        try:
            data = self._printed()
            status = self.wait(max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ProcessFailedError(f"took longer than {self._seconds:g} s and was stopped") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # its children too
            assert self.stdout is not None  # noqa: S101 - for mypy: it is a pipe
            self.stdout.close()
            self.wait()
        if status:
            raise ProcessFailedError(f"ended with exit status {status}")
        _check(data)
        return data, b""

    def _printed(self) -> bytes:
        assert self.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        data = b""
        while True:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([self.stdout], [], [], left)[0]:
                raise subprocess.TimeoutExpired("credential_process", self._seconds)
            chunk = os.read(self.stdout.fileno(), 65_536)
            if not chunk:
                return data
            data += chunk
            if len(data) > _MOST:
                raise ProcessFailedError("printed more than a megabyte")


def _check(data: bytes) -> None:
    """Raise ProcessFailedError unless botocore can use the answer: its own errors would quote it."""
    try:
        said = json.loads(data.decode())
    except ValueError:
        raise ProcessFailedError("printed no JSON") from None
    if not isinstance(said, dict) or said.get("Version") != 1:
        raise ProcessFailedError('printed JSON without "Version": 1')
    missing = [name for name in ("AccessKeyId", "SecretAccessKey") if not isinstance(said.get(name), str)]
    if missing:
        raise ProcessFailedError(f"printed JSON without {' and '.join(missing)}")
