"""A process that forks real shippers, ready to run, and sees to it that each is killed: at a time, or at a place.

It reads one order a line and answers each with a line: ``{"after": SECONDS}`` kills the shipper from outside after so
long; ``{"place": NAME, "nth": N, "how": …}`` lets it kill itself the N-th time that it comes there, ``before`` what it
was about to do, ``after`` it, or when ``half`` of the data was written. Both are SIGKILL: nothing is flushed, closed
or said. `BATCH_EVENTS` and `CURSOR_S` are those of
`indelible.shipper.place` in this life.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml  # noqa: F401 - read before the fork, as all of this is: a life begins with its first own step
import zstandard  # noqa: F401

import indelible.cli.ship
import indelible.formats.indelible
import indelible.sinks.file
import indelible.sinks.syslog  # noqa: F401
from indelible.cli import main, shipping  # noqa: F401
from indelible.shipper import batch, feed, place
from indelible.sinks import connection, file
from indelible.trail.shipping import cursor, state

PLACES: dict[str, tuple[Any, str]] = {
    "reading": (feed.Feed, "read"),
    "rendering": (batch.Renderer, "batch"),
    "writing": (os, "write"),
    "sending": (connection.Connection, "_send"),
    "being acknowledged": (connection.Connection, "settle"),
    "seeing that it was read": (connection.Connection, "finish"),
    "syncing a file": (os, "fdatasync"),
    "syncing a directory": (os, "fsync"),
    "renaming": (Path, "rename"),
    "rotating": (file.FileSink, "_rotate"),
    "moving the cursor": (cursor, "write"),
    "showing the state": (state, "write"),
}
HALVES = ("writing", "sending")
LATE_S = 20.0
"""A shipper that does not come to its place is killed then: there was nothing left to ship."""


def deadly(original: Callable[..., Any], nth: int, how: str) -> Callable[..., Any]:
    """Return a function like another one, whose N-th call is the process's last."""
    count = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count < nth:
            return original(*args, **kwargs)
        if how == "half":
            original(*args[:-1], args[-1][: len(args[-1]) // 2])
        elif how == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return call


def live(order: dict[str, Any], argv: list[str]) -> None:
    """Be a shipper, until the end."""
    for name in ("BATCH_EVENTS", "CURSOR_S"):
        setattr(place, name, order[name])
    if "place" in order:
        owner, name = PLACES[order["place"]]
        setattr(owner, name, deadly(getattr(owner, name), order["nth"], order["how"]))
    os._exit(main(["ship", *argv]))


def killed(order: dict[str, Any], pid: int) -> str:
    """See a shipper to its end; return how it came to it."""
    gone = os.pidfd_open(pid)
    try:
        ended = select.select([gone], [], [], order.get("after", LATE_S))[0]
    finally:
        os.close(gone)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        return f"ended by itself, status {status}"
    return "at its place" if ended else "from outside"


def serve(argv: list[str]) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            live(order, argv)
        print(killed(order, pid), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
