"""Makes folders that are nobody else's business."""

from pathlib import Path


def make_private(path: Path) -> None:
    """Create a folder and what is missing above it, each for its owner alone; mkdir's `parents` ignores the mode."""
    if not path.exists():
        make_private(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)
