"""A sink that keeps records in memory, for tests: it can be broken, mended, stopped up, and told what to refuse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from indelible.sinks.base import Delivery, Shipment, SinkUnavailable, delivered
from indelible.sinks.waits import STOPPED


class MemorySink:
    """Keeps what it takes in `shipments`. What a test sets may be set while another thread sends."""

    def __init__(self, timeout: float = 5.0) -> None:
        """`timeout` in seconds: so long it waits while it `hangs`."""
        self.shipments: list[Shipment] = []
        self.timeout = timeout
        self.refuses: Callable[[Shipment], str] = lambda _: ""
        """Returns why a record is refused for good, or an empty text."""
        self.room: int | None = None
        """So many more records are taken before it is unavailable; None: any number. 0 takes it away."""
        self._hangs = False
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def records(self) -> list[bytes]:
        """The records alone."""
        return [shipment.record for shipment in self.shipments]

    @property
    def hangs(self) -> bool:
        """Whether it takes nothing, and says nothing."""
        return self._hangs

    @hangs.setter
    def hangs(self, value: bool) -> None:
        with self._changed:
            self._hangs = value
            self._changed.notify_all()

    def open(self) -> None:
        """See `Sink`."""
        self._look(time.monotonic() + self.timeout)

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        refused: list[tuple[int, str]] = []
        deadline = time.monotonic() + self.timeout
        for index, shipment in enumerate(shipments):
            try:
                self._look(deadline)
            except SinkUnavailable as exc:
                exc.delivery = delivered(index, refused)
                raise
            if why := self.refuses(shipment):
                refused.append((index, why))
                continue
            self.shipments.append(shipment)
            if self.room is not None:
                self.room -= 1
        return delivered(len(shipments), refused)

    def close(self) -> None:
        """See `Sink`."""

    def stop(self) -> None:
        """See `Sink`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _look(self, deadline: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or not self._hangs, max(0.0, deadline - time.monotonic())
            )
            if self._stopped:
                raise SinkUnavailable(STOPPED)
            if self._hangs:
                raise SinkUnavailable(f"it has taken nothing for {self.timeout:g} s")
            if self.room is not None and self.room <= 0:
                raise SinkUnavailable("it is full")
