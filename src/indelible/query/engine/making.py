"""Making twins: of every closed file under the checkpoint, and of the active file's sealed lines, a chunk at a time.

The rules that live here:

- Nothing gets a twin that is not under the published checkpoint: what is not may still be cut off, or written again.
- Rows are made of what DuckDB reads of the lines as they stand, and only where that is what Python reads (see `parts`):
  of other lines there is a note that they have to be read, and no rows.
- A twin counts when its file was the same before and after it was made, and its rows are one for each seq.
- One is made at a time, under the lock; whoever erases is let in at once, and finds nothing unfinished.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from indelible.errors import TrailError
from indelible.query.engine import twinned
from indelible.query.engine.asking import ALL
from indelible.query.engine.connection import Caps, Connection
from indelible.query.engine.parts import DESCRIPTORS, WHOLE, Part, Range
from indelible.query.engine.relations import literal
from indelible.query.engine.twinned import Cover
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail import durable, files, packed, twins
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout
from indelible.trail.reader import TrailFile
from indelible.trail.twins import Twin, TwinsBusyError
from indelible.trail.upkeep.due import sealed_size

CHUNK_BYTES: Final = 4 << 20
"""A twin of the active file is made when so many more bytes of it are sealed."""

GROUP_BYTES: Final = 128 << 20
"""Lines of a row group: a closed file of the usual size is one. What Parquet says of each group costs every question
about as much as reading thousands of rows does; and a group is held in memory while it is written."""

GROUP_ROWS: Final = 262_144
"""Rows of one, however short the lines are."""

CAPS: Final = Caps(seconds=3600.0, memory_mb=400)

LOOK_S: Final = 0.1
"""How often it is looked whether an erasure wants to be let in."""

Progress = Callable[[int], None]
"""Called with the number of bytes of lines that were gone through since the last call."""


class StoppedError(TrailError):
    """An erasure is under way: making goes on when it is done."""


class Job(NamedTuple):
    """Lines that are due to have a twin."""

    order: int
    file: TrailFile
    first: int
    end: int
    span: Range
    closed: bool
    size: int
    """Bytes of its lines."""


class Made(NamedTuple):
    """What was done."""

    made: list[Twin]
    """Notes of ranges without rows are among them."""
    removed: int
    """Twins that fitted nothing any more, and what was left over."""


# --- what is due -------------------------------------------------------------------------------------------------


def due(search: TrailSearch, chunk: int = CHUNK_BYTES) -> list[Job]:
    """Return what has no twin and is to have one, oldest first. Raises OSError, TrailError."""
    layout = Layout(search.path)
    cover, sealed = Cover(search, layout), sealed_size(layout)
    found: list[Job] = []
    for order, file in enumerate(search.files):
        have = cover.fitting(order)
        if file.named_seq is None:
            found += _chunks(order, file, have, sealed, chunk)
            continue
        end = cover.end_of(order)
        is_whole = bool(have) and have[0].ends is None
        if end is not None and file.named_seq < end <= sealed and not is_whole:
            size = _size(file)
            if size:
                found.append(Job(order, file, file.named_seq, end, WHOLE, closed=True, size=size))
    return found


def _size(file: TrailFile) -> int:
    try:
        if file.compressed:
            return packed.content_size(file.path) or 0
        return file.path.stat().st_size
    except FileNotFoundError:  # compressed or deleted just now: the next look finds what is there
        return 0


def _chunks(order: int, file: TrailFile, have: list[Twin], sealed: int, chunk: int) -> Iterator[Job]:
    first = have[-1].end if have else file.first_seq()
    begin = have[-1].stop if have else 0
    if first is None:
        return
    with file.open() as stream:
        fd = stream.fileno()
        until = _sealed_bytes(fd, sealed)
        while until - begin >= chunk and first < sealed:
            stop = _line_start(fd, begin + chunk, until)
            end = sealed if stop == until else _seq_at(fd, stop)
            if end is None or end <= first or end > sealed:
                return
            yield Job(order, file, first, end, Range(begin, stop), closed=False, size=stop - begin)
            first, begin = end, stop


def _sealed_bytes(fd: int, sealed: int) -> int:
    """Return the byte of a plain file at which what no checkpoint covers begins."""
    with os.fdopen(os.dup(fd), "rb", buffering=0) as stream:
        offset = files.find_seq(stream, sealed)
    return files.end_of_lines(fd) if offset is None else offset


def _line_start(fd: int, at: int, limit: int) -> int:
    """Return where the first line begins that does not begin before `at`."""
    data = os.pread(fd, 2 * files.NEAR_BYTES, at - 1)
    feed = data.find(b"\n")
    return min(limit, at + feed) if feed >= 0 else limit


def _seq_at(fd: int, offset: int) -> int | None:
    return line_seq(os.pread(fd, files.HEAD_BYTES, offset))


# --- making ------------------------------------------------------------------------------------------------------


def make(
    path: Path,
    access: Access,
    *,
    rebuild: bool = False,
    chunk: int = CHUNK_BYTES,
    most: int | None = None,
    progress: Callable[[int], Progress] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Made:
    """Make the twins of a trail that are due, and remove what fits nothing; with `rebuild` all are made anew.

    With `most` no more of them than that, the oldest first, so that whoever has time to spare looks anew after each.
    `progress` is called with the bytes of lines that are to be gone through; `stop` tells, on any thread, to make no
    more. Raises TwinsBusyError, StoppedError, TrailError,
    OSError.
    """
    layout = Layout(path)
    made: list[Twin] = []

    def ends() -> bool:
        return stop() or twins.is_wanted_elsewhere(layout)

    if ends():
        raise StoppedError(_stopped(layout))
    removed = 0
    with TrailSearch(path, ALL, Corrupt()) as search:
        if rebuild and layout.twins.is_dir():
            with twins.alone(layout, access):
                removed = twins.sweep(layout, [])
        jobs = due(search, chunk)
        step = progress(sum(job.size for job in jobs)) if progress is not None else None
        for job in jobs:
            with twins.alone(layout, access):
                twin = _make(search, job, layout, access, ends)
            if twin is not None:
                made.append(twin)
            if step is not None:
                step(job.size)
            if len(made) == most:
                break
    with contextlib.suppress(TwinsBusyError):
        removed += tidy(path, access)
    return Made(made, removed)


def tidy(path: Path, access: Access) -> int:
    """Remove twins that fit nothing, or whose lines a larger one has, and what a crash has left; return how many files.

    Raises TwinsBusyError, TrailError, OSError.
    """
    layout = Layout(path)
    if not layout.twins.is_dir():
        return 0
    with twins.alone(layout, access), TrailSearch(path, ALL, Corrupt()) as search:
        cover = Cover(search, layout)
        kept = [twin for order in range(len(search.files)) for twin in cover.fitting(order)]
        return twins.sweep(layout, kept)


def _make(
    search: TrailSearch, job: Job, layout: Layout, access: Access, ends: Callable[[], bool]
) -> Twin | None:
    """Make one twin, or the note that there is none; None when its file is another one meanwhile."""
    with contextlib.ExitStack() as stack:
        try:
            before = twins.stamp_of(job.file.path.lstat())
            part = Part(search, job.order, job.file, job.end, job.span)
        except FileNotFoundError:
            return None
        stack.callback(part.close)
        digest = None if job.closed else _ends(job)
        twin = Twin(
            columns=twinned.columns(), origin=search.origin, first=job.first, end=job.end, begin=job.span.begin,
            stop=job.span.begin + job.size, source=before, ends=digest,
        )  # fmt: skip
        target = twins.rows_path(layout, twin)
        twins.note_path(layout, twin).unlink(missing_ok=True)
        try:
            with durable.new_file(target, access, replace=True) as fd:
                if not _write(part, job, fd, layout, ends):
                    raise _UncleanError
                made = os.dup(fd)
                stack.callback(os.close, made)
        except _UncleanError:
            return _published(twin, job, layout, access)
        rows = twins.stamp_of(os.fstat(made))
        return _published(msgspec.structs.replace(twin, rows=rows, newer=part.newer), job, layout, access)


class _UncleanError(Exception):
    """The lines have to be read one by one."""


def _ends(job: Job) -> str:
    with job.file.open() as stream:
        return twins.digest_of_ends(stream.fileno(), job.span.begin, job.span.begin + job.size)


def _published(twin: Twin, job: Job, layout: Layout, access: Access) -> Twin | None:
    """Make it count, unless its file has changed, also just then."""
    if _is_same(twin, job):
        twins.publish(layout, twin, access)
        if _is_same(twin, job):
            return twin
    twins.remove(layout, [twin])
    return None


def _is_same(twin: Twin, job: Job) -> bool:
    try:
        if job.closed:
            return twins.stamp_of(job.file.path.lstat()) == twin.source
        with job.file.open() as stream:
            return twins.fits_range(twin, stream.fileno())
    except FileNotFoundError:
        return False


def _write(part: Part, job: Job, fd: int, layout: Layout, ends: Callable[[], bool]) -> bool:
    """Write the rows; tell whether they are one for each line and seq. Raises StoppedError, TrailError."""
    target = str(DESCRIPTORS / str(fd))
    with Connection([*part.paths(), target], CAPS) as connection, _watched(connection, layout, ends):
        part.settle(connection, Corrupt())
        if not part.is_plain or part.lines != job.end - job.first:
            return False
        names = ", ".join(f'"{name}"' for name in twinned.NAMES)
        connection.copy(f"SELECT {names} FROM ({part.rows()})", target, _group_rows(job))
        found = connection.trial(
            f"SELECT count(*), min(seq), max(seq), count(*) FILTER (seq <> {job.first} + file_row_number) "
            f"FROM read_parquet({literal(target)}, file_row_number=true)"
        )
    return found == (job.end - job.first, job.first, job.end - 1, 0)


def _group_rows(job: Job) -> int:
    return max(1, min(GROUP_ROWS, GROUP_BYTES * (job.end - job.first) // job.size))


def _stopped(layout: Layout) -> str:
    return f"{layout.active}: an erasure is under way: twins are made when it is done"


@contextlib.contextmanager
def _watched(connection: Connection, layout: Layout, ends: Callable[[], bool]) -> Iterator[None]:
    """End what is under way as soon as an erasure wants to be let in, or whoever wanted twins is gone."""
    done, wanted = threading.Event(), threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            if ends():
                wanted.set()
                connection.interrupt()

    watch = threading.Thread(target=look, name="indelible-twins", daemon=True)
    watch.start()
    try:
        yield
        if wanted.is_set() or ends():
            raise StoppedError(_stopped(layout))
    except KeyboardInterrupt:
        if wanted.is_set():
            raise StoppedError(_stopped(layout)) from None
        raise
    finally:
        done.set()
        watch.join()


# --- what there is -----------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """The twins of a trail that fit their lines now."""

    twins: int
    events: int
    bytes: int
    line_bytes: int
    """Of the lines that they have."""
    by_line: int
    """Ranges of lines that have to be read one by one."""
    unfit: int
    """Those that stand beside the trail and count for nothing: of lines that are others now, or of another version."""


def standing(path: Path) -> Standing:
    """Return which twins of a trail count now. Raises TrailError."""
    with TrailSearch(path, ALL, Corrupt()) as search:
        cover = Cover(search)
        found = [twin for order in range(len(search.files)) for twin in cover.fitting(order)]
    have = [twin for twin in found if twin.rows is not None]
    return Standing(
        len(have),
        sum(twin.end - twin.first for twin in have),
        sum(twin.rows.size for twin in have if twin.rows is not None),
        sum(twin.stop - twin.begin for twin in have),
        len(found) - len(have),
        len(twins.names(Layout(path)) - {(twin.first, twin.end) for twin in found}),
    )
