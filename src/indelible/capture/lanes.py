"""Bytes on their way: cut into lines on one side, queued for a slow reader on the other.

A line ends at LF and nowhere else; what is forwarded is what came. Standard library only: see `child`.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

READ_BYTES: Final = 65_536
"""At most this much is read at once: what a pipe holds."""

MAX_QUEUE: Final = 256 * 1024
"""Bytes that wait for one reader before its writer is no longer read from."""

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of a line that are held until it is whole; a longer one is streamed, and only its ends are kept."""

END_BYTES: Final = 65_536
"""How much of each end of such a line is kept (`frames.SCAN_BYTES`)."""


class Part:
    """A part of a line that is too long to hold: forward it."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        """`data` is never the end of the line."""
        self.data = data


class CutLine:
    """The end of such a line: `data` is what has not been forwarded; `head` and `tail` are its ends."""

    __slots__ = ("data", "head", "tail")

    def __init__(self, head: bytes, tail: bytes, data: bytes) -> None:
        """`data` ends with the LF, unless the stream ended first."""
        self.head = head
        self.tail = tail
        self.data = data


class Lines:
    """Cuts a stream of bytes into lines, each with its LF."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        """Hold lines of up to `limit` bytes."""
        self._limit = max(limit, 2 * END_BYTES)
        self._parts: list[bytes] = []
        self.size = 0
        """Bytes of the unfinished line that are held."""
        self._head: bytes | None = None

    def feed(self, chunk: bytes) -> list[bytes | Part | CutLine]:
        """Take what was read; return the lines that are whole now."""
        end = chunk.find(b"\n") + 1
        if end == len(chunk) and not self._parts:
            return [chunk]
        found: list[bytes | Part | CutLine] = []
        start = 0
        while end:
            found.append(self._finish(chunk[start:end]))
            start, end = end, chunk.find(b"\n", end) + 1
        if start < len(chunk):
            self._parts.append(chunk[start:])
            self.size += len(chunk) - start
            if self.size > (self._limit if self._head is None else 4 * END_BYTES):
                found.append(self._spill())
        return found

    def finish(self) -> list[bytes | Part | CutLine]:
        """Return the last line, which has no LF; nothing when there is none."""
        return [self._finish(b"")] if self._parts else []

    def _finish(self, last: bytes) -> bytes | CutLine:
        if not self._parts:
            return last
        self._parts.append(last)
        line = b"".join(self._parts)
        self._parts, self.size = [], 0
        head, self._head = self._head, None
        return line if head is None else CutLine(head, line[-END_BYTES:], line)

    def _spill(self) -> Part:
        held = b"".join(self._parts)
        if self._head is None:
            self._head = held[:END_BYTES]
        self._parts, self.size = [held[-END_BYTES:]], END_BYTES
        return Part(held[:-END_BYTES])


class Outlet:
    """A descriptor that is written to without ever waiting for its reader."""

    def __init__(self, descriptor: int, *, shared: bool) -> None:
        """A `shared` descriptor belongs to our parent as well: it must not be made non-blocking.

        A pipe is then opened anew, which makes an open file description of our own (Linux; not macOS). What cannot
        be opened anew is written in pieces of PIPE_BUF bytes, each after poll() has said that there is room (POSIX
        promises that much).
        """
        self.descriptor = descriptor
        self.broken = False
        """The reader is gone; what is written is dropped."""
        self.size = 0
        """Bytes that wait."""
        self._queue: deque[memoryview] = deque()
        self._room: select.poll | None = None
        if shared and not self._reopen():
            self._room = select.poll()
            self._room.register(descriptor, select.POLLOUT)

    def _reopen(self) -> bool:
        try:
            if not stat.S_ISFIFO(os.fstat(self.descriptor).st_mode):
                return False
            own = os.open(f"/proc/self/fd/{self.descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        os.dup2(own, self.descriptor, inheritable=False)
        os.close(own)
        return True

    def write(self, data: bytes) -> None:
        """Write what the reader takes at once, and queue the rest."""
        if self.broken or not data:
            return
        if not self.size and self._room is None:
            try:
                written = os.write(self.descriptor, data)
            except BlockingIOError:
                written = 0
            except OSError:
                self.abandon()
                return
            if written == len(data):
                return
            data = data[written:] if written else data
        self._queue.append(memoryview(data))
        self.size += len(data)
        if self._room is not None:
            self.flush()

    def flush(self) -> None:
        """Write as much of the queue as the reader takes."""
        while self._queue:
            try:
                if self._room is None:
                    written = os.write(self.descriptor, self._queue[0])
                elif self._has_room():
                    written = os.write(self.descriptor, self._queue[0][: select.PIPE_BUF])
                else:
                    return
            except BlockingIOError:
                return
            except OSError:
                self.abandon()
                return
            self.size -= written
            rest = self._queue[0][written:]
            if rest:
                self._queue[0] = rest
            else:
                self._queue.popleft()

    def _has_room(self) -> bool:
        assert self._room is not None  # noqa: S101 - only called where it is
        return any(event & select.POLLOUT for _, event in self._room.poll(0))

    def abandon(self) -> None:
        """The reader is gone: drop what waits."""
        self.broken = True
        self._queue.clear()
        self.size = 0
