"""After a failed sync: lines that may not be on the disk go to a new file, which takes the active one's place.

The new file, `next.jsonl`, is whole and synced before the old one is cut to what is known to be on the disk; a start
after a crash can tell from the two files alone how far the switch had come (`settle`). Whenever the process dies,
each line is in exactly one file of the trail.
"""

from __future__ import annotations

import contextlib
import os
import time

from indelible.trail import durable, files
from indelible.trail.active import ActiveFile, close_into_segment
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout


def switch(
    layout: Layout, old: ActiveFile, lines: list[bytes], first_seq: int, access: Access, *, removed: bool
) -> ActiveFile:
    """Put `lines` (the first of them a `file_opened` with `first_seq`) into a new active file, and return it.

    Below `first_seq` the old file is on the disk; or it is `removed`, and whatever stands in its place is not ours.
    Raises OSError; the old file is then as it was, or cut, maybe closed, with `next.jsonl` beside it, which `settle`
    finishes, or the next attempt writes anew.
    """
    data = b"".join(lines)
    beside = layout.next.with_name(f".{layout.next.name}.tmp")
    beside.unlink(missing_ok=True)
    fd = durable.create_file(beside, access)
    new = ActiveFile(layout.active, fd, first_seq, len(data), first_seq + len(lines))
    try:
        durable.write_all(fd, data)
        durable.datasync(fd)
        beside.rename(layout.next)  # that of an attempt before may hold what stands nowhere else
        durable.sync_directory(layout.directory)
        if removed:
            _replace(layout, access)
        else:
            if old.in_place():
                _cut(layout, old, first_seq)
            elif layout.active.exists():  # an attempt before has cut and closed it, and got so far itself
                _set_aside(layout, access)
            settle(layout, access)
        if not new.in_place():
            raise OSError(5, "the new file did not get into its place", str(layout.active))
    except OSError:
        with contextlib.suppress(OSError):
            if not removed and new.in_place():  # and its name may not be on the disk
                layout.active.rename(layout.next)
        os.close(fd)
        raise
    old.close()
    return new


def _replace(layout: Layout, access: Access) -> None:
    """Take the place of a file that was removed. Another that stands there now is set aside, not overwritten."""
    if layout.active.exists():
        if not layout.active.is_file():
            raise OSError(22, "something else than a file stands in the trail's place", str(layout.active))
        _set_aside(layout, access)
    layout.next.rename(layout.active)
    durable.sync_directories([layout.active.parent, layout.directory])


def _set_aside(layout: Layout, access: Access) -> None:
    durable.make_directory(layout.quarantine, access)
    layout.active.rename(layout.quarantine / f"foreign-{time.time_ns()}")


def _cut(layout: Layout, old: ActiveFile, first_seq: int) -> None:
    """Cut the old file to what is on the disk."""
    if first_seq <= old.first_seq:
        layout.active.unlink()
        durable.sync_directory(layout.active.parent)
        return
    fd = os.open(layout.active, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, old.synced_size)
        durable.datasync(fd)
    finally:
        os.close(fd)


def settle(layout: Layout, access: Access) -> None:
    """Finish or undo a switch, whichever loses nothing.

    When the trail still reaches into `next.jsonl`, the cut has not happened and the new file goes. When it ends
    right before it, the new file holds what was cut off, and takes its place.
    """
    durable.sweep(layout.next)
    if not layout.next.exists():
        return
    first = files.first_seq(layout.next)
    whole = first is not None and files.last_line(layout.next) is not None
    if first is None or not whole or not _ends_before(layout, first):
        layout.next.unlink()
        durable.sync_directory(layout.directory)
        return
    active_first = files.first_seq(layout.active)
    if active_first is not None:
        close_into_segment(layout, active_first, access)
    elif layout.active.exists():  # without a whole first line: torn, or not ours
        _set_aside(layout, access)
    if layout.segments.exists():  # also when an attempt before closed the file, and got no further
        durable.sync_directory(layout.segments)
    layout.next.rename(layout.active)
    durable.sync_directories([layout.active.parent, layout.directory])


def _ends_before(layout: Layout, first: int) -> bool:
    """Tell whether the trail without `next.jsonl` ends right before seq `first`."""
    active_first = files.first_seq(layout.active)
    if active_first is not None:
        last = files.last_line(layout.active)
        return active_first < first and last is not None and line_seq(last) == first - 1
    closed = files.segments(layout)
    if not closed:
        return first == 0
    if closed[-1].compressed:
        return files.end_of_compressed(closed[-1]) == first
    last = files.last_line(closed[-1].path)
    return last is not None and line_seq(last) == first - 1
