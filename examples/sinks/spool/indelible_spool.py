"""``spool``: each record a file of its own in a directory, for whoever takes files away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from indelible.errors import ConfigError
from indelible.sink_settings import SinkSettings
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable


class SpoolSink:
    """Files are named by the event's seq: a record that comes twice takes its own place."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.extra` has the keys that are ours. Raises ValueError for what is wrong with them."""
        extra = dict(settings.extra)
        directory = extra.pop("directory", None)
        if not isinstance(directory, str) or extra:
            raise ValueError("expected 'directory', and nothing else")
        self._directory = Path(directory)
        self._stopped = False

    def open(self) -> None:
        self._check()
        if self._directory.exists() and not self._directory.is_dir():
            raise ConfigError(f"{self._directory}: is no directory")

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        taken = 0
        try:
            for shipment in shipments:
                self._check()
                self._put(f"{shipment.seq:020}", shipment.record)
                taken += 1
            self._sync()
        except OSError as exc:  # the names may not be on the disk: nothing of the batch is taken
            raise SinkUnavailable(f"{self._directory}: {exc.strerror}") from exc
        return Delivery(taken)

    def close(self) -> None:
        pass

    def stop(self) -> None:
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            raise SinkUnavailable("it was stopped")

    def _put(self, name: str, record: bytes) -> None:
        """Write a file under another name first: whoever looks finds it whole, or not at all."""
        beside = self._directory / f".{name}"
        with beside.open("wb") as file:
            file.write(record)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._directory / name)

    def _sync(self) -> None:
        """Bring the names to the disk."""
        fd = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
