"""A process that records under `on_failure: allow`, and goes on whatever becomes of the disk; made to be killed.

    losing.py TRAIL DURABILITY PLACE

Prints ``open``; then, for each line of its input, records as many events as that says and prints ``went on``. PLACE is
``memory``, or ``beside`` for a machine without shared memory. Ends, and closes the trail, when its input does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from indelible.config import AuditSettings, Settings
from indelible.events import Event, Source, Target, new_id, now, outcome
from indelible.opening import open_recorder
from indelible.trail import gapfile


def event(number: int) -> Event:
    return Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=new_id(),
        source=Source(caller="library"),
        target=Target(method="tools/call", type="tool", capability_name=f"t{number}"),
        outcome=outcome("completed", 1.0),
    )


def main() -> None:
    if sys.argv[3] == "beside":
        gapfile.SHARED_MEMORY = Path("/nowhere")  # type: ignore[misc]
    audit = AuditSettings(path=sys.argv[1], durability=sys.argv[2], write_timeout=0.5)  # type: ignore[arg-type]
    with open_recorder(Settings(audit=audit), caller="library", on_failure="allow") as recorder:
        print("open", flush=True)
        for line in sys.stdin:
            for number in range(int(line)):
                recorder.record(event(number))
            print("went on", flush=True)


if __name__ == "__main__":
    main()
