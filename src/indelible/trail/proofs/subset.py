"""Proofs of many leaves at once: that some lines of a trail, with or without holes, stand under a signed root. Pure.

The rule that lives here. The tree of RFC 6962, section 2.1, of the checkpoint's size is walked from its root, left
before right: a range of leaves of which none is in the subset is one hash of the proof; a leaf of the subset is no hash
(whoever checks computes it from the line); every other range is its two halves. The proof is these hashes, left to
right. So it is the inclusion proof of one leaf in another order, two paths for a stretch without holes, nothing for all
leaves; and for each subset, size and root there is one proof, of one length.

Who checks holds one path of the tree in memory, and takes leaves and hashes as they come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from indelible.errors import NoteError
from indelible.trail.proofs.merkle import HASH_SIZE, node_hash
from indelible.trail.proofs.prove import TileMissing, range_hash, split
from indelible.trail.proofs.tiles import StoredTiles

MAX_SIZE: Final = 1 << 63
"""No tree is larger: its size would not fit what other tools hold one in."""

Leaf = tuple[int, bytes]
"""An index in the tree (a line's seq), and the leaf hash there."""


class Peak(NamedTuple):
    """A perfect subtree at the left edge of what is known: the hash of leaves `low` to ``low + 2**height - 1``."""

    low: int
    height: int
    hash: bytes


class Shown(NamedTuple):
    """What a subset and its proof come to."""

    root: bytes
    leaves: int
    """Leaves in the subset."""
    before: tuple[Peak, ...]
    """The perfect subtrees that make up all leaves before the first one, largest first."""
    through: tuple[Peak, ...]
    """The same of all leaves up to the last one, with it."""


def subset_proof(tiles: StoredTiles, indexes: Sequence[int]) -> list[bytes]:
    """Return the proof of the leaves `indexes`, which ascend. It is as right as the tiles are.

    Raises TileMissing; ValueError for indexes that do not ascend, or are not in the tree, or none at all.
    """
    if not indexes or indexes[0] < 0 or indexes[-1] >= tiles.size:
        msg = f"no subset of a tree of {tiles.size} leaves"
        raise ValueError(msg)
    if any(left >= right for left, right in pairwise(indexes)):
        msg = "the indexes of a subset do not ascend"
        raise ValueError(msg)
    hashes: list[bytes] = []
    _collect(tiles, indexes, (0, tiles.size), (0, len(indexes)), hashes)
    return hashes


def _collect(
    tiles: StoredTiles,
    indexes: Sequence[int],
    leaves: tuple[int, int],
    held: tuple[int, int],
    hashes: list[bytes],
) -> None:
    """Add the hashes of a range of leaves; `held` is the part of `indexes` that is in it."""
    low, high = leaves
    if held[0] == held[1]:
        hashes.append(range_hash(tiles, low, high))
    elif held[1] - held[0] < high - low:  # with all of its leaves in the subset, a range has no hash
        middle = split(low, high)
        at = bisect_left(indexes, middle, *held)
        _collect(tiles, indexes, (low, middle), (held[0], at), hashes)
        _collect(tiles, indexes, (middle, high), (at, held[1]), hashes)


def subset_hashes(tiles: StoredTiles, indexes: Iterable[int]) -> Iterator[bytes]:
    """Yield the same proof for more leaves than memory is meant for: they are taken one at a time, and ascend.

    Raises as `subset_proof`, in the midst of it.
    """
    rest = iter(indexes)
    following = next(rest, None)

    def walk(low: int, high: int) -> Iterator[bytes]:
        nonlocal following
        if following is None or following >= high:
            yield range_hash(tiles, low, high)
        elif high - low == 1:
            last, following = following, next(rest, None)
            if following is not None and following <= last:
                msg = "the indexes of a subset do not ascend"
                raise ValueError(msg)
        else:
            middle = split(low, high)
            yield from walk(low, middle)
            yield from walk(middle, high)

    there = following is not None and 0 <= following < tiles.size
    if there:
        yield from walk(0, tiles.size)
    if not there or following is not None:
        msg = f"no subset of a tree of {tiles.size} leaves"
        raise ValueError(msg)


def proven_subset(tiles: StoredTiles, leaves: Sequence[Leaf]) -> list[bytes] | None:
    """Return the proof of some leaves when it leads from them to the signed root; else None.

    None also when a tile is missing: what is wrong with the tiles, `verify` says. Raises ValueError as `subset_proof`.
    """
    try:
        proof = subset_proof(tiles, [index for index, _ in leaves])
        shown = show_subset(tiles.size, leaves, proof)
    except (TileMissing, NoteError):
        return None
    return proof if shown.root == tiles.root else None


def show_subset(size: int, leaves: Iterable[Leaf], proof: Iterable[bytes]) -> Shown:
    """Return the root to which leaves and their proof lead in a tree of `size`: compare it with the signed one.

    `leaves` ascend by their index and are taken one at a time. Raises NoteError when they do not ascend, or are not in
    the tree, or the proof has too many or too few hashes.
    """
    if not 0 < size < MAX_SIZE:
        msg = f"no proof leads into a tree of {size} leaves"
        raise NoteError(msg)
    walk = _Walk(size, iter(leaves), iter(proof))
    if walk.index is None:
        msg = "a proof of no leaves shows nothing"
        raise NoteError(msg)
    first = walk.index
    root, beside = walk.hash_of(0, size)
    walk.check_end()
    before = _peaks(first, walk.before)
    return Shown(root, walk.count, before, _with_leaf(_peaks(walk.last, beside), walk.last, walk.leaf))


class _Walk:
    """Goes through a tree from left to right, and takes each leaf and each hash where it stands."""

    def __init__(self, size: int, leaves: Iterator[Leaf], proof: Iterator[bytes]) -> None:
        self._size = size
        self._leaves = leaves
        self._proof = proof
        self._next = b""
        self.index: int | None = None
        """The next leaf's; None when there is none."""
        self.last, self.leaf, self.count = -1, b"", 0
        self.before: list[bytes] = []
        """The hashes before the first leaf: those beside the way to it that stand on its left."""
        self._step()

    def _step(self) -> None:
        found = next(self._leaves, None)
        if found is None:
            self.index = None
            return
        self.index, self._next = found
        if self.index <= self.last:
            msg = f"leaf {self.index} comes after leaf {self.last}"
            raise NoteError(msg)
        if self.index >= self._size:
            msg = f"leaf {self.index} is not in a tree of {self._size} leaves"
            raise NoteError(msg)
        _check_hash(self._next)

    def hash_of(self, low: int, high: int) -> tuple[bytes, list[bytes]]:
        """Return the hash of a range, and of the subtrees left of its last known leaf, if it has one."""
        if self._is_done(high):
            return self._from_proof(), []
        if high - low == 1:
            self.last, self.leaf = low, self._next
            self.count += 1
            self._step()
            return self.leaf, []
        middle = split(low, high)
        left, beside = self.hash_of(low, middle)
        ends_here = self._is_done(high)
        right, further = self.hash_of(middle, high)
        return node_hash(left, right), beside if ends_here else [left, *further]

    def _is_done(self, high: int) -> bool:
        """Tell whether no further leaf stands before `high`."""
        return self.index is None or self.index >= high

    def _from_proof(self) -> bytes:
        found = next(self._proof, None)
        if found is None:
            msg = "the proof has too few hashes"
            raise NoteError(msg)
        _check_hash(found)
        if not self.count:
            self.before.append(found)
        return found

    def check_end(self) -> None:
        """Raise NoteError when something is left over; of leaves there cannot be any."""
        if next(self._proof, None) is not None:
            msg = "the proof has too many hashes"
            raise NoteError(msg)


def _check_hash(value: bytes) -> None:
    if len(value) != HASH_SIZE:
        msg = f"a hash of {len(value)} bytes"
        raise NoteError(msg)


# --- what two proofs say of the same leaves ---------------------------------------------------------------------------


def _peaks(end: int, hashes: Sequence[bytes]) -> tuple[Peak, ...]:
    """Return what the hashes left of the way to leaf `end` stand for: a perfect subtree for each bit of its number."""
    found, low = [], 0
    heights = [height for height in range(end.bit_length() - 1, -1, -1) if end >> height & 1]
    for height, value in zip(heights, hashes, strict=True):
        found.append(Peak(low, height, value))
        low += 1 << height
    return tuple(found)


def _with_leaf(peaks: tuple[Peak, ...], index: int, leaf: bytes) -> tuple[Peak, ...]:
    rest, last = list(peaks), Peak(index, 0, leaf)
    while rest and rest[-1].height == last.height:
        left = rest.pop()
        last = Peak(left.low, left.height + 1, node_hash(left.hash, last.hash))
    return (*rest, last)


class Common(NamedTuple):
    """What two trees were shown to have in common."""

    alike: bool
    """Whether they agree wherever both are known."""
    leaves: int
    """So many leaves from the beginning on are the same in both."""


def common(one: Sequence[Peak], other: Sequence[Peak]) -> Common:
    """Compare two rows of peaks: by the largest of one place and height, as far as both have such."""
    leaves = 0
    for left, right in zip(one, other, strict=False):
        if left[:2] != right[:2]:
            break
        if left.hash != right.hash:
            return Common(alike=False, leaves=leaves)
        leaves = left.low + (1 << left.height)
    return Common(alike=True, leaves=leaves)
