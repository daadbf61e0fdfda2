"""A process with callers that record at once, while its disk hangs.

    hanging.py TRAIL DURABILITY ON_FAILURE threads|tasks WRITE_TIMEOUT

Prints ``open``. For each line ``NAME COUNT`` of its input that many callers record one event each, at once; for each is
printed what became of it: ``NAMEn recorded|refused SECONDS WHY``. Ends, and closes the trail, when its input does.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from indelible.config import AuditSettings, Settings
from indelible.errors import TrailUnavailable
from indelible.events import Event, Source, Target, now, outcome
from indelible.opening import open_recorder
from indelible.recorder import Recorder


def event(name: str) -> Event:
    return Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=name,
        source=Source(caller="library"),
        target=Target(method="tools/call", type="tool", capability_name="t"),
        outcome=outcome("completed", 1.0),
    )


def say(name: str, since: float, error: Exception | None) -> None:
    became = "recorded" if error is None else "refused"
    sys.stdout.write(f"{name} {became} {time.monotonic() - since:.3f} {error}\n")
    sys.stdout.flush()


def record(recorder: Recorder, name: str) -> None:
    since = time.monotonic()
    try:
        recorder.record(event(name))
    except TrailUnavailable as exc:
        say(name, since, exc)
    else:
        say(name, since, None)


async def arecord(recorder: Recorder, name: str) -> None:
    since = time.monotonic()
    try:
        await recorder.arecord(event(name))
    except TrailUnavailable as exc:
        say(name, since, exc)
    else:
        say(name, since, None)


async def tasks(recorder: Recorder) -> None:
    under_way = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, count = line.split()
        for number in range(int(count)):
            under_way.add(asyncio.create_task(arecord(recorder, f"{name}{number}")))
    await asyncio.gather(*under_way)


def threads(recorder: Recorder) -> None:
    under_way = []
    for line in sys.stdin:
        name, count = line.split()
        for number in range(int(count)):
            under_way.append(threading.Thread(target=record, args=(recorder, f"{name}{number}")))
            under_way[-1].start()
    for thread in under_way:
        thread.join()


def main() -> None:
    audit = AuditSettings(
        path=sys.argv[1],
        durability=sys.argv[2],  # type: ignore[arg-type]
        write_timeout=float(sys.argv[5]),
    )
    with open_recorder(Settings(audit=audit), caller="library", on_failure=sys.argv[3]) as recorder:  # type: ignore[arg-type]
        recorder.record(event("warm"))  # everything that is imported late is there now
        print("open", flush=True)
        if sys.argv[4] == "tasks":
            asyncio.run(tasks(recorder))
        else:
            threads(recorder)


if __name__ == "__main__":
    main()
