"""Records in other systems' words, against the trail that they say they are of.

The rules that live here:

- A record's leaf hash says which line it is of, and nothing of its words: anybody can put a line's hash under words of
  his own. So the line is read from the trail, compared with what was sealed, and rendered anew: a record is a yes when
  that makes the same bytes, or, of JSON that was encoded anew on its way, the same values.
- What a sink's settings put into a record (a vendor, a host's name) is taken from the record itself, since no line has
  it; it is said that nobody vouches for it.
- Where the line is gone, deleted or erased, there is nothing to compare with: never a yes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from indelible._version import __version__
from indelible.errors import FOREIGN, IndelibleError
from indelible.formats.found import JSON, MAX_RECORD_BYTES, Fields, Found, Keys, read_found
from indelible.formats.record import Format, NoEntryError, Options, Record
from indelible.query.lines import LinesBySeq
from indelible.registry import format_names, make_format
from indelible.trail.erased import parse_erased
from indelible.trail.proofs.elsewhere import (
    ANOTHER_TRAIL,
    DIFFERS,
    NO,
    NOT_COMPARED,
    NOT_COVERED,
    YES,
    Candidate,
    Verdict,
    leaf_of,
    sealed_leaf,
)

DIALECTS: Final = ("indelible", "hangar")

DEFAULTS: Final = Options(version=__version__)

LIMITS: Final = (480, 512, 1024, 2048, 4096, 8000, 8096, 8192, 16_384, 32_768, 65_507, 65_535)
"""What receivers take, and what sinks are therefore set to: tried first."""

CUT_SLACK: Final = 128
"""How far below its limit a record may end: where no more of a value fits, and what says that it was cut."""

MAX_MADE: Final = 4
"""Formats and settings that have made records are remembered: of one file most are made by one sink."""

MAX_SHORT: Final = 4096
"""No limit that is further above a record's size is tried."""

CUT_MARKS: Final = (b"cut", b"CUT", b"Cut", b"LeftOut", b"leftOut", b"left_out")
"""What stands in a record that was cut; it may stand in others, too."""

SHOWN_FIELDS: Final = 5
"""So many of the fields that differ are named."""

HOST: Final = "the names of machines, vendors, products and their versions in records: they stand in no line"
FRONT: Final = "what a transport put in front of records"


class _Trail:
    """A trail's lines, opened when the first is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: LinesBySeq | None = None
        self._last: tuple[int, bytes | None] = -1, None
        """The line that was asked for last: one record may be looked at twice."""

    def line(self, seq: int) -> bytes | None:
        if self._last[0] == seq:
            return self._last[1]
        if self._lines is None:
            self._lines = LinesBySeq(self._path)
        self._last = seq, self._lines.find(seq)
        return self._last[1]

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        self._last = -1, None


class _Likeness(NamedTuple):
    """What a format makes of a line, beside a record."""

    name: str
    differs: list[str]
    """The names of fields that are not the same; none: it is word for word the record."""
    same: int = 0
    """How many fields of the record are the same."""
    anew: bool = False
    """The same values, in other bytes."""
    cut: bool = False
    """It was cut to its receiver's limit; what was cut says so in it."""


