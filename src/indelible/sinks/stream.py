"""Records on standard output or standard error, one line each.

The rules that live here:

- Nothing here blocks: a pipe that is full, or a terminal that was stopped, is waited for until the time-out, and then
  it is unavailable. The descriptor itself stays as it is, since other processes have it, too: where that is possible
  the same pipe or terminal is opened once more, and that descriptor does not block.
- Lines go in pieces of at most PIPE_BUF bytes, which a pipe takes whole or not at all (pipe(7)): what other processes
  write to the same pipe stands between lines. A longer line may be torn by them.
- A line that is half written when the time is over is finished by the next attempt, before anything else: its record
  was not taken, so it is the first that comes again.

Taken means that the pipe has it: whether its reader does anything with it, nobody says. In a file (`> out.jsonl`) it
means that it is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.sinks.base import NOTHING, Delivery, Shipment, SinkUnavailable, delivered
from indelible.sinks.file import LINE_END
from indelible.sinks.waits import Waits
from indelible.trail import durable

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

PIECE: Final = select.PIPE_BUF
FDS: Final = {"stdout": 1, "stderr": 2}

_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO})
"""EIO: the terminal was closed."""


class StreamSink:
    """Writes records to one of the process's own streams."""

    def __init__(self, settings: SinkSettings, fd: int | None = None) -> None:
        """`settings.type` is the stream's name; `fd` is another descriptor to write to, which is left open."""
        self._name = settings.type
        self._given = FDS[settings.type] if fd is None else fd
        self._waits = Waits(settings.timeout)
        self._fd = -1
        self._socket: socket.socket | None = None
        self._is_file = False
        self._taken = 0
        self._at = 0
        self._half: tuple[bytes, int] | None = None
        """A line that is written in part, and how much of it."""

    def open(self) -> None:
        """See `Sink`."""
        self._waits.check()
        if self._fd >= 0:
            return
        try:
            about = os.fstat(self._given)
            self._is_file = stat.S_ISREG(about.st_mode)
            self._fd = _without_blocking(self._given, about)
            if stat.S_ISSOCK(about.st_mode):
                self._socket = socket.socket(fileno=os.dup(self._given))
        except OSError as exc:
            raise ConfigError(f"{self._name}: {exc.strerror}; is it closed?") from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        refused = [(index, LINE_END) for index, item in enumerate(shipments) if b"\n" in item.record]
        self._taken = 0
        try:
            self._open_again()
            for lines, indexes in _pieces(shipments):
                self._put(lines, indexes)
            self._taken = len(shipments)
            if self._is_file:
                durable.datasync(self._fd)
        except SinkUnavailable as exc:
            exc.delivery = self._delivery(refused)
            raise
        except OSError as exc:
            why = "nobody reads it any more" if exc.errno in _GONE else exc.strerror
            raise SinkUnavailable(f"{self._name}: {why}", self._delivery(refused)) from exc
        return delivered(self._taken, refused)

    def close(self) -> None:
        """See `Sink`. The process's own stream stays open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            durable.close(fd)
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    def _open_again(self) -> None:
        try:
            self.open()
        except ConfigError as exc:
            raise SinkUnavailable(str(exc)) from exc

    def _delivery(self, refused: Sequence[tuple[int, str]]) -> Delivery:
        """Return what is taken after a failure: in a file, nothing that may not be on the disk."""
        if self._is_file:
            try:
                durable.datasync(self._fd)
            except OSError:
                return NOTHING
        return delivered(self._taken, refused)

    def _put(self, lines: Sequence[bytes], indexes: Sequence[int]) -> None:
        """Write some lines, wholly or until the time without any progress is over; count the whole ones."""
        data, at = b"".join(lines), 0
        if self._half is not None:
            line, done = self._half
            if line == lines[0]:
                at = done
            else:  # it does not come again: it is finished all the same, so that nothing is glued to it
                self._finish(line, done)
        try:
            self._finish(data, at)
        finally:
            whole = data.count(b"\n", 0, self._at)
            if whole:
                self._taken = indexes[whole - 1] + 1

    def _finish(self, data: bytes, at: int) -> None:
        """Write data from `at` on; how far it came is in `_at`."""
        self._at = at
        deadline = self._waits.deadline()
        try:
            while self._at < len(data):
                if not self._waits.ready(self._fd, select.POLLOUT, deadline):
                    raise SinkUnavailable(f"{self._name}: nobody has read it for {self._waits.timeout:g} s")
                with contextlib.suppress(BlockingIOError):
                    self._at += self._write(data[self._at : self._at + PIECE])
                    deadline = self._waits.deadline()
        finally:
            start = data.rfind(b"\n", 0, self._at) + 1
            end = data.find(b"\n", self._at) + 1
            self._half = (data[start:end], self._at - start) if start < self._at else None

    def _write(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self._fd, data)


def _pieces(shipments: Sequence[Shipment]) -> Iterator[tuple[list[bytes], list[int]]]:
    """Yield lines that are together at most PIECE bytes, or one longer one, with the indexes of their records."""
    lines: list[bytes] = []
    indexes: list[int] = []
    size = 0
    for index, shipment in enumerate(shipments):
        if b"\n" in shipment.record:
            continue
        line = shipment.record + b"\n"
        if lines and size + len(line) > PIECE:
            yield lines, indexes
            lines, indexes, size = [], [], 0
        lines.append(line)
        indexes.append(index)
        size += len(line)
    if lines:
        yield lines, indexes


def _without_blocking(fd: int, about: os.stat_result) -> int:
    """Return a descriptor of the same pipe or terminal that does not block, where there is such a thing."""
    blocks = stat.S_ISFIFO(about.st_mode) or stat.S_ISCHR(about.st_mode)
    if blocks and sys.platform == "linux":
        with contextlib.suppress(OSError):  # no /proc, or another user's: then poll(2) says when there is room
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return os.dup(fd)
