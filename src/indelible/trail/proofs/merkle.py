"""The Merkle tree of RFC 6962, section 2.1, cut into the tiles of C2SP tlog-tiles.

Pure: bytes in, bytes out. A tree is kept as the hashes of its right edge only: for each tile level the
hashes of the one tile that is not full yet, at most 255 of 32 bytes, so that memory does not grow with the
trail. Everything to the left is in full tiles that never change again.

The rules that may not move: a leaf is SHA-256(0x00 ‖ entry), a node SHA-256(0x01 ‖ left ‖ right); a tile is 256
hashes wide and 8 levels high; `tile/<L>/<N>` holds the hashes of subtrees of 256**L leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

HASH_SIZE: Final = 32
TILE_WIDTH: Final = 256

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962, section 2.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf hash of an entry: here a line without its LF."""
    return sha256(b"\0" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hashes of many entries; one pass without a call per entry."""
    return [sha256(b"\0" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


def full_tile_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a full tile: what stands for it one level up."""
    level = list(hashes)
    while len(level) > 1:
        level = [sha256(b"\1" + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the perfect subtrees that make up a row of at most 255 hashes, largest first."""
    peaks = []
    start = 0
    for bit in range(7, -1, -1):
        width = 1 << bit
        if len(hashes) & width:
            peaks.append(full_tile_hash(hashes[start : start + width]))
            start += width
    return peaks


class Tile(NamedTuple):
    """One tile: its level, its number in it, and its hashes (256, or fewer in a partial tile)."""

    level: int
    number: int
    hashes: tuple[bytes, ...]

    @property
    def width(self) -> int:
        """How many hashes it holds."""
        return len(self.hashes)

    def data(self) -> bytes:
        """Return the file's content: the hashes, end to end."""
        return b"".join(self.hashes)


class TileTree:
    """An append-only tree that gives up its tiles as they fill.

    `size` leaves have been appended. `edge[L]` holds the hashes of the partial tile at level L.
    """

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[list[bytes]] = [[]]

    @classmethod
    def from_edge(cls, size: int, edge: Sequence[Sequence[bytes]]) -> TileTree:
        """Rebuild the tree of `size` leaves from its partial tiles, as `edge_widths` asks for them.

        Raises ValueError when a width is not the one that the size demands.
        """
        if [len(row) for row in edge] != edge_widths(size):
            msg = f"the partial tiles do not fit a tree of {size} leaves"
            raise ValueError(msg)
        tree = cls()
        tree.size = size
        tree.edge = [list(row) for row in edge]
        return tree

    def copy(self) -> TileTree:
        """Return an independent copy."""
        other = TileTree()
        other.size = self.size
        other.edge = [list(row) for row in self.edge]
        return other

    def extend(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Append leaf hashes in order; return the tiles that became full, lower levels first."""
        filled: list[Tile] = []
        row = self.edge[0]
        for leaf in leaves:
            row.append(leaf)
            self.size += 1
            if len(row) == TILE_WIDTH:
                self._carry(filled)
                row = self.edge[0]
        return filled

    def _carry(self, filled: list[Tile]) -> None:
        """Take every full row out of the edge and put its root into the row above."""
        level = 0
        while len(self.edge[level]) == TILE_WIDTH:
            hashes = self.edge[level]
            number = (self.size >> 8 * (level + 1)) - 1
            filled.append(Tile(level, number, tuple(hashes)))
            self.edge[level] = []
            if level + 1 == len(self.edge):
                self.edge.append([])
            self.edge[level + 1].append(full_tile_hash(hashes))
            level += 1

    def partial_tiles(self) -> list[Tile]:
        """Return the partial tiles of the present size, lower levels first; empty rows have none."""
        return [
            Tile(level, self.size >> 8 * (level + 1), tuple(row)) for level, row in enumerate(self.edge) if row
        ]

    def root(self) -> bytes:
        """Return the root hash at the present size."""
        peaks: list[bytes] = []
        for row in reversed(self.edge):
            peaks.extend(_peaks(row))
        if not peaks:
            return EMPTY_ROOT
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root


def edge_widths(size: int) -> list[int]:
    """Return the width of the partial tile at each level of a tree of `size` leaves, level 0 first."""
    widths = [size & 0xFF]
    size >>= 8
    while size:
        widths.append(size & 0xFF)
        size >>= 8
    return widths


def tile_widths(size: int, level: int) -> tuple[int, int]:
    """Return how many full tiles a tree of `size` leaves has at `level`, and the width of the partial one."""
    rows = size >> 8 * level
    return rows >> 8, rows & 0xFF


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return a tile's path below the trail's directory (C2SP tlog-tiles, "Tiles")."""
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{index_path(index)}{suffix}"


def index_path(index: int) -> str:
    """Return an index in groups of three digits, all but the last with an ``x`` before: ``x001/x234/067``."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


# --- proofs (RFC 6962, sections 2.1.1 and 2.1.2; RFC 9162, sections 2.1.3.2 and 2.1.4.2) --------------------


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `proof` shows that `leaf` (a leaf hash) is number `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or len(leaf) != HASH_SIZE:
        return False
    sides = _sides(index, size - 1)
    if len(proof) != len(sides):
        return False
    computed = leaf
    for sibling, left in zip(proof, sides, strict=True):
        computed = node_hash(sibling, computed) if left else node_hash(computed, sibling)
    return computed == root


def inclusion_length(index: int, size: int) -> int:
    """Return how many hashes lead from leaf `index` to the root of a tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    return len(_sides(index, size - 1))


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether `proof` shows that the tree of `size2` leaves extends that of `size1` (RFC 9162, 2.1.4.2)."""
    if size1 < 0 or size2 < size1 or len(root1) != HASH_SIZE or len(root2) != HASH_SIZE:
        return False
    if size1 == 0:  # nothing to be consistent with; but an empty tree has one root only
        return not proof and root1 == EMPTY_ROOT and (size2 > 0 or root2 == EMPTY_ROOT)
    if size1 == size2:
        return not proof and root1 == root2
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node >>= 1
        last >>= 1
    if not node:  # the old tree is a perfect subtree of the new one: its root begins the path
        proof = (root1, *proof)
    sides = _sides(node, last)
    if len(proof) != 1 + len(sides):
        return False
    old = new = proof[0]
    for sibling, left in zip(proof[1:], sides, strict=True):
        if left:
            old = node_hash(sibling, old)
        new = node_hash(sibling, new) if left else node_hash(new, sibling)
    return old == root1 and new == root2


def _sides(node: int, last: int) -> list[bool]:
    """Return, for each sibling on the way from a node up to the root, whether it stands on the left.

    `node` and `last`, the rightmost one, are numbers within one level (RFC 9162, 2.1.3.2 and 2.1.4.2, step 4).
    """
    sides = []
    while last:
        left = bool(node & 1) or node == last
        if left:
            while node and not node & 1:
                node >>= 1
                last >>= 1
        sides.append(left)
        node >>= 1
        last >>= 1
    return sides