class RecordCheck:
    """Judges records, one at a time; a context manager."""

    def __init__(self) -> None:
        self._trails: dict[Path, _Trail] = {}
        self._names = [name for name in format_names() if name != "indelible"]
        self._limits: list[int] = []
        self._made: list[tuple[str, Options]] = []
        self._settings = False
        self._fronts = False

    def __enter__(self) -> RecordCheck:
        return self

    def __exit__(self, *_: object) -> None:
        for trail in self._trails.values():
            trail.close()

    def not_checked(self) -> list[str]:
        """Return what the verdicts do not cover."""
        return [*([HOST] if self._settings else ()), *([FRONT] if self._fronts else ())]

    def judge(self, data: bytes, trails: Sequence[Candidate]) -> Verdict | None:
        """See `indelible.trail.proofs.elsewhere.Records`. Raises TrailError when a trail cannot be read."""
        if len(data) > MAX_RECORD_BYTES:
            return None
        data = data.removesuffix(b"\r")
        found = read_found(data)
        if found is None:
            return None
        same = [one for one in trails if one.sealed.checkpoint.origin == found.origin]
        if not same:
            return Verdict(
                ANOTHER_TRAIL, found.seq, detail=f"the record says that it is of {found.origin[:80]!r}"
            )
        trail = max(same, key=lambda one: one.sealed.checkpoint.size)
        return self._look_up(found, trail)

    def line(self, path: Path, seq: int) -> bytes | None:
        """Return the line that claims a seq in the trail whose active file is `path`. Raises TrailError.

        Fast for seqs that go up, as `LinesBySeq.find` is.
        """
        return self._trails.setdefault(path, _Trail(path)).line(seq)

    def forget(self, path: Path) -> None:
        """Look at the trail's files anew: it has gone on since."""
        if path in self._trails:
            self._trails[path].close()

    def made_of(self, data: bytes, line: bytes, origin: str) -> str | None:
        """Return the format that makes exactly these bytes of a line, of those that have made records before.

        It is the whole proof that a record says what the line says, and spares reading the record. None proves nothing.
        """
        try:
            record = Record(line, origin)
        except NoEntryError:
            return None
        for made in self._made:
            if _rendered(*made, record) == data:
                if made is not self._made[0]:
                    self._remember(*made)
                return made[0]
        return None

    def _remember(self, name: str, options: Options) -> None:
        made = (name, options)
        self._made = [made, *(other for other in self._made if other != made)][:MAX_MADE]

    def _look_up(self, found: Found, trail: Candidate) -> Verdict:
        seq, where = found.seq, str(trail.sealed.layout.active)
        size = trail.sealed.checkpoint.size
        if seq >= size:
            detail = f"the checkpoint covers {size} events, so nothing can be said"
            return Verdict(NOT_COVERED, seq, where, detail=detail)
        leaf = sealed_leaf(trail, seq)
        if leaf is None:
            return Verdict(
                NO, seq, where, detail="it cannot be looked up: 'indelible verify' says what is damaged"
            )
        if leaf != found.leaf:
            detail = f"another line was sealed as seq {seq} than the one whose leaf hash the record carries"
            return Verdict(NO, seq, where, detail=detail)
        return self._compare(found, trail, leaf)

    def _compare(self, found: Found, trail: Candidate, leaf: bytes) -> Verdict:
        seq, where = found.seq, str(trail.sealed.layout.active)
        path = trail.sealed.layout.active
        line = self.line(path, seq)
        if line is None:
            detail = "it carries the leaf hash of a line that was deleted, so its words cannot be compared"
            return Verdict(NOT_COMPARED, seq, where, detail=detail)
        if leaf_of(line)[0] != leaf:
            detail = (
                "it carries the leaf hash of a line of the trail; what stands there is not that line any more"
            )
            return Verdict(NOT_COMPARED, seq, where, detail=detail)
        erased = parse_erased(line) is not None
        likeness = self._likest(found, line)
        if likeness is None or likeness.differs:
            if erased:
                detail = "it carries the leaf hash of a line that was erased, so its words cannot be compared"
                return Verdict(NOT_COMPARED, seq, where, erased, detail)
            return Verdict(DIFFERS, seq, where, detail=_difference(likeness))
        return self._same(found, trail, likeness, erased=erased)

    def _same(self, found: Found, trail: Candidate, likeness: _Likeness, *, erased: bool) -> Verdict:
        self._settings = self._settings or _shows_settings(found)
        self._fronts = self._fronts or bool(found.front)
        details = []
        if likeness.anew:
            details.append("the same values, encoded anew on their way")
        if likeness.cut:
            details.append("cut to its receiver's limit")
        if trail.earlier:
            details.append(f"it is in an earlier trail, {found.origin}, which was set aside")
        verdict = ANOTHER_TRAIL if trail.earlier else YES
        where = str(trail.sealed.layout.active)
        return Verdict(verdict, found.seq, where, erased, "; ".join(details), likeness.name)

    def _likest(self, found: Found, line: bytes) -> _Likeness | None:
        """Return the format that makes the record of a line, or comes nearest to it; None when none is of its kind."""
        try:
            record = Record(line, found.origin)
        except NoEntryError:
            return None
        best: tuple[_Likeness, Options] | None = None
        for name in list(self._names):
            for dialect in DIALECTS:
                options = Options(**found.settings, dialect=dialect)
                rendered = _rendered(name, options, record)
                one = None if rendered is None else _compared(found, name, rendered)
                if one is not None and (best is None or one.same > best[0].same):
                    best = one, options
                if one is not None and not one.differs:
                    self._names.remove(name)  # of one file most are of one format
                    self._names.insert(0, name)
                    self._remember(name, options)
                    return one
        return None if best is None else self._cut(found, *best, record) or best[0]

    def _cut(self, found: Found, likest: _Likeness, options: Options, record: Record) -> _Likeness | None:
        """Look whether a record is what a sink makes that cuts to some limit; the limit does not show in it."""
        size = len(found.body)
        if not any(mark in found.body for mark in CUT_MARKS):
            return None
        for limit in dict.fromkeys((*self._limits, *LIMITS, *range(size, size + CUT_SLACK))):
            if size <= limit <= size + MAX_SHORT and found.body == _rendered(
                likest.name, msgspec.structs.replace(options, max_bytes=limit), record
            ):
                self._limits = [limit, *(other for other in self._limits if other != limit)][:8]
                self._remember(likest.name, msgspec.structs.replace(options, max_bytes=limit))
                return _Likeness(likest.name, [], cut=True)
        return None


