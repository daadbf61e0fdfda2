"""The batches of one trail under one prefix, against each other and the trail's key.

The rules that live here:

- Batches are a chain: each says after which seq it speaks, so that a missing one shows where a filter leaves seqs out.
- Two checkpoints are of one history when all that was before the later batch is, by its proof, what the earlier one's
  lines and proof made of it.
- The chain goes on after what is wrong, so that one fault is one finding.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Any, Final, Protocol

from indelible.errors import NoteError
from indelible.query.seqs import SeqSet
from indelible.query.store.batch import Each, Judged, Reading, judge
from indelible.query.store.keys import TrailKeys, claimed_key
from indelible.query.store.objects import Chain, Gone, StoredBatch, StoredObject, Unreadable
from indelible.query.store.overlaps import Overlaps
from indelible.trail import findings as words
from indelible.trail.findings import Finding
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier
from indelible.trail.proofs.manifest import PROVEN_FORMAT, Manifest, decode, hour_directory, trail_digits
from indelible.trail.proofs.subset import Peak, Shown, common

MAX_RANGES: Final = 1_000
"""So many ranges of what is missing are told of each trail."""
NEIGHBOURS: Final = 4
"""With so many seqs, of the last batches, one is compared that begins at none that is known."""
MAX_EDGES: Final = 4_096
"""So many seqs are remembered at which batches began or ended: 3 kB each in a trail of a billion lines."""
MAX_ROOTS: Final = 4_096
"""So many checkpoints are remembered by their size: those of batches that lie near each other are near in size."""


class Findings(Protocol):
    """Who takes what was found."""

    whole: bool
    """Whether all batches that were ever sent should be there."""

    def find(self, finding: Finding) -> None:
        """Take a finding."""

    def keys_of(self, origin: str) -> TrailKeys | None:
        """Return the keys of a trail, when one of them is known without the store."""

    def took(self, manifest: Manifest, judged: Judged, repeated: int) -> None:
        """Count a batch's records; `repeated` are the lines that were met before."""

    def read(self, records: int) -> None:
        """Count an object, and its records."""


