"""What one process records, on its own standard error: the export that an environment asks for.

The rules that live here:

- The trail is the queue: an event is read from it, sealed, when there is room for its record. Nothing waits for
  standard error, neither a call nor the trail, and memory holds one batch, however long nobody reads.
- There is no cursor. It begins where the trail is sealed when the process begins to record; at its end it is given
  `CLOSE_S`, and what is not out by then is counted and said. What kill -9 leaves unsealed, the trail has and this has
  not.
- Each process writes what it recorded itself, so that of several none writes what another does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from indelible import loglines
from indelible._version import __version__
from indelible.errors import IndelibleError
from indelible.registry import make_format, make_sink
from indelible.shipper.batch import BATCH_BYTES, BATCH_EVENTS, Renderer, accepted, fault
from indelible.shipper.feed import Feed, Piece
from indelible.shipper.route import sealed
from indelible.shipper.shipper import options_of
from indelible.sinks.base import NOTHING, Delivery, Shipment, SinkUnavailable
from indelible.trail.reader import shown_size

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.events import RecorderId
    from indelible.formats.record import Entry
    from indelible.shipper.choice import Check
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Sink
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

POLL_S: Final = 0.2
"""How often it looks for a new checkpoint; the trail makes one a second at the most."""

RETRY_S: Final = 1.0
"""How long it leaves a standard error alone that takes nothing."""

CLOSE_S: Final = 3.0
"""How long the end waits: another process may hold the trail, and seals it within a second."""

CLOSE_FAILING_S: Final = 0.5
"""The same when standard error took nothing just before."""

Name = tuple[str, int | None, int | None]
"""A recorder's: its id, uid and pid."""

_echoes: dict[tuple[Path, Name | None], Echo] = {}
_sharing = threading.Lock()
"""Recorders of one process that write the same trail under one name share one: each event is written once."""


def begin(layout: Layout, settings: SinkSettings, recorder: RecorderId | None) -> Echo:
    """Return what writes records of these events, from now on; each who asked closes it."""
    key = (layout.active, _name(recorder))
    with _sharing:
        known = _echoes.get(key)
        if known is None:
            known = _echoes[key] = Echo(layout, settings, recorder)
        else:
            known.join()
        return known


def _name(recorder: RecorderId | None) -> Name | None:
    return None if recorder is None else (recorder.id, recorder.uid, recorder.pid)


def _recorded_by(recorder: RecorderId) -> Check:
    own = _name(recorder)

    def check(entry: Entry) -> bool:
        said = entry.source.recorder
        return said is not None and (said.id, said.uid, said.pid) == own

    return check


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _sharing  # noqa: PLW0603 - whoever held it is not in this process
    _sharing = threading.Lock()
    _echoes.clear()


os.register_at_fork(after_in_child=_after_fork)


