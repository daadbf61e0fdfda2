"""A process that has a trail open and does what it is told, a line at a time.

    writing.py TRAIL

Prints ``open``, or ``refused MESSAGE``. Then for each line of its input: ``append NAME`` and ``seal`` print ``done`` or
``failed MESSAGE``, ``close`` prints ``done``. What it logs goes to stderr.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from indelible.config import AuditSettings
from indelible.errors import TrailError
from indelible.trail.start.opening import open_writer

HEAD = '{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation","event_id":'


def main() -> None:
    logging.basicConfig(format="%(message)s")
    try:
        writer = open_writer(Path(sys.argv[1]), AuditSettings(), "test").writer
    except TrailError as exc:
        print("refused", exc, flush=True)
        return
    print("open", flush=True)
    for line in sys.stdin:
        command, _, name = line.strip().partition(" ")
        try:
            if command == "append":
                writer.append(f'{HEAD}"{name}"}}'.encode())
            elif command == "seal":
                writer.seal()
            else:
                writer.close()
        except (TrailError, OSError) as exc:
            print("failed", exc, flush=True)
        else:
            print("done", flush=True)


if __name__ == "__main__":
    main()
