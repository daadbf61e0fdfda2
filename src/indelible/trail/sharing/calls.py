"""Open calls of other processes, whose recorder is not connected now.

What may not move: a call is recorded as interrupted when its recorder is gone for good, and once; while the recorder
lives it is not, since the outcome may still come, whoever holds the trail then.
"""

from __future__ import annotations

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
        self._failing = False
        self._add(spared, ended=False)

    @property
    def ids(self) -> frozenset[str]:
        """Their `event_id`s."""
        return frozenset(self._orphans)

    @property
    def look_in_s(self) -> float | None:
        """In how many seconds `settle` is to be called again; None: it need not be."""
        return LOOK_S if self._orphans else None

    def leave(self, bodies: Iterable[bytes], *, ended: bool) -> None:
        """A connection is gone, on purpose when it has `ended`; `bodies` are the intents of its open calls."""
        self._add([orjson.loads(body) for body in bodies], ended=ended)
        self.settle()

    def _add(self, intents: Iterable[Intent], *, ended: bool) -> None:
        now = time.monotonic()
        for intent in intents:
            self._orphans[str(intent.get("event_id"))] = _Orphan(intent, now, ended)

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
            del self._orphans[event_id]
        return own

    def owner(self, event_id: str) -> tuple[str, int, int] | None:
        """Return whose open call this is; None: it is none, or nobody's."""
        orphan = self._orphans.get(event_id)
        return None if orphan is None else owner_of(orphan.intent)

    def closed(self, event_id: str) -> None:
        """The outcome has come all the same."""
        self._orphans.pop(event_id, None)

    def settle(self) -> None:
        """Record the calls as interrupted whose recorder is gone."""
        for event_id, orphan in list(self._orphans.items()):
            if not orphan.ended and _may_come(orphan):
                continue
            try:
                self._writer.write_service_events([interrupted(orphan.intent)])
            except TrailUnavailable as exc:  # they stay, and are tried again
                if not self._failing:
                    log.error("%s: interrupted calls are not recorded: %s", self._writer.layout.active, exc)  # noqa: TRY400
                self._failing = True
                return
            self._failing = False
            del self._orphans[event_id]


def owner_of(intent: Intent) -> tuple[str, int, int] | None:
    """Return name, uid and pid of the recorder of an intent, as its line has them."""
    who = recorder_of(intent)
    uid = None if who is None else intent["source"]["recorder"].get("uid")
    return (who[0], uid, who[1]) if who is not None and isinstance(uid, int) else None


def _may_come(orphan: _Orphan) -> bool:
    recorder = recorder_of(orphan.intent)
    if recorder is None or not processes.runs(recorder[1]):
        return False
    if time.monotonic() - orphan.since < GRACE_S:
        return True
    return processes.began_before(recorder[1], str(orphan.intent.get("timestamp"))) is True
