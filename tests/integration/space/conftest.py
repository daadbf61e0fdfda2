from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small file systems in memory, which are really full when they are; only root may."""
    if os.geteuid() != 0:
        pytest.skip("a file system can be mounted by root only; as root these tests run")
    points: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"disk{len(points)}"
        point.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


class Filler:
    """Fills a file system by a file of its own."""

    def __init__(self, point: Path) -> None:
        self.point = point
        self._file = point / "filler"

    def percent(self) -> float:
        about = os.statvfs(self.point)
        return 100 * (1 - about.f_bavail / about.f_blocks)

    def fill_to(self, percent: float) -> None:
        """Use so much of it all in all; 100 is to the last block."""
        with self._file.open("ab", buffering=0) as file:
            while self.percent() < percent:
                try:
                    file.write(b"x" * 4096)
                except OSError:
                    return

    def empty(self) -> None:
        self._file.unlink(missing_ok=True)


@pytest.fixture
def filler() -> type[Filler]:
    return Filler
