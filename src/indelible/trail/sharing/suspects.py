"""Events that may be what killed a holder.

An event that was on its way when a holder died is a suspect, innocent or not. A holder writes suspects one by one, and
notes in the file `suspect` which one it is at; should it die of that one, the next holder knows which, and sets it
aside. All others are tried again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailUnavailable
from indelible.trail import durable

if TYPE_CHECKING:
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

MAX_DEATHS: Final = 8
"""So many holders may die while an event is on its way to them before it is set aside though nothing names it."""

_MAX_NOTE_BYTES: Final = 1024


class Suspects:
    """What one holder knows of suspects. Used by the hub's thread."""

    def __init__(self, writer: Writer) -> None:
        """Read what the last holder noted."""
        self._writer = writer
        self._path = writer.layout.suspect
        self._blamed = self._read()

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                return file.read(_MAX_NOTE_BYTES).decode(errors="replace").strip()
        except OSError:
            return ""

    def is_guilty(self, event_id: str, deaths: int) -> bool:
        """Tell whether to set an event aside, on its way to so many holders when they died."""
        return deaths > 0 and (event_id == self._blamed or deaths > MAX_DEATHS)

    @contextmanager
    def trying(self, event_id: str) -> Iterator[None]:
        """Note that this event is being written. Not synced: it has to survive this process, not the machine."""
        fd = -1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self._path, flags, self._writer.access.file_mode)
            durable.write_all(fd, event_id.encode() + b"\n")
        except OSError as exc:  # a full disk: it is tried without
            log.warning("%s: %s", self._path, exc.strerror or exc)
        try:
            yield
        finally:
            if fd >= 0:
                try:
                    os.ftruncate(fd, 0)
                finally:
                    os.close(fd)

    def set_aside(self, body: bytes, recorder: str, pid: int, deaths: int) -> str:
        """Keep an event that may kill whoever writes it, say so in the record, and return what to say of it."""
        layout, access = self._writer.layout, self._writer.access
        name = f"event-{pid}-{time.time_ns()}.json"
        try:
            durable.make_directory(layout.quarantine, access)
            durable.replace_file(layout.quarantine / name, body + b"\n", access)
            about = {"quarantined": f"quarantine/{name}", "recorder": recorder, "pid": pid, "deaths": deaths}
            self._writer.write_service_events([self._writer.service_event("alert", about)])
        except (OSError, TrailUnavailable) as exc:
            log.error("%s: an event could not be set aside: %s", layout.quarantine, exc)  # noqa: TRY400
        return f"set aside in quarantine/{name}: {deaths} processes died while they were writing it"
