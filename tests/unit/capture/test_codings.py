"""Content codings undone: whatever the pieces, the content; whatever the bytes, little memory and an end."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture import codings
from indelible.capture.codings import MAX_MADE, CodingError, Undoing
from indelible.values import MEGABYTE
from tests.effort import examples


def bare(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


def zstd(data: bytes) -> bytes:
    return bytes(zstandard.compress(data))


def twice(one: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: one(data[: len(data) // 2]) + one(data[len(data) // 2 :])


CODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of two members": ("x-gzip", twice(gzip.compress)),
    "padded gzip": ("gzip", lambda data: gzip.compress(data) + bytes(7)),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
    "zstd": ("zstd", zstd),
    "zstd of two frames": ("zstd", twice(zstd)),
    "zstd in gzip": ("zstd,gzip", lambda data: gzip.compress(zstd(data))),
}


def undone(coding: str, pieces: list[bytes]) -> bytes:
    undoing = Undoing(coding.split(","))
    return b"".join(made for piece in pieces for made in undoing.feed(piece))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@settings(deadline=None, max_examples=examples(200))
@given(
    st.sampled_from(sorted(CODED)),
    st.one_of(st.binary(max_size=3000), st.integers(1, 300_000).map(lambda size: b"ab" * size)),
    st.lists(st.integers(0, 10_000), max_size=5),
)
def test_in_any_pieces_it_is_the_content(form: str, data: bytes, at: list[int]) -> None:
    coding, coded = CODED[form]
    assert undone(coding, cut(coded(data), at)) == data


@settings(deadline=None, max_examples=examples(300))
@given(
    st.sampled_from(sorted(CODED)),
    st.binary(max_size=300),
    st.integers(0, 300),
    st.binary(min_size=1, max_size=20),
)
def test_whatever_bytes_it_ends(form: str, data: bytes, at: int, instead: bytes) -> None:
    coding, coded = CODED[form]
    whole = coded(data)
    broken = whole[:at] + instead + whole[at + 1 :]
    for some in (broken, instead):
        try:
            undone(coding, [some])
        except CodingError:
            continue


def zeros(size: int, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(bytes(size), compresslevel=1)
    return zstd(bytes(size))


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_bomb_ends_where_the_limit_is_and_memory_stays(coding: str) -> None:
    bomb = zeros(2 * MAX_MADE, coding)
    undoing = Undoing([coding])
    made = largest = 0
    tracemalloc.start()
    try:
        with contextlib.suppress(CodingError):
            for piece in undoing.feed(bomb):
                made += len(piece)
                largest = max(largest, len(piece))
        assert made <= MAX_MADE + codings.MAX_RATIO * len(bomb)
        assert largest <= 8 * MEGABYTE + 128 * 1024
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_one_within_another_counts_though_nothing_comes_of_it() -> None:
    skipped = b"\x50\x2a\x4d\x18" + MEGABYTE.to_bytes(4, "little") + bytes(MEGABYTE)  # RFC 8878, section 3.1.2
    nothing = gzip.compress(skipped * 80, compresslevel=1)
    with pytest.raises(CodingError, match="more than is read"):
        undone("zstd,gzip", [nothing])


def test_a_stream_that_goes_on_and_on_is_read_as_long_as_it_is_no_bomb() -> None:
    maker = zlib.compressobj(wbits=31)
    undoing = Undoing(["gzip"])
    event, made = (b"data: {}\n\n" + bytes(range(256)) * 64), 0
    rounds = MAX_MADE // len(event) + 200
    for _ in range(rounds):
        made += sum(map(len, undoing.feed(maker.compress(event) + maker.flush(zlib.Z_SYNC_FLUSH))))
    assert made == rounds * len(event)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip,br", "gzip,gzip,gzip,gzip"])
def test_what_is_not_known_is_not_undone(coding: str) -> None:
    with pytest.raises(CodingError):
        Undoing(coding.split(","))


def test_a_window_beyond_the_rfc_is_refused() -> None:
    large = zstandard.ZstdCompressionParameters(window_log=25)
    maker = zstandard.ZstdCompressor(compression_params=large).compressobj()
    with pytest.raises(CodingError):
        undone("zstd", [maker.compress(b"x" * 1000) + maker.flush()])