def _rendered(name: str, options: Options, record: Record) -> bytes | None:
    """Return what a format makes of a line; None when it has no shape for it, or does not do it."""
    format_ = _made(name, options)
    if format_ is None or (format_.holds is not None and record.entry.event_type not in format_.holds):
        return None
    try:
        return format_.render(record)
    except FOREIGN:  # of another package's format: it makes no such record, then
        return None


def _shows_settings(found: Found) -> bool:
    return any(value != getattr(DEFAULTS, key) for key, value in found.settings.items())


@functools.lru_cache(maxsize=256)
def _made(name: str, options: Options) -> Format | None:
    """Return a format; None when what a record shows of its settings is none that the format takes."""
    try:
        return make_format(name, options)
    except (IndelibleError, ValueError):
        return None


def _compared(found: Found, name: str, rendered: bytes) -> _Likeness | None:
    if rendered == found.body:
        return _Likeness(name, [])
    other = read_found(rendered)
    if other is None or other.family != found.family:
        return None
    mine, theirs = found.fields, other.fields
    differs = [".".join(map(str, key)) for key in dict.fromkeys((*theirs, *mine)) if _differ(key, mine, theirs)]
    same = sum(key in theirs and theirs[key] == value for key, value in mine.items())
    if found.family == JSON:
        return _Likeness(name, differs, same, anew=not differs)
    return _Likeness(name, differs or ["its form"], same)


def _differ(key: Keys, mine: Fields, theirs: Fields) -> bool:
    return (key in mine) != (key in theirs) or mine[key] != theirs[key]


def _difference(likeness: _Likeness | None) -> str:
    detail = "it carries the leaf hash of a line of the trail, and says something else than that line"
    if likeness is None:
        return f"{detail}: no format that is known here makes such a record"
    fields = ", ".join(field[:80] for field in likeness.differs[:SHOWN_FIELDS])
    more = len(likeness.differs) - SHOWN_FIELDS
    return f"{detail}: at {fields}{f' and {more} more' if more > 0 else ''} (compared with {likeness.name})"
