"""Records in files: one, with those that it was rotated to; all of a directory; standard input, or any other stream.

The rules that live here:

- A file's rotated siblings (``FILE.1``, ``FILE.2.gz``) are of the same stream of records, and read with it, the oldest
  first: what a file sink has put aside is no less its than what it writes now.
- In a directory nothing is followed and nothing waited for: links, pipes and devices are named as not read. Of a
  trail's own directory the closed files are read, and not its tiles.
- What cannot be opened, or unpacked, or is no record, never hides what can.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from indelible.errors import ConfigError, TrailError
from indelible.query.sources.base import LIMIT, Block, Unread
from indelible.query.sources.unpacking import PIECE_BYTES, Damaged, unpacked
from indelible.trail.layout import DIRECTORY_SUFFIX, Layout
from indelible.trail.reader import open_plain
from indelible.values import user_path

STDIN: Final = "-"
STDIN_NAME: Final = "standard input"

_SIBLING = re.compile(r"\.([1-9][0-9]{0,5})(?:\.gz|\.zst)?")


class FileSource:
    """One ``--from``: a file, a directory, or ``-``."""

    def __init__(self, name: str) -> None:
        """Raises ConfigError when there is no such file, or it may not be read."""
        self.name = STDIN_NAME if name == STDIN else name
        self.unread: list[Unread] = []
        self.files = 0
        self._paths: list[Path] = []
        self._in_directory = False
        self._stdin = name == STDIN
        if not self._stdin:
            self._find(name)

    def _find(self, name: str) -> None:
        if not name or "\0" in name:
            raise ConfigError(f"--from: expected a file, a directory or -, found {name!r}")
        path = user_path(name)
        try:
            mode = path.stat().st_mode
            self._in_directory = stat.S_ISDIR(mode)
            if self._in_directory:
                self._paths = list(self._walk(path))
            else:
                self._paths = [*self._rotated(path), path] if stat.S_ISREG(mode) else [path]
                if not os.access(path, os.R_OK):
                    raise PermissionError(13, os.strerror(13))
        except OSError as exc:
            raise ConfigError(f"--from: {name}: cannot be read: {exc.strerror}") from exc

    def _rotated(self, path: Path) -> list[Path]:
        try:
            return _rotated(path)
        except OSError as exc:  # it can be read, and what lies beside it cannot be listed
            why = f"cannot be listed: {exc.strerror}; what {path.name} was rotated to is left out"
            self.unread.append(Unread(str(path.parent), why))
            return []

    def _walk(self, top: Path) -> Iterator[Path]:
        """Yield the plain files of a directory and those below it, however deep, by name."""
        open_ones = [(top, _entries(top))]
        while open_ones:
            here, entries = open_ones[-1]
            entry = next(entries, None)
            if entry is None:
                open_ones.pop()
                continue
            path = Path(entry.path)
            if entry.is_symlink():
                self._note_link(path, here)
            elif entry.is_dir():
                inner = _inner(path)
                try:
                    open_ones.append((inner, _entries(inner)))
                except OSError as exc:
                    self.unread.append(Unread(str(inner), f"cannot be read: {exc.strerror}"))
            elif entry.is_file():
                yield path
            else:
                self.unread.append(Unread(str(path), "not a plain file"))

    def _note_link(self, path: Path, top: Path) -> None:
        """A link to what lies in the same directory is read there; any other one is not followed."""
        target = path.resolve()
        if not target.is_relative_to(top.resolve()):
            self.unread.append(Unread(str(path), "a symbolic link, which leads out of the directory"))

    def size(self) -> int:
        """See `indelible.query.sources.base.Source`."""
        total = 0
        for path in self._paths:
            try:
                about = path.stat()
            except OSError:
                continue
            total += about.st_size if stat.S_ISREG(about.st_mode) else 0
        return total

    def blocks(self) -> Iterator[Block]:
        """See `indelible.query.sources.base.Source`."""
        if self._stdin:
            yield from self._blocks_of(self.name, _open_stdin())
        for path in self._paths:
            try:
                stream = self._open(path)
            except FileNotFoundError:  # rotated away, or deleted, since it was listed
                self.unread.append(Unread(str(path), "it is gone since it was listed"))
            except (OSError, TrailError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "not a plain file"
                self.unread.append(Unread(str(path), f"cannot be read: {why}"))
            else:
                yield from self._blocks_of(str(path), stream)

    def _open(self, path: Path) -> BinaryIO:
        if self._in_directory:
            return os.fdopen(open_plain(path), "rb", buffering=0)
        return path.open("rb", buffering=0)

    def _blocks_of(self, where: str, stream: BinaryIO) -> Iterator[Block]:
        self.files += 1
        with stream:
            try:
                yield from lines_of(where, stream.read)
            except Damaged as exc:
                self.unread.append(Unread(where, str(exc)))
            except OSError as exc:
                self.unread.append(Unread(where, f"cannot be read: {exc.strerror}"))


def _entries(path: Path) -> Iterator[os.DirEntry[str]]:
    """Return what is in a directory, by name, but for what is hidden. Raises OSError."""
    with os.scandir(path) as found:
        return iter(sorted((one for one in found if one.name[:1] != "."), key=lambda one: _natural(one.name)))


def _inner(path: Path) -> Path:
    """Return where a directory's records are: of a trail's own one, the closed files."""
    if not path.name.endswith(DIRECTORY_SUFFIX):
        return path
    segments = Layout(path.with_name(path.name.removesuffix(DIRECTORY_SUFFIX))).segments
    return segments if segments.is_dir() and not segments.is_symlink() else path


def lines_of(where: str, read: Callable[[int], bytes]) -> Iterator[Block]:
    """Yield the lines of a stream, whether it is compressed or not. Raises Damaged, OSError, after all before it."""
    taken = [0]

    def count(size: int) -> None:
        taken[0] += size

    number, rest, held, size = 1, b"", [], 0
    trouble: Exception | None = None
    parts = unpacked(read, count)
    while True:
        try:
            part = next(parts, None)
        except (Damaged, OSError) as exc:
            part, trouble = None, exc
        if part is not None:
            held.append(part)
            size += len(part)
            if size < PIECE_BYTES and b"\n" not in part:
                continue
        lines, rest = _split(rest, held)
        if lines:
            yield Block(where, lines, range(number, number + len(lines)), taken[0])
            number, taken[0] = number + len(lines), 0
        held, size = [], 0
        if part is None:
            break
    if trouble is not None:
        raise trouble
    if rest:
        yield Block(where, [rest], [number], taken[0], torn=True)


def _split(rest: bytes, parts: list[bytes]) -> tuple[list[bytes], bytes]:
    """Return whole lines, and what follows the last line feed, no longer than shows that it is no record."""
    data = b"".join((rest, *parts))
    if b"\n" not in data:
        return [], data[: LIMIT + 1]
    lines = data.split(b"\n")
    return lines, lines.pop()[: LIMIT + 1]


def _open_stdin() -> BinaryIO:
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, ValueError, AttributeError) as exc:
        raise ConfigError("--from: -: standard input is closed") from exc


def _rotated(path: Path) -> list[Path]:
    """Return the files that a file was rotated to, the oldest first, which has the highest number."""
    found = []
    for name in os.listdir(path.parent):  # noqa: PTH208 - names only
        match = _SIBLING.fullmatch(name.removeprefix(path.name)) if name.startswith(path.name) else None
        if match is not None and (path.parent / name).is_file():
            found.append((int(match[1]), path.parent / name))
    return [sibling for _, sibling in sorted(found, key=lambda one: (-one[0], one[1].name))]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people count: rotated files the oldest, the one with the highest number, first."""
    stem, number = re.fullmatch(r"(.*?)(?:\.([0-9]{1,6})(?:\.gz|\.zst)?)?", name, re.DOTALL).groups()  # type: ignore[union-attr] # matches all
    return [(0, stem), (-int(number or 0), name)]
