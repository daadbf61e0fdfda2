"""A progress bar on stderr for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from indelible import loglines
from indelible.cli.text import byte_count
from indelible.trail.files import segments
from indelible.trail.layout import Layout
from indelible.trail.packed import content_size
from indelible.trail.reader import names_in

SHOW_PROGRESS_AFTER_S: Final = 1.0

Progress = Callable[[int], None]
"""Called with the number of bytes of lines that were read since the last call."""


@contextlib.contextmanager
def progress_bar(paths: list[Path], doing: str, *, earlier: bool = False) -> Iterator[Progress | None]:
    """Show on a terminal how far the reading of these trails is, once it has taken a second.

    With `earlier`, those that were set aside below them are read, too.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with byte_bar(sum(size_of(path, earlier=earlier) for path in paths), doing) as progress:
        yield progress


@contextlib.contextmanager
def byte_bar(total: int, doing: str) -> Iterator[Progress | None]:
    """Show on a terminal how far something of so many bytes is, once it has taken a second; nothing of unknown size."""
    if not total or not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(total, doing)
    try:
        yield bar.add
    finally:
        bar.close()


@contextlib.contextmanager
def count_bar(total: int, doing: str, done: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """Show on a terminal how far something of so many events is, once it has taken a second.

    `done` tells how many; what is yielded is called whenever that may have grown.
    """
    if not sys.stderr.isatty() or loglines.is_json():
        yield lambda: None
        return
    bar = _Bar(total, doing, lambda count: f"{count} of {total} events")
    try:
        yield lambda: bar.show(done())
    finally:
        bar.close()


@contextlib.contextmanager
def step_bar(total: int, doing: str, what: str) -> Iterator[Callable[[], None]]:
    """Show on a terminal how many of so many steps are done, once they have taken a second; call it after each."""
    if not sys.stderr.isatty() or loglines.is_json():
        yield lambda: None
        return
    bar = _Bar(total, doing, lambda count: f"{count} of {total} {what}")
    try:
        yield lambda: bar.add(1)
    finally:
        bar.close()


def size_of(path: Path, *, earlier: bool = False) -> int:
    """Return the bytes of lines in a trail's files, compressed or not; with `earlier`, also of those below it."""
    total, layout = 0, Layout(path)
    with contextlib.suppress(OSError):
        total += path.stat().st_size
    for segment in segments(layout):
        with contextlib.suppress(OSError):
            said = content_size(segment.path) if segment.compressed else None
            total += segment.path.stat().st_size if said is None else said
    for name in names_in(layout.retired) if earlier else ():
        total += size_of(layout.retired / name / path.name)
    return total


class _Bar:
    def __init__(self, total: int, doing: str, sizes: Callable[[int], str] | None = None) -> None:
        self._total = total
        self._sizes = sizes or self._bytes
        self._doing = doing
        self._done = 0
        self._due = time.monotonic() + SHOW_PROGRESS_AFTER_S
        self._progress: Any = None
        self._task: Any = None

    def add(self, count: int) -> None:
        self.show(self._done + count)

    def show(self, done: int) -> None:
        self._done = done
        if self._progress is None:
            if time.monotonic() < self._due:
                return
            self._start()
        done = max(0, min(self._done, self._total))
        self._progress.update(self._task, completed=done, sizes=self._sizes(done))

    def _bytes(self, done: int) -> str:
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
