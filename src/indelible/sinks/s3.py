"""Sealed batches to a bucket: an object of records, and beside it a manifest that says what it is and proves it.

The rules that live here:

- A batch is taken when its object is stored, and after it its manifest: that is what makes it count. What a crash
  leaves between the two is an object without a manifest; the same records come again, perhaps with others in one
  object, and are known by trail and seq.
- Nothing that a store says is about a record, so none is refused by it: the batch is tried again. What can stand in no
  object, because a line end is in it, is refused here.
- What proves a batch is the shipper's to say (`Sealer`); what it cannot say is null in the manifest. Records of which
  nobody says whose they are have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.sink_settings.s3 import S3Settings
from indelible.sinks import reasons
from indelible.sinks.base import NOTHING, Delivery, Seal, SinkUnavailable, TooScattered, delivered
from indelible.sinks.bucket.answers import NotTaken
from indelible.sinks.bucket.objects import Together, manifest, pack, together
from indelible.sinks.bucket.store import Store
from indelible.sinks.waits import Waits
from indelible.sinks.web.carrying import unquoted
from indelible.trail.proofs.manifest import PROVEN_FORMAT, SUFFIX, encode

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Sealer, Shipment

OF_MANIFEST: Final = "application/json"
NO_LINE: Final = "a line end is in it, and an object has a record a line"


class S3Sink:
    """Stores records in one bucket."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `S3Settings`."""
        self._own = S3Settings.of(settings.own)
        self._format = settings.format
        self._waits = Waits(settings.timeout)
        self._store = Store(self._own, self._waits)
        self._sealer: Sealer | None = None

    def seal_with(self, sealer: Sealer) -> None:
        """See `Sealing`."""
        self._sealer = sealer

    def open(self) -> None:
        """See `Sink`. The bucket is asked for: it is there, and has a lock where one is wanted."""
        self._waits.check()
        try:
            self._store.look()
        except (SinkUnavailable, NotTaken, ConfigError, OSError) as exc:
            raise self._unavailable(exc) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        refused = [(index, NO_LINE) for index, one in enumerate(shipments) if b"\n" in one.record]
        unfit = {index for index, _ in refused}
        fit = [index for index in range(len(shipments)) if index not in unfit]
        done = 0
        try:
            self._waits.check()
            for batch in self._batches([shipments[index] for index in fit]):
                self._put(*batch)
                done += len(batch[0].shipments)
        except (SinkUnavailable, NotTaken, ConfigError, OSError) as exc:
            taken = delivered(fit[done], refused)
            raise self._unavailable(exc, taken, [one.record for one in shipments]) from exc
        return delivered(len(shipments), refused)

    def close(self) -> None:
        """See `Sink`."""
        self._store.close()
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- batches ------------------------------------------------------------------------------------------------

    def _batches(self, shipments: Sequence[Shipment]) -> Iterator[tuple[Together, int | None, Seal | None]]:
        """Yield what goes into one object each, the seq that came before it, and what proves it."""
        last: dict[str, int | None] = {}
        for whole in together(shipments, datetime.now(UTC)):
            todo = [whole]
            while todo:
                batch = todo.pop()
                try:
                    seal = self._sealed(batch)
                except TooScattered:
                    todo += batch.halves()[::-1]
                    continue
                origin = batch.origin
                if origin not in last:
                    last[origin] = None if self._sealer is None else self._sealer.before(origin)
                yield batch, last[origin], seal
                last[origin] = batch.last_seq

    def _sealed(self, batch: Together) -> Seal | None:
        if self._sealer is None:
            return None
        return self._sealer.seal(batch.origin, batch.shipments, proves=self._format == PROVEN_FORMAT)

    def _put(self, batch: Together, after: int | None, seal: Seal | None) -> None:
        packed = pack(batch, self._own.compression)
        place = "/".join(part for part in (self._own.prefix, packed.directory) if part)
        self._store.put(f"{place}/{packed.name}", packed.body, packed.content_type)
        if not batch.origin:
            return
        said = manifest(batch, packed, self._format, after, seal)
        self._store.put(f"{place}/{packed.stem}{SUFFIX}", encode(said), OF_MANIFEST)

    def _unavailable(
        self, exc: Exception, delivery: Delivery = NOTHING, records: Sequence[bytes] = ()
    ) -> SinkUnavailable:
        """Return what a failure is to the shipper."""
        self._store.close()
        asked = exc.retry_after if isinstance(exc, (NotTaken, SinkUnavailable)) else None
        why = (
            reasons.of(exc, "it closed the connection without an answer")
            if isinstance(exc, OSError)
            else str(exc)
        )
        said = f"{self._own.target}: {unquoted(self._store.clean(why), records)}"
        return SinkUnavailable(said, delivery, retry_after=asked)
