"""A process that appends events as fast as it can and says which were acknowledged; made to be killed.

    appender.py TRAIL DURABILITY MAX_SIZE MODE

Prints ``open`` once the trail is open, then the number of each acknowledged event on a line of its own, in one write
each, so that what the reader gets was acknowledged before the kill. MODE ``calls`` appends an intent before each
outcome; ``events`` outcomes only.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from indelible.config import AuditSettings
from indelible.trail.start.opening import open_writer


def main() -> None:
    path, durability, max_size, mode = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    audit = AuditSettings(
        durability=durability,  # type: ignore[arg-type]
        max_size=max_size,
        backup_count=1_000_000,
        compress_rotated=True,
    )
    writer = open_writer(path, audit, "test").writer
    os.write(1, b"open\n")
    head = '{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":'
    number, run = 0, secrets.token_hex(8)  # a pid comes again in a thousand kills
    while True:
        name = f"{run}-{number}"
        padding = "x" * (number % 700)
        intent = f"i{name}" if mode == "calls" else ""
        if intent:
            writer.append(
                f'{head}"mcp_operation_started","event_id":"{intent}","request":{{"request_id":"{name}"}}}}'.encode(),
                opens=intent,
            )
            os.write(1, f"{intent}\n".encode())
        request = f'"request":{{"intent":"{intent}"}}' if intent else f'"padding":"{padding}"'
        writer.append(
            f'{head}"mcp_operation","event_id":"{name}",{request}}}'.encode(),
            closes=intent,
        )
        os.write(1, f"{name}\n".encode())
        number += 1


if __name__ == "__main__":
    main()
