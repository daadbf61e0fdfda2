"""Who makes twins beside a recorder: a child of the process that holds the trail, one at a time, and never in its way.

The rules that live here:

- Nothing of it is done in the recorder's own process but to look whether enough is due: names in a directory, and the
  size of files. The child does it with what the machine has left over (nice 19, also among sessions, and SCHED_IDLE
  where there is such), and rests after each twin three times as long as it worked.
- The child is known by the pipe on its standard input: when the recorder is gone, however it ended, the child ends. A
  recorder that is closed, or erases, kills it: what that leaves is removed by whoever makes twins next.
- Without the package duckdb, or with `twins: off`, there is none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

from indelible.trail import files, twins

if TYPE_CHECKING:
    import subprocess

    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

CHUNK_BYTES: Final = 4 << 20
"""A twin of the active file is made when so many more bytes of it are sealed."""

DUE_BYTES: Final = CHUNK_BYTES + (1 << 20)
"""When so many bytes of lines have none a child is started; the newest of them may not be sealed yet."""

LOOK_S: Final = 1.0
"""How often it is looked at the most."""

RETRY_S: Final = 60.0
"""After a child that failed, or has left something that is due."""

ROOM_BYTES: Final = 256 << 20
"""With less room than this on the disk no twins are made: the lines need it."""

KILL_S: Final = 5.0
"""How long one waits for a child that was killed to be gone."""


class TwinKeeper:
    """Starts, watches and ends the child. `is_due` on any thread, `look` and `pause` on the house's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._layout = writer.layout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._seen: tuple[int, int] = (0, 0)
        """The first seq of the active file when it was looked at, and how many bytes of it have twins."""
        self._again_at = 0.0
        self._left = -1
        """How many bytes were due when the last child was started; -1 for none."""
        self._finished = False
        """A child has ended, and nobody has looked since."""
        self._ended = False

    @cached_property
    def _is_on(self) -> bool:
        """Asked for when something is sealed: a start does not wait for it."""
        return self._writer.audit.twins == "auto" and bool(sys.executable) and twins.has_duckdb()

    def is_due(self) -> bool:
        """Tell whether it is time for a look: a child has ended, or the active file has grown by a chunk.

        Called after every checkpoint.
        """
        if self._ended or not self._is_on:
            return False
        if self._finished:
            return True
        if time.monotonic() < self._again_at:
            return False
        first, done = self._seen
        now_first, size = self._writer.active_size
        return size - (done if first == now_first else 0) >= DUE_BYTES

    def look(self) -> None:
        """Start a child when enough is due and none is at work."""
        if self._ended or not self._is_on:
            return
        try:
            with self._lock:
                self._look()
        except OSError as exc:
            self._again_at = time.monotonic() + RETRY_S
            log.warning("%s: no twins are made, which is tried again: %s", self._layout.active, exc)
        except Exception:  # a fault of ours costs the twins, not the house
            self._again_at = time.monotonic() + RETRY_S
            log.exception("%s: no twins are made, which is tried again", self._layout.active)

    def _look(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._again_at = time.monotonic() + LOOK_S
            return
        self._finished = False
        failed = self._child is not None and self._child.returncode != 0
        self._close()
        twins.drop_outdated(self._layout)
        due = self._due_bytes()
        in_vain = failed or self._left == due
        self._left = -1
        self._again_at = time.monotonic() + (RETRY_S if in_vain else LOOK_S)
        if due >= DUE_BYTES and not in_vain and self._has_room():
            self._left = due
            self._start()

    def _has_room(self) -> bool:
        """Tell whether the disk has room to spare, and no erasure wants the twins' place."""
        found = os.statvfs(self._layout.directory)
        return found.f_bavail * found.f_frsize >= ROOM_BYTES and not twins.is_wanted_elsewhere(self._layout)

    def _due_bytes(self) -> int:
        """Return how many bytes of sealed lines have no twin, as far as names and sizes tell."""
        active_first, size = self._writer.active_size
        closed = files.segments(self._layout)
        ends = [file.first_seq for file in closed[1:]] + ([active_first] if closed else [])
        notes = twins.names(self._layout)
        total = 0
        for file, end in zip(closed, ends, strict=True):
            if (file.first_seq, end) not in notes and end <= self._writer.sealed:
                with contextlib.suppress(OSError):
                    total += file.path.stat().st_size * (PACKED if file.compressed else 1)
        done = twins.bytes_of_chunks(self._layout, active_first)
        self._seen = (active_first, done)
        return total + max(0, size - done)

    def _start(self) -> None:
        import subprocess

        command = [
            sys.executable, "-P", "-m", "indelible", "twins", "--attached", "--trail", str(self._layout.active),
        ]  # fmt: skip
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the recorder
        )
        threading.Thread(target=self._await, args=(self._child,), name="indelible-twins", daemon=True).start()

    def _await(self, child: subprocess.Popen[bytes]) -> None:
        """Have it looked again when a child has ended: more may be due by then, and no checkpoint may follow."""
        child.wait()
        if child is self._child and not self._ended:
            self._finished = True
            self._writer.housekeeper.sealed()

    def pause(self) -> None:
        """End the child at once: an erasure needs its place. The next look starts another."""
        with self._lock:
            self._kill(wait=True)

    def stop(self) -> None:
        """End the child and start none any more. Nobody waits for it."""
        self._ended = True
        with self._lock:
            self._kill(wait=False)

    def abandon(self) -> None:
        """In a forked child: the pipe is the parent's, or its end would not be seen."""
        self._ended = True
        child = self._child
        if child is not None and child.stdin is not None:
            with contextlib.suppress(OSError):
                os.close(child.stdin.fileno())

    def _kill(self, *, wait: bool) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            self._close()
            return
        child.kill()
        self._close()
        if wait:
            import subprocess

            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(KILL_S)

    def _close(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()


PACKED: Final = 8
"""How many times larger the lines of a compressed file are, about."""