class Echo:
    """Writes records of a recorder's own events, from its making until `close`, on a thread of its own."""

    def __init__(
        self, layout: Layout, settings: SinkSettings, recorder: RecorderId | None, sink: Sink | None = None
    ) -> None:
        """`recorder` is who recorded the events that are meant; None: everybody. Raises ConfigError."""
        made = make_format(settings.format, options_of(settings, __version__))
        self._renderer = Renderer(settings, made, None if recorder is None else _recorded_by(recorder))
        self._sink = sink or make_sink(settings)
        self._layout = layout
        self._needle = b"" if recorder is None else b'"pid":%d' % (recorder.pid or 0)
        self._feed = Feed(layout)
        at = sealed(layout)
        self._origin: str | None = None if at is None else at.origin
        self._next = 0 if at is None else at.size
        self._pid = os.getpid()
        self._key = (layout.active, _name(recorder))
        self._users = 1
        self._goal: int | None = None
        self._reached, self._stopping = threading.Event(), threading.Event()
        self._failing = False
        self._missed = 0
        """Events whose records were never written, as far as that is known yet."""
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="indelible-compliance", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Somebody else uses it, too."""
        self._users += 1

    def close(self) -> None:
        """Write what was recorded so far, as far as that goes within `CLOSE_S`; say what was not.

        May be called twice. In a forked child there is nothing to end: the thread is its parent's.
        """
        if os.getpid() != self._pid or not self._is_last():
            return
        with self._closing:
            if self._stopping.is_set():
                return
            self._goal = self._end()
            self._reached.wait(CLOSE_FAILING_S if self._failing else CLOSE_S)
            self._stopping.set()
            self._sink.stop()
            self._thread.join(CLOSE_S)
            if not self._thread.is_alive():
                self._missed += self._count(self._goal)
                self._feed.close()
            self._say()

    def _is_last(self) -> bool:
        """Tell whether nobody else in this process records as the same recorder into this trail."""
        with _sharing:
            self._users -= 1
            if _echoes.get(self._key) is self and self._users <= 0:
                del _echoes[self._key]
            return self._users <= 0

    # --- its thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = 0.0 if self._step() else POLL_S
                self._failing = False
            except (SinkUnavailable, OSError, IndelibleError):
                self._failing, wait = True, RETRY_S
                if self._goal is not None:  # it was tried once more
                    self._reached.set()
            except Exception as exc:  # noqa: BLE001 - another package's format may raise anything; no call knows of it
                log.error("the export to standard error has an internal error: %s", fault(exc))  # noqa: TRY400
                self._failing, wait = True, RETRY_S
            if self._goal is not None and self._next >= self._goal:
                self._reached.set()
        with contextlib.suppress(Exception):
            self._sink.close()

    def _step(self) -> bool:
        """Write a batch; tell whether there was one. Raises what kept it from being written."""
        at = sealed(self._layout)
        if at is None:
            return False
        if at.origin != self._origin:
            self._origin, self._next = at.origin, 0
        piece = self._feed.read(self._next, at.size, BATCH_EVENTS, BATCH_BYTES)
        if piece.next == self._next:
            return False
        self._missed += sum(gap.end - gap.first for gap in piece.gaps)
        self._put(piece, at.origin)
        return True

    def _put(self, piece: Piece, origin: str) -> None:
        """Write a piece's records, and go on after what was taken."""
        batch = self._renderer.batch(self._own(piece), origin)
        delivery, failure = self._send(batch.shipments)
        taken = accepted(delivery, len(batch.shipments))
        self._next = piece.next if taken == len(batch.shipments) else batch.shipments[taken].seq
        self._missed += len(delivery.refused) + sum(one.seq < self._next for one in batch.unfit)
        if failure is not None:
            raise failure

    def _send(self, shipments: list[Shipment]) -> tuple[Delivery, SinkUnavailable | None]:
        if not shipments:
            return NOTHING, None
        try:
            self._sink.open()
            return self._sink.send(shipments), None
        except SinkUnavailable as exc:
            return exc.delivery, exc

    def _own(self, piece: Piece) -> Piece:
        """Return a piece without most of what others recorded; the renderer tells the rest."""
        if not self._needle:
            return piece
        return piece._replace(lines=[(seq, line) for seq, line in piece.lines if self._needle in line])

    # --- its end -------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """Return the seq after the newest line of the trail."""
        at = sealed(self._layout)
        return max(0 if at is None else at.size, shown_size(self._layout.active))

    def _count(self, goal: int) -> int:
        """Count the records that were not written of what was recorded before the end."""
        count, deadline = 0, time.monotonic() + CLOSE_S
        while self._next < goal and time.monotonic() < deadline:
            try:
                piece = self._feed.read(self._next, goal, BATCH_EVENTS, BATCH_BYTES)
            except (OSError, IndelibleError):
                break
            if piece.next == self._next:
                break
            count += len(self._renderer.batch(self._own(piece), self._origin or "").shipments)
            self._next = piece.next
        return count

    def _say(self) -> None:
        """Say how many records were not written, without waiting for a standard error that takes nothing."""
        if not self._missed:
            return
        said = (
            f"{self._missed} events were recorded and not exported to standard error, which did not take them"
        )
        if not self._failing:
            log.warning("%s", said)
            return
        from indelible.sink_settings import SinkSettings

        last = make_sink(SinkSettings(type="stderr", name="last words", timeout=0.05))
        with contextlib.suppress(SinkUnavailable, IndelibleError, OSError):
            last.open()
            last.send([Shipment(loglines.line(said, "WARNING").encode(), 0, "")])
        last.close()
