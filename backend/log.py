"""The log file: what was run and how it ended, for a maintainer; never a secret."""

import logging
import os
from pathlib import Path

from backend.errors import ConfigError

logger = logging.getLogger("backend")
"""What the modules of the backend log comes here too; without a file it goes nowhere, least of all onto the screen."""
logger.addHandler(logging.NullHandler())


def write_to(path: Path) -> None:
    """Log to `path` from now on; a new file is its owner's alone. Raises ConfigError when it cannot be written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The log file {path} cannot be written: {error.strerror}.", "Choose another one.") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
