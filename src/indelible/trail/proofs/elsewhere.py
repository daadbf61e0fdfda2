"""Lines that were found elsewhere (in a SIEM, a ticket, a mail), looked up in what trails have sealed.

The rule that lives here: a line is in a trail when its leaf hash stands, at the seq that it claims, in a tile that the
signed root vouches for. Nothing less is a yes: not covered yet, or not to be looked up, is none either. A record in
another system's words carries the leaf hash of its line: that one is in the trail says nothing of the words, so of such
a record nothing is a yes but that the line, rendered anew, makes the same words.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from indelible.errors import NotProven, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.trail import findings as words
from indelible.trail.entry import line_seq
from indelible.trail.erased import erased_leaf
from indelible.trail.findings import MAX_FINDINGS, Finding, VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.prove import blame
from indelible.trail.proofs.stored import Sealed, open_sealed
from indelible.trail.reader import names_in, origin_in

YES: Final = "yes"
NO: Final = "no"
NOT_COVERED: Final = "not covered"
ANOTHER_TRAIL: Final = "another trail"
DIFFERS: Final = "differs"
"""A record carries the leaf hash of a line of the trail, and says something else than that line."""
NOT_COMPARED: Final = "not compared"
"""A record carries the leaf hash of a line of the trail that is not there any more: its words are anybody's."""

CONVERTED: Final = "without the carriage return at its end, which the trail does not have"

PROBLEMS: Final = {
    NO: words.LINE_UNKNOWN,
    NOT_COVERED: words.LINE_NOT_COVERED,
    ANOTHER_TRAIL: words.LINE_FOREIGN,
    DIFFERS: words.RECORD_DIFFERS,
    NOT_COMPARED: words.RECORD_NOT_COMPARED,
}


class Verdict(NamedTuple):
    """What became of one line. `trail` is the active file of the trail that has it, or should have it."""

    verdict: str
    seq: int | None = None
    trail: str | None = None
    erased: bool = False
    detail: str = ""
    format: str | None = None
    """The format of a record that was found to say what its line says; None of a stored line."""


class Candidate(NamedTuple):
    """A trail in which lines are looked up; one that was set aside is an `earlier` one."""

    sealed: Sealed
    earlier: bool


class Records(Protocol):
    """Judges what is no stored line."""

    def judge(self, data: bytes, trails: Sequence[Candidate]) -> Verdict | None:
        """Return what became of a record that carries a line's leaf hash; None for what is no such record."""


def leaf_of(line: bytes) -> tuple[bytes, bool]:
    """Return a line's leaf hash, and whether its content was erased, so that it names the hash itself."""
    kept = erased_leaf(line)
    return (leaf_hash(line), False) if kept is None else (kept, True)


def forms(line: bytes) -> list[tuple[bytes, str]]:
    """Return (line, what was taken off) of what a line may have been before its line end was converted."""
    return [(line, ""), (line[:-1], CONVERTED)] if line.endswith(b"\r") else [(line, "")]


