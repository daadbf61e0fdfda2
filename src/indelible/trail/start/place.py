"""Where a trail lives, so that a copy of it is told from itself.

The rule that lives here: a trail that was put back from a backup, or copied to another machine, never goes on under its
origin, since the one it was copied from may have gone on: there would be two events with one seq under one name. So the
file `place` holds its own inode number, and the inode's generation where the file system tells it (ext4, xfs, btrfs).
Whatever copies files (cp, rsync, tar, a backup) makes another inode. What only renames, mounts or restarts does not.

Not seen: what copies a whole file system, such as an image of a disk or a snapshot; `indelible restore` says it by
hand.
A move to another file system is a copy, too. Where inode numbers are not kept (FAT, most of FUSE) nothing is compared.

What a crash may leave: no `place`, or `.place.tmp` beside it: the next start makes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.trail import durable
from indelible.trail.reader import read_small

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

KEEP_INODES: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""File systems where a file has the same inode number as long as it lives, whatever is mounted or restarted."""

_GETVERSION: Final = 0x80087601
"""FS_IOC_GETVERSION of linux/fs.h, where a long has 8 bytes: an inode number that is used again has another one."""


class Place(NamedTuple):
    """What identifies a file on its file system."""

    inode: int
    generation: int | None
    """None where the file system does not tell."""


def is_copy(layout: Layout) -> bool:
    """Tell whether the trail's files are others than those that its writer made. A trail that does not say is none."""
    said = _read(layout.place)
    if said is None:
        return False
    here = _of(layout.place)
    same = said.inode == here.inode and (
        None in (said.generation, here.generation) or said.generation == here.generation
    )
    return not same and _compares(layout.directory)


def take(layout: Layout, access: Access) -> None:
    """Note where the trail lives, unless it is noted. Raises OSError."""
    if _read(layout.place) is not None:
        return
    beside = layout.place.with_name(f".{layout.place.name}.tmp")
    beside.unlink(missing_ok=True)
    fd = durable.create_file(beside, access)
    try:
        place = _of_descriptor(fd)
        durable.write_all(fd, json.dumps(place._asdict()).encode() + b"\n")
        durable.datasync(fd)
    finally:
        os.close(fd)
    beside.rename(layout.place)
    durable.sync_directory(layout.directory)


def _read(path: Path) -> Place | None:
    """Return what a `place` says; None when there is none, or it says nothing."""
    try:
        about = json.loads(read_small(path) or b"")
        inode, generation = about["inode"], about["generation"]
    except (ValueError, KeyError, TypeError):
        return None
    good = type(inode) is int and (generation is None or type(generation) is int)
    return Place(inode, generation) if good else None


def _of(path: Path) -> Place:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _of_descriptor(fd)
    finally:
        os.close(fd)


def _of_descriptor(fd: int) -> Place:
    generation = None
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(fd, _GETVERSION, bytes(struct.calcsize("l")))
            generation = struct.unpack("I", answer[:4])[0]
    return Place(os.fstat(fd).st_ino, generation)


def _compares(directory: Path) -> bool:
    """Tell whether inode numbers are kept here."""
    if sys.platform != "linux":
        return True
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return False
    return durable.file_system_of(directory.resolve(), mountinfo) in KEEP_INODES
