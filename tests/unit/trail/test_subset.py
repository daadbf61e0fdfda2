"""Proofs of many leaves at once, against the definition of RFC 6962 and against single inclusion proofs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import NoteError
from indelible.trail.proofs.merkle import inclusion_length
from indelible.trail.proofs.prove import TileMissing, inclusion_proof
from indelible.trail.proofs.subset import Shown, common, proven_subset, show_subset, subset_proof
from tests.unit.trail.test_merkle import definition
from tests.unit.trail.test_proof import EVERY, LARGEST, files_of, stored

SIZES = st.one_of(st.integers(1, 600), st.sampled_from([65_535, 65_536, 65_537, LARGEST]))


@st.composite
def subsets(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A tree's size, and some of its leaves: any, or a stretch with a few holes."""
    size = draw(SIZES)
    if draw(st.booleans()):
        return size, sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=60)))
    first = draw(st.integers(0, size - 1))
    stretch = set(range(first, draw(st.integers(first, min(size, first + 700) - 1)) + 1))
    holes = draw(st.sets(st.integers(first, first + 700), max_size=5))
    return size, sorted(stretch - holes) or [first]


def leaves_of(indexes: Sequence[int]) -> list[tuple[int, bytes]]:
    return [(index, EVERY[index]) for index in indexes]


def by_definition(indexes: Sequence[int], low: int, high: int, every: Sequence[bytes] = EVERY) -> list[bytes]:
    """The proof as its rule says it, spelled out naively."""
    held = [index for index in indexes if low <= index < high]
    if not held:
        return [definition(list(every[low:high]))]
    if high - low == 1:
        return []
    middle = low + 1
    while low + (middle - low) * 2 < high:
        middle = low + (middle - low) * 2
    return by_definition(indexes, low, middle, every) + by_definition(indexes, middle, high, every)


@given(subsets())
def test_any_subset_leads_to_the_root_and_to_what_was_before_and_through(drawn: tuple[int, list[int]]) -> None:
    size, indexes = drawn
    tiles = stored(files_of(size), size)
    proof = subset_proof(tiles, indexes)
    shown = show_subset(size, iter(leaves_of(indexes)), iter(proof))
    assert (shown.root, shown.leaves) == (tiles.root, len(indexes))
    assert proven_subset(tiles, leaves_of(indexes)) == proof
    for peaks, end in ((shown.before, indexes[0]), (shown.through, indexes[-1] + 1)):
        assert sum(1 << peak.height for peak in peaks) == end
        for low, height, found in peaks:
            if height < 10:
                assert found == definition(EVERY[low : low + (1 << height)])
    if size <= 600:
        assert proof == by_definition(indexes, 0, size)


