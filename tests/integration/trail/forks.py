"""Processes that record and are killed, forked from one that has imported everything: a kill costs no start of Python.

    python -m tests.integration.trail.forks

Its stdin is a Unix socket. Each request is one JSON message, a module of this package with a `main()` and its
arguments, with four descriptors: stdin, stdout and stderr of the new process, and a socket on which its wait status is
told. It is answered with the pid and a descriptor of the process (pidfd_open(2)), by which no other one can be meant.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Self

ROOT = Path(__file__).parents[3]
GENEROUS_S: Final = 120.0
LATE: Final = (
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "zstandard",
    "indelible.recorder",
    "indelible.trail.sharing.shared",
    "tests.integration.trail.appender",
    "tests.integration.trail.sharer",
    "tests.integration.trail.starter",
)
"""What a recorder imports when it starts, or later."""


class Forked:
    """A process; as far as the tests use it, like one of `subprocess`."""

    def __init__(self, pid: int, handle: int, life: socket.socket, ends: list[int]) -> None:
        self.pid, self._handle, self._life = pid, handle, life
        self.stdin: IO[bytes] = os.fdopen(ends[0], "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(ends[1], "rb")
        self.stderr: IO[bytes] = os.fdopen(ends[2], "rb")

    def kill(self) -> None:
        """End it where it stands."""
        signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self, timeout: float = GENEROUS_S) -> int:
        """Return its exit code, negative for a signal; raise TimeoutError when it does not end."""
        self._life.settimeout(timeout)
        code = os.waitstatus_to_exitcode(int(self._life.recv(64)))
        self._life.close()
        os.close(self._handle)
        return code


class Forks:
    """What forks them. A context manager."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(GENEROUS_S)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.trail.forks"], stdin=theirs.fileno(), cwd=ROOT
        )
        theirs.close()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._control.close()
        assert self._process.wait(GENEROUS_S) == 0

    def start(self, module: str, *arguments: object) -> Forked:
        """Start the `main` of a module beside this one."""
        pipes = [os.pipe() for _ in range(3)]
        life, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        request = json.dumps([module, *map(str, arguments)]).encode()
        socket.send_fds(self._control, [request], [*theirs, told.fileno()])
        data, (handle,), _, _ = socket.recv_fds(self._control, 64, 1)
        told.close()
        for descriptor in theirs:
            os.close(descriptor)
        return Forked(int(data), handle, life, [pipes[0][1], pipes[1][0], pipes[2][0]])


def serve(control: socket.socket) -> Callable[[], None] | None:
    """Fork for each request and tell of each end; return what a fork is for, or None when nobody asks any more."""
    ended, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: dict[int, int] = {}
    while True:
        ready = select.select([control.fileno(), ended], [], [])[0]
        if ended in ready:
            os.read(ended, 4096)
            _tell_of_ends(alive)
        if control.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 4096, 4)
        if not data:
            return None
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(descriptors[:3]):
                os.dup2(descriptor, number)
            os.closerange(3, 1024)
            module, *sys.argv[1:] = json.loads(data)
            main: Callable[[], None] = importlib.import_module(f"tests.integration.trail.{module}").main
            return main
        alive[pid] = descriptors[3]
        handle = os.pidfd_open(pid)
        socket.send_fds(control, [str(pid).encode()], [handle])
        for descriptor in (*descriptors[:3], handle):
            os.close(descriptor)


def _tell_of_ends(alive: dict[int, int]) -> None:
    while alive:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        os.write(alive[pid], str(status).encode())
        os.close(alive.pop(pid))


def main() -> None:
    for name in LATE:
        importlib.import_module(name)
    gc.freeze()
    control = socket.socket(fileno=os.dup(0))
    run = serve(control)
    if run is None:
        return
    control.detach()  # its descriptor is closed already
    run()


if __name__ == "__main__":
    main()
