"""What a batch is as an object: which records go together, its name, its bytes, and its manifest's. Pure.

The rule that lives here: an object has records of one trail, one schema and one hour, in the order of their seqs. The
hour is that in which they were *recorded*, in UTC, which never goes back within a trail: so a trail crosses each hour
once, and calls that took long do not make an object each.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.trail.entry import line_recorded_at
from indelible.trail.proofs.manifest import VERSION, Manifest, batch_stem, hour_directory

if TYPE_CHECKING:
    from indelible.sink_settings.s3 import Compression
    from indelible.sinks.base import Seal, Shipment

EXTENSIONS: Final[dict[Compression, str]] = {"zstd": ".zst", "gzip": ".gz", "none": ""}

ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6
"""Both are the libraries' own: an object is stored for years, and made once."""

JSON_LINES: Final = "application/x-ndjson"
PLAIN: Final = "text/plain; charset=utf-8"
CONTENT_TYPES: Final[dict[Compression, str]] = {"zstd": "application/zstd", "gzip": "application/gzip"}


class Together(NamedTuple):
    """Records of one object."""

    shipments: Sequence[Shipment]
    time: str
    """In the hour that they are of: when the first of them was recorded, as far as that is known."""

    @property
    def origin(self) -> str:
        """The trail's."""
        return self.shipments[0].origin

    @property
    def last_seq(self) -> int:
        """The last record's."""
        return self.shipments[-1].seq

    def halves(self) -> tuple[Together, Together]:
        """Return the same in two."""
        middle = len(self.shipments) // 2
        return Together(self.shipments[:middle], self.time), Together(self.shipments[middle:], self.time)


def together(shipments: Sequence[Shipment], now: datetime) -> Iterator[Together]:
    """Yield what goes into one object each, in order.

    An erased line has no time any more: it stands with what comes before it, or after. `now` is the time where no
    record has one.
    """
    times = _times(shipments, now)
    start = 0
    for end in range(1, len(shipments) + 1):
        if end < len(shipments) and _belong(shipments, times, end):
            continue
        yield Together(shipments[start:end], times[start])
        start = end


def _belong(shipments: Sequence[Shipment], times: Sequence[str], at: int) -> bool:
    """Tell whether a record may stand in one object with the one before it."""
    before, one = shipments[at - 1], shipments[at]
    return (
        one.seq > before.seq
        and one.origin == before.origin
        and one.schema == before.schema
        and times[at][:13] == times[at - 1][:13]
    )


def _time(shipment: Shipment) -> str | None:
    return line_recorded_at(shipment.line)


def _times(shipments: Sequence[Shipment], now: datetime) -> list[str]:
    found = [_time(one) for one in shipments]
    known = next((time for time in found if time), now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    times = []
    for time in found:
        known = time or known
        times.append(known)
    return times


class Packed(NamedTuple):
    """An object, as it is stored."""

    directory: str
    """``YYYY/MM/DD/HH``."""
    name: str
    stem: str
    """Its name, without what comes after the first dot."""
    body: bytes
    content_type: str


def pack(batch: Together, compression: Compression) -> Packed:
    """Return the object of a batch: a line a record, LF after each.

    Records that are JSON objects are in a ``.jsonl``, others in a ``.log``.
    """
    records = [one.record for one in batch.shipments]
    body = _compressed(b"\n".join(records) + b"\n", compression)
    is_json = records[0].startswith(b"{")
    stem = batch_stem(batch.origin, batch.shipments[0].seq, batch.last_seq)
    name = f"{stem}.{'jsonl' if is_json else 'log'}{EXTENSIONS[compression]}"
    kind = CONTENT_TYPES.get(compression, JSON_LINES if is_json else PLAIN)
    return Packed(hour_directory(batch.time), name, stem, body, kind)


def _compressed(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, GZIP_LEVEL, mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(data)
    return data


def manifest(
    batch: Together, packed: Packed, wire_format: str, after: int | None, seal: Seal | None
) -> Manifest:
    """Return what is said of an object beside it."""
    first, last = batch.shipments[0], batch.shipments[-1]
    return Manifest(
        manifest=VERSION,
        name=packed.name,
        format=wire_format,
        origin=batch.origin,
        schema=first.schema,
        size=len(packed.body),
        sha256=sha256(packed.body).hexdigest(),
        lines=len(batch.shipments),
        first_seq=first.seq,
        last_seq=last.seq,
        first_time=next((time for one in batch.shipments if (time := _time(one))), None),
        last_time=next((time for one in reversed(batch.shipments) if (time := _time(one))), None),
        after=after if after is not None and after < first.seq else None,
        complete=last.seq - first.seq + 1 == len(batch.shipments),
        checkpoint=None if seal is None else seal.checkpoint,
        vkey=None if seal is None else seal.vkey,
        proof=None if seal is None else seal.proof,
        rotations=None if seal is None else seal.rotations,
    )
