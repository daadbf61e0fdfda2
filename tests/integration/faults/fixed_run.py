"""A process that forks a recorder for each case, so that a case costs a fork and not a start of Python.

    python -m tests.integration.faults.fixed_run SCRATCH

Its stdin is a Unix socket. Each request is one JSON message (see `Case`) with one descriptor, the recorder's end of a
socket; it is answered with the recorder's pid, and, once that has ended, with its wait status. The recorder waits for
``go`` on its socket, so that somebody can attach to it first, and then says there what becomes of the run: ``open``,
``acked NAME``, ``failed NAME WHY``, ``sealed``, ``logged TEXT``, ``closed``, ``refused WHY``;
``raised TRACEBACK`` is a fault of ours.

Everything that Python imports late is imported by a run of its own, in SCRATCH, before the first fork: from ``go`` on,
all system calls that name files are the trail's. What is said goes out with `sendto`, never with `write`.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from indelible.config import AuditSettings, Durability
from indelible.errors import IndelibleError, TrailError, TrailUnavailable
from indelible.trail.start.opening import open_writer
from tests.unit.trail.faults import without_threads

EVENTS = 20
SEAL_EVERY = 5
MAX_SIZE = 2500
PADDING = 150

Say = Callable[[str], object]


@dataclass
class Case:
    """What a run is to do."""

    path: str
    durability: Durability = "process"
    name: str = "e"
    """What the events' ids begin with."""
    threads: bool = False
    """Whether checkpoints are made by the trail's own threads; else by the one that appends, where the run says."""
    short: int = 0
    """How large a file may be between the first and the second SIGUSR1; 0 for no limit."""


def settings(durability: Durability) -> AuditSettings:
    """Return settings by which twenty events fill several files, and closed ones are compressed at once."""
    return AuditSettings(
        durability=durability, max_size=MAX_SIZE, backup_count=1000, compress_rotated=True, write_timeout=20.0
    )


def body(name: str) -> bytes:
    """Return a redacted event whose id is `name`."""
    head = '{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation","event_id":'
    return f'{head}"{name}","padding":"{"x" * PADDING}"}}'.encode()


def fixed_run(case: Case, say: Say) -> None:
    """Open, append with checkpoints in between, close; say what was acknowledged, and what was refused and why."""
    try:
        writer = open_writer(Path(case.path), settings(case.durability), "test").writer
    except IndelibleError as exc:
        say(f"refused {exc}")
        return
    say("open")
    for number in range(EVENTS):
        name = f"{case.name}{number}"
        try:
            writer.append(body(name))
        except TrailUnavailable as exc:
            say(f"failed {name} {exc}")
        else:
            say(f"acked {name}")
        if number % SEAL_EVERY == SEAL_EVERY - 1:
            try:
                writer.seal()
                say("sealed")
            except (OSError, TrailError) as exc:
                say(f"unsealed {exc}")
    writer.close()
    say("closed")


class _Told(logging.Handler):
    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"logged {self.format(record)}")


def _run(case: Case, say: Say) -> None:
    if case.threads:
        fixed_run(case, say)
    else:
        with without_threads():
            fixed_run(case, say)


def _limit_files(size: int) -> None:
    """Let the first SIGUSR1 limit how large a file may become, and the second lift that: writes in between are short.

    The kernel writes what fits, and says so (setrlimit(2), RLIMIT_FSIZE); Python ignores SIGXFSZ.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limits = [resource.RLIM_INFINITY, size]

    def on_signal(_number: int, _frame: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.pop() if limits else resource.RLIM_INFINITY, hard))

    signal.signal(signal.SIGUSR1, on_signal)


def _recorder(case: Case, channel: socket.socket) -> None:
    logging.getLogger("indelible").addHandler(_Told(lambda text: channel.send(text.encode())))
    if case.short:
        _limit_files(case.short)
    channel.send(b"ready")
    channel.recv(16)  # go
    try:
        _run(case, lambda text: channel.send(text.encode()))
    except Exception:
        channel.send(f"raised {traceback.format_exc()[-4000:]}".encode())
        raise


def _serve(control: socket.socket) -> None:
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                control.close()
                _recorder(Case(**json.loads(request)), socket.socket(fileno=descriptors[0]))
                status = 0
            finally:
                os._exit(status)
        os.close(descriptors[0])
        control.send(str(pid).encode())
        control.send(str(os.waitpid(pid, 0)[1]).encode())


def main() -> None:
    scratch = Path(sys.argv[1])
    for threads in (True, False):
        _run(Case(str(scratch / f"{threads}" / "audit.jsonl"), "disk", threads=threads), lambda _: None)
    gc.collect()
    gc.freeze()  # no collection closes a file in the midst of a run
    _serve(socket.socket(fileno=0))


def encode(case: Case) -> bytes:
    """Return the request for a case."""
    return json.dumps(asdict(case)).encode()


if __name__ == "__main__":
    main()
