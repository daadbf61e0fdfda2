"""What the writer stamps on a line: the quick way, from what is known already, is the plain one."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.trail.clock import TrailClock
from indelible.trail.entry import line_seq, stamp, stamp_line, unstamp
from tests.effort import examples

RECORDED_AT = "2026-11-21T05:38:34.123456Z"
SEQS = st.integers(0, 1_000) | st.integers(0, events.MAX_INTEGER)


@given(st.lists(SEQS, max_size=20), st.binary(max_size=50))
@example([0, 9, 10, 99, 100, 101, 199, 200, 99, 100, 12_345, 12_399, 12_400, 12_345], b"")
@settings(max_examples=examples(200))
def test_lines_of_any_seqs_in_any_order_are_stamped_alike(seqs: list[int], rest: bytes) -> None:
    body = b"{" + rest
    for seq in seqs:
        line = stamp_line(seq, RECORDED_AT.encode(), body)
        assert line == stamp(seq, RECORDED_AT, body) + b"\n"
        assert line_seq(line) == seq
        assert unstamp(line) == (RECORDED_AT.encode(), body)


@given(st.integers(1000, 4 * 10**18), st.lists(st.integers(0, 3_000_000), max_size=30))
@settings(max_examples=examples(200))
def test_a_clock_that_goes_on_is_written_as_any_time_is(start: int, steps: list[int]) -> None:
    now = start
    clock = TrailClock("", wall=lambda: now, steady=lambda: now)
    for step in steps:
        now += step
        assert clock.tick() == events.format_time(now).encode()
    assert not clock.steps
