"""Recording through a service of another user: `SharedWriter`'s face, without its hands.

What may not move: such a recorder never takes the trail over. When the service is gone, it waits for it to come back,
and sends again what was not acknowledged; it knows neither where the trail is nor what it is signed with.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from indelible.errors import TrailError, TrailLocked
from indelible.events import RecorderId
from indelible.trail.sharing.patience import RETRY_S
from indelible.trail.sharing.shared import FAILED_S, SharedWriter

log = logging.getLogger("indelible")

START_S: Final = 2.0
"""How long a start waits for a service that is just starting anew."""

MAX_RETRY_S: Final = 1.0
"""How long at most between two attempts to reach a service that is gone."""


class ServiceWriter(SharedWriter):
    """A process's way into the trail behind a service's socket, from its making until `close`.

    Made like a `SharedWriter`, with the socket's path for the trail's. Raises TrailError when nobody answers there, or
    when the service does not let this process in.
    """

    def _open(self) -> None:
        self.layout.socket = self.layout.active
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._connect()
            except TrailLocked as exc:
                raise TrailError(_refusal(exc)) from exc
            except OSError as exc:
                if (
                    isinstance(exc, PermissionError) or time.monotonic() >= deadline
                ):  # it may be just starting anew
                    raise TrailError(_nobody(self, exc)) from exc
                time.sleep(RETRY_S)
            else:
                break
        self._thread = threading.Thread(target=self._listen, name="indelible-link", daemon=True)
        self._thread.start()

    def _connect(self, *, patient: bool = True) -> None:
        key = getattr(self, "digest_key", None)
        super()._connect(patient=patient)
        connection = self._answers.connection
        if connection is None:  # it has ended already
            return
        welcome = connection.welcome
        self.recorder = RecorderId(id=self.recorder.id, uid=welcome.uid, pid=welcome.pid)
        if key is not None and key != self.digest_key:
            log.error("%s: another trail is behind this socket now; open it anew", self.layout.socket)

    def _find_holder(self) -> None:
        """Wait until the service is back; goes on until that is so, or this is closed."""
        pause = RETRY_S
        while not self._ended:
            try:
                self._connect()
            except TrailLocked as exc:
                self._outbox.why = _refusal(exc)
                pause = FAILED_S
            except (OSError, RuntimeError) as exc:  # no thread starts while the interpreter ends
                self._outbox.why = _nobody(self, exc)
                pause = min(MAX_RETRY_S, 2 * pause)
            else:
                return
            self._pause(pause)


def _refusal(exc: TrailLocked) -> str:
    return str(exc).replace(
        "the process that holds the trail refuses this one", "the service refuses this process"
    )


def _nobody(writer: SharedWriter, exc: BaseException) -> str:
    why = getattr(exc, "strerror", None) or str(exc)
    hint = "its group may connect" if isinstance(exc, PermissionError) else "is 'indelible record' at work?"
    return f"{writer.layout.socket}: cannot record through this socket: {why}; {hint}"
