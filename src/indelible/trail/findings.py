"""What verification says: findings, where each stands, and what was not looked at. Pure.

A finding's `problem` is one of the words below, for programs; `detail` is the sentence for people. All that is
found is counted, and the first `MAX_FINDINGS` are kept, so that a trail that is wrong everywhere is reported
without holding it in memory.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final

MAX_FINDINGS: Final = 1_000
"""So many findings are kept; the rest is counted."""

LINE_ALTERED: Final = "line altered"
LINE_MISSING: Final = "line missing"
LINE_INSERTED: Final = "line inserted"
LINE_DUPLICATED: Final = "line duplicated"
LINE_MOVED: Final = "line out of order"
LINE_MALFORMED: Final = "line malformed"
LINE_UNENDED: Final = "line without its line feed"
LINE_OR_TILE: Final = "line or tile altered"
TAIL_CUT: Final = "tail cut off"
FILE_MISSING: Final = "file missing"
FILE_FOREIGN: Final = "foreign file"
FILE_UNREADABLE: Final = "file unreadable"
FILE_START: Final = "wrong start of file"
TILE_ALTERED: Final = "tile altered"
TILE_MISSING: Final = "tile missing"
CHECKPOINT_MISSING: Final = "checkpoint missing"
CHECKPOINT_INVALID: Final = "checkpoint invalid"
KEY_MISMATCH: Final = "key mismatch"
ORIGIN_MISMATCH: Final = "origin mismatch"
ROOT_MISMATCH: Final = "root mismatch"
LINK_ALTERED: Final = "link altered"
PREVIOUS_MISMATCH: Final = "previous trail mismatch"
ERASED_UNRECORDED: Final = "erased without record"
ERASED_BACK: Final = "erased line is back"
NOT_SIGNED: Final = "record not signed by the trail"

ROLLED_BACK: Final = "rolled back"
FORKED: Final = "forked"
NOT_WITNESSED: Final = "not witnessed"
PROOF_INVALID: Final = "proof invalid"
LINE_UNKNOWN: Final = "line not in the trail"
LINE_NOT_COVERED: Final = "line not covered yet"
LINE_FOREIGN: Final = "line of another trail"
RECORD_DIFFERS: Final = "record differs from its line"
RECORD_NOT_COMPARED: Final = "record not compared"
RECORD_UNREADABLE: Final = "not a record"
RECORDS_MISSING: Final = "records missing"

OBJECT_ALTERED: Final = "object altered"
OBJECT_MISSING: Final = "object missing"
MANIFEST_MISSING: Final = "no manifest"
MANIFEST_INVALID: Final = "manifest invalid"
MANIFEST_MOVED: Final = "manifest of another batch"
BATCH_MISSING: Final = "batch missing"
BATCH_NOT_PROVEN: Final = "batch not proven"

MAY_BE_LATE: Final = frozenset({FILE_MISSING, LINE_MISSING, TAIL_CUT, TILE_MISSING, ERASED_UNRECORDED})
"""What a writer that deletes files or erases lines, or the switch to a new trail, may cause in an earlier look."""


@dataclass
class Finding:
    """One thing that is not as it should be. `line` counts from 1; what does not apply is None."""

    problem: str
    file: str | None = None
    line: int | None = None
    seq: int | None = None
    expected: str | None = None
    found: str | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as `verify --json` prints it."""
        return dict(vars(self))

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where += f", line {self.line}"
        if self.seq is not None:
            where += f", seq {self.seq}"
        parts = [f"{where}: {self.problem}" if where else self.problem]
        if self.detail:
            parts.append(self.detail)
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        return "; ".join(parts)


@dataclass
class Previous:
    """An earlier trail that was set aside, as the first line of its successor names it."""

    origin: str
    size: int
    """How many events its last checkpoint covered."""
    root: str
    """Their root, in hex."""
    end: int
    """The seq after the last event that was left; `size` when all that was sealed is there."""
    why: str = "end missing"
    """Or ``copied``, ``restored``, ``replaced``, ``key lost``."""
    trail: str | None = None
    """Where it was found and checked; None when it was not there, or cannot be read."""
    ok: bool | None = None
    """What was left of it is as it was sealed; None when nobody could look."""


