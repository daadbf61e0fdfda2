"""A process that erases the canary's events from a trail, or holds the trail while somebody else has it done.

eraser.py TRAIL erase     prints ``open`` when it is about to begin, and ``done LINES`` in the end
eraser.py TRAIL hold      holds the trail, prints ``open``, records on until its input ends
"""

from __future__ import annotations

import sys
from pathlib import Path

from indelible.config import AuditSettings
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep.manage import execute
from tests.erasing import STAYS, body, order


def main() -> None:
    path, what = Path(sys.argv[1]), sys.argv[2]
    audit = AuditSettings(max_size=20_000, backup_count=1_000, compress_rotated=True)
    if what == "erase":
        writer = open_writer(path, audit, "eraser").writer
        print("open", flush=True)
        print("done", execute(writer, order())["lines"], flush=True)
        writer.close()
        return
    shared = SharedWriter(path, audit, "holder")
    print("open", flush=True)
    for number, _ in enumerate(sys.stdin):
        shared.append(body(f"held{number}", STAYS), "", "")
    shared.close()


if __name__ == "__main__":
    main()