@given(st.data(), SIZES)
def test_of_one_leaf_it_is_the_inclusion_proof(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    tiles = stored(files_of(size), size)
    proof = subset_proof(tiles, [index])
    assert sorted(proof) == sorted(inclusion_proof(tiles, index))
    assert len(proof) == inclusion_length(index, size)


def test_a_stretch_without_holes_takes_two_paths_and_the_whole_takes_nothing() -> None:
    tiles = stored(files_of(LARGEST), LARGEST)
    assert len(subset_proof(tiles, range(30_001, 49_998))) <= 2 * LARGEST.bit_length()
    assert subset_proof(tiles, range(LARGEST)) == []


Drawn = tuple[list[tuple[int, bytes]], list[bytes]]


def tampered(data: st.DataObject, leaves: list[tuple[int, bytes]], proof: list[bytes]) -> Drawn:
    """Change one thing. (Not the size: it is signed with the root, as for every proof of RFC 6962.)"""
    changes = ["leaf", "shift", "drop", "twice", "more", *(["swap"] if len(leaves) > 1 else [])]
    change = data.draw(st.sampled_from([*changes, *(["hash", "less"] if proof else [])]), label="change")
    at = data.draw(st.integers(0, len(leaves) - 1))
    place = data.draw(st.integers(0, max(0, len(proof) - 1)))
    index, leaf = leaves[at]
    match change:
        case "leaf":
            leaves[at] = index, flipped(leaf, data)
        case "shift":
            leaves = [(one + 1, found) for one, found in leaves]
        case "swap":
            leaves[at - 1], leaves[at] = leaves[at], leaves[at - 1]
        case "drop":
            del leaves[at]
        case "twice":
            leaves.insert(at, leaves[at])
        case "more":
            proof.insert(place, data.draw(st.binary(min_size=32, max_size=32)))
        case "hash":
            proof[place] = flipped(proof[place], data)
        case "less":
            del proof[place]
    return leaves, proof


@given(st.data(), subsets())
def test_whatever_is_changed_is_found(data: st.DataObject, drawn: tuple[int, list[int]]) -> None:
    size, indexes = drawn
    tiles = stored(files_of(size), size)
    leaves, proof = tampered(data, leaves_of(indexes), subset_proof(tiles, indexes))
    try:
        shown = show_subset(size, leaves, proof)
    except NoteError:
        return
    assert shown.root != tiles.root


@given(st.data(), subsets())
def test_hashes_in_another_order_lead_elsewhere(data: st.DataObject, drawn: tuple[int, list[int]]) -> None:
    size, indexes = drawn
    tiles = stored(files_of(size), size)
    proof = subset_proof(tiles, indexes)
    turned = data.draw(st.permutations(proof))
    assert (show_subset(size, leaves_of(indexes), turned).root == tiles.root) is (turned == proof)


def flipped(value: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    return (int.from_bytes(value) ^ 1 << bit).to_bytes(len(value))


@pytest.mark.parametrize(
    ("size", "leaves", "proof", "said"),
    [
        (0, [(0, b"\0" * 32)], [], "no proof leads into a tree of 0 leaves"),
        (1 << 63, [(0, b"\0" * 32)], [], "no proof leads into a tree of 9223372036854775808 leaves"),
        (4, [], [], "a proof of no leaves shows nothing"),
        (4, [(4, b"\0" * 32)], [], "leaf 4 is not in a tree of 4 leaves"),
        (4, [(-1, b"\0" * 32)], [], "leaf -1 comes after leaf -1"),
        (4, [(2, b"\0" * 32), (1, b"\0" * 32)], [b"\0" * 32], "leaf 1 comes after leaf 2"),
        (4, [(2, b"\0" * 32), (2, b"\0" * 32)], [b"\0" * 32], "leaf 2 comes after leaf 2"),
        (4, [(0, b"\0" * 31)], [b"\0" * 32] * 2, "a hash of 31 bytes"),
        (4, [(0, b"\0" * 32)], [b"\0" * 33] * 2, "a hash of 33 bytes"),
        (4, [(0, b"\0" * 32)], [b"\0" * 32], "the proof has too few hashes"),
        (4, [(0, b"\0" * 32)], [b"\0" * 32] * 3, "the proof has too many hashes"),
    ],
)
def test_what_is_wrong_is_said(
    size: int, leaves: list[tuple[int, bytes]], proof: list[bytes], said: str
) -> None:
    with pytest.raises(NoteError) as caught:
        show_subset(size, leaves, proof)
    assert str(caught.value) == said


def test_a_tree_as_large_as_any_is_walked_by_its_paths_alone() -> None:
    size = (1 << 63) - 1
    shown = show_subset(size, [(size - 1, b"\1" * 32)], [b"\2" * 32] * 62)
    assert len(shown.before) == 62
    assert len(shown.through) == 63


@pytest.mark.parametrize("indexes", [[], [3, 3], [4, 3], [-1], [300]])
def test_no_proof_is_made_of_what_is_no_subset(indexes: list[int]) -> None:
    with pytest.raises(ValueError, match="subset"):
        subset_proof(stored(files_of(300), 300), indexes)


@given(subsets())
def test_no_proof_rests_on_a_line_or_a_tile_that_is_not_the_sealed_one(drawn: tuple[int, list[int]]) -> None:
    size, indexes = drawn
    tiles, leaves = stored(files_of(size), size), leaves_of(indexes)
    assert proven_subset(tiles, [*leaves[:-1], (indexes[-1], b"\0" * 32)]) is None
    tiles.root = b"\0" * 32
    assert proven_subset(tiles, leaves) is None


def test_a_missing_tile_is_told_from_an_altered_one() -> None:
    files = files_of(LARGEST)
    del files["tile/0/100"]
    tiles = stored(files, LARGEST)
    assert subset_proof(tiles, range(512))
    with pytest.raises(TileMissing):
        subset_proof(tiles, [25_700])
    assert proven_subset(tiles, leaves_of([25_700])) is None


# --- what two proofs have in common -----------------------------------------------------------------------------------


OTHERS = [bytes([index % 251]) * 32 for index in range(64)]


def shown_in(size: int, first: int, last: int, every: Sequence[bytes] = EVERY) -> Shown:
    proof = by_definition(range(first, last + 1), 0, size, every)
    return show_subset(size, [(index, every[index]) for index in range(first, last + 1)], proof)


@given(st.data(), st.integers(2, 64))
def test_batches_that_follow_each_other_show_one_history(data: st.DataObject, end: int) -> None:
    """Two checkpoints, of whatever sizes: the later batch's proof holds all that came before it."""
    middle = data.draw(st.integers(1, end - 1))
    one = shown_in(data.draw(st.integers(middle, 64)), data.draw(st.integers(0, middle - 1)), middle - 1)
    other = shown_in(data.draw(st.integers(end, 64)), middle, end - 1)
    assert common(one.through, other.before) == (True, middle)


@given(st.data(), st.integers(2, 64))
def test_another_history_before_a_batch_is_found_wherever_it_began(data: st.DataObject, end: int) -> None:
    """What was exchanged is any one leaf before the later batch: in no line of it, and not in the store at all."""
    middle = data.draw(st.integers(1, end - 1))
    changed = data.draw(st.integers(0, middle - 1))
    rewritten = [*EVERY[:changed], OTHERS[changed], *EVERY[changed + 1 : 64]]
    one = shown_in(data.draw(st.integers(middle, 64)), data.draw(st.integers(0, middle - 1)), middle - 1)
    other = shown_in(data.draw(st.integers(end, 64)), middle, end - 1, rewritten)
    found = common(one.through, other.before)
    assert not found.alike
    assert found.leaves <= changed


@given(st.data())
def test_with_a_gap_between_them_as_much_is_common_as_both_know(data: st.DataObject) -> None:
    first, start = sorted((data.draw(st.integers(1, 62)), data.draw(st.integers(1, 62))))
    one, other = shown_in(64, first - 1, first - 1), shown_in(64, start, start)
    alike, leaves = common(one.through, other.before)
    assert alike
    assert leaves == first & ~((1 << (first ^ start).bit_length()) - 1)
