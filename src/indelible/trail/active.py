"""The active file: the one that lines are appended to.

It knows how far it is whole (`size`: every byte below belongs to a whole line) and how far it is known to be on the
disk (`synced_size`, `synced_seq`). After a failed sync it is `doubtful`: the kernel reports such an error once per
open file and may drop the pages, so a later sync that succeeds means nothing. `sync` therefore serialises all syncs
of the file and refuses a doubtful one.

Callers hold the writer's lock for everything but `sync`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.start.ground import BEGUN

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class ActiveFile:
    """An open active file, from `first_seq` on."""

    def __init__(self, path: Path, fd: int, first_seq: int, size: int, next_seq: int) -> None:
        self.path = path
        self.first_seq = first_seq
        self.size = size
        self.synced_size = size
        self.synced_seq = next_seq
        self.doubtful = False
        self._fd = fd
        self._syncing = threading.Lock()

    @classmethod
    def open(cls, layout: Layout, first_seq: int, size: int, next_seq: int) -> ActiveFile:
        """Open the file that is there; everything in it is taken as synced."""
        return cls(layout.active, os.open(layout.active, _APPEND), first_seq, size, next_seq)

    @classmethod
    def create(cls, layout: Layout, first_seq: int, first_line: bytes, access: Access) -> ActiveFile:
        """Make a new file that begins with `first_line` (with its LF): under its name it is never seen without.

        Raises FileExistsError when a file of that name is there.
        """
        beside = cls.forget_twin(layout)
        fd = durable.create_file(beside, access)
        try:
            durable.write_all(fd, first_line)
            layout.active.hardlink_to(beside)
            beside.unlink()
            durable.sync_directories([layout.active.parent, layout.directory])
        except BaseException:  # a signal's handler may raise here as well
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
                if os.path.samestat(layout.active.stat(), os.fstat(fd)):
                    layout.active.unlink()  # the error came after the link: the next attempt begins anew
            os.close(fd)
            raise
        file = cls(layout.active, fd, first_seq, len(first_line), first_seq + 1)
        file.synced_size, file.synced_seq = 0, first_seq
        return file

    @staticmethod
    def forget_twin(layout: Layout) -> Path:
        """Remove what a crash left of the making of a file, its second name; return where it stood."""
        beside = layout.directory / BEGUN
        beside.unlink(missing_ok=True)
        return beside

    def put(self, data: bytes) -> None:
        """Append whole lines. On OSError some of them may be in the file: `cut_back` before the next.

        They are cut off at once, too: whoever is told that they are not in the trail may be killed before the next.
        """
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                durable.write_all(self._fd, data[written:])
        except OSError:
            self.cut_off(self.size)
            raise
        self.size += len(data)

    def cut_off(self, size: int) -> bool:
        """Take what lies beyond `size` out of the file, as far as that can be done; tell whether it ends there now.

        What is shorter, since a switch has cut it, is not made longer.
        """
        self.size = size
        try:
            length = os.fstat(self._fd).st_size
            if length > size:
                os.ftruncate(self._fd, size)
        except OSError:
            return False
        return length >= size

    def cut_back(self) -> None:
        """After a failed `put`: cut the file to its last whole line, on a fresh descriptor."""
        fd = os.open(self.path, _APPEND)
        try:
            if not os.path.samestat(os.fstat(fd), os.fstat(self._fd)):
                self.doubtful = True
                raise FileNotFoundError(2, "the file was replaced by another", str(self.path))
            os.ftruncate(fd, self.size)
        except BaseException:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd  # never the number of a closed one, whatever a signal's handler raises
        durable.close(old)

    def sync(self, size: int, next_seq: int) -> None:
        """Bring everything below `size` (lines below `next_seq`) to the disk. May be called without the lock.

        Raises OSError, now and from then on.
        """
        with self._syncing:
            if self.synced_size >= size and not self.doubtful:
                return
            if self.doubtful:
                raise OSError(5, "an earlier sync failed", str(self.path))
            try:
                durable.datasync(self._fd)
            except OSError:
                self.doubtful = True
                raise
            self.synced_size, self.synced_seq = size, next_seq

    def in_place(self) -> bool:
        """Tell whether the path still names this very file."""
        return self.is_at(self.path)

    def is_at(self, path: Path) -> bool:
        """Tell whether `path` names this very file."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._fd))
        except OSError:
            return False

    def close(self) -> None:
        """Close the descriptor, when nobody syncs it any more."""
        with self._syncing:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                durable.close(fd)


def close_into_segment(layout: Layout, first_seq: int, access: Access) -> None:
    """Rename the active file to the segment that it becomes. The caller syncs both directories after."""
    durable.make_directory(layout.segments, access)
    layout.active.rename(layout.segment(first_seq))
