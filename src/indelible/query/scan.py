"""Go through every line of a trail from its start, whatever is wrong with some of it.

The rule that lives here: **what cannot be read is told and never ends the search.** A file that is damaged in the
middle or may not be opened is left there, and the next one is read. Nothing holds more than one chunk of a file.

Of ``since`` the same holds as of every search (`indelible.query.search`): what was recorded before it is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from indelible.errors import TrailCorrupt, TrailError
from indelible.query.filters import Filter, parse_event
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.erased import parse_erased
from indelible.trail.reader import Lines, TrailFile


class ScannedLine(NamedTuple):
    """One line; `entry` is None when it is no entry."""

    file: Path
    number: int | None
    """Counted from 1; None in a file that was not read from its start."""
    line: bytes
    entry: dict[str, Any] | None


class Unread(NamedTuple):
    """A trail, a file or the rest of one that could not be read, and why."""

    path: Path
    why: str


class Scan:
    """One pass through one trail; counts what it has seen."""

    def __init__(
        self, path: Path, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> None:
        """Prepare for the trail whose active file is `path`; `since` is a time in the trail's form."""
        self._path = path
        self._since = since
        self._progress = progress or (lambda _count: None)
        self.events = 0
        self.erased = 0
        self.files = 0
        self.unread: list[Unread] = []
        """Trails, files and the rest of files that could not be read, with the reason."""
        self.broken: dict[Path, tuple[int, int | None]] = {}
        """Of each file with lines that are no entries: how many there are, and the number of the first."""

    def lines(self) -> Iterator[ScannedLine]:
        """Yield every line that is no erased one, oldest first. Raises nothing but what its consumer raises."""
        try:
            search = TrailSearch(self._path, Filter(events=None, since=self._since), Corrupt())
        except TrailError as exc:
            self.unread.append(Unread(self._path, _without_path(str(exc), self._path)))
            return
        with search:
            for path, why in search.strangers:
                self.unread.append(Unread(path, why))
            try:
                begin, offset = search.start()
            except (OSError, TrailError):  # where to begin nobody knows: with all of it
                begin, offset = 0, 0
            for file in search.files[begin:]:
                yield from self._file(file, offset)
                offset = 0

    def _file(self, file: TrailFile, offset: int) -> Iterator[ScannedLine]:
        try:
            stream = file.open()
        except FileNotFoundError:  # deleted by the writer's retention since the files were listed
            return
        except (OSError, TrailError) as exc:
            self.unread.append(Unread(file.path, _said(exc, file.path)))
            return
        self.files += 1
        with stream:
            stream.seek(offset) if offset else None
            yield from self._lines_of(file, stream, None if offset else 1)

    def _lines_of(self, file: TrailFile, stream: BinaryIO, number: int | None) -> Iterator[ScannedLine]:
        lines = Lines(stream)
        blocks = iter(lines)
        while True:
            try:
                some, raw = next(blocks)
            except StopIteration:
                break
            except (OSError, TrailCorrupt) as exc:
                self.unread.append(Unread(file.path, _said(exc, file.path)))
                return
            self._progress(len(raw))
            for line in some:
                yield from self._line(file, line, number)
                number = None if number is None else number + 1
        if lines.rest:
            self._progress(len(lines.rest))
            yield from self._line(file, lines.rest, number)

    def _line(self, file: TrailFile, line: bytes, number: int | None) -> Iterator[ScannedLine]:
        if parse_erased(line) is not None:
            self.erased += 1
            return
        entry = _entry(line)
        if entry is None:
            count, first = self.broken.get(file.path, (0, number))
            self.broken[file.path] = count + 1, first
        elif self._is_early(entry):
            return
        else:
            self.events += 1
        yield ScannedLine(file.path, number, line, entry)

    def _is_early(self, entry: dict[str, Any]) -> bool:
        received = entry.get("timestamp")
        return self._since is not None and isinstance(received, str) and received < self._since


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_event(line)
    except (ValueError, RecursionError):
        return None


def _said(exc: Exception, path: Path) -> str:
    if isinstance(exc, OSError):
        return f"cannot be read: {exc.strerror}"
    return _without_path(str(exc), path)


def _without_path(said: str, path: Path) -> str:
    return said.removeprefix(f"{path}: ")
