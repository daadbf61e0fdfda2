"""Checkpoints into a file: on another file system, a disk that is only written once, a directory that is synced away.

The rules that live here. A directory that is not there is never made: it may be one that is not mounted. With `append`
each checkpoint is added with an empty line after it, in one write, then synced. What a crash can leave is a checkpoint
without that end: the next attempt cuts it off, or, where only appending is allowed, ends it with an empty line and
goes on after it. With `replace` the file is the old one or the new at every moment (`durable.replace_file`). A file
that holds a newer checkpoint of this trail is left as it is, and that is an error: the trail was rolled back.

When `path` is a directory, each trail has a file of its own in it, named by its origin.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import AnchorError, NoteError
from indelible.trail import durable
from indelible.trail.proofs.checkpoint import Checkpoint, parse, split_note
from indelible.trail.proofs.keptfiles import END, notes_in, whole_length

if TYPE_CHECKING:
    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.anchors import Handing
    from indelible.trail.durable import Access

TAIL_BYTES: Final = 65_536
"""So much of the end of a file is looked at for what is there already; several trails may share one."""

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class FileAnchor:
    """Appends checkpoints to a file, or keeps the newest in it."""

    def __init__(self, settings: AnchorSettings, access: Access) -> None:
        self._path = Path(str(settings.path))
        self._appends = settings.mode != "replace"
        self._access = access

    def hand(self, handing: Handing) -> None:
        """See `Anchor`."""
        path = self._path
        if path.is_dir():
            path /= handing.checkpoint.origin.rpartition("/")[2]
        if not path.parent.is_dir():
            msg = f"{path.parent}: there is no such directory, or it is not mounted"
            raise AnchorError(msg)
        if self._appends:
            self._append(path, handing)
        else:
            self._replace(path, handing)

    def _append(self, path: Path, handing: Handing) -> None:
        fd, made = _open_to_append(path, self._access)
        try:
            size, tail = _mend(fd)
            if _is_there(path, _newest(tail, handing.checkpoint.origin), handing):
                durable.datasync(fd)  # whoever wrote it may have died before it had
                return
            try:
                durable.write_all(fd, handing.note + b"\n")
            except OSError:
                _cut(fd, size)
                raise
            durable.datasync(fd)
        finally:
            os.close(fd)
        if made:
            durable.sync_directory(path.parent)

    def _replace(self, path: Path, handing: Handing) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            found = b""
        else:
            with os.fdopen(fd, "rb") as file:
                _refuse_no_file(path, fd)
                found = file.read(TAIL_BYTES)
        if found:
            there = _only(path, found)
            if there.origin != handing.checkpoint.origin:
                msg = f"{path}: holds a checkpoint of another trail, {there.origin}; name a directory, or another file"
                raise AnchorError(msg)
            if _is_there(path, there, handing):
                return
        durable.replace_file(path, handing.note, self._access)


def _open_to_append(path: Path, access: Access) -> tuple[int, bool]:
    """Return a descriptor that reads and appends, and whether the file was made."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)
    except FileNotFoundError:
        return durable.create_file(path, access), True
    try:
        _refuse_no_file(path, fd)
    except AnchorError:
        os.close(fd)
        raise
    return fd, False


def _refuse_no_file(path: Path, fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        msg = f"{path}: is no plain file"
        raise AnchorError(msg)


def _newest(tail: bytes, origin: str) -> Checkpoint | None:
    """Return the last checkpoint of a trail that stands in the end of a file."""
    for note in reversed(notes_in(tail).notes):
        try:
            checkpoint = parse(split_note(note)[0])
        except NoteError:
            continue
        if checkpoint.origin == origin:
            return checkpoint
    return None


def _only(path: Path, data: bytes) -> Checkpoint:
    try:
        return parse(split_note(data)[0])
    except NoteError as exc:
        msg = f"{path}: holds something else than a checkpoint, and is left as it is"
        raise AnchorError(msg) from exc


def _is_there(path: Path, there: Checkpoint | None, handing: Handing) -> bool:
    """Tell whether a file holds the checkpoint already. Raises AnchorError when it holds a newer one, or a fork."""
    checkpoint = handing.checkpoint
    if there is None or there.size < checkpoint.size:
        return False
    if there.size > checkpoint.size:
        held = f"{path}: holds a checkpoint over {there.size} events"
        msg = f"{held}, the trail has {checkpoint.size}: it was rolled back"
        raise AnchorError(msg)
    if there.root != checkpoint.root:
        msg = f"{path}: holds a checkpoint over the same {there.size} events with another root: the trail was forked"
        raise AnchorError(msg)
    return True


def _mend(fd: int) -> tuple[int, bytes]:
    """Cut off what a crash left of a checkpoint; return the file's size, and its end as far as it is whole."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
    whole = whole_length(tail)
    if whole == len(tail):
        return size, tail
    if not whole and size > len(tail):
        msg = "the file's end is no checkpoint, and none stands before it"
        raise AnchorError(msg)
    kept = size - len(tail) + whole
    if _cut(fd, kept):
        return kept, tail[:whole]
    durable.write_all(fd, END)
    return size + len(END), tail + END


def _cut(fd: int, size: int) -> bool:
    """Cut a file; False where that is not allowed, as on a file that may only be appended to."""
    try:
        os.ftruncate(fd, size)
    except OSError:
        return False
    return True
