"""The tree, against the definition of RFC 6962 spelled out naively."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.trail.proofs import merkle


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + definition(leaves[:k]) + definition(leaves[k:])).digest()


def path_of(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path_of(m, leaves[:k]), definition(leaves[k:])]
    return [*path_of(m - k, leaves[k:]), definition(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [definition(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), definition(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), definition(leaves[:k])]


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_root_and_tiles_do_not_depend_on_how_the_leaves_arrive(batches: list[int]) -> None:
    every = leaves(sum(batches))
    tree, tiles, at = merkle.TileTree(), {}, 0
    for batch in batches:
        for tile in tree.extend(every[at : at + batch]):
            tiles[tile.level, tile.number] = tile.hashes
        at += batch
        tree = merkle.TileTree.from_edge(tree.size, tree.edge)  # a restart in between
    assert tree.root() == definition(every)
    assert [len(row) for row in tree.edge] == merkle.edge_widths(len(every))
    for (level, index), hashes in tiles.items():
        span = 256**level
        start = index * 256 * span
        expected = tuple(definition(every[start + i * span : start + (i + 1) * span]) for i in range(256))
        assert hashes == expected


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537])
def test_sizes_at_the_edges_of_tiles(size: int) -> None:
    tree = merkle.TileTree()
    filled = tree.extend(leaves(size))
    assert tree.root() == definition(leaves(size))
    assert len([tile for tile in filled if tile.level == 0]) == size // 256
    assert len([tile for tile in filled if tile.level == 1]) == size // 65_536
    assert sum(tile.width for tile in tree.partial_tiles() if tile.level == 0) == size % 256


def test_an_edge_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        merkle.TileTree.from_edge(257, [leaves(2), leaves(1)])


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (273, 112, "tile/0/273.p/112"),
        (1_234_067, 256, "tile/0/x001/x234/067"),
        (1_000, 1, "tile/0/x001/000.p/1"),
    ],
)
def test_tile_paths_are_those_of_the_specification(index: int, width: int, path: str) -> None:
    assert merkle.tile_path(0, index, width) == path


@given(st.data(), st.integers(1, 70))
def test_proofs_made_by_the_definition_are_accepted_and_nothing_else(data: st.DataObject, size: int) -> None:
    every = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root = path_of(index, every), definition(every)
    assert merkle.verify_inclusion(index, size, every[index], proof, root)
    assert not merkle.verify_inclusion(index, size, merkle.leaf_hash(b"other"), proof, root)
    assert not merkle.verify_inclusion(index, size, every[index], [*proof, root], root)
    if proof:
        broken = list(proof)
        at = data.draw(st.integers(0, len(proof) - 1))
        broken[at] = bytes([broken[at][0] ^ 1]) + broken[at][1:]
        assert not merkle.verify_inclusion(index, size, every[index], broken, root)
        assert not merkle.verify_inclusion(index, size, every[index], proof[:-1], root)


@given(st.data(), st.integers(1, 70))
def test_consistency_proofs(data: st.DataObject, size: int) -> None:
    every = leaves(size)
    old = data.draw(st.integers(1, size))
    proof = subproof(old, every, whole=True)
    root1, root2 = definition(every[:old]), definition(every)
    assert merkle.verify_consistency(old, size, root1, root2, proof)
    if old < size:
        forked = definition([merkle.leaf_hash(b"x"), *every[1:old]])
        assert not merkle.verify_consistency(old, size, forked, root2, proof)
        assert not merkle.verify_consistency(old, size, root1, definition(every[:-1]), proof) or not proof
