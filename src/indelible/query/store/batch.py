"""One sealed batch of an object store, judged by itself: its object's digest, its lines, and where their proof leads.

The rules that live here:

- Of an object nothing is believed for what stands in its manifest, nor the other way round: both may have been made to
  fit. Only what leads to a root that the right key has signed counts as sealed.
- An object is read once, to its end, however soon something is wrong with it.
- Of a batch whose lines are wrong the first is named; a line that only says something else cannot be told from the
  others without the trail: the root is what differs.
"""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from indelible.errors import NoteError
from indelible.events import MAX_LINE_BYTES
from indelible.query.sources.base import Block
from indelible.query.sources.unpacking import Damaged
from indelible.query.store.objects import Gone, StoredObject
from indelible.trail import findings as words
from indelible.trail.entry import line_seq
from indelible.trail.findings import Finding
from indelible.trail.proofs.checkpoint import Checkpoint
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.manifest import MAX_LINES, PROVEN_FORMAT, Manifest
from indelible.trail.proofs.subset import Leaf, Shown, show_subset

Each = Callable[[Block], None]
"""Is told of every block that is read."""

WHICH: Final = "; which of its lines it is, --trail tells, where the trail is at hand"


class Reading:
    """The records of an object, in its order; `problem` is the first thing that is wrong with them."""

    def __init__(self, stored: StoredObject, manifest: Manifest | None, each: Each, *, keep: bool) -> None:
        """With `keep`, the digests of its records are kept: another object may have them, too."""
        self._stored = stored
        self._manifest = manifest
        self._each = each
        self._keep = keep
        self._last = -1 if manifest is None else manifest.first_seq - 1
        self.records = 0
        self.erased = array("q")
        """Seqs of lines whose content was erased before they were stored."""
        self.seqs = array("q")
        """Of the lines that stand in their place."""
        self.digests: list[bytes] = []
        """Of these lines their leaf hashes; of records in other formats their SHA-256."""
        self.problem: Finding | None = None

    def leaves(self) -> Iterator[Leaf]:
        """Yield seq and leaf hash of each line, until one of them is out of its place. Raises SourceError."""
        for block in self._blocks():
            for index, record in enumerate(block.records):
                self.records += 1
                if self.problem is None:
                    leaf = self._leaf(block, index, record)
                    if leaf is not None:
                        yield leaf

    def drain(self) -> None:
        """Read records that need not be lines. Raises SourceError."""
        for block in self._blocks():
            self.records += len(block.records)
            if self._keep and self.records <= MAX_LINES:
                self.digests += [
                    sha256(record).digest() if line_seq(record) is None else leaf_of(record)[0]
                    for record in block.records
                ]

    def _blocks(self) -> Iterator[Block]:
        for block in self._stored.blocks("" if self._manifest is None else self._manifest.origin):
            self._each(block)
            yield block

    def _leaf(self, block: Block, index: int, record: bytes) -> Leaf | None:
        seq, number = line_seq(record), block.numbers[index]
        if seq is None or len(record) > MAX_LINE_BYTES or self.records > MAX_LINES:
            self._find(words.LINE_MALFORMED, number, None, "a line of a trail", "something else")
        elif block.torn and index == len(block.records) - 1:
            self._find(words.LINE_UNENDED, number, seq, "a line feed at its end")
        elif seq <= self._last:
            problem = words.LINE_DUPLICATED if seq == self._last else words.LINE_MOVED
            self._find(problem, number, seq, f"a seq after {self._last}")
        elif self._manifest is not None and seq > self._manifest.last_seq:
            self._find(words.LINE_INSERTED, number, seq, f"a seq up to {self._manifest.last_seq}")
        elif self._manifest is not None and self._manifest.complete and seq != self._last + 1:
            self._find(words.LINE_MISSING, number, self._last + 1, f"seq {self._last + 1}", f"seq {seq}")
        else:
            leaf, erased = leaf_of(record)
            if erased:
                self.erased.append(seq)
            self._last = seq
            self.seqs.append(seq)
            if self._keep:
                self.digests.append(leaf)
            return seq, leaf
        return None

    def _find(
        self, problem: str, number: int, seq: int | None, expected: str, found: str | None = None
    ) -> None:
        self.problem = Finding(problem, self._stored.where, number, seq, expected, found)

    def end(self) -> Finding | None:
        """Return the first thing that is wrong with the lines, now that all were read; None when nothing is."""
        manifest, last = self._manifest, self.seqs[-1] if self.seqs else None
        if self.problem is not None or manifest is None:
            return self.problem
        if (len(self.seqs), last) == (manifest.lines, manifest.last_seq):
            return None
        expected = f"{manifest.lines} lines up to seq {manifest.last_seq}"
        found = f"{len(self.seqs)} lines" + ("" if last is None else f" up to seq {last}")
        return Finding(words.LINE_MISSING, self._stored.where, None, None, expected, found)


