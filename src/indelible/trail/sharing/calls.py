"""Open calls of other processes, whose recorder is not connected now.

What may not move:

- A call is recorded as interrupted when its recorder is gone for good, and once; while the recorder lives it is not,
  since the outcome may still come, whoever holds the trail then.
- Whoever leaves many calls open keeps nobody waiting: a process is looked at once for all of its calls, those that wait
  four times a second, and so many are recorded at once, and the rest after others had their turn.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from indelible.errors import TrailUnavailable
from indelible.trail.sharing import processes
from indelible.trail.start.intents import recorder_of
from indelible.trail.start.opening import Intent, interrupted

if TYPE_CHECKING:
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

GRACE_S: Final = 10.0
"""How long a recorder that is not connected is taken for the process that has its pid now, whenever that began."""

LOOK_S: Final = 0.25
"""How often it is looked whether those that are waited for still run."""

MAX_AT_ONCE: Final = 64
"""So many calls are recorded as interrupted before others have their turn."""


class _Orphan(NamedTuple):
    intent: Intent
    since: float
    ended: bool
    """Its recorder said good-bye: no outcome will come, though the process may live."""


class OpenCalls:
    """The open calls of recorders that are not connected. Used by the hub's thread."""

    def __init__(self, writer: Writer, spared: Iterable[Intent]) -> None:
        """Begin with those that were open when the trail was opened."""
        self._writer = writer
        self._orphans: dict[str, _Orphan] = {}
        self._fresh: set[str] = set()
        """Those at which `settle` is to look at once."""
        self._look_at = 0.0
        self._by_user: collections.Counter[int] = collections.Counter()
        self._failing = False
        self._add(spared, ended=False)

    @property
    def ids(self) -> frozenset[str]:
        """Their `event_id`s."""
        return frozenset(self._orphans)

    @property
    def look_in_s(self) -> float | None:
        """In how many seconds `settle` is to be called again; None: it need not be."""
        return None if not self._orphans else 0.0 if self._fresh else LOOK_S

    def count(self, uid: int) -> int:
        """Return how many are a user's."""
        return self._by_user[uid]

    def leave(self, bodies: Iterable[bytes], *, ended: bool) -> None:
        """A connection is gone, on purpose when it has `ended`; `bodies` are the intents of its open calls."""
        self._add([orjson.loads(body) for body in bodies], ended=ended)
        self.settle()

    def _add(self, intents: Iterable[Intent], *, ended: bool) -> None:
        now = time.monotonic()
        for intent in intents:
            event_id = str(intent.get("event_id"))
            self._remove(event_id)
            self._orphans[event_id] = _Orphan(intent, now, ended)
            self._fresh.add(event_id)
            if (who := owner_of(intent)) is not None:
                self._by_user[who[1]] += 1

    def _remove(self, event_id: str) -> None:
        orphan = self._orphans.pop(event_id, None)
        self._fresh.discard(event_id)
        if orphan is not None and (who := owner_of(orphan.intent)) is not None:
            self._by_user[who[1]] -= 1
            if not self._by_user[who[1]]:
                del self._by_user[who[1]]

    def adopt(self, who: tuple[str, int, int]) -> dict[str, bytes]:
        """Return the open calls of a recorder that is connected again, by `event_id`: they are its own again.

        A recorder is its name, its user and its process: no other user's can come for them.
        """
        own = {
            event_id: orjson.dumps(orphan.intent)
            for event_id, orphan in self._orphans.items()
            if not orphan.ended and owner_of(orphan.intent) == who
        }
        for event_id in own:
            self._remove(event_id)
        return own

    def owner(self, event_id: str) -> tuple[str, int, int] | None:
        """Return whose open call this is; None: it is none, or nobody's."""
        orphan = self._orphans.get(event_id)
        return None if orphan is None else owner_of(orphan.intent)

    def closed(self, event_id: str) -> None:
        """The outcome has come all the same."""
        self._remove(event_id)

    def settle(self, *, all_of_them: bool = False) -> None:
        """Record the calls as interrupted whose recorder is gone; not all at once, unless `all_of_them`."""
        now, looks, written = time.monotonic(), _Looks(), 0
        if all_of_them or now >= self._look_at:
            self._look_at = now + LOOK_S
            self._fresh.update(self._orphans)
        for event_id in list(self._fresh):
            orphan = self._orphans[event_id]
            if not orphan.ended and looks.may_come(orphan):
                self._fresh.discard(event_id)
                continue
            if written == MAX_AT_ONCE and not all_of_them:
                return
            written += 1
            try:
                self._writer.write_service_events([interrupted(orphan.intent)])
            except TrailUnavailable as exc:  # they stay, and are tried again
                if not self._failing:
                    log.error("%s: interrupted calls are not recorded: %s", self._writer.layout.active, exc)  # noqa: TRY400
                self._failing = True
                self._fresh.clear()
                return
            self._failing = False
            self._remove(event_id)


def owner_of(intent: Intent) -> tuple[str, int, int] | None:
    """Return name, uid and pid of the recorder of an intent, as its line has them."""
    who = recorder_of(intent)
    uid = None if who is None else intent["source"]["recorder"].get("uid")
    return (who[0], uid, who[1]) if who is not None and isinstance(uid, int) else None


class _Looks:
    """What is known of processes in one look at all calls."""

    def __init__(self) -> None:
        self._now = time.monotonic()
        self._runs: dict[int, bool] = {}
        self._began: dict[int, float | None] = {}

    def may_come(self, orphan: _Orphan) -> bool:
        """Tell whether the outcome of a call may come yet."""
        recorder = recorder_of(orphan.intent)
        if recorder is None:
            return False
        pid = recorder[1]
        if pid not in self._runs:
            self._runs[pid] = processes.runs(pid)
        if not self._runs[pid] or self._now - orphan.since < GRACE_S:
            return self._runs[pid]
        if pid not in self._began:
            self._began[pid] = processes.began(pid)
        return processes.is_before(self._began[pid], str(orphan.intent.get("timestamp")))
