"""The stored tiles of a tree of a given size, and which of them the signed root vouches for. Pure.

A tile is *trusted* when a chain of hashes leads from the signed root to it: the partial tiles at the right edge
together give the root, and every full tile's hash stands in the tile above it. The hash in a trusted tile decides
whether a line or the tile below was altered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from indelible.trail.proofs.merkle import (
    HASH_SIZE,
    TILE_WIDTH,
    TileTree,
    edge_widths,
    full_tile_hash,
    tile_path,
)

CACHED_TILES: Final = 64
"""How many tiles are kept: 8 KiB each, enough for a walk from left to right with looks aside."""

LoadTile = Callable[[str], bytes | None]
"""Content of a tile's file from its path below the trail's directory; None when there is none."""

PartialWidths = Callable[[int, int], Sequence[int]]
"""Widths of the partial tiles that lie about for a level and an index."""


def split_hashes(row: bytes) -> list[bytes]:
    """Cut a row into its hashes."""
    return [row[i : i + HASH_SIZE] for i in range(0, len(row), HASH_SIZE)]


class StoredTiles:
    """The tiles of a tree of `size` leaves, as they are stored; `root` is the signed one, None when unknown."""

    def __init__(self, load: LoadTile, widths: PartialWidths, size: int, root: bytes | None) -> None:
        self._load = load
        self._widths = widths
        self.size = size
        self.root = root
        self.cached = CACHED_TILES
        """How many tiles are kept; more for who does not go from left to right."""
        self._rows: OrderedDict[tuple[int, int], bytes | None] = OrderedDict()
        self._trusted: OrderedDict[tuple[int, int], bool] = OrderedDict()
        self.wrong_length: dict[tuple[int, int], int] = {}
        """Tiles that are there with so many bytes instead of what their width asks for."""
        self.anchored = self._edges_give_root()

    def width(self, level: int, index: int) -> int:
        """Return how many hashes the tile has in a tree of this size; 0 when it has no such tile."""
        rows = self.size >> 8 * level
        return max(0, min(TILE_WIDTH, rows - (index << 8)))

    def path(self, level: int, index: int) -> str:
        """Return where the tile should be stored, below the trail's directory."""
        return tile_path(level, index, self.width(level, index))

    def row(self, level: int, index: int) -> bytes | None:
        """Return a tile's hashes end to end, or None when it is missing or has a wrong length."""
        key = (level, index)
        if key in self._rows:
            self._rows.move_to_end(key)
            return self._rows[key]
        row = self._rows[key] = self._read(level, index)
        if len(self._rows) > self.cached:
            self._rows.popitem(last=False)
        return row

    def _read(self, level: int, index: int) -> bytes | None:
        """Read a tile; a partial one may have given way to a wider one (C2SP tlog-tiles, "Partial Tiles")."""
        width = self.width(level, index)
        if not width:
            return None
        wanted = width * HASH_SIZE
        data = self._load(tile_path(level, index, width))
        if data is not None:
            if len(data) == wanted:
                return data
            self.wrong_length[level, index] = len(data)
            return None
        if width == TILE_WIDTH:
            return None
        for wider in (TILE_WIDTH, *sorted(self._widths(level, index))):
            data = self._load(tile_path(level, index, wider)) if wider > width else None
            if data is not None and len(data) == wider * HASH_SIZE:
                return data[:wanted]
        return None

    def leaf(self, seq: int) -> bytes | None:
        """Return the stored leaf hash of an event, or None when its tile is not to be had."""
        row = self.row(0, seq >> 8)
        start = (seq & 0xFF) * HASH_SIZE
        return None if row is None else row[start : start + HASH_SIZE]

    def stray_partials(self, level: int, index: int) -> list[tuple[str, bytes]]:
        """Return (path, data) of partial tiles that linger beside the tile that counts."""
        width = self.width(level, index)
        found = []
        for other in sorted(self._widths(level, index)):
            path = tile_path(level, index, other)
            data = self._load(path) if other != width else None
            if data is not None:
                found.append((path, data))
        return found

    # --- trust --------------------------------------------------------------------------------------------

    def edge(self) -> list[list[bytes]] | None:
        """Return the stored right edge, lowest level first, or None when a part of it is missing."""
        rows = []
        for level, width in enumerate(edge_widths(self.size)):
            row = self.row(level, self.size >> 8 * (level + 1)) if width else b""
            if row is None:
                return None
            rows.append(split_hashes(row))
        return rows

    def _edges_give_root(self) -> bool:
        edge = self.edge()
        return edge is not None and TileTree.from_edge(self.size, edge).root() == self.root

    def trusted(self, level: int, index: int) -> bool:
        """Tell whether the signed root vouches for the stored tile."""
        if not self.anchored:
            return False
        if self.width(level, index) < TILE_WIDTH:
            return True  # on the edge, which gives the root
        key = (level, index)
        if key not in self._trusted:
            row, above = self.row(level, index), self.hash_above(level, index)
            self._trusted[key] = row is not None and full_tile_hash(split_hashes(row)) == above
            if len(self._trusted) > self.cached:
                self._trusted.popitem(last=False)
        return self._trusted[key]

    def hash_above(self, level: int, index: int, *, trusted: bool = True) -> bytes | None:
        """Return a full tile's hash from the tile above; None when that is missing, or is not `trusted`."""
        if trusted and not self.trusted(level + 1, index >> 8):
            return None
        row = self.row(level + 1, index >> 8)
        start = (index & 0xFF) * HASH_SIZE
        return None if row is None else row[start : start + HASH_SIZE]
