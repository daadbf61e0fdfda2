"""What follows a rotation and may take its time: links, compression, deletion. On a thread of its own.

Every step can be interrupted and is done again at the next rotation or start. A file is compressed or deleted only
when every line of it is under a checkpoint; a deletion is recorded before the file goes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailUnavailable
from indelible.trail import durable, files
from indelible.trail.entry import line_recorded_at
from indelible.trail.files import TrailFile

if TYPE_CHECKING:
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

COMPRESSION_LEVEL: Final = 3


class Housekeeper:
    """Looks after the closed files of one writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._layout = writer.layout
        self._audit = writer.audit
        self._access = writer.access
        self._due = False
        self._closing = False
        self._linking = threading.Lock()
        self._thread: threading.Thread | None = None

    def rotated(self) -> None:
        """A file was closed, or the writer starts: set the links now, and do the rest after the next checkpoint."""
        with contextlib.suppress(OSError):
            self.link()
        self._due = True

    def sealed(self) -> None:
        """A checkpoint was made: what is due can be done, unless it is being done already."""
        if not self._due or self._closing or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = False
        if not files.segments(self._layout):
            return
        self._thread = threading.Thread(target=self._run, name="indelible-housekeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for what is under way, and begin nothing more: the next start does what is due."""
        self._closing = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.prune()
            if self._audit.compress_rotated:
                self.compress()
            self.link()
        except (OSError, TrailUnavailable) as exc:
            log.warning("%s: closed files were not looked after: %s", self._layout.active, exc)
            self._due = True

    # --- links -------------------------------------------------------------------------------------------------

    def link(self) -> None:
        """Point ``audit.jsonl.1`` (``.1.zst`` when compressed) at the newest segment, ``.2`` at the next, and so on."""
        with self._linking:
            self._link()

    def _link(self) -> None:
        newest_first = list(reversed(files.segments(self._layout)))[: self._audit.backup_count]
        wanted: dict[Path, str] = {}
        for number, file in enumerate(newest_first, 1):
            link = self._layout.link(number, compressed=file.compressed)
            wanted[link] = os.path.relpath(file.path, link.parent)
        for link, target in wanted.items():
            _point(link, target)
        for path in self._layout.active.parent.glob(self._layout.active.name + ".[0-9]*"):
            if path.is_symlink() and path not in wanted:
                path.unlink()

    # --- compression -------------------------------------------------------------------------------------------

    def compress(self) -> None:
        """Compress every sealed plain segment; the plain file goes when the compressed one reads back the same."""
        closed = files.segments(self._layout)
        for file, end in zip(closed, self._ends(closed), strict=True):
            if self._closing:
                return
            if not file.compressed and end <= self._writer.sealed:
                self._compress(file)

    def _compress(self, file: TrailFile) -> None:
        import zstandard

        target = file.path.with_name(file.path.name + ".zst")
        beside = target.with_name(f".{target.name}.tmp")
        beside.unlink(missing_ok=True)
        digest = sha256()
        fd = durable.create_file(beside, self._access)
        with file.path.open("rb") as source, os.fdopen(fd, "wb") as sink:
            size = os.fstat(source.fileno()).st_size
            compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
            with compressor.stream_writer(sink, size=size, closefd=False) as packed:
                while chunk := source.read(files.CHUNK_BYTES):
                    digest.update(chunk)
                    packed.write(chunk)
            sink.flush()
            durable.datasync(sink.fileno())
        if _content_digest(TrailFile(beside, file.first_seq, compressed=True)) != digest.digest():
            beside.unlink()
            msg = f"{file.path}: does not read back after compression; kept as it is"
            raise OSError(5, msg)
        beside.rename(target)
        durable.sync_directory(target.parent)
        file.path.unlink()
        durable.sync_directory(target.parent)

    # --- deletion ----------------------------------------------------------------------------------------------

    def prune(self) -> None:
        """Delete what `backup_count` and `retention` no longer keep, oldest first; record it before."""
        closed = files.segments(self._layout)
        ends = self._ends(closed)
        surplus = len(closed) - self._audit.backup_count
        for index, (file, end) in enumerate(zip(closed, ends, strict=True)):
            if (
                self._closing
                or index >= surplus
                or end > self._writer.sealed
                or not self._old_enough(closed, index)
            ):
                return
            self._delete(file, end - 1)

    def _delete(self, file: TrailFile, last: int) -> None:
        first = file.first_seq
        if not any(low <= first and last <= high for low, high in self._writer.pruned):
            reason = "backup_count" if self._audit.retention is None else "backup_count, retention"
            metadata = {
                "pruned": [[first, last]],
                "bytes": file.path.stat().st_size,
                "reason": reason,
            }
            before = self._writer.note_pruned(first, last)
            try:
                item = self._writer.service_event("retention_applied", metadata)
                self._writer.append(item.body)
                self._writer.seal()
            except BaseException:  # not on record: the next attempt must say it
                self._writer.restore_pruned(before)
                raise
        file.path.unlink()
        durable.sync_directory(self._layout.segments)

    def _old_enough(self, closed: list[TrailFile], index: int) -> bool:
        """Tell whether the youngest event of a file is past its retention."""
        if self._audit.retention is None:
            return True
        following = closed[index + 1] if index + 1 < len(closed) else None
        first_line = _first_line(following) if following else _first_line_of(self._layout.active)
        written = line_recorded_at(first_line)  # the next file begins when this one ended
        if written is None:
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(written)
        return age.total_seconds() > self._audit.retention

    def _ends(self, closed: list[TrailFile]) -> list[int]:
        """Return for each closed file the seq after its last."""
        starts = [file.first_seq for file in closed[1:]]
        active = files.first_seq(self._layout.active)
        return [*starts, active if active is not None else 2**63] if closed else []


def _point(link: Path, target: str) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == target:  # noqa: PTH115 - as text, not resolved
            return
    if link.exists() and not link.is_symlink():
        return  # somebody's own file: not ours to replace
    beside = link.with_name(f".{link.name}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.rename(link)


def _content_digest(file: TrailFile) -> bytes:
    digest = sha256()
    with files.open_file(file) as stream:
        while chunk := stream.read(files.CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()


def _first_line(file: TrailFile) -> bytes:
    with files.open_file(file) as stream:
        return stream.readline(1 << 17).rstrip(b"\n")


def _first_line_of(path: Path) -> bytes:
    try:
        return _first_line(TrailFile(path, 0, compressed=False))
    except FileNotFoundError:
        return b""
