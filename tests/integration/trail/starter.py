"""A process that opens a trail, says how far it is, and does what it is told; its start or its end can be held up.

    starter.py TRAIL ROLE [OPEN_TIMEOUT]

Prints a line for each step, in one write. Reads commands from stdin, a line each: ``record ID``; where it is held up,
``go``. Ends, and closes the trail, when its stdin does.

roles: ``opener``; ``wrap`` (records beside a trail that it is not let into); ``slow`` (held up in its start, after it
has the lock); ``slow with child`` (with a child of its own, made there); ``closes slowly``; ``forks`` (while it waits).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from indelible.config import AuditSettings, Settings
from indelible.errors import TrailError, TrailUnavailable
from indelible.events import new_id
from indelible.opening import open_recorder
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.sharing import patience
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.start import recovery
from indelible.trail.writer import Writer
from tests.recording import body

WITHOUT_HOPE_S = 0.2
"""What a start here gives a holder that says nothing."""


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def next_line() -> str:
    """Return the next command; an empty text at the end."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(0, 1)
        if not data:
            return ""
        line += data
    return line.decode().strip()


def hold_up_start(*, with_child: bool) -> None:
    resume = recovery.resume

    def slow(layout: Layout, signer: Signer, access: Access) -> recovery.Resume:
        if with_child:
            subprocess.Popen(["cat"], stdin=0, stdout=subprocess.DEVNULL)
        say("starting")
        assert next_line() == "go"
        return resume(layout, signer, access)

    recovery.resume = slow


def hold_up_end() -> None:
    close = Writer.close

    def slow(self: Writer, *args: Any, **kwargs: Any) -> None:
        say("ending")
        assert next_line() == "go"
        close(self, *args, **kwargs)

    Writer.close = slow  # type: ignore[method-assign]


def say_that_it_waits() -> threading.Event:
    """Say so once this process has waited for longer than it would for a holder that says nothing."""
    waiting, wait, began = threading.Event(), patience.Patience.wait, time.monotonic()

    def told(self: patience.Patience, held: Any) -> None:
        wait(self, held)
        if not waiting.is_set() and time.monotonic() - began > 3 * WITHOUT_HOPE_S:
            waiting.set()
            say("waits")

    patience.START_S = WITHOUT_HOPE_S  # type: ignore[misc]
    patience.Patience.wait = told  # type: ignore[method-assign]
    return waiting


def open_as(role: str, audit: AuditSettings) -> SharedWriter | None:
    """Open the trail, and say what came of it."""
    try:
        if role == "wrap":
            recorder = open_recorder(Settings(audit=audit), caller="stdio", label="files")
            say(f"beside {recorder.notice}" if recorder.notice else "open")
            recorder.close()
            return None
        shared = SharedWriter(Path(str(audit.path)), audit, role)
    except TrailError as exc:
        say(f"refused {exc}")
        return None
    say("open holds" if shared.holder is not None else "open through")
    return shared


def serve(shared: SharedWriter) -> None:
    while command := next_line():
        event_id = command.removeprefix("record ")
        try:
            shared.append(body(shared, event_id), "", "")
        except TrailUnavailable as exc:
            say(f"lost {exc}")
        else:
            say(f"recorded {event_id}")
    shared.close()


def fork_while_it_waits(audit: AuditSettings, waiting: threading.Event) -> None:
    """Open in a thread; once that waits, fork. Parent and child record an event each."""
    opened: list[SharedWriter | None] = []
    thread = threading.Thread(target=lambda: opened.append(open_as("parent", audit)))
    thread.start()
    waiting.wait()
    pid = os.fork()
    if not pid:
        child = open_as("child", audit)
        assert child is not None
        child.append(body(child, new_id()), "", "")
        child.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    thread.join()
    (parent,) = opened
    assert parent is not None
    parent.append(body(parent, new_id()), "", "")
    parent.close()
    say("both")


def main() -> None:
    path, role, *rest = sys.argv[1:]
    audit = AuditSettings(path=path, write_timeout=2.0, open_timeout=float(rest[0]) if rest else 600.0)
    waiting = say_that_it_waits()
    if role.startswith("slow"):
        hold_up_start(with_child="child" in role)
    elif role == "closes slowly":
        hold_up_end()
    if role == "forks":
        fork_while_it_waits(audit, waiting)
        return
    shared = open_as(role, audit)
    if shared is not None:
        serve(shared)


if __name__ == "__main__":
    main()
