"""A proof of more leaves than memory is meant for is the one that is made of a list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from indelible.trail.proofs.subset import subset_hashes, subset_proof
from tests.effort import examples
from tests.unit.trail.test_proof import files_of, stored
from tests.unit.trail.test_subset import subsets


@settings(max_examples=examples(40), deadline=None)
@given(subsets())
def test_it_is_the_same_proof(drawn: tuple[int, list[int]]) -> None:
    size, indexes = drawn
    tiles = stored(files_of(size), size)
    assert list(subset_hashes(tiles, iter(indexes))) == subset_proof(tiles, indexes)


@pytest.mark.parametrize(
    "indexes", [[], [-1], [300], [5, 300], [5, 5], [5, 4], [255, 254], [299, 300], [7, 3, 9]]
)
def test_what_is_no_subset(indexes: list[int]) -> None:
    tiles = stored(files_of(300), 300)
    with pytest.raises(ValueError, match=r"no subset|do not ascend"):
        list(subset_hashes(tiles, indexes))


def test_of_an_empty_tree_there_is_none() -> None:
    tiles = stored(files_of(0), 0)
    for indexes in ([], [0]):
        with pytest.raises(ValueError, match="no subset"):
            list(subset_hashes(tiles, indexes))