@dataclass
class AcceptedKey:
    """A key that counted though another was pinned: a chain of rotations leads to it."""

    vkey: str
    size: int
    """It signs checkpoints over so many events or more."""
    signed: bool
    """The checkpoint that was verified bears its signature."""


@dataclass
class KeptCheckpoint:
    """The checkpoints of one trail in a file that was kept elsewhere, and what came of comparing it with them."""

    file: str
    origin: str
    count: int
    """How many there are that the right key has signed."""
    size: int
    """How many events the newest of them covers."""
    root: str
    """Its root, in hex."""
    ok: bool = True
    """The trail, or the earlier one of that origin, still holds and extends what each of them covers."""


@dataclass
class Witnessed:
    """The newest checkpoint of a trail that a witness has cosigned, of those that were at hand."""

    witness: str
    """Its vkey."""
    size: int
    time: str
    """When it cosigned it, by its own clock: RFC 3339, UTC."""
    file: str


@dataclass
class VerifyResult:
    """What verification of one trail came to."""

    trail: str
    events: int = 0
    """Lines that are exactly what the signed checkpoint covers, erased ones among them."""
    files: int = 0
    """Files of lines that were read."""
    size: int | None = None
    """How many events the checkpoint covers; None without a checkpoint that parses."""
    root: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    omitted: int = 0
    """Findings beyond the first `MAX_FINDINGS`."""
    not_checked: list[str] = field(default_factory=list)
    erased: int = 0
    """Lines whose content was erased; their leaf hashes were checked, and that a sealed event names them."""
    to_erase: int = 0
    """Events whose content is on record as erased and still there, while the erasure is under way."""
    pruned: int = 0
    """Events whose files were deleted on record; their leaf hashes, in the tiles, were checked."""
    unsealed: int = 0
    """Whole lines after the checkpoint."""
    origin: str | None = None
    previous: list[Previous] = field(default_factory=list)
    """The trails that this one succeeds, the nearest first."""
    predecessor: Any = None
    """What the first line says of the nearest, as it stands there."""
    keys: list[AcceptedKey] = field(default_factory=list)
    """The keys that the pinned one, or one after it, has named as its successors; itself first. Empty without any."""
    kept: list[KeptCheckpoint] = field(default_factory=list)
    """With what the trail was compared: one for each file and origin."""
    witnesses: list[Witnessed] | None = None
    """Which witnesses cosigned it; None when nobody asked."""
    erasures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What sealed events say was erased of earlier trails: by origin, then by the event, `erased.Ranges`."""
    own_erasures: dict[str, Any] = field(default_factory=dict)
    """What its own sealed events say was erased of it: by the event."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong with what could be checked."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the result as `verify --json` prints it."""
        root = None if self.root is None else base64.b64encode(self.root).decode()
        return {
            "ok": self.ok,
            "events": self.events,
            "files": self.files,
            "checkpoint": None if self.size is None else {"size": self.size, "root": root},
            "findings": [finding.as_dict() for finding in self.findings],
            "not_checked": self.not_checked,
            "findings_omitted": self.omitted,
            "erased": self.erased,
            "pruned": self.pruned,
            "unsealed": self.unsealed,
            "origin": self.origin,
            "trail": self.trail,
            "previous": [dict(vars(previous)) for previous in self.previous],
            **({"keys": [dict(vars(key)) for key in self.keys]} if self.keys else {}),
            **({} if not self.kept else {"kept": [dict(vars(kept)) for kept in self.kept]}),
            **({} if self.witnesses is None else {"witnesses": [dict(vars(one)) for one in self.witnesses]}),
        }

    def add(self, finding: Finding) -> Finding:
        """Keep a finding, or count it."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.omitted += 1
        return finding
