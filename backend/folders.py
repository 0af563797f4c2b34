"""Makes folders that are nobody else's business."""

import errno
import os
import stat
from pathlib import Path


def make_private(path: Path) -> None:
    """Create a folder and what is missing above it, each for its owner alone; mkdir's `parents` ignores the mode."""
    if not path.exists():
        make_private(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)


def close_to_others(path: Path, top: Path) -> None:
    """Close a folder, and those above it up to `top`, to everybody but us.

    Raises PermissionError where one of them, or what it links to, belongs to somebody else.
    """
    for folder in (path, *path.parents):
        if folder == top or top in folder.parents:
            found = folder.stat()
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{folder} belongs to somebody else")
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                folder.chmod(0o700)
