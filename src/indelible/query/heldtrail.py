"""A trail that records are held against: what it has sealed, what was met of it, and whose key it is judged by.

The rule that lives here: a leaf hash is handed out only from a tile that leads to the signed root.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from indelible.errors import NotProven, TrailError
from indelible.query.seqs import SeqSet
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.elsewhere import Candidate
from indelible.trail.proofs.merkle import HASH_SIZE
from indelible.trail.proofs.stored import open_sealed
from indelible.trail.reader import origin_of, read_small

CACHED_TILES: Final = 4_096
"""32 MB: the lowest tiles of a million events, which may come in any order."""


class HeldTrail:
    """A trail, and what was met of it."""

    def __init__(self, path: Path, key: Verifier | None, *, earlier: bool) -> None:
        """Raises TrailError, NotProven."""
        self._key = key
        self._earlier = earlier
        self.path = path
        self.seen = SeqSet()
        self.candidate = Candidate(open_sealed(path, key), earlier)
        self._adopt()

    def _adopt(self) -> None:
        sealed = self.candidate.sealed
        sealed.tiles.cached = CACHED_TILES
        self.active = sealed.layout.active
        self.origin, self.size = sealed.checkpoint.origin, sealed.checkpoint.size
        self._rows: dict[int, bytes] = {}

    def look_again(self) -> bool:
        """Take over a checkpoint that was signed since; tell whether there is one that can be read."""
        try:
            if read_small(self.candidate.sealed.layout.checkpoint) == self.candidate.sealed.note:
                return False
            sealed = open_sealed(self.path, self._key)
        except (OSError, TrailError):
            return False
        if sealed.checkpoint.origin != self.origin or sealed.checkpoint.size <= self.size:
            return False
        self.candidate = Candidate(sealed, self._earlier)
        self._adopt()
        return True

    def leaf(self, seq: int) -> bytes:
        """Return the leaf hash that the signed root vouches for; empty when the tiles do not show it."""
        row = self._rows.get(seq >> 8)
        if row is None:
            tiles = self.candidate.sealed.tiles
            row = (tiles.row(0, seq >> 8) or b"") if tiles.trusted(0, seq >> 8) else b""
            if len(self._rows) >= CACHED_TILES:
                self._rows.clear()
            self._rows[seq >> 8] = row
        start = (seq & 0xFF) * HASH_SIZE
        return row[start : start + HASH_SIZE]


def key_of(path: Path, keys: Sequence[Verifier], *, alone: bool) -> Verifier | None:
    """Return the key that a trail must be signed by: that of its name. Raises NotProven when there is none for it."""
    if not keys:
        return None
    origin = origin_of(Layout(path))
    found = next((key for key in keys if key.name == origin), None)
    if found is None and not (alone and len(keys) == 1):
        raise NotProven(f"{path}: no --vkey is this trail's, which calls itself {origin!r}")
    return found or keys[0]
