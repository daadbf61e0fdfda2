"""Sinks that do as they are told, and what ships to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from indelible.registry import make_format
from indelible.shipper.lane import Lane, Parts
from indelible.shipper.shipper import options_of
from indelible.sink_settings import SinkSettings, parse_sinks
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable
from indelible.trail.durable import Access
from indelible.trail.layout import Layout

PATIENCE_S = 60.0


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


def settings(**keys: Any) -> SinkSettings:
    [one] = parse_sinks([{"type": "fake", "name": "s", "start": "beginning", **keys}])
    return one


class FakeSink:
    """Keeps what it takes. `plan` has what the next sends do: a Delivery, or something to raise."""

    def __init__(self) -> None:
        self.taken: list[Shipment] = []
        self.plan: list[Delivery | Exception] = []
        self.opened = self.closed = 0
        self.stopped = threading.Event()
        self.hanging = threading.Event()
        self.sent: list[list[int]] = []

    def open(self) -> None:
        self.opened += 1

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        self.sent.append([one.seq for one in shipments])
        while self.hanging.is_set():
            if self.stopped.wait(0.005):
                raise SinkUnavailable("stopped")
        answer = self.plan.pop(0) if self.plan else Delivery(len(shipments))
        found = answer.delivery if isinstance(answer, SinkUnavailable) else answer
        if isinstance(found, Exception):
            raise found
        refused = {index for index, _ in found.refused}
        self.taken += [one for at, one in enumerate(shipments[: found.taken]) if at not in refused]
        if isinstance(answer, Exception):
            raise answer
        return found

    def close(self) -> None:
        self.closed += 1

    def stop(self) -> None:
        self.stopped.set()

    @property
    def seqs(self) -> list[int]:
        return [one.seq for one in self.taken]


class IdlingSink(FakeSink):
    """Has something done while it waits. `waits` has what the next waits do afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[Callable[[], object]] = []
        self._work: Callable[[], None] = lambda: None

    def meanwhile(self, work: Callable[[], None]) -> None:
        self._work = work

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        self._work()
        if self.waits:
            self.waits.pop(0)()
        return super().send(shipments)


def parts(sink: Sink | dict[str, Sink]) -> Parts:
    def make(asked: SinkSettings) -> Sink:
        return sink[asked.name] if isinstance(sink, dict) else sink

    return Parts(lambda asked: make_format(asked.format, options_of(asked, "0")), make)


def lane(path: Path, sink: Sink, **keys: Any) -> Lane:
    return Lane(Layout(path), settings(**keys), parts(sink), Access())


class Running:
    """Lanes that are ended when a test ends."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def start(self, one: Lane, *, rests: bool = False) -> Lane:
        self.lanes.append(one)
        one.start(1, rests=rests)
        return one

    def end(self) -> None:
        for one in self.lanes:
            one.stop()
            one.cut_off()
        assert all(one.join(60) for one in self.lanes)
