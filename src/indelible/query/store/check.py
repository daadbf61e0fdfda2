"""All batches of an object store, with nothing else at hand: what is as it was sealed, and what is not checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from indelible.query.store.batch import Each, Judged
from indelible.query.store.chain import ChainCheck
from indelible.query.store.keys import TrailKeys
from indelible.query.store.objects import Chain
from indelible.trail import findings as words
from indelible.trail.findings import Finding, VerifyResult
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.manifest import PROVEN_FORMAT, Manifest
from indelible.trail.proofs.rotation import Rotation

AS_SEALED: Final = "as sealed"
AS_STORED: Final = "as stored"
"""Records in another format, of an object that is the one that its manifest speaks of."""


class BatchCheck:
    """Takes one trail's batches after the other; `finish` says what came of all."""

    def __init__(
        self,
        name: str,
        keys: Sequence[Verifier] = (),
        rotations: Sequence[Rotation] = (),
        *,
        complete: bool = False,
        whole: bool = True,
    ) -> None:
        """`keys` are pinned, each for the trail of its name; `rotations` are those that are known without the store.

        With `whole`, all batches that were ever sent should be there; with `complete`, all seqs from the first on.
        """
        self.result = VerifyResult(name)
        self.whole = whole
        self.records = 0
        self.repeated = 0
        self.counts: Counter[str] = Counter()
        self.chains: list[ChainCheck] = []
        self._complete = complete
        self._keys = {key.name: key for key in keys}
        self._rotations = rotations
        self._unknown: set[str] = set()
        self._unproven: Counter[str] = Counter()

    def chain(self, chain: Chain, each: Each) -> None:
        """Check one trail's batches; every block that is read is handed to `each`. Raises SourceError."""
        checked = ChainCheck(self, chain)
        self.chains.append(checked)
        checked.run(each)
        for first, last in checked.seen.gaps() if self._complete else ():
            expected = f"seq {first} to {last}" if last > first else f"seq {first}"
            detail = f"of {checked.origin}: in no batch"
            self.find(Finding(words.RECORDS_MISSING, self.result.trail, None, first, expected, None, detail))

    # --- what a chain tells (see `chain.Findings`) --------------------------------------------------------------------

    def find(self, finding: Finding) -> None:
        """Keep a finding."""
        self.counts[finding.problem] += 1
        self.result.add(finding)

    def keys_of(self, origin: str) -> TrailKeys | None:
        """Return a trail's keys by the pinned one; of one that none is pinned for, when others are, say so once."""
        key = self._keys.get(origin)
        if key is not None:
            return TrailKeys(key, self._rotations)
        if self._keys and origin not in self._unknown:
            self._unknown.add(origin)
            detail = "no --vkey is this trail's: its batches are judged by the key that they name themselves"
            expected, found = f"a key of {origin}", ", ".join(self._keys)
            self.find(Finding(words.KEY_MISMATCH, self.result.trail, None, None, expected, found, detail))
        return None

    def read(self, records: int) -> None:
        """Count an object."""
        self.records += records
        self.result.files += 1

    def took(self, manifest: Manifest, judged: Judged, repeated: int) -> None:
        """Count a batch's records."""
        if judged.shown is not None:
            self.counts[AS_SEALED] += judged.shown.leaves
            self.repeated += repeated
            self.result.erased += len(judged.reading.erased)
        elif judged.as_stored and manifest.format != PROVEN_FORMAT:
            self.counts[AS_STORED] += judged.reading.records
            self._unproven[manifest.format] += judged.reading.records

    # --- what is said -------------------------------------------------------------------------------------------------

    def finish(self, others: int = 0) -> VerifyResult:
        """Return the result; `others` objects were passed over, since they are no batches."""
        result = self.result
        if not self.records and result.ok:
            self.find(Finding(words.RECORD_UNREADABLE, result.trail, detail="there is no batch in it"))
        result.events = sum(len(chain.seen) for chain in self.chains)
        shown = [chain.newest for chain in self.chains if chain.newest is not None]
        if len(shown) == 1:
            result.size, result.root, result.origin = shown[0].size, shown[0].root, shown[0].origin
        result.not_checked += [*self._about_formats(), *self._about_chains(), *self._about_objects(others)]
        return result

    def _about_formats(self) -> list[str]:
        return [
            f"the content of {count} records in '{name}': their objects are those that the manifests speak of, and who "
            "may write there can exchange both; --trail compares them with the trail's lines, where it is at hand"
            for name, count in sorted(self._unproven.items())
        ]

    def _about_chains(self) -> list[str]:
        told = [
            f"what was before {chain.begin}: batches up to seq {chain.after} went before it"
            for chain in self.chains
            if chain.after is not None and not self.whole
        ]
        missing = sum(chain.missing for chain in self.chains)
        if missing and not self._complete:
            told.append(
                f"whether the {missing} seqs that are missing between the first and the last should be there: a filter "
                "may have left them out, or they are in records of another format; --complete asks for all"
            )
        apart = sum(chain.apart for chain in self.chains)
        if apart:
            told.append(
                f"whether the checkpoints of {apart} batches are of one history with the ones before: seqs between "
                "them are not here, so that only a part can be compared; the trail itself can tell"
            )
        return told

    def _about_objects(self, others: int) -> list[str]:
        told = []
        leftovers = sum(chain.leftovers for chain in self.chains)
        if leftovers:
            told.append(
                f"{leftovers} objects without a manifest: their records are in batches that count, as when a shipper "
                "was killed"
            )
        if self.result.erased:
            told.append(f"the content of {self.result.erased} erased lines: their leaf hashes were used")
        if others:
            told.append(f"{others} objects that are no batches")
        return told
