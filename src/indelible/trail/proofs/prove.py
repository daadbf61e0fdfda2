"""Proofs made from stored tiles (RFC 6962, sections 2.1.1 and 2.1.2). Pure.

The rule that lives here: no tile is believed. Each proof is checked as its receiver will check it, against the signed
root, before it is handed out; only that makes the hashes in it right, whatever the tiles hold.
"""

from __future__ import annotations

from indelible.trail import findings as words
from indelible.trail.findings import Finding
from indelible.trail.proofs.merkle import EMPTY_ROOT, HASH_SIZE, full_tile_hash, node_hash, verify_inclusion
from indelible.trail.proofs.tiles import StoredTiles, split_hashes


class TileMissing(LookupError):  # noqa: N818 - a state of the trail, as its finding is called
    """A tile that is needed is not there, or has a wrong length."""

    def __init__(self, level: int, index: int) -> None:
        super().__init__(f"tile {index} of level {level}")
        self.level = level
        self.index = index


def inclusion_proof(tiles: StoredTiles, index: int) -> list[bytes]:
    """Return PATH(index, D[size]): the hashes beside the way from a leaf to the root, lowest first.

    They are as right as the tiles are. Raises TileMissing.
    """
    path = []
    low, high = 0, tiles.size
    while high - low > 1:
        middle = split(low, high)
        if index < middle:
            path.append(range_hash(tiles, middle, high))
            high = middle
        else:
            path.append(range_hash(tiles, low, middle))
            low = middle
    return path[::-1]


def consistency_proof(tiles: StoredTiles, size: int) -> list[bytes]:
    """Return PROOF(size, D[tiles.size]): what shows that the tree extends that of the first `size` leaves.

    They are as right as the tiles are. Raises TileMissing.
    """
    path = []
    low, high = 0, tiles.size
    while 0 < size < high:
        middle = split(low, high)
        if size <= middle:
            path.append(range_hash(tiles, middle, high))
            high = middle
        else:
            path.append(range_hash(tiles, low, middle))
            low = middle
    if low:  # the old tree's own root is known to who asks; that of a part of it is not
        path.append(range_hash(tiles, low, high))
    return path[::-1]


def root_at(tiles: StoredTiles, size: int) -> bytes:
    """Return the root of the first `size` leaves, as the tiles have it. Raises TileMissing."""
    return range_hash(tiles, 0, size) if size else EMPTY_ROOT


def split(low: int, high: int) -> int:
    """Return where RFC 6962 splits a range: after the largest power of two that is smaller than its length."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def range_hash(tiles: StoredTiles, low: int, high: int) -> bytes:
    """Return MTH(D[low:high]) of a range that such splits lead to; of perfect subtrees, the largest first."""
    peaks = []
    while low < high:
        height = (high - low).bit_length() - 1
        peaks.append(_subtree_hash(tiles, height, low >> height))
        low += 1 << height
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def _subtree_hash(tiles: StoredTiles, height: int, number: int) -> bytes:
    """Return the hash of a perfect subtree of ``2**height`` leaves: from the part of one tile that it spans."""
    level, above = divmod(height, 8)
    first = number << above
    row = tiles.row(level, first >> 8)
    if row is None:
        raise TileMissing(level, first >> 8)
    start = (first & 0xFF) * HASH_SIZE
    return full_tile_hash(split_hashes(row[start : start + (HASH_SIZE << above)]))


def proven(tiles: StoredTiles, index: int) -> tuple[bytes, list[bytes]] | None:
    """Return an event's leaf hash and its inclusion proof when they lead to the signed root; else None."""
    try:
        leaf, path = tiles.leaf(index), inclusion_proof(tiles, index)
    except TileMissing:
        return None
    if leaf is None or tiles.root is None or not verify_inclusion(index, tiles.size, leaf, path, tiles.root):
        return None
    return leaf, path


def blame(tiles: StoredTiles, index: int) -> Finding:
    """Say which tile on the way from the signed root down to an event is missing, or is not what was sealed."""
    levels = [level for level in range(8) if tiles.width(level, index >> 8 * (level + 1))]
    edge = [(level, tiles.size >> 8 * (level + 1)) for level in levels]
    way = [(level, index >> 8 * (level + 1)) for level in reversed(levels)]
    for level, number in [*edge, *way]:
        if tiles.width(level, number) and tiles.row(level, number) is None:
            return _unreadable(tiles, level, number)
    if not tiles.anchored:
        detail = "the tiles at the tree's right edge do not give the signed root"
        return Finding(words.ROOT_MISMATCH, "checkpoint", detail=detail)
    for level, number in way:
        if not tiles.trusted(level, number):
            detail = "the tile does not lead to the signed root"
            return Finding(words.TILE_ALTERED, tiles.path(level, number), seq=index, detail=detail)
    return Finding(words.ROOT_MISMATCH, "checkpoint", seq=index, detail="the tiles do not give the signed root")


def _unreadable(tiles: StoredTiles, level: int, number: int) -> Finding:
    length = tiles.wrong_length.get((level, number))
    return Finding(
        words.TILE_MISSING if length is None else words.TILE_ALTERED,
        tiles.path(level, number),
        expected=f"{tiles.width(level, number) * HASH_SIZE} bytes",
        found="no file" if length is None else f"{length} bytes",
    )
