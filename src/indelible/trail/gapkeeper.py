"""The count of lost events on its way to the disk, which may hang."""

from __future__ import annotations

import logging
import threading
from typing import Final

from indelible.trail.gapfile import GapFile

log = logging.getLogger("indelible")

JOIN_S: Final = 0.2


class Keeper:
    """Writes the newest count to the file beside the trail, on a thread of its own: the disk may hang."""

    def __init__(self, file: GapFile) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._next: tuple[int, bytes] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="indelible-gap", daemon=True)
        self._thread.start()

    def keep(self, snapshot: tuple[int, bytes]) -> None:
        """Write this, unless something newer comes first."""
        with self._changed:
            self._next = snapshot
            self._changed.notify()

    def stop(self) -> bool:
        """End the thread; tell whether it has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._stopped)
                kept, self._next = self._next, None
            if kept is None:
                return
            try:
                self._file.keep(kept)
            except OSError:
                continue  # shared memory has it


def try_to_keep(file: GapFile) -> None:
    """Write the present count; if the disk does not take it, shared memory has it, or it is said that nothing has."""
    try:
        file.keep(file.snapshot())
    except OSError as exc:
        if not file.in_memory:
            log.error("the count of lost events is in memory only: %s", exc.strerror)  # noqa: TRY400
