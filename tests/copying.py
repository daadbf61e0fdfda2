"""Copies of trails that go on as if they were the trail itself, as a snapshot of a file system does."""

from __future__ import annotations

import shutil
from pathlib import Path


def copy_trail(source: Path, target: Path) -> None:
    """Copy a trail's directory, but for the file by which a copy is told from the trail that it was made of."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("place"))