class ChainCheck:
    """Checks them, in their order."""

    def __init__(self, check: Findings, chain: Chain) -> None:
        self._check = check
        self._chain = chain
        self._keys: TrailKeys | None = None
        self._reach: int | None = None
        """The highest seq that a batch has spoken of."""
        self._edges: OrderedDict[int, tuple[Peak, ...]] = OrderedDict()
        """What was shown to lie before some seqs: those at which batches began and ended."""
        self._linked: OrderedDict[int, None] = OrderedDict()
        """Sizes of checkpoints that were compared with these."""
        self._roots: OrderedDict[int, bytes] = OrderedDict()
        self._overlaps = Overlaps(check.find)
        self.origin: str | None = None
        self.seen = SeqSet()
        """Of the lines that are as they were sealed."""
        self._erased = SeqSet()
        """Of these, those that hold no content."""
        self.newest: Checkpoint | None = None
        self.batches = 0
        self.apart = 0
        """Batches whose checkpoints could not be shown in full to be of one history with the ones before."""
        self.begin = ""
        self.after: int | None = None
        """Where the first batch stands, and after which seq it speaks."""
        self._unproven = 0
        self._first_unproven: Finding | None = None
        """How many batches are in a format that proves nothing, and what is to be said of the first."""

    def run(self, each: Each) -> None:
        """Check all of them; every block that is read is handed to `each`. Raises SourceError."""
        self._begin(self._chain.newest_manifest())
        for batch in self._chain.batches():
            self._take(batch, each)
            self._overlaps.forget(batch.next_first)
        self._check_formats()

    @property
    def missing(self) -> int:
        """How many seqs are missing between the first and the last line."""
        return sum(last - first + 1 for first, last in self.seen.gaps())

    def whole_lines(self, first: int, last: int) -> int:
        """Return how many lines from one seq to another are here with their content."""
        low, high = (
            max(first, self.seen.first or 0),
            min(last, -1 if self.seen.last is None else self.seen.last),
        )
        return sum(seq in self.seen and seq not in self._erased for seq in range(low, high + 1))

    @property
    def leftovers(self) -> int:
        """Objects without a manifest whose records other batches have."""
        return self._overlaps.leftovers

    def as_dict(self) -> dict[str, Any]:
        """Return what was met, for people and programs."""
        return {
            "origin": self.origin,
            "prefix": self._chain.prefix,
            "vkey": None if self._keys is None else self._keys.pinned.vkey(),
            "size": None if self.newest is None else self.newest.size,
            "batches": self.batches,
            "records": len(self.seen),
            "first": self.seen.first,
            "last": self.seen.last,
            "missing": self.missing,
            "missing_ranges": [list(one) for one in islice(self.seen.gaps(), MAX_RANGES)],
        }

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _take(self, batch: StoredBatch, each: Each) -> None:
        manifest, is_there = self._manifest(batch)
        counted: StoredObject | None = None
        for stored in batch.objects:
            if manifest is not None and stored.key.name == manifest.name:
                counted = stored
            else:
                self._without_manifest(stored, each, said=is_there and manifest is None)
        if manifest is None:
            return self._goes_on(batch.key.last_seq)
        self.batches += 1
        self._link(batch, manifest)
        checkpoint = self._checkpoint(batch, manifest)
        if counted is None:
            return self._is_missing(batch, manifest)
        shared = batch.next_first is not None and batch.next_first <= manifest.last_seq
        reading = Reading(counted, manifest, each, keep=shared or self._overlaps.is_waiting)
        return self._judged(batch, manifest, checkpoint, judge(counted, manifest, checkpoint, reading))

    def _judged(
        self, batch: StoredBatch, manifest: Manifest, checkpoint: Checkpoint | None, judged: Judged
    ) -> None:
        reading, repeated = judged.reading, 0
        for finding in judged.findings:
            self._check.find(finding)
        if judged.shown is not None and checkpoint is not None:
            repeated = self._see(reading)
            self._compare(batch, manifest, checkpoint, judged.shown)
        self._check.read(reading.records)
        self._check.took(manifest, judged, repeated)
        if judged.as_stored and manifest.format != PROVEN_FORMAT:
            self._is_stored(batch, manifest)
        if reading.digests and (judged.shown is not None or manifest.format != PROVEN_FORMAT):
            self._overlaps.counted(batch.where, manifest, reading)

    def _is_stored(self, batch: StoredBatch, manifest: Manifest) -> None:
        """Remember a batch of which only the object's digest is known."""
        self._unproven += 1
        if self._first_unproven is None:
            expected = f"format {PROVEN_FORMAT}, as of other batches of its trail"
            self._first_unproven = Finding(
                words.BATCH_NOT_PROVEN,
                batch.where,
                None,
                manifest.first_seq,
                expected,
                f"format {manifest.format}",
            )

    def _check_formats(self) -> None:
        """Of a trail whose batches prove their lines, one that does not is what somebody makes who altered it."""
        if self._first_unproven is not None and len(self.seen):
            count = "a batch is" if self._unproven == 1 else f"{self._unproven} batches are"
            self._first_unproven.detail = f"{count} in a format of which nothing shows that it was sealed"
            self._check.find(self._first_unproven)

    def _see(self, reading: Reading) -> int:
        """Count lines that are as they were sealed; return how many were met before."""
        repeated, erased = 0, frozenset(reading.erased)
        for seq in reading.seqs:
            if not self.seen.add(seq):
                repeated += 1
            elif seq in erased:
                self._erased.add(seq)
        return repeated

    def _without_manifest(self, stored: StoredObject, each: Each, *, said: bool) -> None:
        """Read an object of which nothing is said; `said` when that has been told of its manifest already."""
        reading = Reading(stored, None, each, keep=not said)
        reading.drain()
        self._check.read(reading.records)
        if not said:
            self._overlaps.loose(stored, reading)

    def _is_missing(self, batch: StoredBatch, manifest: Manifest) -> None:
        where = f"{batch.where.rpartition('/')[0]}/{manifest.name}"
        expected = f"sha256 {manifest.sha256} of {manifest.size} bytes"
        detail = "its manifest is there: it was deleted, or another object stands under its name"
        self._check.find(Finding(words.OBJECT_MISSING, where, None, manifest.first_seq, expected, None, detail))

    def _manifest(self, batch: StoredBatch) -> tuple[Manifest | None, bool]:
        """Return the manifest, when there is one that is this batch's; and whether there is any."""
        try:
            manifest = decode(batch.manifest())
        except Gone:
            return None, False
        except (Unreadable, NoteError) as exc:
            problem = words.MANIFEST_INVALID if isinstance(exc, NoteError) else words.FILE_UNREADABLE
            self._check.find(Finding(problem, batch.where, seq=batch.key.first_seq, detail=str(exc)))
            return None, True
        key = batch.key
        hour = hour_directory(manifest.first_time) if manifest.first_time else key.hour
        expected = f"seq {key.first_seq} to {key.last_seq} of trail {key.trail} in {key.hour}, {key.stem}"
        found = f"seq {manifest.first_seq} to {manifest.last_seq} of trail {trail_digits(manifest.origin)} in {hour}"
        found += f", {manifest.name.partition('.')[0]}"
        if found == expected:
            return manifest, True
        detail = "it was exchanged, or copied here"
        self._check.find(
            Finding(words.MANIFEST_MOVED, batch.where, None, key.first_seq, expected, found, detail)
        )
        return None, True

    # --- keys and checkpoints -----------------------------------------------------------------------------------------

    def _begin(self, newest: bytes | None) -> None:
        """Take the trail's key from the newest manifest, when that is one; else the first that comes has it."""
        try:
            manifest = decode(newest or b"")
        except NoteError:
            return
        if trail_digits(manifest.origin) == self._chain.trail:
            self._take_key(manifest)

    def _take_key(self, manifest: Manifest) -> None:
        self._keys = self._check.keys_of(manifest.origin)
        if self._keys is None:
            claimed = claimed_key(manifest)
            self._keys = None if claimed is None else TrailKeys(claimed)
        if self._keys is not None:
            self.origin = manifest.origin
            self._keys.learn(manifest)

    def _checkpoint(self, batch: StoredBatch, manifest: Manifest) -> Checkpoint | None:
        """Return the checkpoint, when the right key has signed it, and it is of no other history than those before."""
        where, seq = batch.where, manifest.first_seq
        if manifest.checkpoint is None:
            detail = "nothing shows that its lines were sealed"
            self._check.find(Finding(words.CHECKPOINT_MISSING, where, seq=seq, detail=detail))
            return None
        if self._keys is None:
            self._take_key(manifest)
        if self._keys is None:
            detail = "it names no key of its trail, and none is given"
            self._check.find(Finding(words.KEY_MISMATCH, where, seq=seq, found=manifest.vkey, detail=detail))
            return None
        self._keys.learn(manifest)
        try:
            checkpoint = self._keys.open(manifest.checkpoint.encode())
        except NoteError as exc:
            self._check.find(Finding(words.CHECKPOINT_INVALID, where, seq=seq, detail=str(exc)))
            return None
        if checkpoint.size <= manifest.last_seq:
            expected, found = f"more than {manifest.last_seq} events", f"{checkpoint.size} events"
            detail = "its checkpoint does not cover its lines"
            self._check.find(Finding(words.LINE_NOT_COVERED, where, None, seq, expected, found, detail))
            return None
        self._check_claim(batch, manifest, self._keys.of_size(checkpoint.size))
        return checkpoint if self._is_the_only_root(batch, checkpoint) else None

    def _check_claim(self, batch: StoredBatch, manifest: Manifest, keys: list[Verifier]) -> None:
        """Say so when a manifest names another key than those that count: it misleads who believes it."""
        if claimed_key(manifest) not in keys:
            expected = " or ".join(key.vkey() for key in keys)
            detail = "it names a key that is not its trail's"
            self._check.find(
                Finding(
                    words.KEY_MISMATCH, batch.where, None, manifest.first_seq, expected, manifest.vkey, detail
                )
            )

    def _is_the_only_root(self, batch: StoredBatch, checkpoint: Checkpoint) -> bool:
        known = self._roots.setdefault(checkpoint.size, checkpoint.root)
        if len(self._roots) > MAX_ROOTS:
            self._roots.popitem(last=False)
        if known != checkpoint.root:
            expected, found = f"root {known.hex()}", f"root {checkpoint.root.hex()}"
            detail = f"two signed checkpoints over {checkpoint.size} events differ: one trail, two histories"
            self._check.find(
                Finding(words.FORKED, batch.where, None, batch.key.first_seq, expected, found, detail)
            )
            return False
        if self.newest is None or checkpoint.size > self.newest.size:
            self.newest = checkpoint
        return True

    # --- the chain ----------------------------------------------------------------------------------------------------

    def _link(self, batch: StoredBatch, manifest: Manifest) -> None:
        """Say what is missing before a batch, by what it says of itself."""
        after, reach = manifest.after, self._reach
        if reach is None:
            self.begin, self.after = batch.where, after
        if (
            after is not None
            and after > (-1 if reach is None else reach)
            and (reach is not None or self._check.whole)
        ):
            first = 0 if reach is None else reach + 1
            expected = f"batches with seq {first} to {after}, or some of these, before this one"
            detail = "it was stored after them: they were deleted, or never arrived"
            self._check.find(Finding(words.BATCH_MISSING, batch.where, None, first, expected, None, detail))
        self._goes_on(manifest.last_seq)

    def _goes_on(self, last: int) -> None:
        self._reach = last if self._reach is None else max(self._reach, last)

    def _compare(self, batch: StoredBatch, manifest: Manifest, checkpoint: Checkpoint, shown: Shown) -> None:
        """Hold what lies before this batch against what the ones before it have shown of the same lines.

        One that begins where another began or ended is compared as a whole; else what both know for certain is.
        """
        first = manifest.first_seq
        known = [self._edges[first]] if first in self._edges else [*self._edges.values()][-NEIGHBOURS:]
        if not all(common(peaks, shown.before).alike for peaks in known):
            detail = (
                "what its signed checkpoint has before its lines is not what the batch before was shown to be: "
                "one trail, two histories"
            )
            self._check.find(Finding(words.FORKED, batch.where, seq=first, detail=detail))
        self.apart += bool(known) and first not in self._edges and checkpoint.size not in self._linked
        self._linked[checkpoint.size] = None
        self._edges[first], self._edges[manifest.last_seq + 1] = shown.before, shown.through
        for kept in (self._edges, self._linked):
            while len(kept) > MAX_EDGES:
                kept.popitem(last=False)
