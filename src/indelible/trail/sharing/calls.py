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


Owner = tuple[str, int, int]
"""A recorder: its name, its user's id, its process's."""


class _Orphan(NamedTuple):
    """Its intent stays encoded: an object takes many times the memory."""

    body: bytes
    pid: int | None
    owner: Owner | None
    timestamp: str
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
        self._by_user: dict[int, list[int]] = collections.defaultdict(lambda: [0, 0])
        """How many are each user's, and how many bytes."""
        self._failing = False
        self._add(map(orjson.dumps, spared), ended=False)

    @property
    def ids(self) -> frozenset[str]:
        """Their `event_id`s."""
        return frozenset(self._orphans)

    @property
    def look_in_s(self) -> float | None:
        """In how many seconds `settle` is to be called again; None: it need not be."""
        return None if not self._orphans else 0.0 if self._fresh else LOOK_S

    def of(self, uid: int) -> tuple[int, int]:
        """Return how many are a user's, and how many bytes their intents are."""
        count, size = self._by_user.get(uid, (0, 0))
        return count, size

    def leave(self, bodies: Iterable[bytes], *, ended: bool) -> None:
        """A connection is gone, on purpose when it has `ended`; `bodies` are the intents of its open calls."""
        self._add(bodies, ended=ended)
        self.settle()

    def _add(self, bodies: Iterable[bytes], *, ended: bool) -> None:
        now = time.monotonic()
        for body in bodies:
            intent: Intent = orjson.loads(body)
            event_id = str(intent.get("event_id"))
            self._remove(event_id)
            recorder, owner = recorder_of(intent), _owner_of(intent)
            pid = None if recorder is None else recorder[1]
            self._orphans[event_id] = _Orphan(body, pid, owner, str(intent.get("timestamp")), now, ended)
            self._fresh.add(event_id)
            if owner is not None:
                self._count(owner[1], 1, len(body))

    def _remove(self, event_id: str) -> None:
        orphan = self._orphans.pop(event_id, None)
        self._fresh.discard(event_id)
        if orphan is not None and orphan.owner is not None:
            self._count(orphan.owner[1], -1, -len(orphan.body))

    def _count(self, uid: int, more: int, size: int) -> None:
        held = self._by_user[uid]
        held[0] += more
        held[1] += size
        if not held[0]:
            del self._by_user[uid]

    def adopt(self, who: Owner) -> dict[str, bytes]:
        """Return the open calls of a recorder that is connected again, by `event_id`: they are its own again.

        A recorder is its name, its user and its process: no other user's can come for them.
        """
        own = {
            event_id: orphan.body
            for event_id, orphan in self._orphans.items()
            if not orphan.ended and orphan.owner == who
        }
        for event_id in own:
            self._remove(event_id)
        return own

    def owner(self, event_id: str) -> Owner | None:
        """Return whose open call this is; None: it is none, or nobody's."""
        orphan = self._orphans.get(event_id)
        return None if orphan is None else orphan.owner

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
                self._writer.write_service_events([interrupted(orjson.loads(orphan.body))])
            except TrailUnavailable as exc:  # they stay, and are tried again
                if not self._failing:
                    log.error("%s: interrupted calls are not recorded: %s", self._writer.layout.active, exc)  # noqa: TRY400
                self._failing = True
                self._fresh.clear()
                return
            self._failing = False
            self._remove(event_id)


def _owner_of(intent: Intent) -> Owner | None:
    """Return the recorder of an intent, as its line has it."""
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
        pid = orphan.pid
        if pid is None:
            return False
        if pid not in self._runs:
            self._runs[pid] = processes.runs(pid)
        if not self._runs[pid] or self._now - orphan.since < GRACE_S:
            return self._runs[pid]
        if pid not in self._began:
            self._began[pid] = processes.began(pid)
        return processes.is_before(self._began[pid], orphan.timestamp)
