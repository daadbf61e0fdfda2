"""Proofs made from tiles, and the file that one is handed out in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import NoteError
from indelible.trail.proofs import merkle
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier
from indelible.trail.proofs.proof import HEADER, MAX_HASHES, Proof, open_proof, parse_proof
from indelible.trail.proofs.prove import TileMissing, blame, consistency_proof, inclusion_proof, proven, root_at
from indelible.trail.proofs.tiles import StoredTiles
from tests.trails import ORIGIN, SIGNER
from tests.unit.trail.test_merkle import definition, leaves, path_of, subproof

LARGEST = 70_000
EVERY = leaves(LARGEST)


@cache
def tree_of(size: int) -> tuple[dict[str, bytes], bytes]:
    """Return the tiles of a tree by their paths, as a writer leaves them, and its root."""
    tree = merkle.TileTree()
    filled = tree.extend(EVERY[:size])
    tiles = [*filled, *tree.partial_tiles()]
    files = {merkle.tile_path(tile.level, tile.number, tile.width): tile.data() for tile in tiles}
    return files, tree.root()


def files_of(size: int) -> dict[str, bytes]:
    return dict(tree_of(size)[0])


def stored(files: dict[str, bytes], size: int) -> StoredTiles:
    return StoredTiles(files.get, lambda _level, _index: [], size, tree_of(size)[1])


# --- made from tiles ------------------------------------------------------------------------------------


@given(st.data(), st.one_of(st.integers(1, 600), st.sampled_from([65_535, 65_536, 65_537, LARGEST])))
def test_proofs_from_tiles_are_those_of_the_definition(data: st.DataObject, size: int) -> None:
    tiles = stored(files_of(size), size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    if size <= 600:
        assert inclusion_proof(tiles, index) == path_of(index, EVERY[:size])
        assert consistency_proof(tiles, old) == subproof(old, EVERY[:size], whole=True)
        assert root_at(tiles, old) == definition(EVERY[:old])
    assert tiles.root is not None
    path = inclusion_proof(tiles, index)
    assert len(path) == merkle.inclusion_length(index, size)
    assert merkle.verify_inclusion(index, size, EVERY[index], path, tiles.root)
    assert merkle.verify_consistency(old, size, root_at(tiles, old), tiles.root, consistency_proof(tiles, old))


def test_an_empty_tree_is_extended_by_every_tree() -> None:
    tiles = stored(files_of(300), 300)
    assert consistency_proof(tiles, 0) == []
    assert root_at(tiles, 0) == merkle.EMPTY_ROOT


UPPER = ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]


@pytest.mark.parametrize(
    "path", [*UPPER, "tile/0/000", "tile/0/001", "tile/0/255", "tile/0/256", "tile/0/273.p/112"]
)
@pytest.mark.parametrize("index", [0, 65_535, 65_536, LARGEST - 1])
def test_a_proof_never_rests_on_an_altered_tile(path: str, index: int) -> None:
    """Either the tile has no part in the proof, or there is none, and the tile is named or the edge is."""
    good = files_of(LARGEST)
    right = proven(stored(good, LARGEST), index)
    for at in (0, len(good[path]) // 2, len(good[path]) - 1):
        flipped = bytearray(good[path])
        flipped[at] ^= 1
        tiles = stored({**good, path: bytes(flipped)}, LARGEST)
        found = proven(tiles, index)
        if found is None:
            said = str(blame(tiles, index))
            assert path in said or "right edge" in said
        else:
            assert found == right


@pytest.mark.parametrize(
    ("path", "index"),
    [("tile/0/000", 7), ("tile/1/000", 65_000), ("tile/1/001.p/17", 65_000), ("tile/2/000.p/1", LARGEST - 1)],
)
def test_a_missing_tile_is_named(path: str, index: int) -> None:
    files = files_of(LARGEST)
    del files[path]
    tiles = stored(files, LARGEST)
    with pytest.raises(TileMissing):
        inclusion_proof(tiles, index)
    assert proven(tiles, index) is None
    assert str(blame(tiles, index)).startswith(f"{path}: tile missing")


# --- the file -------------------------------------------------------------------------------------------


def signed(size: int) -> bytes:
    return SIGNER.sign(Checkpoint(ORIGIN, size, definition(EVERY[:size])).text()).encode()


def make(index: int, size: int, extra: bytes | None = None) -> bytes:
    return Proof(index, tuple(path_of(index, EVERY[:size])), signed(size), extra).data()


@given(st.integers(0, 99), st.integers(100, 120), st.none() | st.binary(max_size=40))
def test_a_proof_is_read_as_it_was_written(index: int, size: int, extra: bytes | None) -> None:
    data = make(index, size, extra)
    proof = parse_proof(data)
    assert (proof.index, proof.note, proof.extra) == (index, signed(size), extra)
    assert proof.data() == data
    opened = open_proof(data, SIGNER.verifier)
    assert opened.shows(EVERY[index])
    assert not opened.shows(EVERY[index + 1])


def test_the_form_is_the_specifications() -> None:
    lines = make(2, 5, b"x").decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra eA==", "index 2"]
    assert [len(base64.b64decode(line)) for line in lines[3:6]] == [32, 32, 32]
    assert lines[6] == ""
    assert lines[7:9] == [ORIGIN, "5"]
    assert make(0, 1) == f"{HEADER}\nindex 0\n\n".encode() + signed(1)


@given(st.data(), st.integers(0, 1 << 30))
def test_a_changed_byte_anywhere_makes_it_no_proof(data: st.DataObject, at: int) -> None:
    good = make(37, 100)
    bad = bytearray(good)
    bad[at % len(good)] = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at % len(good)]))
    try:
        opened = open_proof(bytes(bad), SIGNER.verifier)
    except NoteError:
        return
    assert not opened.shows(EVERY[37])


@given(st.integers(0, 1 << 30))
def test_a_proof_that_was_cut_is_none(at: int) -> None:
    good = make(37, 100)
    with pytest.raises(NoteError):
        open_proof(good[: at % len(good)], SIGNER.verifier)


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_whatever_raise_anything_else(data: bytes) -> None:
    for form in (data, HEADER.encode() + b"\n" + data, make(1, 3).replace(b"index 1", data), make(1, 3) + data):
        try:
            open_proof(form, SIGNER.verifier)
        except NoteError:
            continue
        assert form == make(1, 3) or not data


def hashes(count: int) -> str:
    return f"{base64.b64encode(bytes(32)).decode()}\n" * count


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "megabytes": lambda good: good + b"x" * 2_000_000,
    "megabytes of hashes": lambda good: good.replace(b"\n\n", f"\n{hashes(20_000)}\n".encode(), 1),
    "NULs": lambda _: bytes(1000),
    "another header": lambda good: good.replace(b"@v1", b"@v2"),
    "no index": lambda good: good.replace(b"index 37\n", b""),
    "leading zero": lambda good: good.replace(b"index 37", b"index 037"),
    "negative": lambda good: good.replace(b"index 37", b"index -37"),
    "plus": lambda good: good.replace(b"index 37", b"index +37"),
    "no number": lambda good: good.replace(b"index 37", "index ٣٧".encode()),
    "huge": lambda good: good.replace(b"index 37", b"index " + b"9" * 5_000),
    "2**63": lambda good: good.replace(b"index 37", b"index 9223372036854775808"),
    "beyond the tree": lambda good: good.replace(b"index 37", b"index 100"),
    "64 hashes": lambda good: good.replace(b"\n\n", f"\n{hashes(MAX_HASHES)}\n".encode(), 1),
    "a short hash": lambda good: good.replace(b"\n\n", b"\nAAAA\n\n", 1),
    "not base64": lambda good: good.replace(b"\n\n", b"\n!!!!\n\n", 1),
    "one hash more": lambda good: good.replace(b"\n\n", f"\n{hashes(1)}\n".encode(), 1),
    "extra twice": lambda good: good.replace(b"index", b"extra eA==\nextra eA==\nindex"),
    "extra after": lambda good: good.replace(b"index 37\n", b"index 37\nextra eA==\n"),
    "CRLF": lambda good: good.replace(b"\n", b"\r\n"),
    "no empty line": lambda good: good.replace(b"\n\n", b"\n", 2),
    "unsigned": lambda good: good[: good.rindex("—".encode())],
    "no checkpoint": lambda good: good[: good.index(b"\n\n") + 2],
    "something after it": lambda good: good + b"\n",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_files_are_refused_in_one_line(how: str) -> None:
    with pytest.raises(NoteError) as caught:
        open_proof(HOSTILE[how](make(37, 100)), SIGNER.verifier)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_cosignatures_of_witnesses_are_passed_over() -> None:
    """C2SP signed-note: signatures by unknown keys; a proof with them is still one under the trail's key."""
    witness = "— witness.example " + base64.b64encode(bytes(4 + 72)).decode() + "\n"
    assert open_proof(make(37, 100) + witness.encode(), SIGNER.verifier).shows(EVERY[37])
    alone = make(37, 100)[: make(37, 100).rindex("—".encode())] + witness.encode()
    with pytest.raises(NoteError, match="not signed by the expected key"):
        open_proof(alone, SIGNER.verifier)


def test_another_key_is_refused() -> None:
    other = Verifier(ORIGIN, bytes(32))
    with pytest.raises(NoteError, match="not signed by the expected key"):
        open_proof(make(37, 100), other)


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    """Who signs for several trails signs each under its own name."""
    note = SIGNER.sign(Checkpoint("indelible/other", 1, EVERY[0]).text()).encode()
    with pytest.raises(NoteError, match="of 'indelible/other'"):
        open_proof(Proof(0, (), note).data(), SIGNER.verifier)
