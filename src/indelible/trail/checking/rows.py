"""The tree that is believed, built from left to right, and its tiles compared with the stored ones. Pure.

As long as lines and stored leaves agree, leaves go straight into the tree. Where they differ, the rest of that tile
is collected from both, and the hash in the tile above (or the signed root) tells which of the two is right.
"""

from __future__ import annotations

from collections.abc import Callable

from indelible.trail import findings as words
from indelible.trail.findings import MAX_FINDINGS, Finding, VerifyResult
from indelible.trail.proofs.merkle import HASH_SIZE, TILE_WIDTH, Tile, TileTree, edge_widths, full_tile_hash
from indelible.trail.proofs.tiles import StoredTiles, split_hashes

_UNKNOWN = bytes(HASH_SIZE)


class Rows:
    """The believed tree. `next` is the position that the next leaf takes."""

    def __init__(self, tiles: StoredTiles, result: VerifyResult, name: Callable[[str], str]) -> None:
        self.tiles = tiles
        self.next = 0
        self._result = result
        self._name = name
        self._tree = TileTree()
        self._row: list[tuple[bytes | None, bytes | None]] = []
        self._held: list[Finding] = []
        self._disputed: list[Finding] = []
        self._unproven = 0
        self._broken = False
        """A leaf of the believed tree is not known: what lies above it cannot be compared."""

    def emit(self, finding: Finding) -> Finding:
        """Say it now, or, while a tile is in dispute, when that is decided."""
        if not self._row:
            return self._result.add(finding)
        if len(self._held) < MAX_FINDINGS:
            self._held.append(finding)
        else:
            self._result.omitted += 1
        return finding

    # --- taking positions ---------------------------------------------------------------------------------

    def undisputed(self) -> bool:
        """Tell whether leaves that equal the stored ones may be taken in bulk."""
        return not self._row

    def take_agreed(self, leaves: list[bytes]) -> None:
        """Take leaves that equal the stored ones; they end with their tile at the latest."""
        self._result.events += len(leaves)
        self.next += len(leaves)
        self._extend(leaves)

    def take(self, leaf: bytes, problem: Finding | None = None) -> None:
        """Take one line's leaf; `problem` is what to say if the line turns out to be at fault, not the tile."""
        stored = self.tiles.leaf(self.next)
        if leaf == stored and not self._row:
            self.take_agreed([leaf])
            return
        if leaf == stored:
            self._result.events += 1
        else:
            self._unproven += 1
        self._collect(leaf, stored)
        if problem is not None and stored is not None:
            self._disputed.append(self.emit(problem))
        self._close_when_full()

    def skip(self, end: int) -> None:
        """Pass over positions for which there is no line: the stored leaves stand in for them."""
        while self.next < end:
            stop = min((self.next | 0xFF) + 1, end)
            row = self.tiles.row(0, self.next >> 8)
            if row is not None and not self._row:
                at, end_at = self.next & 0xFF, ((stop - 1) & 0xFF) + 1
                self.next = stop
                self._extend(split_hashes(row[at * HASH_SIZE : end_at * HASH_SIZE]))
            else:
                self._collect(None, self.tiles.leaf(self.next))
                self._close_when_full()

    def _collect(self, leaf: bytes | None, stored: bytes | None) -> None:
        if not self._row and stored is None:
            self._report_unreadable(0, self.next >> 8)
        self._row.append((leaf, stored))
        self.next += 1

    # --- deciding -----------------------------------------------------------------------------------------

    def _close_when_full(self) -> None:
        if self._row and (not self.next & 0xFF or self.next == self.tiles.size):
            self._close()

    def _close(self) -> None:
        """Decide a disputed tile, say what was held back, and go on with the leaves that are believed."""
        index = (self.next - 1) >> 8
        row, self._row = self._row, []
        width = ((self.next - 1) & 0xFF) + 1
        stored_row = self.tiles.row(0, index)
        before = split_hashes(stored_row or b"")[: width - len(row)]
        stored = None if stored_row is None else split_hashes(stored_row)
        lines = [*before, *(leaf or kept or _UNKNOWN for leaf, kept in row)]
        verdict = self._decide(index, stored, lines)
        if verdict == "lines":
            self._result.events += self._unproven
            gone = {id(finding) for finding in self._disputed}
            self._held = [finding for finding in self._held if id(finding) not in gone]
            if stored is not None and stored != lines:
                self._held.append(self._tile_altered(0, index, stored, lines))
        elif verdict == "tile":
            for finding in self._disputed:
                finding.problem = words.LINE_ALTERED
        elif stored is None:
            self._held.append(self._unproven_lines(index, width))
        self._disputed, self._unproven = [], 0
        held, self._held = self._held, []
        for finding in held:
            self._result.add(finding)
        self._broken = self._broken or verdict == ""
        self._extend((lines if verdict == "lines" or stored is None else stored)[width - len(row) :])

    def _decide(self, index: int, stored: list[bytes] | None, lines: list[bytes]) -> str:
        """Return which of the two rows the tree vouches for: ``lines``, ``tile``, or neither, an empty text."""
        if stored == lines:
            return "lines"
        if len(lines) == TILE_WIDTH:
            for trusted in (True, False):
                above = self.tiles.hash_above(0, index, trusted=trusted)
                if above is not None and full_tile_hash(lines) == above:
                    return "lines"
                if above is not None and stored is not None and full_tile_hash(stored) == above:
                    return "tile"
            return ""
        if self.tiles.anchored:
            return "tile"
        if self.tiles.root is None:
            return ""
        for word, leaves in (("lines", lines), ("tile", stored)):
            if leaves is not None and self._root_with(leaves) == self.tiles.root:
                return word
        return ""

    def _root_with(self, last_row: list[bytes]) -> bytes:
        tree = self._tree.copy()
        tree.extend(last_row[len(tree.edge[0]) :])
        return tree.root()

    def _unproven_lines(self, index: int, width: int) -> Finding:
        first = index << 8
        above = self.tiles.hash_above(0, index)
        return Finding(
            words.LINE_OR_TILE,
            seq=first,
            expected=None if above is None else above.hex(),
            detail=f"seq {first} to {first + width - 1}: the tile is not to be had, and the lines do not give its"
            " hash",
        )

    # --- tiles --------------------------------------------------------------------------------------------

    def _extend(self, leaves: list[bytes]) -> None:
        for tile in self._tree.extend(leaves):
            self._compare(tile)

    def _compare(self, tile: Tile) -> None:
        """Compare a believed tile with the stored one, and with partial ones that linger."""
        if tile.level:
            self._compare_upper(tile)
        self._compare_strays(tile)

    def _compare_strays(self, tile: Tile) -> None:
        if self._broken:
            return
        data = tile.data()
        for path, stray in self.tiles.stray_partials(tile.level, tile.number):
            common = min(len(stray), len(data))
            whole = len(stray) == int(path.rpartition("/")[2]) * HASH_SIZE
            if not whole or stray[:common] != data[:common]:
                at = next((i for i in range(common) if stray[i] != data[i]), common) // HASH_SIZE
                self.emit(
                    Finding(
                        words.TILE_ALTERED,
                        self._name(path),
                        seq=(tile.number * TILE_WIDTH + at) << 8 * tile.level,
                        detail=f"hash {at} of a partial tile that an earlier checkpoint used",
                    )
                )

    def _compare_upper(self, tile: Tile) -> None:
        stored = self.tiles.row(tile.level, tile.number)
        if stored is None:
            self._report_unreadable(tile.level, tile.number)
        elif stored != tile.data() and not self._broken and not self.tiles.trusted(tile.level, tile.number):
            self.emit(self._tile_altered(tile.level, tile.number, split_hashes(stored), list(tile.hashes)))

    def _tile_altered(self, level: int, index: int, stored: list[bytes], right: list[bytes]) -> Finding:
        wrong = [at for at, (one, other) in enumerate(zip(stored, right, strict=True)) if one != other]
        more = f", and {len(wrong) - 1} more hashes of it" if len(wrong) > 1 else ""
        word = "lead to the signed root" if self.tiles.root else "give another"
        return Finding(
            words.TILE_ALTERED,
            self._name(self.tiles.path(level, index)),
            seq=(index * TILE_WIDTH + wrong[0]) << 8 * level,
            expected=right[wrong[0]].hex(),
            found=stored[wrong[0]].hex(),
            detail=f"hash {wrong[0]}{more}; the lines {word}",
        )

    def _report_unreadable(self, level: int, index: int) -> None:
        width = self.tiles.width(level, index)
        length = self.tiles.wrong_length.get((level, index))
        self.emit(
            Finding(
                words.TILE_MISSING if length is None else words.TILE_ALTERED,
                self._name(self.tiles.path(level, index)),
                seq=index << 8 * (level + 1),
                expected=f"{width * HASH_SIZE} bytes",
                found="no file" if length is None else f"{length} bytes",
            )
        )

    def finish(self) -> None:
        """Compare the right edge and the root, once every position is taken."""
        root = self.tiles.root
        right = root is None or self._tree.root() == root
        for level, width in enumerate(edge_widths(self.tiles.size)):
            if not width:
                continue
            tile = Tile(level, self.tiles.size >> 8 * (level + 1), tuple(self._tree.edge[level]))
            if right:
                self._compare(tile)
            elif level and self.tiles.row(level, tile.number) is None:
                self._report_unreadable(level, tile.number)
        if not right and not (self.tiles.anchored and self._result.findings):
            self._result.add(
                Finding(
                    words.ROOT_MISMATCH,
                    self._name("checkpoint"),
                    expected=root.hex() if root else None,
                    found=self._tree.root().hex(),
                    detail="lines and tiles do not give the root that was signed",
                )
            )
