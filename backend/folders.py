"""Creates private folders, and recognizes files and folders of other users."""

import errno
import os
import stat
from pathlib import Path


def make_private(path: Path) -> None:
    """Create a folder and its missing parents, all private (mkdir with `parents` would ignore the mode)."""
    if not path.exists():
        make_private(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)


def is_trusted(found: os.stat_result) -> bool:
    """Return whether a file belongs to us or to root, who can read everything anyway."""
    return found.st_uid in (os.geteuid(), 0)


def refuse_others(path: Path) -> None:
    """Raise PermissionError if a folder, or its link target, belongs to another user, who may change it."""
    if not is_trusted(path.stat()):
        raise PermissionError(errno.EPERM, f"{path} belongs to another user")


def close_to_others(path: Path, top: Path) -> None:
    """Make a folder, and its parents up to `top`, private.

    Raises PermissionError if one of them, a link target, or the parent of `top` belongs to another user.
    """
    refuse_others(top.parent)
    for folder in (path, *path.parents):
        if folder == top or top in folder.parents:
            found = folder.stat()
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{folder} belongs to another user")
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                folder.chmod(0o700)
