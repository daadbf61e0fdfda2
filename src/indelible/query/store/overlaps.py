"""What several objects hold of the same events: batches that were stored twice, and objects that nothing speaks for.

The rules that live here:

- A shipper that is killed sends again what it may have stored, from the same seq and often to another end: the same
  records twice are no fault. Two different lines as one seq, both under signed roots, are two histories.
- It may be killed between an object and its manifest. What it leaves is told from an object whose manifest somebody
  took away by its records: the one it then stored has all of them.
- Nothing is kept longer than a later batch can have the same: batches come by their first seq.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from indelible.query.store.batch import Reading
from indelible.query.store.objects import StoredObject
from indelible.trail import findings as words
from indelible.trail.findings import Finding
from indelible.trail.proofs.manifest import PROVEN_FORMAT, Manifest

MAX_KEPT: Final = 2_000_000
"""Records of objects without manifests that wait for a batch with the same ones: some 200 MB."""


class _Counted(NamedTuple):
    """The records of a batch that counts, which others may have, too."""

    last_seq: int
    lines: dict[int, bytes]
    """Leaf hashes by seq; of other formats than lines none."""
    digests: frozenset[bytes]


class _Loose(NamedTuple):
    """An object without a manifest: the digests of its records that no batch was found to have."""

    stored: StoredObject
    digests: set[bytes]
    is_whole: bool
    """Whether it could be read to its end."""


class Overlaps:
    """Of one trail; told of batches and objects in the order in which they come."""

    def __init__(self, find: Callable[[Finding], None]) -> None:
        self._find = find
        self._counted: list[_Counted] = []
        self._loose: list[_Loose] = []
        self.leftovers = 0
        """Objects without a manifest whose records other batches have."""

    @property
    def is_waiting(self) -> bool:
        """Whether the next batch's records are to be compared with something."""
        return bool(self._counted or self._loose)

    def counted(self, where: str, manifest: Manifest, reading: Reading) -> None:
        """Take a batch that counts, and whose records were kept."""
        lines = (
            dict(zip(reading.seqs, reading.digests, strict=True)) if manifest.format == PROVEN_FORMAT else {}
        )
        for finding in self._contradictions(where, lines):
            self._find(finding)
        one = _Counted(manifest.last_seq, lines, frozenset(reading.digests))
        for loose in self._loose:
            loose.digests.difference_update(one.digests)
        self._counted.append(one)

    def _contradictions(self, where: str, lines: dict[int, bytes]) -> Iterator[Finding]:
        for before in self._counted:
            for seq in sorted(lines.keys() & before.lines.keys()):
                if lines[seq] != before.lines[seq]:
                    detail = "another batch has another line as this seq, both signed: one trail, two histories"
                    expected, found = f"leaf {before.lines[seq].hex()}", f"leaf {lines[seq].hex()}"
                    yield Finding(words.FORKED, where, None, seq, expected, found, detail)

    def loose(self, stored: StoredObject, reading: Reading) -> None:
        """Take an object that has no manifest, and was read."""
        left = set(reading.digests).difference(*(one.digests for one in self._counted))
        is_whole = stored.trouble is None and len(reading.digests) == reading.records
        self._loose.append(_Loose(stored, left, is_whole))
        if sum(len(one.digests) for one in self._loose) > MAX_KEPT:
            self._settle(None)

    def forget(self, next_first: int | None) -> None:
        """Let go of what no later batch can have: the next one's first seq is `next_first`, None when there is none."""
        self._counted = [one for one in self._counted if next_first is not None and one.last_seq >= next_first]
        self._settle(next_first)

    def _settle(self, next_first: int | None) -> None:
        waiting = []
        for one in self._loose:
            if one.is_whole and not one.digests:
                self.leftovers += 1
            elif next_first is not None and one.stored.key.last_seq >= next_first:
                waiting.append(one)
            else:
                self._find(_unclaimed(one))
        self._loose = waiting


def _unclaimed(one: _Loose) -> Finding:
    count = len(one.digests)
    detail = (
        f"{count} of its records are in no batch" if one.is_whole else "it cannot be told whose records it has"
    )
    detail += (
        ": a shipper is between object and manifest at this moment, was killed there and did not come back, or somebody"
        " took the manifest away"
    )
    return Finding(words.MANIFEST_MISSING, one.stored.where, seq=one.stored.key.first_seq, detail=detail)
