"""Put erased lines in the place of others, in files that nobody appends to.

A file is written beside itself, brought to the disk, read back and compared with what it is made from, and only then
renamed over it: a crash leaves the old file or the new one, whole, and at most a ``.….tmp`` beside it, which the next
attempt overwrites. Every attempt may be repeated: what is erased already stays as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.trail import durable, files
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq
from indelible.trail.erased import erased_leaf, erased_line
from indelible.trail.files import CHUNK_BYTES, TrailFile
from indelible.trail.layout import COMPRESSED_SUFFIX
from indelible.trail.proofs.merkle import leaf_hash

COMPRESSION_LEVEL: Final = 3

MAX_LOOSE_BYTES: Final = 64 << 20
"""A file of no lines is gone through in memory; of a larger one in which something is meant nothing is kept."""


class Mark(NamedTuple):
    """Lines to be erased, from `first` to `last`, and the `event_id` of the event that says so."""

    first: int
    last: int
    record: str


class _Content(NamedTuple):
    size: int
    digest: bytes
    changed: int
    """How many lines are to be erased and are not yet."""


def standing(file: TrailFile, marks: Sequence[Mark]) -> int:
    """Return how many of the marked lines of a file are not erased. Raises OSError, TrailCorrupt."""
    return _survey(file, marks).changed


def rewrite(file: TrailFile, marks: Sequence[Mark], access: Access) -> int:
    """Erase the marked lines of a file, and return how many were not erased before.

    `marks` rise. Raises OSError, or TrailCorrupt where a compressed file cannot be unpacked; the file is whole then.
    """
    wanted = _survey(file, marks)
    if wanted.changed:
        beside = file.path.with_name(f".{file.path.name}.tmp")
        beside.unlink(missing_ok=True)
        try:
            _write(file, beside, marks, wanted.size, access)
            found = _survey(TrailFile(beside, file.first_seq, file.compressed), marks)
            if found.changed or found.digest != wanted.digest:
                raise OSError(
                    5, "what was written does not read back; the file is kept as it was", str(file.path)
                )
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        beside.rename(file.path)
        durable.sync_directory(file.path.parent)
    if not file.compressed:  # a compression that was cut off leaves a twin, which readers pass over
        _remove(file.path.with_name(file.path.name + COMPRESSED_SUFFIX))
    return wanted.changed


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    durable.sync_directory(path.parent)


def _erased(file: TrailFile, marks: Sequence[Mark]) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield of each line what stands in its place, its LF with it, what it weighs, and whether that is a change.

    What a line weighs is what must not change: an erased one's leaf, every other one's bytes.
    """
    at = 0
    with files.open_file(file) as stream:
        for _, line, whole in files.iter_lines(stream):
            end = b"\n" if whole else b""
            seq = line_seq(line) if whole else None
            while seq is not None and at < len(marks) and marks[at].last < seq:
                at += 1
            if seq is None or at == len(marks) or seq < marks[at].first:
                yield line + end, line + end, False
                continue
            leaf = erased_leaf(line)
            if leaf is None:
                leaf = leaf_hash(line)
                yield erased_line(seq, marks[at].record, leaf) + end, leaf, True
            else:
                yield line + end, leaf, False


def _survey(file: TrailFile, marks: Sequence[Mark]) -> _Content:
    size, changed, digest = 0, 0, sha256()
    for line, weight, change in _erased(file, marks):
        size += len(line)
        changed += change
        digest.update(weight)
    return _Content(size, digest.digest(), changed)


def _write(file: TrailFile, beside: Path, marks: Sequence[Mark], size: int, access: Access) -> None:
    fd = durable.create_file(beside, access)
    try:
        pack, flush = _packing(size) if file.compressed else (bytes, bytes)
        batch, waiting = [], 0
        for line, _, _ in _erased(file, marks):
            batch.append(line)
            waiting += len(line)
            if waiting >= CHUNK_BYTES:
                durable.write_all(fd, pack(b"".join(batch)))
                batch, waiting = [], 0
        durable.write_all(fd, pack(b"".join(batch)) + flush())
        durable.datasync(fd)
    finally:
        os.close(fd)


def _packing(size: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    import zstandard

    compressor: Any = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True).compressobj(
        size=size
    )
    return compressor.compress, compressor.flush


# --- what is no line of a trail -------------------------------------------------------------------------------


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of no trail; of one that is longer than any entry, overlapping pieces."""
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        return
    before = b""
    with stream:
        for _, piece, whole in files.iter_lines(stream):
            yield before + piece
            before = b"" if whole else piece[-CHUNK_BYTES:]


def rewrite_loose(path: Path, meant: Callable[[bytes], bool], record: str, access: Access) -> None:
    """Erase from a file of no trail each line, or torn end of one, that is `meant`; its SHA-256 stays in its place.

    Of a large file nothing stays. Raises OSError.
    """
    if not any(meant(piece) for piece in pieces(path)):
        return
    if path.stat().st_size > MAX_LOOSE_BYTES:
        _remove(path)
        return
    lines = path.read_bytes().split(b"\n")
    for at, line in enumerate(lines):
        if meant(line):
            digest = sha256(line).hexdigest().encode()
            lines[at] = b'{"erased":"%b","sha256":"%b"}' % (record.encode(), digest)
    durable.replace_file(path, b"\n".join(lines), access)
