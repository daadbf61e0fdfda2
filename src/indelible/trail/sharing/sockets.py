"""Unix sockets at paths of any length.

A socket's address holds 107 bytes of path (`sun_path`, unix(7)); a trail may lie deeper. On Linux a longer one is
reached through a descriptor of its directory, /proc/self/fd/N/writer.sock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_PATH_BYTES: Final = 103
"""What every system takes (macOS: 104 with the NUL)."""

_BACKLOG: Final = 64


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """Listen at `path`, where what a dead process left is removed. Only whoever holds the trail may do this."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            sock.bind(address)
        path.chmod(0o600)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class Prepared:
    """A socket that is made and not there yet: nobody can connect before `appear`, and `drop` leaves nothing behind.

    All that can go wrong has gone wrong by then: whoever has one may do what listening at `path` takes.
    """

    def __init__(self, path: Path, mode: int, gid: int) -> None:
        """Make it for whoever `mode` and the group `gid` (-1: one's own) let connect; unix(7).

        Raises OSError: EEXIST when something is at `path` that is no socket, EADDRINUSE when somebody listens there,
        EPERM when this user cannot give it to the group.
        """
        _refuse_living(path)
        self._path = path
        self._made = path.with_name(f".{path.name[:40]}.{os.getpid()}")
        self._mode = mode
        with contextlib.suppress(FileNotFoundError):
            self._made.unlink()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(self._made) as address:
                self.sock.bind(address)
            self._made.chmod(0)
            if gid != -1:
                os.chown(self._made, -1, gid)
        except BaseException:
            self.drop()
            raise

    def appear(self) -> socket.socket:
        """Listen, under the name that others know; what a dead process left there is replaced. Raises OSError."""
        _refuse_living(self._path)
        self.sock.listen(_BACKLOG)
        self._made.chmod(self._mode)
        self._made.rename(self._path)
        return self.sock

    def drop(self) -> None:
        """Take it away, unless it has appeared."""
        self.sock.close()
        with contextlib.suppress(OSError):
            self._made.unlink()


def _refuse_living(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "is there, and is no socket", str(path))
        connect(path, 1.0).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return
    except (TimeoutError, BlockingIOError):
        pass
    raise OSError(errno.EADDRINUSE, "somebody listens here already", str(path))


def inherited() -> socket.socket | None:
    """Return the listener that whoever started this process has made, if there is one: sd_listen_fds(3).

    Raises ValueError, one line, for more than one, or for what is no listening Unix stream socket.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        msg = f"LISTEN_FDS: expected one socket, found {count[:10]}"
        raise ValueError(msg)
    try:
        os.set_inheritable(_FIRST_PASSED, False)  # noqa: FBT003 - its signature
        sock = socket.socket(fileno=_FIRST_PASSED)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        fits = sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM and listening
    except OSError as exc:
        msg = f"LISTEN_FDS: descriptor {_FIRST_PASSED} is no socket: {exc.strerror}"
        raise ValueError(msg) from exc
    if not fits:
        msg = (
            f"LISTEN_FDS: descriptor {_FIRST_PASSED} is no listening Unix stream socket (ListenStream=/a/path)"
        )
        raise ValueError(msg)
    return sock


_FIRST_PASSED: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def connect(
    path: Path, timeout: float, kind: socket.SocketKind = socket.SocketKind.SOCK_STREAM
) -> socket.socket:
    """Connect to `path`; what is done with the socket fails after `timeout` seconds. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.settimeout(timeout)
        with _address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def has_ended(sock: socket.socket) -> bool:
    """Tell whether the other end has closed a connection; something may be left to read all the same."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def credentials(sock: socket.socket) -> tuple[int, int]:
    """Return the pid and uid of the process at the other end, as the kernel has them. Raises OSError."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    import ctypes  # macOS: getpeereid(3) and LOCAL_PEERPID  # pragma: no cover

    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()  # pragma: no cover
    ctypes.CDLL(None).getpeereid(sock.fileno(), ctypes.byref(uid), ctypes.byref(gid))  # pragma: no cover
    pid = struct.unpack("i", sock.getsockopt(0, 2, 4))[0]  # pragma: no cover
    return pid, uid.value  # pragma: no cover
