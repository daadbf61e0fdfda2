"""One pass over the lines of a trail, against its tree. Pure.

Positions are filled from left to right. Whole stretches that agree with the stored leaves are taken in bulk; where
one does not, line by line until lines and leaves agree again (`align` says who took whose place). What lies after
the checkpoint has no leaf yet and is checked for its form only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from indelible.trail import findings as words
from indelible.trail.checking.align import MAX_RUN, Absent, Line, Step, assign, weigh
from indelible.trail.checking.rows import Rows
from indelible.trail.entry import line_seq, parse_line, pruned_in
from indelible.trail.erased import Erasures
from indelible.trail.findings import Finding, VerifyResult
from indelible.trail.layout import SEGMENT_DIGITS
from indelible.trail.proofs.merkle import HASH_SIZE, leaf_hash, leaf_hashes
from indelible.trail.proofs.ownwords import KINDS, OwnWords, may_tell
from indelible.trail.proofs.tiles import StoredTiles

_OPENED: Final = b'"event_type":"file_opened"'


class Block(NamedTuple):
    """Some whole lines of a file in order, without their LF, and `raw`, bytes that hold them all."""

    lines: list[bytes]
    raw: bytes


class Gap(NamedTuple):
    """Positions for which no file is there, and what was said about them; a recorded deletion excuses it."""

    first: int
    end: int
    finding: Finding


class Walk:
    """Feed it each file: `start_file`, `block`…, `end_file`; then `finish`."""

    def __init__(
        self,
        tiles: StoredTiles,
        result: VerifyResult,
        origin: str | None,
        name: Callable[[str], str],
        erasures: Erasures | None = None,
        own: OwnWords | None = None,
    ) -> None:
        """`own` tells which lines that say something of others are the trail's; without it all are."""
        self.erasures = erasures or Erasures()
        self.gaps: list[Gap] = []
        self.recorded: list[tuple[int, int]] = []
        """Ranges (first, last) whose deletion a sealed line records."""
        self._tiles = tiles
        self._own = own or OwnWords(None)
        self._rows = Rows(tiles, result, name)
        self._result = result
        self._origin = origin
        self._name = name
        self._file = ""
        self._first_seq: int | None = None
        self._number = 0
        self._watch = False
        self._run: list[Line] = []
        self._ahead: Line | None = None
        self._absent = Absent()
        self._strangers: dict[str, Finding] = {}
        """Files of other trails, and what is said of each when it is known what should stand there."""
        self._said: dict[int, tuple[Finding, int, int]] = {}
        self._tail_next = tiles.size
        self._tail_bad = 0

    # --- files --------------------------------------------------------------------------------------------

    def start_file(self, name: str, first_seq: int | None) -> None:
        """A file begins; `first_seq` is what its name says, None for the active one."""
        self._file, self._first_seq, self._number = name, first_seq, 0

    def is_anothers(self, block: Block) -> bool:
        """Tell whether the file that begins with these lines is another trail's: none of them is this one's.

        It is one finding, and what it holds is nobody's business here.
        """
        if self._number or self._origin is None or not block.lines:
            return False
        entry = parse_line(block.lines[0]) or {}
        metadata = entry.get("metadata")
        origin = metadata.get("origin") if isinstance(metadata, dict) else None
        if entry.get("event_type") != "file_opened" or not isinstance(origin, str) or origin == self._origin:
            return False
        if any(self._has(line) for line in block.lines):
            return False
        detail = "a file of another trail stands in this one's place"
        said = Finding(words.ORIGIN_MISMATCH, self._file, None, None, self._origin, origin, detail)
        self._strangers[self._file] = said
        return True

    def _has(self, data: bytes) -> bool:
        seq = line_seq(data)
        return seq is not None and self._stored(seq) == leaf_hash(data)

    def block(self, block: Block) -> None:
        """Take the next lines of the file."""
        self._watch = not self._number or may_tell(block.raw)
        lines, at = block.lines, 0
        while at < len(lines):
            at += self._stretch(lines, at)

    def unended(self, rest: bytes, *, last: bool) -> None:
        """The file ends in a line without LF."""
        if not last or self._rows.next < self._tiles.size:
            where = Finding(words.LINE_UNENDED, self._file, self._number + 1, line_seq(rest))
            self._line(weigh(rest, leaf_hash(rest), self._file, self._number + 1))
            self._rows.emit(where)
            self._number += 1
            return
        self._result.not_checked.append(
            f"{self._file}, line {self._number + 1}: a torn last line of {len(rest)} bytes; the next writer sets"
            " it aside"
        )

    def finish(self) -> None:
        """All files are read: settle what is open, and compare the tree's right edge."""
        self._settle_ahead()
        run, size = self._run, self._tiles.size
        kept = len(run)
        while kept and (run[kept - 1].seq or 0) >= size:
            kept -= 1
        self._run = run[:kept]
        self._settle(size, None)
        for line in run[kept:]:
            self._tail(line)
        for finding, total, back in self._said.values():
            if 0 < back < total:
                finding.detail += f"; only {back} of {total} stand elsewhere"
        for said in self._strangers.values():
            self._rows.emit(said)
        self._rows.finish()

    # --- stretches that agree --------------------------------------------------------------------------------

    def _stretch(self, lines: list[bytes], at: int) -> int:
        """Take lines up to the end of the present tile; return how many."""
        first, size = self._rows.next, self._tiles.size
        room = min(256 - (first & 0xFF), size - first) if first < size else 256
        count = min(room, len(lines) - at)
        some = lines[at : at + count]
        leaves = leaf_hashes(some)
        if first < size and not self._run and self._ahead is None and self._rows.undisputed():
            row, start = self._tiles.row(0, first >> 8), (first & 0xFF) * HASH_SIZE
            agreed = row is not None and row[start : start + count * HASH_SIZE] == b"".join(leaves)
            if agreed and _dense(some, first):
                self._rows.take_agreed(leaves)
                if self._watch:
                    self._look_at_all(some)
                self._number += count
                return count
        for data, leaf in zip(some, leaves, strict=True):
            self._number += 1
            self._line(weigh(data, leaf, self._file, self._number))
        return count

    def _look_at_all(self, some: list[bytes]) -> None:
        for index, data in enumerate(some, self._number + 1):
            if index == 1 or may_tell(data):
                self._look_at(data, self._file, index)

    # --- line by line ----------------------------------------------------------------------------------------

    def _line(self, line: Line) -> None:
        """Find the place of one line."""
        next_ = self._rows.next
        genuine = self._is_genuine(line)
        if self._ahead is not None:
            if genuine and line.seq is not None and next_ <= line.seq < (self._ahead.seq or 0):
                self._came_early(self._ahead)
            else:
                self._settle_ahead()
                next_ = self._rows.next
        if genuine and line.seq is not None:
            self._genuine(line, line.seq, next_)
        elif next_ >= self._tiles.size and not self._run:
            self._tail(line)
        elif not self._run and line.leaf == self._stored(next_):
            self._take(line, next_)  # sealed with a wrong seq
        else:
            self._run.append(line)
            if len(self._run) >= MAX_RUN:
                self._settle(min(next_ + len(self._run), self._tiles.size), line)

    def _genuine(self, line: Line, seq: int, next_: int) -> None:
        if seq < next_:
            self._again(line, seq)
        elif seq > next_ and not self._run:
            self._ahead = line
        else:
            self._settle(seq, line)
            self._take(line, seq)

    def _stored(self, seq: int) -> bytes | None:
        return self._tiles.leaf(seq) if seq < self._tiles.size else None

    def _is_genuine(self, line: Line) -> bool:
        """Tell whether the tree has this line at the seq that it claims. Without the tile, its word counts."""
        if line.seq is None or line.seq >= self._tiles.size:
            return False
        stored = self._tiles.leaf(line.seq)
        return stored == line.leaf or (stored is None and line.seq >= self._rows.next)

    def _take(self, line: Line, seq: int, problem: Finding | None = None) -> None:
        """The line takes the next position."""
        genuine = problem is None
        self._rows.take(line.leaf, problem)
        if not genuine or line.seq != seq:
            self.erasures.absent(seq, seq + 1)  # what stands there has a finding of its own
        elif line.erased:
            self._result.erased += 1
            self.erasures.line(line.data, line.file, line.number)
        if genuine and line.seq != seq:
            said = Finding(words.LINE_MALFORMED, line.file, line.number, seq, f"seq {seq}", f"seq {line.seq}")
            said.detail = "the line was sealed with a wrong seq"
            self._rows.emit(said)
        if genuine and (line.number == 1 or may_tell(line.data)):
            self._look_at(line.data, line.file, line.number)

    def _settle_ahead(self) -> None:
        """The line that is ahead of its turn is where it belongs: what it skipped is missing."""
        line, self._ahead = self._ahead, None
        if line is not None and line.seq is not None:
            self._settle(line.seq, line)
            self._take(line, line.seq)

    def _settle(self, end: int, before: Line | None) -> None:
        """Fill the positions up to `end` with the run of strangers; `before` is the line that follows."""
        run, self._run = self._run, []
        first = self._rows.next
        if not run:
            if first < end:
                self._missing(first, end, before)
            return
        for step in assign(first, end, run):
            self._apply(step, before)

    def _apply(self, step: Step, before: Line | None) -> None:
        seq, line = step.seq, step.line
        if line is None:
            self._missing(self._rows.next, step.end, before)
        elif seq is None:
            said = Finding(words.LINE_INSERTED, line.file, line.number, line.seq, found=line.leaf.hex())
            said.detail = "the signed tree has no such line"
            self._rows.emit(said)
        else:
            stored = self._stored(seq)
            said = Finding(words.LINE_OR_TILE, line.file, line.number, seq, stored.hex() if stored else None)
            said.found = line.leaf.hex()
            said.detail = "" if line.seq == seq else f"it claims seq {line.seq}"
            self._take(line, seq, said)

    # --- lines that are elsewhere ------------------------------------------------------------------------------

    def _came_early(self, line: Line) -> None:
        self._ahead = None
        self._absent.came_early(line.seq or 0)
        expected = f"seq {self._rows.next}"
        self._rows.emit(
            Finding(words.LINE_MOVED, line.file, line.number, line.seq, expected, f"seq {line.seq}")
        )

    def _again(self, line: Line, seq: int) -> None:
        """A genuine line whose turn is over: moved here, or doubled."""
        key = self._absent.late(seq)
        if key is None:
            expected = f"seq {self._rows.next}"
            self._rows.emit(Finding(words.LINE_DUPLICATED, line.file, line.number, seq, expected, f"seq {seq}"))
            return
        finding, total, back = self._said[key]
        if not back:
            finding.problem = words.LINE_MOVED
            finding.found = f"seq {seq} at {line.file}, line {line.number}"
        self._said[key] = (finding, total, back + 1)

    def _missing(self, first: int, end: int, before: Line | None) -> None:
        self.erasures.absent(first, end)
        for low, high in self._absent.without_early(first, end):
            finding = self._gap(low, high, before)
            self._rows.emit(finding)
            if len(self._said) < words.MAX_FINDINGS:
                self._said[low] = (finding, high - low, 0)
                self._absent.miss(low, high, low)
        self._rows.skip(end)

    def _gap(self, first: int, end: int, before: Line | None) -> Finding:
        """Say that the lines from `first` up to `end` are not there."""
        span = f"seq {first}" if end == first + 1 else f"seq {first} to {end - 1}"
        if before is None:
            said = self._strangers.pop(self._file, None)
            if said is not None:
                return _instead(said, first, span)
            detail = f"the checkpoint covers {self._tiles.size} events, the lines end before seq {first}"
            return Finding(
                words.TAIL_CUT, self._file or None, self._number or None, first, span, "the end", detail
            )
        if before.number == 1 and _OPENED in before.data:
            name = self._name(f"segments/{first:0{SEGMENT_DIGITS}d}.jsonl")
            said = self._strangers.pop(name, None)
            if said is not None:
                return _instead(said, first, span)
            detail = f"no file holds {span}, and no deletion of it is on record"
            finding = Finding(words.FILE_MISSING, name, None, first, span, "nothing", detail)
            self.gaps.append(Gap(first, end, finding))
            return finding
        found = f"seq {before.seq}"
        return Finding(words.LINE_MISSING, before.file, before.number, first, span, found)

    # --- what lines say about files ------------------------------------------------------------------------------

    def _look_at(self, data: bytes, file: str, number: int) -> None:
        """Check a file's first line, and note which deletions a sealed line records."""
        entry = parse_line(data) or {}
        kind = entry.get("event_type")
        if number == 1:
            self._check_start(entry, file)
        elif kind == "file_opened":
            detail = "a file's first line stands inside another file"
            self._rows.emit(Finding(words.FILE_START, file, number, entry.get("seq"), "line 1", detail=detail))
        if self._is_own(entry, file, number):
            self.recorded += pruned_in(entry)
            self.erasures.record(entry)

    def _is_own(self, entry: dict[str, Any], file: str, number: int) -> bool:
        """Tell whether what an entry says of other lines is the trail's word; say so if it is not."""
        kind = entry.get("event_type")
        if kind not in KINDS or self._own.has(entry):
            return True
        detail = f"{kind}: somebody else wrote it, or altered it, so it excuses nothing"
        expected = "signed by the trail's key"
        said = Finding(words.NOT_SIGNED, file, number, entry.get("seq"), expected, "no such signature", detail)
        self._rows.emit(said)
        return False

    def _check_start(self, entry: dict[str, Any], file: str) -> None:
        """A file begins with its `file_opened`, which names the trail and the file's first seq."""
        seq, kind = entry.get("seq"), entry.get("event_type")
        metadata = entry.get("metadata")
        about = metadata if isinstance(metadata, dict) else {}

        def say(problem: str, expected: object, found: object, detail: str) -> None:
            self._rows.emit(Finding(problem, file, 1, seq, str(expected), str(found), detail))

        if kind != "file_opened":
            say(words.FILE_START, "file_opened", kind, "a file begins with the event that names its trail")
            return
        if seq == 0:
            self._result.predecessor = about.get("previous")
        if self._first_seq is not None and self._first_seq != seq:
            say(words.FILE_START, f"seq {self._first_seq}", f"seq {seq}", "the file's name says its first seq")
        if about.get("first_seq") != seq:
            say(
                words.FILE_START,
                f"seq {seq}",
                f"first_seq {about.get('first_seq')}",
                "the event contradicts itself",
            )
        if self._origin is not None and about.get("origin") != self._origin:
            say(words.ORIGIN_MISMATCH, self._origin, about.get("origin"), "the file is of another trail")

    # --- after the checkpoint --------------------------------------------------------------------------------

    def _tail(self, line: Line) -> None:
        """Check the form of a line that no checkpoint covers yet."""
        entry = parse_line(line.data)
        if entry is None or "event_type" not in entry:
            self._tail_bad += 1
            detail = "not an event"
            self._rows.emit(Finding(words.LINE_MALFORMED, line.file, line.number, line.seq, detail=detail))
            return
        seq, next_ = entry["seq"], self._tail_next
        if seq < next_:
            said = Finding(words.LINE_DUPLICATED, line.file, line.number, seq, f"seq {next_}", f"seq {seq}")
            self._rows.emit(said)
            return
        if seq > next_ + self._tail_bad:
            span = f"seq {next_ + self._tail_bad}"
            self._rows.emit(Finding(words.LINE_MISSING, line.file, line.number, next_, span, f"seq {seq}"))
        self._tail_next, self._tail_bad = seq + 1, 0
        self._result.unsealed += 1
        self._is_own(entry, line.file, line.number)
        if line.number == 1:
            self._check_start(entry, line.file)


def _instead(said: Finding, first: int, span: str) -> Finding:
    """Let a finding about another trail's file say what should stand there."""
    said.seq = first
    said.detail += f": {span} of this trail, which the checkpoint covers, is nowhere"
    return said


def _dense(lines: list[bytes], first: int) -> bool:
    """Tell whether lines claim the seqs from `first` on."""
    prefixes = map(b'{"seq":%d,'.__mod__, range(first, first + len(lines)))
    return all(map(bytes.startswith, lines, prefixes))
