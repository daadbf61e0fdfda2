"""A process that records calls into a trail that others write too, and says which were acknowledged; made to be killed.

    sharer.py TRAIL DURABILITY MAX_SIZE

Prints ``open``, then the id of each acknowledged event on a line of its own, in one write each: for every call that of
its intent, then that of its outcome. Ends, and closes the trail, when its stdin does.
"""

from __future__ import annotations

import os
import select
import sys
import time

import msgspec

from indelible.config import AuditSettings, Settings
from indelible.events import Event, Request, Source, Target, new_id, now, outcome
from indelible.opening import open_recorder

PACE_S = 0.000_25
"""Between two calls. At full speed a holder writes in half a second all that a new one knows again (`wire.REMEMBERED`),
and a busy machine may keep another process waiting for as long: then it is told, rightly, that nobody can know."""

SOURCE = Source(caller="library")
TARGET = Target(backend="b", method="tools/call", type="tool", capability_name="t", effects="write")


def main() -> None:
    audit = AuditSettings(
        path=sys.argv[1],
        durability=sys.argv[2],  # type: ignore[arg-type]
        max_size=int(sys.argv[3]),
        backup_count=1_000_000,
        compress_rotated=True,
        write_timeout=120.0,  # holder after holder is killed, on a machine that may be busy
    )
    number = 0
    with open_recorder(Settings(audit=audit), caller="library", on_failure="deny") as trail:
        os.write(1, b"open\n")
        while not select.select([0], [], [], 0)[0]:
            request = Request(
                request_id=f"r{number}", rpc_id=str(number), args={"padding": "x" * (number % 400)}
            )
            intent = Event(
                timestamp=now(),
                event_type="mcp_operation_started",
                event_id=new_id(),
                source=SOURCE,
                target=TARGET,
                request=request,
            )
            trail.record(intent)
            os.write(1, intent.event_id.encode() + b"\n")
            closing = msgspec.structs.replace(
                intent,
                event_type="mcp_operation",
                event_id=new_id(),
                request=msgspec.structs.replace(request, intent=intent.event_id),
                outcome=outcome("completed", 1.0),
            )
            trail.record(closing)
            os.write(1, closing.event_id.encode() + b"\n")
            number += 1
            time.sleep(PACE_S)


if __name__ == "__main__":
    main()
