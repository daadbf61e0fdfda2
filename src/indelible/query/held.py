"""Records that are held elsewhere, by the million, against the trails that they are of.

The rules that live here:

- A record counts as sealed only for what the signed root vouches for: a line by its leaf hash, which stands in a tile
  that leads to that root; a record in other words by the line with that leaf hash, of which they are made again, to the
  byte or value by value. This is what `verify --line` asks of one; here it is asked of all, each trail's by seq.
- Any subset is right. What is missing between the first and the last is told, and wrong only for who asked for all.
- What was altered, or is no record, is a finding with its place. It never hides another one, and never ends the check.
- A trail may go on while its records are read: who meets one beyond the checkpoint looks at the trail again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.errors import NotProven, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.formats.found import read_found
from indelible.query.heldtrail import HeldTrail, key_of
from indelible.query.records import RecordCheck
from indelible.query.sources.base import Block, Source, place
from indelible.trail import findings as words
from indelible.trail.entry import line_seq
from indelible.trail.erased import parse_erased
from indelible.trail.findings import Finding, VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.elsewhere import (
    ANOTHER_TRAIL,
    NO,
    NOT_COVERED,
    PROBLEMS,
    Verdict,
    forms,
    leaf_of,
    set_aside,
    why_no_seq,
)
from indelible.trail.reader import origin_in

BATCH_RECORDS: Final = 20_000
BATCH_BYTES: Final = 16 << 20
"""So many records that are compared with lines are put into the order of these at once."""

OVERHEAD: Final = 400
"""What a record takes beside its bytes, about."""

MAX_RANGES: Final = 1_000
"""So many ranges of what is missing are kept of each trail."""

AS_SEALED: Final = "as sealed"
UNREADABLE: Final = "unreadable"
ALTERED: Final = "altered"

_SEQ = re.compile(rb'(?:"seq":|IndelibleMcpSeq=|\tseq=| seq="|"seq","value":\{"intValue":")([0-9]{1,16})')
"""Where formats of ours have a record's seq: a guess, that is only believed when the whole record is made of it."""


class _Waiting(NamedTuple):
    """A record that is to be compared with a line."""

    trail: int
    seq: int
    block: Block
    """It alone."""

    @property
    def data(self) -> bytes:
        return self.block.records[0]


