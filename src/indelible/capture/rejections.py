"""Refusals of credentials before any session: an `auth_rejected` of each, and of too many one with their number.

Whoever tries passwords must not fill the trail, and must not go uncounted. What a second has more than its share of is
recorded as one event a kind when the second is over, at the server's end, or when the process exits; who kills the
process takes the number of at most one second with it.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from typing import Final

from indelible import events
from indelible.capture.calling import Audited, Peer
from indelible.events import Event, Kind, Request, Source, Target

DEFAULT_RATE: Final = 10
"""Events a second, of one process."""

SECOND: Final = 1_000_000_000


class Rejections:
    """Those of one app. Safe to use from any thread."""

    def __init__(self, audited: Audited, rate: int = DEFAULT_RATE) -> None:
        """`rate` is how many of a second are recorded one by one."""
        self._audited, self._rate = audited, rate
        self._lock = threading.Lock()
        self._since = 0
        self._seen = 0
        self._more: dict[int, int] = {}
        self._scheduled = False

    def note(self, peer: Peer, status: int, reason: str | None, request_id: str | None) -> None:
        """Record a refusal, or count it; never raises TrailUnavailable."""
        now = time.monotonic_ns()
        with self._lock:
            if now - self._since >= SECOND:
                over, self._more = self._more, {}
                self._since, self._seen = now, 0
            else:
                over = {}
            self._seen += 1
            one_by_one = self._seen <= self._rate
            if not one_by_one:
                self._more[status] = self._more.get(status, 0) + 1
                self._schedule()
        self._sum_up(over)
        if one_by_one:
            named = Request(request_id=request_id or events.new_id())
            self._record(peer.source(), status, reason, named, {"status": status})

    def flush(self) -> None:
        """Record the numbers that are known."""
        with self._lock:
            over, self._more, self._scheduled = self._more, {}, False
        self._sum_up(over)

    def _schedule(self) -> None:
        """See to it that the number is recorded though nobody else is refused."""
        if self._scheduled:
            return
        self._scheduled = True
        atexit.unregister(self.flush)
        atexit.register(self.flush)  # after the recorder was opened, so before it is closed
        import asyncio

        with contextlib.suppress(RuntimeError):  # not on asyncio: the next one, or the end, sees to it
            asyncio.get_running_loop().call_later(1.0, self.flush)

    def _sum_up(self, over: dict[int, int]) -> None:
        for status, count in over.items():
            why = f"{count} more within a second"
            self._record(Source(caller="http"), status, why, None, {"status": status, "count": count})

    def _record(
        self, source: Source, status: int, reason: str | None, request: Request | None, metadata: dict[str, int]
    ) -> None:
        kind: Kind = "unauthenticated" if status == 401 else "denied"
        self._audited.recorder.record_or_owe(
            Event(
                timestamp=events.now(),
                event_type="auth_rejected",
                event_id=events.new_id(),
                source=source,
                target=Target(backend=self._audited.backend),
                request=request,
                outcome=events.outcome(kind, error=reason or f"HTTP status {status}"),
                metadata=metadata,
            )
        )
