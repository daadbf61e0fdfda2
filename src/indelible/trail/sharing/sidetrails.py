"""Trails beside a trail: where a `wrap` records when the process that holds the trail lets nobody in.

Their names are ``<stem>-<label>-<pid>.jsonl``. One whose recorder died is looked after by whoever opens the trail
beside it next: its tail is sealed, its open calls are recorded as interrupted, and it is closed.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from indelible.errors import IndelibleError, TrailLocked
from indelible.trail import files
from indelible.trail.entry import parse_line
from indelible.trail.gapdead import report_the_dead
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer

if TYPE_CHECKING:
    from indelible.config import AuditSettings

log = logging.getLogger("indelible")


class Sweeper:
    """Looks after the side trails of dead recorders, on a thread of its own."""

    def __init__(self, path: Path, audit: AuditSettings) -> None:
        self._path = path
        self._audit = audit
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="indelible-sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the one under way, leave the rest to the next."""
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        try:
            beside = files.side_trails(self._path)
        except OSError as exc:
            log.warning("%s: cannot be searched for unfinished trails: %s", self._path.parent, exc)
            return
        for path in beside:
            if self._stopping:
                return
            try:
                if _begun(path) and not _closed(path):
                    writer = open_writer(path, self._audit, "sweeper").writer
                    report_the_dead(writer.layout, writer, holds=True)
                    writer.close()
            except TrailLocked:
                continue  # its recorder lives
            except (IndelibleError, OSError) as exc:
                log.warning("%s: was left unfinished and cannot be closed: %s", path, exc)


def _begun(path: Path) -> bool:
    """Tell whether a trail has a file: without one its recorder is opening it, and must find the lock free."""
    return path.exists() or Layout(path).segments.exists()


def _closed(path: Path) -> bool:
    """Tell whether the last whole line says that the recorder closed the trail."""
    found = files.last_line(path) if path.exists() else None
    entry = parse_line(found) if found else None
    return entry is not None and entry.get("event_type") == "audit_stopped"
