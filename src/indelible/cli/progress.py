"""A progress bar on stderr for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from indelible.cli.text import byte_count

SHOW_PROGRESS_AFTER_S: Final = 1.0

Progress = Callable[[int], None]
"""Called with the number of bytes of lines that were read since the last call."""


@contextlib.contextmanager
def progress_bar(paths: list[Path], doing: str) -> Iterator[Progress | None]:
    """Show on a terminal how far the reading of these trails is, once it has taken a second."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(sum(_size(path) for path in paths), doing)
    try:
        yield bar.add
    finally:
        bar.close()


def _size(path: Path) -> int:
    """Return the bytes of a trail's files; compressed ones count as ten times their size, as a guess."""
    total = 0
    folder = path.with_name(path.name + ".d") / "segments"
    for file in [path, *(folder.iterdir() if folder.is_dir() else [])]:
        with contextlib.suppress(OSError):
            total += file.stat().st_size * (10 if file.suffix == ".zst" else 1)
    return total


class _Bar:
    def __init__(self, total: int, doing: str) -> None:
        self._total = total
        self._doing = doing
        self._done = 0
        self._due = time.monotonic() + SHOW_PROGRESS_AFTER_S
        self._progress: Any = None
        self._task: Any = None

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is None:
            if time.monotonic() < self._due:
                return
            self._start()
        done = min(self._done, self._total)
        self._progress.update(self._task, completed=done, sizes=self._sizes(done))

    def _sizes(self, done: int) -> str:
        return f"{byte_count(done)} of {byte_count(self._total)}"

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(self._doing),
            BarColumn(),
            TextColumn("{task.fields[sizes]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task("", total=self._total, sizes=self._sizes(0))

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
