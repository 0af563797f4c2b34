"""Makes folders that are nobody else's business, and tells those that are somebody else's."""

import errno
import os
import stat
from pathlib import Path


def make_private(path: Path) -> None:
    """Create a folder and what is missing above it, each for its owner alone; mkdir's `parents` ignores the mode."""
    if not path.exists():
        make_private(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)


def is_trusted(found: os.stat_result) -> bool:
    """Return whether something belongs to us or to root, whom nothing is kept from."""
    return found.st_uid in (os.geteuid(), 0)


def refuse_others(path: Path) -> None:
    """Raise PermissionError where a folder, or what it links to, belongs to another user, who may change it."""
    if not is_trusted(path.stat()):
        raise PermissionError(errno.EPERM, f"{path} belongs to somebody else")


def close_to_others(path: Path, top: Path) -> None:
    """Close a folder, and those above it up to `top`, to everybody but us.

    Raises PermissionError where one of them, what it links to, or the folder that `top` is in belongs to somebody else.
    """
    refuse_others(top.parent)
    for folder in (path, *path.parents):
        if folder == top or top in folder.parents:
            found = folder.stat()
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{folder} belongs to somebody else")
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                folder.chmod(0o700)
