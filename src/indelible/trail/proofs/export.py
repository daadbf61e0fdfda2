"""A trail as a static C2SP tlog-tiles log: what other people's verifiers read.

    checkpoint   tile/<L>/<N>[.p/<W>]   tile/entries/<N>[.p/<W>]

The rules that live here. Nothing is written that the signed root does not vouch for: each tile is checked before it is
copied, each line against its leaf before it goes into a bundle. `checkpoint` comes last: a tree without one is no log
to anybody, so an export that was cut off is never taken for a whole one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigError, NotProven, TrailCorrupt, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.trail.durable import Access, write_all
from indelible.trail.entry import line_seq
from indelible.trail.erased import erased_leaf
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.merkle import HASH_SIZE, TILE_WIDTH, index_path, leaf_hashes, tile_widths
from indelible.trail.proofs.prove import blame
from indelible.trail.proofs.stored import Sealed, open_sealed
from indelible.trail.reader import Lines, Snapshot, TrailFile

Progress = Callable[[int], None]
"""Called with the number of bytes of lines that were read since the last call."""

_ACCESS: Final = Access()
"""What is exported is as private as the trail."""

ERASED: Final = "erased"
DELETED: Final = "no file has them: deleted, or lost"


class LeftOut(NamedTuple):
    """Events whose content is not there any more; whole entry bundles are missing for them."""

    first: int
    last: int
    why: str


class Exported(NamedTuple):
    """What was written."""

    origin: str
    size: int
    tiles: int
    bundles: int
    left_out: list[LeftOut]


def export_tiles(
    path: Path, target: Path, vkey: Verifier | None = None, progress: Progress | None = None
) -> Exported:
    """Write what the trail has sealed to `target`, a directory that is made, or is empty.

    Raises ConfigError when `target` is neither; NotProven when lines or tiles are not what was sealed; TrailError when
    something cannot be read or written. Then nothing is left there.
    """
    sealed = open_sealed(path, vkey)
    made = _make_target(target)
    try:
        with Snapshot(sealed.layout) as snapshot:
            tiles = sum(1 for _ in _write_tiles(sealed, target))
            bundles = _Bundles(sealed, target)
            for file in snapshot.files:
                bundles.read(file, progress)
            bundles.finish()
        _write(target / "checkpoint.part", sealed.note)
        os.replace(target / "checkpoint.part", target / "checkpoint")  # noqa: PTH105 - one rename
    except BaseException as exc:
        _undo(target, made=made)
        if isinstance(exc, OSError):
            msg = f"{exc.filename or target}: {exc.strerror or exc}; nothing was exported"
            raise TrailError(msg) from exc
        raise
    origin, size = sealed.checkpoint.origin, sealed.checkpoint.size
    return Exported(origin, size, tiles, bundles.written, bundles.left_out)


def _make_target(target: Path) -> bool:
    """Make the directory, or see that it is empty; tell whether it was made."""
    try:
        target.mkdir(mode=_ACCESS.directory_mode)
    except FileExistsError:
        pass
    except (OSError, ValueError) as exc:
        msg = f"{target}: the directory cannot be made: {getattr(exc, 'strerror', None) or exc}"
        raise ConfigError(msg) from exc
    else:
        return True
    try:
        names = os.listdir(target)  # noqa: PTH208 - names only
    except OSError as exc:
        msg = f"{target}: is there, and is no directory that can be read: {exc.strerror}"
        raise ConfigError(msg) from exc
    if names:
        cut_off = "tile" in names and "checkpoint" not in names
        hint = (
            "an export that was cut off, it has no checkpoint; delete it"
            if cut_off
            else "nothing is overwritten"
        )
        msg = f"{target}: is not empty ({hint})"
        raise ConfigError(msg)
    return False


def _undo(target: Path, *, made: bool) -> None:
    shutil.rmtree(target / "tile", ignore_errors=True)
    for name in ("checkpoint.part", "checkpoint"):
        with contextlib.suppress(OSError):
            (target / name).unlink()
    if made:
        with contextlib.suppress(OSError):
            target.rmdir()


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, _ACCESS.file_mode)
    except FileNotFoundError:
        _make_parents(path.parent)
        fd = os.open(path, flags, _ACCESS.file_mode)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def _make_parents(directory: Path) -> None:
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for place in reversed(missing):
        place.mkdir(mode=_ACCESS.directory_mode, exist_ok=True)


# --- tiles ----------------------------------------------------------------------------------------------


def _write_tiles(sealed: Sealed, target: Path) -> Iterator[str]:
    """Copy every tile of the tree that the checkpoint is about; yield their paths."""
    tiles = sealed.tiles
    level = 0
    while tiles.size >> 8 * level:
        full, partial = tile_widths(tiles.size, level)
        for index in range(full + (partial > 0)):
            row = tiles.row(level, index)
            if row is None or not tiles.trusted(level, index):
                raise NotProven(f"{_fault(sealed, (index << 8) << 8 * level)}; 'indelible verify' says more")
            path = tiles.path(level, index)
            _write(target / path, row)
            yield path
        level += 1


def _fault(sealed: Sealed, seq: int) -> str:
    fault = blame(sealed.tiles, seq)
    fault.file = str(sealed.layout.directory / (fault.file or ""))
    return str(fault)


# --- entry bundles --------------------------------------------------------------------------------------


class _Bundles:
    """Takes the trail's lines in order, and writes a bundle for each 256 of them."""

    def __init__(self, sealed: Sealed, target: Path) -> None:
        self._tiles = sealed.tiles
        self._target = target
        self._size = sealed.checkpoint.size
        self._next = 0
        self._waiting: list[bytes | None] = []
        """The lines of the present bundle; None for one that is not there any more."""
        self._waiting_file = ""
        self.written = 0
        self.left_out: list[LeftOut] = []

    def read(self, file: TrailFile, progress: Progress | None) -> None:
        """Take a file's lines, up to the checkpoint."""
        if self._next >= self._size:
            return
        self._waiting_file = str(file.path)
        try:
            with file.open() as stream:
                number = 0
                for some, raw in Lines(stream):
                    if not number:
                        self._begin(file, some)
                    for line in some:
                        number += 1
                        if self._next < self._size:
                            self._take(line, file, number)
                    if progress is not None:
                        progress(len(raw))
        except FileNotFoundError:  # deleted by the writer's retention since the files were listed
            return
        except TrailCorrupt as exc:
            raise TrailCorrupt(f"{file.path}: {exc}; nothing was exported") from exc

    def _begin(self, file: TrailFile, lines: list[bytes]) -> None:
        """Leave out what comes before a file: its name says with which seq it begins, else its first line."""
        first = file.named_seq if file.named_seq is not None else line_seq(lines[0]) if lines else None
        if first is not None and first > self._next:
            self._leave_out(min(first, self._size), DELETED)

    def _leave_out(self, end: int, why: str) -> None:
        first = self._next
        while self._next < end:
            self._put(None)
        last = self.left_out[-1] if self.left_out else None
        if last is not None and last.last + 1 == first and last.why == why:
            self.left_out[-1] = last._replace(last=end - 1)
        else:
            self.left_out.append(LeftOut(first, end - 1, why))

    def _take(self, line: bytes, file: TrailFile, number: int) -> None:
        leaf = erased_leaf(line)
        if leaf is not None:
            if leaf != self._tiles.leaf(self._next):
                raise NotProven(_altered(str(file.path), number, self._next))
            self._leave_out(self._next + 1, ERASED)
            return
        if len(line) > MAX_LINE_BYTES:
            raise NotProven(_altered(str(file.path), number, self._next))
        self._put(line)

    def _put(self, line: bytes | None) -> None:
        self._waiting.append(line)
        self._next += 1
        if len(self._waiting) == TILE_WIDTH or self._next == self._size:
            self._flush()

    def _flush(self) -> None:
        """Check a bundle's lines against the tile, and write it when all of them are there."""
        first, lines = self._next - len(self._waiting), self._waiting
        self._waiting = []
        there = [(first + at, line) for at, line in enumerate(lines) if line is not None]
        row = self._tiles.row(0, first >> 8) or b""
        for (seq, line), leaf in zip(there, leaf_hashes(line for _, line in there), strict=True):
            start = (seq & 0xFF) * HASH_SIZE
            if row[start : start + HASH_SIZE] != leaf:
                claimed = line_seq(line)
                said = f" (it claims seq {claimed})" if claimed != seq else ""
                raise NotProven(_altered(self._waiting_file, None, seq) + said)
        if len(there) == len(lines):
            suffix = "" if len(lines) == TILE_WIDTH else f".p/{len(lines)}"
            data = b"".join(len(line).to_bytes(2, "big") + line for _, line in there)
            _write(self._target / f"tile/entries/{index_path(first >> 8)}{suffix}", data)
            self.written += 1

    def finish(self) -> None:
        """All files are read; what is still missing has no file."""
        if self._next < self._size:
            self._leave_out(self._size, DELETED)


def _altered(file: str, number: int | None, seq: int) -> str:
    where = f"{file}, line {number}" if number is not None else file
    return f"{where}: the line at seq {seq} is not the one that was sealed; 'indelible verify' says more"