class LineCheck:
    """Looks lines up in trails, one at a time; `result` has the shape of a verification."""

    def __init__(
        self, paths: Sequence[Path], vkey: Verifier | None, source: str, records: Records | None = None
    ) -> None:
        """`source` is what people call the place the lines come from. Raises TrailError, NotProven."""
        self._records = records
        self.counts: Counter[str] = Counter()
        self.lines: list[dict[str, Any]] = []
        """The first `MAX_FINDINGS` verdicts."""
        self._source = source
        self._trails: list[Candidate] = []
        self.result = VerifyResult(str(paths[0]) if len(paths) == 1 else source)
        self._open(paths, vkey)
        if len(paths) == 1:
            first = self._trails[0].sealed.checkpoint
            self.result.size, self.result.root, self.result.origin = first.size, first.root, first.origin

    def _open(self, paths: Sequence[Path], vkey: Verifier | None) -> None:
        skipped = self.result.not_checked
        for path in paths:
            try:
                self._trails.append(Candidate(open_sealed(path, vkey), earlier=False))
            except NotProven as exc:
                if len(paths) == 1:
                    raise
                skipped.append(f"a trail that does not count: {exc}")
        if not self._trails:
            raise NotProven(skipped[0])
        for path in paths:
            for earlier in set_aside(Layout(path)):
                try:
                    self._trails.append(Candidate(open_sealed(earlier, vkey), earlier=True))
                except TrailError as exc:
                    skipped.append(f"an earlier trail that does not count: {exc}")

    def line(self, data: bytes, number: int) -> Verdict:
        """Look one line up, without its LF; `number` counts from 1."""
        verdict = self._judge(data)
        self.counts[verdict.verdict] += 1
        if verdict.verdict == YES:
            self.result.events += 1
            self.result.erased += verdict.erased
        else:
            detail = f"{verdict.detail} (trail {verdict.trail})" if verdict.trail else verdict.detail
            problem = PROBLEMS[verdict.verdict]
            self.result.add(Finding(problem, self._source, number, verdict.seq, detail=detail))
        if len(self.lines) < MAX_FINDINGS:
            self.lines.append({"line": number, **verdict._asdict()})
        return verdict

    def _judge(self, data: bytes) -> Verdict:
        seq = line_seq(data)
        if seq is None:
            record = None if self._records is None else self._records.judge(data, self._trails)
            return record or Verdict(NO, detail=why_no_seq(data))
        if len(data) > MAX_LINE_BYTES + 1:
            return Verdict(NO, detail=f"longer than a line may be, {MAX_LINE_BYTES} bytes")
        for form, note in forms(data):
            leaf, erased = leaf_of(form)
            for trail in self._trails:
                if trail.sealed.tiles.leaf(seq) == leaf and trail.sealed.tiles.trusted(0, seq >> 8):
                    return _here(trail, seq, note, erased=erased)
        return self._not_here(data, seq)

    def _not_here(self, data: bytes, seq: int) -> Verdict:
        """Say of a line that no trail has sealed what there is to say."""
        own = [trail.sealed for trail in self._trails if not trail.earlier]
        origin = origin_in(data.removesuffix(b"\r"))  # which only a file's first line says
        if origin and all(origin != trail.sealed.checkpoint.origin for trail in self._trails):
            return Verdict(ANOTHER_TRAIL, seq, detail=f"the line says that it is of {origin[:80]!r}")
        if all(seq >= sealed.checkpoint.size for sealed in own):
            size = max(sealed.checkpoint.size for sealed in own)
            return Verdict(
                NOT_COVERED, seq, detail=f"the checkpoint covers {size} events, so nothing can be said"
            )
        where = str(own[0].layout.active) if len(own) == 1 else None
        for sealed in own:
            if seq < sealed.checkpoint.size and not _readable(sealed, seq):
                fault = blame(sealed.tiles, seq)
                return Verdict(NO, seq, str(sealed.layout.active), detail=f"it cannot be looked up: {fault}")
        detail = (
            f"another line was sealed as seq {seq}: this one was altered, re-encoded on its way, or made up"
        )
        return Verdict(NO, seq, where, detail=detail)

    def finish(self) -> VerifyResult:
        """Return the result; that there was no line at all is a finding."""
        if not self.counts:
            self.result.add(Finding(words.LINE_UNKNOWN, self._source, detail="there is no line in it"))
        if self.result.erased:
            said = f"the content of {self.result.erased} erased lines: their leaf hashes were looked up"
            self.result.not_checked.append(said)
        self.result.not_checked.append("every other line of the trail")
        return self.result


def sealed_leaf(trail: Candidate, seq: int) -> bytes | None:
    """Return the leaf hash that was sealed as a seq below the checkpoint's size; None when the tiles do not show it."""
    return trail.sealed.tiles.leaf(seq) if _readable(trail.sealed, seq) else None


def _here(trail: Candidate, seq: int, note: str, *, erased: bool) -> Verdict:
    where = str(trail.sealed.layout.active)
    if trail.earlier:
        origin = trail.sealed.checkpoint.origin
        detail = f"it is in an earlier trail, {origin}, which was set aside"
        return Verdict(ANOTHER_TRAIL, seq, where, erased, f"{detail}; {note}" if note else detail)
    return Verdict(YES, seq, where, erased, note)


def _readable(sealed: Sealed, seq: int) -> bool:
    return sealed.tiles.leaf(seq) is not None and sealed.tiles.trusted(0, seq >> 8)


def why_no_seq(data: bytes) -> str:
    """Return what to say of what is neither a line of a trail nor a record of one."""
    if data.startswith(b"\xef\xbb\xbf"):
        return "a byte order mark stands in front of it; take it away"
    if data[:1].isspace():
        return "white space stands in front of it; take it away"
    if len(data) > MAX_LINE_BYTES + 1:
        return f"longer than a line may be, {MAX_LINE_BYTES} bytes"
    return (
        'not a line of a trail as it stands there: it does not begin with {"seq":; nor a record of one, whole and with '
        "its leaf hash, in a format that is known here"
    )


def set_aside(layout: Layout) -> list[Path]:
    """Return the active files of the earlier trails that lie below a trail."""
    names = (name for name in names_in(layout.retired) if os.sep not in name)
    places = (layout.retired / name / layout.active.name for name in sorted(names))
    return [path for path in places if Layout(path).directory.is_dir()]
