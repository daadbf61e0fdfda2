"""Unix sockets at paths of any length.

A socket's address holds 107 bytes of path (`sun_path`, unix(7)); a trail may lie deeper. On Linux a longer one is
reached through a descriptor of its directory, /proc/self/fd/N/writer.sock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
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