class HeldCheck:
    """Checks records, a block at a time; `finish` says what came of all. A context manager."""

    def __init__(
        self, paths: Sequence[Path], keys: Sequence[Verifier], name: str, *, complete: bool = False
    ) -> None:
        """`name` is what people call the place the records are from. Raises TrailError, NotProven."""
        self._complete = complete
        self._records = RecordCheck()
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._origin = ""
        self._where = ""
        self.read = 0
        """Records, readable or not."""
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self._name = name
        self.result = VerifyResult(str(paths[0]) if len(paths) == 1 else name)
        self._trails = self._open(paths, keys)
        self._last = self._trails[0]
        if len(paths) == 1:
            first = self._trails[0].candidate.sealed.checkpoint
            self.result.size, self.result.root, self.result.origin = first.size, first.root, first.origin

    def __enter__(self) -> HeldCheck:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.__exit__()

    def _open(self, paths: Sequence[Path], keys: Sequence[Verifier]) -> list[HeldTrail]:
        found: list[HeldTrail] = []
        skipped = self.result.not_checked
        for path in paths:
            try:
                found.append(HeldTrail(path, key_of(path, keys, alone=len(paths) == 1), earlier=False))
            except NotProven as exc:
                if len(paths) == 1:
                    raise
                skipped.append(f"a trail that does not count: {exc}")
        if not found:
            raise NotProven(skipped[0])
        for path in paths:
            for earlier in set_aside(Layout(path)):
                try:
                    found.append(HeldTrail(earlier, key_of(earlier, keys, alone=True), earlier=True))
                except TrailError as exc:
                    skipped.append(f"an earlier trail that does not count: {exc}")
        return found

    # --- records --------------------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Check some records; some of them not before the next call, or `finish`. Raises TrailError."""
        if block.where != self._where:
            self._where, self._origin = block.where, ""
        for index, data in enumerate(block.records):
            if not data or data == b"\r":
                continue
            self.read += 1
            seq = line_seq(data)
            if seq is None:
                self._defer(block, index, data)
            elif not self._is_line(seq, data):
                self._odd_line(block, index, seq, data)
        if len(self._waiting) >= BATCH_RECORDS or self._bytes >= BATCH_BYTES:
            self._compare()

    def _is_line(self, seq: int, data: bytes) -> bool:
        """Take a line that some trail has sealed as it stands; tell whether that is so. Erased ones take longer."""
        if len(data) > MAX_LINE_BYTES:
            return False
        leaf, erased = leaf_of(data)
        last = self._last
        if erased or last.leaf(seq) != leaf:
            return False
        self._take(last, seq)
        return True

    def _take(self, trail: HeldTrail, seq: int) -> None:
        self.counts[AS_SEALED] += 1
        if not trail.seen.add(seq):
            self.repeated += 1

    def _odd_line(self, block: Block, index: int, seq: int, data: bytes) -> None:
        """Judge a line that is not simply the next of the same trail."""
        claimed = block.origins[index] if block.origins is not None else ""
        for form, _ in forms(data):
            leaf, erased = leaf_of(form)
            self._origin = origin_in(form) or self._origin
            for trail in self._trails:
                if len(form) <= MAX_LINE_BYTES and self._sealed(trail, seq) == leaf:
                    self._last = trail
                    if erased and not self._is_erased(trail, seq):
                        detail = "the trail's own line stands there whole: nobody had it erased"
                        self._find(words.ERASED_UNRECORDED, block, index, seq, trail, detail=detail)
                    else:
                        self.result.erased += erased
                        self._take(trail, seq)
                    return
        self._altered_line(block, index, seq, data, claimed or self._origin)

    def _sealed(self, trail: HeldTrail, seq: int) -> bytes:
        """Return the leaf hash that was sealed as a seq; of one beyond the checkpoint the trail is looked at again."""
        if seq >= trail.size and trail.look_again():
            self._records.forget(trail.active)
        return trail.leaf(seq) if seq < trail.size else b""

    def _is_erased(self, trail: HeldTrail, seq: int) -> bool:
        """Tell whether the trail's own line was erased, or is gone, so that nothing speaks against it."""
        line = self._records.line(trail.active, seq)
        return line is None or parse_erased(line) is not None

    def _altered_line(self, block: Block, index: int, seq: int, data: bytes, origin: str) -> None:
        """Say of a line that no trail has sealed what there is to say."""
        trails = [trail for trail in self._trails if not origin or trail.origin == origin]
        if not trails:
            return self._foreign(block, index, seq, origin)
        if all(seq >= trail.size for trail in trails):
            return self._beyond(block, index, seq, trails)
        trail = next(trail for trail in trails if seq < trail.size)
        if self._last in trails and seq < self._last.size:
            trail = self._last
        expected, found = trail.leaf(seq), leaf_of(data.removesuffix(b"\r"))[0]
        if not expected:
            detail = "it cannot be looked up: 'indelible verify' says what is damaged"
            return self._find(words.LINE_UNKNOWN, block, index, seq, trail, detail=detail)
        detail = "another line was sealed as this seq: this one was altered, re-encoded on its way, or made up"
        self._find(
            words.LINE_ALTERED,
            block,
            index,
            seq,
            trail,
            f"leaf {expected.hex()}",
            f"leaf {found.hex()}",
            detail,
        )
        return None

    def _foreign(self, block: Block, index: int, seq: int | None, origin: str) -> None:
        detail = f"it says that it is of {origin[:80]!r}, which is not here: name that trail, too, with --trail"
        self._find(words.LINE_FOREIGN, block, index, seq, None, detail=detail)

    def _beyond(self, block: Block, index: int, seq: int, trails: Sequence[HeldTrail]) -> None:
        size = max(trail.size for trail in trails)
        detail = (
            f"the checkpoint covers {size} events, so nothing can be said yet; nothing is shipped before it is sealed: "
            "if it stays so, the trail was rolled back, or the record made up"
        )
        self._find(words.LINE_NOT_COVERED, block, index, seq, trails[0], detail=detail)

    # --- records in other words -----------------------------------------------------------------------------------

    def _defer(self, block: Block, index: int, data: bytes) -> None:
        """Keep a record until enough of them can be put into the order of the lines that they are compared with."""
        data = data.removesuffix(b"\r")
        number = next((n for n, one in enumerate(self._trails) if one.origin.encode() in data), -1)
        guess = _SEQ.findall(data) if number >= 0 else None
        torn = block.torn and index == len(block.records) - 1
        alone = Block(
            block.where, (data,), (block.numbers[index],), unit=block.unit, torn=torn
        )  # not all beside it
        self._waiting.append(_Waiting(number, int(guess[-1]) if guess else -1, alone))
        self._bytes += OVERHEAD
        self._bytes += len(data)

    def _compare(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        waiting.sort(key=lambda one: one[:2])
        for one in waiting:
            if not self._is_made_of_its_line(one):
                self._judge(one)

    def _is_made_of_its_line(self, one: _Waiting) -> bool:
        """Take a record that is to the byte what a sealed line makes; tell whether it is."""
        if one.seq < 0:
            return False
        trail = self._trails[one.trail]
        leaf = self._sealed(trail, one.seq)
        line = self._records.line(trail.active, one.seq) if leaf else None
        if (
            line is None
            or leaf_of(line)[0] != leaf
            or self._records.made_of(one.data, line, trail.origin) is None
        ):
            return False
        self.result.erased += parse_erased(line) is not None
        self._take(trail, one.seq)
        return True

    def _judge(self, one: _Waiting) -> None:
        """Judge a record by all that it says."""
        verdict = self._records.judge(one.data, [trail.candidate for trail in self._trails])
        if verdict is None:
            return self._unreadable(one)
        same = [trail for trail in self._trails if str(trail.active) == verdict.trail]
        if verdict.format is not None and verdict.seq is not None and same:
            self.result.erased += verdict.erased
            return self._take(same[0], verdict.seq)
        return self._differs(one, verdict, same[0] if same else None)

    def _differs(self, one: _Waiting, verdict: Verdict, trail: HeldTrail | None) -> None:
        if verdict.verdict == NOT_COVERED and trail is not None:
            return self._beyond(one.block, 0, verdict.seq or 0, [trail])
        if verdict.verdict == ANOTHER_TRAIL and trail is None:
            found = read_found(one.data)
            return self._foreign(one.block, 0, verdict.seq, found.origin if found else "")
        expected = claimed = None
        if verdict.verdict == NO and trail is not None and verdict.seq is not None:
            found = read_found(one.data)
            expected = f"leaf {trail.leaf(verdict.seq).hex()}"
            claimed = f"leaf {found.leaf.hex()}" if found else None
        problem = words.LINE_ALTERED if expected else PROBLEMS[verdict.verdict]
        return self._find(problem, one.block, 0, verdict.seq, trail, expected, claimed, verdict.detail)

    def _unreadable(self, one: _Waiting) -> None:
        detail = "nothing ends it: it was cut off" if one.block.torn else why_no_seq(one.data)
        self._find(words.RECORD_UNREADABLE, one.block, 0, None, None, detail=detail)

    # --- what is said ---------------------------------------------------------------------------------------------

    def _find(
        self,
        problem: str,
        block: Block,
        index: int,
        seq: int | None,
        trail: HeldTrail | None,
        expected: str | None = None,
        found: str | None = None,
        detail: str = "",
    ) -> None:
        self.counts[problem] += 1
        line = block.numbers[index] if block.unit == "line" else None
        file = block.where if line is not None else place(block, index)
        if trail is not None and len(self._trails) > 1:
            detail = f"{detail} (trail {trail.active})"
        self.result.add(Finding(problem, file, line, seq, expected, found, detail))

    def finish(self, sources: Sequence[Source]) -> VerifyResult:
        """Return the result of all that was read. Raises TrailError."""
        self._compare()
        result = self.result
        result.files = sum(source.files for source in sources)
        result.events = sum(len(trail.seen) for trail in self._trails)
        for one in [one for source in sources for one in source.unread]:
            result.add(Finding(words.FILE_UNREADABLE, one.where, detail=one.why))
        if not self.read:
            result.add(Finding(words.RECORD_UNREADABLE, self._name, detail="there is no record in it"))
        self._say_missing()
        if result.erased:
            result.not_checked.append(
                f"the content of {result.erased} erased lines: their leaf hashes were compared"
            )
        result.not_checked[:0] = self._records.not_checked()
        return result

    def _say_missing(self) -> None:
        missing = 0
        for trail in self._trails:
            for first, last in trail.seen.gaps():
                missing += last - first + 1
                if self._complete:
                    detail = f"of {trail.origin}: not among them"
                    expected = f"seq {first} to {last}" if last > first else f"seq {first}"
                    self.result.add(
                        Finding(words.RECORDS_MISSING, self._name, None, first, expected, None, detail)
                    )
        if missing and not self._complete:
            self.result.not_checked.append(
                f"whether the {missing} that are missing between the first and the last should be there: a filter may "
                "have left them out; --complete asks for all"
            )

    def origins(self) -> list[dict[str, Any]]:
        """Return what was met of each trail of which something was: for people and programs."""
        found = []
        for trail in self._trails:
            if trail.seen.first is None:
                continue
            ranges: list[list[int]] = []
            missing = 0
            for first, last in trail.seen.gaps():
                missing += last - first + 1
                if len(ranges) < MAX_RANGES:
                    ranges.append([first, last])
            found.append(
                {
                    "origin": trail.origin,
                    "trail": str(trail.active),
                    "size": trail.size,
                    "records": len(trail.seen),
                    "first": trail.seen.first,
                    "last": trail.seen.last,
                    "missing": missing,
                    "missing_ranges": ranges,
                }
            )
        return found
