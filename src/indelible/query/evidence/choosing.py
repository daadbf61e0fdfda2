"""Which lines go into a bundle of evidence: chosen while the whole trail is verified, in the same pass.

The rules that live here:

- A line is chosen only if it is the one that was sealed at its seq. What is not stands in the findings of that pass.
- Of an erased line nobody can tell any more whether it is what is asked for. Those that were recorded in the time that
  is asked for are taken, as what is left of them, and so are the events that put their erasure on record.
- Memory does not grow with the trail, nor with what is chosen: that goes into a file without a name, of which nothing
  is left behind, whatever ends the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from indelible.errors import NoteError, TrailError
from indelible.query.filters import Filter, Row, parse_event, parse_row
from indelible.trail.checking.check import DiskLines, DiskSource, Progress
from indelible.trail.checking.walk import Block
from indelible.trail.erased import RECORD, ErasedLine, parse_erased
from indelible.trail.proofs.checkpoint import Checkpoint, parse, split_note
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.reader import Snapshot, TrailFile

NOTHING_YET: Final = -1


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make one line, a TrailError, of what the system says while `path` is made."""
    try:
        yield
    except OSError as exc:
        msg = f"{path}: cannot be written: {exc.strerror or exc}; nothing is left of it"
        raise TrailError(msg) from exc


@dataclass
class Counts:
    """What was chosen, and what was not though it was asked for."""

    events: int = 0
    """Events that are asked for."""
    erased: int = 0
    """Lines of which nobody can tell."""
    records: int = 0
    """Events that say of these who had them erased, beside those that are asked for."""
    first_seq: int = NOTHING_YET
    last_seq: int = NOTHING_YET
    runs: int = 0
    """Stretches without a hole."""
    first_time: str | None = None
    """The earliest `timestamp` of an event that is asked for."""
    last_time: str | None = None
    unsealed: int = 0
    """Events that are asked for, and that no checkpoint covers yet."""
    not_sealed_so: int = 0
    """Lines that are asked for, and are not those that were sealed."""

    @property
    def lines(self) -> int:
        """All lines of the bundle."""
        return self.events + self.erased + self.records

    def as_dict(self) -> dict[str, object]:
        """Return it as the manifest has it."""
        names = ("events", "erased", "records", "first_seq", "last_seq", "runs", "first_time", "last_time")
        return {"count": self.lines, **{name: getattr(self, name) for name in names}}


@dataclass
class _Erased:
    """The erased lines since the last line that has a time."""

    start: int
    """Where the first of them stands in the file."""
    before: Counts
    """The counts without them."""
    records: set[str] = field(default_factory=set)


class Chooser:
    """Takes a trail's lines in order, and writes those that are chosen to a file."""

    def __init__(self, wanted: Filter, out: IO[bytes], where: Path) -> None:
        """`where` is what an error says when `out` cannot be written."""
        self._where = where
        self.counts = Counts()
        self._matches = wanted.predicate()
        self._since, self._until = wanted.since or "", wanted.until
        self._out = out
        self._tiles: StoredTiles | None = None
        self._time = ""
        """When the last line was recorded that says so."""
        self._pending: _Erased | None = None
        self._owed: set[str] = set()
        """The `event_id` of the records that chosen erased lines name."""

    def begin(self, tiles: StoredTiles | None) -> None:
        """A look begins: forget the last one. Without `tiles` nothing is sealed."""
        self.counts, self._tiles = Counts(), tiles
        self._time, self._pending, self._owed = "", None, set()
        self._cut(0)

    def take(self, lines: list[bytes]) -> None:
        """Look at some whole lines. Raises TrailError when they cannot be written down."""
        for line in lines:
            row = parse_row(line)
            if row is None:
                continue  # torn, or altered: a finding
            erased = None if row.event_type else parse_erased(line)
            if erased is not None:
                self._erased(line, erased)
                continue
            self._time = row.recorded_at or self._time
            if self._pending is not None:
                self._settle()
            matches = self._matches(row)
            if matches or (row.event_type == RECORD and self._owed and self._is_owed(line)):
                self._event(line, row, matches=matches)

    def finish(self) -> None:
        """All lines were seen. Raises TrailError."""
        if self._pending is not None:
            self._settle()
        with writing(self._where):
            self._out.flush()

    def _event(self, line: bytes, row: Row, *, matches: bool) -> None:
        counts = self.counts
        if self._tiles is None or row.seq >= self._tiles.size:
            counts.unsealed += matches
        elif self._add(line, row.seq, leaf_hash(line)):
            counts.events += matches
            counts.records += not matches
            if matches and row.timestamp:
                counts.first_time = min(counts.first_time or row.timestamp, row.timestamp)
                counts.last_time = max(counts.last_time or row.timestamp, row.timestamp)

    def _add(self, line: bytes, seq: int, leaf: bytes) -> bool:
        """Write a line down if it is the one that was sealed, and its turn."""
        counts = self.counts
        if self._tiles is None or seq <= counts.last_seq or self._tiles.leaf(seq) != leaf:
            counts.not_sealed_so += 1
            return False
        if counts.first_seq == NOTHING_YET:
            counts.first_seq = seq
        counts.runs += seq != counts.last_seq + 1 or counts.first_seq == seq
        counts.last_seq = seq
        with writing(self._where):
            self._out.write(line + b"\n")
        return True

    def _cut(self, end: int) -> None:
        with writing(self._where):
            self._out.seek(end)
            self._out.truncate()

    # --- erased lines -------------------------------------------------------------------------------------------

    def _erased(self, line: bytes, erased: ErasedLine) -> None:
        """Take an erased line, unless it was recorded after all that is asked for; see `_settle`."""
        if (self._until is not None and self._time >= self._until) or self._tiles is None:
            return
        if self._pending is None:
            self._pending = _Erased(self._out.tell(), Counts(**vars(self.counts)))
        if erased.seq < self._tiles.size and self._add(line, erased.seq, erased.leaf):
            self.counts.erased += 1
            self._pending.records.add(erased.record)

    def _settle(self) -> None:
        """The time of the line after erased ones is known: give them up if they came before all that is asked for."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if self._time >= self._since:
            self._owed |= pending.records
            return
        self.counts = pending.before
        self._cut(pending.start)

    def _is_owed(self, line: bytes) -> bool:
        return (parse_event(line) or {}).get("event_id") in self._owed


class HeardSource(DiskSource):
    """What a look at a trail reads; a chooser hears all of it."""

    def __init__(
        self, snapshot: Snapshot, checkpoint: bytes | None, progress: Progress | None, chooser: Chooser
    ) -> None:
        super().__init__(snapshot, checkpoint, progress)
        self._chooser = chooser
        said = _claims(checkpoint)
        tiles = None if said is None else StoredTiles(self.tile, self.partial_widths, said.size, said.root)
        chooser.begin(tiles)

    def lines_of(self, file: TrailFile) -> DiskLines:
        """See `DiskSource`."""
        return _HeardLines(file, self._progress, self._chooser)


class _HeardLines(DiskLines):
    def __init__(self, file: TrailFile, progress: Progress | None, chooser: Chooser) -> None:
        super().__init__(file, progress)
        self._chooser = chooser

    def blocks(self) -> Generator[Block, None, None]:
        for block in super().blocks():
            self._chooser.take(block.lines)
            yield block


def _claims(note: bytes | None) -> Checkpoint | None:
    """Return what a checkpoint says; whether it is signed, the look finds out."""
    try:
        return None if note is None else parse(split_note(note)[0])
    except NoteError:
        return None
