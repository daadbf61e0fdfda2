"""Cutting at LF and queueing for slow readers: no byte is added, lost or moved."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from indelible.capture import frames, lanes
from indelible.capture.lanes import END_BYTES, CutLine, Lines, Outlet, Part
from indelible.capture.stdio import is_only_initialize

CHUNKS = st.lists(st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b"\x01", b"\n")), max_size=12)


def _bytes(items: list[bytes | Part | CutLine]) -> bytes:
    return b"".join(item if isinstance(item, bytes) else item.data for item in items)


@given(CHUNKS)
def test_lines_are_cut_at_lf_wherever_the_reads_end(chunks: list[bytes]) -> None:
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)] + lines.finish()
    whole = b"".join(chunks)
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 0x0A]
    expected = [whole[start:end] for start, end in zip([0, *ends], [*ends, len(whole)], strict=True)]
    assert found == [line for line in expected if line]
    assert _bytes(found) == whole


def test_a_line_beyond_the_limit_is_streamed_with_its_end_held_back() -> None:
    lines = Lines(limit=4 * END_BYTES)
    line = b"HEAD" + os.urandom(20 * END_BYTES).replace(b"\n", b"x") + b"TAIL\n"
    found = []
    held = 0
    for start in range(0, len(line), 10_000):
        found += lines.feed(line[start : start + 10_000])
        held = max(held, lines.size)
    found += lines.feed(b"next\n")
    assert _bytes(found) == line + b"next\n"
    assert held <= 5 * END_BYTES
    *parts, cut, last = found
    assert last == b"next\n"
    assert all(isinstance(part, Part) for part in parts)
    assert isinstance(cut, CutLine)
    assert cut.head == line[:END_BYTES]
    assert cut.tail == line[-END_BYTES:]
    assert len(cut.data) >= END_BYTES


def test_a_stream_that_ends_inside_a_line_loses_nothing() -> None:
    lines = Lines(limit=4 * END_BYTES)
    data = b"a" * (9 * END_BYTES)
    found = [*lines.feed(data), *lines.finish()]
    assert _bytes(found) == data
    assert isinstance(found[-1], CutLine)


def test_the_ends_are_as_long_as_a_scan_looks() -> None:
    assert lanes.END_BYTES == frames.SCAN_BYTES


def test_an_outlet_waits_for_no_reader() -> None:
    for shared in (False, True):
        reader, writer = os.pipe()
        if not shared:
            os.set_blocking(writer, False)
        outlet = Outlet(writer, shared=shared)
        data = os.urandom(500_000)
        outlet.write(data[:300_000])
        outlet.write(data[300_000:])
        assert outlet.size > 0
        received = b""
        while len(received) < len(data):
            received += os.read(reader, 65536)
            outlet.flush()
        assert received == data
        assert outlet.size == 0
        os.close(reader)
        outlet.write(b"x")
        assert outlet.broken
        os.close(writer)


def test_a_pipe_that_cannot_be_opened_anew_is_still_never_waited_for() -> None:
    reader, writer = os.pipe()
    outlet = Outlet.__new__(Outlet)
    outlet._reopen = lambda: False  # type: ignore[method-assign]
    Outlet.__init__(outlet, writer, shared=True)
    outlet.write(b"y" * 200_000)
    received = b""
    while len(received) < 200_000:
        received += os.read(reader, 65536)
        outlet.flush()
    assert os.get_blocking(writer)
    assert received == b"y" * 200_000
    os.close(reader)
    os.close(writer)


def test_only_one_provable_initialize_passes_early() -> None:
    good = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n'
    assert is_only_initialize(good)
    assert is_only_initialize(good.replace(b'":"', b'" : "'))
    for bad in (
        good[:-1],
        b"[" + good[:-1] + b"]\n",
        good.replace(b"params", b"METHOD"),
        good.replace(b"params", b"p\\u0061rams"),
        good[:-1] + b'{"method":"tools/call"}\n',
        good.replace(b"initialize", b"initialized"),
        good.replace(b"initialize", b"tools/call"),
        good.replace(b"{}", b"{%b}" % (b" " * 70_000)),
    ):
        assert not is_only_initialize(bad), bad
