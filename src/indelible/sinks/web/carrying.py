"""Records to a receiver that answers each request: the part of it that is the same over every protocol.

The rules that live here:

- Records go in order, so many at once as the settings and the receiver allow; the next request begins when the one
  before was answered. What is taken is what the receiver says is taken.
- A request that is refused for what is in it, or for its size, is sent again in halves, down to single records: one
  that is refused alone goes to the dead letters. What is not sure to be about that record (`Refused.sure`) counts only
  of a receiver that takes others: one that refuses all of them is unavailable, and nothing is given up.
- A receiver that found a request too large gets smaller ones from then on.
- What is said of a receiver quotes no event (`unquoted`); the reasons of dead letters do, and an erasure knows those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from indelible.errors import ConfigError
from indelible.sinks import reasons
from indelible.sinks.base import NOTHING, Delivery, Shipment, SinkUnavailable
from indelible.sinks.web.answers import Fewer, NotNow, printable
from indelible.sinks.web.progress import DisbelievedError, Part, Progress, fewer, ranges

if TYPE_CHECKING:
    from indelible.sink_settings.parts import BatchSettings
    from indelible.sinks.waits import Waits
    from indelible.sinks.web.answers import Verdict


QUOTE: Final = 8
"""So many characters in a row are no chance: a receiver repeats what it was sent."""


class Transport(Protocol):
    """How requests reach one receiver."""

    @property
    def lines(self) -> int:
        """How many records a request holds at the most; 0: as many as the settings say."""

    def open(self) -> None:
        """Connect, where that is not done. Raises SinkUnavailable, OSError, ConfigError."""

    def close(self) -> None:
        """Let go of the connection; files, secrets and addresses are looked at again by the next one."""

    def part(self, shipment: Shipment) -> bytes:
        """Return a record as it stands in a request. Raises ValueError, which says why it cannot."""

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """Return what the receiver says of some records.

        Raises Fewer, NotNow, SinkUnavailable, OSError, ConfigError.
        """

    def clean(self, text: str) -> str:
        """Return a text without what is secret: a receiver may repeat in an answer what it was sent."""


class CarryingSink:
    """Sends records to one receiver."""

    def __init__(self, transport: Transport, waits: Waits, batch: BatchSettings, target: str) -> None:
        """`waits` is the transport's own; `target` stands before what is said of the receiver."""
        self._transport = transport
        self._waits = waits
        self._batch = batch
        self._target = target
        self._most = batch.bytes
        self._credit = 0
        """See `Progress`."""

    def open(self) -> None:
        """See `Sink`."""
        self._waits.check()
        try:
            self._transport.open()
        except (ConfigError, OSError) as exc:
            raise self._unavailable(exc) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        parts, unfit = self._parts(shipments)
        progress = Progress(len(shipments), unfit, self._credit, self._transport.clean)
        try:
            self._waits.check()
            self._carry(parts, progress)
            return progress.end()
        except SinkUnavailable as exc:
            exc.delivery = progress.delivery()
            raise
        except (NotNow, DisbelievedError, ConfigError, OSError) as exc:
            if isinstance(exc, DisbelievedError):
                self._most = self._batch.bytes  # its size was not what it found wrong
            records = [*(part.data for part in parts), *(shipment.record for shipment in shipments)]
            raise self._unavailable(exc, progress.delivery(), records) from exc
        finally:
            self._credit = progress.credit

    def close(self) -> None:
        """See `Sink`."""
        self._transport.close()
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- requests -----------------------------------------------------------------------------------------------

    def _parts(self, shipments: Sequence[Shipment]) -> tuple[list[Part], list[tuple[int, str]]]:
        """Return the records as they stand in requests, and those that cannot, with the reason."""
        parts: list[Part] = []
        unfit: list[tuple[int, str]] = []
        for index, shipment in enumerate(shipments):
            try:
                parts.append(Part(index, self._transport.part(shipment)))
            except ValueError as exc:
                unfit.append((index, str(exc)))
        return parts, unfit

    def _carry(self, parts: Sequence[Part], progress: Progress) -> None:
        """Send everything. Raises what keeps it from being taken."""
        lines = self._transport.lines or self._batch.lines
        todo = list(ranges(parts, lines, self._most))[::-1]
        while todo:
            start, stop = todo.pop()
            some = parts[start:stop]
            try:
                verdict = self._transport.ask([part.data for part in some])
            except Fewer as exc:
                if len(some) == 1:
                    progress.refuse(some[0], str(exc), sure=exc.sure)
                elif exc.is_size:
                    self._most = max(1, sum(len(part.data) for part in some) // 2)
                    todo = list(ranges(parts, lines, self._most, start))[::-1]
                else:
                    todo += fewer(start, stop, exc.first)
                continue
            progress.took(some, verdict)
            if verdict.later or not verdict.settled:
                raise NotNow(verdict.later or "it takes nothing, and does not say why")
            if verdict.settled < len(some):
                todo.append((start + verdict.settled, stop))

    def _unavailable(
        self, exc: Exception, delivery: Delivery = NOTHING, records: Sequence[bytes] = ()
    ) -> SinkUnavailable:
        """Return what a failure is to the shipper; `records` as they are and as they stand in requests."""
        why, hint, asked = str(exc), "", None
        if isinstance(exc, OSError):
            why = printable(reasons.of(exc, "it closed the connection without an answer"))
        elif isinstance(exc, NotNow):
            hint, asked = exc.hint, exc.retry_after
        said = f"{self._target}: {unquoted(self._transport.clean(why), records, self._target)}"
        self._transport.close()
        return SinkUnavailable(
            f"{said}; {hint}" if hint else said,
            delivery,
            retry_after=asked,
            refuses=isinstance(exc, DisbelievedError),
        )


def unquoted(text: str, records: Sequence[bytes], known: str = "") -> str:
    """Return what is said of a receiver without what it repeats of the records: no erasure reaches a state or a log.

    What is repeated is `QUOTE` characters or more, in whatever case of letters, after the first colon: before it the
    words are ours. What `known` has, such as a table's name, may be said, though a record may have it, too.
    """
    ours, colon, theirs = text.partition(": ")
    if not theirs:
        return text
    sent = b"\n".join(records).decode("utf-8", "replace").casefold()
    low, known = theirs.casefold(), known.casefold()
    if len(low) != len(theirs):  # a letter that has another length in small
        return f"{ours}: in words that cannot be repeated here"
    repeated = [False] * len(theirs)
    for start in range(len(theirs) - QUOTE + 1):
        piece = low[start : start + QUOTE]
        if piece in sent and piece not in known:
            repeated[start : start + QUOTE] = [True] * QUOTE
    kept = "".join("\0" if is_quote else sign for sign, is_quote in zip(theirs, repeated, strict=True))
    return ours + colon + re.sub("\0+", "…", kept)