class Judged:
    """What a batch came to."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.findings: list[Finding] = []
        self.shown: Shown | None = None
        """What its lines lead to: only when they are those that were sealed."""
        self.as_stored = False
        """The object is, to the byte, the one that the manifest speaks of."""


def judge(stored: StoredObject, manifest: Manifest, checkpoint: Checkpoint | None, reading: Reading) -> Judged:
    """Read an object and hold it against its manifest; `checkpoint` is None when nobody is known to have signed one.

    Raises SourceError.
    """
    judged = Judged(reading)
    if manifest.format == PROVEN_FORMAT:
        shown, why = _walk(manifest, checkpoint, reading)
    else:
        reading.drain()
        shown, why = None, ""
    altered = _altered(stored, manifest)
    if stored.trouble is not None:
        judged.findings.append(_unread(stored, altered))
        return judged
    judged.as_stored = altered is None
    if manifest.format == PROVEN_FORMAT:
        wrong = reading.end()
        if checkpoint is not None and shown is not None and shown.root == checkpoint.root and wrong is None:
            judged.shown = shown
        elif checkpoint is not None and wrong is None:
            wrong = _elsewhere(stored, manifest, checkpoint, shown, why, altered)
        judged.findings.extend([] if wrong is None else [wrong])
        if altered is not None and judged.shown is not None:
            altered.detail = "its lines are as they were sealed: somebody has packed it anew"
    if altered is not None:
        judged.findings.insert(0, altered)
    return judged


def _walk(manifest: Manifest, checkpoint: Checkpoint | None, reading: Reading) -> tuple[Shown | None, str]:
    """Follow the proof while the lines come; return what it shows, or why it shows nothing."""
    leaves, shown, why = reading.leaves(), None, ""
    if checkpoint is not None and manifest.proof is not None:
        try:
            shown = show_subset(checkpoint.size, leaves, manifest.proof)
        except NoteError as exc:
            why = str(exc)
    for _ in leaves:  # to the object's end, whose digest is that of all of it
        pass
    return shown, why


def _unread(stored: StoredObject, altered: Finding | None) -> Finding:
    """Say of an object that was not read to its end what there is to say."""
    trouble = stored.trouble
    if altered is not None and isinstance(trouble, Damaged):  # all its bytes are known
        altered.detail = str(trouble)
        return altered
    problem = words.OBJECT_MISSING if isinstance(trouble, Gone) else words.FILE_UNREADABLE
    return Finding(problem, stored.where, detail=str(trouble))


def _altered(stored: StoredObject, manifest: Manifest) -> Finding | None:
    if (stored.size, stored.sha256) == (manifest.size, manifest.sha256):
        return None
    expected = f"sha256 {manifest.sha256} of {manifest.size} bytes"
    found = f"sha256 {stored.sha256} of {stored.size} bytes"
    return Finding(words.OBJECT_ALTERED, stored.where, None, None, expected, found)


def _elsewhere(
    stored: StoredObject,
    manifest: Manifest,
    checkpoint: Checkpoint,
    shown: Shown | None,
    why: str,
    altered: Finding | None,
) -> Finding | None:
    """Say that lines in good order do not lead to the signed root; an object that was altered has said it already."""
    seq, expected = manifest.first_seq, f"root {b64encode(checkpoint.root).decode()}"
    if manifest.proof is None:
        detail = "its manifest has no proof: nothing shows that its lines are those that were sealed"
        return Finding(words.ROOT_MISMATCH, stored.where, None, seq, expected, "no proof", detail)
    if altered is not None:
        altered.detail = "its lines are not those that were sealed" + WHICH
        return None
    found = f"root {b64encode(shown.root).decode()}" if shown is not None else why
    detail = "object and manifest agree with each other, and not with what was sealed" + WHICH
    return Finding(words.ROOT_MISMATCH, stored.where, None, seq, expected, found, detail)
